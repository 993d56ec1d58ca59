//! What the store knows of forgotten events: their tombstones, and how many there were.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
};

use rusqlite::Connection;
use weir_core::{
    EventType, Username,
    forgotten::{ForgottenEvents, Tombstone},
};

use crate::{
    error::OpenError,
    secret::{SECRET, secret_of},
    store::{self, StoreError, name},
};

/// Reads all that was forgotten.
pub(crate) fn read(db: &Connection, path: &Path) -> Result<ForgottenEvents, OpenError> {
    let database = path.join("events.db");
    let at = store::at(&database);
    let tombstones = tombstones(db).map_err(at)?;
    if tombstones.is_empty() {
        return Ok(ForgottenEvents::default());
    }
    let Some(secret) = secret_of(path)? else {
        let lost = "it is gone, and without it forgotten events could come back: put it back from a backup";
        return Err(OpenError::Folder {
            path: path.join(SECRET),
            source: io::Error::new(io::ErrorKind::NotFound, lost),
        });
    };
    Ok(ForgottenEvents::new(secret, tombstones))
}

fn tombstones(db: &Connection) -> rusqlite::Result<HashSet<Tombstone>> {
    let mut rows = db.prepare("SELECT digest FROM tombstones")?;
    rows.query_map([], |row| row.get(0))?.collect()
}

/// Returns how many events were forgotten in a data folder, by user and type.
pub fn forgotten_counts(path: &Path) -> Result<BTreeMap<(Username, EventType), u64>, StoreError> {
    let database = path.join("events.db");
    let read = || -> rusqlite::Result<_> {
        let db = store::open_reader(&database)?;
        // An earlier version of Weir forgets nothing.
        if !db.table_exists(None, "forgotten_counts")? {
            return Ok(BTreeMap::new());
        }
        let mut rows = db.prepare("SELECT username, event_type, count FROM forgotten_counts")?;
        rows.query_map([], |row| Ok(((name(row, 0)?, name(row, 1)?), row.get(2)?)))?.collect()
    };
    read().map_err(store::at(&database))
}
