//! Reads entries of quarantine, which the fan-out writes.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

/// The quarantined text of a line.
#[derive(Deserialize)]
struct Entry {
    text: Option<String>,
    base64: Option<String>,
}

/// Returns the bytes of the line that an entry of quarantine is about; `None` if it is about a whole batch.
#[must_use]
pub fn quarantined_line(entry: &[u8]) -> Option<Vec<u8>> {
    let Entry { text, base64 } = serde_json::from_slice(entry).ok()?;
    match (text, base64) {
        (Some(text), _) => Some(text.into_bytes()),
        (None, encoded) => BASE64_STANDARD.decode(encoded?).ok(),
    }
}
