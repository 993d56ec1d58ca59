//! Queries over a year of events, sealed and as JSON, beside DuckDB alone on the same Parquet files; and what sealing costs: of
//! CPU, and of the time that intake takes meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Args;

use crate::{
    bootstraps,
    http::{
        as_f64,
        load::{Load, whole},
        server::Server,
    },
    process::{childrens_cpu, read_bytes},
    report::{Report, Target},
    year::Year,
};

/// How `query` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How many events there are. The targets are for ten million.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Over how many days they are spread.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(2..=390))]
    days: u64,
    /// The number of users whose events they are.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(8..))]
    users: u64,
    /// How often each query is asked of sealed days, in turns with DuckDB alone; the fastest counts, as other programs share the
    /// machine. JSON is asked once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each load of intake lasts, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Leaves out the queries of JSON, which take minutes.
    #[arg(long)]
    without_json: bool,
    /// The DuckDB that is asked alone. The script of `pip install duckdb-cli` starts Python first, and `weir query` does not: name the
    /// program in that package to compare with DuckDB without Python.
    #[arg(long, value_name = "PROGRAM", default_value = "duckdb")]
    duckdb: PathBuf,
    /// Measures this program instead of building `weir`.
    #[arg(long, value_name = "PROGRAM")]
    built: Option<PathBuf>,
}

impl Options {
    fn year(&self) -> Year {
        Year { days: self.days, users: self.users, events_a_day: self.events / self.days }
    }
}

/// Single events a second that are sent while days are sealed, of a type that is not asked for.
const RATE: f64 = 1_000.0;

const CONNECTIONS: u32 = 16;

/// What is asked: its name, and its SQL. In place of `{X}`, DuckDB alone has the files of the type X.
struct Query {
    name: &'static str,
    sql: String,
}

fn queries(year: Year) -> [Query; 5] {
    let middle = year.day(year.days / 2);
    let parts: Vec<String> = middle.to_string().split('-').map(ToOwned::to_owned).collect();
    let [y, m, d] = [0, 1, 2].map(|index| parts[index].trim_start_matches('0').to_owned());
    let day = format!("year = {y} AND month = {m} AND day = {d}");
    let query = |name, sql: &str| Query { name, sql: sql.replace("{day}", &day) };
    [
        query(
            "group by, clicks by button",
            "SELECT button_id, count(*) FROM {button_click} GROUP BY 1 ORDER BY 1",
        ),
        query(
            "group by, all events by user",
            "SELECT username, count(*) FROM (SELECT username FROM {button_click} UNION ALL SELECT username FROM {page_view} \
             UNION ALL SELECT username FROM {prediction} UNION ALL SELECT username FROM {outcome}) GROUP BY 1 ORDER BY 1",
        ),
        query(
            "one user's day",
            "SELECT button_id, count(*) FROM {button_click} WHERE username = 'user-7' AND {day} GROUP BY 1 ORDER BY 1",
        ),
        query(
            "join, predictions with outcomes",
            "SELECT model, count(*), count(*) FILTER (p.label = o.label) FROM {prediction} AS p JOIN {outcome} AS o \
             USING (username, prediction_id) GROUP BY 1 ORDER BY 1",
        ),
        query("distinct sessions", "SELECT count(DISTINCT session_id) FROM {page_view}"),
    ]
}

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let program = match &options.built {
        Some(program) => fs::canonicalize(program)?,
        None => bootstraps::build_host(&[])?,
    };
    let folder = tempfile::tempdir_in(program.parent().context("a program is in a folder")?)?;
    let data = folder.path().join("data");
    let year = options.year();
    let mut report = Report::default();
    // The first start makes the folder.
    let credentials = Server::start(&program, &data, None)?.credentials.clone();
    let began = Instant::now();
    year.file(&data)?;
    report.add("filing", "all events", began.elapsed().as_secs_f64(), "s", None);

    seal(&mut report, options, &program, &data, &credentials)?;

    // Queries usually run beside a server. Without one, each of them would make SQLite read the log that a killed server
    // left.
    let _server = Server::start_with(&program, &data, &["--seal-after", "never"], Some(&credentials))?;
    let sealed = data.join("sealed");
    let manifest = sealed.join("manifest.json");
    for Query { name, sql } in queries(year) {
        let of_weir = sql.replace(['{', '}'], "");
        let weir = |sql: &str| {
            Asked::of(Command::new(&program).args(["query", "--format", "csv", "--data"]).arg(&data).arg(sql))
        };
        let alone = alone(&sql, &sealed);
        let duckdb =
            || Asked::of(Command::new(&options.duckdb).args(["-no-init", "-csv", "-noheader", "-c", &alone]));
        let (mut fastest, mut limit) = (weir(&of_weir)?, duckdb()?);
        for _ in 1..options.rounds {
            fastest = fastest.faster(weir(&of_weir)?);
            limit = limit.faster(duckdb()?);
        }
        ensure!(fastest.has_rows_of(&limit), "{name}: weir query and DuckDB alone answer differently");
        let whole = options.events == 10_000_000 && name.starts_with("group by");
        let target = |target| whole.then_some(target);
        report.add(name, "sealed", fastest.millis, "ms", target(Target::AtMost(300.0)));
        report.add(name, "DuckDB alone", limit.millis, "ms", None);
        report.add(
            name,
            "in times of DuckDB alone",
            fastest.millis / limit.millis,
            "",
            Some(Target::AtMost(1.3)),
        );
        report.add(name, "read of sealed days", fastest.megabytes, "MB", None);
        if options.without_json {
            continue;
        }
        // Without a manifest, all days are read from JSON.
        let aside = folder.path().join("manifest.json");
        fs::rename(&manifest, &aside)?;
        let json = weir(&of_weir);
        fs::rename(&aside, &manifest)?;
        let json = json?;
        ensure!(json.has_rows_of(&limit), "{name}: JSON and Parquet answer differently");
        report.add(name, "JSON", json.millis, "ms", None);
        report.add(name, "read of JSON", json.megabytes, "MB", None);
        let share = json.megabytes / fastest.megabytes;
        report.add(name, "JSON in times of sealed, bytes", share, "", target(Target::AtLeast(20.0)));
    }
    Ok(report)
}

/// Seals the first half of the days beside a load of single events, and the others alone.
fn seal(
    report: &mut Report,
    options: &Options,
    program: &Path,
    data: &Path,
    credentials: &str,
) -> anyhow::Result<()> {
    const NAME: &str = "sealing";
    const BESIDE: &str = "intake, 1,000 single events a second";
    let year = options.year();
    let server = Server::start_with(program, data, &["--seal-after", "never"], Some(credentials))?;
    let credentials = BASE64_STANDARD.encode(credentials);
    let head = format!(
        "POST /client/track HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {credentials}\r\n",
        server.address
    );
    let lasting = Duration::from_secs(options.seconds);
    let send = |lasting| {
        Load { address: server.address, connections: CONNECTIONS, lasting }
            .run_paced(RATE, |_, _| whole(&head, br#"{"event":"Order Completed","session_id":"now"}"#))
    };
    let sealing = |until: u64, more: &[&str]| {
        let until = year.day(until).to_string();
        let mut command = Command::new(program);
        command.args(["seal", "--until", &until, "--data"]).arg(data).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    send(Duration::from_secs(1))?;
    let before = send(lasting)?;
    let half = year.days / 2;
    // As `weir serve` starts it.
    let mut beside = sealing(half, &["--gentle"]).spawn()?;
    let meanwhile = send(lasting);
    let was_running = beside.try_wait()?.is_none();
    ensure!(beside.wait()?.success(), "the days were not sealed");
    drop(server);
    let millis = |of: Duration| of.as_secs_f64() * 1e3;
    let (before, meanwhile) = (millis(before.slower_than(99)), millis(meanwhile?.slower_than(99)));
    report.add(BESIDE, "99 of 100 are answered within", before, "ms", None);
    report.add(BESIDE, "the same while days are sealed", meanwhile, "ms", None);
    // Otherwise the load went on after it.
    let target = was_running.then_some(Target::AtMost(1.5));
    report.add(BESIDE, "in times of that", meanwhile / before, "", target);

    let (began, used) = (Instant::now(), childrens_cpu()?);
    ensure!(sealing(year.days, &[]).status()?.success(), "the days were not sealed");
    let events = as_f64((year.days - half) * year.events_a_day);
    let cpu = childrens_cpu()?.saturating_sub(used).as_secs_f64();
    report.add(NAME, "events a second", events / began.elapsed().as_secs_f64(), "", None);
    report.add(NAME, "events a second of CPU", events / cpu, "", Some(Target::AtLeast(150_000.0)));
    let (json, parquet) = (bytes_below(&data.join("lake"))?, bytes_below(&data.join("sealed"))?);
    report.add(NAME, "JSON, packed", as_f64(json) / 1e6, "MB", None);
    report.add(NAME, "Parquet, with each whole event", as_f64(parquet) / 1e6, "MB", None);
    Ok(())
}

/// Returns a query's SQL for DuckDB alone.
fn alone(sql: &str, sealed: &Path) -> String {
    let files = |event_type: &str| {
        format!("read_parquet('{}/*/*/{event_type}/*.parquet', hive_partitioning = false)", sealed.display())
    };
    let types = ["button_click", "page_view", "prediction", "outcome"];
    types
        .iter()
        .fold(sql.to_owned(), |sql, event_type| sql.replace(&format!("{{{event_type}}}"), &files(event_type)))
}

/// An answer: how long it took, and how much was read for it.
struct Asked {
    millis: f64,
    megabytes: f64,
    rows: Vec<String>,
}

impl Asked {
    fn of(command: &mut Command) -> anyhow::Result<Self> {
        let (read, began) = (read_bytes()?, Instant::now());
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let millis = began.elapsed().as_secs_f64() * 1e3;
        let megabytes = as_f64(read_bytes()? - read) / 1e6;
        ensure!(output.status.success(), "a query failed");
        let rows = String::from_utf8(output.stdout)?.lines().map(ToOwned::to_owned).collect();
        Ok(Self { millis, megabytes, rows })
    }

    fn faster(self, other: Self) -> Self {
        if other.millis < self.millis { other } else { self }
    }

    /// Compares the rows; `weir query` prints a head above them.
    fn has_rows_of(&self, other: &Self) -> bool {
        !other.rows.is_empty() && self.rows[1..] == other.rows[..]
    }
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
