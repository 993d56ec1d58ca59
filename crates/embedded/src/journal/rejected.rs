//! The rows of recent rejected events, written in the transaction that stores them.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};
use weir_core::{
    Record, Username,
    rejected::{MAX_SHOWN, RejectedEvent},
};

/// A rejected event on its way into the table.
pub(crate) struct RejectedRow {
    username: Username,
    /// Its JSON.
    event: String,
}

impl RejectedRow {
    /// Returns the newest rejected records of each user, the newest last.
    pub(crate) fn of(records: &[Record]) -> Vec<Self> {
        let mut found: BTreeMap<&Username, usize> = BTreeMap::new();
        let mut rows = Vec::new();
        for record in records.iter().rev().filter(|record| record.is_rejected()) {
            let username = &record.counter().username;
            let found = found.entry(username).or_default();
            *found += 1;
            if *found <= MAX_SHOWN
                && let Some(event) = RejectedEvent::of(record)
            {
                let event = serde_json::to_string(&event).expect("plain data serialises");
                rows.push(Self { username: username.clone(), event });
            }
        }
        rows.reverse();
        rows
    }
}

/// Adds events to the lists, and truncates the lists.
pub(crate) fn store(db: &Connection, rows: &[RejectedRow]) -> rusqlite::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut add = db.prepare_cached("INSERT INTO recent_rejected (username, event) VALUES (?1, ?2)")?;
    for RejectedRow { username, event } in rows {
        add.execute(params![username.as_str(), event])?;
    }
    let mut cut = db.prepare_cached(
        "DELETE FROM recent_rejected WHERE username = ?1 AND id <=
         (SELECT id FROM recent_rejected WHERE username = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?;
    let users: BTreeSet<&Username> = rows.iter().map(|row| &row.username).collect();
    for username in users {
        cut.execute(params![username.as_str(), MAX_SHOWN])?;
    }
    Ok(())
}
