//! The conformance suites that every engine passes, one module a port: small functions that take the port and panic if it
//! breaks a promise. An engine's test is a list of calls to them.
//!
//! Each function makes up users and batches of its own, so that all of them can run against one engine, side by side and
//! again and again.
#![expect(clippy::unwrap_used, reason = "a conformance suite is a test")]

pub mod answers;
pub mod books;
pub mod dedup;
pub mod following;
pub mod lake;
pub mod latest;
pub mod live_counts;
pub mod newest;
pub mod quarantine;
pub mod recent_rejected;
pub mod sealed_days;
pub mod settled_counts;
pub mod stream;
pub mod users;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::{BatchKey, EventType, Random, SystemRandom, Username, ports::Content};

/// Makes a user that no other call has.
#[must_use]
pub fn a_user() -> Username {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    format!("u{:016x}", u64::from_le_bytes(bytes)).parse().unwrap()
}

/// Makes a batch that no other call has.
#[must_use]
pub fn some_batch() -> BatchKey {
    BatchKey::new(format!("2026/11/20/13/{}.json.gz", a_user()))
}

fn event_type(name: &str) -> EventType {
    name.parse().unwrap()
}

fn content(bytes: &Bytes) -> Content {
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures_util::stream::iter(pieces))
}

async fn read_all(mut content: Content) -> Bytes {
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes.into()
}

/// Makes bytes that do not compress and are the same for the same length.
fn noise(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    crate::SeededRandom::new(length as u64).fill(&mut bytes);
    bytes.into()
}
