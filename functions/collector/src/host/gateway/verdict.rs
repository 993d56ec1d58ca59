//! The verdict of API Gateway's authorizer: who is calling, as a request's event tells it. Routes of vendors' clients have no
//! authorizer, which sees no body: there the collector checks the key that it found itself.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use authorizer::{Authorizer, Refusal};
use axum::http::{header, request::Parts};
use serde_json::Value;
use weir_core::{Clock, Timestamp, Username, users::Scope};

use crate::{Authenticate, Caller, NotAuthenticated, adapters::key::Found};

/// The client's address, as API Gateway tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address(pub(super) IpAddr);

/// The verdict of API Gateway's authorizer on the caller.
#[derive(Clone)]
pub(super) struct Verdict(Result<Granted, NotAuthenticated>);

impl Verdict {
    /// Reads it from the request context's `authorizer`.
    pub(super) fn of(authorizer: &Value) -> Self {
        Self(read(authorizer))
    }
}

/// A caller, and the time at which the access key expires.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Granted {
    caller: Caller,
    until: Option<Timestamp>,
}

/// Trusts the verdict of the authorizer function, which API Gateway puts into the event. No client can put it there.
///
/// API Gateway caches the verdict for as long as the authorizer's time to live says. An access key that expires in the
/// meantime is refused here.
#[derive(Clone)]
pub struct GatewayAuthentication {
    clock: Arc<dyn Clock>,
    authorizer: Option<Arc<Authorizer>>,
}

impl GatewayAuthentication {
    /// Takes the clock that decides whether an access key has expired.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, authorizer: None }
    }

    /// Checks the keys that the API itself finds in requests, by the authorizer's own library.
    #[must_use]
    pub fn checking_keys(self, authorizer: Authorizer) -> Self {
        Self { authorizer: Some(Arc::new(authorizer)), ..self }
    }

    /// Returns the caller with the key that the API found in the request.
    async fn with_key(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        let header = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let authorizer = self.authorizer.as_ref().ok_or(NotAuthenticated::Refused)?;
        match authorizer.authorize_from(self.address(request), header).await {
            Ok(grant) => Ok(Caller { username: grant.username, scope: grant.scope }),
            Err(Refusal::NoCredentials) => Err(NotAuthenticated::NoCredentials),
            Err(Refusal::Malformed(_) | Refusal::Wrong) => Err(NotAuthenticated::Refused),
            Err(Refusal::TooMany { retry_after }) => Err(NotAuthenticated::TooManyFailures { retry_after }),
            Err(Refusal::Unavailable(error)) => Err(NotAuthenticated::Unavailable(error)),
        }
    }
}

#[async_trait]
impl Authenticate for GatewayAuthentication {
    async fn caller(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        if request.extensions.get::<Found>().is_some() {
            return self.with_key(request).await;
        }
        let Some(Verdict(verdict)) = request.extensions.get() else {
            return Err(NotAuthenticated::NoCredentials);
        };
        let Granted { caller, until } = verdict.clone()?;
        match until {
            Some(until) if until <= self.clock.now() => Err(NotAuthenticated::Refused),
            _ => Ok(caller),
        }
    }

    fn address(&self, request: &Parts) -> Option<IpAddr> {
        request.extensions.get().map(|Address(address)| *address)
    }
}

/// Reads the caller: `username`, `scope` and, if the access key expires, `expires_at` in milliseconds. HTTP APIs keep them
/// in `authorizer.lambda` and REST APIs in `authorizer`.
fn read(authorizer: &Value) -> Result<Granted, NotAuthenticated> {
    let said = if authorizer["lambda"].is_object() { &authorizer["lambda"] } else { authorizer };
    match (&said["username"], &said["scope"]) {
        (Value::Null, Value::Null) => Err(NotAuthenticated::NoCredentials),
        (Value::String(username), Value::String(scope)) => {
            let caller = username.parse::<Username>().ok().zip(scope.parse::<Scope>().ok());
            let (username, scope) = caller.ok_or_else(misunderstood)?;
            let until = match &said["expires_at"] {
                Value::Null => None,
                Value::String(millis) => Some(millis.parse().map_err(|_| misunderstood())?),
                _ => return Err(misunderstood()),
            };
            Ok(Granted { caller: Caller { username, scope }, until: until.map(Timestamp::saturating) })
        }
        _ => Err(misunderstood()),
    }
}

fn misunderstood() -> NotAuthenticated {
    tracing::error!("the API's authorizer says nothing that can be understood: is it Weir's?");
    NotAuthenticated::Refused
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_caller_is_who_the_authorizer_says() {
        let caller = |authorizer: Value| read(&authorizer).map(|granted| granted.caller);
        for (authorizer, scope) in [
            (json!({"lambda": {"username": "ethan", "scope": "write"}}), Scope::Write),
            (json!({"username": "ethan", "scope": "read", "principalId": "x"}), Scope::Read),
        ] {
            let expected = Caller { username: "ethan".parse().unwrap(), scope };
            assert_eq!(caller(authorizer).unwrap(), expected);
        }
        for nothing in
            [json!(null), json!({}), json!({"lambda": {}}), json!({"jwt": {"claims": {}}}), json!("x")]
        {
            assert!(matches!(caller(nothing), Err(NotAuthenticated::NoCredentials)));
        }
        for wrong in [
            json!({"username": "ethan"}),
            json!({"scope": "both"}),
            json!({"username": "Ethan/..", "scope": "both"}),
            json!({"username": "ethan", "scope": "all"}),
            json!({"username": 7, "scope": "both"}),
            json!({"lambda": {"username": ["ethan"], "scope": "both"}}),
            json!({"username": "ethan", "scope": "both", "expires_at": "soon"}),
            json!({"username": "ethan", "scope": "both", "expires_at": 1_795_179_605_007_u64}),
            // The inner object is the authorizer's; the members beside it are not.
            json!({"lambda": {"username": "ethan"}, "scope": "both"}),
        ] {
            assert!(matches!(caller(wrong), Err(NotAuthenticated::Refused)));
        }
    }

    #[tokio::test]
    async fn an_access_key_that_ended_by_itself_is_refused_though_api_gateway_still_believes_in_it() {
        let clock = Arc::new(weir_core::ManualClock::at(Timestamp::saturating(1_000)));
        let authentication = GatewayAuthentication::new(clock.clone());
        let authorizer = json!({"lambda": {"username": "ethan", "scope": "write", "expires_at": "1500"}});
        let mut request = Request::new(());
        request.extensions_mut().insert(Verdict::of(&authorizer));
        let (parts, ()) = request.into_parts();
        assert_eq!(authentication.caller(&parts).await.unwrap().scope, Scope::Write);
        clock.advance(500);
        assert!(matches!(authentication.caller(&parts).await, Err(NotAuthenticated::Refused)));
        assert!(matches!(authentication.still(&parts).await, Err(NotAuthenticated::Refused)));
    }
}
