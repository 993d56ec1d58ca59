//! Computes an answer: DuckDB runs its query over the lake, and the rows are laid out as a generation in a temporary file.
//!
//! Rows come as lines of three JSON texts: the values of the path, those of the slot, and the row. They come in the order of
//! path and slot, so that rows of a path follow each other, and a slot that is there twice is seen at once. The width of the
//! widest row is known only at the end, so the lines are spooled to a file, and laid out in a second pass.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
    process::Stdio,
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::de::IgnoredAny;
use weir_core::{
    Catalog, GenerationName,
    answers::{
        ColumnName, Definition, USERNAME,
        layout::{MAX_WIDTH, Writer},
    },
};

use super::{Answer, Running};
use crate::query::{DuckDb, tables};

/// The name of the view over an answer's query, and that of a row of it.
const VIEW: &str = "weir_answer";
const ROW: &str = "weir_row";

/// How much is laid out before it is written.
const PIECE: usize = 1 << 20;

/// The most bytes of DuckDB's own error that are shown.
const ERROR: u64 = 4096;

/// A generation, not published yet.
pub(super) struct Computed {
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) generation: GenerationName,
    pub(super) rows: u64,
    /// Rows that have no address: a value of their path or slot is NULL, or one of their path is empty.
    pub(super) left_out: u64,
}

/// What computations share.
pub(super) struct Computing<'a> {
    pub(super) duckdb: &'a DuckDb,
    pub(super) catalog: &'a Catalog,
    /// The folder of the lake, absolute.
    pub(super) lake: &'a Path,
    /// The folder for temporary files.
    pub(super) temporary: &'a Path,
    /// The number of threads that DuckDB may use; `None` for as many as it likes.
    pub(super) threads: Option<usize>,
    pub(super) running: &'a Running,
}

/// The rows of an answer, in a temporary file.
struct Spooled {
    file: File,
    rows: u64,
    width: usize,
    left_out: u64,
}

impl Computing<'_> {
    pub(super) fn compute(&self, answer: &Answer) -> Result<Computed> {
        let computed = self.rows(answer).and_then(|spooled| lay_out(spooled, self.temporary));
        if computed.is_err() {
            self.running.give_up();
        }
        computed
    }

    /// Asks DuckDB, and spools the rows.
    fn rows(&self, answer: &Answer) -> Result<Spooled> {
        self.duckdb.refuse_unless_select(&answer.sql)?;
        let mut script = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        let threads = self.threads.map(|threads| format!("SET threads = {threads};\n")).unwrap_or_default();
        let setup = tables::setup(self.catalog, self.lake).context("cannot read the lake")?;
        write!(script, "{threads}{setup}\nCREATE VIEW {VIEW} AS\n{}\n;\n", answer.sql)
            .context("cannot write a temporary file")?;
        let mut command = self.duckdb.command();
        command.current_dir(self.lake).args(["-list", "-noheader", "-separator", "\t", "-nullvalue", ""]);
        command.args([
            "-c",
            &DuckDb::read_script(script.path()),
            "-c",
            &columns(),
            "-c",
            &query(&answer.definition),
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let pipes = self.running.start(&mut command, |child| {
            child.stdout.take().zip(child.stderr.take()).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
        });
        let (stdout, stderr) = pipes.map_err(|error| self.duckdb.missing(error))?;
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            // What is beyond the limit is read, too: a full pipe would stop DuckDB.
            let mut stderr = stderr;
            let read = stderr.by_ref().take(ERROR).read_to_end(&mut text);
            let _ = read.and_then(|_| io::copy(&mut stderr, &mut io::sink()));
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let mut lines = BufReader::with_capacity(PIECE, stdout);
        let named = must_have_columns(&mut lines, &answer.definition)?;
        let spooled = if named { Some(self.spool(&mut lines, &answer.definition)?) } else { None };
        let status = self.running.wait().context("it was stopped")?;
        let error = errors.join().unwrap_or_default();
        if !status.success() {
            bail!("DuckDB cannot answer: {error}");
        }
        spooled.context("DuckDB gave no answer")
    }

    /// Checks each line, and spools it.
    fn spool(&self, lines: &mut impl BufRead, definition: &Definition) -> Result<Spooled> {
        let file = tempfile::tempfile_in(self.temporary).context("cannot make a temporary file")?;
        let mut out = BufWriter::with_capacity(PIECE, file);
        let (mut rows, mut width, mut left_out) = (0, 0, 0);
        let mut before: Option<Address> = None;
        let mut line = String::new();
        while lines.read_line(&mut line).context("DuckDB's answer cannot be read")? > 0 {
            let row = Row::read(&line)?;
            if let Some(address) = row.address()? {
                if !definition.slot.is_empty() && before.as_ref() == Some(&address) {
                    bail!(
                        "two rows have the same address, {}: slot must name one",
                        address.describe(definition)
                    );
                }
                if serde_json::from_str::<IgnoredAny>(row.json).is_err() {
                    bail!(
                        "the row {} holds a number that JSON cannot write, NaN or infinity",
                        address.describe(definition)
                    );
                }
                if row.json.len() > MAX_WIDTH {
                    let (bytes, address) = (row.json.len(), address.describe(definition));
                    bail!("the row {address} has {bytes} bytes as JSON: {MAX_WIDTH} at the most");
                }
                width = width.max(row.json.len());
                rows += 1;
                out.write_all(line.as_bytes()).context("cannot write a temporary file")?;
                before = Some(address);
            } else {
                left_out += 1;
            }
            line.clear();
        }
        let mut file = out.into_inner().map_err(|error| anyhow!("cannot write a temporary file: {error}"))?;
        file.rewind()?;
        Ok(Spooled { file, rows, width, left_out })
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

/// A line of DuckDB's.
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
            _ => bail!("DuckDB's answer is not understood: {line:?}"),
        }
    }

    /// Returns its address, unless it has none.
    fn address(&self) -> Result<Option<Address>> {
        let values = |text: &str| -> Result<Option<Vec<String>>> {
            let values: Vec<Option<String>> =
                serde_json::from_str(text).context("DuckDB's answer is not understood")?;
            Ok(values.into_iter().collect())
        };
        let address = values(self.path)?.zip(values(self.slot)?).map(|(path, slot)| Address { path, slot });
        Ok(address.filter(|address| address.path.iter().all(|value| !value.is_empty())))
    }
}

/// Lays rows out as a generation.
fn lay_out(spooled: Spooled, temporary: &Path) -> Result<Computed> {
    let mut writer = Writer::new(spooled.width, spooled.rows)?;
    let mut file = tempfile::tempfile_in(temporary).context("cannot make a temporary file")?;
    let (mut out, mut length, mut line) = (Vec::with_capacity(2 * PIECE), 0, String::new());
    let mut lines = BufReader::with_capacity(PIECE, spooled.file);
    let mut write = |out: &mut Vec<u8>| {
        length += out.len() as u64;
        let written = file.write_all(out).context("cannot write a temporary file");
        out.clear();
        written
    };
    while lines.read_line(&mut line)? > 0 {
        let row = Row::read(&line)?;
        let address = row.address()?.context("only rows with an address are spooled")?;
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

/// The query for the names of the columns, which comes first.
fn columns() -> String {
    format!("SELECT to_json(list(column_name)) FROM (DESCRIBE {VIEW})")
}

/// The query for the rows.
fn query(definition: &Definition) -> String {
    let text = |column: &str| format!("CAST({ROW}.{} AS VARCHAR)", tables::quoted(column));
    let texts = |columns: &[&str]| columns.iter().map(|column| text(column)).collect::<Vec<_>>();
    let (path, slot) =
        (definition.stored_path(), definition.slot.iter().map(ColumnName::as_str).collect::<Vec<_>>());
    let list = |columns: &[&str]| format!("to_json(CAST([{}] AS VARCHAR[]))", texts(columns).join(", "));
    let order = [texts(&path), texts(&slot)].concat();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    format!("SELECT {}, {}, to_json({ROW}) FROM {VIEW} AS {ROW}{order}", list(&path), list(&slot))
}

/// Reads the names of the columns, and refuses an answer without those that its head names. Returns false if DuckDB gave
/// none, as it failed.
fn must_have_columns(lines: &mut impl BufRead, definition: &Definition) -> Result<bool> {
    let mut line = String::new();
    if lines.read_line(&mut line).context("DuckDB's answer cannot be read")? == 0 {
        return Ok(false);
    }
    let columns: Vec<String> = serde_json::from_str(&line).context("DuckDB's answer is not understood")?;
    let has = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    if !definition.public && !has(USERNAME) {
        bail!(
            "the query has no column username, which says whose rows they are: name it in the SELECT, or say `-- public: \
             true` in the head if all may read all rows"
        );
    }
    for (head, names) in [("path", &definition.path), ("slot", &definition.slot)] {
        if let Some(missing) = names.iter().find(|name| !has(name.as_str())) {
            bail!("the query has no column {missing}, which {head} names; it has {}", columns.join(", "));
        }
    }
    Ok(true)
}
