//! Forgetting: takes events out of a data folder that no server uses, so that nothing of them is left.
//!
//! 1. All events are filed before; with events in the journal, forgetting is refused ([`ForgetError::NotFiled`]).
//! 2. `plan`: raw, lake and quarantine are read, and what is meant is found. Nothing is changed if a file cannot be read.
//! 3. `commit`: *one* transaction adds the tombstones, takes the events out of all counts, ids, latest values and recent rejected
//!    events, and notes that files are left. From here on it is decided; before it, nothing has happened.
//! 4. `rewrite`: each file with such an event is replaced by one without, and so is each sealed day (`sealed`). A batch in raw keeps an
//!    empty line in its place. Results that were computed from events are removed.
//! 5. The database is rewritten (VACUUM) and its log truncated, and the note is taken away.
//!
//! Steps 4 and 5 follow from the tombstones alone, which hold no data of the events. So a process that died anywhere is finished
//! by the next one that opens the folder for writing ([`finish`]), and what is done twice changes nothing. Only where a sealed day is
//! the only copy of its events, that takes the SQL engine that the caller has ([`finish_forgetting`]).

mod commit;
mod plan;
mod rewrite;
mod sealed;

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension};
use weir_core::{Day, EventType, Random, forgotten::ForgetRequest, ports::PortError, sealing::SealedRows};

use crate::{
    error::OpenError,
    folder::{Folder, lock::Lock},
    forgotten,
    sealed::{SealedFolder, SealingTurn},
    secret,
    store::{self, StoreError, name},
};
use plan::Plan;
use sealed::{Removal, SealedDays};

/// What was taken away, by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Events in the lake, by type.
    pub events: Vec<(EventType, u64)>,
    /// Objects of the lake that were rewritten or removed.
    pub lake: u64,
    /// Batches in raw that were rewritten.
    pub raw: u64,
    /// Objects of quarantine that were rewritten or removed.
    pub quarantine: u64,
    /// Sealed days that were written without the events, or are read from JSON until they are sealed again.
    pub sealed: u64,
    /// Latest values that were removed or replaced by the one before.
    pub latest: u64,
    /// Ids that were remembered for dedup.
    pub ids: u64,
    /// Rejected events that were shown.
    pub rejected: u64,
    /// Files of published answers and of runs of functions, which may hold what was computed from the events.
    pub computed: u64,
}

/// Why events are not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// Events are on their way into the lake.
    #[error("events are not filed yet")]
    NotFiled,
    /// A file cannot be read, so it is not known what it holds. Nothing was changed.
    #[error(
        "{} cannot be read: {source}. Nothing is forgotten, as it may hold such events: mend the file, or remove it, and try \
         again",
        .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file of sealed days cannot be changed, after it was decided.
    #[error(
        "{} cannot be changed: {source}. What is forgotten is decided: the next `weir forget` or `weir serve` goes on with it",
        .path.display()
    )]
    Unchanged {
        /// The folder of sealed days.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Days are being sealed.
    #[error("days are being sealed: try again once `weir seal` has ended")]
    Sealing,
    /// An earlier forgetting was stopped before it had written sealed days, and no SQL engine is there.
    #[error(
        "a `weir forget` was stopped before it had taken all events out of sealed days: run it again, with the same options, so that it \
         is finished"
    )]
    Unfinished,
    /// The SQL engine failed. What was decided before is finished by the next `weir forget`.
    #[error(transparent)]
    Rows(#[from] PortError),
    /// It was stopped after it was decided. The next command that opens the folder goes on.
    #[error("stopped: the next `weir forget` or `weir serve` goes on with it")]
    Stopped,
    /// The folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<StoreError> for ForgetError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// Called before each step with what it is about; breaking ends the work there, as a crash would.
pub type Watched<'a> = &'a mut dyn FnMut(&str) -> ControlFlow<()>;

/// Forgets events. The caller has filed all events before, and has the turn to seal.
pub fn forget(
    path: &Path,
    request: &ForgetRequest,
    random: &dyn Random,
    (_, rows): (&SealingTurn, &dyn SealedRows),
    watch: Watched<'_>,
) -> Result<Amounts, ForgetError> {
    let (folder, _lock, mut db) = open(path)?;
    let plan = planned((&folder, path, &mut db), request, random, rows, watch)?;
    step(watch, "commit")?;
    let mut amounts = commit::commit(&mut db, request, &plan).map_err(store::at(&path.join("events.db")))?;
    finish_watched(&mut db, &folder, path, &mut amounts, Some(rows), watch)?;
    Ok(amounts)
}

/// Returns how many events of each type [`forget`] would take out of the lake, and forgets none. It finishes a forgetting that an
/// earlier process began.
pub fn look_for_forgetting(
    path: &Path,
    request: &ForgetRequest,
    random: &dyn Random,
    (_, rows): (&SealingTurn, &dyn SealedRows),
) -> Result<Vec<(EventType, u64)>, ForgetError> {
    let (folder, _lock, mut db) = open(path)?;
    let go_on: Watched<'_> = &mut |_| ControlFlow::Continue(());
    Ok(planned((&folder, path, &mut db), request, random, rows, go_on)?.events_by_type())
}

/// Finishes a forgetting that an earlier process began, and finds what this one is about.
fn planned(
    (folder, path, db): (&Folder, &Path, &mut Connection),
    request: &ForgetRequest,
    random: &dyn Random,
    rows: &dyn SealedRows,
    watch: Watched<'_>,
) -> Result<Plan, ForgetError> {
    finish_watched(db, folder, path, &mut Amounts::default(), Some(rows), watch)?;
    let waiting = "SELECT EXISTS (SELECT 1 FROM journal) OR EXISTS (SELECT 1 FROM batches)";
    if db.query_row(waiting, [], |row| row.get(0)).map_err(store::at(&path.join("events.db")))? {
        return Err(ForgetError::NotFiled);
    }
    let secret = secret::read_or_make(folder, path, random)?;
    step(watch, "plan")?;
    let sealed = SealedDays::read(path)?;
    plan::plan(db, path, request, &secret, &sealed, rows)
}

fn open(path: &Path) -> Result<(Folder, Lock, Connection), OpenError> {
    let at = |path: PathBuf| move |source| OpenError::Folder { path, source };
    let folder = Folder::open(path).map_err(at(path.to_owned()))?;
    let lock = Lock::take(path)?;
    folder.clear_temporary().map_err(at(path.join("tmp")))?;
    let db = store::open(&path.join("events.db"))?;
    Ok((folder, lock, db))
}

/// Finishes a forgetting that an earlier process began. The caller has the turn to seal.
pub fn finish_forgetting(path: &Path, (_, rows): (&SealingTurn, &dyn SealedRows)) -> Result<(), ForgetError> {
    let (folder, _lock, mut db) = open(path)?;
    let go_on: Watched<'_> = &mut |_| ControlFlow::Continue(());
    finish_watched(&mut db, &folder, path, &mut Amounts::default(), Some(rows), go_on)
}

/// Returns whether a forgetting is left that only [`finish_forgetting`] can finish, as sealed days must be written. A database
/// that cannot be read has none: opening it for writing says why.
#[must_use]
pub fn needs_rows_to_finish(path: &Path) -> bool {
    let store = path.join("events.db");
    let read = || -> rusqlite::Result<bool> {
        let db = store::open_reader(&store)?;
        // An earlier version of Weir has no such table.
        Ok(db.table_exists(None, "forgetting_days")? && has_days_to_write(&db)?)
    };
    read().unwrap_or(false)
}

fn has_days_to_write(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT EXISTS (SELECT 1 FROM forgetting_days WHERE as_json = 0)", [], |row| row.get(0))
}

/// Finishes a forgetting that an earlier process began.
pub(crate) fn finish(db: &mut Connection, folder: &Folder, path: &Path) -> Result<(), OpenError> {
    let go_on: Watched<'_> = &mut |_| ControlFlow::Continue(());
    let is_open = "SELECT EXISTS (SELECT 1 FROM forgetting)";
    if !db.query_row(is_open, [], |row| row.get::<_, bool>(0)).map_err(store::at(&path.join("events.db")))? {
        return Ok(());
    }
    let mut finish = || {
        let sealed = SealedFolder::of(path);
        let turn = sealed.turn().map_err(|source| sealed::unreadable(sealed.path(), source))?;
        let _turn = turn.ok_or(ForgetError::Sealing)?;
        finish_watched(db, folder, path, &mut Amounts::default(), None, go_on)
    };
    match finish() {
        Ok(()) => Ok(()),
        Err(ForgetError::Open(error)) => Err(error),
        Err(ForgetError::Unreadable { path, source } | ForgetError::Unchanged { path, source }) => {
            Err(OpenError::Folder { path, source })
        }
        Err(error) => {
            Err(OpenError::Folder { path: path.to_owned(), source: io::Error::other(error.to_string()) })
        }
    }
}

fn finish_watched(
    db: &mut Connection,
    folder: &Folder,
    path: &Path,
    amounts: &mut Amounts,
    rows: Option<&dyn SealedRows>,
    watch: Watched<'_>,
) -> Result<(), ForgetError> {
    let store = path.join("events.db");
    let in_store = store::at(&store);
    let open = db.query_row("SELECT username, sealed FROM forgetting", [], |row| {
        Ok((name(row, 0)?, row.get::<_, bool>(1)?))
    });
    let Some((user, is_sealed)) = open.optional().map_err(&in_store)? else { return Ok(()) };
    if rows.is_none() && has_days_to_write(db).map_err(&in_store)? {
        return Err(ForgetError::Unfinished);
    }
    let days = if is_sealed { sealed::all_days(path)? } else { days(db).map_err(&in_store)? };
    let gone = forgotten::read(db, path)?;
    let removal = Removal { path, user: &user, gone: &gone, days: &days, rows };
    rewrite::rewrite(folder, &removal, amounts, watch)?;
    step(watch, "vacuum")?;
    clean(db).map_err(&in_store)?;
    step(watch, "close")?;
    db.execute_batch("BEGIN; DELETE FROM forgetting; DELETE FROM forgetting_days; COMMIT")
        .map_err(&in_store)?;
    Ok(())
}

/// Returns the sealed days with events that go, and whether all of their JSON is there.
fn days(db: &Connection) -> rusqlite::Result<BTreeMap<Day, bool>> {
    let mut rows = db.prepare("SELECT day, as_json FROM forgetting_days")?;
    rows.query_map([], |row| Ok((name(row, 0)?, row.get(1)?)))?.collect()
}

/// Writes the database anew, without what was deleted, and empties its log.
fn clean(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("VACUUM")?;
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        // Another process, such as `weir tail`, reads it. The next one that opens the folder tries again.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("another process reads it: end `weir tail` and the like, and try again".to_owned()),
        ));
    }
    Ok(())
}

fn step(watch: &mut dyn FnMut(&str) -> ControlFlow<()>, what: &str) -> Result<(), ForgetError> {
    if watch(what).is_break() { Err(ForgetError::Stopped) } else { Ok(()) }
}
