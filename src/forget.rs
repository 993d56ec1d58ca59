//! `weir forget`: takes events out of a data folder, or out of AWS (`on_aws`), so that nothing of them is left, and says what it did
//! where.

#[cfg(feature = "aws")]
mod on_aws;

use std::{ops::ControlFlow, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use fan_out::{FanOut, FanOutError};
use weir_core::{
    Catalog, EventType, Redaction, SystemClock, SystemRandom,
    event::{ENVELOPE, STAMPED},
    forgotten::{ForgetRequest, Which},
    nearest,
};
use weir_embedded::{Amounts, Embedded, Flush, ForgetError, OpenError, SealedFolder, SealingTurn};

use crate::{
    catalog,
    cli::{Condition, EngineName, ForgetArgs},
    counted::counted,
    data,
    names::Selection,
    printed,
    seal::{self, DuckDbWork},
};

/// How often the folder is tried while the process's own threads still end.
const TRIES: u32 = 400;
const PAUSE: Duration = Duration::from_millis(25);

/// Runs the command.
pub(crate) async fn run(args: &ForgetArgs) -> Result<ExitCode> {
    must_tell_apart(args)?;
    match args.place.engine {
        EngineName::Embedded => in_folder(args).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => on_aws::run(args).await,
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

async fn in_folder(args: &ForgetArgs) -> Result<ExitCode> {
    let data = args.place.data.as_path();
    data::must_have_events(data)?;
    let secret = weir_embedded::secret_of(data)?;
    let catalog = catalog::with_stored(None, data)?.with_secret(secret);
    let request = request(args, &catalog);
    if args.dry_run {
        let look = |with: &Sealing| {
            weir_embedded::look_for_forgetting(data, &request, &SystemRandom, (&with.turn, &with.work))
        };
        let found = with_all_filed(args, look).await?;
        if found.is_empty() {
            check_names(args, &catalog).await?;
        }
        report_found(args, &found);
        return Ok(ExitCode::SUCCESS);
    }
    let forget = |with: &Sealing| {
        let go_on = &mut |_: &str| ControlFlow::Continue(());
        weir_embedded::forget(data, &request, &SystemRandom, (&with.turn, &with.work), go_on)
    };
    let amounts = with_all_filed(args, forget).await?;
    if amounts.events.is_empty() && amounts.lake + amounts.raw + amounts.quarantine == 0 {
        check_names(args, &catalog).await?;
    }
    report(args, &amounts);
    Ok(ExitCode::SUCCESS)
}

/// Refuses a user, a type or a field that there is not: no event was found.
async fn check_names(args: &ForgetArgs, catalog: &Catalog) -> Result<()> {
    let (user, event_type) = (Some(&args.user), args.event_type.as_ref());
    let (engine, data) = (args.place.engine, args.place.data.as_path());
    Selection { engine, data, catalog: args.catalog.folder(), user, event_type }.check().await?;
    must_be_a_field(args, catalog)
}

/// Refuses a condition that all events of the user or of a type meet. Rejected events may have been sent with such a field.
fn must_tell_apart(args: &ForgetArgs) -> Result<()> {
    let Some(Condition { field, value }) = &args.condition else { return Ok(()) };
    let is_of_rejected = args.event_type.as_ref().is_some_and(EventType::is_rejected);
    match field.as_str() {
        "username" if value == args.user.as_str() && !is_of_rejected => {
            bail!("all events of {value} have this username: for all of them there is --all")
        }
        "event_type" if value.parse::<EventType>().is_ok() => {
            bail!(
                "all events of a type have the same event_type: for all of them there is --type {value} --all"
            )
        }
        _ => Ok(()),
    }
}

/// Refuses a condition that no event met, on a field that no type has: it may be misspelt.
fn must_be_a_field(args: &ForgetArgs, catalog: &Catalog) -> Result<()> {
    let Some(condition) = &args.condition else { return Ok(()) };
    let is_meant = |event_type: &EventType| args.event_type.as_ref().is_none_or(|meant| meant == event_type);
    let types = catalog.iter().filter(|definition| is_meant(definition.event_type()));
    let own = types.flat_map(|definition| definition.fields().map(|(name, _)| name));
    let known: Vec<&str> = own.chain(ENVELOPE).chain(STAMPED).collect();
    let field = condition.field.as_str();
    if known.contains(&field) {
        return Ok(());
    }
    let first = field.split('.').next().unwrap_or_default();
    if known.contains(&first) {
        return Ok(());
    }
    match nearest(field, known.into_iter().filter(|name| !["username", "event_type"].contains(name))) {
        Some(meant) => bail!(
            "nothing was forgotten: no event of {} has this value, and no event type has a field {field}; did you mean {meant}?",
            args.user
        ),
        // Types may take fields that they do not name.
        None => eprintln!("weir: no event type names a field {field}, and no event has this value"),
    }
    Ok(())
}

/// Returns the events that are meant. A value is meant in the form in which a redacted field has it, too.
fn request(args: &ForgetArgs, catalog: &Catalog) -> ForgetRequest {
    let which = match &args.condition {
        None => Which::All,
        Some(condition) => {
            let mut values = vec![condition.value.clone()];
            for definition in catalog.iter() {
                // A truncated address is that of many.
                if definition.redact().of(&condition.field) == Some(Redaction::Hash) {
                    values.extend(catalog.redacted(definition, &condition.field, &condition.value));
                }
            }
            values.retain(|value| !value.is_empty());
            Which::Where { field: condition.field.clone(), values }
        }
    };
    ForgetRequest { username: args.user.clone(), event_type: args.event_type.clone(), which }
}

/// Works on the folder, once everything acknowledged is filed.
async fn with_all_filed<T>(
    args: &ForgetArgs,
    work: impl Fn(&Sealing) -> Result<T, ForgetError>,
) -> Result<T> {
    let mut has_filed = false;
    for _ in 0..TRIES {
        match work(&Sealing::of(&args.place.data)?) {
            Err(ForgetError::NotFiled) => {
                file_all(args).await?;
                has_filed = true;
            }
            Err(ForgetError::Open(OpenError::InUse(_))) if has_filed => tokio::time::sleep(PAUSE).await,
            Err(ForgetError::Open(error)) => return Err(data::in_use(error, "stop it first")),
            Err(error) => return Err(error.into()),
            Ok(done) => return Ok(done),
        }
    }
    bail!("the folder is used by another process again and again: stop it first")
}

/// Finishes a forgetting that was killed before it had taken events out of sealed days, so that the folder can be opened.
pub(crate) fn finish(data: &Path) -> Result<()> {
    if weir_embedded::needs_rows_to_finish(data) {
        let with = Sealing::of(data)?;
        let finished = weir_embedded::finish_forgetting(data, (&with.turn, &with.work));
        finished.context(
            "a `weir forget` was killed and must be finished: run it again, with the same options",
        )?;
    }
    Ok(())
}

/// The turn to seal, and the work on sealed days.
struct Sealing {
    turn: Arc<SealingTurn>,
    work: DuckDbWork,
}

impl Sealing {
    fn of(data: &Path) -> Result<Self> {
        let folder = SealedFolder::of(data);
        let turn = folder.turn().with_context(|| format!("cannot use {}", folder.path().display()))?;
        let turn = Arc::new(turn.ok_or(ForgetError::Sealing)?);
        let work = seal::work(data, &turn)?;
        Ok(Self { turn, work })
    }
}

/// Files what an earlier server left.
async fn file_all(args: &ForgetArgs) -> Result<()> {
    let flush = Flush { every: Duration::MAX, size: u64::MAX };
    let (engine, mut deliveries) = Embedded::open(&args.place.data, flush, Arc::new(SystemClock))
        .map_err(|error| data::in_use(error, "stop it first"))?;
    let (raw, lake, quarantine) = engine.folders();
    let shared = Arc::new(engine.clone());
    let fan_out =
        FanOut::new(Arc::new(raw), Arc::new(lake), Arc::new(quarantine), shared.clone()).without(shared);
    engine.stop().await?;
    while let Some(batch) = deliveries.next().await {
        match fan_out.file(&batch).await {
            Ok(_) => engine.filed(&batch).await?,
            Err(error @ FanOutError::NoSuchBatch { .. }) => {
                engine.give_up(&batch, &error.to_string()).await?;
            }
            Err(error) => bail!("{error}. Nothing is forgotten, as it may hold such events"),
        }
    }
    Ok(())
}

/// Says that counts were lowered, if they were.
fn lowered(by_type: &[(EventType, u64)]) -> &'static str {
    if by_type.is_empty() { "" } else { "counts lowered; " }
}

/// Prints how many events were forgotten, by type.
fn report_events(args: &ForgetArgs, by_type: &[(EventType, u64)]) {
    printed::line(format_args!("forgotten: {}", of_user(args, by_type)));
}

/// Prints how many events would be forgotten, by type.
fn report_found(args: &ForgetArgs, by_type: &[(EventType, u64)]) {
    let then = if by_type.is_empty() { "" } else { ". Without --dry-run, they go" };
    printed::line(format_args!("to be forgotten: {}{then}", of_user(args, by_type)));
}

fn of_user(args: &ForgetArgs, by_type: &[(EventType, u64)]) -> String {
    let events: u64 = by_type.iter().map(|(_, count)| count).sum();
    let types: Vec<String> =
        by_type.iter().map(|(event_type, count)| format!("{count} {event_type}")).collect();
    let types = if types.is_empty() { String::new() } else { format!(" ({})", types.join(", ")) };
    format!("{} of {}{types}", counted(events, "event", "events"), args.user)
}

fn report(args: &ForgetArgs, amounts: &Amounts) {
    report_events(args, &amounts.events);
    let rewritten = |number, one, many| format!("{} rewritten or removed", counted(number, one, many));
    printed::line(format_args!("  lake        {}", rewritten(amounts.lake, "object", "objects")));
    if amounts.sealed > 0 {
        printed::line(format_args!(
            "  sealed      {} without the events; those that have JSON are sealed again by the next sealing",
            counted(amounts.sealed, "day", "days")
        ));
    }
    printed::line(format_args!("  raw         {} rewritten", counted(amounts.raw, "batch", "batches")));
    printed::line(format_args!("  quarantine  {}", rewritten(amounts.quarantine, "object", "objects")));
    printed::line(format_args!(
        "  events.db   {}{}, {} and {} removed; rewritten without free pages",
        lowered(&amounts.events),
        counted(amounts.latest, "latest value", "latest values"),
        counted(amounts.rejected, "recent rejected event", "recent rejected events"),
        counted(amounts.ids, "remembered id", "remembered ids"),
    ));
    printed::line(format_args!(
        "  answers     {} of answers and runs removed",
        counted(amounts.computed, "file", "files")
    ));
    if amounts.computed > 0 {
        printed::line(format_args!(
            "Answers are computed again by the next `weir publish`; those with `every` by `weir serve`, too."
        ));
    }
    if *amounts == Amounts::default() {
        return;
    }
    printed::line(format_args!(
        "Backups from before still have the events, as have results that `weir map` or `weir query` printed."
    ));
}
