//! Who is calling, and what they may do. A handler that takes a [`Writer`] or a [`Reader`] cannot be reached without
//! the right to write or to read.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{extract::FromRequestParts, http::request::Parts};
use tracing::Instrument;
use weir_core::{Timestamp, Username, ports::PortError, trace::TRACED, users::Scope};

use crate::{Collector, problem::Problem};

/// Somebody who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose events they send and whose counts they read.
    pub username: Username,
    /// What their access key allows.
    pub scope: Scope,
}

/// Why nobody was recognised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotAuthenticated {
    /// There are no credentials in the request.
    #[error("this needs HTTP basic authentication")]
    NoCredentials,
    /// There are, but they are not right; which part is wrong is nobody's business.
    #[error("the credentials are not right")]
    Refused,
    /// Too many sign-ins failed before: whoever it is may try again then.
    #[error("there were too many failed sign-ins")]
    TooManyFailures {
        /// After this time.
        retry_after: Duration,
    },
    /// Who is calling is known, and calls more often than anybody may.
    #[error("there were too many requests")]
    TooManyRequests {
        /// After this time one more will be taken.
        retry_after: Duration,
    },
    /// They cannot be checked now.
    #[error(transparent)]
    Unavailable(PortError),
}

/// Tells who is calling. On Lambda the authorizer has done the work, and its verdict is in the request; elsewhere the
/// host asks the authorizer itself.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Finds the caller of a request.
    async fn caller(&self, request: &Parts) -> Result<Caller, NotAuthenticated>;

    /// Finds the caller of the same request again, once its body is whole. It counts as no further request.
    async fn still(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        self.caller(request).await
    }
}

/// A caller who may post events, and when that was found.
pub(crate) struct Writer {
    pub(crate) username: Username,
    found_at: Timestamp,
}

impl Writer {
    /// Finds the right to write again where a moment has passed since: the body, or the wait for a place, may have
    /// taken minutes, in which the access key was removed or expired.
    pub(crate) async fn still(&self, request: &Parts, collector: &Collector) -> Result<(), Problem> {
        if collector.clock.now() == self.found_at {
            return Ok(());
        }
        let caller = collector.authenticate.still(request).await.map_err(Problem::from)?;
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
        // The time before: what is found may be that old.
        let found_at = collector.clock.now();
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
    let caller = collector.authenticate.caller(parts).instrument(authenticating).await;
    with(needed, caller.map_err(Problem::from)?)
}

/// The caller's name, if their scope is enough.
fn with(needed: Scope, caller: Caller) -> Result<Username, Problem> {
    if caller.scope.allows(needed) { Ok(caller.username) } else { Err(Problem::OutOfScope { needed }) }
}
