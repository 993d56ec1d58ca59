//! What is stored: everything that was acknowledged, once, as it was sent, where it belongs; and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use weir_core::{BatchKey, Hour, Timestamp};

use super::{Broken, count, text, unzipped};
use crate::{
    ledger::{Exchange, Form, Ledger, marked},
    stranger,
    world::{RAW, World},
};

/// All objects of the lake and of quarantine.
#[derive(PartialEq, Eq)]
pub(crate) struct Lake {
    objects: BTreeMap<String, Bytes>,
    quarantine: BTreeMap<String, Bytes>,
}

impl Lake {
    pub(crate) fn of(world: &World) -> Self {
        let objects = world.objects.lock().unwrap();
        let quarantine =
            objects.of(RAW).into_iter().filter(|(key, _)| key.starts_with("quarantine/")).collect();
        Self { objects: objects.lake(), quarantine }
    }

    /// The lines of all objects, with their paths.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, Value)> {
        self.objects.iter().flat_map(|(path, object)| {
            let lines = split(&unzipped(object));
            lines.into_iter().map(move |line| (path.as_str(), serde_json::from_slice(&line).unwrap()))
        })
    }
}

fn split(text: &[u8]) -> Vec<Vec<u8>> {
    assert!(text.is_empty() || text.ends_with(b"\n"), "an object ends with a whole line");
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

pub(super) fn acknowledged_is_stored(ledger: &Ledger, lake: &Lake, broken: &mut Broken) {
    let stored: BTreeSet<usize> = lake.lines().filter_map(|(_, line)| marked(&line)).collect();
    for exchange in &ledger.exchanges {
        for (event, said) in exchange.events.iter().zip(&exchange.said) {
            if said.is_acknowledged() && !stored.contains(event) {
                let name = &exchange.origin.who;
                broken.push(("acknowledged is stored", format!("{name} was told {said:?} of e{event}")));
            }
        }
    }
}

/// A request's event is sent again only where it is not known to be taken.
pub(super) fn stored_once(ledger: &Ledger, broken: &mut Broken) {
    for exchange in &ledger.exchanges {
        let mut told: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for taken in exchange.origin.appended.lock().unwrap().iter().filter(|taken| taken.told) {
            taken.lines.iter().for_each(|line| count(&mut told, line.clone(), 1));
        }
        if let Some((line, times)) = told.iter().find(|(_, times)| **times > 1) {
            let line = String::from_utf8_lossy(&line[..line.len().min(200)]);
            broken.push(("stored once", format!("{} stored {times} times: {line}", exchange.origin.who)));
        }
    }
}

/// An event with an id is stored again only where the call that stored it was not answered, or where it could not be
/// marked as stored.
pub(super) fn stored_once_in_all(ledger: &Ledger, broken: &mut Broken) {
    let mut all: BTreeMap<String, Vec<(u64, bool, &Exchange)>> = BTreeMap::new();
    for exchange in &ledger.exchanges {
        for taken in exchange.origin.appended.lock().unwrap().iter() {
            for line in &taken.lines {
                let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
                let form = marked(&record).map(|event| &ledger.events[event].form);
                if let Some(Form::Valid { event_id: Some(id), .. }) = form {
                    let id = format!("{}/{id}", text(&record, "username"));
                    all.entry(id).or_default().push((taken.at, taken.told, exchange));
                }
            }
        }
    }
    for (id, mut takes) in all {
        takes.sort_by_key(|(at, ..)| *at);
        for (_, told, exchange) in &takes[..takes.len() - 1] {
            let origin = &exchange.origin;
            let marked = origin.marked.lock().unwrap().contains(&id);
            let failed = origin.was_disturbed() && origin.tried_to_mark.lock().unwrap().contains(&id);
            let died = exchange.status.is_none();
            if *told && (marked || !(failed || died)) {
                let details = format!("{id} was stored by {} (marked: {marked}), and again", origin.who);
                broken.push(("stored once", details));
            }
        }
    }
}

/// What was delivered to raw is, to the byte, what a client sent, with what is stamped before it.
pub(super) fn as_sent(world: &World, ledger: &Ledger, broken: &mut Broken) {
    let mut times: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for exchange in &ledger.exchanges {
        for event in &exchange.events {
            times.entry(*event).or_default().push((exchange.began, exchange.ended));
        }
    }
    let garbage: BTreeSet<&Vec<u8>> = ledger.garbage.iter().collect();
    let stream = world.stream.lock().unwrap();
    for line in stream.batches.values().flatten() {
        if garbage.contains(line) || stream.backlog.contains(line) {
            continue;
        }
        if let Err(why) = one_as_sent(ledger, &times, line) {
            let line = String::from_utf8_lossy(&line[..line.len().min(300)]);
            broken.push(("stored is as sent", format!("{why}: {line}")));
        }
    }
}

fn one_as_sent(
    ledger: &Ledger,
    times: &BTreeMap<usize, Vec<(u64, u64)>>,
    line: &[u8],
) -> Result<(), &'static str> {
    let record: Value = serde_json::from_slice(line).map_err(|_| "not JSON")?;
    let event = marked(&record).ok_or("no client sent it")?;
    let sent = ledger.events.get(event).ok_or("no client sent it")?;
    let received = record["received_at"].as_u64().ok_or("not stamped")?;
    let time = event_time(&record);
    if record["time"] != time {
        return Err("it has another time");
    }
    let id = text(&record, "event_id");
    if record["username"] != sent.username.as_str() {
        return Err("another user sent it");
    }
    if !times
        .get(&event)
        .is_some_and(|times| times.iter().any(|(from, to)| (*from..=*to).contains(&received)))
    {
        return Err("it was not sent at that time");
    }
    match &sent.form {
        Form::Valid { event_type, event_id, rest, .. } => {
            let expected = format!(
                "{{\"time\":{time},\"event_id\":\"{id}\",\"username\":\"{}\",\"event_type\":\"{event_type}\",\"received_at\":{received}{rest}",
                sent.username
            );
            if expected.as_bytes() != line {
                return Err("it was sent otherwise");
            }
            if event_id.as_ref().is_some_and(|sent| sent != id) {
                return Err("it has another identity");
            }
        }
        Form::Invalid => {
            let errors = record["errors"].as_array().is_some_and(|errors| !errors.is_empty());
            if record["event_type"] != "rejected" || record["body"] != sent.text.as_str() || !errors {
                return Err("it was rejected otherwise");
            }
        }
    }
    Ok(())
}

/// Each batch's good lines lie in the lake in the batch's own objects, and nothing else does.
pub(super) fn lake_is_what_was_delivered(world: &World, ledger: &Ledger, lake: &Lake, broken: &mut Broken) {
    let garbage: BTreeSet<&Vec<u8>> = ledger.garbage.iter().collect();
    let mut expected: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (key, lines) in &world.stream.lock().unwrap().batches {
        let mut seen = BTreeSet::new();
        for line in lines.iter().filter(|line| !garbage.contains(line)) {
            let record: Value = serde_json::from_slice(line).unwrap();
            // An event that comes again in a batch is filed once. An id that Weir made is another one than the same text from
            // a client.
            let id = ["username", "event_id"].map(|name| text(&record, name).to_owned());
            let form = marked(&record).map(|event| &ledger.events[event].form);
            let given = matches!(form, Some(Form::Valid { event_id: Some(_), .. }));
            if seen.insert((id, record["event_type"] == "rejected", given)) {
                let path = format!("{}/{}.json.gz", place(&record), BatchKey::new(key.clone()).id());
                expected.entry(path).or_default().push(line.clone());
            }
        }
    }
    let mut found: BTreeMap<String, Vec<Vec<u8>>> =
        lake.objects.iter().map(|(path, object)| (path.clone(), split(&unzipped(object)))).collect();
    expected.values_mut().chain(found.values_mut()).for_each(|lines| lines.sort());
    let paths: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for path in paths {
        let lines = [&expected, &found].map(|objects| objects.get(path).map(Vec::len));
        if expected.get(path) != found.get(path) {
            let [expected, found] = lines;
            let details = format!("{path} should have {expected:?} lines and has {found:?}");
            broken.push(("lake is what was delivered", details));
        }
    }
}

/// Where a record belongs.
fn place(record: &Value) -> String {
    let hour = Timestamp::saturating(event_time(record)).hour();
    format!("username={}/{}/{}", text(record, "username"), text(record, "event_type"), folders(hour))
}

/// When a record's event happened, in milliseconds, worked out from what its client said and from its arrival.
pub(crate) fn event_time(record: &Value) -> u64 {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let received = record["received_at"].as_u64().unwrap();
    let stated = record["occurred_at"].as_u64().filter(|_| record["event_type"] != "rejected");
    stated.filter(|at| *at + 400 * DAY >= received && *at <= received + 600_000).unwrap_or(received)
}

fn folders(hour: Hour) -> String {
    let [year, month, day, hour] = hour.parts();
    format!("year={year}/month={month}/day={day}/hour={hour}")
}

pub(super) fn places(lake: &Lake, broken: &mut Broken) {
    for (path, record) in lake.lines() {
        if path.rsplit_once('/').map(|(folder, _)| folder) != Some(&place(&record)) {
            broken.push(("lake's places", format!("{path} has a record of {}", place(&record))));
        }
    }
}

/// What a stranger wrote is in quarantine, and the name of each batch that was damaged, with a reason; and nothing else is.
pub(super) fn quarantine(world: &World, ledger: &Ledger, broken: &mut Broken) {
    let garbage: BTreeSet<&Vec<u8>> = ledger.garbage.iter().collect();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (key, lines) in &world.stream.lock().unwrap().batches {
        lines.iter().filter(|line| garbage.contains(line)).for_each(|line| {
            count(&mut expected, format!("{key} {:?}", String::from_utf8_lossy(line)), 1);
        });
    }
    // A damaged batch is named, with no line.
    for key in &world.stream.lock().unwrap().were_damaged {
        count(&mut expected, format!("{key} {:?}", ""), 1);
    }
    for key in &ledger.junk {
        count(&mut expected, format!("{key} {:?}", stranger::JUNK), 1);
    }
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for object in Lake::of(world).quarantine.values() {
        for line in split(&unzipped(object)) {
            let entry: Value = serde_json::from_slice(&line).unwrap();
            let bytes = match entry["base64"].as_str() {
                Some(base64) => aws_smithy_types::base64::decode(base64).unwrap(),
                None => text(&entry, "text").into(),
            };
            assert!(!text(&entry, "reason").is_empty(), "{entry}");
            count(&mut found, format!("{} {:?}", text(&entry, "batch"), String::from_utf8_lossy(&bytes)), 1);
        }
    }
    if expected != found {
        broken.push(("quarantine", format!("it should have {expected:?} and has {found:?}")));
    }
}
