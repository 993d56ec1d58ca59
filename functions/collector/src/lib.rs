//! Weir's HTTP API: takes events in, answers for each of them, and reads counts.
//!
//! [`router`] makes it from a catalog, an engine's ports and a way to tell who is calling; it runs under any host
//! that can serve an axum [`Router`](axum::Router). Read in this order:
//!
//! - `router`: the routes;
//! - `post`: what a request for storing events goes through: `body` (bytes, bounded and decompressed), `framing`
//!   (one text for each event; `elements` for arrays that are not all JSON), `intake` (validate, stamp, store, count), and the answer;
//! - `read`: counts; `history`: the same by hour and day; `rejected`: the latest rejected events;
//! - `etag`: what spares clients an answer that they have already;
//! - `problem`: every error there is, and the only place that knows HTTP statuses;
//! - `leftover`: what is done with a body that was not read;
//! - `caller`: who is calling, and what they may do;
//! - `pages`: which requests of web pages are refused;
//! - `page`: the dashboard, which is a user of this API like others;
//! - `openapi`: the description of all that, made from the catalog; `examples`: its errors;
//!   `docs`: the same for people;
//! - `script`: what web pages load to send events; `served`: files for browsers;
//! - `observe`: what is counted of all that;
//! - `request_id`: which request it was, for its answer and its log lines;
//! - `gateway`: the API behind API Gateway, which makes requests of events and events of answers.
#![cfg_attr(test, allow(clippy::unwrap_used))]

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
mod observe;
mod openapi;
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
mod router;
mod script;
mod served;
mod unreadable;

use std::{sync::Arc, time::Duration};

use weir_core::{
    Catalog, Clock, Random,
    ports::{Health, LiveCounts, RecentRejected, SettledCounts, Stream},
};

pub use body::BodyTooSlow;
pub use caller::{Authenticate, Caller, NotAuthenticated};
#[cfg(feature = "lambda")]
pub use gateway::{Gateway, GatewayAnswer, GatewayAuthentication, GatewayError};
pub use leftover::{OnlyLeftover, TellOnlyLeftover};
pub use observe::{Drift, Fate, Observe, Taken};
pub use path::tidy;
pub use post::bodies_waiting;
pub use request_id::RequestId;
pub use router::{Origins, OriginsError, no_room, router};
pub use unreadable::Unreadable;

/// What a collector works with.
#[derive(Clone)]
pub struct Collector {
    /// The event types.
    pub catalog: Arc<Catalog>,
    /// Where events are stored.
    pub stream: Arc<dyn Stream>,
    /// The counts that go up at once.
    pub live: Arc<dyn LiveCounts>,
    /// The counts of what lies in the lake.
    pub settled: Arc<dyn SettledCounts>,
    /// The latest events that were not valid.
    pub rejected: Arc<dyn RecentRejected>,
    /// Whether the engine answers.
    pub health: Arc<dyn Health>,
    /// Who is calling.
    pub authenticate: Arc<dyn Authenticate>,
    /// Who is told what became of each request's events; `()` for nobody.
    pub observe: Arc<dyn Observe>,
    /// The time for `received_at`.
    pub clock: Arc<dyn Clock>,
    /// The randomness in `event_id`.
    pub random: Arc<dyn Random>,
    /// How long after storing began live counts may still be raised, where the host ends what takes too long; `None` for as
    /// long as it takes. Counts that are not raised by then count as failed: the events are stored and acknowledged.
    pub counted_within: Option<Duration>,
}
