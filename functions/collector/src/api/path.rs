//! Paths with an extra slash, as where a base URL ends with one: `//events`, `/events/`.
//!
//! A redirect to the route would lose the body of a POST, so such a path is taken as the route. Every host calls [`tidy`]
//! before it routes a request. Only slashes are removed. `%2F` is a character of a name, and a path with it is another
//! path.

use axum::http::{Uri, uri::PathAndQuery};

/// The page with relative links: this path redirects to it instead (`docs`).
pub(crate) const DOCS: &str = "/docs/";

/// Removes from a path each slash that follows another one, and the last one.
pub fn tidy(uri: &mut Uri) {
    let path = uri.path();
    let is_tidy = path.len() <= 1 || !(path.ends_with('/') || path.contains("//"));
    if is_tidy {
        return;
    }
    let mut tidied = String::with_capacity(path.len());
    for name in path.split('/').filter(|name| !name.is_empty()) {
        tidied.push('/');
        tidied.push_str(name);
    }
    if tidied.is_empty() {
        tidied.push('/');
    }
    if tidied == DOCS.trim_end_matches('/') && path.ends_with('/') {
        DOCS.clone_into(&mut tidied);
    }
    if let Some(query) = uri.query() {
        tidied.push('?');
        tidied.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    // A part of a path is a path, so this cannot fail; if it did, the path would be no route.
    if let Ok(path) = PathAndQuery::try_from(tidied) {
        parts.path_and_query = Some(path);
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_too_many_are_taken_out_of_a_path_and_of_nothing_else() {
        for (sent, expected) in [
            ("/events", "/events"),
            ("/", "/"),
            ("/events/", "/events"),
            ("//events", "/events"),
            ("///button//click///?a=//b/", "/button/click?a=//b/"),
            ("//", "/"),
            ("//?q", "/?q"),
            ("http://weir.example//counts/", "http://weir.example/counts"),
            ("/events%2F", "/events%2F"),
            ("/counts/a%2F%2Fb/", "/counts/a%2F%2Fb"),
            ("/counts/../events/", "/counts/../events"),
            ("/docs/", "/docs/"),
            ("//docs//", "/docs/"),
            ("//docs", "/docs"),
            ("*", "*"),
        ] {
            let mut uri: Uri = Uri::builder().path_and_query("/").build().unwrap();
            if let Ok(path) = PathAndQuery::try_from(sent) {
                uri = Uri::from(path);
            }
            if sent.starts_with("http") {
                uri = sent.parse().unwrap();
            }
            tidy(&mut uri);
            assert_eq!(uri.to_string(), expected, "{sent}");
        }
    }
}
