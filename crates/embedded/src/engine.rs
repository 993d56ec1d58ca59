//! The engine: opening a data folder, storing events, marking batches as filed, and stopping.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use weir_core::{
    AnswerName, BatchKey, Catalog, Clock, InstallationSecret, Random, Record,
    answers::Published,
    catalog::Breakage,
    forgotten::ForgottenEvents,
    ports::{Answers, Appended, Forgotten, Generation, Health, PortError, Ports, Stream},
};

use crate::{
    answers::AnswersFolder,
    error::OpenError,
    folder::{Folder, lock::Lock, space::Space},
    forget, forgotten,
    journal::{
        CountsInMemory, Journal,
        append::Append,
        batches::Flush,
        delivery::Deliveries,
        overlay::Overlay,
        recovery,
        stray::{self, TakeUpError},
    },
    minutes::{LastHour, Minutes},
    objects::{LakeFolder, QuarantineFolder, RawFolder},
    sealed::SealedFolder,
    secret, served_types,
    store::{self, Readers},
    users::UserStore,
};

/// The most searches through raw at a time.
const SEARCHES: usize = 2;

/// The most pages that open streams of events read at the same time.
const FOLLOWERS: usize = 2;

/// The engine on one machine. It is the only process that serves its data folder; clones share it.
#[derive(Clone)]
pub struct Embedded {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) journal: Journal,
    pub(crate) readers: Readers,
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) minutes: Arc<Minutes>,
    pub(crate) raw: RawFolder,
    pub(crate) gone: Arc<ForgottenEvents>,
    /// Searches through raw: a few at a time, as each takes a thread and reads megabytes.
    pub(crate) searches: Semaphore,
    /// Permits for open streams of events to read: however many streams there are, intake keeps most of the machine.
    pub(crate) followers: Semaphore,
    folder: Folder,
    pub(crate) path: PathBuf,
    lake: LakeFolder,
    quarantine: QuarantineFolder,
    answers: AnswersFolder,
    users: UserStore,
    space: Space,
    /// The clock for the time at which counts are settled.
    pub(crate) clock: Arc<dyn Clock>,
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
        let mut connection = store::open(&store)?;
        forget::finish(&mut connection, &folder, path)?;
        stray::take_up(&mut connection, &path.join("raw"), clock.now()).map_err(|error| match error {
            TakeUpError::Store(error) => store::at(&store)(error).into(),
            TakeUpError::Raw { path, source } => OpenError::Folder { path, source },
        })?;
        let gone = Arc::new(forgotten::read(&connection, path)?);
        note(&mut connection).map_err(store::at(&store))?;
        let (overlay, recovered) =
            recovery::recover(&mut connection, Arc::clone(&gone)).map_err(store::at(&store))?;
        let overlay = Arc::new(overlay);
        let raw = RawFolder::new(folder.sub("raw"));
        let minutes = Arc::new(Minutes::starting_at(clock.now()));
        let last_hour = LastHour {
            store: store.clone(),
            raw: raw.clone(),
            gone: Arc::clone(&gone),
            next: recovered.next,
            now: clock.now(),
        };
        let (journal, deliveries) = Journal::start(
            connection,
            CountsInMemory { overlay: Arc::clone(&overlay), minutes: Arc::clone(&minutes) },
            recovered,
            flush,
            clock.clone(),
            raw.clone(),
            &store,
        )?;
        last_hour.count(&minutes).map_err(at(store.clone()))?;
        let inner = Inner {
            journal,
            readers: Readers::new(store),
            overlay,
            minutes,
            raw,
            lake: LakeFolder::new(folder.sub("lake"), SealedFolder::of(path)),
            quarantine: QuarantineFolder::new(folder.sub("quarantine")),
            gone,
            searches: Semaphore::new(SEARCHES),
            followers: Semaphore::new(FOLLOWERS),
            folder,
            path: path.to_owned(),
            answers: AnswersFolder::of(path),
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

    /// Returns the answers computed beforehand.
    #[must_use]
    pub fn answers(&self) -> AnswersFolder {
        self.inner.answers.clone()
    }

    /// Returns the secret of this installation, which is made on first need.
    pub fn secret(&self, random: &dyn Random) -> Result<InstallationSecret, OpenError> {
        secret::read_or_make(&self.inner.folder, &self.inner.path, random)
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
        let give_up = move |db: &rusqlite::Connection| stray::give_up(db, &key, &reason);
        self.inner.journal.work("giving up a batch", give_up).await
    }

    /// Load shedding: refuses new events while the disk has less space left than this, as acknowledged events need some to be
    /// filed.
    pub fn keep_free(&self, bytes: u64) {
        self.inner.space.keep_free(bytes);
    }

    /// Returns how many bytes the disk of the data folder has left; `None` if the system does not report it.
    #[must_use]
    pub fn free_space(&self) -> Option<u64> {
        self.inner.space.free()
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

#[async_trait]
impl Forgotten for Embedded {
    async fn forgotten(&self) -> Result<Arc<ForgottenEvents>, PortError> {
        Ok(Arc::clone(&self.inner.gone))
    }
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
                    outcomes[index] = Appended::Duplicate { stored: None };
                }
                outcomes
            }
            Err(error) => vec![Appended::Refused(error); count],
        }
    }
}

#[async_trait]
impl Answers for Embedded {
    async fn current(&self, name: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError> {
        self.inner.answers.current(name).await
    }

    async fn list(&self) -> Result<Vec<Published>, PortError> {
        self.inner.answers.list().await
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
