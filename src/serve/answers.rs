//! The schedule of answers: computes each when its head's `every` has passed since its last publication, on a thread of its
//! own.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use weir_core::{AnswerName, Catalog, Clock, Timestamp, answers::Definition};
use weir_embedded::AnswersFolder;

use crate::{
    answers::{self, Answer, Running, publish::Publisher},
    catalog,
    cli::ServeArgs,
    query::DuckDb,
};

/// How long after its start a server computes overdue answers: a start should be quick, and what was acknowledged before it
/// should be filed.
const FIRST: Duration = Duration::from_secs(15);

/// The shortest and the longest pause between two looks at the schedule: files of answers and the clock may change.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The thread that computes answers; dropping it stops it.
pub(super) struct Schedule {
    running: Arc<Running>,
    /// Dropped to end a pause.
    _stop: Sender<()>,
}

impl Schedule {
    /// Starts the schedule; `None` where answers cannot be computed, which is logged. Answers that were published are served
    /// all the same.
    pub(super) fn start(args: &ServeArgs, catalog: &Catalog, clock: Arc<dyn Clock>) -> Result<Option<Self>> {
        // A file that is wrong stops the start, as one of the catalog does.
        answers::read(args.answers.folder(), catalog)?;
        let duckdb = DuckDb::find();
        if !duckdb.is_there() {
            tracing::info!(
                "answers are not computed: they need the DuckDB command line (pip install duckdb-cli)"
            );
            return Ok(None);
        }
        let running = Arc::new(Running::default());
        let (stop, stopped) = mpsc::channel();
        let mut work = Work {
            data: args.place.data.clone(),
            catalog: args.catalog.folder().map(Path::to_owned),
            answers: args.answers.folder().map(Path::to_owned),
            duckdb,
            running: Arc::clone(&running),
            tried: HashMap::new(),
            began: clock.now(),
            clock,
            told: None,
        };
        let runtime = Builder::new_current_thread().build()?;
        thread::Builder::new().name("weir-answers".to_owned()).spawn(move || {
            // DuckDB inherits it.
            weir_embedded::give_way_to_requests();
            let mut pause = Duration::ZERO;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) && !work.running.is_stopped()
            {
                pause = runtime.block_on(work.turn());
            }
        })?;
        Ok(Some(Self { running, _stop: stop }))
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.running.stop();
    }
}

struct Work {
    data: PathBuf,
    catalog: Option<PathBuf>,
    answers: Option<PathBuf>,
    duckdb: DuckDb,
    running: Arc<Running>,
    /// When each answer was tried last. One that failed is tried again after its usual time.
    tried: HashMap<AnswerName, Timestamp>,
    began: Timestamp,
    clock: Arc<dyn Clock>,
    /// The last error of reading the files, which is logged once.
    told: Option<String>,
}

impl Work {
    /// Publishes what is due; returns how long to wait then.
    async fn turn(&mut self) -> Duration {
        if !self.has_events() {
            return SHORTEST_PAUSE;
        }
        match self.read() {
            Ok((catalog, answers)) => {
                self.told = None;
                self.publish(&catalog, &answers).await;
                self.pause(&answers)
            }
            Err(error) => {
                let error = crate::told(&error);
                if self.told.as_ref() != Some(&error) {
                    tracing::error!(%error, "the answers' files cannot be read; what is published stays");
                }
                self.told = Some(error);
                LONGEST_PAUSE
            }
        }
    }

    /// Reads the files again, so that none is computed from an old version of its file.
    fn read(&self) -> Result<(Catalog, Vec<Answer>)> {
        let named = self.catalog.as_deref().map(|folder| catalog::read(Some(folder))).transpose()?;
        let catalog = catalog::with_stored(named, &self.data)?;
        let answers = answers::read(self.answers.as_deref(), &catalog)?;
        Ok((catalog, answers))
    }

    async fn publish(&mut self, catalog: &Catalog, answers: &[Answer]) {
        for answer in answers {
            let now = self.clock.now();
            let name = &answer.definition.name;
            let is_due = self.due(&answer.definition).is_some_and(|due| due <= now);
            if !is_due || self.running.is_stopped() {
                continue;
            }
            self.tried.insert(name.clone(), now);
            // Half of the machine is left to requests.
            let threads = thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
            let published = match Publisher::new(&self.data, Some(threads)).context("no place for answers") {
                Ok(publisher) => {
                    publisher.publish(&self.duckdb, catalog, answer, &self.running, &*self.clock).await
                }
                Err(error) => Err(error),
            };
            match published {
                Ok(what) => tracing::info!(answer = name.as_str(), "published: {what}"),
                Err(_) if self.running.is_stopped() => {}
                Err(error) => {
                    let error = crate::told(&error);
                    tracing::error!(answer = name.as_str(), %error, "an answer cannot be computed; what is published stays");
                }
            }
        }
    }

    /// Returns whether anything was filed: until then there is nothing to compute from.
    fn has_events(&self) -> bool {
        std::fs::read_dir(self.data.join("lake")).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Returns when an answer is to be computed next; `None` for one that is computed on demand only.
    fn due(&self, definition: &Definition) -> Option<Timestamp> {
        let after = |at: Timestamp, time: Duration| {
            at.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        let every = definition.every?;
        let published = AnswersFolder::of(&self.data).published_at(&definition.name);
        let last = published.max(self.tried.get(&definition.name).copied());
        // A clock that was set back must not put it off for longer than usual.
        let last = last.map(|last| last.min(self.clock.now()));
        let first = after(self.began, FIRST.min(every));
        Some(last.map_or(first, |last| after(last, every).max(first)))
    }

    /// Returns how long it is until the next answer is due, or the files are to be read again.
    fn pause(&self, answers: &[Answer]) -> Duration {
        let now = self.clock.now();
        let next = answers.iter().filter_map(|answer| self.due(&answer.definition)).min();
        let left = next
            .map_or(LONGEST_PAUSE, |due| Duration::from_millis(due.millis().saturating_sub(now.millis())));
        left.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }
}
