//! Authentication and authorization. A handler that takes a [`Writer`] or a [`Reader`] cannot be reached without the right
//! to write or to read.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{extract::FromRequestParts, http::request::Parts};
use tracing::Instrument;
use weir_core::{Timestamp, Username, ports::PortError, trace::TRACED, users::Scope};

use crate::{Collector, problem::Problem};

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user whose events are sent and whose counts are read.
    pub username: Username,
    /// The scope of the caller's access key.
    pub scope: Scope,
}

/// The reason why a request has no caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotAuthenticated {
    /// The request has no credentials.
    #[error("this needs HTTP basic authentication")]
    NoCredentials,
    /// The credentials are wrong; the client does not learn which part.
    #[error("the credentials are not right")]
    Refused,
    /// Too many sign-ins failed before. The client may try again later.
    #[error("there were too many failed sign-ins")]
    TooManyFailures {
        /// The time after which it may.
        retry_after: Duration,
    },
    /// The caller is known, and exceeds the rate limit.
    #[error("there were too many requests")]
    TooManyRequests {
        /// The time after which one more request is accepted.
        retry_after: Duration,
    },
    /// The credentials cannot be checked now.
    #[error(transparent)]
    Unavailable(PortError),
}

/// Authenticates requests. On Lambda the authorizer has done the work, and its verdict is in the request; other hosts ask
/// the authorizer themselves.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Finds the caller of a request.
    async fn caller(&self, request: &Parts) -> Result<Caller, NotAuthenticated>;

    /// Finds the caller of the same request again, once its body is complete. It does not count as another request.
    async fn still(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        self.caller(request).await
    }
}

/// A caller who may post events, and the time at which that was checked.
pub(crate) struct Writer {
    pub(crate) username: Username,
    found_at: Timestamp,
}

impl Writer {
    /// Checks the right to write again if a moment has passed since: the body, or the wait for a place, may have taken
    /// minutes, in which the access key was removed or expired.
    pub(crate) async fn still(&self, request: &Parts, collector: &Collector) -> Result<(), Problem> {
        if collector.host.clock.now() == self.found_at {
            return Ok(());
        }
        let caller = collector.host.authenticate.still(request).await.map_err(Problem::from)?;
        if caller.username != self.username {
            return Err(Problem::Unauthorized(NotAuthenticated::Refused));
        }
        with(Scope::Write, caller).map(drop)
    }
}

/// A caller who may read counts.
pub(crate) struct Reader(pub(crate) Username);

impl FromRequestParts<Arc<Collector>> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Problem> {
        // The time before the check: its result may be that old.
        let found_at = collector.host.clock.now();
        caller_with(Scope::Write, parts, collector).await.map(|username| Self { username, found_at })
    }
}

impl FromRequestParts<Arc<Collector>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Problem> {
        caller_with(Scope::Read, parts, collector).await.map(Self)
    }
}

async fn caller_with(needed: Scope, parts: &Parts, collector: &Collector) -> Result<Username, Problem> {
    let authenticating = tracing::debug_span!(target: TRACED, "authenticate");
    let caller = collector.host.authenticate.caller(parts).instrument(authenticating).await;
    with(needed, caller.map_err(Problem::from)?)
}

/// Returns the caller's name if the scope is enough.
fn with(needed: Scope, caller: Caller) -> Result<Username, Problem> {
    if caller.scope.allows(needed) { Ok(caller.username) } else { Err(Problem::OutOfScope { needed }) }
}
