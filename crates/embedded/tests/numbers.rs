//! Events keep their numbers when others are taken out of their batch, by forgetting or as they are too old: so every position
//! that a client has stays one.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::Duration,
};

use weir_core::forgotten::{ForgetRequest, Which};
use weir_core::{
    Clock, Event, EventType, ManualClock, Partition, Record, SeededRandom, Stamp, Timestamp, Username,
    following::FollowRequest,
    newest::{NewestEvent, NewestRequest, Position},
    ports::{Appended, FollowEvents, NewestEvents, PortError, RawObjects, Receipts, Stream},
    receipt::ReceiptStatus,
    sealing::{Generation, SealedRows, SealedType, ToWrite},
};
use weir_embedded::{Deliveries, Embedded, Flush, Followed, Follower, ForgetError, OpenError, SealedFolder};

/// The first event of each batch, and the end. Events go from the beginning of all but the third, of which none goes. From the
/// second, all go.
const BATCHES: [u64; 6] = [1, 13, 16, 18, 24, 30];

/// How many batches have events that go.
const CHANGED: u64 = 4;

/// Returns whether the event goes that is stored as this number.
fn goes(number: u64) -> bool {
    number <= 2 || number.is_multiple_of(3) || (13..16).contains(&number)
}

/// The time of the first batch. They are two minutes apart, as a receipt is looked for by time.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::saturating(1_795_179_605_007)))
}

fn user() -> Username {
    "ann".parse().unwrap()
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> (Embedded, Deliveries) {
    let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
    // An engine that was dropped lets go of the folder once its threads have ended.
    for _ in 0..10_000 {
        match Embedded::open(folder, flush, clock.clone()) {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("the folder stays in use");
}

/// Fills a folder with batches, all of which count as filed. Those events that go have a type of their own, and
/// Weir makes every fourth id. Returns the ids by number.
async fn fill(folder: &Path, clock: &Arc<ManualClock>) -> BTreeMap<u64, String> {
    let (engine, mut deliveries) = open(folder, clock);
    let mut ids = BTreeMap::new();
    for range in BATCHES.windows(2) {
        let mut events = Vec::new();
        for number in range[0]..range[1] {
            let event_type: EventType = if goes(number) { "old" } else { "young" }.parse().unwrap();
            let id = if number % 4 == 0 { String::new() } else { format!(r#","event_id":"e-{number}""#) };
            let text = format!(r#"{{"goes":"{}"{id}}}"#, goes(number));
            let event = Event::read(&text).unwrap();
            let stamp = Stamp::new(user(), event.event_id.clone(), clock.now(), &SeededRandom::new(number));
            ids.insert(number, stamp.event_id.to_string());
            events.push(Record::accepted(&event, &event_type, None, stamp));
        }
        assert!(engine.append(events).await.iter().all(Appended::is_durable));
        engine.flush().await.unwrap();
        engine.filed(&deliveries.next().await.unwrap()).await.unwrap();
        clock.advance(120_000);
    }
    ids
}

/// For a folder without sealed days.
struct NoSealedDays;

impl SealedRows for NoSealedDays {
    fn each(
        &self,
        _: &[&Generation],
        _: &Username,
        _: &mut dyn FnMut(&Partition, &[u8]),
    ) -> Result<(), PortError> {
        unreachable!("no day is sealed")
    }

    fn write_without(
        &self,
        _: ToWrite<'_>,
        _: &Username,
        _: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<BTreeMap<EventType, SealedType>>, PortError> {
        unreachable!("no day is sealed")
    }
}

/// Forgets the events, and returns how many batches changed.
fn forget(folder: &Path) -> u64 {
    let which = Which::Where { field: "goes".to_owned(), values: vec!["true".to_owned()] };
    let request = ForgetRequest { username: user(), event_type: None, which };
    let turn = SealedFolder::of(folder).turn().unwrap().unwrap();
    let with = (&turn, &NoSealedDays as &dyn SealedRows);
    let mut go_on = |_: &str| ControlFlow::Continue(());
    for _ in 0..10_000 {
        match weir_embedded::forget(folder, &request, &SeededRandom::new(1), with, &mut go_on) {
            Err(ForgetError::Open(OpenError::InUse(_))) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.unwrap().raw,
        }
    }
    panic!("the folder stays in use");
}

/// Returns the numbers of the events after a position, as a stream brings them, and whether it says that some cannot be read.
async fn followed(engine: &Embedded, ids: &BTreeMap<u64, String>, after: u64) -> (Vec<u64>, bool) {
    let position = Position { number: after, event_id: None };
    let mut request = FollowRequest { event_type: None, after: position };
    let (mut found, mut has_gap) = (Vec::new(), false);
    loop {
        let page = engine.page(&user(), &request).await.unwrap();
        for (position, event) in &page.events {
            assert_eq!(ids[&position.number], event.event_id.as_str(), "an event is at its own position");
            found.push(position.number);
        }
        has_gap |= page.has_gap;
        request.after = page.up_to;
        if !page.has_more {
            return (found, has_gap);
        }
    }
}

/// Returns the numbers of the events before a position, as the list has them.
async fn listed(engine: &Embedded, ids: &BTreeMap<u64, String>, before: u64) -> Vec<u64> {
    let number_of =
        |event: &NewestEvent| *ids.iter().find(|(_, id)| **id == event.event_id.as_str()).unwrap().0;
    let mut after = Some(Position { number: before, event_id: None });
    let mut found = Vec::new();
    while let Some(position) = after {
        let request = NewestRequest { event_type: None, after: Some(position), limit: 4 };
        let page = engine.newest(&user(), &request).await.unwrap();
        found.extend(page.events.iter().map(number_of));
        after = page.next;
    }
    found
}

/// Checks what is left, from every position.
async fn check(engine: &Embedded, folder: &Path, ids: &BTreeMap<u64, String>, is_gap: impl Fn(u64) -> bool) {
    let end = ids.len() as u64;
    for position in 0..=end {
        let later: Vec<u64> = (position + 1..=end).filter(|number| !goes(*number)).collect();
        assert_eq!(followed(engine, ids, position).await, (later, is_gap(position)), "after {position}");
        let earlier: Vec<u64> = (1..position).rev().filter(|number| !goes(*number)).collect();
        assert_eq!(listed(engine, ids, position).await, earlier, "before {position}");
    }
    for (number, id) in ids.iter().filter(|(number, _)| !goes(**number)) {
        let types = ["old", "young"].map(|name| name.parse().unwrap());
        let receipt = engine.receipt(&user(), &id.parse().unwrap(), &types).await.unwrap();
        let receipt = receipt.unwrap_or_else(|| panic!("{number} is not found"));
        assert!(
            receipt.status == ReceiptStatus::Filed && receipt.received_at.is_some(),
            "{number}: {receipt:?}"
        );
    }
    // As `weir tail` reads them, from the middle of the first batch on.
    let mut follower = Follower::open(folder).unwrap();
    follower.back(end - 6);
    let mut lines = 0;
    let took = follower.poll(|followed| {
        if let Followed::Line(line) = followed {
            assert!(!line.is_empty());
            lines += 1;
        }
        Ok(())
    });
    took.unwrap();
    assert_eq!(lines, (7..=end).filter(|number| !goes(*number)).count());
}

#[tokio::test(flavor = "multi_thread")]
async fn from_any_position_all_events_that_were_not_forgotten_come_once_and_without_a_gap() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let ids = fill(folder.path(), &clock).await;
    // Forgetting them again finds nothing more.
    for changed in [CHANGED, 0] {
        assert_eq!(forget(folder.path()), changed);
        let (engine, _deliveries) = open(folder.path(), &clock);
        check(&engine, folder.path(), &ids, |_| false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_any_position_all_events_that_are_kept_for_longer_come_once_beside_the_server() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let ids = fill(folder.path(), &clock).await;
    let (engine, _deliveries) = open(folder.path(), &clock);
    let (raw, ..) = engine.folders();
    let batches = raw.list(None, 10).await.unwrap();
    let all: BTreeSet<String> = batches.iter().map(|batch| batch.id().to_string()).collect();
    assert_eq!(all.len(), BATCHES.len() - 1);
    let is_removed = |partition: &Partition| partition.event_type.as_str() == "old";
    for changed in [CHANGED, 0] {
        assert_eq!(weir_embedded::strip_batches(folder.path(), &all, None, &is_removed).unwrap(), changed);
        // The batch without other events is removed, and its events cannot be read.
        assert_eq!(raw.list(None, 10).await.unwrap().len(), all.len() - 1);
        check(&engine, folder.path(), &ids, |position| position < 15).await;
    }
}
