//! A function over objects of the lake: which ones, many at once, with their results in order, and all results as the input
//! of another function.

use std::{
    io::{self, Read, Seek, Write},
    path::PathBuf,
    process::ChildStdin,
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use weir_core::{
    EventType, Hour, LakeObject, Username,
    ports::{LakeObjects, PortError},
};

use super::{functions::Function, workers};
use crate::{
    child::{self, Environment, Failure, Running},
    cli::FunctionName,
};

/// How many paths are listed per page.
const PAGE: usize = 1000;

/// Which objects are mapped.
pub(super) struct Chosen {
    pub(super) event_type: EventType,
    pub(super) user: Option<Username>,
    pub(super) from: Option<Hour>,
    /// The hour before which they end.
    pub(super) to: Option<Hour>,
}

impl Chosen {
    /// Lists the paths of the objects, in their order.
    pub(super) async fn objects(&self, lake: &dyn LakeObjects) -> Result<Vec<String>, PortError> {
        let (mut chosen, mut after) = (Vec::new(), None);
        loop {
            let page = match &self.user {
                Some(user) => lake.list_of(user, after.as_deref(), PAGE).await?,
                None => lake.list(after.as_deref(), PAGE).await?,
            };
            let Some(last) = page.last() else { return Ok(chosen) };
            after = Some(last.clone());
            chosen.extend(page.into_iter().filter(|path| self.has(path)));
        }
    }

    fn has(&self, path: &str) -> bool {
        LakeObject::at(path).is_some_and(|LakeObject { partition, .. }| {
            partition.event_type == self.event_type
                && self.user.as_ref().is_none_or(|user| partition.username == *user)
                && self.from.is_none_or(|from| partition.hour >= from)
                && self.to.is_none_or(|to| partition.hour < to)
        })
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum MapError {
    #[error("{path} could not be mapped: {failure}")]
    Object { path: String, failure: Failure },
    #[error("the results could not be reduced by {name}: {failure}")]
    Reduce { name: FunctionName, failure: Failure },
    #[error(transparent)]
    Bound(#[from] Bound),
    #[error("results cannot be kept: {0}")]
    Kept(io::Error),
    #[error("results cannot be written: {0}")]
    Written(io::Error),
}

/// A bound of a whole run, which it exceeds.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bound {
    #[error("the results have more than {}", ByteSize(*.0).display().iec())]
    TooMuch(u64),
    #[error("the run took longer than {0:?}")]
    TooLong(Duration),
    #[error("the server's disk has no space left for results")]
    NoSpace,
}

/// A function, what it works on, and within which bounds.
pub(super) struct Mapping {
    pub(super) function: Function,
    pub(super) reduce: Option<(Function, FunctionName)>,
    pub(super) lake: Arc<dyn LakeObjects>,
    pub(super) handle: Handle,
    pub(super) running: Arc<Running>,
    pub(super) environment: Environment,
    /// The folder for the input of a reduction.
    pub(super) scratch: PathBuf,
    /// How many objects are worked on at once.
    pub(super) workers: usize,
    /// How many results for each worker may wait in memory.
    pub(super) ahead: usize,
    /// Asked before each result is kept, with the bytes of all results so far.
    pub(super) may_go_on: Box<dyn Fn(u64) -> Result<(), Bound> + Send + Sync>,
}

impl Mapping {
    /// Gives the results to `take` in the order of the objects, or the one to which they are reduced. `mapped` is called once
    /// an object is done.
    pub(super) fn run(
        &self,
        objects: &[String],
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
        mapped: impl Fn(),
    ) -> Result<(), MapError> {
        let Some((reduce, name)) = &self.reduce else {
            return self.map(objects, |result| take(result).map_err(MapError::Written), mapped);
        };
        let mut results = tempfile::tempfile_in(&self.scratch).map_err(MapError::Kept)?;
        self.map(objects, |result| write(&mut results, result).map_err(MapError::Kept), mapped)?;
        let reduced = self.twice(|| {
            results.rewind().map_err(Failure::Output)?;
            let results = &results;
            child::run(
                &reduce.program(self.environment),
                &[],
                move |input| copy(results, input),
                &self.running,
            )
        });
        let reduced = reduced.map_err(|failure| MapError::Reduce { name: name.clone(), failure })?;
        take(&reduced).map_err(MapError::Written)
    }

    fn map(
        &self,
        objects: &[String],
        mut take: impl FnMut(&[u8]) -> Result<(), MapError>,
        mapped: impl Fn(),
    ) -> Result<(), MapError> {
        let work = |path: &String| self.twice(|| self.run_on(path));
        let mut bytes = 0;
        workers::in_order(objects, self.workers, self.ahead, work, |path, result| {
            let taken = result.map_err(|failure| MapError::Object { path: path.clone(), failure }).and_then(
                |result| {
                    bytes += result.len() as u64;
                    (self.may_go_on)(bytes)?;
                    take(&result)
                },
            );
            if taken.is_err() {
                // No later object has a result.
                self.running.stop();
            }
            mapped();
            taken
        })
    }

    /// Runs something once more if it fails.
    fn twice(&self, mut run: impl FnMut() -> Result<Vec<u8>, Failure>) -> Result<Vec<u8>, Failure> {
        match run() {
            Err(failure) if failure.may_pass() && !self.running.is_stopped() => run(),
            result => result,
        }
    }

    fn run_on(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut variables = vec![("WEIR_OBJECT", path.to_owned())];
        if let Some(LakeObject { partition, .. }) = LakeObject::at(path) {
            variables.push(("WEIR_USERNAME", partition.username.to_string()));
            variables.push(("WEIR_EVENT_TYPE", partition.event_type.to_string()));
            variables.push(("WEIR_HOUR", partition.hour.to_string()));
        }
        let feed = |input| self.handle.block_on(unpack(&*self.lake, path, input));
        child::run(&self.function.program(self.environment), &variables, feed, &self.running)
    }
}

/// Writes the lines of an object into a child. One that wants no more of them is not at fault.
async fn unpack(lake: &dyn LakeObjects, path: &str, input: ChildStdin) -> Result<(), String> {
    let mut content = lake.open_path(path).await.map_err(|error| error.to_string())?;
    let mut lines = MultiGzDecoder::new(input);
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(|error| error.to_string())?;
        match lines.write_all(&piece) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|error| format!("its gzip is damaged: {error}"))?,
        }
    }
    match lines.try_finish() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| format!("its gzip is damaged: {error}")),
    }
}

fn copy(mut from: impl Read, mut input: ChildStdin) -> Result<(), String> {
    match io::copy(&mut from, &mut input) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map(drop).map_err(|error| error.to_string()),
    }
}

/// Writes a result, whose last line ends as a line.
pub(super) fn write(mut to: impl Write, result: &[u8]) -> io::Result<()> {
    to.write_all(result)?;
    if !result.is_empty() && !result.ends_with(b"\n") {
        to.write_all(b"\n")?;
    }
    to.flush()
}
