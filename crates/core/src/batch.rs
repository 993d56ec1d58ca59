//! Batches: the objects that the stream delivers into raw.

use std::fmt;

use sha2::{Digest, Sha256};

/// The place of a batch in raw: the object's key in the bucket, or its path below the raw folder. Any text is valid: keys are
/// made by Firehose, by the embedded store, or by a person who copies a file there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchKey(String);

impl BatchKey {
    /// Makes the key of the batch at `key`.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the batch's identity, which names its objects in the lake.
    #[must_use]
    pub fn id(&self) -> BatchId {
        BatchId::of(self)
    }
}

impl fmt::Display for BatchKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for BatchKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// The identity of a batch: safe in any path, the same whenever it is derived from the same key, different for different
/// keys. It is the readable part of the key's last segment and a digest of the whole key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(String);

impl BatchId {
    /// The longest readable part; the whole thus stays well below a file name's 255 bytes.
    const READABLE: usize = 120;

    fn of(key: &BatchKey) -> Self {
        let name = key.0.rsplit('/').next().unwrap_or_default();
        let stem = name.strip_suffix(".gz").unwrap_or(name);
        let stem = stem.strip_suffix(".json").unwrap_or(stem);
        let mut id: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
            .take(Self::READABLE)
            .collect();
        id.push('-');
        for byte in &Sha256::digest(key.0.as_bytes())[..6] {
            use fmt::Write;
            write!(id, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Self(id)
    }

    /// Returns the identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_keeps_the_readable_part_of_the_key() {
        let id = BatchKey::new("raw/2026/11/20/13/weir-1-2026-11-20-13-05-00-3f1c.json.gz").id();
        assert!(id.as_str().starts_with("weir-1-2026-11-20-13-05-00-3f1c-"), "{id}");
    }

    #[test]
    fn equal_names_in_different_folders_have_different_ids() {
        assert_ne!(BatchKey::new("a/x.gz").id(), BatchKey::new("b/x.gz").id());
    }

    proptest! {
        #[test]
        fn an_id_is_one_short_path_segment_whatever_the_key(key in "\\PC{0,300}") {
            let id = BatchKey::new(key).id();
            prop_assert!(id.as_str().len() <= 133);
            prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
    }
}
