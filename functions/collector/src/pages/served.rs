//! Files for browsers, compressed at build time (`build.rs`).

use std::io::{self, Read, Write};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use crate::api::problem::Problem;

/// A file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    pub(crate) media_type: &'static str,
    /// The content, as gzip.
    pub(crate) gzip: &'static [u8],
}

/// Embeds the file that `build.rs` compressed under this name.
macro_rules! file {
    ($media_type:literal, $name:literal) => {
        $crate::pages::served::File {
            media_type: concat!($media_type, "; charset=utf-8"),
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        }
    };
}
pub(crate) use file;

impl File {
    /// Returns the content, decompressed.
    pub(crate) fn plain(self) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        MultiGzDecoder::new(self.gzip).read_to_end(&mut plain)?;
        Ok(plain)
    }

    /// Returns the answer to a request with these headers.
    pub(crate) fn answer(self, asked: &HeaderMap) -> Result<Response, Problem> {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, self.media_type);
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(header::VARY, "accept-encoding");
        // A new version of Weir may have a new version of the file under the same name.
        set(header::CACHE_CONTROL, "public, max-age=3600");
        if takes_gzip(asked) {
            set(header::CONTENT_ENCODING, "gzip");
            return Ok((headers, self.gzip).into_response());
        }
        Ok((headers, self.plain().map_err(|_| Problem::Internal)?).into_response())
    }
}

/// Compresses what is made at run time, once.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("writing to memory does not fail")
}

/// Returns whether a client takes gzip. By RFC 9110 a request that names no encoding takes every one, but every client can
/// read plain content.
pub(crate) fn takes_gzip(asked: &HeaderMap) -> bool {
    let named = asked.get_all(header::ACCEPT_ENCODING);
    named.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0);
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_goes_only_to_those_who_take_it() {
        let asking = |value: &'static str| {
            let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(value))];
            takes_gzip(&headers.into_iter().collect())
        };
        assert!(asking("gzip") && asking("br, gzip;q=0.5") && asking("*"));
        assert!(!asking("br") && !asking("gzip;q=0") && !asking(""));
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
