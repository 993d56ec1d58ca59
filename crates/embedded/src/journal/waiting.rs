//! The events that wait to be filed: their number, and the time of the oldest.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;
use weir_core::{MAX_RECORD_BYTES, Timestamp, ports::PortError};

use crate::{
    engine::Embedded,
    folder::{gzip, lines},
    store::{self, StoreError},
};

/// Returns how many events of a data folder are durable but not filed in the lake yet, as seen from outside the process that
/// serves it; 0 if there is no data folder.
pub fn not_filed_yet(path: &Path) -> Result<NotFiled, StoreError> {
    let path = &path.join("events.db");
    if !path.exists() {
        return Ok(NotFiled::default());
    }
    let query = || -> rusqlite::Result<NotFiled> {
        let mut reader = store::open_reader(path)?;
        let reader = reader.transaction()?;
        // Rows of a written batch may be gone already, so batches count by their range.
        let batches: (u64, u64, u64) = reader.query_row(
            "SELECT coalesce(sum(last - first + 1), 0), coalesce(max(last), 0), coalesce(min(first), 0) FROM batches",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let open: (u64, u64, u64) = reader.query_row(
            "SELECT coalesce(sum(last - first + 1), 0), coalesce(max(last), 0), coalesce(min(first), 0)
             FROM journal WHERE first > ?1",
            [batches.1],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let first = if batches.0 > 0 { batches.2 } else { open.2 };
        Ok(NotFiled { events: batches.0 + open.0, last: batches.1.max(open.1), first })
    };
    query().map_err(store::at(path))
}

/// The events that are not filed in the lake yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotFiled {
    /// The number of these events.
    pub events: u64,
    /// The sequence number of the last event acknowledged so far.
    pub last: u64,
    /// The sequence number of the first event that is not filed.
    pub first: u64,
}

impl NotFiled {
    /// Returns whether an event is among these that was acknowledged when `earlier` was read.
    #[must_use]
    pub fn has_some_of(&self, earlier: &Self) -> bool {
        self.events > 0 && self.first <= earlier.last
    }
}

/// The time of arrival in a stored line.
#[derive(Deserialize)]
struct Received {
    received_at: u64,
}

impl Embedded {
    /// Returns when the oldest event came that is not filed yet; `None` if all are filed.
    pub async fn oldest_not_filed(&self) -> Result<Option<Timestamp>, PortError> {
        let raw = self.inner.raw.clone();
        let look = move |db: &Connection| {
            let batch = "SELECT first, raw_key FROM batches ORDER BY first LIMIT 1";
            let batch: Option<(u64, String)> =
                db.query_row(batch, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let first = batch.as_ref().map_or(0, |(first, _)| *first);
            // A record is never longer than this, so it includes a whole line.
            let row = "SELECT substr(lines, 1, ?2) FROM journal WHERE last >= ?1 AND (?1 = 0 OR first <= ?1)
                 ORDER BY first LIMIT 1";
            let lines: Option<Vec<u8>> =
                db.query_row(row, params![first, MAX_RECORD_BYTES], |row| row.get(0)).optional()?;
            let in_journal = lines.and_then(|lines| received(lines.split(|&byte| byte == b'\n').next()?));
            Ok(in_journal.or_else(|| {
                // A batch's rows are gone from the journal once it is in raw. Filing reports a file that is damaged or gone.
                let file = raw.file(&batch?.1).ok()?;
                received(&lines::first(&mut gzip::lines_of(file)).ok()??)
            }))
        };
        self.inner.readers.read("looking for events that are not filed", look).await
    }
}

fn received(line: &[u8]) -> Option<Timestamp> {
    let received: Received = serde_json::from_slice(line).ok()?;
    Timestamp::from_millis(received.received_at).ok()
}
