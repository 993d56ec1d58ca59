//! What is done to every event: `cargo bench -p weir-bench`. Each group begins with the least that could be done with the
//! same bytes, so that its other figures can be told as multiples of that, whatever the machine.
#![allow(missing_docs, reason = "criterion makes public functions that are never called")]

use std::{
    hint::black_box,
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use authorizer::Authorizer;
use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde_json::Value;
use weir_core::{
    BatchKey, Catalog, Event, EventId, Record, RecordHead, SeededRandom, Stamp, SystemClock, Timestamp,
    Username,
    ports::{PortError, Users},
    users::{AccessKey, Scope, Secret, SecretHash, StoredUser, User, generate},
};

/// 2026-11-20 13:00 UTC.
const NOW: u64 = 1_795_179_605_007;

fn click(number: usize) -> String {
    format!(
        r#"{{"event_type":"button_click","session_id":"session-{number:08}","button_id":"button-{}","label":"Buy"}}"#,
        number % 20
    )
}

fn records(number: usize) -> Vec<Record> {
    let (catalog, random) = (Catalog::built_in().expect("it is valid"), SeededRandom::new(1));
    (0..number).map(|number| record(&catalog, &click(number), &random)).collect()
}

/// All that the collector does between an event's bytes and its line.
fn record(catalog: &Catalog, text: &str, random: &SeededRandom) -> Record {
    let event = Event::read(text).expect("an event");
    let event_type = event.event_type.clone().expect("it names its type");
    let definition = catalog.get(&event_type).expect("a type of the catalog");
    let key = definition.check(&event).expect("it is valid");
    let received_at = Timestamp::saturating(NOW);
    let event_id = EventId::generate(received_at, random);
    let username: Username = "ethan".parse().expect("a name");
    Record::accepted(&event, &event_type, key, Stamp { username, event_id, received_at })
}

fn validate(criterion: &mut Criterion) {
    let (catalog, random, text) = (Catalog::built_in().expect("valid"), SeededRandom::new(1), click(1));
    let mut group = criterion.benchmark_group("validate");
    group.throughput(Throughput::Elements(1));
    group.bench_function("JSON read, nothing else", |bench| {
        bench.iter(|| serde_json::from_str::<Value>(black_box(&text)));
    });
    group.bench_function("a click: read, checked, stamped, written", |bench| {
        bench.iter(|| record(&catalog, black_box(&text), &random));
    });
    let wrong = r#"{"event_type":"button_click","session_id":7}"#;
    let event = Event::read(wrong).expect("an event");
    let definition = catalog.get(&"button_click".parse().expect("a name")).expect("it is there");
    group.bench_function("a click with two errors: checked", |bench| {
        bench.iter(|| definition.check(black_box(&event)).expect_err("it is not valid"));
    });
    group.finish();
}

fn pack(criterion: &mut Criterion) {
    let records = records(100);
    let bytes: usize = records.iter().map(|record| record.line().len()).sum();
    let mut group = criterion.benchmark_group("pack");
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 lines copied, nothing else", |bench| {
        bench.iter(|| {
            let mut lines = Vec::with_capacity(bytes);
            for record in black_box(&records) {
                lines.extend_from_slice(record.line());
            }
            lines
        });
    });
    group.bench_function("100 events into Firehose records", |bench| {
        bench.iter(|| weir_aws::pack(black_box(&records)));
    });
    group.finish();
}

fn partition(criterion: &mut Criterion) {
    let records = records(1000);
    let lines: Vec<u8> = records.iter().flat_map(|record| record.line().to_vec()).collect();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&lines).expect("memory takes it");
    let batch = gzip.finish().expect("memory takes it");
    let id = BatchKey::new("2026/11/20/13/weir-1-2026-11-20-13-00-00-0a1b2c3d.gz").id();
    let mut group = criterion.benchmark_group("partition");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1,000 lines unpacked, nothing else", |bench| {
        bench.iter(|| {
            let mut unpacked = Vec::with_capacity(lines.len());
            MultiGzDecoder::new(black_box(&batch[..])).read_to_end(&mut unpacked).map(|_| unpacked)
        });
    });
    group.bench_function("1,000 lines routed", |bench| {
        bench.iter(|| {
            for record in black_box(&records) {
                black_box(RecordHead::read(record.line().trim_ascii_end()).expect("a record"));
            }
        });
    });
    let head = RecordHead::read(records[0].line().trim_ascii_end()).expect("a record");
    group.throughput(Throughput::Elements(1));
    group.bench_function("an object's name", |bench| bench.iter(|| black_box(&head).partition.object(&id)));
    group.finish();
}

/// Returns the same user for every name.
struct One(StoredUser);

#[async_trait]
impl Users for One {
    async fn stored(&self, _: &Username) -> Result<Option<StoredUser>, PortError> {
        Ok(Some(self.0.clone()))
    }
}

fn basic_check(criterion: &mut Criterion) {
    let (now, random) = (Timestamp::saturating(NOW), SeededRandom::new(1));
    let label = || "web".parse().expect("a label");
    let (generated, secret) = generate(label(), Scope::Both, now, &random);
    let password = Secret::presented("correct horse battery staple");
    let hash = SecretHash::of_password(&password, &random).expect("long enough");
    let chosen = AccessKey { label: label(), scope: Scope::Both, created_at: now, expires_at: None, hash };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let authorizer = |key: AccessKey, cached| {
        let mut user = User::new("ethan".parse().expect("a name"));
        user.add(key, now).expect("it has none");
        let stored = StoredUser::try_from(&user).expect("plain data");
        Authorizer::new(Arc::new(One(stored)), Arc::new(SystemClock), &random, cached)
    };
    let header =
        |secret: &Secret| format!("Basic {}", BASE64_STANDARD.encode(format!("ethan:{}", secret.reveal())));
    let mut group = criterion.benchmark_group("Basic check");
    for (name, key, secret, cached) in [
        ("known credentials", &generated, &secret, Duration::from_hours(1)),
        ("a generated secret", &generated, &secret, Duration::ZERO),
        ("a chosen password", &chosen, &password, Duration::ZERO),
    ] {
        let (authorizer, header) = (authorizer(key.clone(), cached), header(secret));
        group.bench_function(name, |bench| {
            bench.iter(|| runtime.block_on(authorizer.authorize(Some(black_box(&header)))).expect("right"));
        });
    }
    group.finish();
}

criterion_group! {
    name = events;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = validate, pack, partition, basic_check
}
criterion_main!(events);
