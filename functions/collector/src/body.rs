//! A request's body: all of its bytes as they were sent, and what they are once decompressed; both are bounded.

use std::io::{self, Read};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::Problem;

/// The largest body as it is sent. Lambda takes 6 MB of it in base64
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>); one limit everywhere.
pub(crate) const MAX_SENT: usize = 4 << 20;

/// The largest body once it is decompressed.
pub(crate) const MAX_DECOMPRESSED: usize = 16 << 20;

/// The largest zstd window, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// From this size on, working on a body takes milliseconds.
const LARGE: usize = 64 * 1024;

/// A body as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    bytes: Bytes,
    encoding: Encoding,
}

impl Sent {
    /// Whether working on it takes time and memory: it is large, or may become so.
    pub(crate) fn is_large(&self) -> bool {
        self.encoding != Encoding::Identity || self.bytes.len() >= LARGE
    }

    /// The body without its encoding.
    pub(crate) fn decode(self) -> Result<Bytes, Problem> {
        match self.encoding {
            Encoding::Identity => Ok(self.bytes),
            Encoding::Gzip => decompress(flate2::read::MultiGzDecoder::new(&self.bytes[..]), "gzip"),
            Encoding::Zstd => {
                let decoder = zstd::Decoder::with_buffer(&self.bytes[..]).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                });
                decompress(decoder.map_err(|_| Problem::UndecodableBody { encoding: "zstd" })?, "zstd")
            }
        }
    }
}

/// Reads the body, whatever its content type.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Sent, Problem> {
    let encoding = encoding(headers)?;
    let too_large = || Problem::BodyTooLarge { limit: MAX_SENT, decompressed: false };
    // Whoever announces too much is told before sending it.
    if body.size_hint().lower() > MAX_SENT as u64 {
        return Err(too_large());
    }
    match Limited::new(body, MAX_SENT).collect().await {
        Ok(sent) => Ok(Sent { bytes: sent.to_bytes(), encoding }),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Problem::BodyIncomplete),
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut found = Encoding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.to_str().map_err(|_| Problem::UnsupportedEncoding)?.split(',') {
            let next = match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Encoding::Gzip,
                "zstd" => Encoding::Zstd,
                _ => return Err(Problem::UnsupportedEncoding),
            };
            // Layers upon layers serve nobody but who wants to exhaust us.
            if found != Encoding::Identity {
                return Err(Problem::UnsupportedEncoding);
            }
            found = next;
        }
    }
    Ok(found)
}

fn decompress(decoder: impl Read, encoding: &'static str) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let read = decoder.take(MAX_DECOMPRESSED as u64 + 1).read_to_end(&mut bytes);
    if bytes.len() > MAX_DECOMPRESSED {
        return Err(Problem::BodyTooLarge { limit: MAX_DECOMPRESSED, decompressed: true });
    }
    read.map_err(|_: io::Error| Problem::UndecodableBody { encoding })?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::CONTENT_ENCODING, value.parse().unwrap())).collect()
    }

    #[test]
    fn one_known_encoding_is_taken_and_nothing_else() {
        assert_eq!(encoding(&headers(&[])).unwrap(), Encoding::Identity);
        assert_eq!(encoding(&headers(&["GZIP"])).unwrap(), Encoding::Gzip);
        assert_eq!(encoding(&headers(&["identity, zstd"])).unwrap(), Encoding::Zstd);
        for bad in [&["br"][..], &["gzip, gzip"], &["gzip", "zstd"], &["é"]] {
            assert!(encoding(&headers(bad)).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_bomb_is_refused_at_the_limit() {
        let zeros = io::repeat(0).take(MAX_DECOMPRESSED as u64 + 1);
        let gzip = io::read_to_end_of(flate2::read::GzEncoder::new(zeros, flate2::Compression::best()));
        let zeros = io::repeat(0).take(MAX_DECOMPRESSED as u64 + 1);
        let zstd = zstd::encode_all(zeros, 1).unwrap();
        for (bomb, name) in [(gzip, "gzip"), (zstd, "zstd")] {
            assert!(bomb.len() < MAX_SENT);
            let answer = read(&headers(&[name]), Body::from(bomb)).await.unwrap().decode();
            assert!(matches!(answer, Err(Problem::BodyTooLarge { decompressed: true, .. })), "{name}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_decompressed_is_refused() {
        for name in ["gzip", "zstd"] {
            for bytes in [&b""[..], b"nonsense", &[0x1f, 0x8b, 8, 0, 0], &[0x28, 0xb5, 0x2f, 0xfd]] {
                let answer = read(&headers(&[name]), Body::from(bytes)).await.unwrap().decode();
                let empty_is_fine = bytes.is_empty() && answer.as_ref().is_ok_and(Bytes::is_empty);
                assert!(
                    empty_is_fine || matches!(answer, Err(Problem::UndecodableBody { .. })),
                    "{name} {bytes:?}"
                );
            }
        }
    }

    /// Compresses in a test.
    mod io {
        pub(super) use std::io::*;

        pub(super) fn read_to_end_of(mut reader: impl Read) -> Vec<u8> {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        }
    }
}
