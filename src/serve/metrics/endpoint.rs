//! `/metrics`: access and address.
//!
//! On the server's own address it answers only clients on the same machine, such as a scraper there. Metrics reveal how
//! much business a company does, and basic authentication would need one more user, so other clients get the 404 of any
//! path without a route. A proxy on the same machine would ask on behalf of the whole world, and a page in a browser on
//! behalf of its site, so a request with any header that a scraper does not send is refused. With `--metrics-listen` there
//! is a separate address for metrics, and every client that reaches it may read them.

use std::{net::IpAddr, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Metrics, exposition::Exposition};

/// All headers that a scraper itself sends. Proxies and browsers add more, each under names of its own (`True-Client-IP`,
/// `CDN-Loop`, `Sec-Fetch-Site`), so any header outside this list causes a refusal.
const OF_A_SCRAPER: [&str; 16] = [
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "pragma",
    "te",
    "traceparent",
    "tracestate",
    "x-prometheus-scrape-timeout-seconds",
    "if-none-match",
];

/// Answers for `/metrics` on the server's own address, as a middleware.
pub(in crate::serve) async fn for_this_machine(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path() == "/metrics" && request.method() == Method::GET && is_for_this_machine(&request)
    {
        return answer(&metrics, request.headers()).await;
    }
    next.run(request).await
}

/// Returns the router for a separate metrics address.
pub(in crate::serve) fn alone(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(async move |headers: HeaderMap| answer(&metrics, &headers).await))
}

async fn answer(metrics: &Metrics, asked: &HeaderMap) -> Response {
    let format = Exposition::asked_for(asked);
    let headers =
        [(header::CONTENT_TYPE, format.content_type()), (header::VARY, HeaderValue::from_static("accept"))];
    (headers, format.of(metrics.text().await)).into_response()
}

fn is_for_this_machine(request: &Request) -> bool {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let near = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    // Proxies that add no header, such as nginx with default settings, ask in HTTP/1.0.
    near && request.version() == Version::HTTP_11
        && names_this_machine(request.headers())
        && request.headers().keys().all(|name| OF_A_SCRAPER.contains(&name.as_str()))
}

/// Returns whether the request has one `Host`, which names this machine. That defeats DNS rebinding: a page from elsewhere can
/// make its own name resolve to this machine.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        // The last part of an IPv6 address is not a port.
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(peer: [u8; 4], headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 9))));
        request
    }

    #[test]
    fn only_who_is_on_this_machine_and_asks_for_itself_may_read_metrics() {
        const HERE: [u8; 4] = [127, 0, 0, 1];
        for host in ["localhost:8080", "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]", "LocalHost"] {
            assert!(is_for_this_machine(&request(HERE, &[("host", host)])), "{host}");
        }
        for host in ["weir.example", "localhost.evil.example", "192.0.2.1:8080", "", "::", "[::"] {
            assert!(!is_for_this_machine(&request(HERE, &[("host", host)])), "{host}");
        }
        let host = ("host", "localhost");
        assert!(!is_for_this_machine(&request([192, 0, 2, 1], &[host])));
        assert!(!is_for_this_machine(&request(HERE, &[])));
        for header in OF_A_SCRAPER.iter().filter(|name| **name != "host") {
            assert!(is_for_this_machine(&request(HERE, &[host, (header, "x")])), "{header}");
        }
        let mut old = request(HERE, &[host]);
        *old.version_mut() = Version::HTTP_10;
        assert!(!is_for_this_machine(&old));
        assert!(!is_for_this_machine(&request(HERE, &[host, host])));
        for header in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-real-ip",
            "via",
            "cf-connecting-ip",
            "cdn-loop",
            "true-client-ip",
            "fastly-client-ip",
            "fly-client-ip",
            "x-client-ip",
            "x-envoy-internal",
            "origin",
            "cookie",
            "sec-fetch-site",
            "accept-language",
            "a-proxy-that-is-not-known-yet",
        ] {
            assert!(!is_for_this_machine(&request(HERE, &[host, (header, "x")])), "{header}");
        }
    }
}
