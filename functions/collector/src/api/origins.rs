//! Origins: whose pages may call the API from a browser (CORS).

use std::str::FromStr;

use axum::http::HeaderValue;
use weir_core::NameError;

/// The origins whose pages may call the API from a browser.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// All origins. A page still needs credentials of its own: the API takes none from the browser.
    #[default]
    Any,
    /// Only these origins.
    Only(Vec<HeaderValue>),
}

impl Origins {
    /// Returns whether pages of this origin may call the API.
    pub(crate) fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.contains(origin),
        }
    }
}

const NOT_AN_ORIGIN: NameError =
    NameError::new("an origin", "is like https://example.com: no path, no slash at its end; or * for all");

impl FromStr for Origins {
    type Err = NameError;

    /// Reads `*`, or a comma-separated list of origins.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let origin = |text: &str| {
            let host = text
                .strip_prefix("https://")
                .or_else(|| text.strip_prefix("http://"))
                .ok_or(NOT_AN_ORIGIN)?;
            let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']);
            if plain { HeaderValue::from_str(text).map_err(|_| NOT_AN_ORIGIN) } else { Err(NOT_AN_ORIGIN) }
        };
        text.split(',').map(|text| origin(text.trim())).collect::<Result<_, _>>().map(Self::Only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_nothing_looser() {
        assert_eq!("*".parse(), Ok(Origins::Any));
        let Origins::Only(two) = "https://a.example, http://localhost:3000".parse().unwrap() else {
            panic!()
        };
        assert_eq!(two, ["https://a.example", "http://localhost:3000"]);
        for bad in ["", "example.com", "https://", "https://a/", "https://*.a", "https://a b", "ftp://a"] {
            assert_eq!(bad.parse::<Origins>(), Err(NOT_AN_ORIGIN), "{bad}");
        }
    }
}
