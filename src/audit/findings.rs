//! An audit's findings, and how they are printed.

use std::io;

use weir_core::{EventType, Username};

use super::{
    compare::{Difference, Scope, Which},
    lake::BadObject,
    latest::WrongValue,
    objects::FaultKind,
};
use crate::{
    cli::Format,
    query::rows::{Column, Kind, Printer, Row},
    table,
};

/// One row of the answer.
#[derive(Debug, Default)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    username: Option<String>,
    event_type: Option<String>,
    hour: Option<String>,
    key: Option<String>,
    object: Option<String>,
    lines: Option<String>,
    lake: Option<String>,
    settled: Option<String>,
    live: Option<String>,
    under_way: Option<String>,
    difference: Option<String>,
    detail: Option<String>,
    /// Whether something is certainly wrong.
    pub(super) is_wrong: bool,
}

impl Finding {
    pub(super) fn of_count(username: &Username, event_type: &EventType, difference: Difference) -> Self {
        let Difference { scope, which, lake, settled, live, under_way, by } = difference;
        let total = scope == Scope::Total;
        let (hour, key) = match scope {
            Scope::Total => (None, None),
            Scope::Hour(hour) => {
                let [year, month, day, hour] = hour.parts();
                (Some(format!("{year}-{month:02}-{day:02}T{hour:02}")), None)
            }
            Scope::Key(key) => (None, Some(key.to_string())),
        };
        Self {
            what: match which {
                Which::Settled if total => "settled total",
                Which::Settled => "settled hour",
                Which::Live if total => "live total",
                Which::Live => "live key",
                Which::UnderWayOrLost => "under way or lost",
            },
            username: Some(username.to_string()),
            event_type: Some(event_type.to_string()),
            hour,
            key,
            lake: Some(lake.to_string()),
            settled: settled.map(|count| count.to_string()),
            live: live.map(|count| count.to_string()),
            under_way: under_way.map(|count| count.to_string()),
            difference: Some(by.to_string()),
            is_wrong: which != Which::UnderWayOrLost,
            ..Self::default()
        }
    }

    pub(super) fn of_object(whose: Option<&(Username, EventType)>, bad: BadObject) -> Self {
        let (what, lines, detail) = match bad.fault {
            None => ("stray object", None, "no path of the lake's: Weir put nothing there".to_owned()),
            Some(fault) => {
                let what = match fault.kind {
                    FaultKind::Damaged => "damaged object",
                    FaultKind::NotARecord => "not a record",
                    FaultKind::WrongPartition => "wrong partition",
                };
                (what, fault.lines, fault.detail)
            }
        };
        Self {
            what,
            username: whose.map(|(username, _)| username.to_string()),
            event_type: whose.map(|(_, event_type)| event_type.to_string()),
            object: Some(bad.path),
            lines: lines.map(|lines| lines.to_string()),
            detail: Some(detail),
            is_wrong: true,
            ..Self::default()
        }
    }

    pub(super) fn of_value((username, event_type): &(Username, EventType), wrong: &WrongValue) -> Self {
        Self {
            what: wrong.what(),
            username: Some(username.to_string()),
            event_type: Some(event_type.to_string()),
            key: Some(wrong.key.to_string()),
            detail: Some(wrong.detail()),
            is_wrong: true,
            ..Self::default()
        }
    }

    fn cells(self) -> [Option<String>; 13] {
        let Self { username, event_type, hour, key, object, lines, lake, settled, live, .. } = self;
        let (under_way, difference, detail) = (self.under_way, self.difference, self.detail);
        let finding = Some(self.what.to_owned());
        [
            finding, username, event_type, hour, key, object, lines, lake, settled, live, under_way,
            difference, detail,
        ]
    }
}

const NUMBERS: [&str; 6] = ["lines", "lake", "settled", "live", "under_way", "difference"];

/// Prints findings; a table omits the columns that are empty in every row.
pub(super) fn print(findings: Vec<Finding>, format: Format) -> io::Result<()> {
    if findings.is_empty() && format == Format::Table {
        return Ok(());
    }
    let names = [
        "finding",
        "username",
        "event_type",
        "hour",
        "key",
        "object",
        "lines",
        "lake",
        "settled",
        "live",
        "under_way",
        "difference",
        "detail",
    ];
    let or_lost = format == Format::Table && findings.iter().any(|it| !it.is_wrong);
    let rows: Vec<_> = findings.into_iter().map(Finding::cells).collect();
    let shown: Vec<usize> = (0..names.len())
        .filter(|&column| format != Format::Table || rows.iter().any(|row| row[column].is_some()))
        .collect();
    let column = |&at: &usize| Column {
        name: match names[at] {
            "under_way" if or_lost => "under_way_or_lost".to_owned(),
            name => name.to_owned(),
        },
        kind: if NUMBERS.contains(&names[at]) { Kind::Count } else { Kind::Text },
    };
    let out = io::stdout().lock();
    let printer = Printer::new(out, format, shown.iter().map(column).collect())?;
    let mut printer = printer.fitted(table::terminal_width());
    for mut row in rows {
        // An unknown value is empty in a table, and null elsewhere.
        let mut cell = |at: &usize| {
            let cell = row[*at].take();
            if format == Format::Table { Some(cell.unwrap_or_default()) } else { cell }
        };
        let cells: Row = shown.iter().map(&mut cell).collect();
        printer.row(cells)?;
    }
    printer.finish()
}
