//! Sends events to `weir serve` over HTTP, as fast as it answers, and compares with what the machine's disk, the store
//! without HTTP and a bare router without a store can do. Every answer means that its events are on the disk. Server and clients
//! share the machine, so what is measured is what both can do together.

mod latest;
mod limits;
pub(crate) mod load;
pub(crate) mod server;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Args;

use crate::{
    bare::Bare,
    bootstraps,
    report::{Report, Target},
};
use load::Load;
use server::Server;

/// How `http` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How many connections send requests of one event at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How many connections send requests of many events at once. More of them wait for each other, and gain nothing.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    batch_connections: u32,
    /// How many events the requests of many have. The targets are for 100.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    batch: u32,
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// A folder on the disk to be measured; what is written there is removed in the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Measures this program instead of building `weir`.
    #[arg(long, value_name = "PROGRAM")]
    built: Option<PathBuf>,
}

const WITH_IDS: &str = ", with clients' ids";

/// A kind of load.
struct Kind {
    name: String,
    form: Form,
    events: u32,
    /// Makes an event.
    event: Make,
    /// Events a second at least, and milliseconds of the slowest hundredth at most.
    targets: Option<(f64, f64)>,
}

/// The route of a request, and how its body has its event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The type's own route.
    Own,
    /// The route of all events; several are an array.
    Events,
    /// A batch of Segment's protocol, as vendors' clients send it.
    Segment,
}

impl Form {
    fn route(self) -> &'static str {
        match self {
            Self::Own => "/button/click",
            Self::Events => "/events",
            Self::Segment => "/v1/batch",
        }
    }

    /// Returns what stands before and behind an event's fields, the first brace of which is left out.
    fn around(self) -> [&'static str; 2] {
        match self {
            Self::Own => ["{", ""],
            Self::Events => [r#"{"event_type":"button_click","#, ""],
            Self::Segment => [r#"{"batch":[{"type":"track","event":"Button Click","properties":{"#, "}]}"],
        }
    }
}

/// Makes an event, by the number of its connection and by its own there.
type Make = fn(u32, u64) -> Vec<u8>;

impl Kind {
    fn one(event: Make, suffix: &str, targets: Option<(f64, f64)>) -> Self {
        let name = format!("1 event a request{suffix}");
        Self { name, form: Form::Own, events: 1, event, targets }
    }

    fn one_over(form: Form, event: Make) -> Self {
        let name = format!("one event a request over {}", form.route());
        Self { name, form, events: 1, event, targets: None }
    }

    fn many(events: u32, event: Make, suffix: &str, targets: Option<(f64, f64)>) -> Self {
        let name = format!("{events} events a request{suffix}");
        // They are for a hundred.
        Self { name, form: Form::Events, events, event, targets: targets.filter(|_| events == 100) }
    }

    /// The body of the request that a connection sends as its `number`th.
    fn body(&self, connection: u32, number: u64) -> Vec<u8> {
        if self.events == 1 {
            let [before, behind] = self.form.around().map(str::as_bytes);
            return [before, &(self.event)(connection, number)[1..], behind].concat();
        }
        let first = number * u64::from(self.events);
        let mut body = Vec::with_capacity(self.events as usize * 128);
        for index in 0..u64::from(self.events) {
            body.extend_from_slice(if index == 0 { b"[" } else { b"," });
            body.extend_from_slice(br#"{"event_type":"button_click","#);
            body.extend_from_slice(&(self.event)(connection, first + index)[1..]);
        }
        body.push(b']');
        body
    }
}

impl Options {
    fn kinds(&self) -> [Kind; 6] {
        [
            Kind::one(click, "", Some((25_000.0, 25.0))),
            Kind::one(identified_click, WITH_IDS, None),
            Kind::one_over(Form::Events, click),
            Kind::one_over(Form::Segment, click),
            Kind::many(self.batch, click, "", Some((150_000.0, 25.0))),
            Kind::many(self.batch, identified_click, WITH_IDS, Some((300_000.0, 25.0))),
        ]
    }

    fn connections(&self, kind: &Kind) -> u32 {
        if kind.events == 1 { self.connections } else { self.batch_connections }
    }
}

/// Measures everything.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let program = match &options.built {
        Some(program) => program.clone(),
        None => bootstraps::build_host(&[])?,
    };
    let folder = match &options.data {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir_in(program.parent().context("a program is in a folder")?),
    };
    let folder = folder.context("no folder for the data")?;
    let lasting = Duration::from_secs(options.seconds);
    let mut report = Report::default();
    let fsyncs = limits::fsyncs_a_second(folder.path(), lasting.min(Duration::from_secs(2)))?;
    report.add("the disk", "fsyncs one after the other", fsyncs, "a second", None);
    for kind in &options.kinds() {
        let data = folder.path().join(kind.name.replace('/', "-"));
        measure(&mut report, options, &program, &data, kind)?;
        if kind.form == Form::Segment {
            compare(&mut report, kind);
        }
        if kind.form == Form::Own {
            compare_with_bare(&mut report, options, kind)?;
        }
        // The store's limit is where it looks up no ids, and it knows no forms.
        if kind.name.ends_with(WITH_IDS) || kind.name.contains(" over ") {
            continue;
        }
        let store = limits::appends_a_second(
            &folder.path().join(format!("store, {}", kind.name)),
            options.connections(kind),
            kind.events as usize,
            lasting,
        )?;
        report.add(&kind.name, "the store without HTTP", store, "events a second", None);
        if let Some(over_http) = report.value(&kind.name, THROUGHPUT) {
            report.add(&kind.name, "share of that over HTTP", over_http / store * 100.0, "%", None);
        }
    }
    latest::measure(&mut report, options, &program, folder.path())?;
    Ok(report)
}

/// Compares the throughput of a kind of load with that of the same events over the route of all events.
fn compare(report: &mut Report, kind: &Kind) {
    let plain = Kind::one_over(Form::Events, kind.event);
    let of = |kind: &Kind| report.value(&kind.name, THROUGHPUT);
    if let (Some(own), Some(other)) = (of(kind), of(&plain)) {
        let share = own / other * 100.0;
        report.add(&kind.name, "share of that over /events", share, "%", Some(Target::AtLeast(90.0)));
    }
}

/// Compares the throughput of a kind of load with that of a bare router, which gets the same requests.
fn compare_with_bare(report: &mut Report, options: &Options, kind: &Kind) -> anyhow::Result<()> {
    let bare = Bare::start()?;
    let head = head(kind, bare.address, "bench:bare");
    let load = |lasting| Load { address: bare.address, connections: options.connections(kind), lasting };
    load(Duration::from_millis(500)).run(|connection, number| kind.body(connection, number), &head)?;
    let outcome = load(Duration::from_secs(options.seconds))
        .run(|connection, number| kind.body(connection, number), &head)?;
    let rate = as_f64(outcome.answered) / outcome.took.as_secs_f64();
    report.add(&kind.name, "a bare axum router", rate, "requests a second", None);
    if let Some(own) = report.value(&kind.name, THROUGHPUT) {
        report.add(&kind.name, "share of that", own / rate * 100.0, "%", Some(Target::AtLeast(80.0)));
    }
    Ok(())
}

const THROUGHPUT: &str = "acknowledged";

/// Returns the first lines of the requests of a kind.
fn head(kind: &Kind, address: SocketAddr, credentials: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {}\r\ncontent-type: application/json\r\n",
        kind.form.route(),
        BASE64_STANDARD.encode(credentials)
    )
}

fn measure(
    report: &mut Report,
    options: &Options,
    program: &Path,
    data: &Path,
    kind: &Kind,
) -> anyhow::Result<()> {
    let server = Server::start(program, data, None)?;
    let head = head(kind, server.address, &server.credentials);
    let load = |lasting| Load { address: server.address, connections: options.connections(kind), lasting };
    // The first requests find everything cold.
    load(Duration::from_millis(500)).run(|connection, number| kind.body(connection, number), &head)?;
    let process = server.process();
    let cpu = process.cpu()?;
    let outcome = load(Duration::from_secs(options.seconds))
        .run(|connection, number| kind.body(connection, number), &head)?;
    let cpu = process.cpu()?.saturating_sub(cpu);
    let events = as_f64(outcome.answered) * f64::from(kind.events);
    let (throughput, slowest) = kind.targets.unzip();
    report.add(
        &kind.name,
        THROUGHPUT,
        events / outcome.took.as_secs_f64(),
        "events a second",
        throughput.map(Target::AtLeast),
    );
    let millis = |percent| outcome.slower_than(percent).as_secs_f64() * 1e3;
    report.add(&kind.name, "half are answered within", millis(50), "ms", None);
    report.add(&kind.name, "99 of 100 are answered within", millis(99), "ms", slowest.map(Target::AtMost));
    report.add(&kind.name, "the server's CPU an event", cpu.as_secs_f64() * 1e6 / events, "µs", None);
    report.add(&kind.name, "resident at most", as_f64(process.peak()?) / 1e6, "MB", None);
    Ok(())
}

/// The click that a connection sends as its `number`th.
fn click(connection: u32, number: u64) -> Vec<u8> {
    let button = number % 20;
    format!(r#"{{"session_id":"session-{connection:08}-{number:012}","button_id":"button-{button}","label":"Buy"}}"#)
        .into_bytes()
}

fn identified_click(connection: u32, number: u64) -> Vec<u8> {
    let button = number % 20;
    format!(
        r#"{{"event_id":"{connection:08}-{number:012}","session_id":"session-{connection:08}","button_id":"button-{button}"}}"#
    )
    .into_bytes()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
pub(crate) fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;
    use weir_core::{Catalog, Event};

    use super::*;

    #[derive(Parser)]
    struct Usual {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn everything_that_is_sent_is_valid() {
        let catalog = Catalog::built_in().expect("it is");
        let definition = catalog.get(&"button_click".parse().expect("a type")).expect("it has one");
        for kind in Usual::parse_from(["http", "--batch", "7"]).options.kinds() {
            let body = String::from_utf8(kind.body(7, 42)).expect("text");
            let json: Value = serde_json::from_str(&body).expect("JSON");
            let json = json.pointer("/batch/0/properties").cloned().unwrap_or(json);
            let events = json.as_array().cloned().unwrap_or_else(|| vec![json]);
            assert_eq!(events.len(), kind.events as usize);
            for event in events {
                let event = event.to_string();
                assert!(definition.check(&Event::read(&event).expect("an event")).is_ok(), "{event}");
            }
        }
    }
}
