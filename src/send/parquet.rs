//! Reads Parquet row by row. DuckDB reads the file in a child process, and prints each row as a line.
//!
//! - `reading`: the child process;
//! - `schema`: the columns of a file;
//! - `printed`: how DuckDB prints the values of a column.

mod printed;
mod reading;
mod schema;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use serde_json::value::RawValue;
use weir_core::{EventType, Violation};

use super::{
    columns::{Cell, Columns},
    event_ids::Stamper,
    lines::{LONGEST, LineRead, read_line},
    mapping::Mapping,
    source::{Item, Source},
};
use crate::query::DuckDb;
use printed::Column;
use reading::Reading;
use schema::Schema;

/// The first and the last bytes of a file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// The last bytes of a file whose columns are encrypted.
const ENCRYPTED: &[u8] = b"PARE";

/// A file whose columns are known.
pub(super) struct Parquet {
    file: File,
    /// The names under which columns are sent.
    names: Vec<String>,
    columns: Vec<Column>,
    progress: Progress,
    duckdb: DuckDb,
}

/// The progress of reading a file, in bytes of the file.
struct Progress {
    read: Arc<AtomicU64>,
    bytes: u64,
    rows: u64,
}

impl Parquet {
    /// Reads the names and types of the columns of a file with this many bytes.
    pub(super) fn open(mut file: File, bytes: u64, read: Arc<AtomicU64>) -> Result<Self> {
        let mut end = [0; MAGIC.len()];
        let end_at = bytes.saturating_sub(end.len() as u64);
        file.seek(SeekFrom::Start(end_at))
            .and_then(|_| file.read_exact(&mut end))
            .context("it cannot be read")?;
        if end == ENCRYPTED {
            bail!("it is encrypted");
        }
        if end != MAGIC {
            bail!("it does not end as a Parquet file does: it was cut off, or not written completely");
        }
        let duckdb = DuckDb::find();
        let Schema { columns, rows } = schema::read(Reading::start(&duckdb, &file, &schema::query())?)?;
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { file, names, columns, progress: Progress { read, bytes, rows }, duckdb })
    }

    /// Renames columns.
    pub(super) fn mapped(mut self, mapping: &Mapping) -> Result<Self> {
        mapping.columns(&mut self.names).map_err(anyhow::Error::msg)?;
        let twice = self.names.iter().enumerate().find(|(at, name)| self.names[..*at].contains(name));
        if let Some((_, name)) = twice {
            bail!("with --map, two columns are named {name}");
        }
        Ok(self)
    }

    /// Returns the names under which columns are sent.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Turns rows into events. Ids are derived from the rows' content only if the source is `named`. Otherwise the file's
    /// content and a row's number suffice, and DuckDB's text of a value may change with its version.
    pub(super) fn events(self, columns: Columns, stamper: Stamper, named: bool) -> Result<Events> {
        let values: Vec<String> = self.columns.iter().map(Column::printed).collect();
        let rows = format!("SELECT json_array({}) FROM {} AS r;\n", values.join(", "), reading::rows());
        let rows = BufReader::with_capacity(64 << 10, Reading::start(&self.duckdb, &self.file, &rows)?);
        Ok(Events { file: self, rows, columns, stamper, named, number: 0 })
    }
}

/// The events of a file's rows.
pub(super) struct Events {
    file: Parquet,
    rows: BufReader<Reading>,
    columns: Columns,
    stamper: Stamper,
    named: bool,
    number: u64,
}

impl Events {
    /// Returns the row as JSON, with the columns' names, and its event.
    fn event(&self, line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Violation> {
        let unreadable = || {
            Violation::whole("JSON cannot hold a value of the row, such as a NaN in a list; it was not sent")
        };
        let printed: Vec<&RawValue> = serde_json::from_slice(line).map_err(|_| unreadable())?;
        let mut cells = Vec::with_capacity(printed.len());
        for (at, (column, printed)) in self.file.columns.iter().zip(printed).enumerate() {
            if let Some(cell) = column.cell(printed)? {
                cells.push((at, cell));
            }
        }
        let own = cells.iter().map(|(at, cell)| (&*self.file.columns[*at].name, cell.shown()));
        let row = serde_json::to_vec(&own.collect::<BTreeMap<_, _>>());
        let row = row.map_err(|_| unreadable())?;
        let names = &self.file.names;
        let own = cells.iter().find_map(|(at, cell)| match cell {
            Cell::Text(text) if names[*at] == "event_type" => Some(text.as_ref()),
            _ => None,
        });
        let event_type = own.or(self.stamper.event_type.as_ref().map(EventType::as_str)).unwrap_or_default();
        let members =
            self.columns.typed_event(event_type, cells.iter().map(|(at, cell)| (&*names[*at], cell.clone())));
        let event = serde_json::to_vec(&members).map_err(|_| unreadable())?;
        let id_of: &[u8] = if self.named { &row } else { b"" };
        let event = self.stamper.stamp(self.number, id_of, &event).into_owned();
        Ok((row, event))
    }
}

impl Source for Events {
    fn next(&mut self) -> Result<Option<Item>> {
        let mut line = Vec::new();
        let LineRead { cut, ended, .. } =
            read_line(&mut self.rows, &mut line).context("the rest cannot be read")?;
        // Of a DuckDB that died, the last row may be cut off.
        if !ended {
            self.rows.get_mut().end().context("the rest cannot be read")?;
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let Progress { read, bytes, rows } = &self.file.progress;
        let done = u128::from(*bytes) * u128::from(number) / u128::from((*rows).max(number));
        read.store(u64::try_from(done).unwrap_or(*bytes), Ordering::Relaxed);
        let event = if cut {
            let longest = ByteSize(LONGEST as u64);
            Err(Violation::whole(format!("a row has at most {longest} as JSON; this one was not sent")))
        } else {
            self.event(&line)
        };
        Ok(Some(match event {
            Ok((original, event)) => Item { number, original, event: Ok(event), cut: false },
            Err(why) => Item { number, original: line, event: Err(why), cut },
        }))
    }
}
