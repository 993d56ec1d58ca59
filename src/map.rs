//! `weir function` and `weir map`: runs a named command over the objects of the lake, many at once.
//!
//! - here: the two commands;
//! - `functions`: the named commands;
//! - `mapping`: a function over objects, with its results in their order, and their reduction to one;
//! - `on_aws`: both commands where functions are Lambdas;
//! - `workers`: many runs of a command at once, with their results in order;
//! - `runs`: the runs that clients start over HTTP; `active`: those under way; `run`: one of them; `kept`: their files.

mod active;
mod functions;
mod kept;
mod mapping;
#[cfg(feature = "aws")]
mod on_aws;
mod run;
mod runs;
mod workers;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use tokio::runtime::Handle;
use weir_core::{ports::LakeObjects, sealing::Manifest};

use crate::{
    child::{Environment, Running},
    cli::{EngineName, FunctionCommand, MapArgs, Place},
    counted::counted,
    data,
    names::Selection,
    printed, query,
    signals::Signals,
    table, terminal,
};
use functions::{Function, Functions};
use mapping::{Chosen, Mapping};
pub(crate) use runs::FunctionRuns;

/// How many results for each worker may be finished or under way, beyond those printed.
const AHEAD: usize = 4;

/// Runs `weir function`.
pub(crate) async fn function(command: FunctionCommand) -> Result<ExitCode> {
    if command.place().engine == EngineName::Aws {
        return function_on_aws(command).await;
    }
    let functions = Functions::of(data_of(command.place())?);
    match command {
        FunctionCommand::Add {
            name,
            time_limit,
            memory_limit,
            output_limit,
            private,
            command,
            lambda,
            place: _,
        } => {
            if lambda.is_some() {
                bail!("a Lambda is a function on AWS (--engine aws); here it is a command");
            }
            let directory = std::env::current_dir().context("the current folder cannot be read")?;
            let function = Function::new(command, directory, time_limit, memory_limit, output_limit, private);
            functions.add(&name, &function)?;
            eprintln!("There is a function {name} now: weir map {name} --type TYPE");
        }
        FunctionCommand::List { place: _ } => {
            let mut rows = vec![["name", "time limit", "clients", "command"].map(str::to_owned)];
            for name in functions.names()? {
                let function = functions.get(&name)?;
                let time = format!("{:?}", function.time_limit());
                let clients = if function.private { "no" } else { "yes" }.to_owned();
                rows.push([
                    name.to_string(),
                    time,
                    clients,
                    terminal::on_one_line(&function.command.join(" ")),
                ]);
            }
            printed::print(&table::aligned(&rows, table::terminal_width()));
        }
        FunctionCommand::Remove { name, place: _ } => {
            functions.remove(&name)?;
            eprintln!("The function {name} is removed.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `weir function` on AWS.
#[cfg(feature = "aws")]
async fn function_on_aws(command: FunctionCommand) -> Result<ExitCode> {
    match command {
        FunctionCommand::Add { name, lambda: Some(lambda), .. } => on_aws::add(&name, &lambda).await?,
        FunctionCommand::Add { .. } => bail!("on AWS, a function is a Lambda: name it with --lambda ARN"),
        FunctionCommand::List { .. } => {
            let mut rows = vec![["name", "lambda"].map(str::to_owned)];
            let listed = on_aws::list().await?;
            rows.extend(
                listed.into_iter().map(|(name, lambda)| [name.to_string(), terminal::on_one_line(&lambda)]),
            );
            printed::print(&table::aligned(&rows, table::terminal_width()));
        }
        FunctionCommand::Remove { name, .. } => on_aws::remove(&name).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "with the engine on AWS it waits")]
async fn function_on_aws(_: FunctionCommand) -> Result<ExitCode> {
    Err(crate::cli::without_aws())
}

/// Runs `weir map`.
pub(crate) async fn run(args: MapArgs) -> Result<ExitCode> {
    if args.place.engine == EngineName::Aws {
        #[cfg(feature = "aws")]
        return on_aws::map(args, print).await;
        #[cfg(not(feature = "aws"))]
        return Err(crate::cli::without_aws());
    }
    let data = data_of(&args.place)?.to_owned();
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
    let chosen = Chosen { event_type: args.event_type, user: args.user, from: args.from, to: args.to };
    let manifest = weir_embedded::SealedFolder::of(&data).reads().await?.manifest;
    warn_of_expired(&manifest, "--keep-json", &chosen);
    let objects = chosen.objects(&*lake).await?;
    let workers = match args.workers {
        Some(number) => number.into(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // Handles signals before the first child runs: each is in a group of its own, which a signal to this one does not end.
    let mut signals = Signals::listen(None)?;
    let running = Arc::new(Running::default());
    let mapping = Mapping {
        function,
        reduce,
        lake,
        handle: Handle::current(),
        running: running.clone(),
        environment: Environment::Inherited,
        scratch: std::env::temp_dir(),
        workers,
        ahead: AHEAD,
        may_go_on: Box::new(|_| Ok(())),
    };
    let mapping = tokio::task::spawn_blocking(move || {
        mapping.run(&objects, print, || {})?;
        eprintln!("weir: {} mapped", counted(objects.len() as u64, "object was", "objects were"));
        anyhow::Ok(())
    });
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

fn data_of(place: &Place) -> Result<&std::path::Path> {
    data::must_have_events(&place.data)?;
    Ok(&place.data)
}

/// Prints a result; on a terminal, control characters are escaped, as events are untrusted text.
fn print(result: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        return mapping::write(out, result);
    }
    let mut lines = Vec::new();
    mapping::write(&mut lines, result)?;
    terminal::copy_lines(&*lines, &mut out)
}

/// Warns of days whose JSON was removed once they were sealed, by a setting: functions get JSON only.
fn warn_of_expired(manifest: &Manifest, setting: &str, chosen: &Chosen) {
    let is_chosen = |day: weir_core::Day| {
        chosen.from.is_none_or(|from| day.last_hour() >= from)
            && chosen.to.is_none_or(|to| day.first_hour() < to)
    };
    let expired = manifest.days.iter().filter(|(day, generation)| {
        let is_read = generation.types.contains_key(&chosen.event_type)
            && !manifest.is_removed(**day, &chosen.event_type);
        generation.json_expired && is_chosen(**day) && is_read
    });
    let expired = expired.count() as u64;
    if expired > 0 {
        eprintln!(
            "weir: the JSON of {} was removed ({setting}); their events are only in Parquet, and are not mapped",
            counted(expired, "day", "days")
        );
    }
}
