//! `weir latest`: the newest event of each resource, from the store that `GET {route}/latest` reads.

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use weir_core::{
    Catalog, EventType, LatestKey, Username,
    catalog::Definition,
    latest::LatestValue,
    ports::{Books, PortError, ReadLatest},
};

use crate::{
    catalog,
    cli::{EngineName, Format, LatestArgs},
    data,
    names::Selection,
    query::rows::{Column, Kind, Printer, Row},
    table,
};

/// How many values are read per call: an event may have a quarter of a megabyte.
const PAGE: usize = 100;

/// Runs the command.
pub(crate) async fn run(args: &LatestArgs) -> Result<ExitCode> {
    let (engine, data) = (args.place.engine, args.place.data.as_path());
    if engine == EngineName::Embedded {
        data::must_have_events(data)?;
    }
    let (user, event_type) = (args.user.as_ref(), Some(&args.event_type));
    Selection { engine, data, catalog: args.catalog.folder(), user, event_type }.check().await?;
    let named = args.catalog.folder().map(|folder| catalog::read(Some(folder))).transpose()?;
    match engine {
        EngineName::Embedded => {
            let field = field(&catalog::with_stored(named, data)?, &args.event_type)?;
            let (books, _raw, _lake) = weir_embedded::open_books(data)?;
            print(&books, &books, &field, args).await
        }
        #[cfg(feature = "aws")]
        EngineName::Aws => {
            let field = field(&named.map_or_else(|| catalog::read(None), Ok)?, &args.event_type)?;
            print(&crate::aws::counts().await?, &crate::aws::latest().await?, &field, args).await
        }
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

/// Returns the field by which a type's latest values are kept.
fn field(catalog: &Catalog, event_type: &EventType) -> Result<String> {
    match catalog.get(event_type).and_then(Definition::latest_by) {
        Some(field) => Ok(field.to_owned()),
        None => bail!(
            "no latest values of {event_type} are kept: its file in the catalog names no latest_by (docs/LATEST.md)"
        ),
    }
}

async fn print(
    books: &dyn Books,
    latest: &dyn ReadLatest,
    field: &str,
    args: &LatestArgs,
) -> Result<ExitCode> {
    let mut found = Vec::new();
    for (user, event_type) in books.counted().await? {
        if event_type == args.event_type && args.user.as_ref().is_none_or(|wanted| *wanted == user) {
            found.extend(values(latest, &user, &event_type, &args.keys).await?);
        }
    }
    let missing = found.is_empty() && !args.keys.is_empty();
    match show(found, field, args.format) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("the latest values cannot be printed"),
        Ok(()) if missing => bail!("no event of {} with this {field} is stored", args.event_type),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Returns a user's values of these keys; all of them if no key is named.
async fn values(
    latest: &dyn ReadLatest,
    user: &Username,
    event_type: &EventType,
    keys: &[String],
) -> Result<Vec<LatestValue>> {
    if !keys.is_empty() {
        let keys: Vec<LatestKey> = keys.iter().map(|key| LatestKey::of(key)).collect();
        return Ok(latest.read(user, event_type, &keys).await?.into_iter().flatten().collect());
    }
    Ok(all(latest, user, event_type).await?)
}

/// Reads all latest values of a user's type, in the order of their keys.
pub(crate) async fn all(
    latest: &dyn ReadLatest,
    user: &Username,
    event_type: &EventType,
) -> Result<Vec<LatestValue>, PortError> {
    let (mut found, mut after) = (Vec::new(), None::<LatestKey>);
    loop {
        let page = latest.list(user, event_type, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|last| last.resource.key.clone());
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

fn show(values: Vec<LatestValue>, field: &str, format: Format) -> io::Result<()> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let columns = vec![
        column("username", Kind::Text),
        column(field, Kind::Text),
        column("time", Kind::Text),
        column("event_id", Kind::Text),
        column("event", Kind::Json),
    ];
    let mut printer = Printer::new(io::stdout().lock(), format, columns)?.fitted(table::terminal_width());
    for value in values {
        let row: Row = vec![
            Some(value.resource.username.to_string()),
            Some(value.resource.key.to_string()),
            Some(value.version.time.to_string()),
            Some(value.version.event_id.to_string()),
            Some(String::from_utf8_lossy(value.event()).into_owned()),
        ];
        printer.row(row)?;
    }
    printer.finish()
}
