//! Runs that clients start over HTTP (`POST /map/NAME`): functions that the operator has registered, over one user's own
//! events.
//!
//! A run is a thread of its own with few workers, so that requests keep half of the machine. All that a client sends is looked
//! up or parsed: the command and its folder are the operator's, and the input is what the lake has of that user.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::body::Bytes;
use collector::{NotStarted, Run, RunResult, RunState, Runs, Wanted};
use futures_util::stream;
use parking_lot::{Condvar, Mutex};
use tokio::{runtime::Handle, task::JoinHandle};
use weir_core::{
    Clock, EventId, Random, SystemRandom, Username,
    ports::{Content, LakeObjects, PortError},
};

use super::{
    active::{Active, Shared},
    functions::{Function, Functions},
    kept::Kept,
    run::Work,
};
use crate::{child::Running, cli::FunctionName};

/// How many runs each user may have at once.
const OF_A_USER: usize = 1;

/// The bounds of a run.
const MOST_BYTES: u64 = 256 << 20;
const LONGEST: Duration = Duration::from_hours(1);

/// How often runs that are over their time are removed.
const REMOVING: Duration = Duration::from_mins(1);

/// Results are read and sent piece by piece.
const PIECE: u64 = 128 << 10;

/// The runs that clients start.
pub(crate) struct FunctionRuns {
    inner: Arc<Shared>,
    removing: JoinHandle<()>,
}

impl FunctionRuns {
    /// Offers the functions of a data folder that this process serves: at most so many runs at once. Runs of an earlier
    /// process are lost.
    pub(crate) fn start(
        data: &Path,
        lake: Arc<dyn LakeObjects>,
        clock: Arc<dyn Clock>,
        most: usize,
        has_room: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::start_within((MOST_BYTES, LONGEST), data, lake, clock, most, has_room)
    }

    fn start_within(
        bounds: (u64, Duration),
        data: &Path,
        lake: Arc<dyn LakeObjects>,
        clock: Arc<dyn Clock>,
        most: usize,
        has_room: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let inner = Arc::new(Shared {
            data: data.to_owned(),
            functions: Functions::of(data),
            kept: Kept::of(data),
            lake,
            clock,
            has_room: Box::new(has_room),
            most,
            bounds,
            active: Mutex::default(),
            changed: Condvar::new(),
        });
        // A server is there for events: it starts all the same.
        if let Err(error) = inner.kept.recover(inner.clock.now()) {
            tracing::error!(%error, "the files of runs cannot be used");
        }
        let removing = tokio::spawn(remove_old(Arc::clone(&inner)));
        Self { inner, removing }
    }

    /// Ends all runs and starts no other. Waits until they are noted as lost, but not longer than this.
    pub(crate) async fn stop(&self, at_most: Duration) {
        self.removing.abort();
        let inner = Arc::clone(&self.inner);
        let stopping = tokio::task::spawn_blocking(move || {
            let mut state = inner.active.lock();
            state.is_stopped = true;
            for active in state.runs.values() {
                active.running.stop();
            }
            let until = Instant::now() + at_most;
            while !state.runs.is_empty() && !inner.changed.wait_until(&mut state, until).timed_out() {}
        });
        // A panic there is logged by its thread, and the next start notes the runs.
        let _ = stopping.await;
    }
}

async fn remove_old(inner: Arc<Shared>) {
    loop {
        tokio::time::sleep(REMOVING).await;
        let inner = Arc::clone(&inner);
        let removing = tokio::task::spawn_blocking(move || inner.kept.remove_old(inner.clock.now()));
        if let Ok(Err(error)) = removing.await {
            tracing::error!(%error, "runs that are over their time cannot be removed");
        }
    }
}

#[async_trait]
impl Runs for FunctionRuns {
    async fn start(&self, username: &Username, wanted: Wanted) -> Result<Run, NotStarted> {
        let (inner, username, handle) = (Arc::clone(&self.inner), username.clone(), Handle::current());
        aside("starting a run", move || inner.start(username, wanted, handle)).await?
    }

    async fn find(&self, username: &Username, id: &str) -> Result<Option<Run>, PortError> {
        let (inner, username, id) = (Arc::clone(&self.inner), username.clone(), id.to_owned());
        aside("reading a run", move || inner.find(&username, &id)).await?
    }

    async fn result(&self, username: &Username, id: &str) -> Result<Option<RunResult>, PortError> {
        let (inner, username, id) = (Arc::clone(&self.inner), username.clone(), id.to_owned());
        let opened = move || {
            let run = inner.find(&username, &id)?.filter(|run| run.state == RunState::Done);
            let opened =
                run.map(|run| Ok((run.bytes.unwrap_or_default(), inner.kept.open(&username, &run)?)));
            opened.transpose().map_err(failed("reading a run"))
        };
        let opened = aside("reading a run", opened).await??;
        Ok(opened.map(|(length, file)| RunResult { length, content: pieces(file, length) }))
    }
}

/// Runs blocking work on a thread for it.
async fn aside<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PortError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| PortError::broken(what, error))
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> PortError {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull => PortError::no_space(what, error),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData => PortError::broken(what, error),
        _ => PortError::unavailable(what, error),
    }
}

/// Reads a result piece by piece, as its client takes it. A result that is removed meanwhile is read to its end.
fn pieces(file: File, length: u64) -> Content {
    let file = Arc::new(file);
    Box::pin(stream::try_unfold(0, move |at| {
        let file = Arc::clone(&file);
        async move {
            if at >= length {
                return Ok(None);
            }
            let read = move || {
                let mut piece = vec![0; usize::try_from(PIECE.min(length - at)).unwrap_or_default()];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            };
            let piece = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
            let next = at + piece.len() as u64;
            Ok(Some((piece, next)))
        }
    }))
}

impl Shared {
    fn start(self: Arc<Self>, username: Username, wanted: Wanted, handle: Handle) -> Result<Run, NotStarted> {
        let what = "starting a run";
        let (function, _) = self.function(&wanted.function)?;
        let reduce = wanted.reduce.as_ref().map(|name| self.function(name)).transpose()?;
        if !(self.has_room)() {
            return Err(PortError::no_space(what, "the disk has no space for results").into());
        }
        let run = Run {
            id: EventId::generate(self.clock.now(), &SystemRandom as &dyn Random).as_str().to_owned(),
            wanted,
            state: RunState::Running,
            objects: None,
            mapped: 0,
            bytes: None,
            error: None,
            started_at: self.clock.now(),
            ended_at: None,
            expires_at: None,
        };
        let work = self.reserve(username, &run)?;
        // Dropping the work, here or in its thread, ends the run.
        let noted = self.kept.make_room(&work.username).and_then(|()| self.kept.note(&work.username, &run));
        noted.map_err(failed(what))?;
        let job = move || work.run(function, reduce, handle);
        let started = thread::Builder::new().name("weir-run".to_owned()).spawn(job);
        started.map_err(failed(what))?;
        Ok(run)
    }

    /// Finds a function that clients may run.
    fn function(&self, name: &str) -> Result<(Function, FunctionName), NotStarted> {
        let unknown = || NotStarted::NoSuchFunction(name.to_owned());
        let parsed: FunctionName = name.parse().map_err(|_| unknown())?;
        let found = self.functions.find(&parsed).map_err(|error| {
            let why: Box<dyn std::error::Error + Send + Sync> = error.into();
            PortError::broken("reading a function", why)
        })?;
        let function = found.filter(|function| !function.private).ok_or_else(unknown)?;
        Ok((function, parsed))
    }

    /// Takes a place for a run, if its user and all users together have one left.
    fn reserve(self: &Arc<Self>, username: Username, run: &Run) -> Result<Work, NotStarted> {
        let mut state = self.active.lock();
        let of_user = state.runs.values().filter(|active| active.username == username).count();
        if of_user >= OF_A_USER || state.runs.len() >= self.most {
            return Err(NotStarted::TooMany);
        }
        if state.is_stopped {
            return Err(PortError::unavailable("starting a run", "the server stops").into());
        }
        let (shared, running) = (Arc::new(Mutex::new(run.clone())), Arc::new(Running::default()));
        let active = Active { username: username.clone(), run: shared.clone(), running: running.clone() };
        state.runs.insert(run.id.clone(), active);
        Ok(Work {
            inner: Arc::clone(self),
            id: run.id.clone(),
            username,
            run: shared,
            running,
            outcome: None,
        })
    }

    fn find(&self, username: &Username, id: &str) -> Result<Option<Run>, PortError> {
        {
            let state = self.active.lock();
            if let Some(active) = state.runs.get(id) {
                return Ok((active.username == *username).then(|| active.run.lock().clone()));
            }
        }
        self.kept.find(username, id, self.clock.now()).map_err(failed("reading a run"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use weir_core::{ManualClock, Timestamp};
    use weir_embedded::{Embedded, Flush};

    use super::*;

    const OBJECT: &str = "username=ann/button_click/year=2026/month=11/day=20/hour=13/a.json.gz";

    /// A data folder with an object, and a function that prints it.
    fn folder() -> (tempfile::TempDir, Arc<dyn LakeObjects>, Embedded) {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: 1 << 20 };
        let clock = Arc::new(ManualClock::at(Timestamp::saturating(1)));
        let (engine, _) = Embedded::open(folder.path(), flush, clock).unwrap();
        let path = folder.path().join("lake").join(OBJECT);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
        gzip.write_all(b"{\"n\": 1}\n").unwrap();
        gzip.finish().unwrap();
        let cat = Function::new(
            vec!["cat".to_owned()],
            "/".into(),
            Duration::from_mins(1),
            1 << 29,
            1 << 20,
            false,
        );
        Functions::of(folder.path()).add(&"cat".parse().unwrap(), &cat).unwrap();
        let (_, lake, _) = engine.folders();
        (folder, Arc::new(lake), engine)
    }

    fn wanted() -> Wanted {
        let event_type = "button_click".parse().unwrap();
        Wanted { function: "cat".to_owned(), event_type, from: None, to: None, reduce: None }
    }

    async fn ended(runs: &FunctionRuns) -> Run {
        let ann: Username = "ann".parse().unwrap();
        let id = runs.start(&ann, wanted()).await.unwrap().id;
        loop {
            let run = runs.find(&ann, &id).await.unwrap().unwrap();
            if run.state != RunState::Running {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_run_beyond_a_bound_fails_and_says_which() {
        let (folder, lake, _engine) = folder();
        let clock = Arc::new(ManualClock::at(Timestamp::saturating(1)));
        // There is room when it starts, and none when it has a result.
        let asked = Arc::new(AtomicUsize::new(1));
        let rooms = asked.clone();
        let has_room = move || {
            !rooms.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) || rooms.load(Ordering::SeqCst) > 9
        };
        let start = |bounds| {
            let (lake, clock) = (Arc::clone(&lake), clock.clone());
            FunctionRuns::start_within(bounds, folder.path(), lake, clock, 1, has_room.clone())
        };
        let run = ended(&start((9, LONGEST))).await;
        assert_eq!(run.error.as_deref(), Some("the server's disk has no space left for results"), "{run:?}");
        asked.store(9, Ordering::SeqCst);
        let run = ended(&start((8, LONGEST))).await;
        assert_eq!(run.error.as_deref(), Some("the results have more than 8 B"), "{run:?}");
        let run = ended(&start((9, Duration::ZERO))).await;
        assert_eq!(run.error.as_deref(), Some("the run took longer than 0ns"), "{run:?}");
        let run = ended(&start((9, LONGEST))).await;
        assert_eq!(
            (run.state, run.bytes, run.objects, run.mapped),
            (RunState::Done, Some(9), Some(1), 1),
            "{run:?}"
        );
        // What was not kept left nothing behind.
        let files = std::fs::read_dir(folder.path().join("runs/ann")).unwrap().count();
        assert_eq!(files, 4 + 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_starts_where_there_is_no_room_or_after_the_end() {
        let (folder, lake, _engine) = folder();
        let clock = Arc::new(ManualClock::at(Timestamp::saturating(1)));
        let ann: Username = "ann".parse().unwrap();
        let full = FunctionRuns::start(folder.path(), Arc::clone(&lake), clock.clone(), 1, || false);
        let refused = full.start(&ann, wanted()).await;
        assert!(matches!(refused, Err(NotStarted::Failed(PortError::NoSpace { .. }))), "{refused:?}");
        let stopped = FunctionRuns::start(folder.path(), lake, clock, 1, || true);
        stopped.stop(Duration::from_secs(1)).await;
        let refused = stopped.start(&ann, wanted()).await;
        assert!(matches!(refused, Err(NotStarted::Failed(PortError::Unavailable { .. }))), "{refused:?}");
    }
}
