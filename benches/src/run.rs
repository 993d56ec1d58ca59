//! A function at work for a bill: what it is given, what it used, and how long Lambda charges for it.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_lambda::testing::{Call, Function, StubAws};

use crate::{
    batch::Mixture,
    prices::Item,
    process::Process,
    usage::{GB, Usage, as_f64},
    workload::{self, Workload},
};

/// How long AWS is assumed to take for a call, in milliseconds. A function waits that long, and Lambda charges for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Latency {
    /// The stream: nothing is published of it.
    #[arg(long = "stream-ms", value_name = "MS", default_value_t = 50)]
    pub(crate) stream: u64,
    /// A table: "single-digit milliseconds".
    #[arg(long = "table-ms", value_name = "MS", default_value_t = 10)]
    pub(crate) table: u64,
    /// A transaction of a table.
    #[arg(long = "transaction-ms", value_name = "MS", default_value_t = 20)]
    pub(crate) transaction: u64,
    /// S3: "roughly 100 to 200 milliseconds".
    #[arg(long = "s3-ms", value_name = "MS", default_value_t = 100)]
    pub(crate) s3: u64,
}

impl Latency {
    fn of(&self, call: &Call) -> Duration {
        Duration::from_millis(match call.target.as_str() {
            target if target.starts_with("Firehose") => self.stream,
            target if target.ends_with("TransactWriteItems") => self.transaction,
            "" => self.s3,
            _ => self.table,
        })
    }
}

/// Where the time comes from that Lambda charges for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// Measured, with AWS as slow as is assumed.
    Measured,
    /// What is assumed of AWS and stated of the function: the same on every machine and in every build.
    Stated,
}

/// What CloudWatch adds to each line.
pub(crate) const LOG_LINE: usize = 26;

/// With so much memory comes a whole CPU, and with less a part of it.
const MEMORY_OF_A_CPU: f64 = 1769.0;

/// A function and what it does.
pub(crate) struct Work {
    workload: Workload,
    latency: Latency,
    /// What it waits for AWS, one call after the other.
    waits_ms: u64,
    /// What it works itself, on Lambda and with the memory that it has there; rounded up from what was measured.
    own_ms: u64,
    /// Whether the first invocation is the one that counts: nothing is cached.
    is_first: bool,
}

/// What an invocation used.
pub(crate) struct Worked {
    pub(crate) usage: Usage,
    /// What was answered to the client, without headers.
    pub(crate) answer_bytes: usize,
    /// What went into the stream.
    pub(crate) stream_bytes: usize,
    /// What lies in S3 for it, before and after.
    pub(crate) stored_bytes: f64,
    /// Milliseconds that Lambda charges for.
    pub(crate) billed: f64,
    /// Milliseconds of CPU, on this machine.
    pub(crate) cpu: f64,
}

impl Work {
    /// Verifying credentials that are in no cache.
    pub(crate) fn authorizing(latency: &Latency) -> Self {
        let workload = workload::authorizer();
        Self { workload, latency: latency.clone(), waits_ms: latency.table, own_ms: 5, is_first: true }
    }

    /// Storing and counting the events of a request.
    pub(crate) fn collecting(latency: &Latency, path: &str, body: &str, events: u32, ids: bool) -> Self {
        let mut workload = workload::collector();
        workload.event["rawPath"] = json!(path);
        workload.event["requestContext"]["http"]["path"] = json!(path);
        workload.event["body"] = json!(body);
        // Sixty-four ids are claimed at once, and then marked; all counts are raised at once.
        let rounds = 1 + if ids { 2 * u64::from(events.div_ceil(64)) } else { 0 };
        let own_ms = match (events, ids) {
            (1, _) => 3,
            (_, false) => 12,
            (_, true) => 150,
        };
        let waits_ms = latency.stream + rounds * latency.table;
        Self { workload, latency: latency.clone(), waits_ms, own_ms, is_first: false }
    }

    /// Filing a batch of so many users, types and hours.
    pub(crate) fn filing(
        latency: &Latency,
        events: u32,
        bytes: usize,
        [users, types, hours]: [u64; 3],
    ) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mixture = Mixture { users, types, hours, bytes, broken: 0 };
        mixture.write(workload::this_hour(), u64::from(events), &mut gzip).expect("memory takes it");
        let batch = gzip.finish().expect("memory takes it");
        let workload = workload::fan_out_of(batch);
        let partitions = users * types * hours;
        // Sixteen objects are put at once. A transaction takes 99 counts: an hour's each, and a total for each type of a
        // user.
        let counts = partitions + users * types;
        let waits_ms = latency.s3 * (1 + partitions.div_ceil(16)) + latency.transaction * counts.div_ceil(99);
        let own_ms = 10 + u64::from(events) / 200 + partitions;
        Self { workload, latency: latency.clone(), waits_ms, own_ms, is_first: false }
    }

    /// Does it, so many times.
    pub(crate) fn run(&self, program: &Path, invocations: u32, time: Time) -> anyhow::Result<Worked> {
        let answer = self.workload.answer.clone();
        let latency = self.latency.clone();
        let wait = move |call: &Call| if time == Time::Measured { latency.of(call) } else { Duration::ZERO };
        let aws = StubAws::start_after(wait, move |call| answer(call));
        let url = aws.url();
        let variables: Vec<_> =
            self.workload.variables.iter().copied().chain([("AWS_ENDPOINT_URL", url.as_str())]).collect();
        let mut function = Function::run(Command::new(program), &variables);
        let _ = function.first_poll();
        let process = Process(function.process());

        let mut answered = Value::Null;
        let mut walls = Vec::new();
        let before = u32::from(!self.is_first);
        if !self.is_first {
            // Connections are made with it.
            function.answer(self.workload.event.clone());
        }
        let (calls_before, cpu_before) = (aws.calls().len(), process.cpu()?);
        for _ in 0..invocations {
            let began = Instant::now();
            answered = function.answer(self.workload.event.clone());
            walls.push(began.elapsed().as_secs_f64() * 1000.0);
            (self.workload.check)(&answered).with_context(|| format!("answered {answered}"))?;
        }
        let cpu = process.cpu()?.saturating_sub(cpu_before).as_secs_f64() * 1000.0 / f64::from(invocations);
        let calls = aws.calls().split_off(calls_before);
        let lines = function.end();

        let memory = memory(self.workload.resource);
        let share = f64::from(invocations);
        let slower = cpu * (MEMORY_OF_A_CPU / memory - 1.0).max(0.0);
        let billed = match time {
            Time::Measured => walls.iter().map(|wall| (wall + slower).ceil()).sum::<f64>() / share,
            Time::Stated => as_f64(usize::try_from(self.waits_ms + self.own_ms)?),
        };

        let mut all = Usage::default();
        let (mut stream, mut stored) = (0, 0);
        for call in &calls {
            all.count(call)?;
            ensure!(!call.path.contains("/quarantine/"), "events went to quarantine");
            stream += if call.target.starts_with("Firehose") { record_bytes(&call.json()) } else { 0 };
            stored += if call.method == "PUT" { call.body.len() } else { 0 };
        }
        let mut usage = Usage::default();
        usage.add(Item::Invocations, 1.0);
        usage.add(Item::GbSeconds, memory / 1024.0 * billed / 1000.0);
        usage.add_all(&all, 1.0 / share);
        let logged: usize = lines.iter().map(|line| line.len() + LOG_LINE).sum();
        usage.add(Item::LogGb, as_f64(logged) / f64::from(invocations + before) / GB);
        Ok(Worked {
            usage,
            answer_bytes: answered["body"].as_str().map_or(0, str::len),
            stream_bytes: stream
                / calls.iter().filter(|call| call.target.starts_with("Firehose")).count().max(1),
            stored_bytes: as_f64(stored) / share + as_f64(self.workload.batch_bytes),
            billed,
            cpu,
        })
    }
}

fn record_bytes(call: &Value) -> usize {
    let data = |record: &Value| record["Data"].as_str().map_or(0, |data| data.len() / 4 * 3);
    call["Records"].as_array().into_iter().flatten().map(data).sum()
}

/// The memory that the template gives a function, in MB.
pub(crate) fn memory(resource: &str) -> f64 {
    let template = include_str!("../../template.yaml");
    let function = template.split_once(&format!("\n  {resource}:\n")).map_or("", |(_, rest)| rest);
    let size = function.split_once("MemorySize: ").and_then(|(_, rest)| rest.lines().next());
    size.and_then(|size| size.trim().parse().ok()).expect("each function of the template has its memory")
}
