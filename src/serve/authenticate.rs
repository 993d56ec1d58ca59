//! Who is calling, where the server itself sees the credentials.

use async_trait::async_trait;
use authorizer::{Authorizer, Refusal};
use axum::http::{header, request::Parts};
use collector::{Authenticate, Caller, NotAuthenticated};

/// Asks the authorizer about the request's `Authorization` header.
pub(crate) struct BasicAuthentication(Authorizer);

impl BasicAuthentication {
    pub(crate) fn new(authorizer: Authorizer) -> Self {
        Self(authorizer)
    }
}

#[async_trait]
impl Authenticate for BasicAuthentication {
    async fn caller(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        let mut values = request.headers.get_all(header::AUTHORIZATION).iter();
        let header = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value.to_str().map_err(|_| NotAuthenticated::Refused)?),
            // Two of them: it cannot be said who is calling.
            (Some(_), Some(_)) => return Err(NotAuthenticated::Refused),
        };
        match self.0.authorize(header).await {
            Ok(grant) => Ok(Caller { username: grant.username, scope: grant.scope }),
            Err(Refusal::NoCredentials) => Err(NotAuthenticated::NoCredentials),
            Err(Refusal::Malformed(_) | Refusal::Wrong) => Err(NotAuthenticated::Refused),
            Err(Refusal::Unavailable(error)) => Err(NotAuthenticated::Unavailable(error)),
        }
    }
}
