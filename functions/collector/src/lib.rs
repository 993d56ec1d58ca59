//! Weir's HTTP API: takes events in, answers for each of them, and reads counts.
//!
//! [`router`] makes it from a catalog, an engine's ports and a way to tell who is calling; it runs under any host
//! that can serve an axum [`Router`](axum::Router). Read in this order:
//!
//! - `router`: the routes;
//! - `post`: what a request for storing events goes through: `body` (bytes, bounded and decompressed), `framing`
//!   (one text for each event), `intake` (validate, stamp, store, count), and the answer;
//! - `read`: counts;
//! - `problem`: every error there is, and the only place that knows HTTP statuses;
//! - `leftover`: what is done with a body that was not read;
//! - `caller`: who is calling, and what they may do;
//! - `openapi`: the description of all that, made from the catalog;
//! - `observe`: what is counted of all that;
//! - `gateway`: the API behind API Gateway, which makes requests of events and events of answers.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod body;
mod caller;
mod framing;
#[cfg(feature = "lambda")]
mod gateway;
mod intake;
mod leftover;
mod observe;
mod openapi;
mod post;
mod problem;
mod read;
mod router;

use std::sync::Arc;

use weir_core::{
    Catalog, Clock, Random,
    ports::{Health, LiveCounts, SettledCounts, Stream},
};

pub use caller::{Authenticate, Caller, NotAuthenticated};
#[cfg(feature = "lambda")]
pub use gateway::{Gateway, GatewayAnswer, GatewayAuthentication, GatewayError};
pub use observe::{Observe, Taken};
pub use router::{Origins, OriginsError, router};

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
}
