//! Monitoring of an engine: since when the oldest event waits to be filed, and how much space is left.

use std::io::{BufRead, BufReader};

use flate2::bufread::MultiGzDecoder;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;
use weir_core::{MAX_RECORD_BYTES, Timestamp, ports::PortError};

use crate::Embedded;

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
                let mut line = Vec::new();
                BufReader::new(MultiGzDecoder::new(BufReader::new(file)))
                    .read_until(b'\n', &mut line)
                    .ok()?;
                received(&line)
            }))
        };
        self.inner.readers.read("looking for events that are not filed", look).await
    }

    /// Returns how many bytes the disk of the data folder has left; `None` if the system does not report it.
    #[must_use]
    pub fn free_space(&self) -> Option<u64> {
        self.inner.space.free()
    }
}

fn received(line: &[u8]) -> Option<Timestamp> {
    let received: Received = serde_json::from_slice(line).ok()?;
    Timestamp::from_millis(received.received_at).ok()
}
