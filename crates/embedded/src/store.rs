//! The databases: opening them, their tables, concurrent reads, and the meaning of SQLite's errors here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use weir_core::ports::PortError;

use crate::{dedup::earlier, folder::private::private_file};

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite could not open, read or write it.
    #[error("cannot use {}: {source}", .path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// It is damaged, or no database.
    #[error("{} is damaged: {reason}. {}", .path.display(), advice(.path))]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The damage, in SQLite's words.
        reason: String,
    },
    /// The disk has no room for the files that SQLite keeps beside it.
    #[error(
        "no space left for {}, or for SQLite's files beside it (-wal, -shm): make room on the disk, or raise the quota. Nothing is lost",
        .path.display()
    )]
    NoSpace {
        /// The database file.
        path: PathBuf,
    },
    /// A later version of Weir made it.
    #[error("{} was made by a later version of weir (format {found}, this one knows {known})", .path.display())]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format this version knows.
        known: u32,
    },
}

/// Returns a function for `map_err` that adds the database's path.
pub(crate) fn at(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + use<'_> {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), reason: source.to_string() }
        }
        _ if lacks_space(&source) => StoreError::NoSpace { path: path.to_owned() },
        _ => StoreError::Sqlite { path: path.to_owned(), source },
    }
}

/// Returns whether SQLite could not write or extend a file for want of space.
fn lacks_space(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

/// Returns advice about a damaged database.
fn advice(path: &Path) -> &'static str {
    if path.ends_with("users.db") {
        "Put back a copy of it; or move users.db, users.db-wal and users.db-shm out of the folder, and add the users again \
         with `weir user add`"
    } else {
        "Put back a copy of the whole folder; or move events.db, events.db-wal and events.db-shm out of it and start: what \
         is in raw is filed again then, `weir audit --repair` corrects the live counts, and what was acknowledged in the \
         last moments is in the files moved away only"
    }
}

/// The migrations of `events.db`: each makes a format from the one before. A column `key` is the value that a count is broken
/// down by.
///
/// `journal` has one row for each commit: the events `first` to `last` of the sequence, as their lines, and their increments
/// (JSON). Its `latest` has, for each resource in the row, the key and the offset in `lines` of the newest event (JSON), and
/// `latest_values` the newest of the rows before. `progress.applied` is a watermark: rows at or below it are in the stored counts,
/// and the transaction that moves it removes them.
///
/// `progress.in_raw` is the last event of the batches that were found in raw and that the store did not know (`journal::stray`).
/// `given_up` has the batches whose file is gone from raw, and why they were given up.
///
/// `fresh_ids` has the digests of events' identities with their numbers, a row for each commit, and `id_runs` has the sorted runs
/// of earlier ones; their pages are in `id_pages`, and their filters in `id_filters` (`dedup::run`). Earlier versions had them in
/// `recent_ids`. `progress.id_generation` is the current generation, and `progress.id_elapsed` is its age, in milliseconds in
/// which a server ran (`dedup::generations`).
///
/// `settled_totals.settled_at` is the time at which the count was raised last (milliseconds since 1970); null if an earlier
/// version raised it. `served_types` is the catalog that the folder is served with, and types that it was served with earlier;
/// `counted_by` is the field that `live_keys` are counts by, and `earlier_keys` has counts by other fields, from earlier
/// catalogs (`served_types`); a type's latest values are by the field that its `text` names. `recent_rejected` has the
/// latest rejected events of each user as they are shown (JSON), the newest last.
///
/// `tombstones` has the keyed digests of forgotten events. `forgetting` has a row while files of forgotten events are left
/// (`forget`), and `forgotten_counts` how many events are gone. `forgetting_days` has the sealed days with such an event, and whether
/// they are read from JSON from then on; earlier versions noted in `forgetting.sealed` that all of them are.
const FORMATS: &[&str] = &[
    "
    CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), applied INTEGER NOT NULL) STRICT;
    INSERT INTO progress VALUES (1, 0);
    CREATE TABLE journal (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, increments TEXT NOT NULL, lines BLOB NOT NULL
    ) STRICT;
    CREATE TABLE batches (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, raw_key TEXT NOT NULL UNIQUE,
        written INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE live_totals (
        username TEXT NOT NULL, event_type TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (username, event_type)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE live_keys (
        username TEXT NOT NULL, event_type TEXT NOT NULL, key TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (username, event_type, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX live_keys_by_count ON live_keys (username, event_type, count DESC, key);
    CREATE TABLE settled_batches (batch TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE settled_hours (
        username TEXT NOT NULL, event_type TEXT NOT NULL, hour INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (username, event_type, hour)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE settled_totals (
        username TEXT NOT NULL, event_type TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (username, event_type)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE recent_ids (day INTEGER NOT NULL, id BLOB NOT NULL, PRIMARY KEY (day, id)) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE progress ADD COLUMN in_raw INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE given_up (
        raw_key TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE settled_totals ADD COLUMN settled_at INTEGER;
    CREATE TABLE recent_rejected (id INTEGER PRIMARY KEY, username TEXT NOT NULL, event TEXT NOT NULL) STRICT;
    CREATE INDEX recent_rejected_by_user ON recent_rejected (username, id);
",
    // Generations follow each other as days did, and the last day becomes the current one.
    "
    ALTER TABLE recent_ids RENAME COLUMN day TO generation;
    ALTER TABLE progress ADD COLUMN id_generation INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE progress ADD COLUMN id_elapsed INTEGER NOT NULL DEFAULT 0;
    UPDATE progress SET id_generation = coalesce((SELECT max(generation) FROM recent_ids), 1);
",
    "
    CREATE TABLE served_types (
        event_type TEXT PRIMARY KEY, text TEXT NOT NULL, counted_by TEXT, is_served INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE earlier_keys (
        username TEXT NOT NULL, event_type TEXT NOT NULL, field TEXT NOT NULL, key TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (username, event_type, field, key)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE journal ADD COLUMN latest TEXT;
    CREATE TABLE latest_values (
        username TEXT NOT NULL, event_type TEXT NOT NULL, key TEXT NOT NULL,
        time INTEGER NOT NULL, event_id TEXT NOT NULL, event BLOB NOT NULL,
        PRIMARY KEY (username, event_type, key)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE tombstones (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE forgetting (one INTEGER PRIMARY KEY CHECK (one = 1), username TEXT NOT NULL, sealed INTEGER NOT NULL) STRICT;
    CREATE TABLE forgotten_counts (
        username TEXT NOT NULL, event_type TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (username, event_type)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE forgetting_days (day TEXT PRIMARY KEY, as_json INTEGER NOT NULL) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE recent_ids ADD COLUMN event INTEGER;
",
    "
    CREATE TABLE fresh_ids (row INTEGER PRIMARY KEY, generation INTEGER NOT NULL, ids BLOB NOT NULL) STRICT;
    CREATE TABLE id_runs (
        run INTEGER PRIMARY KEY, generation INTEGER NOT NULL, ids INTEGER NOT NULL, fences BLOB NOT NULL
    ) STRICT;
    CREATE TABLE id_pages (page INTEGER PRIMARY KEY, ids BLOB NOT NULL) STRICT;
    CREATE TABLE id_filters (piece INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
",
];

/// The first format that has `progress.in_raw`.
pub(crate) const FORMAT_WITH_IN_RAW: u32 = 3;

/// Opens `events.db` for writing, creating it if it does not exist. The caller has the lock of the folder: an earlier version that
/// is still running could not go on with it.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut db = open_with(path, FORMATS)?;
    earlier::convert(&mut db).map_err(at(path))?;
    Ok(db)
}

/// Opens `events.db` for writing beside a server, whatever its format is, if this version knows it.
pub(crate) fn open_as_it_is(path: &Path) -> Result<Connection, StoreError> {
    check_format(path)?;
    let open = || -> rusqlite::Result<Connection> {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        Ok(db)
    };
    open().map_err(at(path))
}

/// Returns the latest format, which SQLite's `user_version` keeps; 0 is a database without tables.
fn latest(formats: &[&str]) -> u32 {
    u32::try_from(formats.len()).unwrap_or(u32::MAX)
}

/// Opens a database for writing, and migrates it to the latest of its formats.
pub(crate) fn open_with(path: &Path, formats: &[&str]) -> Result<Connection, StoreError> {
    let known = latest(formats);
    // SQLite fills an empty file, and gives the log beside it the same mode. If none can be created, SQLite reports why.
    let _ = private_file().create_new(true).open(path);
    let open = || -> rusqlite::Result<(Connection, u32)> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // FULL: in WAL mode, a commit returns only once the log is on the disk.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // 16 MiB of log between checkpoints: fewer of them, and they write each page once.
        connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
        connection.set_prepared_statement_cache_capacity(64);
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found < known {
            for step in formats.iter().skip(found as usize) {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "user_version", known)?;
        }
        transaction.commit()?;
        Ok((connection, found))
    };
    let (connection, found) = open().map_err(at(path))?;
    if found > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    Ok(connection)
}

/// Refuses a database whose pages do not fit together. It reads all of it, so it is for small ones.
pub(crate) fn check_whole(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(at(path))?;
    // The last line names the damage; a line before it names only the database.
    let reason = found.lines().last().unwrap_or_default();
    if reason == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() })
}

/// Makes the transaction write a page, and leaves every row as it was: SQLite writes nothing if a value stays the same.
pub(crate) fn touch(db: &Connection) -> rusqlite::Result<()> {
    db.execute("UPDATE progress SET applied = applied + 1", [])?;
    db.execute("UPDATE progress SET applied = applied - 1", []).map(drop)
}

/// Converts an error of SQLite into a port's error.
pub(crate) fn port_error(what: &'static str, error: rusqlite::Error) -> PortError {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory, ReadOnly,
        SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(DiskFull) => PortError::no_space(what, error),
        Some(
            CannotOpen
            | DatabaseBusy
            | DatabaseLocked
            | FileLockingProtocolFailed
            | OutOfMemory
            | ReadOnly
            | SystemIoFailure,
        ) => PortError::unavailable(what, error),
        _ => PortError::broken(what, error),
    }
}

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        Self::broken("the store", error)
    }
}

/// Reads a column that has a parsed name.
pub(crate) fn name<T: std::str::FromStr>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

/// A pool of read connections beside the writer's: each is used by one reader at a time and kept for the next.
#[derive(Clone)]
pub(crate) struct Readers(Arc<ReadersInner>);

struct ReadersInner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(Arc::new(ReadersInner { path, idle: Mutex::new(Vec::new()) }))
    }

    /// Runs `query` in one read transaction: all of it sees the same state.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PortError> {
        let inner = Arc::clone(&self.0);
        let run = move || -> rusqlite::Result<T> {
            let reader = inner.idle.lock().pop();
            let mut reader = reader.map_or_else(|| open_reader(&inner.path), Ok)?;
            let transaction = reader.transaction()?;
            let answer = query(&transaction)?;
            drop(transaction);
            inner.idle.lock().push(reader);
            Ok(answer)
        };
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            // With what to do about it.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                PortError::broken(what, at(&self.0.path)(error))
            }
            _ => port_error(what, error),
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(answer) => answer.map_err(failed),
            Err(panicked_or_stopped) => Err(PortError::unavailable(what, panicked_or_stopped)),
        }
    }
}

/// Opens a connection that cannot write.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Refuses an `events.db` of a format that this version does not know.
pub(crate) fn check_format(path: &Path) -> Result<(), StoreError> {
    let found =
        open_reader(path).and_then(|db| db.pragma_query_value(None, "user_version", |row| row.get(0)));
    match found.map_err(at(path))? {
        found if found > latest(FORMATS) => {
            Err(StoreError::TooNew { path: path.to_owned(), found, known: latest(FORMATS) })
        }
        _ => Ok(()),
    }
}
