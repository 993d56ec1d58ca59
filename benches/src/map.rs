//! Runs a program over a million events with `weir map`, and beside it, in the same run, the same program over the same files
//! with `xargs -P`: processes, unpacking and the program itself are the same, so what differs is Weir's part.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::Args;
use flate2::{Compression, write::GzEncoder};

use crate::{
    bootstraps,
    http::{as_f64, server::Server},
    report::{Report, Target},
};

/// How `map` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How many events there are. The target is for a million.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    events: u64,
    /// How many objects they are in.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100))]
    objects: u64,
    /// How many processes run at once; one a core unless set.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    workers: Option<u64>,
    /// How often each is measured, in turns; the fastest counts, as other programs share the machine.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measures this program instead of building `weir`.
    #[arg(long, value_name = "PROGRAM")]
    built: Option<PathBuf>,
}

const MAPPED: &str = "jq -c .button_id";

/// What `xargs` runs for each file.
const UNPACK: &str = "zcat \"$0\" | jq -c .button_id";

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    for needed in ["jq", "xargs", "zcat"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {needed}")])
            .stdout(Stdio::null())
            .status()?;
        ensure!(found.success(), "this needs {needed}");
    }
    let program = match &options.built {
        Some(program) => fs::canonicalize(program)?,
        None => bootstraps::build_host(&[])?,
    };
    let folder = tempfile::tempdir_in(program.parent().context("a program is in a folder")?)?;
    let data = folder.path().join("data");
    // The first start makes the folder.
    drop(Server::start(&program, &data, None)?);
    let bytes = fill(&data.join("lake"), options)?;
    let added = Command::new(&program)
        .args(["function", "add", "ids", "--data"])
        .arg(&data)
        .args(["--", "jq", "-c", ".button_id"])
        .status()?;
    ensure!(added.success(), "the function was not added");
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let workers = options.workers.unwrap_or(cores);
    let printed = folder.path().join("printed");

    let with_weir = |workers: u64| -> anyhow::Result<f64> {
        let mut map = Command::new(&program);
        map.args(["map", "ids", "--type", "button_click", "--workers", &workers.to_string(), "--data"])
            .arg(&data);
        timed(map.stdout(File::create(&printed)?).stderr(Stdio::null()), &printed, options.events)
    };
    let with_xargs = || -> anyhow::Result<f64> {
        let script = format!("find \"$0\" -name '*.gz' | sort | xargs -P {workers} -n 1 sh -c '{UNPACK}'");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(data.join("lake"));
        timed(shell.stdout(File::create(&printed)?), &printed, options.events)
    };
    let [mut weir, mut xargs, mut alone] = [f64::INFINITY; 3];
    for _ in 0..options.rounds {
        weir = weir.min(with_weir(workers)?);
        xargs = xargs.min(with_xargs()?);
        if workers > 1 {
            alone = alone.min(with_weir(1)?);
        }
    }
    let mut report = Report::default();
    report.add(MAPPED, "events as text", as_f64(bytes) / 1e6, "MB", None);
    report.add(MAPPED, "weir map", weir, "s", None);
    report.add(MAPPED, "xargs -P", xargs, "s", None);
    // The target is for a million.
    let target = (options.events == 1_000_000).then_some(Target::AtMost(1.3));
    report.add(MAPPED, "weir map in times of xargs", weir / xargs, "", target);
    if workers > 1 {
        report.add(MAPPED, "weir map with one worker", alone, "s", None);
        let target = (workers <= cores).then_some(Target::AtLeast(80.0));
        report.add(MAPPED, "share of linear in workers", alone / weir / as_f64(workers) * 100.0, "%", target);
    }
    Ok(report)
}

/// Puts the events into the lake, as many into each object; returns their bytes.
fn fill(lake: &Path, options: &Options) -> anyhow::Result<u64> {
    let (mut bytes, mut event) = (0, 0);
    for object in 0..options.objects {
        let hour = format!("year=2026/month=11/day={}/hour={}", 1 + object / 24, object % 24);
        let folder = lake.join("username=bench/button_click").join(hour);
        fs::create_dir_all(&folder)?;
        let mut file = GzEncoder::new(File::create(folder.join("batch.json.gz"))?, Compression::fast());
        let end = options.events * (object + 1) / options.objects;
        while event < end {
            let line = format!(
                "{{\"time\":1795179605007,\"event_id\":\"019ab3de-7c14-7d3e-9c1b-{event:012}\",\"username\":\"bench\",\
                 \"event_type\":\"button_click\",\"received_at\":1795179605007,\"session_id\":\"session-{}\",\
                 \"button_id\":\"button-{}\",\"page\":\"https://example.com/shop/{}\"}}\n",
                event % 5_000,
                event % 20,
                event % 300
            );
            bytes += line.len() as u64;
            file.write_all(line.as_bytes())?;
            event += 1;
        }
        file.finish()?;
    }
    Ok(bytes)
}

/// Runs a command that must print a line for each event; returns how long it took, in seconds.
fn timed(command: &mut Command, printed: &Path, events: u64) -> anyhow::Result<f64> {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).status()?;
    let took = began.elapsed().as_secs_f64();
    ensure!(status.success(), "it failed: {status}");
    let lines = memchr::memchr_iter(b'\n', &fs::read(printed)?).count() as u64;
    ensure!(lines == events, "{lines} lines were printed of {events}");
    Ok(took)
}
