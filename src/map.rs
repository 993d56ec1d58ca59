//! `weir function` and `weir map`: runs a named command over the objects of the lake, many at once.
//!
//! - here: which objects, and what is done with the results;
//! - `functions`: the named commands;
//! - `child`: one run of a command, with its limits;
//! - `workers`: many runs at once, with their results in order.

mod child;
mod functions;
mod workers;

use std::{
    io::{self, IsTerminal, Read, Seek, Write},
    process::{ChildStdin, ExitCode},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use weir_core::{LakeObject, ports::LakeObjects};

use crate::{
    cli::{EngineName, Folder, FunctionCommand, FunctionName, MapArgs},
    counted::counted,
    data,
    names::Selection,
    query,
    signals::Signals,
    table, terminal,
};
use child::{Failure, Running};
use functions::{Function, Functions};

/// How many paths are listed per page.
const PAGE: usize = 1000;

/// Runs `weir function`.
pub(crate) fn function(command: FunctionCommand) -> Result<ExitCode> {
    let functions = Functions::of(data_of(command.folder())?);
    match command {
        FunctionCommand::Add { name, time_limit, memory_limit, output_limit, command, folder: _ } => {
            let directory = std::env::current_dir().context("the current folder cannot be read")?;
            let function = Function::new(command, directory, time_limit, memory_limit, output_limit);
            functions.add(&name, &function)?;
            eprintln!("There is a function {name} now: weir map {name} --type TYPE");
        }
        FunctionCommand::List { folder: _ } => {
            let mut rows = vec![["name", "time limit", "command"].map(str::to_owned)];
            for name in functions.names()? {
                let function = functions.get(&name)?;
                let time = format!("{:?}", function.time_limit());
                rows.push([name.to_string(), time, terminal::on_one_line(&function.command.join(" "))]);
            }
            print!("{}", table::aligned(&rows, table::terminal_width()));
        }
        FunctionCommand::Remove { name, folder: _ } => {
            functions.remove(&name)?;
            eprintln!("The function {name} is removed.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `weir map`.
pub(crate) async fn run(args: MapArgs) -> Result<ExitCode> {
    let data = data_of(&args.folder)?.to_owned();
    let functions = Functions::of(&data);
    let function = functions.get(&args.name)?;
    let reduce = match &args.reduce {
        Some(name) => Some((functions.get(name)?, name.clone())),
        None => None,
    };
    let (user, event_type) = (args.user.as_ref(), Some(&args.event_type));
    Selection { engine: EngineName::Embedded, data: &data, catalog: None, user, event_type }.check().await?;
    query::wait_for_filing(&data, args.wait).await?;
    let (_books, _raw, lake) = weir_embedded::open_books(&data)?;
    let lake: Arc<dyn LakeObjects> = Arc::new(lake);
    let objects = objects(&*lake, &args).await?;
    let workers = match args.workers {
        Some(number) => number.into(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // Handles signals before the first child runs: each is in a group of its own, which a signal to this one does not end.
    let mut signals = Signals::listen(None)?;
    let running = Arc::new(Running::default());
    let map = Map { function, reduce, lake, handle: Handle::current(), running: running.clone() };
    let mapping = tokio::task::spawn_blocking(move || map.run(&objects, workers));
    tokio::select! {
        mapped = mapping => {
            mapped??;
            Ok(ExitCode::SUCCESS)
        }
        code = signals.next() => {
            running.stop();
            Ok(ExitCode::from(code))
        }
    }
}

fn data_of(folder: &Folder) -> Result<&std::path::Path> {
    if folder.engine == EngineName::Aws {
        bail!("functions run over the lake of one machine; on AWS, use Athena (`weir query --engine aws`)");
    }
    data::must_have_events(&folder.data)?;
    Ok(&folder.data)
}

/// Lists the paths of the chosen objects, in their order.
async fn objects(lake: &dyn LakeObjects, args: &MapArgs) -> Result<Vec<String>> {
    let is_chosen = |path: &String| {
        LakeObject::at(path).is_some_and(|LakeObject { partition, .. }| {
            partition.event_type == args.event_type
                && args.user.as_ref().is_none_or(|user| partition.username == *user)
                && args.from.is_none_or(|from| partition.hour >= from)
                && args.to.is_none_or(|to| partition.hour < to)
        })
    };
    let (mut chosen, mut after) = (Vec::new(), None);
    loop {
        let page = match &args.user {
            Some(user) => lake.list_of(user, after.as_deref(), PAGE).await?,
            None => lake.list(after.as_deref(), PAGE).await?,
        };
        let Some(last) = page.last() else { return Ok(chosen) };
        after = Some(last.clone());
        chosen.extend(page.into_iter().filter(is_chosen));
    }
}

struct Map {
    function: Function,
    reduce: Option<(Function, FunctionName)>,
    lake: Arc<dyn LakeObjects>,
    handle: Handle,
    running: Arc<Running>,
}

impl Map {
    fn run(&self, objects: &[String], workers: usize) -> Result<()> {
        match &self.reduce {
            None => self.map(objects, workers, print)?,
            Some((reduce, name)) => {
                let mut results = tempfile::tempfile().context("results cannot be kept")?;
                self.map(objects, workers, |result| write(&mut results, result))?;
                let reduced = self.twice(|| {
                    results.rewind().map_err(Failure::Output)?;
                    let results = &results;
                    child::run(reduce, &[], move |input| copy(results, input), &self.running)
                });
                let reduced =
                    reduced.with_context(|| format!("the results could not be reduced by {name}"))?;
                print(&reduced).context("results cannot be written")?;
            }
        }
        eprintln!("weir: {} mapped", counted(objects.len() as u64, "object was", "objects were"));
        Ok(())
    }

    /// Hands on the results in the order of the objects.
    fn map(
        &self,
        objects: &[String],
        workers: usize,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<()> {
        let work = |path: &String| self.twice(|| self.run_on(path));
        workers::in_order(objects, workers, work, |path, result| {
            let written = result
                .with_context(|| format!("{path} could not be mapped"))
                .and_then(|result| take(&result).context("results cannot be written"));
            if written.is_err() {
                // No later object has a result.
                self.running.stop();
            }
            written
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
        child::run(&self.function, &variables, feed, &self.running)
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
fn write(mut to: impl Write, result: &[u8]) -> io::Result<()> {
    to.write_all(result)?;
    if !result.is_empty() && !result.ends_with(b"\n") {
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Prints a result; on a terminal, control characters are escaped, as events are untrusted text.
fn print(result: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        return write(out, result);
    }
    let mut lines = Vec::new();
    write(&mut lines, result)?;
    terminal::copy_lines(&*lines, &mut out)
}
