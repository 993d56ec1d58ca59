//! The route to which events of a type are posted.

use std::fmt;

/// The path at which events of a type are posted. The collector refuses those that its API needs for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route(String);

impl Route {
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
    fn a_route_is_one_to_four_plain_segments() {
        for route in ["/", "", "//", "/./docs", "docs", "/Docs", "/a.js", "/a/", "/a/b/c/d/e"] {
            assert!(Route::parse(route).is_err(), "{route}");
        }
        for route in ["/a", "/button/click", "/a/b/c/d", "/my-type_2"] {
            assert_eq!(Route::parse(route).unwrap().as_str(), route);
        }
    }
}
