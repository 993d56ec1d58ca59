//! A batch as Firehose really writes it, which the emulator does not: gzip of several members, 50,000 events of 200
//! partitions, some lines broken. Every good line ends in its partition exactly once, every broken one in quarantine
//! with its reason, and memory stays below that of a small function.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod emulator;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::Arc,
};

use emulator::{COUNTS, Emulator, LAKE, RAW, shards};
use fan_out::FanOut;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use weir_core::{
    BatchKey,
    ports::{LakeObjects, Settled, SettledCounts},
};

const HOUR: u64 = 3_600_000;
const NOON: u64 = 1_795_176_000_000;

/// Line `n` of the batch: its partition if it is a good one, and its text.
fn line(n: usize) -> (Option<String>, String) {
    // 10 users × 4 types × 5 hours.
    let (user, of, hour) = (n % 10, n / 10 % 4, n / 40 % 5);
    let username = format!("user-{user}");
    let event_type = ["button_click", "page_view", "prediction", "rejected"][of];
    let received_at = NOON + hour as u64 * HOUR + n as u64 % HOUR;
    let good = json!({"event_id": format!("e-{n}"), "username": username, "event_type": event_type,
        "received_at": received_at, "text": format!("é {}", "x".repeat(n % 200))})
    .to_string();
    match n % 1000 {
        1 => (None, good[..good.len() / 2].to_owned()),
        2 => (None, good.replace("user-", "../user-")),
        3 => (None, good.replace("\"event_id\"", "\"id\"")),
        4 => (None, "not JSON at all".to_owned()),
        _ => {
            let partition = weir_core::RecordHead::read(good.as_bytes()).unwrap().partition;
            (Some(partition.to_string()), good)
        }
    }
}

/// The batch: a member for every 1,000 lines, every other one with CRLF.
fn batch() -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in 0..50 {
        let mut gzip = GzEncoder::new(&mut bytes, Compression::default());
        for n in member * 1000..(member + 1) * 1000 {
            let end = if member % 2 == 0 { "\n" } else { "\r\n" };
            gzip.write_all((line(n).1 + end).as_bytes()).unwrap();
        }
        gzip.finish().unwrap();
    }
    bytes
}

async fn lines_of(emulator: &Emulator, bucket: &str, key: &str) -> Vec<String> {
    let object = emulator.s3().get_object().bucket(bucket).key(key).send().await.unwrap();
    let bytes = object.body.collect().await.unwrap().into_bytes();
    let mut text = String::new();
    MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The most memory that this process had so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_real_batch_is_where_it_belongs_and_memory_stays_small() {
    let emulator = Emulator::start().await;
    let key = BatchKey::new("raw/2026/11/20/12/weir-events-1-2026-11-20-12-00-00-3f1c.json.gz");
    let body = batch().into();
    emulator.s3().put_object().bucket(RAW).key(key.as_str()).body(body).send().await.unwrap();
    let aws = emulator.aws();
    let counts = aws.counts(COUNTS, shards(1));
    let fan_out = FanOut::new(
        Arc::new(aws.raw(RAW)),
        Arc::new(aws.lake(LAKE, false)),
        Arc::new(aws.quarantine(RAW)),
        Arc::new(counts.clone()),
    );
    let filed = fan_out.file(&key).await.unwrap();
    let peak = peak_memory();
    assert!(peak < 128 * 1024, "{peak} KiB");
    assert_eq!((filed.events, filed.partitions, filed.quarantined_lines), (49_800, 200, 200));

    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut broken = Vec::new();
    for n in 0..50_000 {
        match line(n) {
            (Some(partition), text) => expected.entry(partition).or_default().push(text),
            (None, text) => broken.push((n as u64 + 1, text)),
        }
    }
    let objects = aws.lake(LAKE, false).list(None, 10_000).await.unwrap();
    assert_eq!(objects.len(), 200);
    for path in &objects {
        let (partition, _) = path.rsplit_once('/').unwrap();
        assert_eq!(lines_of(&emulator, LAKE, path).await, expected[partition], "{partition}");
    }
    let quarantine = lines_of(&emulator, RAW, &format!("quarantine/{}.json.gz", key.id())).await;
    let quarantine: Vec<Value> = quarantine.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(quarantine.iter().all(|entry| entry["reason"].as_str().unwrap().starts_with("not a record: ")));
    let kept: Vec<(u64, String)> = quarantine
        .iter()
        .map(|entry| (entry["line"].as_u64().unwrap(), entry["text"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(kept, broken);

    assert_eq!(fan_out.file(&key).await.unwrap().settled, Some(Settled::Before));
    for user in 0..10 {
        let user = format!("user-{user}");
        let settled: u64 = counts.totals(&user.parse().unwrap()).await.unwrap().by_type.values().sum();
        let own = format!("username={user}/");
        let in_lake: usize =
            expected.iter().filter(|(path, _)| path.starts_with(&own)).map(|(_, lines)| lines.len()).sum();
        assert_eq!(settled, in_lake as u64);
    }
}
