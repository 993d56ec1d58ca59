//! Computes an answer of a million slots, and reads them one by one from `weir serve`; beside it, in the same run, a bare axum
//! router that answers every request with the same few bytes. Server and clients share the machine.
//!
//! Run it with `--profile serve`: the bare router is this program, and is then built as `weir` is.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{Router, http::header, routing::get};
use clap::Args;

use crate::{
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

/// What the bare router answers: as long as a slot is.
const BARE: &str = r#"{"n":123456,"visits":864192,"button":"button-16"}"#;

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

/// The bare router, in a process of its own; dropping it ends it.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start() -> anyhow::Result<Self> {
        // A port that is free now: nothing else takes one meanwhile.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program = std::env::current_exe()?;
        let child =
            Command::new(program).args(["bare", &address.to_string()]).stdin(Stdio::null()).spawn()?;
        let bare = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(10), "the bare router did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(bare)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // If it ended by itself, there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the bare router listens.
#[derive(Args)]
pub(crate) struct Listen {
    address: SocketAddr,
}

/// Serves the bare router until the process is killed.
pub(crate) fn serve_bare(listen: &Listen) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen.address).await?;
        let answer = async || ([(header::CONTENT_TYPE, "application/json")], BARE);
        axum::serve(listener, Router::new().route("/answers/{answer}", get(answer))).await?;
        Ok(())
    })
}
