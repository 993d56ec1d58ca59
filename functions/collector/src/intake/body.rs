//! Reads a request's body and decompresses it; both sizes are bounded.

use std::{
    error::Error,
    io::{self, Read},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;

use crate::{
    api::problem::Problem,
    intake::limits::{Limits, MAX_SENT, Room},
};

/// The largest body after decompression.
pub(crate) const MAX_DECOMPRESSED: usize = 16 << 20;

/// The largest zstd window, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A host's error for a body that its client sends too slowly (a slow loris). The client learns the reason.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body came too slowly")]
pub struct BodyTooSlow;

/// A host's error for a compressed body that reached it as text.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the compressed body was taken for text")]
pub(crate) struct CompressedAsText;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// From this size on, a body takes milliseconds of work.
const LARGE: usize = 64 * 1024;

/// The first bytes of gzip. Clients of other vendors send it without an announced encoding.
pub(crate) const GZIP: &[u8] = b"\x1f\x8b";

/// A body as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    bytes: Bytes,
    encoding: Encoding,
}

impl Sent {
    /// Returns whether the body takes time and memory to process: it is large, or may decompress to much, or has more bytes
    /// than `at_once`, the number that is quickly checked.
    pub(crate) fn is_large(&self, at_once: usize) -> bool {
        self.encoding != Encoding::Identity
            || self.bytes.starts_with(GZIP)
            || self.bytes.len() >= LARGE.min(at_once)
    }

    /// Returns the number of bytes sent.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the body without its encoding.
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
pub(crate) async fn read(
    limits: &Limits,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<(Sent, Room), Problem> {
    let encoding = encoding(headers)?;
    let too_large = || Problem::BodyTooLarge { limit: MAX_SENT, decompressed: false };
    // A client that announces too large a body gets the error before it sends the body.
    if body.size_hint().lower() > MAX_SENT as u64 {
        return Err(too_large());
    }
    let (mut parts, mut length) = (Vec::new(), 0);
    let mut room = limits.room();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if is::<BodyTooSlow>(&error) {
                Problem::BodyTooSlow
            } else if is::<CompressedAsText>(&error) {
                Problem::CompressedAsText
            } else {
                Problem::BodyIncomplete
            }
        })?;
        let Ok(part) = frame.into_data() else { continue };
        length += part.len();
        if length > MAX_SENT {
            return Err(too_large());
        }
        room.grow(part.len())?;
        parts.push(part);
    }
    // Most bodies have one part, which is not copied.
    let bytes = if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat().into() };
    Ok((Sent { bytes, encoding }, room))
}

/// Returns whether the host's error is a `T`, whatever it was wrapped in.
fn is<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<T>)
}

/// Returns whether the request declares a compressed body.
#[cfg(feature = "lambda")]
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    encoding(headers).is_ok_and(|encoding| encoding != Encoding::Identity)
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
            // Several layers of compression serve only attackers that want to exhaust the process.
            if found != Encoding::Identity {
                return Err(Problem::UnsupportedEncoding);
            }
            found = next;
        }
    }
    Ok(found)
}

/// Decompresses gzip that a protocol has inside its body, within the limit of every body.
pub(crate) fn gunzip(bytes: &[u8]) -> Result<Bytes, Problem> {
    decompress(flate2::read::MultiGzDecoder::new(bytes), "gzip")
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

    async fn read(headers: &HeaderMap, body: Body) -> Result<(Sent, Room), Problem> {
        super::read(&Limits::default(), headers, body).await
    }

    #[tokio::test]
    async fn a_bomb_is_refused_at_the_limit() {
        let zeros = io::repeat(0).take(MAX_DECOMPRESSED as u64 + 1);
        let gzip = io::read_to_end_of(flate2::read::GzEncoder::new(zeros, flate2::Compression::best()));
        let zeros = io::repeat(0).take(MAX_DECOMPRESSED as u64 + 1);
        let zstd = zstd::encode_all(zeros, 1).unwrap();
        for (bomb, name) in [(gzip, "gzip"), (zstd, "zstd")] {
            assert!(bomb.len() < MAX_SENT);
            let answer = read(&headers(&[name]), Body::from(bomb)).await.unwrap().0.decode();
            assert!(matches!(answer, Err(Problem::BodyTooLarge { decompressed: true, .. })), "{name}");
        }
    }

    #[tokio::test]
    async fn gzip_that_is_not_announced_waits_for_the_place_of_a_large_body() {
        let (sent, _room) = read(&headers(&[]), Body::from(&b"\x1f\x8b\x08"[..])).await.unwrap();
        assert!(sent.is_large(usize::MAX));
        assert!(matches!(gunzip(b"\x1f\x8b\x08"), Err(Problem::UndecodableBody { .. })));
    }

    #[tokio::test]
    async fn what_cannot_be_decompressed_is_refused() {
        for name in ["gzip", "zstd"] {
            for bytes in [&b""[..], b"nonsense", &[0x1f, 0x8b, 8, 0, 0], &[0x28, 0xb5, 0x2f, 0xfd]] {
                let answer = read(&headers(&[name]), Body::from(bytes)).await.unwrap().0.decode();
                let empty_is_fine = bytes.is_empty() && answer.as_ref().is_ok_and(Bytes::is_empty);
                assert!(
                    empty_is_fine || matches!(answer, Err(Problem::UndecodableBody { .. })),
                    "{name} {bytes:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn bodies_take_room_until_they_are_answered_and_one_without_room_is_asked_to_come_again() {
        let limits = Limits::of_bytes(10);
        let read = async |bytes: &'static str| super::read(&limits, &headers(&[]), Body::from(bytes)).await;
        let (sent, room) = read("seven b").await.unwrap();
        assert!(matches!(read("four").await, Err(Problem::Busy)));
        assert_eq!(sent.decode().unwrap(), "seven b");
        assert!(matches!(read("four").await, Err(Problem::Busy)), "its events may still be in memory");
        drop(room);
        assert!(read("four").await.is_ok());
        assert_eq!(limits.bytes_left(), 10);
    }

    #[tokio::test]
    async fn a_body_in_parts_is_put_together_and_takes_room_for_all_of_them() {
        let limits = Limits::of_bytes(10);
        let body = |parts: &[&'static str]| {
            let parts: Vec<_> = parts.iter().map(|part| Ok::<_, BodyTooSlow>(*part)).collect();
            Body::from_stream(futures_util::stream::iter(parts))
        };
        let (sent, _room) = super::read(&limits, &headers(&[]), body(&["in ", "two ", "s"])).await.unwrap();
        assert_eq!(sent.decode().unwrap(), "in two s");
        assert_eq!(limits.bytes_left(), 2);
        let too_many = super::read(&limits, &headers(&[]), body(&["a", "bc"])).await;
        assert!(matches!(too_many, Err(Problem::Busy)));
        assert_eq!(limits.bytes_left(), 2, "what was taken for a part of it is given back");
    }

    #[tokio::test]
    async fn a_body_that_the_host_calls_too_slow_is_distinguished_from_one_that_is_cut_off() {
        let failing = |error: Box<dyn Error + Send + Sync>| {
            let parts = [Ok("half a"), Err(error)];
            Body::new(Body::from_stream(futures_util::stream::iter(parts)))
        };
        let slow = read(&headers(&[]), failing(Box::new(BodyTooSlow))).await;
        assert!(matches!(slow, Err(Problem::BodyTooSlow)));
        let cut_off = read(&headers(&[]), failing("reset".into())).await;
        assert!(matches!(cut_off, Err(Problem::BodyIncomplete)));
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
