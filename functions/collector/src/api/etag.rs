//! Conditional requests: a JSON answer to `GET` has an `ETag`, and a client that already has the answer with that tag gets
//! 304 instead (RFC 9110, section 13).

use std::{convert::Infallible, hash::Hasher};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::api::problem::Problem;

/// Larger bodies get no tag. No answer of the API is this large.
const MAX_BYTES: u64 = 8 << 20;

/// The middleware for all routes.
pub(crate) async fn spare(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let had: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let answer = next.run(request).await;
    if answer.status() != StatusCode::OK || !is_small_json(&answer) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // The body is in memory, and its length is known.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return Problem::Internal.into_response() };
    let tag = tag(&body);
    let has_it = had.iter().any(|had| names(had, &tag));
    parts.headers.insert(header::ETAG, tag);
    if !has_it {
        return Response::from_parts(parts, body.into());
    }
    parts.status = StatusCode::NOT_MODIFIED;
    remove_what_is_said_of_the_body(&mut parts.headers);
    // A body of unknown length: a length would be taken for that of the omitted answer.
    let nothing = Body::from_stream(futures_util::stream::empty::<Result<Bytes, Infallible>>());
    Response::from_parts(parts, nothing)
}

/// The middleware for routes that need credentials: no cache may share their answers, nor serve one without revalidation,
/// unless the answer itself says that it may.
pub(crate) async fn keep_private(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut answer = next.run(request).await;
    if reads {
        let private = HeaderValue::from_static("private, no-cache");
        answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(private);
    }
    answer
}

/// Returns whether an answer is JSON that is completely in memory.
fn is_small_json(answer: &Response) -> bool {
    let is_json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|of| of == "application/json");
    is_json && answer.body().size_hint().exact().is_some_and(|bytes| bytes <= MAX_BYTES)
}

/// Returns a weak tag: it identifies the same JSON in any later encoding. The key of the digest is the same in all
/// processes; a client that found two bodies with one digest could fool only itself.
fn tag(body: &[u8]) -> HeaderValue {
    let mut digest = SipHasher13::new();
    digest.write(body);
    HeaderValue::from_str(&format!("W/\"{:032x}\"", digest.finish128().as_u128()))
        .expect("hexadecimal digits and quotes are a header's value")
}

/// Returns whether an `If-None-Match` has the tag. Weir's own tags are compared weakly; a comma in a foreign tag does no
/// harm.
pub(crate) fn names(had: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(had), Ok(tag)) = (had.to_str(), tag.to_str()) else { return false };
    let opaque = |tag: &'_ str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    had.split(',').map(str::trim).any(|had| had == "*" || opaque(had) == opaque(tag))
}

fn remove_what_is_said_of_the_body(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_follows_from_the_body_alone_and_is_recognised_weak_or_not_among_others() {
        let [one, other] = [tag(b"{}"), tag(b"{ }")];
        assert_eq!(one, tag(b"{}"));
        assert_ne!(one, other);
        let text = one.to_str().unwrap();
        assert!(text.starts_with("W/\"") && text.len() == 36, "{text}");
        let named = |text: String| names(&HeaderValue::from_str(&text).unwrap(), &one);
        assert!(named(text.to_owned()) && named(text[2..].to_owned()) && named("*".to_owned()));
        assert!(named(format!("\"a,b\" , {text}")) && named(format!("{text},W/\"x\"")));
        for others in ["", "\"\"", "W/\"*\"", other.to_str().unwrap(), &text[3..35]] {
            assert!(!named(others.to_owned()), "{others}");
        }
    }
}
