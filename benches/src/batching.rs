//! How many calls of AWS are spared where many ask for the same at once, and how long each of them waits: through the ports
//! in this process, and over HTTP through `weir serve --engine aws`. AWS is a stub that answers after a while.
//!
//! - here: what is measured;
//! - `ports`: the ports, with and without sharing;
//! - `over_http`: the server, and clients that keep their connections;
//! - `stub`: the AWS.

mod over_http;
mod ports;
mod stub;

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;

use crate::report::{Report, Target};

/// How `batching` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each thing is asked for.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,
    /// After how many milliseconds AWS answers.
    #[arg(long, default_value_t = 5)]
    latency: u64,
    /// For how many milliseconds calls gather at the most in this process; as long as in Weir, if nothing is said.
    #[arg(long)]
    gathering: Option<u64>,
    /// How many milliseconds pass in this process between the first request and the last.
    #[arg(long, default_value_t = 0)]
    over: u64,
    /// How many connections clients keep to the server.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Measures this `weir`, which has the feature `aws`, instead of building it.
    #[arg(long, value_name = "PROGRAM")]
    weir: Option<PathBuf>,
    /// Measures the ports only.
    #[arg(long)]
    without_http: bool,
}

impl Options {
    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency)
    }
}

/// How many counters are asked for.
const COUNTERS: usize = 20;

/// Queries of [`COUNTERS`] counters that 10,000 reads may take.
const MOST_QUERIES: f64 = 60.0;

/// What a run took.
struct Took {
    /// How long each request waited.
    waits: Vec<Duration>,
    /// How long all of them took.
    all: Duration,
    /// The calls of AWS: their name, what requests for each of them are called, and how many there were.
    calls: Vec<(&'static str, &'static str, usize)>,
}

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("there are no resources for a runtime")?;
    for kind in [ports::Kind::Reads, ports::Kind::Increments, ports::Kind::Appends] {
        let took = runtime.block_on(ports::shared(kind, options))?;
        let is_asked = kind == ports::Kind::Reads && options.requests <= 10_000 && options.over == 0;
        let target = is_asked.then_some(Target::AtMost(MOST_QUERIES));
        tell(&mut report, &format!("{}, together", kind.name()), options, took, target);
        let took = runtime.block_on(ports::apart(kind, options))?;
        tell(&mut report, &format!("{}, 64 at a time, each by itself", kind.name()), options, took, None);
    }
    if !options.without_http {
        let program = match &options.weir {
            Some(program) => program.clone(),
            None => crate::bootstraps::build_host(&["aws"])?,
        };
        let (reads, events) = runtime.block_on(over_http::measure(&program, options))?;
        // Without targets: clients are as fast as the machine, and a call leaves every few milliseconds.
        tell(&mut report, "reads, over HTTP", options, reads, None);
        tell(&mut report, "events, over HTTP", options, events, None);
    }
    Ok(report)
}

fn tell(report: &mut Report, subject: &str, options: &Options, took: Took, target: Option<Target>) {
    let Took { mut waits, all, calls } = took;
    waits.sort();
    let quantile = |hundredths: usize| waits[(waits.len() - 1) * hundredths / 100];
    report.add(subject, "requests", f64::from(options.requests), "", None);
    for (name, shared_by, number) in calls {
        #[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
        let number = number as f64;
        report.add(subject, name, number, "", target);
        report.add(subject, shared_by, f64::from(options.requests) / number, "", None);
    }
    report.add(subject, "wait, p50", quantile(50).as_secs_f64() * 1000.0, "ms", None);
    report.add(subject, "wait, p99", quantile(99).as_secs_f64() * 1000.0, "ms", None);
    report.add(subject, "all of them", all.as_secs_f64() * 1000.0, "ms", None);
}
