//! The recovery of the journal at the start: its events are counted again, and its unfinished batches found.

use std::sync::Arc;

use rusqlite::Connection;
use weir_core::{Increment, forgotten::ForgottenEvents};

use super::{
    batches::Batch,
    latest,
    overlay::{Overlay, SLICE_BYTES},
};

/// The content of the journal when it was opened, and what must not come into it again.
pub(crate) struct Recovered {
    pub(crate) next: u64,
    pub(crate) open_bytes: u64,
    pub(crate) unfinished: Vec<Batch>,
    pub(crate) gone: Arc<ForgottenEvents>,
}

/// Rebuilds the overlay, and finds the unfinished batches.
pub(crate) fn recover(
    db: &mut Connection,
    gone: Arc<ForgottenEvents>,
) -> rusqlite::Result<(Overlay, Recovered)> {
    let db = db.transaction()?;
    let (applied, in_raw): (u64, u64) =
        db.query_row("SELECT applied, in_raw FROM progress", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let unfinished = db
        .prepare("SELECT first, last, raw_key, written FROM batches ORDER BY first")?
        .query_map([], |row| {
            Ok(Batch { first: row.get(0)?, last: row.get(1)?, raw_key: row.get(2)?, written: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let cut = unfinished.last().map_or(applied, |batch| batch.last);
    let overlay = Overlay::starting_at(applied + 1);
    let (mut next, mut open_bytes, mut batch_before) = (applied + 1, 0, None);
    let mut rows = db.prepare(
        "SELECT first, last, length(lines), increments, latest, CASE WHEN latest IS NOT NULL THEN lines END
         FROM journal ORDER BY first",
    )?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last, bytes): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let increments: Vec<Increment> =
            serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
            })?;
        let latest = match row.get_ref(4)?.as_str_or_null()? {
            Some(column) => latest::read(column, row.get_ref(5)?.as_blob()?)?,
            None => Vec::new(),
        };
        // Each batch's rows are a slice of their own, so that they are applied with that batch. A batch that was found in raw
        // may go on after its last row in a store that was restored from a copy.
        let batch = unfinished.partition_point(|batch| batch.first <= first).checked_sub(1);
        let batch = batch.map(|at| unfinished[at].last).filter(|end| last <= *end);
        if batch != batch_before {
            overlay.close();
            batch_before = batch;
        }
        overlay.raise(last, bytes, increments, latest);
        if overlay.open_bytes() >= SLICE_BYTES {
            overlay.close();
        }
        if first > cut {
            open_bytes += bytes;
        }
        next = last + 1;
    }
    if batch_before.is_some() {
        overlay.close();
    }
    Ok((overlay, Recovered { next: next.max(cut.max(in_raw) + 1), open_bytes, unfinished, gone }))
}

/// Returns the first event after the last batch.
pub(crate) fn first_open(db: &Connection, cut: u64) -> rusqlite::Result<u64> {
    db.query_row("SELECT min(first) FROM journal WHERE first > ?1", [cut], |row| row.get(0))
}
