//! Write keys in other places than the password of the `Authorization` header.
//!
//! A vendor's client takes a write key as one text, `USER:SECRET`, as `weir user add --scope write` prints it. The client sends
//! it as a Basic user name, in the URL or in the body. Wherever it was, it becomes the usual `Authorization` header of the
//! request, so that the host checks it as ever: the same cache, the same limits on failed sign-ins, the same work.
//!
//! Only generated secrets are taken, which cannot be guessed: a chosen password belongs to a person. Keys in URLs, bodies and
//! pages are public, so outside the header only access keys are taken that can write and do nothing else
//! ([`Presented::OutsideHeader`]).

use axum::http::{HeaderValue, Uri, header, request::Parts};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use weir_core::users::Secret;

use crate::api::authentication::NotAuthenticated;

/// The first part of a path that has a key: `/k/USER:SECRET/v1/batch`.
pub(crate) const BELOW: &str = "/k/";

/// The parameter of a query that is a key.
const PARAMETER: &str = "key";

/// The longest text that is looked at: a key is far shorter.
const MAX_BYTES: usize = 256;

/// Where a request has its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presented {
    /// In the `Authorization` header.
    InHeader,
    /// In the URL or in the body: only a key that can do nothing but write is taken.
    OutsideHeader,
    /// Nowhere in the head.
    Nowhere,
}

/// The mark of a request whose `Authorization` is a key that was found here. The host checks it by itself, where others are
/// checked by an authorizer before the API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found;

/// Finds the key in the head of a request, and makes it the request's `Authorization`. A key in the URL comes first: a
/// browser may add credentials of its own to a page's request.
pub(crate) fn of_head(parts: &mut Parts) -> Result<Presented, NotAuthenticated> {
    if let Some(key) = of_url(&parts.uri) {
        put(parts, &key.ok_or(NotAuthenticated::Refused)?)?;
        return Ok(Presented::OutsideHeader);
    }
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let key = match (values.next(), values.next()) {
        (None, _) => return Ok(Presented::Nowhere),
        (Some(value), None) => of_header(value),
        // Two headers: the caller is ambiguous.
        (Some(_), Some(_)) => None,
    };
    put(parts, &key.ok_or(NotAuthenticated::Refused)?)?;
    Ok(Presented::InHeader)
}

/// Makes a key that was found in the body the request's `Authorization`.
pub(crate) fn of_body(parts: &mut Parts, key: &str) -> Result<Presented, NotAuthenticated> {
    put(parts, &Key::read(key).ok_or(NotAuthenticated::Refused)?)?;
    Ok(Presented::OutsideHeader)
}

/// Returns whether the URL of a request has a key, right or wrong.
pub(crate) fn is_in_url(uri: &Uri) -> bool {
    of_url(uri).is_some()
}

/// Returns the path of a request below its key.
pub(crate) fn path_below(uri: &Uri) -> &str {
    let path = uri.path();
    let below = path.strip_prefix(BELOW).and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    below.unwrap_or(path)
}

/// A key: the name, a colon, and a generated secret.
struct Key(String);

impl Key {
    /// Reads a key, with or without the colon that a Basic user name ends with.
    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return None;
        }
        let text = text.trim().trim_end_matches(':');
        let (_, secret) = text.split_once(':')?;
        Secret::presented(secret).looks_generated().then(|| Self(text.to_owned()))
    }
}

/// Returns the key in the URL; `Some(None)` if what is there is no key.
fn of_url(uri: &Uri) -> Option<Option<Key>> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().and_then(|text| Key::read(&text));
    if let Some(rest) = uri.path().strip_prefix(BELOW) {
        return Some(decoded(rest.split('/').next().unwrap_or_default()));
    }
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == PARAMETER).map(|(_, value)| decoded(value))
}

/// Returns the key in the header: as a Basic user name with an empty password, so that it ends in a colon once it is decoded,
/// or as a user name and its password. No generated secret ends in a colon.
fn of_header(header: &HeaderValue) -> Option<Key> {
    let (scheme, token) = header.to_str().ok()?.trim().split_once(' ')?;
    let sent = String::from_utf8(BASE64_STANDARD.decode(token.trim()).ok()?).ok()?;
    scheme.eq_ignore_ascii_case("basic").then(|| Key::read(&sent)).flatten()
}

fn put(parts: &mut Parts, key: &Key) -> Result<(), NotAuthenticated> {
    let header = format!("Basic {}", BASE64_STANDARD.encode(&key.0));
    let mut header = HeaderValue::try_from(header).map_err(|_| NotAuthenticated::Refused)?;
    header.set_sensitive(true);
    parts.headers.insert(header::AUTHORIZATION, header);
    parts.extensions.insert(Found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use proptest::prelude::*;

    use super::*;

    fn parts(uri: &str, basic: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(uri);
        if let Some(basic) = basic {
            request =
                request.header(header::AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(basic)));
        }
        request.body(()).unwrap().into_parts().0
    }

    fn credentials(parts: &Parts) -> String {
        let value = parts.headers[header::AUTHORIZATION].to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap()
    }

    #[test]
    fn a_key_is_found_wherever_a_client_puts_it() {
        use Presented::{InHeader, OutsideHeader};
        for (uri, basic, place, expected) in [
            ("/v1/batch", Some("ann:weir_x:"), InHeader, "ann:weir_x"),
            ("/v1/batch", Some("ann:weir_x"), InHeader, "ann:weir_x"),
            ("/events?a=1&key=ann:weir_x", None, OutsideHeader, "ann:weir_x"),
            ("/events?key=ann%3Aweir_x", Some("eve:weir_y"), OutsideHeader, "ann:weir_x"),
            ("/k/ann:weir_x/v1/batch", None, OutsideHeader, "ann:weir_x"),
            ("/k/ann%3aweir_x/v1/batch?key=eve:weir_y", None, OutsideHeader, "ann:weir_x"),
        ] {
            let mut parts = parts(uri, basic);
            assert_eq!(of_head(&mut parts).unwrap(), place, "{uri}");
            assert_eq!(credentials(&parts), expected, "{uri}");
        }
        let mut none = parts("/v1/batch?keys=a:weir_b", None);
        assert_eq!(of_head(&mut none).unwrap(), Presented::Nowhere);
        assert_eq!(of_body(&mut none, "ann:weir_x").unwrap(), OutsideHeader);
        assert_eq!(credentials(&none), "ann:weir_x");
    }

    #[test]
    fn only_generated_secrets_are_taken() {
        for basic in ["ann:password", "ann:password:", "ann", ""] {
            assert!(of_head(&mut parts("/v1/batch", Some(basic))).is_err(), "{basic}");
        }
        for uri in [
            "/events?key=ann:password",
            "/k/ann:password/v1/batch",
            "/k/x",
            "/events?key=",
            "/events?key=%ff",
        ] {
            assert!(of_head(&mut parts(uri, Some("ann:weir_x"))).is_err(), "{uri}");
        }
        for key in ["ann:password", "weir_x", "", ":", "ann:weir_x\n"] {
            assert!(of_body(&mut parts("/", None), key).is_err(), "{key}");
        }
    }

    #[test]
    fn the_path_below_a_key_is_the_routes() {
        for (uri, expected) in
            [("/k/a:weir_b/v1/t?x", "/v1/t"), ("/v1/t", "/v1/t"), ("/k/a", "/k/a"), ("/k/a/", "/")]
        {
            assert_eq!(path_below(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_head_makes_it_panic(path in "/(k/)?[!-~]{0,30}", basic in prop::option::of("\\PC{0,30}")) {
            if let Ok(uri) = path.parse::<Uri>() {
                let mut parts = parts("/", basic.as_deref());
                parts.uri = uri;
                let _ = of_head(&mut parts);
                let _ = path_below(&parts.uri);
            }
        }
    }
}
