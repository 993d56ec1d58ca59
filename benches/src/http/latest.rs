//! Latest values: how many updates a second are durable, and how long a read takes meanwhile.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Options, THROUGHPUT, as_f64,
    load::{Load, whole},
    server::Server,
};
use crate::report::{Report, Target};

const NAME: &str = "latest values, 100 a request";
const BESIDE: &str = "latest values, read beside that many updates";

/// Updates a second that are to be durable, and beside which reads are to be fast.
const TARGET: f64 = 100_000.0;

/// Reads a second.
const READS: f64 = 1_000.0;

const EVENTS: u32 = 100;
const SENSORS: u64 = 1000;

/// The event type of docs/LATEST.md.
const CATALOG: &str = r#"{"type": "object", "x-weir": {"route": "/sensor/reading", "latest_by": "sensor_id"},
    "properties": {"sensor_id": {"type": "string"}, "celsius": {"type": "number"}}, "required": ["sensor_id"]}"#;

/// Measures a server of its own, in a folder that is removed in the end.
pub(super) fn measure(
    report: &mut Report,
    options: &Options,
    program: &Path,
    folder: &Path,
) -> anyhow::Result<()> {
    let catalog = folder.join("catalog");
    fs::create_dir(&catalog).context("no folder for the catalog")?;
    fs::write(catalog.join("reading.json"), CATALOG).context("the catalog cannot be written")?;
    let server = Server::start(program, &folder.join("readings"), Some(&catalog))?;
    let head = |line: &str| {
        let credentials = BASE64_STANDARD.encode(&server.credentials);
        format!("{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {credentials}\r\n", server.address)
    };
    let (write, read) = (head("POST /events"), head("GET /sensor/reading/latest?sensor_id=sensor-7"));
    let load = |connections, lasting| Load { address: server.address, connections, lasting };
    load(options.batch_connections, Duration::from_millis(500)).run(readings, &write)?;
    let lasting = Duration::from_secs(options.seconds);
    let written = load(options.batch_connections, lasting).run(readings, &write)?;
    let updates = as_f64(written.answered) * f64::from(EVENTS) / written.took.as_secs_f64();
    report.add(NAME, THROUGHPUT, updates, "updates a second", Some(Target::AtLeast(TARGET)));
    let millis = |of: Duration| of.as_secs_f64() * 1e3;
    report.add(NAME, "99 of 100 are answered within", millis(written.slower_than(99)), "ms", None);
    // Reads are measured at the target's rate, and not at the most that the server can do: there, a queue before the
    // processors would be measured.
    let (written, was_read) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let writers = load(options.batch_connections, lasting);
            writers.run_paced(TARGET / f64::from(EVENTS), |connection, number| {
                whole(&write, &readings(connection, number))
            })
        });
        let was_read = load(1, lasting).run_paced(READS, |_, _| whole(&read, b""));
        (writing.join().map_err(|_| anyhow!("the load panicked")), was_read)
    });
    let (written, was_read) = (written??, was_read?);
    let updates = as_f64(written.answered) * f64::from(EVENTS) / written.took.as_secs_f64();
    report.add(BESIDE, THROUGHPUT, updates, "updates a second", None);
    report.add(BESIDE, "half of the reads are answered within", millis(was_read.slower_than(50)), "ms", None);
    let slowest = millis(was_read.slower_than(99));
    report.add(BESIDE, "99 of 100 reads are answered within", slowest, "ms", Some(Target::AtMost(1.0)));
    Ok(())
}

/// The readings that a connection sends as its `number`th request.
fn readings(connection: u32, number: u64) -> Vec<u8> {
    let reading = |index: u64| {
        let sensor = (number * u64::from(EVENTS) + index * 7 + u64::from(connection)) % SENSORS;
        let celsius = index % 40;
        format!(
            r#"{{"event_type":"reading","sensor_id":"sensor-{sensor}","celsius":{celsius}.5,"unit":"degrees Celsius"}}"#
        )
    };
    let readings: Vec<String> = (0..u64::from(EVENTS)).map(reading).collect();
    format!("[{}]", readings.join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use weir_core::{Catalog, Event};

    use super::*;

    #[test]
    fn everything_that_is_sent_is_valid_and_a_latest_value() {
        let catalog = Catalog::read([("reading.json", CATALOG)]).expect("it is");
        let definition = catalog.iter().next().expect("it has one");
        let events: Vec<Value> = serde_json::from_slice(&readings(3, 5)).expect("JSON");
        assert_eq!(events.len(), EVENTS as usize);
        for event in events {
            let text = event.to_string();
            let event = Event::read(&text).expect("an event");
            assert!(definition.check(&event).is_ok() && definition.latest_key(&event).is_some(), "{text}");
        }
    }
}
