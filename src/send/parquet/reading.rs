//! Runs DuckDB in a child process that reads one file.
//!
//! The file is the child's standard input, in which it can seek. So DuckDB reads exactly the file that was opened, whatever
//! the file's name means in SQL. It has one thread, so that rows keep their order and only a few thousand rows are in
//! memory.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use tempfile::NamedTempFile;
use weir_core::sql::literal;

use crate::{child::Printing, query::DuckDb};

/// The file, as DuckDB sees it.
pub(super) const FILE: &str = "/dev/stdin";

/// The memory that DuckDB may use for data, and the memory of its whole process, some of which DuckDB does not count as
/// data.
const MEMORY: u64 = 512 << 20;
const PROCESS_MEMORY: u64 = 2 << 30;

/// DuckDB's output for a file.
pub(super) struct Reading {
    duckdb: Printing,
    /// The script, which DuckDB reads as it runs.
    _script: NamedTempFile,
}

impl Reading {
    /// Starts DuckDB with a query.
    pub(super) fn start(duckdb: &DuckDb, file: &File, sql: &str) -> Result<Self> {
        let setup = format!(
            "SET threads = 1; SET memory_limit = '{MEMORY}B'; SET temp_directory = ''; \
             SET allowed_paths = [{file}]; SET enable_external_access = false; SET lock_configuration = true;\n",
            file = literal(FILE)
        );
        // A file, because the length of a command line is limited, and a query over many columns may be longer.
        let mut script = NamedTempFile::new().context("cannot make a temporary file")?;
        script.write_all((setup + sql).as_bytes()).context("cannot write a temporary file")?;
        let mut command = duckdb.command();
        command.args(["-list", "-noheader", "-c", &DuckDb::read_script(script.path())]);
        command.stdin(file.try_clone().context("it cannot be read")?);
        let started = Printing::start(&mut command, PROCESS_MEMORY);
        let duckdb = started.map_err(|error| duckdb.missing_for("to read Parquet, weir needs", error))?;
        Ok(Self { duckdb, _script: script })
    }

    /// Waits for the end of DuckDB, whose output must have been read. An error says why DuckDB could not read the file.
    pub(super) fn end(&mut self) -> Result<()> {
        let (status, said) = self.duckdb.end().context("DuckDB cannot be waited for")?;
        if status.success() {
            return Ok(());
        }
        if said.contains("Out of Memory") || said.contains("bad_alloc") {
            let memory = ByteSize(MEMORY).display().iec();
            bail!("DuckDB needs more than {memory} of memory for it: a row or a page of it is too large");
        }
        // The lines after the first one show the query, which the user did not write.
        let why = said.lines().next().unwrap_or_default();
        let named = [format!("file \"{FILE}\""), format!("file '{FILE}'"), FILE.to_owned()];
        match named.iter().fold(why.to_owned(), |why, name| why.replace(name, "the file")) {
            why if why.is_empty() => bail!("DuckDB cannot read it: it ended with {status}"),
            why => bail!("DuckDB cannot read it: {why}"),
        }
    }
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.duckdb.read(into)
    }
}

/// Returns the table of the file's rows. The folders of its path do not become columns.
pub(super) fn rows() -> String {
    format!("read_parquet({}, hive_partitioning = false)", literal(FILE))
}
