//! `weir query` on one machine: the DuckDB command line answers from the lake's files. `weir publish` asks it, too.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use weir_core::Catalog;

use super::{
    named::Defined,
    one_select::{self, Said},
    rows::{Column, Kind, Printer},
    statement::Statement,
    tables,
    waiting::Waiting,
};
use crate::{
    catalog,
    cli::{Format, QueryArgs},
    counted::counted,
    data, environment, printed,
    queries::valid_json,
    table, terminal,
};

/// The variable that names another DuckDB than the one on the path.
const DUCKDB: &str = "WEIR_DUCKDB";

/// The text for NULL in a table.
const NULL: &str = "NULL";

/// The default time to wait for acknowledged events to be filed.
const WAIT: Duration = Duration::from_secs(30);

/// Prints DuckDB's answer.
pub(super) async fn answer(sql: &str, args: &QueryArgs) -> Result<ExitCode> {
    let (duckdb, waiting) = (DuckDb::find(), Waiting::start());
    let statement = Statement::of(sql)?;
    if statement.is_of_plan() && args.format != Format::Table {
        bail!("a plan is a text for people, and has no other format");
    }
    // A bad catalog is reported before anything else.
    let named = args.catalog.folder().map(|folder| catalog::read(Some(folder))).transpose()?;
    if !duckdb.is_there() {
        return Err(duckdb.missing(ErrorKind::NotFound.into()));
    }
    let data = args.place.data.as_path();
    data::must_have_events(data)?;
    // `ask` also checks the SQL. Checking here reports a mistake before the wait for filing.
    if weir_embedded::not_filed_yet(data)?.events > 0 {
        duckdb.refuse_unless_select(statement.select())?;
    }
    let lake = lake_of(named, args, &waiting).await?;
    for defined in [Defined::by(sql), Defined::All] {
        let script = lake.script(&defined)?;
        if let Some(ended) =
            duckdb.ask(&lake.folder, (&defined, script.path()), statement, args.format, &waiting)?
        {
            return Ok(ended);
        }
    }
    bail!("DuckDB misses a table, although all of them were defined")
}

/// Opens DuckDB's own shell on the tables, which has the same limits as a query: it can read the lake, and nothing else.
pub(super) async fn shell(args: &QueryArgs) -> Result<ExitCode> {
    let (duckdb, waiting) = (DuckDb::find(), Waiting::start());
    let named = args.catalog.folder().map(|folder| catalog::read(Some(folder))).transpose()?;
    let lake = lake_of(named, args, &waiting).await?;
    let script = lake.script(&Defined::All)?;
    waiting.clear();
    let mode: &[&str] = match args.format {
        Format::Table => &[],
        Format::Json => &["-json"],
        Format::Csv => &["-csv"],
    };
    let mut command = Command::new(&duckdb.program);
    command.env_clear().envs(environment::few()).envs(environment::of_terminals());
    command
        .current_dir(&lake.folder)
        .arg("-no-init")
        .args(mode)
        .args(["-cmd", &DuckDb::read_script(script.path())]);
    eprintln!(
        "weir: DuckDB's shell, over what was filed until now. SHOW TABLES; lists the tables, and Ctrl-D ends it"
    );
    // Ctrl-C is the shell's: it stops a query there.
    #[cfg(unix)]
    let _left_to_the_shell = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let status = command.status().map_err(|error| duckdb.missing(error))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lake that a query reads.
struct QueriedLake {
    catalog: Catalog,
    /// Its folder, absolute: DuckDB runs in it.
    folder: PathBuf,
    of: tables::Lake,
}

impl QueriedLake {
    /// Writes the script that defines tables. It is a file, as a command line has a length limit and a catalog has none.
    fn script(&self, defined: &Defined) -> Result<tempfile::NamedTempFile> {
        let setup = tables::setup(&self.catalog, &self.folder, &self.of, &|name| defined.has(name));
        let mut script = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        let written = script.write_all(setup.context("cannot read the lake")?.as_bytes());
        written.context("cannot write a temporary file")?;
        Ok(script)
    }
}

/// Waits for filing, and returns the lake.
async fn lake_of(named: Option<Catalog>, args: &QueryArgs, waiting: &Waiting) -> Result<QueriedLake> {
    let data = args.place.data.as_path();
    data::must_have_events(data)?;
    let catalog = catalog::with_stored(named, data)?;
    wait_for_filing(data, args.wait.unwrap_or(WAIT), waiting).await?;

    let lake = data.join("lake");
    fs::create_dir_all(&lake).with_context(|| format!("cannot use {}", lake.display()))?;
    let folder = lake.canonicalize().with_context(|| format!("cannot use {}", lake.display()))?;
    let of = tables::Lake::now(data, &folder).await?;
    Ok(QueriedLake { catalog, folder, of })
}

/// Waits until everything acknowledged before is in the lake; warns if that does not happen.
pub(super) async fn wait_for_filing(data: &Path, at_most: Duration, waiting: &Waiting) -> Result<()> {
    waiting.doing("waiting until what was acknowledged is filed");
    let start = Instant::now();
    let wanted = weir_embedded::not_filed_yet(data)?;
    let mut left = wanted;
    let mut told = false;
    while left.has_some_of(&wanted) {
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
pub(crate) struct DuckDb {
    program: PathBuf,
}

impl DuckDb {
    /// Finds DuckDB. It runs in another folder, so a relative path is made absolute.
    pub(crate) fn find() -> Self {
        let named = env::var_os(DUCKDB).map_or_else(|| PathBuf::from("duckdb"), PathBuf::from);
        let found = if named.components().count() > 1 {
            Some(named.clone())
        } else {
            let path = env::var_os("PATH").unwrap_or_default();
            // Last beside this program: pip puts both into one folder, which need not be on the path.
            let beside = env::current_exe().ok().and_then(|weir| Some(weir.parent()?.to_owned()));
            env::split_paths(&path)
                .chain(beside)
                .map(|folder| folder.join(&named))
                .find(|file| file.is_file())
        };
        let program = found.and_then(|found| std::path::absolute(found).ok());
        let program = program.map(|found| launched_by(&found).unwrap_or(found));
        Self { program: program.unwrap_or(named) }
    }

    /// Returns the one that the tests of other programs use, too.
    #[cfg(test)]
    pub(crate) fn of_tests() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/duckdb");
        Self { program: launched_by(&script).unwrap_or(script) }
    }

    /// Returns whether there is such a program.
    pub(crate) fn is_there(&self) -> bool {
        self.program.is_file()
    }

    /// Waits until everything acknowledged before is in the lake, as a query does by default; warns if that does not happen.
    pub(crate) async fn wait_for_filing(&self, data: &Path, at_most: Option<Duration>) -> Result<()> {
        if !self.is_there() {
            return Err(self.missing(ErrorKind::NotFound.into()));
        }
        wait_for_filing(data, at_most.unwrap_or(WAIT), &Waiting::start()).await
    }

    /// Returns its path.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the command that reads a script.
    pub(crate) fn read_script(script: &Path) -> String {
        format!(".read {}", argument(&script.display().to_string()))
    }

    /// Returns the program with the options that every use has.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(environment::few());
        // Ignores the user's own start file.
        command.args(["-no-init", "-batch", "-bail", "-no-stdin"]).stdin(Stdio::null());
        command
    }

    /// Says how to get the program, if it is that which is missing.
    pub(crate) fn missing(&self, error: std::io::Error) -> anyhow::Error {
        self.missing_for("queries need", error)
    }

    /// Says who needs the program and how to get it, if the program is missing.
    pub(crate) fn missing_for(&self, needs: &str, error: std::io::Error) -> anyhow::Error {
        match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!(
                "{needs} the DuckDB command line, and there is no {}. Install it:\n\n    pip install duckdb-cli\n\n\
                 (where pip refuses to: pipx install duckdb-cli), or name it with {DUCKDB}",
                self.program.display()
            ),
            _ => anyhow::Error::new(error).context(format!("cannot run {}", self.program.display())),
        }
    }

    /// Refuses statements other than reads.
    pub(crate) fn refuse_unless_select(&self, sql: &str) -> Result<()> {
        let output = self.command().args(["-c", &one_select::check(sql)]).output();
        let output = output.map_err(|error| self.missing(error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(one_select::broken_in(&output.stderr).unwrap_or_else(|| {
            anyhow::anyhow!("the query cannot be read: {}", String::from_utf8_lossy(&output.stderr).trim())
        }))
    }

    /// Asks in the lake's folder, with tables that a script defines; `None` if the query needs others, and has printed nothing.
    fn ask(
        &self,
        lake: &Path,
        (defined, script): (&Defined, &Path),
        statement: Statement<'_>,
        format: Format,
        waiting: &Waiting,
    ) -> Result<Option<ExitCode>> {
        waiting.doing("DuckDB answers");
        // A plan is no table.
        let width = table::terminal_width().filter(|_| format == Format::Table && !statement.is_of_plan());
        let mode = match format {
            // DuckDB's own table does not know the terminal's width.
            Format::Table if width.is_some() => "-csv",
            Format::Table => "-box",
            Format::Json => "-json",
            Format::Csv => "-csv",
        };
        let mut command = self.command();
        let read_script = Self::read_script(script);
        command.current_dir(lake).args([
            mode,
            "-nullvalue",
            if format == Format::Table { NULL } else { "" },
            "-c",
            &one_select::check(statement.select()),
            "-c",
            &read_script,
            "-c",
            &statement.text(),
        ]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = thread::scope(|scope| {
            let mut child = child?;
            // An error may quote a value, which is untrusted.
            let errors = child.stderr.take();
            let errors = errors.map(|errors| {
                scope.spawn(|| one_select::copy_errors(errors, |first| defined.misses_a_table(first)))
            });
            // DuckDB prints nothing for an empty answer in JSON; a program that reads it expects an array.
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
                    // DuckDB keeps a table's cells on one line, but prints other control characters. Escaping them here
                    // makes a cell wider than DuckDB computed, so the row's frame is misaligned: better than letting the
                    // terminal obey them.
                    match format {
                        Format::Table => {
                            line = terminal::in_lines(&String::from_utf8_lossy(&line)).into_bytes();
                        }
                        // A value can go on in another line, and a text cannot.
                        Format::Json => line = valid_json(&line),
                        Format::Csv => {}
                    }
                    // A reader that closes the pipe early (`| head`) ends the query.
                    if out.write_all(&line).is_err() {
                        child.kill()?;
                        seen_enough = true;
                        break;
                    }
                    line.clear();
                }
            }
            let status = child.wait()?;
            // If standard error is closed, the messages are lost.
            let said = errors.and_then(|errors| errors.join().ok()).and_then(Result::ok);
            Ok((status, anything, seen_enough, said.unwrap_or(Said::Copied(Vec::new()))))
        });
        let (status, anything, seen_enough, said) = output.map_err(|error| self.missing(error))?;
        match said {
            Said::AskAgain => return Ok(None),
            Said::Broken(error) => {
                waiting.clear();
                return Err(error);
            }
            Said::Copied(first) => {
                waiting.clear();
                if let Some(hint) = hint(&first, statement.select()).filter(|_| !status.success()) {
                    eprintln!("weir: {hint}");
                }
                if let Some(day) = tables::sealed_day_in(&first).filter(|_| !status.success()) {
                    eprintln!(
                        "weir: a file of the sealed day {day} cannot be read. `weir seal --again {day}` makes it anew from the day's JSON, \
                         if that is still there"
                    );
                }
            }
        }
        if status.success() && !anything && format == Format::Json {
            printed::line("[]");
        }
        if status.success() {
            waiting.summary();
        }
        Ok(Some(if status.success() || seen_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    }
}

/// Returns what a person may not know who reads the first line of this error of DuckDB's.
fn hint(error: &[u8], sql: &str) -> Option<&'static str> {
    let error = String::from_utf8_lossy(error);
    let is = |kind: &str| error.starts_with(kind);
    if is("Conversion Error: Failed to cast value to numerical") && sql.contains("->>") {
        return Some("in a condition, ->> needs parentheses: (event->>'button_id') = 'abc'");
    }
    let is_missing = is("IO Error") && error.contains("No files found") && !error.contains("sealed/");
    let is_of_files = is("Permission Error") || is_missing;
    is_of_files.then_some("a query reads the files of the lake, and no others")
}

/// Returns the program that a script of Python launches: `pip install duckdb-cli` makes such a script, which takes longer to start
/// than DuckDB, and which would need Python in a sandbox. Besides, it names a folder of extensions, which queries may not load.
/// `None` for any other file.
fn launched_by(script: &Path) -> Option<PathBuf> {
    let mut begin = Vec::new();
    fs::File::open(script).and_then(|file| file.take(4096).read_to_end(&mut begin)).ok()?;
    if !begin.starts_with(b"#!") || memchr::memmem::find(&begin, b"duckdb_cli").is_none() {
        return None;
    }
    // The script can be a link, and so can its folder: pipx makes such.
    let script = script.canonicalize().ok()?;
    let packages = fs::read_dir(script.parent()?.parent()?.join("lib")).ok()?.filter_map(Result::ok);
    let packages = packages.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    let programs = packages.flat_map(|python| {
        ["site-packages", "dist-packages"].map(|folder| python.path().join(folder).join("duckdb_cli/duckdb"))
    });
    let mut programs = programs.filter(|program| program.is_file());
    // With two versions of Python, the script knows which.
    programs.next().filter(|_| programs.next().is_none())
}

/// Prints DuckDB's CSV as a table of this width. All of it is read first, as column widths depend on all rows.
fn print_fitted(answer: impl Read, width: Option<usize>, waiting: &Waiting) -> io::Result<()> {
    let mut answer = csv::ReaderBuilder::new().flexible(true).from_reader(answer);
    let texts = |record: &csv::ByteRecord| -> Vec<String> {
        record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
    };
    let names = texts(answer.byte_headers()?);
    let rows: Vec<Vec<String>> =
        answer.byte_records().map(|record| Ok(texts(&record?))).collect::<io::Result<_>>()?;
    waiting.clear();
    // There is no table: the error is on standard error.
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

/// Quotes a text for one of the DuckDB shell's own commands.
fn argument(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_pips_package_is_found_through_its_script_and_any_other_file_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().canonicalize().unwrap().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let script = write("bin/duckdb", "#!/usr/bin/python3\nfrom duckdb_cli.__main__ import main\n");
        assert_eq!(launched_by(&script), None);
        let program = write("lib/python3.13/dist-packages/duckdb_cli/duckdb", "\x7fELF");
        assert_eq!(launched_by(&script), Some(program.clone()));
        assert_eq!(launched_by(&program), None);
        assert_eq!(launched_by(&write("bin/other", "#!/bin/sh\nexec duckdb -cmd 'SET threads = 1'\n")), None);
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&script, &link).unwrap();
            assert_eq!(launched_by(&link), Some(program));
        }
        write("lib/python3.14/site-packages/duckdb_cli/duckdb", "\x7fELF");
        assert_eq!(launched_by(&script), None);
        assert_eq!(launched_by(&folder.path().join("none")), None);
    }
}
