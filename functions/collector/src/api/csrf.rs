//! Protection against cross-site request forgery: refused requests of web pages, and no challenge for browsers.
//!
//! A browser that knows a username and a secret, because a person once typed them into its own prompt, sends them along
//! with the requests of every page: cross-site request forgery. Two rules keep that from storing an event. A browser never
//! gets the `Basic` challenge, so it has no credentials to send along. And a `POST` or a `DELETE` from a page is refused, before its
//! credentials are checked, unless the page may call the API.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    adapters::key,
    api::{origins::Origins, problem::Problem},
};

/// A challenge for which no browser has a prompt. RFC 9110 requires a challenge with every 401.
const WITHOUT_PROMPT: HeaderValue = HeaderValue::from_static("xBasic realm=\"weir\", charset=\"UTF-8\"");

/// The middleware for routes that need credentials.
pub(crate) async fn keep_out(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let browser = is_from_a_browser(headers);
    let posts = browser && [Method::POST, Method::DELETE].contains(request.method());
    let brings_a_key = posts && key::is_in_url(request.uri());
    let may =
        !posts || if brings_a_key { may_bring_a_key(headers, &origins) } else { may_post(headers, &origins) };
    if !may {
        return Problem::OriginNotAllowed.into_response();
    }
    let mut answer = next.run(request).await;
    if browser && answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, WITHOUT_PROMPT);
    }
    answer
}

/// The middleware for routes of vendors' clients. A page brings its key in the URL or in the body, where no browser puts one
/// by itself: then the page's origin alone decides. An `Authorization` may be the browser's own, whatever the method.
pub(crate) async fn keep_out_of_foreign(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let browser = is_from_a_browser(headers);
    let has_header = headers.contains_key(header::AUTHORIZATION) && !key::is_in_url(request.uri());
    let may = if has_header { may_post(headers, &origins) } else { may_bring_a_key(headers, &origins) };
    if browser && !may {
        return Problem::OriginNotAllowed.into_response();
    }
    let mut answer = next.run(request).await;
    if browser && answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, WITHOUT_PROMPT);
    }
    answer
}

/// Returns whether a page may send events with a key of its own. A picture's request names no origin.
fn may_bring_a_key(headers: &HeaderMap, origins: &Origins) -> bool {
    let is_allowed = |origin| origins.allow(origin) || is_own(origin, headers);
    let mut named = headers.get_all(header::ORIGIN).iter();
    match (named.next(), named.next()) {
        (None, _) => true,
        (Some(origin), None) => is_allowed(origin),
        (Some(_), Some(_)) => false,
    }
}

/// Returns whether a browser sends the request. `Sec-Fetch-*` comes over https and from this machine only, so a navigation
/// over plain http is recognised by its `Accept`.
fn is_from_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-site")
        || headers.contains_key("sec-fetch-mode")
        || headers.contains_key(header::ORIGIN)
        || navigates(headers)
}

/// Returns whether the page that posts may call the API.
fn may_post(headers: &HeaderMap, origins: &Origins) -> bool {
    let fetch = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    // No page can set this header: with it the browser itself says that the page is the API's own.
    if fetch("sec-fetch-site") == Some(b"same-origin") {
        return true;
    }
    // A form, a beacon and `no-cors` cannot carry a page's own `Authorization`: it would be the browser's.
    let foreign = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    if foreign && (matches!(fetch("sec-fetch-mode"), Some(b"navigate" | b"no-cors")) || navigates(headers)) {
        return false;
    }
    let mut named = headers.get_all(header::ORIGIN).iter();
    match (named.next(), named.next()) {
        (Some(origin), None) => origins.allow(origin) || is_own(origin, headers),
        (Some(_), Some(_)) => false,
        (None, _) => {
            matches!(origins, Origins::Any) || fetch("sec-fetch-site").is_none_or(|site| site == b"none")
        }
    }
}

/// Returns whether a browser would show the answer as a page.
fn navigates(headers: &HeaderMap) -> bool {
    let accepts_pages = |accept: &HeaderValue| accept.to_str().is_ok_and(|text| text.contains("text/html"));
    headers.contains_key("upgrade-insecure-requests")
        || headers.get(header::ACCEPT).is_some_and(accepts_pages)
}

/// Returns whether the origin is the requested host. The scheme is ignored: a proxy may speak TLS for the server.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let (Ok(origin), Ok(host)) = (origin.to_str(), host.to_str()) else { return false };
    let Some((scheme, of_page)) = origin.split_once("://") else { return false };
    let usual_port = if scheme == "https" { ":443" } else { ":80" };
    of_page.eq_ignore_ascii_case(host.strip_suffix(usual_port).unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn verdicts(lines: &[(&'static str, &str)]) -> [bool; 2] {
        let listed: Origins = "https://a.example".parse().unwrap();
        let headers = headers(&[lines, &[("host", "weir.example")]].concat());
        assert!(is_from_a_browser(&headers), "{lines:?}");
        [&Origins::Any, &listed].map(|origins| may_post(&headers, origins))
    }

    #[test]
    fn a_page_posts_only_where_it_may_call_the_api_and_brings_its_own_credentials() {
        const ORIGIN: &str = "origin";
        const SITE: &str = "sec-fetch-site";
        const MODE: &str = "sec-fetch-mode";
        for (lines, expected) in [
            (&[(ORIGIN, "https://a.example"), (SITE, "cross-site"), (MODE, "cors")][..], [true, true]),
            (&[(ORIGIN, "https://evil.example"), (SITE, "cross-site"), (MODE, "cors")], [true, false]),
            (&[(ORIGIN, "https://evil.example")], [true, false]),
            (&[(ORIGIN, "null")], [true, false]),
            (&[(SITE, "cross-site")], [true, false]),
            (&[(ORIGIN, "https://a.example"), (ORIGIN, "https://b.example")], [false, false]),
            // The headers of a form, a beacon and an opaque request of any page.
            (&[(ORIGIN, "https://a.example"), (SITE, "cross-site"), (MODE, "navigate")], [false, false]),
            (&[(ORIGIN, "https://a.example"), (SITE, "cross-site"), (MODE, "no-cors")], [false, false]),
            (&[(ORIGIN, "http://a.example"), ("accept", "text/html,*/*;q=0.8")], [false, false]),
            (&[(ORIGIN, "http://a.example"), ("upgrade-insecure-requests", "1")], [false, false]),
            // The API's own page, in a browser that says so and in one that does not.
            (&[(ORIGIN, "null"), (SITE, "same-origin"), (MODE, "cors")], [true, true]),
            (&[(ORIGIN, "http://weir.example")], [true, true]),
            (&[(ORIGIN, "https://weir.example:8443")], [true, false]),
            // Programs that look a little like browsers: `fetch` in Node.js.
            (&[(MODE, "cors")], [true, true]),
        ] {
            assert_eq!(verdicts(lines), expected, "{lines:?}");
        }
    }
}
