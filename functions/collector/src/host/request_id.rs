//! Request ids: one id in a request's answer, its errors and its log lines.
//!
//! Weir makes the id, unless the host already has one (API Gateway). It never comes from the client, who could otherwise
//! choose text in the log, or give two requests one id.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, field::Empty};
use weir_core::{Clock, EventId, Random, trace::TRACED};

/// The header of every answer that has the id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// The id of the current request.
    static CURRENT: RequestId;
}

/// The id of a request. A host with its own ids puts one into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes a host's id: up to 128 letters, digits and `+-./:=_`. Returns `None` for any other text.
    #[must_use]
    pub fn of_host(text: &str) -> Option<Self> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./:=_".contains(&byte);
        let is_one = (1..=128).contains(&text.len()) && text.bytes().all(known);
        is_one.then(|| HeaderValue::from_str(text).ok().map(Self)).flatten()
    }

    /// Generates an id: a UUIDv7, like an event's.
    fn generate(source: &Source) -> Self {
        let id = EventId::generate(source.clock.now(), &*source.random);
        Self(HeaderValue::from_str(id.as_str()).expect("a UUID is a header's value"))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// The source of ids.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// The middleware that gives each request its id. It is the outermost, so no answer goes out without the id.
pub(crate) async fn identify(State(source): State<Source>, mut request: Request, next: Next) -> Response {
    let id = request.extensions_mut().remove().unwrap_or_else(|| RequestId::generate(&source));
    let traced = tracing::debug_span!(
        target: TRACED,
        "request",
        otel.kind = "server",
        http.request.method = method(request.method()),
        http.route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
        weir.request_id = id.as_str(),
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    let logged = traced.in_scope(|| tracing::error_span!("request", request_id = id.as_str()));
    let header = id.0.clone();
    let mut answer = CURRENT.scope(id, next.run(request)).instrument(logged).instrument(traced.clone()).await;
    if !traced.is_disabled() {
        let status = answer.status();
        traced.record("http.response.status_code", i64::from(status.as_u16()));
        traced.record("otel.status_code", status.is_server_error().then_some("ERROR"));
    }
    answer.headers_mut().insert(X_REQUEST_ID, header);
    answer
}

/// Makes an answer to a request that reaches no route, under an id of its own.
pub(crate) fn identified<B>(source: &Source, make: impl FnOnce() -> Response<B>) -> Response<B> {
    let id = RequestId::generate(source);
    let header = id.0.clone();
    let logged = tracing::error_span!("request", request_id = id.as_str());
    let mut answer = logged.in_scope(|| CURRENT.sync_scope(id, make));
    answer.headers_mut().insert(X_REQUEST_ID, header);
    answer
}

/// Returns the `instance` for the problem details of the current request.
pub(crate) fn instance() -> Option<String> {
    CURRENT.try_with(|id| format!("urn:weir:request:{}", id.as_str())).ok()
}

/// Returns a standard HTTP method. Any other method is the client's invention.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::OPTIONS | Method::HEAD | Method::PUT | Method::DELETE => {
            method.as_str()
        }
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_id_is_believed_where_it_can_stand_in_a_header_and_a_urn() {
        for good in ["JKJaXmPLvHcESHA=", "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "a", &"x".repeat(128)] {
            assert_eq!(RequestId::of_host(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\r\nset-cookie: b", "\u{e9}", "\"", "#", &"x".repeat(129)] {
            assert_eq!(RequestId::of_host(bad), None, "{bad:?}");
        }
    }
}
