//! The databases: opening them, their tables, reading beside the writer, and what SQLite's errors mean here.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use weir_core::ports::PortError;

use crate::NotFiled;

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite could not open, read or write it.
    #[error("cannot use {}: {source}", .path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
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

/// For `map_err`: says which database it was.
pub(crate) fn at(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + use<'_> {
    move |source| StoreError::Sqlite { path: path.to_owned(), source }
}

/// The tables of `events.db`. A column `key` is what a count is broken down by.
///
/// `journal` has one row for each commit: the events `first` to `last` of the sequence, as their lines, and the
/// increments that they mean (JSON). Rows at or below `progress.applied` are in the stored counts; there are none,
/// as the transaction that moves `applied` removes them.
const TABLES: &str = "
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
";

/// The format that `TABLES` makes, kept in SQLite's `user_version`.
const FORMAT: u32 = 1;

/// Opens `events.db` for writing, making it if there is none.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    open_with(path, FORMAT, TABLES)
}

/// Opens a database for writing; makes its tables if it is new.
pub(crate) fn open_with(path: &Path, format: u32, tables: &str) -> Result<Connection, StoreError> {
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
        if found == 0 {
            transaction.execute_batch(tables)?;
            transaction.pragma_update(None, "user_version", format)?;
        }
        transaction.commit()?;
        Ok((connection, found))
    };
    let (connection, found) = open().map_err(at(path))?;
    if found > format {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: format });
    }
    Ok(connection)
}

/// What an error of SQLite means to a caller of a port.
pub(crate) fn port_error(what: &'static str, error: rusqlite::Error) -> PortError {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory, ReadOnly,
        SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(
            CannotOpen
            | DatabaseBusy
            | DatabaseLocked
            | DiskFull
            | FileLockingProtocolFailed
            | OutOfMemory
            | ReadOnly
            | SystemIoFailure,
        ) => PortError::unavailable(what, error),
        _ => PortError::broken(what, error),
    }
}

/// Reads beside the writer: connections of their own, used one at a time and kept for the next.
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
            let idle = || inner.idle.lock().expect("no holder of the lock panics");
            let reader = idle().pop();
            let mut reader = reader.map_or_else(|| open_reader(&inner.path), Ok)?;
            let transaction = reader.transaction()?;
            let answer = query(&transaction)?;
            drop(transaction);
            idle().push(reader);
            Ok(answer)
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(answer) => answer.map_err(|error| port_error(what, error)),
            Err(panicked_or_stopped) => Err(PortError::unavailable(what, panicked_or_stopped)),
        }
    }
}

/// A connection that cannot write.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(crate) fn not_filed_yet(path: &Path) -> Result<NotFiled, StoreError> {
    if !path.exists() {
        return Ok(NotFiled::default());
    }
    let query = || -> rusqlite::Result<NotFiled> {
        let mut reader = open_reader(path)?;
        let reader = reader.transaction()?;
        // Rows of a batch that is written may be gone already, so batches count by their range.
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
    query().map_err(at(path))
}
