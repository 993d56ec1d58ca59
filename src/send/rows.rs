//! Reads CSV (RFC 4180) row by row, in bounded memory: the first row names the fields.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder};
use weir_core::Violation;

use super::{
    columns::Columns,
    event_ids::Stamper,
    lines::LONGEST,
    mapping::Mapping,
    quoting::{Dialect, check_row},
    source::{Item, Source},
};
use crate::counted::counted;

/// A file whose header has been read.
pub(super) struct Rows<R> {
    reader: csv::Reader<Kept<Begun<R>>>,
    names: Vec<String>,
    dialect: Dialect,
}

impl<R: Read + Send> Rows<R> {
    /// Reads the header.
    pub(super) fn new(content: R, dialect: Dialect) -> Result<Self> {
        let kept = Kept {
            from: without_mark(content).context("the header line cannot be read")?,
            text: Vec::new(),
            begin: 0,
            has_quotes: dialect.has_quotes,
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .quoting(dialect.has_quotes)
            .has_headers(false)
            .flexible(true)
            .from_reader(kept);
        let mut names = ByteRecord::new();
        if !reader.read_byte_record(&mut names).context("the header line cannot be read")? {
            return Ok(Self { reader, names: Vec::new(), dialect });
        }
        let (header, lines_before) = take_row(&mut reader);
        if check_row(&header, 1 + lines_before, dialect)? {
            bail!("the first line names the fields, and has a quote within a name that is not quoted");
        }
        let mut seen = BTreeSet::new();
        let mut read = Vec::new();
        for name in &names {
            let name = std::str::from_utf8(name).ok().map(str::trim).filter(|name| !name.is_empty());
            let Some(name) = name else {
                bail!("the first line names the fields, and has a name that is empty or not UTF-8")
            };
            if !seen.insert(name) {
                bail!("the first line names the fields, and has {name:?} twice");
            }
            read.push(name.to_owned());
        }
        Ok(Self { reader, names: read, dialect })
    }

    /// Renames columns.
    pub(super) fn mapped(mut self, mapping: &Mapping) -> Result<Self> {
        if !self.names.is_empty() {
            mapping.columns(&mut self.names).map_err(anyhow::Error::msg)?;
            let twice = self.names.iter().enumerate().find(|(at, name)| self.names[..*at].contains(name));
            if let Some((_, name)) = twice {
                bail!("with --map, two columns are named {name}");
            }
        }
        Ok(self)
    }

    /// Returns the column names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Turns rows into events.
    pub(super) fn events(self, columns: Columns, stamper: Stamper) -> Events<R> {
        Events { rows: self, columns, stamper, row: ByteRecord::new() }
    }
}

/// The events of a file's rows.
pub(super) struct Events<R> {
    rows: Rows<R>,
    columns: Columns,
    stamper: Stamper,
    row: ByteRecord,
}

impl<R: Read + Send> Events<R> {
    fn event(&self, number: u64, original: &[u8]) -> Result<Vec<u8>, Violation> {
        let (names, row) = (&self.rows.names, &self.row);
        if row.len() != names.len() {
            let (has, wants) = (counted(row.len() as u64, "cell", "cells"), names.len());
            return Err(Violation::whole(format!(
                "the row has {has}, and the header {wants}; it was not sent"
            )));
        }
        let mut cells = Vec::with_capacity(row.len());
        for (name, cell) in names.iter().zip(row) {
            let cell = std::str::from_utf8(cell)
                .map_err(|_| Violation::new(format!("/{name}"), "is not UTF-8; the row was not sent"))?;
            cells.push((name.as_str(), cell));
        }
        let own = cells.iter().find(|(name, cell)| *name == "event_type" && !cell.is_empty());
        let event_type = own.map(|(_, cell)| *cell);
        let event_type = event_type
            .or(self.stamper.event_type.as_ref().map(weir_core::EventType::as_str))
            .unwrap_or_default();
        let event = self.columns.event(event_type, cells.iter().copied());
        // Serializing a map of plain values never fails.
        let text = serde_json::to_vec(&event).map_err(|error| Violation::whole(error.to_string()))?;
        Ok(self.stamper.stamp(number, original, &text).into_owned())
    }
}

impl<R: Read + Send> Source for Events<R> {
    fn next(&mut self) -> Result<Option<Item>> {
        let any = self.rows.reader.read_byte_record(&mut self.row);
        if !any.context("the rest cannot be read")? {
            return Ok(None);
        }
        let position = self.row.position().map_or(0, csv::Position::line);
        let (original, lines_before) = take_row(&mut self.rows.reader);
        let number = position + lines_before;
        let is_bare =
            check_row(&original, number, self.rows.dialect).context("nothing from that row on was sent")?;
        let event = if is_bare {
            Err(Violation::whole(
                "the row has a quote within a cell that is not quoted; it was not sent. Where quotes are letters like \
                 others, --no-quotes reads them as such",
            ))
        } else {
            self.event(number, &original)
        };
        Ok(Some(Item { number, original, event, cut: false }))
    }
}

/// A text whose first bytes were read.
type Begun<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// Takes the byte order mark off a text. It may come byte by byte.
fn without_mark<R: Read>(mut text: R) -> io::Result<Begun<R>> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let mut begin = Vec::new();
    while begin.len() < MARK.len() && MARK.starts_with(&begin) {
        if text.by_ref().take(1).read_to_end(&mut begin)? == 0 {
            break;
        }
    }
    if begin == MARK {
        begin.clear();
    }
    Ok(io::Cursor::new(begin).chain(text))
}

/// Returns the text of the last row read, without its line end and blank lines before it; and how many line ends those are.
fn take_row<R: Read>(reader: &mut csv::Reader<Kept<R>>) -> (Vec<u8>, u64) {
    let end = reader.position().byte();
    let text = reader.get_mut().take_until(end);
    let begin = text.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(begin, |last| last + 1);
    let lines = memchr::memchr_iter(b'\n', &text[..begin]).count();
    (text[begin..end].to_vec(), lines as u64)
}

/// Buffers the text read since the last row. An unclosed quote would make a row of the rest of the file, and is refused
/// here.
struct Kept<R> {
    from: R,
    text: Vec<u8>,
    /// Where `text` begins in the file.
    begin: u64,
    has_quotes: bool,
}

impl<R> Kept<R> {
    fn take_until(&mut self, end: u64) -> Vec<u8> {
        let length =
            usize::try_from(end.saturating_sub(self.begin)).unwrap_or(usize::MAX).min(self.text.len());
        self.begin += length as u64;
        self.text.drain(..length).collect()
    }
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.text.len() > LONGEST {
            let why = if self.has_quotes { "is a quote not closed" } else { "is a line end missing" };
            return Err(io::Error::other(format!(
                "a row is longer than {LONGEST} bytes: {why}, behind byte {} of the text?",
                self.begin
            )));
        }
        let count = self.from.read(into)?;
        self.text.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::send::event_ids::{Ids, Seed};

    fn items(text: &str) -> Result<Vec<Item>> {
        let stamper = Stamper {
            seed: Seed::of_source("s"),
            ids: Ids::WholeContent,
            event_type: Some("t".parse().unwrap()),
        };
        let mut events = Rows::new(text.as_bytes(), Dialect { delimiter: b',', has_quotes: true })?
            .events(Columns::default(), stamper);
        let mut items = Vec::new();
        while let Some(item) = events.next()? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn rows_keep_their_line_and_their_text() {
        let text = "\u{feff}a,b\r\n1,\"x\r\ny\"\r\n\r\n\"q\"\"\",2\n3\n4,5";
        let items = items(text).unwrap();
        let said: Vec<_> = items
            .iter()
            .map(|it| (it.number, std::str::from_utf8(&it.original).unwrap(), it.event.is_ok()))
            .collect();
        assert_eq!(
            said,
            [(2, "1,\"x\r\ny\"", true), (5, "\"q\"\"\",2", true), (6, "3", false), (7, "4,5", true)]
        );
        let mut event: Value = serde_json::from_slice(items[0].event.as_ref().unwrap()).unwrap();
        assert!(event.as_object_mut().unwrap().remove("event_id").is_some());
        assert_eq!(event, json!({"event_type": "t", "a": "1", "b": "x\r\ny"}));
    }

    #[test]
    fn a_header_that_cannot_name_fields_and_a_quote_that_is_not_closed_are_refused() {
        for bad in ["a,a\n", "a,\n1,2", ",b\n"] {
            assert!(items(bad).is_err(), "{bad}");
        }
        let endless = format!("a\n\"{}", "x\n".repeat(LONGEST));
        let error = format!("{:#}", items(&endless).unwrap_err());
        assert!(error.contains("is a quote not closed"), "{error}");
        assert!(items("").unwrap().is_empty());
    }
}
