//! `weir counts`: live and settled counts, from the same store that `weir audit` compares.

use std::{
    cmp::Reverse,
    io::{self, ErrorKind},
    process::ExitCode,
};

use anyhow::{Context, Result};
use weir_core::{CountedValue, EventType, Username, books::TypeCounts, ports::Books};

use crate::{
    cli::{CountsArgs, EngineName, Format},
    data,
    names::Selection,
    query::rows::{Column, Kind, Printer, Row},
    table,
};

/// Runs the command.
pub(crate) async fn run(args: &CountsArgs) -> Result<ExitCode> {
    let (engine, data) = (args.place.engine, args.place.data.as_path());
    if engine == EngineName::Embedded {
        data::must_have_events(data)?;
    }
    let (user, event_type) = (args.user.as_ref(), args.event_type.as_ref());
    Selection { engine, data, catalog: args.catalog.folder(), user, event_type }.check().await?;
    match engine {
        EngineName::Embedded => {
            let (books, _raw, _lake) = weir_embedded::open_books(data)?;
            print(&books, args).await
        }
        #[cfg(feature = "aws")]
        EngineName::Aws => print(&crate::aws::counts().await?, args).await,
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

async fn print(books: &dyn Books, args: &CountsArgs) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for (user, event_type) in books.counted().await? {
        let wanted = args.user.as_ref().is_none_or(|wanted| *wanted == user)
            && args.event_type.as_ref().is_none_or(|wanted| *wanted == event_type);
        if wanted {
            let counts = books.counts_of(&user, &event_type).await?;
            rows.extend(rows_of(&user, &event_type, &counts, args.keys));
        }
    }
    match show(rows, args) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        shown => shown.map(|()| ExitCode::SUCCESS).context("the counts cannot be printed"),
    }
}

/// Returns a row for the total, and rows for the largest keys below it.
fn rows_of(user: &Username, event_type: &EventType, counts: &TypeCounts, keys: usize) -> Vec<Row> {
    let row = |key: Option<&CountedValue>, live: u64, settled: Option<u64>| {
        vec![
            Some(user.to_string()),
            Some(event_type.to_string()),
            key.map(ToString::to_string),
            Some(live.to_string()),
            settled.map(|settled| settled.to_string()),
        ]
    };
    let mut largest: Vec<(&CountedValue, u64)> =
        counts.live.keys.iter().map(|(key, count)| (key, *count)).collect();
    largest.sort_by_key(|(key, count)| (Reverse(*count), *key));
    largest.truncate(keys);
    let total = row(None, counts.live.total, Some(counts.settled));
    std::iter::once(total)
        .chain(largest.into_iter().map(|(key, count)| row(Some(key), count, None)))
        .collect()
}

fn show(rows: Vec<Row>, args: &CountsArgs) -> io::Result<()> {
    let columns = [
        ("username", Kind::Text),
        ("event_type", Kind::Text),
        ("key", Kind::Text),
        ("live", Kind::Count),
        ("settled", Kind::Count),
    ];
    let shown: Vec<usize> =
        (0..columns.len()).filter(|&at| args.keys > 0 || columns[at].0 != "key").collect();
    let made = shown.iter().map(|&at| Column { name: columns[at].0.to_owned(), kind: columns[at].1 });
    let printer = Printer::new(io::stdout().lock(), args.format, made.collect())?;
    let mut printer = printer.fitted(table::terminal_width());
    for mut row in rows {
        // A column that does not apply to a total or a key is empty in a table, and null elsewhere. A key can be an empty text.
        let cells = shown.iter().map(|&at| match row[at].take() {
            None if args.format == Format::Table => Some(String::new()),
            Some(cell) if args.format == Format::Table && cell.is_empty() => Some("\"\"".to_owned()),
            cell => cell,
        });
        printer.row(cells.collect())?;
    }
    printer.finish()
}
