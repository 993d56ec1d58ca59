//! `weir query`: SQL over the lake, by the DuckDB command line.

mod tables;

use std::{
    env, fs,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    catalog,
    cli::{EngineName, Format, QueryArgs},
};

/// The variable that names another DuckDB than the one on the path.
const DUCKDB: &str = "WEIR_DUCKDB";

/// Runs the query.
pub(crate) async fn run(
    engine: EngineName,
    data: &Path,
    catalog_folder: Option<&Path>,
    args: &QueryArgs,
) -> Result<ExitCode> {
    if engine == EngineName::Aws {
        bail!(
            "on AWS, ask Athena: the stack's workgroup and its named queries are ready; weir query reads data folders"
        );
    }
    let catalog = catalog::read(catalog_folder)?;
    let sql = sql(&args.sql)?;
    let duckdb = DuckDb::find();
    duckdb.refuse_unless_select(&sql)?;
    if !data.join("events.db").exists() {
        bail!("there are no data in {}: name the server's folder with --data", data.display());
    }
    wait_for_filing(data, args.wait).await?;

    let lake = data.join("lake");
    fs::create_dir_all(&lake).with_context(|| format!("cannot use {}", lake.display()))?;
    let lake = lake.canonicalize().with_context(|| format!("cannot use {}", lake.display()))?;
    duckdb.ask(&tables::setup(&catalog, &lake), &sql, args.format)
}

fn sql(argument: &str) -> Result<String> {
    let mut sql = argument.to_owned();
    if argument == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql).context("cannot read the query")?;
    }
    Ok(sql)
}

/// Waits until everything that was acknowledged before is in the lake; says so if that is not to be.
async fn wait_for_filing(data: &Path, at_most: Duration) -> Result<()> {
    let start = Instant::now();
    let wanted = weir_embedded::not_filed_yet(data)?;
    let mut left = wanted;
    let mut told = false;
    while left.events > 0 && left.first <= wanted.last {
        if !weir_embedded::is_served(data) {
            eprintln!(
                "weir: {} events are not filed yet, and not in the answer: start `weir serve`",
                left.events
            );
            return Ok(());
        }
        if start.elapsed() >= at_most {
            eprintln!("weir: {} events are not filed yet, and not in the answer", left.events);
            return Ok(());
        }
        if !told && start.elapsed() > Duration::from_millis(500) {
            told = true;
            eprintln!("weir: waiting until what was acknowledged is filed ({} to go)", left.events);
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
    fn find() -> Self {
        Self { program: env::var_os(DUCKDB).map_or_else(|| PathBuf::from("duckdb"), PathBuf::from) }
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
        if sql.trim().is_empty() {
            bail!("the query is empty");
        }
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

    fn ask(&self, setup: &str, sql: &str, format: Format) -> Result<ExitCode> {
        let mode = match format {
            Format::Table => "-box",
            Format::Json => "-json",
            Format::Csv => "-csv",
        };
        let mut command = self.command();
        command.args([
            mode,
            "-nullvalue",
            if format == Format::Table { "NULL" } else { "" },
            "-c",
            setup,
            "-c",
            sql,
        ]);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().and_then(|mut child| {
            // DuckDB prints nothing for an empty answer in JSON; a program that reads it wants an array.
            let (mut anything, mut seen_enough) = (false, false);
            if let Some(mut answer) = child.stdout.take() {
                let mut out = std::io::stdout().lock();
                let mut piece = [0; 8192];
                loop {
                    let read = answer.read(&mut piece)?;
                    if read == 0 {
                        break;
                    }
                    anything |= piece[..read].iter().any(|byte| !byte.is_ascii_whitespace());
                    // A reader that has seen enough (`| head`) ends the query.
                    if out.write_all(&piece[..read]).is_err() {
                        child.kill()?;
                        seen_enough = true;
                        break;
                    }
                }
            }
            Ok((child.wait()?, anything, seen_enough))
        });
        let (status, anything, seen_enough) = output.map_err(|error| self.missing(error))?;
        if status.success() && !anything && format == Format::Json {
            println!("[]");
        }
        Ok(if status.success() || seen_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
