//! The API: routes, callers and answers.
//!
//! - `routes`: the list of routes; `router`: the middleware around them; `reserved`: the routes that no event type may have;
//! - `authentication` and `caller`: who sends a request, and what they may do; `origins` and `csrf`: whose pages may;
//! - `post`: the steps of a request that stores events; `outcomes`: its answer; `read`: counts; `history`: the same by
//!   minute, hour and day; `rejected`: the latest rejected events; `events`: the newest events and receipts; `stream`: the stream of
//!   events; `latest`: latest values; `answers`: answers that were computed beforehand; `map`: runs of functions; `query`:
//!   SQL; `keys`: the keys of a range, by SQL;
//! - `problem`: all errors, and the only place that knows HTTP statuses; `reason`: why nothing was stored or read;
//! - `parameters`, `ends`, `path` and `etag`: queries, the ends of a range of time in them, paths with a slash too many, and
//!   conditional requests;
//! - `openapi`: the API's description, made from the routes and the catalog; `examples`: its errors.

pub(crate) mod answers;
pub(crate) mod authentication;
pub(crate) mod caller;
pub(crate) mod csrf;
pub(crate) mod ends;
pub(crate) mod etag;
pub(crate) mod events;
pub(crate) mod examples;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod latest;
pub(crate) mod map;
pub(crate) mod openapi;
pub(crate) mod origins;
pub(crate) mod outcomes;
pub(crate) mod parameters;
pub(crate) mod path;
pub(crate) mod post;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod reason;
pub(crate) mod rejected;
pub(crate) mod reserved;
pub(crate) mod router;
pub(crate) mod routes;
pub(crate) mod stream;
