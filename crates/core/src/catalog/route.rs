//! The route to which events of a type are posted.

use std::fmt;

/// The path at which events of a type are posted; `<route>/count` reads their count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route(String);

impl Route {
    /// First segments that the API itself uses, now or in a version to come.
    const RESERVED: [&str; 9] =
        ["admin", "counts", "docs", "events", "health", "metrics", "openapi.json", "rejected", "weir.js"];

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let segments: Vec<&str> = text.strip_prefix('/').unwrap_or_default().split('/').collect();
        let plain = |segment: &&str| {
            !segment.is_empty()
                && segment.len() <= 64
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
        };
        if segments.len() > 4 || !segments.iter().all(plain) {
            return Err("must be like /button/click: one to four segments of a-z, 0-9, _ and -".to_owned());
        }
        if Self::RESERVED.contains(&segments[0]) {
            return Err(format!("must not begin with /{}, which the API itself uses", segments[0]));
        }
        if segments.last() == Some(&"count") {
            return Err("must not end in /count, which is where counts are read".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the path, beginning with a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_of_an_event_type_is_one_of_the_apis_own() {
        let own =
            ["/counts", "/docs", "/events", "/health", "/metrics", "/openapi.json", "/rejected", "/weir.js"];
        for own in own {
            for route in [own.to_owned(), format!("{own}/x"), format!("{own}/x/y")] {
                assert!(Route::parse(&route).is_err(), "{route}");
            }
        }
        for route in ["/", "", "//", "/./docs", "docs", "/Docs", "/x/count"] {
            assert!(Route::parse(route).is_err(), "{route}");
        }
        assert!(Route::parse("/web/docs").is_ok() && Route::parse("/my-rejected").is_ok());
    }
}
