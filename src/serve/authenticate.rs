//! Authenticates callers where the server itself sees the credentials, and limits their request rate.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use authorizer::{Authorizer, Grant, Rate, Refusal};
use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, header, request::Parts},
};
use collector::{Authenticate, Caller, NotAuthenticated};
use weir_core::{Clock, Username};

use super::metrics::RefusedMetrics;

/// Passes the request's `Authorization` header to the authorizer.
pub(crate) struct BasicAuthentication {
    authorizer: Authorizer,
    /// Rate limit per user; `None` if unlimited.
    calls: Option<Rate<Username>>,
    /// Whether a proxy forwards the client's address.
    behind_a_proxy: bool,
    clock: Arc<dyn Clock>,
    refused: RefusedMetrics,
}

impl BasicAuthentication {
    /// Makes the authentication. `requests_per_second` applies to each user; zero means no limit.
    pub(crate) fn new(
        authorizer: Authorizer,
        requests_per_second: u32,
        behind_a_proxy: bool,
        clock: Arc<dyn Clock>,
        refused: RefusedMetrics,
    ) -> Self {
        let per_second = || Rate::new(requests_per_second, Duration::from_secs(1), requests_per_second);
        Self { authorizer, calls: (requests_per_second > 0).then(per_second), behind_a_proxy, clock, refused }
    }
}

impl BasicAuthentication {
    /// Returns what the request's credentials grant.
    async fn grant(&self, request: &Parts) -> Result<Grant, NotAuthenticated> {
        let mut values = request.headers.get_all(header::AUTHORIZATION).iter();
        let header = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value.to_str().map_err(|_| NotAuthenticated::Refused)?),
            // Two `Authorization` headers: the caller is ambiguous.
            (Some(_), Some(_)) => return Err(NotAuthenticated::Refused),
        };
        match self.authorizer.authorize_from(self.address(request), header).await {
            Ok(grant) => Ok(grant),
            Err(Refusal::NoCredentials) => Err(NotAuthenticated::NoCredentials),
            Err(Refusal::Malformed(_) | Refusal::Wrong) => {
                self.refused.sign_ins.inc();
                Err(NotAuthenticated::Refused)
            }
            Err(Refusal::TooMany { retry_after }) => {
                self.refused.by_failures.inc();
                Err(NotAuthenticated::TooManyFailures { retry_after })
            }
            Err(Refusal::Unavailable(error)) => Err(NotAuthenticated::Unavailable(error)),
        }
    }
}

#[async_trait]
impl Authenticate for BasicAuthentication {
    async fn caller(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        let grant = self.grant(request).await?;
        if let Some(calls) = &self.calls {
            calls.take(&grant.username, self.clock.now()).map_err(|retry_after| {
                self.refused.by_requests.inc();
                NotAuthenticated::TooManyRequests { retry_after }
            })?;
        }
        Ok(Caller { username: grant.username, scope: grant.scope })
    }

    /// Checks the key again. That is usually a hit in the authorizer's cache, whose entries expire once a removed key must be
    /// refused.
    async fn still(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        let grant = self.grant(request).await?;
        Ok(Caller { username: grant.username, scope: grant.scope })
    }

    fn address(&self, request: &Parts) -> Option<IpAddr> {
        client(request, self.behind_a_proxy)
    }
}

/// Returns the client's address: the peer's, or the one that a trusted proxy forwards.
fn client(request: &Parts, behind_a_proxy: bool) -> Option<IpAddr> {
    let forwarded = behind_a_proxy.then(|| forwarded_for(&request.headers)).flatten();
    forwarded.or_else(|| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
}

/// Returns the last address of `X-Forwarded-For`, which the proxy added. The client may have forged those before it.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    // Some proxies add the port.
    last.parse().ok().or_else(|| last.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn request(forwarded: &[&str]) -> Parts {
        let mut request = Request::new(()).into_parts().0;
        request.extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        for value in forwarded {
            request.headers.append("x-forwarded-for", value.parse().unwrap());
        }
        request
    }

    #[test]
    fn the_clients_address_is_the_connections_whatever_headers_say() {
        for forwarded in [&[][..], &["192.0.2.1"], &["192.0.2.1, 192.0.2.2"]] {
            assert_eq!(client(&request(forwarded), false), "127.0.0.1".parse().ok());
        }
    }

    #[test]
    fn behind_a_proxy_it_is_the_last_one_that_the_proxy_names() {
        for (forwarded, address) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["made up, 192.0.2.9,192.0.2.1 "], "192.0.2.1"),
            (&["192.0.2.9", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:1234"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]:1234"], "2001:db8::1"),
            (&["unknown"], "127.0.0.1"),
            (&["192.0.2.9, "], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            assert_eq!(client(&request(forwarded), true), address.parse().ok(), "{forwarded:?}");
        }
    }
}
