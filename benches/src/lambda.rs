//! Runs the functions' programs on a Runtime API and a stub AWS, and measures them: what Lambda bills, and what it waits
//! for. Both servers answer at once, so what is left is the function's own. A bare function, which only makes the collector's calls,
//! is measured in the same run.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use weir_lambda::testing::{Function, StubAws};

use crate::{
    bootstraps,
    process::Process,
    report::{Report, Target},
    workload::{self, Workload},
};

/// How `lambda` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each function is started; the median is reported.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// How often the functions that answer requests are invoked. The fan-out is invoked once for a hundred of them.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(100..))]
    invocations: u32,
    /// Measures the programs that `sam build` made, in this folder, instead of building them: what is deployed.
    #[arg(long, value_name = "DIR")]
    built: Option<PathBuf>,
    /// Measures another implementation of the collector in the same run: it takes HTTP API events of clicks, from the
    /// Runtime API, as Lambda's runtimes do. The command is parted at blanks.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = beside)]
    beside: Vec<(String, Vec<String>)>,
}

fn beside(text: &str) -> Result<(String, Vec<String>), String> {
    let parted = text.split_once('=').map(|(name, command)| {
        (name.to_owned(), command.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    });
    parted.filter(|(_, command)| !command.is_empty()).ok_or_else(|| "not of the form NAME=COMMAND".to_owned())
}

const MB: f64 = 1e6;

const BARE: &str = "a bare function";

const CPU: &str = "CPU an invocation";

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for workload in workload::all() {
        let program = match &options.built {
            Some(folder) => folder.join(workload.resource).join("bootstrap"),
            None => bootstraps::build(workload.function)?,
        };
        let zipped =
            bootstraps::zipped(&program).with_context(|| format!("{} cannot be read", program.display()))?;
        report.add(
            workload.function,
            "package, zipped",
            as_f64(zipped) / MB,
            "MB",
            Some(Target::AtMost(workload.package)),
        );
        measure(&mut report, options, workload.function, &workload, &[program], true)?;
    }
    let bare = Workload { check: |_| Ok(()), ..workload::collector() };
    let command = [bootstraps::build_bare("release")?, PathBuf::from("function")];
    measure(&mut report, options, BARE, &bare, &command, false)?;
    if let [Some(own), Some(bare)] = ["collector", BARE].map(|subject| report.value(subject, CPU)) {
        report.add(
            "collector",
            "CPU in times of the bare function's",
            own / bare,
            "",
            Some(Target::AtMost(1.25)),
        );
    }
    for (name, command) in &options.beside {
        let command: Vec<_> = command.iter().map(PathBuf::from).collect();
        measure(&mut report, options, name, &workload::collector(), &command, false)?;
    }
    Ok(report)
}

fn measure(
    report: &mut Report,
    options: &Options,
    subject: &str,
    workload: &Workload,
    command: &[PathBuf],
    is_ours: bool,
) -> anyhow::Result<()> {
    let target = |most| is_ours.then_some(Target::AtMost(most));
    let answer = workload.answer.clone();
    let aws = StubAws::start(move |call| answer(call));
    let median = |variables: &[(&str, &str)]| {
        let start = |_| start(command, workload, &aws, variables).first_poll();
        let mut starts: Vec<_> = (0..options.starts).map(start).collect();
        starts.sort();
        starts[starts.len() / 2]
    };
    // A third of a start is reading the CAs that the system trusts. Where the target holds, on Amazon Linux, they are in one
    // file; Debian has them a second time, in a folder of many.
    if let Some(file) = CA_FILES.into_iter().find(|file| Path::new(file).exists()) {
        let started = median(&[("SSL_CERT_FILE", file)]);
        report.add(subject, "start to first poll, CAs in one file", millis(started), "ms", target(6.0));
    }
    report.add(subject, "start to first poll, this system's CAs", millis(median(&[])), "ms", None);

    let mut function = start(command, workload, &aws, &[]);
    let _ = function.first_poll();
    let process = Process(function.process());
    report.add(subject, "resident at first poll", as_f64(process.resident()?) / MB, "MB", None);
    let first = Instant::now();
    function.answer(workload.event.clone());
    report.add(subject, "first invocation", millis(first.elapsed()), "ms", None);

    let invocations = (options.invocations / workload.share).max(10);
    // What is set up with the first requests is not part of the steady state.
    for _ in 0..invocations / 10 {
        function.answer(workload.event.clone());
    }
    let calls_before = aws.calls().len();
    let (cpu_before, began) = (process.cpu()?, Instant::now());
    for _ in 0..invocations {
        let answer = function.answer(workload.event.clone());
        (workload.check)(&answer).with_context(|| format!("{subject} answered {answer}"))?;
    }
    let (wall, cpu) =
        (began.elapsed() / invocations, process.cpu()?.saturating_sub(cpu_before) / invocations);
    report.add(subject, "invocation", millis(wall), "ms", None);
    report.add(subject, CPU, millis(cpu), "ms", workload.cpu.and_then(target));

    let calls = &aws.calls()[calls_before..];
    let bytes: usize = calls.iter().map(|call| call.body.len()).sum();
    let each = |number: usize| as_f64(number as u64) / f64::from(invocations);
    report.add(subject, "AWS calls an invocation", each(calls.len()), "", workload.calls.and_then(target));
    report.add(subject, "bytes to AWS an invocation", each(bytes), "bytes", None);
    report.add(
        subject,
        "resident after them",
        as_f64(process.resident()?) / MB,
        "MB",
        target(workload.resident),
    );
    report.add(subject, "resident at most", as_f64(process.peak()?) / MB, "MB", None);
    Ok(())
}

/// Where systems have the CAs that they trust as one file: Amazon Linux, Debian.
const CA_FILES: [&str; 2] =
    ["/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/certs/ca-certificates.crt"];

fn start(command: &[PathBuf], workload: &Workload, aws: &StubAws, variables: &[(&str, &str)]) -> Function {
    let (url, mut program) = (aws.url(), Command::new(&command[0]));
    program.args(&command[1..]);
    let variables: Vec<_> = workload
        .variables
        .iter()
        .chain(variables)
        .copied()
        .chain([("AWS_ENDPOINT_URL", url.as_str())])
        .collect();
    Function::run(program, &variables)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
