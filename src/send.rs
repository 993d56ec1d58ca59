//! `weir send`: imports files over HTTP, into any Weir.
//!
//! - `input`: opens a file and detects its format; `lines`, `elements`, `rows` and `parquet` parse NDJSON, JSON arrays, CSV and
//!   Parquet into the items of a `source`, `columns` types the cells, `header` and `quoting` recognise files that are not rows of a
//!   type; `mapping` renames fields;
//! - `event_ids`: ids for events that have none;
//! - `beginning`: decides from a file's first lines whether to continue;
//! - `delivery`: concurrent batches, recorded in the file's order; `sender` sends one of them, `client` is the HTTP below;
//! - `state`: progress through a file, so that an interrupted run can resume; `stop` signals all threads;
//! - `rejected`: the file of rejected lines; `report`: the progress bar and the summary.

mod beginning;
pub(crate) mod client;
mod columns;
mod delivery;
mod elements;
mod event_ids;
mod header;
mod input;
mod lines;
mod mapping;
mod parquet;
mod quoting;
mod rejected;
mod report;
mod rows;
mod sender;
mod source;
mod state;
mod stop;

use std::{
    cell::OnceCell,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;
use weir_core::{Random, SystemRandom};

use crate::{catalog, cli::SendArgs, counted::counted, names::no_such, signals::Signals};
use beginning::Beginning;
use client::{Client, Credentials};
use columns::Columns;
use delivery::{Delivery, Ended, Limits, TooManyRejected};
use event_ids::{Ids, Stamper};
use input::{Content, FormatOptions, Input, Origin};
use mapping::Mapping;
pub(crate) use mapping::Renamed;
use rejected::RejectedFile;
use report::Report;
use sender::Sender;
use source::Source;
use state::{Bound, StateFile, Unusable, with_suffix};
use stop::Stop;

/// The exit code if everything was sent and some lines were rejected.
const REJECTED: u8 = 3;

/// The outcome of sending a file, or all files.
enum Outcome {
    Sent { rejected: bool },
    Stopped,
}

/// Runs the command.
pub(crate) async fn run(args: SendArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen(None)?;
    let stop = Arc::new(Stop::default());
    let sending = Sending::new(args, Arc::clone(&stop))?;
    let (tell, mut told) = oneshot::channel();
    // Uses plain threads: one that is blocked, by a pipe for example, ends with the process.
    let work = move || drop(tell.send(sending.send_all()));
    thread::Builder::new().name("weir-files".to_owned()).spawn(work).context("there are no threads left")?;
    let (outcome, signal) = tokio::select! {
        outcome = &mut told => (outcome, None),
        signal = signals.next() => {
            stop.tell();
            if !stop.is_at_work() {
                return Ok(ExitCode::from(signal));
            }
            tokio::select! {
                outcome = told => (outcome, Some(signal)),
                _ = signals.next() => std::process::exit(signal.into()),
            }
        }
    };
    Ok(match (outcome.context("sending ended without a word")??, signal) {
        (Outcome::Stopped, signal) => ExitCode::from(signal.unwrap_or(130)),
        (Outcome::Sent { rejected: true }, _) => ExitCode::from(REJECTED),
        (Outcome::Sent { rejected: false }, _) => ExitCode::SUCCESS,
    })
}

/// Everything sent in a run.
struct Sending {
    args: SendArgs,
    origins: Vec<Origin>,
    sender: Sender,
    random: Arc<dyn Random>,
    /// The server's types, once they are fetched; `None` if the server does not describe them.
    of_server: OnceCell<Option<Columns>>,
}

impl Sending {
    fn new(args: SendArgs, stop: Arc<Stop>) -> Result<Self> {
        let mut origins = Vec::new();
        for path in &args.files {
            match Origin::of(path) {
                Origin::File(path) if path.is_dir() => {
                    origins.extend(input::in_folder(&path)?.into_iter().map(Origin::File));
                }
                origin => origins.push(origin),
            }
        }
        if args.rejected.is_some() && origins.len() > 1 {
            bail!("--rejected names the file for one FILE: send the others by themselves");
        }
        if args.source.is_some() && origins.len() > 1 {
            bail!("--source names one FILE: send the others by themselves");
        }
        // Checks before sending anything, so that a missing file is not reported an hour later.
        for origin in &origins {
            if let Origin::File(path) = origin {
                std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
        let credentials = Credentials::find(args.credentials_file.as_deref())?;
        let client = Arc::new(Client::new(args.to.clone(), &credentials, usize::from(args.concurrency))?);
        if client.is_in_clear() {
            eprintln!("weir: the secret and the events travel in clear text: use https beyond this machine");
        }
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let sender = Sender { client, stop, random: Arc::clone(&random), retry_for: args.retry_for };
        Ok(Self { args, origins, sender, random, of_server: OnceCell::new() })
    }

    fn send_all(&self) -> Result<Outcome> {
        self.check_type()?;
        let mut any_rejected = false;
        for (origin, left) in self.origins.iter().zip((0..self.origins.len()).rev()) {
            let sent = self.send(origin).with_context(|| origin.name());
            if !matches!(sent, Ok(Outcome::Sent { .. })) && left > 0 {
                let files = counted(left as u64, "file was", "files were");
                eprintln!("weir: {files} not sent, after {}", origin.name());
            }
            match sent? {
                Outcome::Stopped => return Ok(Outcome::Stopped),
                Outcome::Sent { rejected } => any_rejected |= rejected,
            }
        }
        Ok(Outcome::Sent { rejected: any_rejected })
    }

    fn send(&self, origin: &Origin) -> Result<Outcome> {
        let args = &self.args;
        let options =
            FormatOptions { format: args.format, delimiter: args.delimiter, no_quotes: args.no_quotes };
        let input = input::open(origin, options, args.source.as_deref(), &*self.random)?;
        if args.dry_run {
            let stamper = self.stamper(&input, None);
            return Ok(Outcome::Sent {
                rejected: dry_run(&origin.name(), self.source(input, stamper)?.as_mut())?,
            });
        }
        let rejected_path = args.rejected.clone().unwrap_or_else(|| match origin {
            Origin::File(path) => with_suffix(path, ".rejected.ndjson"),
            Origin::Stdin => PathBuf::from("stdin.rejected.ndjson"),
        });
        let mut state = self.state(origin, &input, &rejected_path);
        let before = state.as_mut().and_then(|state| match state.read() {
            Ok(progress) => progress,
            Err(why) => {
                eprintln!("weir: {} is of no use, {why}: sending from the beginning", state.path().display());
                if let Unusable::OtherIds { lines } = why {
                    eprintln!(
                        "weir: {} done before. Events without an event_id of their own have other ids now, and count again. With \
                         --source NAME from the first run on, they would not",
                        counted(lines, "line was", "lines were")
                    );
                }
                None
            }
        });
        let stamper = self.stamper(&input, state.as_ref());
        let bytes = input.metadata.as_ref().map(std::fs::Metadata::len);
        let shown = !args.no_progress && std::io::stderr().is_terminal();
        let mut report = Report::new(origin.name(), bytes, Arc::clone(&input.read), shown);
        let (mut done, mut rejected_bytes) = (0, 0);
        if let Some(progress) = before {
            (done, rejected_bytes) = (progress.lines, progress.rejected_bytes);
            report.resume(progress.lines, progress.rejected);
        }
        report.begin();
        let mut rejected = RejectedFile::new(rejected_path, args.rejected.is_some(), rejected_bytes);
        let resumable = state.as_ref().map(|state| state.path().to_owned());
        let delivery = Delivery {
            sender: self.sender.clone(),
            limits: Limits { batch: args.batch.into(), concurrency: args.concurrency.into() },
            done,
            beginning: Beginning::new(args.keep_going),
            max_rejected: args.max_rejected,
            report: &mut report,
            rejected: &mut rejected,
            state,
            is_at_end: false,
        };
        let ended = self.source(input, stamper).and_then(|source| delivery.run(source));
        report.clear();
        if ended.is_ok() || !report.is_empty() {
            // If the reader has gone, the summary is lost.
            let _ = writeln!(std::io::stdout(), "{}", report.summary(rejected.path()));
            if matches!(ended, Ok(Ended::Whole)) && report.is_empty() {
                eprintln!("weir: {}: there is no event in it", origin.name());
            }
            for warning in report.warnings() {
                eprintln!("weir: {warning}");
            }
        }
        let how_on = |path: &PathBuf| {
            format!("the same command goes on after what is done, as {} says", path.display())
        };
        match ended {
            Ok(Ended::Whole) => Ok(Outcome::Sent { rejected: report.rejected > 0 }),
            Ok(Ended::Stopped) => {
                let how = resumable.filter(|path| path.exists()).as_ref().map(how_on);
                let how = how.unwrap_or_else(|| "the same command sends it from its beginning".to_owned());
                eprintln!("weir: interrupted; {how}");
                Ok(Outcome::Stopped)
            }
            Err(error) => {
                if let Some(path) = resumable.filter(|path| path.exists()) {
                    if error.is::<TooManyRejected>() {
                        let path = path.display();
                        eprintln!("weir: a higher --max-rejected goes on after what is done, as {path} says");
                    } else {
                        eprintln!("weir: {}", how_on(&path));
                    }
                }
                Err(error)
            }
        }
    }

    /// Returns the state file; `None` for a pipe.
    fn state(&self, origin: &Origin, input: &Input, rejected: &Path) -> Option<StateFile> {
        let (Origin::File(path), Some(metadata)) = (origin, &input.metadata) else { return None };
        let (to, user) = self.sender.client.destination();
        let bound = Bound {
            bytes: metadata.len(),
            changed: state::changed(metadata),
            seed: input.seed.text(),
            ids: Ids::WholeContent,
            to,
            user,
            event_type: self.args.event_type.as_ref().map(ToString::to_string),
            reading: self.reading(),
            rejected: rejected.to_owned(),
        };
        Some(StateFile::beside(path, bound, input.seed_before.text()))
    }

    /// Returns the options that change the events of a file; empty without any.
    fn reading(&self) -> String {
        let delimiter = self.args.delimiter.map(|byte| char::from(byte).to_string());
        let renamed = self.args.map.iter().map(ToString::to_string);
        let quotes = self.args.no_quotes.then(|| "no-quotes".to_owned());
        renamed.chain(delimiter).chain(quotes).collect::<Vec<_>>().join(" ")
    }

    /// Returns the maker of ids, by the rule of the run that is resumed.
    fn stamper(&self, input: &Input, state: Option<&StateFile>) -> Stamper {
        let ids = state.map_or(Ids::WholeContent, StateFile::ids);
        let seed = match ids {
            Ids::Before => input.seed_before,
            Ids::WholeContent => input.seed,
        };
        Stamper { seed, ids, event_type: self.args.event_type.clone() }
    }

    /// Returns the input's events, one by one.
    fn source(&self, input: Input, stamper: Stamper) -> Result<Box<dyn Source>> {
        let mapping = Mapping::new(self.args.map.clone());
        let rows = match input.kind {
            Content::Lines => return Ok(Box::new(input.lines(stamper, mapping))),
            Content::Elements => return Ok(Box::new(input.elements(stamper, mapping))),
            Content::Parquet => {
                let rows = input.parquet()?.mapped(&mapping)?;
                let columns = self.columns_of(rows.names(), &stamper)?;
                return Ok(Box::new(rows.events(columns, stamper, self.args.source.is_some())?));
            }
            Content::Rows(dialect) => input.rows(dialect)?.mapped(&mapping)?,
        };
        let columns = match rows.names() {
            // An empty file needs no type.
            [] => Columns::default(),
            names => self.columns_of(names, &stamper)?,
        };
        Ok(Box::new(rows.events(columns, stamper)))
    }

    /// Returns the fields of the types. Fails if rows with columns of these names cannot be events.
    fn columns_of(&self, names: &[String], stamper: &Stamper) -> Result<Columns> {
        let has_types = names.iter().any(|name| name == "event_type");
        if !has_types && stamper.event_type.is_none() {
            let why = header::separator(names).map(|why| format!(" ({why})")).unwrap_or_default();
            bail!("of which type are the rows? Name it with --type, or in a column event_type{why}");
        }
        let columns = self.columns()?;
        // With an `event_type` column, each row may name its own type.
        let event_type = stamper.event_type.as_ref().filter(|_| !has_types);
        match header::fault(names, event_type.map(weir_core::EventType::as_str), &columns) {
            Some(fault) => bail!("{fault}; nothing was sent"),
            None => Ok(columns),
        }
    }

    /// Refuses a type that the server does not have, before any event is sent as one.
    fn check_type(&self) -> Result<()> {
        let Some(event_type) = &self.args.event_type else { return Ok(()) };
        let Some(types) = self.of_server()?.map(Columns::types) else { return Ok(()) };
        if types.contains(event_type.as_str()) {
            return Ok(());
        }
        bail!(
            "at {}, {}",
            self.sender.client.destination().0,
            no_such("event type", event_type.as_str(), &types)
        )
    }

    /// Returns the types that the server describes, fetched once.
    fn of_server(&self) -> Result<Option<&Columns>> {
        if self.of_server.get().is_none() {
            let columns = self.sender.client.description()?.as_ref().and_then(Columns::of_description);
            // Setting it cannot fail: it was empty just now.
            let _ = self.of_server.set(columns);
        }
        Ok(self.of_server.get().and_then(Option::as_ref))
    }

    /// Returns the fields of the types: from the named catalog, else from the server, else built in.
    fn columns(&self) -> Result<Columns> {
        if let Some(folder) = self.args.catalog.folder() {
            return Ok(Columns::of_catalog(&catalog::read(Some(folder))?));
        }
        if let Some(columns) = self.of_server()? {
            return Ok(columns.clone());
        }
        eprintln!("weir: the server does not describe its types: cells are what the built-in types say");
        Ok(Columns::of_catalog(&catalog::read(None)?))
    }
}

/// Prints the events of a source, which has this name; returns whether some lines have none.
fn dry_run(name: &str, source: &mut dyn Source) -> Result<bool> {
    let (mut out, mut any, mut any_rejected) = (std::io::stdout().lock(), false, false);
    while let Some(item) = source.next()? {
        any = true;
        match item.event {
            Ok(event) => {
                // A reader such as head has seen enough.
                if out.write_all(&event).and_then(|()| out.write_all(b"\n")).is_err() {
                    break;
                }
            }
            Err(why) => {
                any_rejected = true;
                eprintln!("weir: line {}: {}", item.number, format!("{} {}", why.path, why.message).trim());
            }
        }
    }
    if !any {
        eprintln!("weir: {name}: there is no event in it");
    }
    Ok(any_rejected)
}
