//! Computes an answer on one machine: DuckDB runs its query over the lake.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use weir_core::{
    Catalog,
    answers::{ColumnName, Definition},
};

use publisher::{Computed, PIECE, Spool, Spooled, lay_out, must_have_columns};

use super::{Answer, Running};
use crate::{
    query::{DuckDb, tables},
    stderr::Stderr,
};

/// The name of the view over an answer's query, and that of a row of it.
const VIEW: &str = "weir_answer";
const ROW: &str = "weir_row";

/// What computations share.
pub(super) struct Computing<'a> {
    pub(super) duckdb: &'a DuckDb,
    pub(super) catalog: &'a Catalog,
    /// The folder of the lake, absolute.
    pub(super) lake: &'a Path,
    /// What is read of it.
    pub(super) of: tables::Lake,
    /// The folder for temporary files.
    pub(super) temporary: &'a Path,
    /// The number of threads that DuckDB may use; `None` for as many as it likes.
    pub(super) threads: Option<usize>,
    pub(super) running: &'a Running,
}

impl Computing<'_> {
    pub(super) fn compute(&self, answer: &Answer) -> Result<Computed> {
        let computed = self.rows(answer).and_then(|spooled| Ok(lay_out(&spooled, self.temporary)?));
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
        let setup =
            tables::setup(self.catalog, self.lake, &self.of, &|_| true).context("cannot read the lake")?;
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
        let errors = Stderr::of(stderr);
        let mut lines = BufReader::with_capacity(PIECE, stdout);
        let spooled = match column_names(&mut lines)? {
            Some(columns) => {
                must_have_columns(&columns, &answer.definition)?;
                Some(self.spool(&mut lines, &answer.definition)?)
            }
            None => None,
        };
        let status = self.running.wait().context("it was stopped")?;
        let error = errors.text();
        if !status.success() {
            bail!("DuckDB cannot answer: {error}");
        }
        spooled.context("DuckDB gave no answer")
    }

    fn spool(&self, lines: &mut impl BufRead, definition: &Definition) -> Result<Spooled> {
        let mut spool = Spool::new(definition, self.temporary)?;
        let mut line = String::new();
        while lines.read_line(&mut line).context("DuckDB's answer cannot be read")? > 0 {
            spool.line(&line)?;
            line.clear();
        }
        Ok(spool.finish()?)
    }
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

/// Reads the names of the columns, which DuckDB gives first; `None` if it gave none, as it failed.
fn column_names(lines: &mut impl BufRead) -> Result<Option<Vec<String>>> {
    let mut line = String::new();
    if lines.read_line(&mut line).context("DuckDB's answer cannot be read")? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).context("DuckDB's answer is not understood")
}
