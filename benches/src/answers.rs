//! Computes an answer of a million slots, and reads them one by one from `weir serve`; beside it, in the same run, a bare axum
//! router that answers every request with the same few bytes. Server and clients share the machine.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    bare::Bare,
    bootstraps,
    http::{load::Load, server::Server},
    report::{Report, Target},
};

/// How `answers` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How many slots the answer has. The target for publishing it is for a million.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    slots: u64,
    /// How many connections read at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measures this program instead of building `weir`.
    #[arg(long, value_name = "PROGRAM")]
    built: Option<PathBuf>,
}

const PUBLISHED: &str = "publishing";
const READ: &str = "reading";

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let program = match &options.built {
        Some(program) => program.clone(),
        None => bootstraps::build_host(&[])?,
    };
    let folder = tempfile::tempdir_in(program.parent().context("a program is in a folder")?)?;
    let (data, answers) = (folder.path().join("data"), folder.path().join("answers"));
    fs::create_dir(&answers)?;
    let sql = format!(
        "-- public: true\n-- slot: n\nSELECT range AS n, range * 7 AS visits, 'button-' || range % 20 AS button FROM \
         range({})\n",
        options.slots
    );
    fs::write(answers.join("load.sql"), sql)?;
    let server = Server::start(&program, &data, None)?;
    let mut report = Report::default();

    let began = Instant::now();
    let done = Command::new(&program)
        .args(["publish", "--data"])
        .arg(&data)
        .arg("--answers")
        .arg(&answers)
        .status()?;
    ensure!(done.success(), "the answer was not published");
    // The target is for a million.
    let target = (options.slots == 1_000_000).then_some(Target::AtMost(10.0));
    report.add(PUBLISHED, "all slots", began.elapsed().as_secs_f64(), "s", target);
    let published = fs::read_dir(data.join("answers/load"))?.filter_map(|file| file.ok()?.metadata().ok());
    let bytes: u64 = published.map(|file| file.len()).sum();
    report.add(PUBLISHED, "the generation", super::http::as_f64(bytes) / 1e6, "MB", None);

    let load = |address| Load {
        address,
        connections: options.connections,
        lasting: Duration::from_secs(options.seconds),
    };
    // Every request is for another slot, far from the one before.
    let request = |connection: u32, number: u64| {
        let slot = (number * 7_919 + u64::from(connection) * 104_729) % options.slots;
        format!("GET /answers/load?n={slot} HTTP/1.1\r\nhost: weir\r\n\r\n").into_bytes()
    };
    let bare = Bare::start()?;
    let measure = |address| -> anyhow::Result<f64> {
        // The first requests find everything cold.
        Load { lasting: Duration::from_millis(500), ..load(address) }.run_whole(request)?;
        let outcome = load(address).run_whole(request)?;
        Ok(super::http::as_f64(outcome.answered) / outcome.took.as_secs_f64())
    };
    // Both in turns, as other programs share the machine.
    let mut rates = [0.0, 0.0];
    for _ in 0..2 {
        rates[0] += measure(bare.address)? / 2.0;
        rates[1] += measure(server.address)? / 2.0;
    }
    let [of_bare, of_weir] = rates;
    report.add(READ, "slots of weir serve", of_weir, "GET a second", Some(Target::AtLeast(45_000.0)));
    report.add(READ, "a bare axum router", of_bare, "GET a second", None);
    report.add(READ, "share of that", of_weir / of_bare * 100.0, "%", Some(Target::AtLeast(80.0)));
    let peak = super::http::as_f64(server.process().peak()?) / 1e6;
    report.add(READ, "resident at most", peak, "MB", None);
    Ok(report)
}
