//! What an engine leaves unfinished, the next one on the folder finishes: nothing is lost and nothing is repeated.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "recovery/put_back.rs"]
mod put_back;

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc, time::Duration};

use weir_core::{
    Counter, Event, ManualClock, Record, Stamp, SystemClock, Timestamp,
    counts::KeysRequest,
    ports::{Appended, LiveCounts, Stream},
};
use weir_embedded::{Deliveries, Embedded, Flush, OpenError};

const NEVER: Flush = Flush { every: Duration::from_hours(1), size: u64::MAX };

fn open(folder: &Path, flush: Flush) -> (Embedded, Deliveries) {
    // An engine that was dropped lets go of the folder once its threads have ended.
    for _ in 0..10_000 {
        match Embedded::open(folder, flush, Arc::new(SystemClock)) {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("the folder stays in use");
}

fn record(n: u64) -> Record {
    let stamp = Stamp {
        username: "u".parse().unwrap(),
        event_id: format!("e-{n}").parse().unwrap(),
        received_at: Timestamp::saturating(1_795_179_605_007),
    };
    let key = format!("k{}", n % 3).parse().unwrap();
    Record::accepted(&Event::read("{}").unwrap(), &"t".parse().unwrap(), Some(key), stamp)
}

async fn append(engine: &Embedded, numbers: impl IntoIterator<Item = u64>) {
    let outcomes = engine.append(numbers.into_iter().map(record).collect()).await;
    assert!(outcomes.iter().all(Appended::is_durable));
}

async fn total(engine: &Embedded) -> u64 {
    let counter = Counter { username: "u".parse().unwrap(), event_type: "t".parse().unwrap(), key: None };
    engine.read(&[counter]).await.unwrap()[0]
}

/// All lines in raw, each with how often it is there.
fn lines_in_raw(folder: &Path) -> BTreeMap<String, usize> {
    fn visit(folder: &Path, lines: &mut BTreeMap<String, usize>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, lines);
                continue;
            }
            let mut text = String::new();
            let file = std::fs::File::open(path).unwrap();
            flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
            for line in text.lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
    let mut lines = BTreeMap::new();
    visit(&folder.join("raw"), &mut lines);
    lines
}

fn expected(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<String, usize> {
    let line = |n| String::from_utf8(record(n).line().to_vec()).unwrap().trim_end().to_owned();
    numbers.into_iter().map(|n| (line(n), 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_sudden_end_is_counted_and_delivered_after_it() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let (engine, _deliveries) = open(folder.path(), NEVER);
        assert_eq!(total(&engine).await, round * 10);
        append(&engine, round * 10..round * 10 + 10).await;
        assert_eq!(total(&engine).await, round * 10 + 10);
    }
    let (engine, mut deliveries) = open(folder.path(), NEVER);
    engine.stop().await.unwrap();
    assert!(deliveries.next().await.is_some());
    assert_eq!(lines_in_raw(folder.path()), expected(0..50));
    assert_eq!(total(&engine).await, 50);
    let page = KeysRequest { after: None, limit: 2 };
    let keys = engine.keys(&"u".parse().unwrap(), &"t".parse().unwrap(), &page).await.unwrap();
    let keys: Vec<_> = keys.into_iter().map(|key| (key.key.as_str().to_owned(), key.count)).collect();
    assert_eq!(keys, [("k0".to_owned(), 17), ("k1".to_owned(), 17)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_handed_out_at_every_start_until_it_is_filed() {
    let folder = tempfile::tempdir().unwrap();
    let batch = {
        let (engine, mut deliveries) = open(folder.path(), NEVER);
        append(&engine, 0..10).await;
        engine.flush().await.unwrap();
        deliveries.next().await.unwrap()
    };
    for _ in 0..2 {
        let (_engine, mut deliveries) = open(folder.path(), NEVER);
        assert_eq!(deliveries.next().await.unwrap(), batch);
    }
    {
        let (engine, mut deliveries) = open(folder.path(), NEVER);
        deliveries.next().await.unwrap();
        assert_eq!(weir_embedded::not_filed_yet(folder.path()).unwrap().events, 10);
        engine.filed(&batch).await.unwrap();
        assert_eq!(weir_embedded::not_filed_yet(folder.path()).unwrap().events, 0);
    }
    let (engine, mut deliveries) = open(folder.path(), NEVER);
    append(&engine, 10..11).await;
    engine.stop().await.unwrap();
    let next = deliveries.next().await.unwrap();
    assert_ne!(next, batch);
    assert!(next.as_str().ends_with("00000000000000000011-00000000000000000011.json.gz"), "{next}");
    drop(engine);
    assert!(deliveries.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_at_every_moment_while_batches_are_cut_and_applied() {
    let folder = tempfile::tempdir().unwrap();
    let flush = Flush { every: Duration::from_millis(5), size: 4096 };
    let (engine, _deliveries) = open(folder.path(), flush);
    for n in 0..400 {
        append(&engine, n * 5..n * 5 + 5).await;
        // The only writer reads what it wrote, no less and no more.
        assert_eq!(total(&engine).await, n * 5 + 5);
    }
    engine.flush().await.unwrap();
    assert_eq!(total(&engine).await, 2000);
    assert_eq!(lines_in_raw(folder.path()), expected(0..2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_cut_by_size_in_the_commit_that_fills_it() {
    let folder = tempfile::tempdir().unwrap();
    let flush = Flush { size: 1000, ..NEVER };
    let (engine, mut deliveries) = open(folder.path(), flush);
    append(&engine, 0..1).await;
    append(&engine, 1..100).await;
    let batch = deliveries.next().await.unwrap();
    assert!(batch.as_str().ends_with("00000000000000000001-00000000000000000100.json.gz"), "{batch}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_cannot_serve_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!weir_embedded::is_served(folder.path()));
    let (_engine, _deliveries) = open(folder.path(), NEVER);
    let second = Embedded::open(folder.path(), NEVER, Arc::new(SystemClock));
    assert!(matches!(second, Err(OpenError::InUse(_))));
    assert!(weir_embedded::is_served(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_refuses_events_instead_of_losing_them() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _deliveries) = open(folder.path(), NEVER);
    engine.stop().await.unwrap();
    let outcomes = engine.append(vec![record(0), record(1)]).await;
    assert!(outcomes.len() == 2 && outcomes.iter().all(|outcome| !outcome.is_durable()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Embedded::open(&file, NEVER, Arc::new(SystemClock)).err().unwrap().to_string();
    assert!(error.contains("file"), "{error}");
    std::fs::write(folder.path().join("events.db"), "this is no database, it is a text of some length")
        .unwrap();
    let error = Embedded::open(folder.path(), NEVER, Arc::new(SystemClock)).err().unwrap().to_string();
    assert!(error.contains("events.db") && error.contains("not a database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_put_back_from_a_copy_under_an_earlier_clock_replaces_no_batch_and_takes_new_numbers() {
    let (first, put_back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut folder = first.path();
    // The clock is set back to before the first batch; the copy knows of that one only.
    for (round, hours_back) in [(0, 0), (1, 2), (2, 2)] {
        let now = Timestamp::saturating(1_795_179_605_007 - hours_back * 3_600_000);
        let clock = Arc::new(ManualClock::at(now));
        let (engine, mut deliveries) = loop {
            match Embedded::open(folder, NEVER, clock.clone()) {
                Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
                other => break other.unwrap(),
            }
        };
        append(&engine, round * 10..round * 10 + 10).await;
        engine.stop().await.unwrap();
        assert!(deliveries.next().await.is_some());
        if round == 0 {
            let db = rusqlite::Connection::open(folder.join("events.db")).unwrap();
            let copy = put_back.path().join("events.db");
            db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        }
        drop((engine, deliveries));
        if round == 1 {
            std::fs::rename(folder.join("raw"), put_back.path().join("raw")).unwrap();
            folder = put_back.path();
        }
    }
    assert_eq!(lines_in_raw(folder), expected(0..30));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_copys_journal_and_a_batch_in_raw_have_are_delivered_once_over_any_number_of_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copy) = (folder.path().join("events.db"), folder.path().join("copy"));
    let (engine, deliveries) = open(folder.path(), NEVER);
    append(&engine, 0..3).await;
    let db = rusqlite::Connection::open(&store).unwrap();
    db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    drop(db);
    // The batch begins in the copy's journal and ends after it.
    append(&engine, 3..6).await;
    engine.stop().await.unwrap();
    drop((engine, deliveries));
    drop(open(folder.path(), NEVER));
    for log in ["events.db-wal", "events.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(log));
    }
    std::fs::rename(copy, &store).unwrap();
    for start in 0..3 {
        let (engine, mut deliveries) = open(folder.path(), NEVER);
        if start > 0 {
            append(&engine, 3 + start * 3..6 + start * 3).await;
        }
        engine.flush().await.unwrap();
        let batch = deliveries.next().await.unwrap();
        engine.filed(&batch).await.unwrap();
        // What the copy knew is counted once; what only raw has is for an audit to add.
        assert_eq!(total(&engine).await, 3 + start * 3);
    }
    assert_eq!(lines_in_raw(folder.path()), expected(0..12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_put_back_beside_batches_of_another_history_loses_none_of_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copy) = (folder.path().join("events.db"), folder.path().join("copy"));
    let remove_store = || {
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
    };
    // The journal has the numbers 1 to 3.
    let opened = open(folder.path(), NEVER);
    append(&opened.0, 0..3).await;
    let db = rusqlite::Connection::open(&store).unwrap();
    db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    drop((opened, db));
    drop(open(folder.path(), NEVER));
    // The store is lost, and its numbers are given again: the batch has 1 to 5.
    remove_store();
    let opened = open(folder.path(), NEVER);
    append(&opened.0, 10..15).await;
    opened.0.stop().await.unwrap();
    drop(opened);
    drop(open(folder.path(), NEVER));
    // Then the copy is found.
    remove_store();
    std::fs::rename(copy, &store).unwrap();
    for start in 0..2 {
        let opened = open(folder.path(), NEVER);
        append(&opened.0, [20 + start]).await;
        opened.0.flush().await.unwrap();
    }
    assert_eq!(lines_in_raw(folder.path()), expected((0..3).chain(10..15).chain(20..22)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_never_written_over_a_file_that_holds_other_events() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::saturating(1_795_179_605_007)));
    let (engine, mut deliveries) = Embedded::open(folder.path(), NEVER, clock).unwrap();
    append(&engine, 0..10).await;
    // Another folder's batch is put into raw while the engine runs.
    let hour = folder.path().join("raw/2026/11/20/13");
    std::fs::create_dir_all(&hour).unwrap();
    let file = hour.join("00000000000000000001-00000000000000000010.json.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"{\"other\":1}\n").unwrap();
    let other = gzip.finish().unwrap();
    std::fs::write(&file, &other).unwrap();
    let stopping = engine.stop();
    let refused = tokio::time::timeout(Duration::from_secs(2), stopping).await;
    assert!(refused.is_err(), "the batch is not delivered");
    assert_eq!(std::fs::read(&file).unwrap(), other);
    assert_eq!(weir_embedded::not_filed_yet(folder.path()).unwrap().events, 10);
    // Once the file is out of the way, the batch is delivered.
    std::fs::remove_file(&file).unwrap();
    assert!(deliveries.next().await.is_some());
    assert_eq!(lines_in_raw(folder.path()), expected(0..10));
}
