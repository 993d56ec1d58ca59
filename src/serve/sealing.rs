//! The schedule of sealing: `weir seal` runs as a child process when a day has been over for long enough and the moment is quiet,
//! so that nothing of it can stop intake.

use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::runtime::Builder;
use weir_core::{Catalog, Clock, Day, Timestamp, sealing::SealedDays};
use weir_embedded::SealedFolder;

use crate::{cli::ServeArgs, query::DuckDb, seal, stderr::Stderr};

/// The shortest and the longest pause between two looks whether there is something to seal.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The shortest time between two sealings, so that late events are taken in together.
const BETWEEN: Duration = Duration::from_hours(1);

/// A moment is quiet while fewer events than this wait to be filed.
const QUIET: u64 = 1000;

/// A sealing that is due for so long does not wait for a quiet moment any more.
const LONGEST_WAIT: Duration = Duration::from_hours(6);

/// How often a running sealing is looked at, and how long it may take to end.
const LOOK: Duration = Duration::from_millis(100);
const LAST_WORD: Duration = Duration::from_secs(3);

/// The thread that seals; dropping it ends a sealing that is running.
pub(super) struct Schedule {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Schedule {
    /// Starts the schedule; `None` where days are not sealed, which is logged.
    pub(super) fn start(args: &ServeArgs, catalog: &Catalog, clock: Arc<dyn Clock>) -> Result<Option<Self>> {
        let settings = &args.seal;
        let removes = settings.keep_days.is_some()
            || settings.keep_json.is_some()
            || catalog.iter().any(|definition| definition.keep_days().is_some());
        let Some(after) = args.seal_after.0 else {
            if removes {
                tracing::warn!(
                    "nothing old is removed by itself, as --seal-after is never: `weir seal` does it, with the same --keep-days and --keep-json"
                );
            }
            return Ok(None);
        };
        if !DuckDb::find().is_there() {
            const NEEDS: &str = "that needs the DuckDB command line (pip install duckdb-cli)";
            if removes {
                tracing::warn!("days are not sealed, and nothing old is removed: {NEEDS}");
            } else {
                tracing::info!("days are not sealed: {NEEDS}");
            }
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        let mut work = Work { args: args.clone(), after, clock, last: None, due_since: None };
        let runtime = Builder::new_current_thread().build()?;
        let thread = thread::Builder::new().name("weir-sealing".to_owned()).spawn(move || {
            let pause = after.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let Some(until) = runtime.block_on(work.due()) else { continue };
                match work.seal(until, &stopped) {
                    Ok(true) => tracing::info!("days before {until} are sealed"),
                    Ok(false) => return,
                    Err(error) => {
                        let error = crate::told(&error);
                        tracing::error!(%error, "days cannot be sealed; queries read what is not sealed from JSON");
                    }
                }
            }
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged.
            let _ = thread.join();
        }
    }
}

struct Work {
    args: ServeArgs,
    after: Duration,
    clock: Arc<dyn Clock>,
    /// When the last sealing began.
    last: Option<Timestamp>,
    /// Since when one is due.
    due_since: Option<Timestamp>,
}

impl Work {
    /// Returns the day before which days are to be sealed now; `None` if there is nothing to do, or the moment is not quiet.
    async fn due(&mut self) -> Option<Day> {
        let now = self.clock.now();
        let is_past = |at: Timestamp, time: Duration| {
            now >= at.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        let until = seal::over(now, self.after);
        if self.last.is_some_and(|last| last <= now && !is_past(last, BETWEEN)) {
            return None;
        }
        // What cannot be read is found by the sealing, which says why.
        if !self.has_something(until).await.unwrap_or(true) {
            self.due_since = None;
            return None;
        }
        let since = *self.due_since.get_or_insert(now);
        let waiting = weir_embedded::not_filed_yet(&self.args.place.data).map_or(0, |waiting| waiting.events);
        let is_now = waiting < QUIET || is_past(since, LONGEST_WAIT);
        is_now.then_some(until)
    }

    async fn has_something(&self, until: Day) -> Result<bool> {
        let data = &self.args.place.data;
        let folder = SealedFolder::of(data);
        let sealed_until = folder.manifest().await?.sealed_until;
        if sealed_until >= until {
            return Ok(!folder.reads().await?.late.is_empty());
        }
        let (_, _, lake) = weir_embedded::open_books(data)?;
        Ok(sealed_until > Day::FIRST || !lake.days(until)?.is_empty())
    }

    /// Runs a sealing; returns whether it came to its end.
    fn seal(&mut self, until: Day, stopped: &Receiver<()>) -> Result<bool> {
        self.last = Some(self.clock.now());
        self.due_since = None;
        let program = std::env::current_exe().context("this program has no path")?;
        let mut command = Command::new(program);
        command.arg("seal").arg("--engine=embedded").arg("--data").arg(&self.args.place.data);
        command.arg("--gentle").arg(format!("--until={until}"));
        command.arg(format!("--memory={}", self.args.seal.memory));
        if let Some(keep) = self.args.seal.keep_json {
            command.arg(format!("--keep-json={}s", keep.as_secs()));
        }
        if let Some(keep) = self.args.seal.keep_days {
            command.arg(format!("--keep-days={keep}"));
        }
        if let Some(folder) = self.args.catalog.folder() {
            command.arg("--catalog").arg(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start weir seal")?;
        let errors = child.stderr.take().map(Stderr::of);
        let Some(status) = wait(&mut child, stopped)? else { return Ok(false) };
        let error = errors.map(Stderr::text).unwrap_or_default();
        if !status.success() {
            bail!("{error}");
        }
        Ok(true)
    }
}

/// Waits for the end of a child; `None` if it was ended before.
fn wait(child: &mut Child, stopped: &Receiver<()>) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            end(child)?;
            return Ok(None);
        }
    }
}

/// Ends a child, which ends its DuckDB if it is asked to.
fn end(child: &mut Child) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};

        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let mut left = LAST_WORD;
        while !left.is_zero() {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
    }
    child.kill()?;
    child.wait().map(drop)
}
