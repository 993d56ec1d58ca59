//! The tables of live counts, and the types of their columns.

use rusqlite::{Connection, OptionalExtension, params};
use weir_core::{Counter, Hour, Increment};

/// Adds increments to the stored counts.
pub(crate) fn raise(db: &Connection, increments: &[Increment]) -> rusqlite::Result<()> {
    let mut total = db.prepare_cached(
        "INSERT INTO live_totals VALUES (?1, ?2, ?3)
         ON CONFLICT (username, event_type) DO UPDATE SET count = count + excluded.count",
    )?;
    let mut keyed = db.prepare_cached(
        "INSERT INTO live_keys VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (username, event_type, key) DO UPDATE SET count = count + excluded.count",
    )?;
    for Increment { counter, by } in increments {
        let (username, event_type) = (counter.username.as_str(), counter.event_type.as_str());
        match &counter.key {
            None => total.execute(params![username, event_type, by])?,
            Some(key) => keyed.execute(params![username, event_type, key.as_str(), by])?,
        };
    }
    Ok(())
}

/// Returns the watermark of the stored counts: the last event in them.
pub(crate) fn applied(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT applied FROM progress")?.query_row([], |row| row.get(0))
}

/// Returns a stored count.
pub(crate) fn count(
    db: &Connection,
    Counter { username, event_type, key }: &Counter,
) -> rusqlite::Result<u64> {
    let count = match key {
        None => db
            .prepare_cached("SELECT count FROM live_totals WHERE username = ?1 AND event_type = ?2")?
            .query_row([username.as_str(), event_type.as_str()], |row| row.get(0)),
        Some(key) => db
            .prepare_cached(
                "SELECT count FROM live_keys WHERE username = ?1 AND event_type = ?2 AND key = ?3",
            )?
            .query_row([username.as_str(), event_type.as_str(), key.as_str()], |row| row.get(0)),
    };
    count.optional().map(Option::unwrap_or_default)
}

/// Converts a column that has an hour.
pub(crate) fn hour(since_epoch: u64) -> rusqlite::Result<Hour> {
    Hour::from_epoch(since_epoch).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Integer, error.into())
    })
}
