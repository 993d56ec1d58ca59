//! Authentication: who sends a request, and why that may not be known.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use axum::http::request::Parts;
use weir_core::{Username, ports::PortError, users::Scope};

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

    /// Returns the client's address: the one that failed sign-ins are counted for.
    fn address(&self, _request: &Parts) -> Option<IpAddr> {
        None
    }
}
