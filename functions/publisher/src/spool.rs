//! The rows of an answer on their way into a generation.
//!
//! Rows come as lines of three JSON texts: the values of the path, those of the slot, and the row. They come in the order of
//! path and slot, so that rows of a path follow each other, and a slot that is there twice is seen at once. The width of the
//! widest row is known only at the end, so the lines are spooled to a file, and laid out in a second pass.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

use futures_util::stream;
use serde::de::IgnoredAny;
use weir_core::{
    GenerationName,
    answers::{
        ColumnName, Definition, USERNAME,
        layout::{MAX_WIDTH, Writer},
    },
    ports::Content,
};

use crate::error::{AnswerError, wrong};

type Result<T> = std::result::Result<T, AnswerError>;

/// How much is written at a time.
pub const PIECE: usize = 1 << 20;

/// A generation, not published yet.
pub struct Computed {
    /// Its bytes, from their beginning on.
    pub file: File,
    /// How many they are.
    pub length: u64,
    /// Its name.
    pub generation: GenerationName,
    /// The number of rows.
    pub rows: u64,
    /// Rows that have no address: a value of their path or slot is NULL, or one of their path is empty.
    pub left_out: u64,
}

/// A file of rows that are being checked.
pub struct Spool<'a> {
    definition: &'a Definition,
    out: BufWriter<File>,
    rows: u64,
    width: usize,
    left_out: u64,
    before: Option<Address>,
    /// The rows below the last path, and the most that are below one.
    below: u64,
    most_below: u64,
}

/// The rows of an answer, in a temporary file.
pub struct Spooled {
    file: File,
    rows: u64,
    width: usize,
    left_out: u64,
    #[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "only AWS limits the size of a response"))]
    most_below: u64,
}

impl Spooled {
    fn lines(&self) -> Result<BufReader<&File>> {
        (&self.file).rewind()?;
        Ok(BufReader::with_capacity(PIECE, &self.file))
    }

    /// Returns the number of rows.
    #[cfg(feature = "aws")]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns how many bytes a generation has below its largest path.
    #[cfg(feature = "aws")]
    pub fn largest(&self) -> u64 {
        self.most_below * (self.width as u64 + 1)
    }

    /// Gives each row to `each`, with the values of its path and of its slot, in their order.
    #[cfg(feature = "aws")]
    pub fn for_each(&self, mut each: impl FnMut(Vec<String>, Vec<String>, &str) -> Result<()>) -> Result<()> {
        let (mut lines, mut line) = (self.lines()?, String::new());
        while lines.read_line(&mut line)? > 0 {
            let row = Row::read(&line)?;
            let Address { path, slot } = row.address()?.ok_or_else(not_understood)?;
            each(path, slot, row.json)?;
            line.clear();
        }
        Ok(())
    }
}

impl<'a> Spool<'a> {
    /// Makes one in the folder for temporary files.
    pub fn new(definition: &'a Definition, temporary: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(temporary)?;
        let out = BufWriter::with_capacity(PIECE, file);
        Ok(Self { definition, out, rows: 0, width: 0, left_out: 0, before: None, below: 0, most_below: 0 })
    }

    /// Checks a line, and spools it.
    pub fn line(&mut self, line: &str) -> Result<()> {
        let (row, definition) = (Row::read(line)?, self.definition);
        let Some(address) = row.address()? else {
            self.left_out += 1;
            return Ok(());
        };
        if !definition.slot.is_empty() && self.before.as_ref() == Some(&address) {
            return Err(wrong(format!(
                "two rows have the same address, {}: slot must name one",
                address.describe(definition)
            )));
        }
        if serde_json::from_str::<IgnoredAny>(row.json).is_err() {
            return Err(wrong(format!(
                "the row {} holds a number that JSON cannot write, NaN or infinity",
                address.describe(definition)
            )));
        }
        if row.json.len() > MAX_WIDTH {
            let (bytes, address) = (row.json.len(), address.describe(definition));
            return Err(wrong(format!(
                "the row {address} has {bytes} bytes as JSON: {MAX_WIDTH} at the most"
            )));
        }
        self.width = self.width.max(row.json.len());
        self.rows += 1;
        self.out.write_all(line.as_bytes())?;
        let is_same_path = self.before.as_ref().is_some_and(|before| before.path == address.path);
        self.below = if is_same_path { self.below + 1 } else { 1 };
        self.most_below = self.most_below.max(self.below);
        self.before = Some(address);
        Ok(())
    }

    /// Returns the rows, to be laid out.
    pub fn finish(self) -> Result<Spooled> {
        let Self { out, rows, width, left_out, most_below, .. } = self;
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Spooled { file, rows, width, left_out, most_below })
    }
}

/// The values by which a row is found.
#[derive(PartialEq, Eq)]
struct Address {
    path: Vec<String>,
    slot: Vec<String>,
}

impl Address {
    /// Formats it for people.
    fn describe(&self, definition: &Definition) -> String {
        let names =
            definition.stored_path().into_iter().chain(definition.slot.iter().map(ColumnName::as_str));
        let values = self.path.iter().chain(&self.slot);
        names.zip(values).map(|(name, value)| format!("{name} = {value:?}")).collect::<Vec<_>>().join(", ")
    }
}

fn not_understood() -> AnswerError {
    wrong("a row is not understood")
}

/// A line.
struct Row<'a> {
    path: &'a str,
    slot: &'a str,
    json: &'a str,
}

impl<'a> Row<'a> {
    /// No JSON text has a tab or a line end in it: both are escaped.
    fn read(line: &'a str) -> Result<Self> {
        let mut texts = line.trim_end_matches('\n').splitn(3, '\t');
        match (texts.next(), texts.next(), texts.next()) {
            (Some(path), Some(slot), Some(json)) => Ok(Self { path, slot, json }),
            _ => Err(wrong(format!("a row is not understood: {line:?}"))),
        }
    }

    /// Returns its address, unless it has none.
    fn address(&self) -> Result<Option<Address>> {
        let values = |text: &str| -> Result<Option<Vec<String>>> {
            let values: Vec<Option<String>> = serde_json::from_str(text).map_err(|_| not_understood())?;
            Ok(values.into_iter().collect())
        };
        let address = values(self.path)?.zip(values(self.slot)?).map(|(path, slot)| Address { path, slot });
        Ok(address.filter(|address| address.path.iter().all(|value| !value.is_empty())))
    }
}

/// Lays rows out as a generation.
pub fn lay_out(spooled: &Spooled, temporary: &Path) -> Result<Computed> {
    let mut writer = Writer::new(spooled.width, spooled.rows)?;
    let mut file = tempfile::tempfile_in(temporary)?;
    let (mut out, mut length, mut line) = (Vec::with_capacity(2 * PIECE), 0, String::new());
    let mut lines = spooled.lines()?;
    let mut write = |out: &mut Vec<u8>| {
        length += out.len() as u64;
        let written = file.write_all(out);
        out.clear();
        written
    };
    while lines.read_line(&mut line)? > 0 {
        let row = Row::read(&line)?;
        let address = row.address()?.ok_or_else(not_understood)?;
        writer.row(&address.path, &address.slot, row.json, &mut out);
        if out.len() >= PIECE {
            write(&mut out)?;
        }
        line.clear();
    }
    let generation = writer.finish(&mut out)?;
    write(&mut out)?;
    file.rewind()?;
    Ok(Computed { file, length, generation, rows: spooled.rows, left_out: spooled.left_out })
}

/// Refuses an answer without the columns that its head names.
pub fn must_have_columns(columns: &[String], definition: &Definition) -> Result<()> {
    let has = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    if !definition.public && !has(USERNAME) {
        return Err(wrong(format!(
            "the query has no column username, which says whose rows they are: name it in the SELECT, or say `-- public: \
             true` in the head if all may read all rows"
        )));
    }
    for (head, names) in [("path", &definition.path), ("slot", &definition.slot)] {
        if let Some(missing) = names.iter().find(|name| !has(name.as_str())) {
            return Err(wrong(format!(
                "the query has no column {missing}, which {head} names; it has {}",
                columns.join(", ")
            )));
        }
    }
    Ok(())
}

/// Returns the content of a file, piece by piece.
#[must_use]
pub fn content(file: File) -> Content {
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE);
        let read = Read::by_ref(&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
        Ok::<_, io::Error>((read > 0).then(|| (piece.into(), file)))
    });
    Box::pin(pieces)
}
