//! Weir's HTTP API: takes events in, answers for each of them, and serves counts.
//!
//! [`router`] makes it from a catalog, an engine's ports and an authentication; it runs under any host that can serve an
//! axum [`Router`](axum::Router). Read in this order:
//!
//! - `api`: the routes, who may call them, and their answers;
//! - `intake`: the way of events: bytes, bounded and decompressed, one text for each event, checked, stamped, stored, counted;
//! - `adapters`: vendors' clients, whose requests are translated;
//! - `pages`: the dashboard, `/docs` and the script for web pages;
//! - `host`: what differs by where it runs: API Gateway, request ids, unread bodies, metrics.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapters;
mod api;
mod host;
mod intake;
mod pages;

use std::{sync::Arc, time::Duration};

use weir_core::{Catalog, Clock, Random, ports::Ports};

pub use api::{
    authentication::{Authenticate, Caller, NotAuthenticated},
    origins::Origins,
    path::tidy,
    reserved::check_routes,
    router::{no_room, router},
    routes::client_routes,
};
#[cfg(feature = "lambda")]
pub use host::athena::AthenaQueries;
#[cfg(feature = "lambda")]
pub use host::gateway::{Gateway, GatewayAuthentication, GatewayError};
pub use host::{
    leftover::{OnlyLeftover, TellOnlyLeftover},
    observe::{Drift, Observe, Taken},
    queries::{
        KeysOfRange, NotAnswered, Queries, QueryAnswer, QueryAsked, QueryFormat, QueryProgress, QueryStarted,
        RangeKeys,
    },
    request_id::RequestId,
    runs::{NotStarted, Run, RunResult, RunState, Runs, Wanted},
    streams::Streams,
    unreadable::Unreadable,
};
pub use intake::{
    body::BodyTooSlow,
    limits::Limits,
    outcome::{ByFate, Fate},
};

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
    /// The runs of functions over a user's events; `()` for none.
    pub runs: Arc<dyn Runs>,
    /// The answers to queries over a user's rows; `()` for none.
    pub queries: Arc<dyn Queries>,
    /// The deadline for raising live counts, from the beginning of storing, on hosts that end what takes too long; `None`
    /// for no deadline. Counts that miss it count as failed: the events are stored and acknowledged.
    pub counted_within: Option<Duration>,
    /// How many days after the end of their day events are kept, of types that do not say so themselves; `None` for ever. Older
    /// events are stored with a warning.
    pub keep_days: Option<u32>,
}
