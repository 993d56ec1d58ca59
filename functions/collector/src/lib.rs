//! Weir's HTTP API: takes events in, answers for each of them, and serves counts.
//!
//! [`router`] makes it from a catalog, an engine's ports and an authentication; it runs under any host that can serve an
//! axum [`Router`](axum::Router). Read in this order:
//!
//! - `routes`: the list of routes; `router`: the middleware around them; `reserved`: the routes that no event type may have;
//! - `post`: the steps of a request that stores events: `body` (bytes, bounded and decompressed), `framing` (one text for
//!   each event; `elements` for arrays with invalid JSON), `intake` (validate, stamp, store, count), and the answer;
//! - `outcome`: what became of an event, for the answer and the metrics;
//! - `read`: counts; `history`: the same by hour and day; `rejected`: the latest rejected events;
//! - `etag`: conditional requests;
//! - `problem`: all errors, and the only place that knows HTTP statuses;
//! - `limits`: load shedding, by the bodies in memory;
//! - `leftover`: drains unread bodies;
//! - `authentication` and `caller`: who sends a request, and what they may do; `origins`: whose pages may;
//! - `pages`: which requests of web pages are refused;
//! - `page`: the dashboard, which uses this API like any other user;
//! - `openapi`: the API's description, made from the routes and the catalog; `examples`: its errors; `docs`: the same for
//!   people;
//! - `script`: the script with which web pages send events; `served`: files for browsers;
//! - `observe`: the metrics of all that;
//! - `request_id`: the id of a request, in its answer and its log lines;
//! - `gateway`: the API behind API Gateway, by `lambda_http`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authentication;
mod body;
mod caller;
mod docs;
mod elements;
mod etag;
mod examples;
mod framing;
#[cfg(feature = "lambda")]
mod gateway;
mod history;
mod intake;
mod leftover;
mod limits;
mod observe;
mod openapi;
mod origins;
mod outcome;
mod page;
mod pages;
mod parameters;
mod path;
mod post;
mod problem;
mod read;
mod reason;
mod rejected;
mod request_id;
mod reserved;
mod router;
mod routes;
mod script;
mod served;
mod unreadable;

use std::{sync::Arc, time::Duration};

use weir_core::{Catalog, Clock, Random, ports::Ports};

pub use authentication::{Authenticate, Caller, NotAuthenticated};
pub use body::BodyTooSlow;
#[cfg(feature = "lambda")]
pub use gateway::{Gateway, GatewayAuthentication, GatewayError};
pub use leftover::{OnlyLeftover, TellOnlyLeftover};
pub use limits::Limits;
pub use observe::{Drift, Observe, Taken};
pub use origins::Origins;
pub use outcome::{ByFate, Fate};
pub use path::tidy;
pub use request_id::RequestId;
pub use reserved::check_routes;
pub use router::{no_room, router};
pub use unreadable::Unreadable;

/// A collector: what it takes, where it keeps it, and where it runs.
#[derive(Clone)]
pub struct Collector {
    /// The event types.
    pub catalog: Arc<Catalog>,
    /// The engine.
    pub ports: Ports,
    /// The process around it.
    pub host: Host,
    /// The most that it takes in at once.
    pub limits: Limits,
}

/// What differs by where a collector runs.
#[derive(Clone)]
pub struct Host {
    /// The authentication.
    pub authenticate: Arc<dyn Authenticate>,
    /// The observer of each request's outcomes; `()` for none.
    pub observe: Arc<dyn Observe>,
    /// The clock for `received_at`.
    pub clock: Arc<dyn Clock>,
    /// The random source for `event_id`.
    pub random: Arc<dyn Random>,
    /// The deadline for raising live counts, from the beginning of storing, on hosts that end what takes too long; `None`
    /// for no deadline. Counts that miss it count as failed: the events are stored and acknowledged.
    pub counted_within: Option<Duration>,
}
