//! Copies a database.

use std::{fs::File, io, path::Path};

use rusqlite::Connection;

use super::{
    files::create_file,
    manifest::{BackupError, at},
};
use crate::store;

/// Copies a database as of one moment, durably, and has SQLite check the copy.
pub(super) fn snapshot(from: &Path, to: &Path) -> Result<(), BackupError> {
    let target = to.to_str().ok_or_else(|| at(to)(io::ErrorKind::InvalidFilename.into()))?;
    // SQLite fills an empty file, and keeps its mode.
    create_file(to).map_err(at(to))?;
    let read = |db: &Connection| db.execute("VACUUM INTO ?1", [target]).map(drop);
    store::open_reader(from).and_then(|db| read(&db)).map_err(store::at(from))?;
    let check = |db: Connection| db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    let answer = store::open_reader(to).and_then(check).map_err(store::at(to))?;
    if answer != "ok" {
        return Err(at(from)(io::Error::new(io::ErrorKind::InvalidData, answer)));
    }
    File::open(to).and_then(|file| file.sync_all()).map_err(at(to))
}
