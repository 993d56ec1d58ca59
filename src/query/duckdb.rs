//! `weir query` on one machine: the DuckDB command line answers from the lake's files.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    rows::{Column, Kind, Printer},
    tables,
    waiting::Waiting,
};
use crate::{
    catalog,
    cli::{Format, QueryArgs},
    counted::counted,
    data, table, terminal,
};

/// The variable that names another DuckDB than the one on the path.
const DUCKDB: &str = "WEIR_DUCKDB";

/// What stands for no value in a table.
const NULL: &str = "NULL";

/// How long the filing of what was acknowledged is waited for, unless somebody says.
const WAIT: Duration = Duration::from_secs(30);

/// Prints what DuckDB answers.
pub(super) async fn answer(sql: &str, args: &QueryArgs) -> Result<ExitCode> {
    let data = args.place.data.as_path();
    let (duckdb, waiting) = (DuckDb::find(), Waiting::start());
    // A bad catalog is reported before anything else.
    let named = args.catalog.folder().map(|folder| catalog::read(Some(folder))).transpose()?;
    duckdb.refuse_unless_select(sql)?;
    data::must_have_events(data)?;
    let catalog = catalog::with_stored(named, data)?;
    wait_for_filing(data, args.wait.unwrap_or(WAIT), &waiting).await?;

    let lake = data.join("lake");
    fs::create_dir_all(&lake).with_context(|| format!("cannot use {}", lake.display()))?;
    let lake = lake.canonicalize().with_context(|| format!("cannot use {}", lake.display()))?;
    let setup = tables::setup(&catalog, &lake).context("cannot read the lake")?;
    // In a file: a command line has a limit, and a catalog has none.
    let mut script = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    script.write_all(setup.as_bytes()).context("cannot write a temporary file")?;
    duckdb.ask(&lake, script.path(), sql, args.format, &waiting)
}

/// Waits until everything that was acknowledged before is in the lake; says so if that is not to be.
async fn wait_for_filing(data: &Path, at_most: Duration, waiting: &Waiting) -> Result<()> {
    waiting.doing("waiting until what was acknowledged is filed");
    let start = Instant::now();
    let wanted = weir_embedded::not_filed_yet(data)?;
    let mut left = wanted;
    let mut told = false;
    while left.events > 0 && left.first <= wanted.last {
        if !weir_embedded::is_served(data) {
            waiting.say(&format!(
                "{} not filed yet, and not in the answer: start `weir serve`",
                counted(left.events, "event is", "events are")
            ));
            return Ok(());
        }
        if start.elapsed() >= at_most {
            let events = counted(left.events, "event is", "events are");
            waiting.say(&format!("{events} not filed yet, and not in the answer"));
            return Ok(());
        }
        if !told && start.elapsed() > Duration::from_millis(500) {
            told = true;
            waiting.say(&format!("waiting until what was acknowledged is filed ({} to go)", left.events));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = weir_embedded::not_filed_yet(data)?;
    }
    Ok(())
}

/// The DuckDB command line.
struct DuckDb {
    program: PathBuf,
}

impl DuckDb {
    /// Looks for it. It is run in another folder, so a relative path is made absolute.
    fn find() -> Self {
        let named = env::var_os(DUCKDB).map_or_else(|| PathBuf::from("duckdb"), PathBuf::from);
        let found = if named.components().count() > 1 {
            Some(named.clone())
        } else {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).map(|folder| folder.join(&named)).find(|file| file.is_file())
        };
        let program = found.and_then(|found| std::path::absolute(found).ok());
        Self { program: program.unwrap_or(named) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Whatever the user's own start file sets has no place here.
        command.args(["-no-init", "-batch", "-bail", "-no-stdin"]).stdin(Stdio::null());
        command
    }

    fn missing(&self, error: std::io::Error) -> anyhow::Error {
        match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!(
                "queries need the DuckDB command line, and there is no {}. Install it:\n\n    pip install duckdb-cli\n\n\
                 (where pip refuses to: pipx install duckdb-cli), or name it with {DUCKDB}",
                self.program.display()
            ),
            _ => anyhow::Error::new(error).context(format!("cannot run {}", self.program.display())),
        }
    }

    /// Lets nothing pass but statements that read. DuckDB itself parses the text: a statement that it cannot turn
    /// into a tree of SELECT is one that does something else.
    fn refuse_unless_select(&self, sql: &str) -> Result<()> {
        let check = format!(
            "SELECT coalesce(tree ->> 'error_message', repeat('+', json_array_length(tree -> 'statements')::BIGINT)) \
             FROM (SELECT json_serialize_sql({})::JSON AS tree)",
            literal(sql)
        );
        let output = self.command().args(["-csv", "-noheader", "-nullvalue", "", "-c", &check]).output();
        let output = output.map_err(|error| self.missing(error))?;
        if !output.status.success() {
            bail!("the query cannot be read: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let message = String::from_utf8_lossy(&output.stdout);
        let message = message.trim();
        let message = message.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(message);
        match message {
            "+" => Ok(()),
            many if many.bytes().all(|byte| byte == b'+') => bail!("a query is one statement"),
            only if only.starts_with("Only SELECT") => bail!("the lake is read-only: a query is a SELECT"),
            syntax => bail!("the query is not valid SQL: {}", syntax.replace("\"\"", "\"")),
        }
    }

    fn ask(
        &self,
        lake: &Path,
        setup: &Path,
        sql: &str,
        format: Format,
        waiting: &Waiting,
    ) -> Result<ExitCode> {
        waiting.doing("DuckDB answers");
        let width = table::terminal_width().filter(|_| format == Format::Table);
        let mode = match format {
            // DuckDB's own table does not know the terminal's width.
            Format::Table if width.is_some() => "-csv",
            Format::Table => "-box",
            Format::Json => "-json",
            Format::Csv => "-csv",
        };
        let mut command = self.command();
        let read_setup = format!(".read {}", argument(&setup.display().to_string()));
        command.current_dir(lake).args([
            mode,
            "-nullvalue",
            if format == Format::Table { NULL } else { "" },
            "-c",
            &read_setup,
            "-c",
            sql,
        ]);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().and_then(|mut child| {
            // An error may quote a value, and anybody may have sent that.
            let errors = child.stderr.take().map(|errors| {
                thread::spawn(move || terminal::copy_lines(BufReader::new(errors), std::io::stderr()))
            });
            // DuckDB prints nothing for an empty answer in JSON; a program that reads it wants an array.
            let (mut anything, mut seen_enough) = (false, false);
            if width.is_some() {
                if let Some(answer) = child.stdout.take() {
                    print_fitted(answer, width, waiting)?;
                }
            } else if let Some(answer) = child.stdout.take() {
                let (mut answer, mut out) = (BufReader::new(answer), std::io::stdout().lock());
                let mut line = Vec::new();
                while answer.read_until(b'\n', &mut line)? > 0 {
                    waiting.clear();
                    anything |= line.iter().any(|byte| !byte.is_ascii_whitespace());
                    // DuckDB's tables have cells on one line, and in them whatever else a terminal obeys. Spelled out
                    // it is wider than DuckDB thinks, and the row's frame is out of line: better that than obeyed.
                    if format == Format::Table {
                        line = terminal::in_lines(&String::from_utf8_lossy(&line)).into_bytes();
                    }
                    // A reader that has seen enough (`| head`) ends the query.
                    if out.write_all(&line).is_err() {
                        child.kill()?;
                        seen_enough = true;
                        break;
                    }
                    line.clear();
                }
            }
            let status = child.wait()?;
            if let Some(errors) = errors {
                // Where standard error is closed, nobody reads them.
                let _ = errors.join();
            }
            Ok((status, anything, seen_enough))
        });
        let (status, anything, seen_enough) = output.map_err(|error| self.missing(error))?;
        waiting.clear();
        if status.success() && !anything && format == Format::Json {
            println!("[]");
        }
        if status.success() {
            waiting.summary();
        }
        Ok(if status.success() || seen_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Prints DuckDB's CSV as a table of this width. All of it is read first, as a table's columns depend on all rows.
fn print_fitted(answer: impl Read, width: Option<usize>, waiting: &Waiting) -> io::Result<()> {
    let mut answer = csv::ReaderBuilder::new().flexible(true).from_reader(answer);
    let texts = |record: &csv::ByteRecord| -> Vec<String> {
        record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
    };
    let names = texts(answer.byte_headers()?);
    let rows: Vec<Vec<String>> =
        answer.byte_records().map(|record| Ok(texts(&record?))).collect::<io::Result<_>>()?;
    waiting.clear();
    // An error is on standard error, and there is no table.
    if names.is_empty() {
        return Ok(());
    }
    let is_number = |at: usize| {
        rows.iter().all(|row| row.get(at).is_none_or(|cell| cell == NULL || cell.parse::<f64>().is_ok()))
    };
    let kind = |at| if is_number(at) { Kind::Number } else { Kind::Text };
    let columns = names.into_iter().enumerate().map(|(at, name)| Column { name, kind: kind(at) }).collect();
    let mut printer = Printer::new(io::stdout().lock(), Format::Table, columns)?.fitted(width);
    for row in rows {
        printer.row(row.into_iter().map(Some).collect())?;
    }
    match printer.finish() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        finished => finished,
    }
}

/// A text as one of the shell's own commands takes it.
fn argument(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
