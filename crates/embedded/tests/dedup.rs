//! An event that comes again is stored and counted once: over restarts, from one day to the next, and where storing it
//! failed the first time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{path::Path, sync::Arc, time::Duration};

use weir_core::{
    Clock, Counter, ManualClock, Timestamp, Username,
    conformance::dedup::event,
    ports::{Appended, LiveCounts, Stream},
};
use weir_embedded::{Deliveries, Embedded, Flush, OpenError};

const NEVER: Flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
const HOUR: u64 = 3_600_000;

/// 23:59 on a day.
fn late() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::saturating(1_795_219_140_000)))
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> (Embedded, Deliveries) {
    // An engine that was dropped lets go of the folder once its threads have ended.
    for _ in 0..10_000 {
        match Embedded::open(folder, NEVER, clock.clone()) {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("the folder stays in use");
}

fn user() -> Username {
    "u".parse().unwrap()
}

/// Appends events with these ids; says which of them were duplicates.
async fn append<Id: std::fmt::Display>(engine: &Embedded, ids: impl IntoIterator<Item = Id>) -> Vec<bool> {
    let records = ids.into_iter().map(|id| event(&user(), &format!("e-{id}"), "")).collect();
    let told = |outcome: Appended| match outcome {
        Appended::Counted => false,
        Appended::Duplicate { .. } => true,
        other => panic!("{other:?}"),
    };
    engine.append(records).await.into_iter().map(told).collect()
}

async fn total(engine: &Embedded) -> u64 {
    let counter = Counter { username: user(), event_type: "a".parse().unwrap(), key: None };
    engine.read(&[counter]).await.unwrap()[0]
}

fn remembered(folder: &Path) -> u64 {
    let db = rusqlite::Connection::open(folder.join("events.db")).unwrap();
    // An entry has 24 bytes.
    let bytes = "SELECT coalesce(sum(length(ids)), 0) FROM (SELECT ids FROM fresh_ids UNION ALL SELECT ids FROM id_pages)";
    db.query_row(bytes, [], |row| Ok(row.get::<_, u64>(0)? / 24)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_known_again_after_a_sudden_end() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    for round in 0..3 {
        let (engine, _deliveries) = open(folder.path(), &clock);
        assert_eq!(append(&engine, 0..10).await, [round > 0; 10]);
        assert_eq!(total(&engine).await, 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_known_again_for_a_day_at_least_and_forgotten_after_two() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let (engine, _deliveries) = open(folder.path(), &clock);
    assert_eq!(append(&engine, ["x"]).await, [false]);
    clock.advance(24 * HOUR);
    assert_eq!(append(&engine, ["x"]).await, [true]);
    clock.advance(24 * HOUR);
    assert_eq!(append(&engine, ["x"]).await, [false], "two generations later");
    clock.advance(24 * HOUR);
    assert_eq!(append(&engine, ["x"]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_known_for_longer_than_two_days_however_quiet_the_server_is() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let (engine, _deliveries) = open(folder.path(), &clock);
    append(&engine, ["x"]).await;
    clock.advance(47 * HOUR);
    assert_eq!(append(&engine, ["y"]).await, [false]);
    clock.advance(HOUR);
    assert_eq!(append(&engine, ["x", "y"]).await, [false, true], "after 48 hours");
    clock.advance(100 * HOUR);
    assert_eq!(append(&engine, ["x", "y"]).await, [false, false], "without a commit between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gets_nothing_but_repeats_and_restarts_often_forgets_an_event_in_time() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    for hours in [0, 23, 46] {
        let (engine, _deliveries) = open(folder.path(), &clock);
        assert_eq!(append(&engine, ["x"]).await, [hours > 0], "after {hours} hours");
        clock.advance(23 * HOUR);
        assert_eq!(append(&engine, ["x"]).await, [hours < 46], "after {hours} hours and 23");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_over_midnight_forgets_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    clock.advance(2 * 60_000);
    let (engine, deliveries) = open(folder.path(), &clock);
    append(&engine, ["x"]).await;
    assert_eq!(clock.now().hour().parts()[3], 0);
    // Two minutes back.
    clock.jump(-120_000);
    assert_eq!(clock.now().hour().parts()[3], 23);
    assert_eq!(append(&engine, ["x"]).await, [true]);
    // A server that starts now knows it as well.
    drop((engine, deliveries));
    let (engine, _deliveries) = open(folder.path(), &clock);
    assert_eq!(append(&engine, ["x"]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_within_a_day_of_elapsed_time_is_known_whatever_the_wall_clock_does() {
    const DAY: i64 = 24 * 3_600_000;
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let mut opened = open(folder.path(), &clock);
    let mut sent = Vec::new();
    // Two days ahead and back, as far back as 1970, then NTP; with a restart after each second jump.
    let to_1970 = -i64::try_from(clock.now().millis()).unwrap();
    for (round, jump) in
        [2 * DAY, -2 * DAY, -3 * DAY, 3 * DAY, to_1970, -to_1970, 400 * DAY].into_iter().enumerate()
    {
        sent.push(format!("x-{round}"));
        assert_eq!(append(&opened.0, sent.last()).await, [false]);
        clock.jump(jump);
        clock.advance(3 * HOUR);
        if round % 2 == 1 {
            drop(opened);
            opened = open(folder.path(), &clock);
        }
        assert_eq!(append(&opened.0, &sent).await, vec![true; sent.len()], "after a jump of {jump} ms");
    }
    assert_eq!(total(&opened.0).await, sent.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_in_which_no_server_runs_forgets_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let opened = open(folder.path(), &clock);
    append(&opened.0, ["x"]).await;
    drop(opened);
    clock.jump(72 * 3_600_000);
    let (engine, _deliveries) = open(folder.path(), &clock);
    assert_eq!(append(&engine, ["x"]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ids_of_the_last_day_come_back_from_raw_where_the_store_is_lost_or_old() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let mut opened = open(folder.path(), &clock);
    let copy = tempfile::tempdir().unwrap();
    for (part, ids) in [0..10, 10..20, 20..30].into_iter().enumerate() {
        assert_eq!(append(&opened.0, ids).await, [false; 10]);
        opened.0.flush().await.unwrap();
        clock.advance(5 * HOUR);
        if part == 0 {
            drop(opened);
            let _ = open(folder.path(), &clock);
            for name in ["events.db", "events.db-wal"] {
                let _ = std::fs::copy(folder.path().join(name), copy.path().join(name));
            }
            opened = open(folder.path(), &clock);
        }
    }
    drop(opened);
    for old in [false, true] {
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(name));
            if old {
                let _ = std::fs::copy(copy.path().join(name), folder.path().join(name));
            }
        }
        // A clock that starts in 1970, or runs ahead, makes no difference.
        for jump in [0, -56 * 365 * 24 * 3_600_000, 56 * 365 * 24 * 3_600_000 + 30 * 24 * 3_600_000] {
            clock.jump(jump);
            let (engine, deliveries) = open(folder.path(), &clock);
            assert_eq!(append(&engine, 0..30).await, [true; 30], "old: {old}, {jump}");
            drop((engine, deliveries));
        }
        clock.jump(-30 * 24 * 3_600_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_come_back_from_raw_for_a_day_also_where_those_of_the_old_store_have_expired() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let (engine, deliveries) = open(folder.path(), &clock);
    append(&engine, 0..10).await;
    engine.flush().await.unwrap();
    // Two generations later, without a new event, the store is copied.
    clock.advance(50 * HOUR);
    engine.stop().await.unwrap();
    drop((engine, deliveries));
    let _ = open(folder.path(), &clock);
    let copy = tempfile::tempdir().unwrap();
    for name in ["events.db", "events.db-wal"] {
        let _ = std::fs::copy(folder.path().join(name), copy.path().join(name));
    }
    let (engine, deliveries) = open(folder.path(), &clock);
    // The first of them is stored again, which is right after so long.
    assert_eq!(append(&engine, 9..20).await, [false; 11]);
    engine.flush().await.unwrap();
    drop((engine, deliveries));
    let _ = open(folder.path(), &clock);
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
        let _ = std::fs::copy(copy.path().join(name), folder.path().join(name));
    }
    let (engine, _deliveries) = open(folder.path(), &clock);
    assert_eq!(append(&engine, 9..20).await, [true; 11]);
    clock.advance(23 * HOUR);
    assert_eq!(append(&engine, 9..20).await, [true; 11], "almost a day later");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_batches_that_were_written_before_the_clock_was_set_come_back_from_raw_as_well() {
    const YEARS: i64 = 56 * 365 * 24 * 3_600_000;
    for set_before_the_end in [true, false] {
        let (folder, clock) = (tempfile::tempdir().unwrap(), late());
        // A machine without a battery starts in 1970, and learns the time later.
        clock.jump(-YEARS);
        let (engine, deliveries) = open(folder.path(), &clock);
        assert_eq!(append(&engine, 0..10).await, [false; 10]);
        engine.flush().await.unwrap();
        if set_before_the_end {
            clock.jump(YEARS);
            assert_eq!(append(&engine, 10..20).await, [false; 10]);
            engine.flush().await.unwrap();
        }
        drop((engine, deliveries));
        drop(open(folder.path(), &clock));
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        if !set_before_the_end {
            clock.jump(YEARS);
        }
        let opened = open(folder.path(), &clock);
        let all = if set_before_the_end { 20 } else { 10 };
        assert_eq!(append(&opened.0, 0..all).await, vec![true; all]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_does_not_grow_from_day_to_day() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let (engine, _deliveries) = open(folder.path(), &clock);
    for day in 0..4 {
        for part in 0..5 {
            let first = day * 10_000 + part * 1500;
            append(&engine, first..first + 1500).await;
        }
        assert!(remembered(folder.path()) <= 15_000, "on day {day}");
        clock.advance(24 * HOUR);
    }
    // Even when much less comes: each commit takes a thousand away.
    for n in 0..16 {
        let before = remembered(folder.path());
        append(&engine, [format!("last-{n}")]).await;
        assert!(before + 1 - remembered(folder.path()) <= 1000);
    }
    clock.advance(24 * HOUR);
    for n in 16..32 {
        append(&engine, [format!("last-{n}")]).await;
    }
    assert_eq!(remembered(folder.path()), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_an_earlier_version_opens_and_keeps_its_events() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let (engine, deliveries) = open(folder.path(), &clock);
    append(&engine, 0..10).await;
    drop((engine, deliveries));
    let _ = open(folder.path(), &clock);
    // What the earlier version had not: tables, a column, and the number of the format.
    {
        let db = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
        db.execute_batch(
            "DROP TABLE fresh_ids; DROP TABLE id_runs; DROP TABLE id_pages; DROP TABLE id_filters; ALTER TABLE progress DROP COLUMN in_raw; DROP TABLE given_up; DROP TABLE recent_rejected;
             DROP TABLE served_types; DROP TABLE earlier_keys;
             DROP TABLE latest_values; ALTER TABLE journal DROP COLUMN latest;
             DROP TABLE tombstones; DROP TABLE forgetting; DROP TABLE forgotten_counts; DROP TABLE forgetting_days;
             ALTER TABLE progress DROP COLUMN id_generation; ALTER TABLE progress DROP COLUMN id_elapsed;
             ALTER TABLE settled_totals DROP COLUMN settled_at; PRAGMA user_version = 1",
        ).unwrap();
    }
    assert!(weir_embedded::stored_catalog(folder.path()).unwrap().is_empty(), "it noted no catalog");
    let (engine, mut deliveries) = open(folder.path(), &clock);
    assert_eq!(total(&engine).await, 10);
    assert_eq!(append(&engine, 9..11).await, [false, false], "of what it stored it remembers nothing");
    assert_eq!(append(&engine, 9..11).await, [true, true]);
    engine.stop().await.unwrap();
    assert!(deliveries.next().await.is_some());
    assert_eq!(total(&engine).await, 12);
    let db = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
    let format: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_an_earlier_version_stored_are_known() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), late());
    let (engine, deliveries) = open(folder.path(), &clock);
    append(&engine, 0..300).await;
    clock.advance(24 * HOUR);
    append(&engine, 300..600).await;
    drop((engine, deliveries));
    let _ = open(folder.path(), &clock);
    // The table of earlier versions, with some events without a number, and one of a generation that is forgotten.
    {
        let db = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
        db.execute_batch(
            "CREATE TABLE recent_ids (
                 generation INTEGER NOT NULL, id BLOB NOT NULL, event INTEGER, PRIMARY KEY (generation, id)
             ) STRICT, WITHOUT ROWID;
             INSERT INTO recent_ids VALUES (0, zeroblob(16), 1)",
        )
        .unwrap();
        let blobs = "SELECT generation, ids FROM fresh_ids
             UNION ALL SELECT generation, id_pages.ids FROM id_pages JOIN id_runs ON run = page >> 32";
        let mut blobs = db.prepare(blobs).unwrap();
        let mut blobs = blobs.query([]).unwrap();
        while let Some(row) = blobs.next().unwrap() {
            let (generation, ids): (u64, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
            for entry in ids.chunks(24) {
                let event = u64::from_le_bytes(entry[16..].try_into().unwrap());
                let event = (event % 7 > 0).then_some(event);
                let values = rusqlite::params![generation, &entry[..16], event];
                db.execute("INSERT INTO recent_ids VALUES (?1, ?2, ?3)", values).unwrap();
            }
        }
        drop(blobs);
        let stored: u64 = db.query_row("SELECT count(*) FROM recent_ids", [], |row| row.get(0)).unwrap();
        assert_eq!(stored, 601);
        db.execute_batch(
            "DROP TABLE fresh_ids; DROP TABLE id_runs; DROP TABLE id_pages; DROP TABLE id_filters; PRAGMA user_version = 10",
        )
        .unwrap();
    }
    let (engine, _deliveries) = open(folder.path(), &clock);
    assert_eq!(remembered(folder.path()), 600);
    assert_eq!(append(&engine, 0..600).await, [true; 600]);
    assert_eq!(append(&engine, 600..601).await, [false]);
    clock.advance(24 * HOUR);
    assert_eq!(append(&engine, 0..300).await, [false; 300], "of the generation before the last");
    assert_eq!(append(&engine, 300..601).await, [true; 301]);
}
