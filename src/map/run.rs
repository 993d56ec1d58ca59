//! One run that a client started: from waiting for filing to the note of how it ended.

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use collector::{Run, RunState, Wanted};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use weir_core::{Username, ports::PortError};

use super::{
    active::Shared,
    functions::Function,
    kept,
    mapping::{self, Bound, Chosen, MapError, Mapping},
};
use crate::{
    child::{Environment, Running},
    cli::FunctionName,
};

/// How long a run waits until what was acknowledged before it is filed.
const FILING: Duration = Duration::from_secs(30);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How many results for each worker may wait in memory.
const AHEAD: usize = 1;

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoResult {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Lake(#[from] PortError),
    #[error("{0}")]
    Files(io::Error),
}

impl NoResult {
    /// Says why, without what a command said and without the paths of this machine.
    fn for_clients(&self) -> String {
        match self {
            Self::Map(MapError::Object { path, failure }) => {
                format!("{path} could not be mapped: {}", failure.for_clients())
            }
            Self::Map(MapError::Reduce { name, failure }) => {
                format!("the results could not be reduced by {name}: {}", failure.for_clients())
            }
            Self::Map(MapError::Bound(bound)) => bound.to_string(),
            Self::Map(MapError::Kept(_) | MapError::Written(_)) | Self::Files(_) => {
                "the result could not be kept".to_owned()
            }
            Self::Lake(_) => "the events could not be read".to_owned(),
        }
    }

    /// Whether an operator must act.
    fn is_the_servers(&self) -> bool {
        matches!(self, Self::Map(MapError::Kept(_) | MapError::Written(_)) | Self::Files(_) | Self::Lake(_))
    }
}

/// A run under way. Dropping it notes how it ended, and frees its place.
pub(super) struct Work {
    pub(super) inner: Arc<Shared>,
    pub(super) id: String,
    pub(super) username: Username,
    pub(super) run: Arc<Mutex<Run>>,
    pub(super) running: Arc<Running>,
    /// The size of the result; `None` until it has ended.
    pub(super) outcome: Option<Result<u64, NoResult>>,
}

impl Work {
    pub(super) fn run(
        mut self,
        function: Function,
        reduce: Option<(Function, FunctionName)>,
        handle: Handle,
    ) {
        self.outcome = Some(self.map(function, reduce, handle));
    }

    fn map(
        &self,
        function: Function,
        reduce: Option<(Function, FunctionName)>,
        handle: Handle,
    ) -> Result<u64, NoResult> {
        self.wait_for_filing()?;
        let Wanted { event_type, from, to, .. } = self.run.lock().wanted.clone();
        let chosen = Chosen { event_type, user: Some(self.username.clone()), from, to };
        let objects = handle.block_on(chosen.objects(&*self.inner.lake))?;
        self.run.lock().objects = Some(objects.len() as u64);
        let (inner, began) = (Arc::clone(&self.inner), Instant::now());
        let may_go_on = move |bytes| {
            let (most, longest) = inner.bounds;
            if bytes > most {
                Err(Bound::TooMuch(most))
            } else if began.elapsed() > longest {
                Err(Bound::TooLong(longest))
            } else if !(inner.has_room)() {
                Err(Bound::NoSpace)
            } else {
                Ok(())
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mapping = Mapping {
            function,
            reduce,
            lake: Arc::clone(&self.inner.lake),
            handle,
            running: Arc::clone(&self.running),
            environment: Environment::Few,
            scratch: self.inner.kept.folder(&self.username),
            workers: (cores / 2).max(1),
            ahead: AHEAD,
            may_go_on: Box::new(may_go_on),
        };
        let mut result = BufWriter::new(self.inner.kept.draft(&self.username).map_err(NoResult::Files)?);
        mapping.run(&objects, |lines| mapping::write(&mut result, lines), || self.run.lock().mapped += 1)?;
        result.flush().map_err(NoResult::Files)?;
        let result = result.into_inner().map_err(|error| NoResult::Files(error.into_error()))?;
        let length = result.as_file().metadata().map_err(NoResult::Files)?.len();
        self.inner.kept.keep(&self.username, &self.id, result).map_err(NoResult::Files)?;
        Ok(length)
    }

    /// Waits until the lake has what was acknowledged before, or for a while.
    fn wait_for_filing(&self) -> Result<(), NoResult> {
        let began = Instant::now();
        let left = || {
            weir_embedded::not_filed_yet(&self.inner.data)
                .map_err(|error| PortError::unavailable("waiting for filing", error))
        };
        let wanted = left()?;
        let mut now = wanted;
        while now.has_some_of(&wanted) && began.elapsed() < FILING && !self.running.is_stopped() {
            thread::sleep(PAUSE);
            now = left()?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut run = self.run.lock().clone();
        let is_stopped = self.inner.is_stopped();
        let (state, error) = match self.outcome.take() {
            Some(Ok(bytes)) => {
                run.bytes = Some(bytes);
                (RunState::Done, None)
            }
            _ if is_stopped => (RunState::Lost, Some("the server ended before the run did".to_owned())),
            Some(Err(why)) => {
                if why.is_the_servers() {
                    tracing::error!(run = self.id, error = %why, "the result of a run cannot be kept, or its events cannot be read");
                }
                (RunState::Failed, Some(why.for_clients()))
            }
            None => (RunState::Failed, Some("a fault in the server".to_owned())),
        };
        kept::end(&mut run, state, error, self.inner.clock.now());
        let (function, mapped) = (run.wanted.function.as_str(), run.mapped);
        tracing::info!(run = self.id, function, mapped, "a run ended: {}", run.state);
        if let Err(error) = self.inner.kept.note(&self.username, &run) {
            tracing::error!(run = self.id, %error, "the end of a run cannot be noted");
        }
        self.inner.free(&self.id);
    }
}
