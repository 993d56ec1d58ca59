//! `GET /`: the dashboard, one self-contained document. It is built here from the files in `page/`, so that its
//! Content-Security-Policy can name exactly these styles and this script by their digests.
//!
//! The document is the same for all users: they sign in on the page, which then reads the API with their rights.

use std::sync::LazyLock;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    api::etag,
    pages::served::{gzip, takes_gzip},
};

const FRAME: &str = include_str!("page/dashboard.html");
const STYLE: &str = include_str!("page/dashboard.css");
/// One script; its parts are in dependency order.
const SCRIPT: &str = concat!(
    include_str!("page/shown.js"),
    include_str!("page/time.js"),
    include_str!("page/api.js"),
    include_str!("page/session.js"),
    include_str!("page/history.js"),
    include_str!("page/chart.js"),
    include_str!("page/numbers.js"),
    include_str!("page/types.js"),
    include_str!("page/form.js"),
    include_str!("page/rejected.js"),
    include_str!("page/keys.js"),
    include_str!("page/stream.js"),
    include_str!("page/live.js"),
    include_str!("page/try.js"),
    include_str!("page/answers.js"),
    include_str!("page/dashboard.js"),
    include_str!("page/start.js"),
);

/// The places of style and script in the frame.
const STYLE_HERE: &str = "/* style */";
const SCRIPT_HERE: &str = "/* script */";

/// Built at the first request: a function on Lambda that only stores events does not wait for it.
static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    document: Bytes,
    gzip: Bytes,
    policy: HeaderValue,
    tag: HeaderValue,
}

impl Page {
    fn new() -> Self {
        let (style, script) = (lean(STYLE), lean(SCRIPT));
        let document = lean(FRAME).replace(STYLE_HERE, &style).replace(SCRIPT_HERE, &script);
        // Everything else is forbidden: other hosts, frames, forms that go somewhere, and text that becomes markup.
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'",
            digest(&style),
            digest(&script),
        );
        // Weak: it is the same for both encodings.
        let tag = format!("W/\"{}\"", digest(&document));
        let header = |text| HeaderValue::try_from(text).expect("base64 and what is written here are ASCII");
        let gzip = gzip(document.as_bytes()).into();
        Self { policy: header(policy), tag: header(tag), gzip, document: document.into() }
    }
}

/// Removes what only readers of the files need: indentation and comment lines.
fn lean(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let comment = |line: &str| line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
    lines.filter(|line| !line.is_empty() && !comment(line)).map(|line| format!("{line}\n")).collect()
}

fn digest(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}

/// `GET /`.
pub(crate) async fn dashboard(request: HeaderMap) -> Response {
    let page = &*PAGE;
    let headers: [(HeaderName, HeaderValue); 7] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::ETAG, page.tag.clone()),
    ];
    if request.get_all(header::IF_NONE_MATCH).iter().any(|had| etag::names(had, &page.tag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    if takes_gzip(&request) {
        return ([(header::CONTENT_ENCODING, "gzip")], headers, page.gzip.clone()).into_response();
    }
    (headers, page.document.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn text(answer: Response) -> String {
        String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
    }

    /// Returns the text between two marks, as a browser finds it.
    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        text.split_once(from).unwrap().1.split_once(to).unwrap().0
    }

    #[tokio::test]
    async fn the_policy_allows_the_script_and_the_styles_that_a_browser_finds_and_nothing_else() {
        let answer = dashboard(HeaderMap::new()).await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; connect-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        let page = text(answer).await;
        for (directive, from, to) in
            [("style-src", "<style>", "</style>"), ("script-src", "<script type=\"module\">", "</script>")]
        {
            assert_eq!(page.matches(from).count(), 1, "{from}");
            let allowed = format!("; {directive} 'sha256-{}'; ", digest(between(&page, from, to)));
            assert!(policy.contains(&allowed), "{allowed} is not in {policy}");
        }
        for handler in [" style=\"", " onclick", " onload", "javascript:", "<script src", "@import", "//cdn"]
        {
            assert!(!page.contains(handler), "{handler}");
        }
        // Either would put a browser's script parser into another state, in which the script's end does not end it.
        assert!(!SCRIPT.contains("<!--") && !SCRIPT.contains("<script"));
        // Comments have lines of their own, and no removed comment spans several lines.
        for text in [lean(STYLE), lean(SCRIPT)] {
            assert!(!text.contains("/*") && !text.contains("*/") && !text.contains(" // "), "{text}");
        }
        // No text of several lines, such as a template, depends on its indentation.
        for line in SCRIPT.lines() {
            assert!(line.matches('`').count() % 2 == 0, "{line}");
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_already_is_not_sent_again() {
        let answer = dashboard(HeaderMap::new()).await;
        let tag = answer.headers()[header::ETAG].clone();
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-cache");
        let tag = tag.to_str().unwrap();
        for (sent, known) in [
            (tag.to_owned(), true),
            (tag.replace("W/", ""), true),
            (format!("\"a\", {tag}"), true),
            ("*".to_owned(), true),
            ("\"a\"".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = [(header::IF_NONE_MATCH, sent.parse().unwrap())].into_iter().collect();
            let answer = dashboard(headers).await;
            let expected = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
            assert_eq!(answer.status(), expected, "{sent}");
            assert!(answer.headers().contains_key(header::CONTENT_SECURITY_POLICY));
            assert_eq!(text(answer).await.is_empty(), known, "{sent}");
        }
    }

    /// Markup consists of elements only; data of the API goes into them as text.
    #[test]
    fn no_text_becomes_markup_or_code() {
        for unsafe_way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "setHTML",
            "DOMParser",
            "createContextualFragment",
            "srcdoc",
        ] {
            assert!(!SCRIPT.contains(unsafe_way), "{unsafe_way}");
        }
        for kept in ["localStorage", "indexedDB", "document.cookie", "caches."] {
            assert!(!SCRIPT.contains(kept), "{kept}");
        }
        // Who is signed in is kept for a reload, in one place and under one name.
        assert_eq!(SCRIPT.matches("sessionStorage").count(), 1);
        assert_eq!(SCRIPT.matches("setItem(").count(), SCRIPT.matches("setItem(KEEPS,").count());
    }
}
