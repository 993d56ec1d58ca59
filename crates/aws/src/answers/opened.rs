//! A generation in an object, read by ranges.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use weir_core::{
    answers::{
        Definition, Published,
        layout::{Damaged, Index, Key},
    },
    ports::{Generation, PortError},
};

use super::READING;
use crate::{
    errors::malformed,
    s3_calls::{Call, S3Calls},
};

/// How much of an object's end is read when it is opened, and kept. Small generations are whole in it.
const END: u64 = 64 << 10;

/// An object, as far as readers keep it.
pub(super) struct Object {
    calls: S3Calls,
    pub(super) key: String,
    /// The last bytes, and where they begin.
    end: Bytes,
    end_begins: u64,
    index: Index,
}

impl Object {
    /// Reads what has to be known of an object of this length.
    pub(super) async fn open(calls: S3Calls, key: String, length: u64) -> Result<Self, PortError> {
        let end_begins = length.saturating_sub(END);
        let end = part(&calls, &key, end_begins..length).await?;
        let footer = slice(&end, end_begins, &Index::footer(length)).ok_or_else(|| damaged(Damaged))?;
        let buckets = Index::buckets(&footer, length).map_err(damaged)?;
        let buckets = match slice(&end, end_begins, &buckets) {
            Some(buckets) => buckets,
            None => part(&calls, &key, buckets).await?,
        };
        let index = Index::read(&footer, &buckets).map_err(damaged)?;
        Ok(Self { calls, key, end, end_begins, index })
    }

    async fn part(&self, bytes: Range<u64>) -> Result<Bytes, PortError> {
        match slice(&self.end, self.end_begins, &bytes) {
            Some(part) => Ok(part),
            None => part(&self.calls, &self.key, bytes).await,
        }
    }
}

/// Returns these bytes of an object, if they are all in a part that begins at `begins`.
fn slice(part: &Bytes, begins: u64, bytes: &Range<u64>) -> Option<Bytes> {
    let at = |offset: u64| usize::try_from(offset.checked_sub(begins)?).ok();
    let (start, end) = (at(bytes.start)?, at(bytes.end)?);
    (start <= end && end <= part.len()).then(|| part.slice(start..end))
}

/// Reads these bytes of an object. An answer of another length is an error: a server may ignore a range.
async fn part(calls: &S3Calls, key: &str, bytes: Range<u64>) -> Result<Bytes, PortError> {
    let length = bytes.end.saturating_sub(bytes.start);
    if length == 0 {
        return Ok(Bytes::new());
    }
    let found = calls.find(Call::get_range(key, bytes), READING).await?;
    let found = found.ok_or_else(|| malformed(READING, format!("the object {key} is missing")))?;
    if found.len() as u64 == length {
        return Ok(found);
    }
    Err(malformed(READING, format!("{} bytes of {key} came instead of {length}", found.len())))
}

fn damaged(error: Damaged) -> PortError {
    PortError::broken(READING, error)
}

/// A generation and the pointer to it.
pub(super) struct Opened {
    published: Published,
    definition: Definition,
    object: Arc<Object>,
}

impl Opened {
    pub(super) fn new(published: Published, object: Arc<Object>) -> Result<Self, PortError> {
        let definition = published.definition().map_err(|error| PortError::broken(READING, error))?;
        Ok(Self { published, definition, object })
    }
}

#[async_trait]
impl Generation for Opened {
    fn published(&self) -> &Published {
        &self.published
    }

    fn definition(&self) -> &Definition {
        &self.definition
    }

    async fn find(&self, key: Key) -> Result<Option<Range<u64>>, PortError> {
        let entries = self.object.part(self.object.index.entries_with(key)).await?;
        self.object.index.find(&entries, key).map_err(damaged)
    }

    async fn read(&self, bytes: Range<u64>) -> Result<Bytes, PortError> {
        self.object.part(bytes).await
    }
}
