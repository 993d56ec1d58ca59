//! Authorization. A handler that takes a [`Writer`] or a [`Reader`] cannot be reached without the right to write or to read.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use tracing::Instrument;
use weir_core::{Timestamp, Username, trace::TRACED, users::Scope};

use crate::{
    Collector,
    api::{
        authentication::{Caller, NotAuthenticated},
        problem::Problem,
    },
};

/// A caller who may post events, and the time at which that was checked.
pub(crate) struct Writer {
    pub(crate) username: Username,
    scope: Scope,
    found_at: Timestamp,
}

impl Writer {
    /// Returns the caller if the access key can do nothing but write: one that came outside the header is public.
    pub(crate) fn which_only_writes(self) -> Result<Self, Problem> {
        if self.scope == Scope::Write { Ok(self) } else { Err(Problem::KeyMayRead) }
    }

    /// Checks the right to write again if a moment has passed since: the body, or the wait for a place, may have taken
    /// minutes, in which the access key was removed or expired.
    pub(crate) async fn still(&self, request: &Parts, collector: &Collector) -> Result<(), Problem> {
        if collector.host.clock.now() == self.found_at {
            return Ok(());
        }
        let caller = collector.host.authenticate.still(request).await.map_err(Problem::from)?;
        if caller.username != self.username || caller.scope != self.scope {
            return Err(Problem::Unauthorized(NotAuthenticated::Refused));
        }
        with(Scope::Write, caller)?;
        Ok(())
    }
}

/// A caller who may read counts.
pub(crate) struct Reader(pub(crate) Username);

impl Reader {
    /// Checks the right to read again: the body may have taken a while, in which the access key was removed or expired.
    pub(crate) async fn still(&self, request: &Parts, collector: &Collector) -> Result<(), Problem> {
        let caller = collector.host.authenticate.still(request).await.map_err(Problem::from)?;
        if caller.username != self.0 {
            return Err(Problem::Unauthorized(NotAuthenticated::Refused));
        }
        with(Scope::Read, caller).map(|_| ())
    }
}

impl FromRequestParts<Arc<Collector>> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Problem> {
        // The time before the check: its result may be that old.
        let found_at = collector.host.clock.now();
        let Caller { username, scope } = caller_with(Scope::Write, parts, collector).await?;
        Ok(Self { username, scope, found_at })
    }
}

impl FromRequestParts<Arc<Collector>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Self, Problem> {
        caller_with(Scope::Read, parts, collector).await.map(|caller| Self(caller.username))
    }
}

async fn caller_with(needed: Scope, parts: &Parts, collector: &Collector) -> Result<Caller, Problem> {
    let authenticating = tracing::debug_span!(target: TRACED, "authenticate");
    let caller = collector.host.authenticate.caller(parts).instrument(authenticating).await;
    with(needed, caller.map_err(Problem::from)?)
}

/// Returns the caller if the scope is enough.
fn with(needed: Scope, caller: Caller) -> Result<Caller, Problem> {
    if caller.scope.allows(needed) { Ok(caller) } else { Err(Problem::OutOfScope { needed }) }
}
