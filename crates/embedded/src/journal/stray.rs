//! Stray batches: batches in raw that the store does not know or has given up.
//!
//! There are some if `events.db` is older than raw: it was lost or restored from a copy, or the end of its log was cut. They
//! are taken up as unfinished batches, so that their events are filed, are settled, and are not delivered a second time under
//! another name; and no later event gets a number that one of them has. Their live counts may or may not be in the store: an
//! audit shows.
//!
//! A batch whose file was gone from raw is given up (`give_up`), and taken up again at a start that finds the file.

use std::{
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use weir_core::Timestamp;

use crate::{
    dedup::returning,
    folder::gzip,
    objects::batches::{Hours, after, folder_of, raw_key},
};

/// Takes up the batches in raw after everything that the store knows, and given-up batches that are back.
pub(crate) fn take_up(db: &mut Connection, raw: &Path, now: Timestamp) -> Result<(), TakeUpError> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    take_up_given_up(&db, raw)?;
    let known: u64 = db.query_row(
        "SELECT max(applied, in_raw, coalesce((SELECT max(last) FROM batches), 0)) FROM progress",
        [],
        |row| row.get(0),
    )?;
    let strays =
        after(raw, known, Hours::All).map_err(|source| TakeUpError::Raw { path: raw.to_owned(), source })?;
    let (Some(last), count) = (strays.iter().map(|(_, last, _)| *last).max(), strays.len()) else {
        return Ok(db.commit()?);
    };
    tracing::error!(
        batches = count,
        known,
        last,
        "raw has batches that events.db does not know: it was lost, or put back from a copy, or its log was cut. They are \
         filed again; once they are, `weir audit` tells whether live counts are missing, and --repair adds them"
    );
    let mut end = known;
    for (first, last, raw_key) in &strays {
        cut_before(&db, end, *first, raw_key)?;
        end = end.max(*last);
        // An event that is in the journal as well goes on with the batch. A file that only overlaps, or has other events, is
        // not Weir's.
        let overlaps = *first <= known
            || db
                .query_row(
                    "SELECT 1 FROM journal WHERE first <= ?2 AND last > ?2 OR first < ?1 AND last >= ?1",
                    [first, last],
                    |_| Ok(()),
                )
                .optional()?
                .is_some();
        let taken_up = !overlaps
            && journal_agrees(&db, (*first, *last), &raw.join(raw_key))?
            && db
                .prepare_cached(
                    "INSERT OR IGNORE INTO batches (first, last, raw_key, written) VALUES (?1, ?2, ?3, 1)",
                )?
                .execute(params![first, last, raw_key])?
                == 1;
        if !taken_up {
            tracing::error!(batch = raw_key, "it does not fit to the journal, and is left where it is");
        }
    }
    db.execute("UPDATE progress SET in_raw = ?1", [last])?;
    let raw_keys: Vec<&str> = strays.iter().map(|(.., raw_key)| raw_key.as_str()).collect();
    returning::remember(&db, raw, &raw_keys, now)?;
    Ok(db.commit()?)
}

/// Returns whether a batch's file has all events that the journal has under the batch's numbers. If numbers were given twice,
/// as after the store was lost and found again, the journal's events are others, and must not go with the batch; nor if the
/// batch's file is damaged.
fn journal_agrees(db: &Transaction<'_>, (first, last): (u64, u64), batch: &Path) -> rusqlite::Result<bool> {
    let mut rows = db.prepare_cached(
        "SELECT first, last, lines FROM journal WHERE first BETWEEN ?1 AND ?2 ORDER BY first",
    )?;
    let mut rows = rows.query([first, last])?;
    let (mut file, mut next, mut found) = (None, first, Vec::new());
    while let Some(row) = rows.next()? {
        let (row_first, row_last): (u64, u64) = (row.get(0)?, row.get(1)?);
        let lines = row.get_ref(2)?.as_blob()?;
        let mut holds = || -> io::Result<bool> {
            let file = match &mut file {
                Some(file) => file,
                none => none.insert(gzip::lines(batch)?),
            };
            for _ in next..row_first {
                file.skip_until(b'\n')?;
            }
            found.resize(lines.len(), 0);
            file.read_exact(&mut found)?;
            Ok(found == lines)
        };
        // An unreadable file counts as having none of them.
        if !holds().unwrap_or(false) {
            return Ok(false);
        }
        next = row_last + 1;
    }
    Ok(true)
}

/// Cuts a batch of the events in the journal that are before a stray and in no batch; it has no file in raw yet. Otherwise they
/// would count as part of the stray, and be removed from the journal with it.
fn cut_before(db: &Transaction<'_>, known: u64, stray: u64, stray_key: &str) -> rusqlite::Result<()> {
    let events = "SELECT min(first), max(last) FROM journal WHERE first > ?1 AND last < ?2";
    let (first, last): (Option<u64>, Option<u64>) =
        db.query_row(events, [known, stray], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    let own = raw_key(folder_of(stray_key), first, last);
    db.execute("INSERT INTO batches (first, last, raw_key) VALUES (?1, ?2, ?3)", params![first, last, own])
        .map(drop)
}

/// Why the batches in raw cannot be known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeUpError {
    #[error(transparent)]
    Store(#[from] rusqlite::Error),
    #[error("listing {}: {source}", .path.display())]
    Raw { path: PathBuf, source: io::Error },
}

fn take_up_given_up(db: &Transaction<'_>, raw: &Path) -> rusqlite::Result<()> {
    let mut given_up = db.prepare("SELECT raw_key, last - first + 1, reason FROM given_up ORDER BY first")?;
    let given_up = given_up.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for batch in given_up.collect::<rusqlite::Result<Vec<(String, u64, String)>>>()? {
        let (raw_key, events, reason) = batch;
        if !raw.join(&raw_key).is_file() {
            tracing::error!(
                batch = raw_key,
                events,
                reason,
                "a batch was given up; put its file back below raw and start again to have it filed"
            );
            continue;
        }
        tracing::info!(batch = raw_key, events, "a batch that was given up is back in raw");
        db.execute(
            "INSERT OR IGNORE INTO batches (first, last, raw_key, written)
             SELECT first, last, raw_key, 1 FROM given_up WHERE raw_key = ?1",
            [&raw_key],
        )?;
        db.execute("DELETE FROM given_up WHERE raw_key = ?1", [&raw_key])?;
    }
    Ok(())
}

/// Gives up a batch whose file is gone.
pub(crate) fn give_up(db: &Connection, raw_key: &str, reason: &str) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR REPLACE INTO given_up (raw_key, first, last, reason)
         SELECT raw_key, first, last, ?2 FROM batches WHERE raw_key = ?1 AND written",
        [raw_key, reason],
    )?;
    db.execute("DELETE FROM batches WHERE raw_key = ?1 AND written", [raw_key]).map(drop)
}
