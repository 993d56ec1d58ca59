//! Weir's ports on one machine: SQLite for what must be durable at once, folders for everything else.
//!
//! A data folder holds:
//!
//! | path | what it is |
//! | --- | --- |
//! | `events.db` | the journal of events that are in no batch yet, batches on their way or given up, counts, recent ids, recent rejected events, the catalog it is served with |
//! | `users.db` | users and their access keys: a file of its own, so that `weir user` never waits for the journal |
//! | `raw/` | batches: `2026/11/20/13/<first>-<last>.json.gz`, named by the sequence range they hold |
//! | `lake/` | partitions: `username=…/TYPE/year=…/month=…/day=…/hour=…/<batch>.json.gz` |
//! | `quarantine/` | what could not be filed, with the reason: `<batch>.json.gz` |
//! | `restoring/` | what a restore has copied so far: while it is there, the folder is not whole |
//! | `tmp/` | files being written; emptied at every start |
//! | `lock` | locked, like the folder itself, by the one process that serves the folder; it holds that process's id |
//!
//! # How events are stored
//!
//! One thread writes (`writer`), with group commit: it drains the queue, commits all of it in one transaction and
//! acknowledges every request of it: one fsync for many requests. A commit adds *one row* to the journal, the lines of all
//! its events with the increments that they mean. Counts are not touched then; they are kept in an overlay in memory
//! (`overlay`), which is rebuilt from the journal at start. Dedup: an event whose client gave it an id is looked up among
//! those of the last days (`recent_ids`) in that same transaction, and left out if it is there: after any failure, it is both
//! stored and remembered, or neither. The same holds for the latest rejected events (`recent_rejected`).
//!
//! A batch is cut by size or age, in the transaction of the commit that made it full: its name and range are in the store
//! before its file is written (`delivery`), so that a crash in between writes the same file again instead of a second one.
//! Once the file is there, the batch's rows are removed and their increments added to the stored counts, slice by slice, each
//! slice in one transaction. Then the batch must be filed in the lake; it is handed out at every start until it is reported
//! as filed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod append;
mod backup;
mod books;
mod commands;
mod comparison;
mod delivery;
mod folder;
mod follow;
mod journal;
mod live_counts;
mod lock;
mod log_tail;
mod objects;
mod overlay;
mod presence;
mod private;
mod recent_ids;
mod recent_rejected;
mod returning_ids;
mod served_types;
mod settled_counts;
mod space;
mod store;
mod stray_batches;
mod users;
mod waiting;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use weir_core::{
    BatchKey, Catalog, Clock, Record,
    catalog::Breakage,
    ports::{Appended, Health, PortError, Ports, Stream},
};

pub use backup::{BackupError, Manifest, Size, Watch, back_up, restore};
pub use books::{BooksOnDisk, open_books};
pub use delivery::Deliveries;
pub use follow::{FollowError, Followed, Follower};
pub use lock::{InUse, is_served};
pub use objects::{LakeFolder, QuarantineFolder, RawFolder};
pub use served_types::{StoredType, stored_catalog};
pub use store::StoreError;
pub use stray_batches::events_in;
pub use users::UserStore;

use append::Append;
use folder::Folder;
use journal::Journal;
use lock::Lock;
use overlay::Overlay;
use space::Space;
use store::Readers;
use stray_batches::TakeUpError;

/// When a batch is cut.
#[derive(Debug, Clone, Copy)]
pub struct Flush {
    /// Once its oldest event has waited this long.
    pub every: Duration,
    /// Once its events have this many bytes, uncompressed.
    pub size: u64,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves the folder.
    #[error("{0}")]
    InUse(InUse),
    /// The folder cannot be created or written.
    #[error("cannot use the data folder {}: {source}", .path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A database in the folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The engine on one machine. It is the only process that serves its data folder; clones share it.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Journal,
    readers: Readers,
    overlay: Arc<Overlay>,
    raw: RawFolder,
    lake: LakeFolder,
    quarantine: QuarantineFolder,
    users: UserStore,
    space: Space,
    /// The clock for the time at which counts are settled.
    clock: Arc<dyn Clock>,
    /// The lock is held as long as the engine lives.
    _lock: Lock,
}

impl Embedded {
    /// Opens a data folder, creating it if it does not exist, and recovers the unfinished work of an earlier process. The
    /// batches that come out of it are handed to [`Deliveries`].
    pub fn open(path: &Path, flush: Flush, clock: Arc<dyn Clock>) -> Result<(Self, Deliveries), OpenError> {
        Self::open_noting(path, flush, clock, |_| Ok(()))
    }

    /// Opens a data folder to serve it with a catalog, which it remembers. Also returns what the catalog changes: for stored
    /// events, and for clients.
    pub fn open_with_catalog(
        path: &Path,
        flush: Flush,
        clock: Arc<dyn Clock>,
        catalog: &Catalog,
    ) -> Result<(Self, Deliveries, Vec<Breakage>), OpenError> {
        let mut breakages = Vec::new();
        let (engine, deliveries) = Self::open_noting(path, flush, clock, |db| {
            breakages = served_types::note(db, catalog)?;
            Ok(())
        })?;
        Ok((engine, deliveries, breakages))
    }

    fn open_noting(
        path: &Path,
        flush: Flush,
        clock: Arc<dyn Clock>,
        note: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<(Self, Deliveries), OpenError> {
        let at = |path: PathBuf| move |source| OpenError::Folder { path, source };
        let folder = Folder::open(path).map_err(at(path.to_owned()))?;
        let lock = Lock::take(path)?;
        folder.clear_temporary().map_err(at(path.join("tmp")))?;

        let store = path.join("events.db");
        let mut connection = open_events(&store)?;
        stray_batches::take_up(&mut connection, &path.join("raw"), clock.now()).map_err(
            |error| match error {
                TakeUpError::Store(error) => store::at(&store)(error).into(),
                TakeUpError::Raw { path, source } => OpenError::Folder { path, source },
            },
        )?;
        note(&mut connection).map_err(store::at(&store))?;
        let (overlay, recovered) = journal::recover(&mut connection).map_err(store::at(&store))?;
        let overlay = Arc::new(overlay);
        let raw = RawFolder::new(folder.sub("raw"));
        let (journal, deliveries) = Journal::start(
            connection,
            Arc::clone(&overlay),
            recovered,
            flush,
            clock.clone(),
            raw.clone(),
            &store,
        )?;
        let inner = Inner {
            journal,
            readers: Readers::new(store),
            overlay,
            raw,
            lake: LakeFolder::new(folder.sub("lake")),
            quarantine: QuarantineFolder::new(folder.sub("quarantine")),
            users: UserStore::open(path)?,
            space: Space::of(path.to_owned()),
            clock,
            _lock: lock,
        };
        Ok((Self { inner: Arc::new(inner) }, deliveries))
    }

    /// Returns raw, lake and quarantine, which the fan-out works on.
    #[must_use]
    pub fn folders(&self) -> (RawFolder, LakeFolder, QuarantineFolder) {
        (self.inner.raw.clone(), self.inner.lake.clone(), self.inner.quarantine.clone())
    }

    /// Returns the collector's ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports::of(Arc::new(self.clone()))
    }

    /// Returns the users.
    #[must_use]
    pub fn users(&self) -> UserStore {
        self.inner.users.clone()
    }

    /// Marks a batch as filed in the lake, so that it is not handed out again.
    pub async fn filed(&self, batch: &BatchKey) -> Result<(), PortError> {
        let key = batch.as_str().to_owned();
        let forget = move |db: &rusqlite::Connection| {
            db.prepare_cached("DELETE FROM batches WHERE raw_key = ?1 AND written")?.execute([key]).map(drop)
        };
        self.inner.journal.work("noting a filed batch", forget).await
    }

    /// Gives up a batch that cannot be filed, as its file is gone from raw. It is reported at every start, and handed out
    /// again once its file is back.
    pub async fn give_up(&self, batch: &BatchKey, reason: &str) -> Result<(), PortError> {
        let (key, reason) = (batch.as_str().to_owned(), reason.to_owned());
        let give_up = move |db: &rusqlite::Connection| stray_batches::give_up(db, &key, &reason);
        self.inner.journal.work("giving up a batch", give_up).await
    }

    /// Load shedding: refuses new events while the disk has less space left than this, as acknowledged events need some to be
    /// filed.
    pub fn keep_free(&self, bytes: u64) {
        self.inner.space.keep_free(bytes);
    }

    /// Cuts a batch now, and waits until all events acknowledged so far are in raw.
    pub async fn flush(&self) -> Result<(), PortError> {
        self.inner.journal.flush().await
    }

    /// Cuts the last batch, writes it into raw and ends the deliveries; unfinished batches can still be marked as filed.
    /// Appending fails from here on.
    pub async fn stop(&self) -> Result<(), PortError> {
        self.inner.journal.stop_appending().await
    }
}

/// Opens `events.db`. If the end of its log is not whole, that is logged, and the log is begun anew, so that it is logged
/// once.
fn open_events(store: &Path) -> Result<rusqlite::Connection, StoreError> {
    // SQLite reports a log that cannot be read.
    let torn = log_tail::torn_bytes(store).unwrap_or(0);
    let connection = store::open(store)?;
    if torn > 0 {
        tracing::warn!(
            file = %Path::new(&log_tail::path_of(store)).display(),
            bytes = torn,
            "the end of the log is not whole, and was dropped. After a crash, or on a full disk, that is what was being written, and \
             was not acknowledged. If it was cut or damaged in another way, acknowledged events are gone: put back a copy of \
             the folder"
        );
        // A failure only repeats the message at the next start.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok(connection)
}

/// Returns how many events of a data folder are durable but not filed in the lake yet, as seen from outside the process that
/// serves it; 0 if there is no data folder.
pub fn not_filed_yet(path: &Path) -> Result<NotFiled, StoreError> {
    store::not_filed_yet(&path.join("events.db"))
}

/// The events that are not filed in the lake yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotFiled {
    /// The number of these events.
    pub events: u64,
    /// The sequence number of the last event acknowledged so far.
    pub last: u64,
    /// The sequence number of the first event that is not filed.
    pub first: u64,
}

#[async_trait]
impl Stream for Embedded {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        if records.is_empty() {
            return Vec::new();
        }
        let count = records.len();
        if let Err(error) = self.inner.space.check("storing events") {
            return vec![Appended::Refused(error); count];
        }
        match self.inner.journal.append(Append::of(records)).await {
            Ok(duplicates) => {
                let mut outcomes = vec![Appended::Counted; count];
                for index in duplicates {
                    outcomes[index] = Appended::Duplicate;
                }
                outcomes
            }
            Err(error) => vec![Appended::Refused(error); count],
        }
    }
}

#[async_trait]
impl Health for Embedded {
    async fn check(&self) -> Result<(), PortError> {
        self.inner.space.check("storing events")?;
        self.inner.journal.check().await?;
        self.inner
            .readers
            .read("reading the store", |db| db.query_row("SELECT 1 FROM progress", [], |_| Ok(())))
            .await
    }
}
