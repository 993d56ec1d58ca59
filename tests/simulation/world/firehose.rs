//! Firehose: takes records, and delivers them at least once, in any order, as gzip of one member or several.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_core::{BatchKey, Timestamp};

use super::{RAW, World};
use crate::{
    clock::wait,
    dice::Dice,
    events::TYPES,
    operations::{What, Who},
    operator::USERS,
};

/// A batch is delivered once it has so many records, or once its oldest is so old.
const RECORDS: usize = 12;
const AGE: u64 = 300_000;

#[derive(Default)]
pub(crate) struct Stream {
    waiting: Vec<(u64, Vec<u8>)>,
    /// What was delivered: each batch's lines, in their order.
    pub(crate) batches: BTreeMap<String, Vec<Vec<u8>>>,
    /// Lines of a batch of very many partitions, which no client sent.
    pub(crate) backlog: BTreeSet<Vec<u8>>,
    /// Batches whose objects are damaged, with their sound objects.
    damaged: BTreeMap<String, Bytes>,
    /// Batches whose objects were damaged.
    pub(crate) were_damaged: Vec<String>,
}

/// The lines of a record.
pub(crate) fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

impl Stream {
    /// Takes the entries of a call that are not refused; answers with what the call is answered, and what was taken.
    pub(crate) fn take(
        &mut self,
        call: &Value,
        now: u64,
        refuse: impl Fn() -> bool,
    ) -> (Value, Vec<Vec<u8>>) {
        let entries = call["Records"].as_array().unwrap();
        let mut taken = Vec::new();
        let mut failed = 0;
        let mut size = 0;
        let answers: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let data = BASE64_STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
                assert!(data.len() <= 1000 << 10, "a record of {} bytes", data.len());
                size += data.len();
                if refuse() {
                    failed += 1;
                    return json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."});
                }
                taken.extend(lines(&data).map(<[u8]>::to_vec));
                self.waiting.push((now, data));
                json!({"RecordId": "r"})
            })
            .collect();
        assert!(entries.len() <= 500 && size <= 4 << 20, "a call of {} records, {size} bytes", entries.len());
        (json!({"FailedPutCount": failed, "Encrypted": true, "RequestResponses": answers}), taken)
    }

    /// A stranger puts a record into the stream.
    pub(crate) fn put(&mut self, now: u64, data: &[u8]) {
        self.waiting.push((now, data.to_vec()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.damaged.is_empty()
    }
}

/// Delivers batches for as long as the run goes on.
pub(crate) async fn deliver(world: Arc<World>) {
    for look in 0.. {
        let who = Who::Delivery(look);
        wait(world.luck.number(who, What::Looks, 10_000, |dice| dice.range(3_000..40_000))).await;
        let now = world.clock.millis();
        let batch = {
            let mut stream = world.stream.lock().unwrap();
            let oldest = stream.waiting.iter().map(|(since, _)| *since).min();
            let due = stream.waiting.len() >= RECORDS || oldest.is_some_and(|oldest| oldest + AGE <= now);
            if !due && (world.faults.on() || stream.waiting.is_empty()) {
                continue;
            }
            let mut batch = std::mem::take(&mut stream.waiting);
            let shuffled = |dice: &Dice| if dice.chance(300) { dice.range(1..1_000_000) } else { 0 };
            let order = world.faults.number(who, What::Shuffled, shuffled);
            if order > 0 {
                Dice::new(order, "shuffled").shuffle(&mut batch);
                let late = batch.split_off(batch.len() - batch.len() / 3);
                stream.waiting.extend(late);
            }
            let repeated =
                |dice: &Dice| if dice.chance(150) { 1 + dice.range(0..batch.len() as u64) } else { 0 };
            let repeated = world.faults.number(who, What::Repeated, repeated);
            if let Some(which) = usize::try_from(repeated).unwrap().checked_sub(1) {
                let again = batch[which % batch.len()].1.clone();
                if world.faults.chance(who, What::RepeatedLater, 500) {
                    stream.waiting.push((now, again));
                } else {
                    batch.push((now, again));
                }
            }
            batch
        };
        put(&world, who, &batch.into_iter().map(|(_, data)| data).collect::<Vec<_>>());
    }
}

/// Puts a batch into raw, and tells the queue.
fn put(world: &World, who: Who, records: &[Vec<u8>]) {
    let now = Timestamp::saturating(world.clock.millis());
    let [year, month, day, hour] = now.hour().parts();
    let key = format!(
        "raw/{year}/{month:02}/{day:02}/{hour:02}/weir-1-{}-{:016x}.json.gz",
        now.to_string().replace([':', 'T'], "-").split('.').next().unwrap(),
        Dice::of(0, &who).next()
    );
    let two = world.faults.chance(who, What::TwoMembers, 400);
    let members = if two { 2 } else { 1 };
    let mut object = Vec::new();
    for part in records.chunks(records.len().div_ceil(members)) {
        let mut member = GzEncoder::new(object, Compression::fast());
        for data in part {
            member.write_all(data).unwrap();
        }
        object = member.finish().unwrap();
    }
    let lines: Vec<Vec<u8>> = records.iter().flat_map(|data| lines(data)).map(<[u8]>::to_vec).collect();
    world.note(&format!("firehose delivers {key}: {} lines", lines.len()));
    let mut object = Bytes::from(object);
    {
        let mut stream = world.stream.lock().unwrap();
        let damage = |dice: &Dice| if dice.chance(40) { dice.range(1..1_000_000) } else { 0 };
        let damage = world.faults.number(who, What::Damaged, damage);
        if damage > 0 && lines.iter().all(|line| is_record(line)) {
            world.note(&format!("{key} is damaged"));
            let damaged = damaged(&Dice::new(damage, "damaged"), &object);
            stream.damaged.insert(key.clone(), std::mem::replace(&mut object, damaged));
            stream.were_damaged.push(key.clone());
        }
        stream.batches.insert(key.clone(), lines);
    }
    world.objects.lock().unwrap().put(RAW, &key, object);
    world.announce(&key);
}

/// Whether a line is an event's: of a batch that has others, quarantine has these lines once it is repaired.
fn is_record(line: &[u8]) -> bool {
    let record: Value = serde_json::from_slice(line).unwrap_or_default();
    record["received_at"].as_u64() > Some(1)
}

/// An object that is cut, flipped somewhere, or followed by something else.
fn damaged(dice: &Dice, object: &Bytes) -> Bytes {
    let mut damaged = object.to_vec();
    match dice.range(0..3) {
        0 => damaged.truncate(object.len() - 1 - dice.index(6)),
        1 => damaged[10 + dice.index(10)] ^= 1 << dice.range(0..8),
        _ => damaged.extend(b"garbage"),
    }
    damaged.into()
}

/// Repairs damaged batches once quarantine names them, as docs/OPERATE.md says, and has them filed again.
pub(crate) async fn repair(world: Arc<World>) {
    for look in 0.. {
        let who = Who::Repair(look);
        wait(world.luck.number(who, What::Looks, 60_000, |dice| dice.range(20_000..200_000))).await;
        let damaged: Vec<String> = world.stream.lock().unwrap().damaged.keys().cloned().collect();
        for key in damaged {
            let noticed = format!("quarantine/{}.json.gz", BatchKey::new(key.clone()).id());
            if world.objects.lock().unwrap().of(RAW).contains_key(&noticed) {
                let sound = world.stream.lock().unwrap().damaged.remove(&key).unwrap();
                world.objects.lock().unwrap().put(RAW, &key, sound);
                world.note(&format!("{key} is repaired"));
                world.announce(&key);
            }
        }
    }
}

/// Delivers a batch of very many partitions in some runs: events of many hours, which a client sent late.
pub(crate) fn deliver_backlog(world: &World) {
    if world.luck.number(Who::Run, What::ManyPartitions, 0, |dice| u64::from(dice.chance(100))) == 0 {
        return;
    }
    let now = world.clock.millis();
    let mut lines = Vec::new();
    for (hours, username) in (0..17).flat_map(|hours| USERS.map(|user| (hours, user))) {
        for (event_type, ..) in TYPES {
            let (received_at, number) = (now - hours * 3_600_000, lines.len());
            let line = format!(
                "{{\"event_id\":\"backlog-{number}\",\"username\":\"{username}\",\"event_type\":\"{event_type}\",\"received_at\":{received_at}}}\n"
            );
            lines.push(line.into_bytes());
        }
    }
    let without_end = |line: &Vec<u8>| line[..line.len() - 1].to_vec();
    world.stream.lock().unwrap().backlog = lines.iter().map(without_end).collect();
    put(world, Who::Backlog, &lines);
}
