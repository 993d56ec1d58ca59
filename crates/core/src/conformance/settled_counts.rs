//! [`Settlement`] and [`SettledCounts`].

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{a_user, event_type, some_batch};
use crate::{
    Clock, Hour, Partition, SystemClock, Timestamp, Username,
    counts::SettledTotals,
    ports::{Settled, SettledCounts, Settlement},
};

fn hour(n: u64) -> Hour {
    Hour::from_epoch(498_000 + n).unwrap()
}

fn partition(username: &Username, of: &str, n: u64) -> Partition {
    Partition { username: username.clone(), event_type: event_type(of), hour: hour(n) }
}

async fn total(counts: &dyn SettledCounts, user: &Username, of: &str) -> u64 {
    counts.totals(user).await.unwrap().by_type.get(&event_type(of)).copied().unwrap_or_default()
}

/// A batch counts for each of its partitions, by hour and in total, and batches add up.
pub async fn batches_add_up(settlement: &dyn Settlement, counts: &dyn SettledCounts) {
    let (user, other) = (a_user(), a_user());
    assert_eq!(counts.totals(&user).await.unwrap(), SettledTotals::default());
    let first = BTreeMap::from([
        (partition(&user, "a", 0), 3),
        (partition(&user, "a", 1), 4),
        (partition(&user, "b", 1), 5),
        (partition(&other, "a", 1), 100),
    ]);
    assert_eq!(settlement.settle(&some_batch().id(), &first).await.unwrap(), Settled::Now);
    let second = BTreeMap::from([(partition(&user, "a", 1), 10), (partition(&user, "a", 30), 1)]);
    assert_eq!(settlement.settle(&some_batch().id(), &second).await.unwrap(), Settled::Now);
    let totals: Vec<_> = counts.totals(&user).await.unwrap().by_type.into_iter().collect();
    assert_eq!(totals, [(event_type("a"), 18), (event_type("b"), 5)]);
    let hours = counts.hours(&user, &event_type("a"), hour(0), hour(1)).await.unwrap();
    assert_eq!(hours.into_iter().collect::<Vec<_>>(), [(hour(0), 3), (hour(1), 14)]);
    let hours = counts.hours(&user, &event_type("a"), hour(2), hour(50)).await.unwrap();
    assert_eq!(hours.into_iter().collect::<Vec<_>>(), [(hour(30), 1)]);
}

/// Settling a batch again changes nothing, and the answer says so.
pub async fn a_batch_settles_once(settlement: &dyn Settlement, counts: &dyn SettledCounts) {
    let (user, batch) = (a_user(), some_batch().id());
    let events = BTreeMap::from([(partition(&user, "a", 0), 3)]);
    assert_eq!(settlement.settle(&batch, &events).await.unwrap(), Settled::Now);
    for _ in 0..3 {
        assert_eq!(settlement.settle(&batch, &events).await.unwrap(), Settled::Before);
    }
    assert_eq!(total(counts, &user, "a").await, 3);
}

/// The time is known when a user's counts were settled last: not when a batch came again, nor when another user's were. The
/// engine's clock must be the machine's.
pub async fn the_time_of_the_last_batch_is_known(settlement: &dyn Settlement, counts: &dyn SettledCounts) {
    let (user, other) = (a_user(), a_user());
    let settled_at = async |user: &Username| counts.totals(user).await.unwrap().settled_at;
    let first = some_batch().id();
    let events = BTreeMap::from([(partition(&user, "a", 0), 3), (partition(&user, "b", 0), 1)]);
    let before = SystemClock.now();
    settlement.settle(&first, &events).await.unwrap();
    let at = settled_at(&user).await.unwrap();
    assert!(before <= at && at <= SystemClock.now(), "{before} {at}");
    assert_eq!(settled_at(&other).await, None);

    let tick = || {
        let now = SystemClock.now();
        while SystemClock.now() <= now {
            std::thread::yield_now();
        }
        now
    };
    tick();
    assert_eq!(settlement.settle(&first, &events).await.unwrap(), Settled::Before);
    settlement.settle(&some_batch().id(), &BTreeMap::from([(partition(&other, "a", 0), 1)])).await.unwrap();
    assert_eq!(settled_at(&user).await, Some(at));
    let later: Timestamp = tick();
    settlement.settle(&some_batch().id(), &BTreeMap::from([(partition(&user, "b", 9), 1)])).await.unwrap();
    assert!(settled_at(&user).await.unwrap() > later);
}

/// Five concurrent calls settle one batch: it counts once.
pub async fn a_race_settles_once(settlement: &dyn Settlement, counts: &dyn SettledCounts) {
    let (user, batch) = (a_user(), some_batch().id());
    let events: BTreeMap<_, _> = (0..130).map(|n| (partition(&user, "a", n), 1)).collect();
    let answers = join_all((0..5).map(|_| settlement.settle(&batch, &events))).await;
    // The losers of a race may also get an error that asks for a retry; the retry must then find the batch settled.
    let now = answers.iter().filter(|answer| matches!(answer, Ok(Settled::Now))).count();
    assert!(now <= 1, "{answers:?}");
    settlement.settle(&batch, &events).await.unwrap();
    assert_eq!(total(counts, &user, "a").await, 130);
    assert_eq!(counts.hours(&user, &event_type("a"), hour(0), hour(200)).await.unwrap().len(), 130);
}

/// A batch of many partitions settles whole; one without any settles too.
pub async fn a_batch_of_any_number_of_partitions_settles(
    settlement: &dyn Settlement,
    counts: &dyn SettledCounts,
) {
    let users: Vec<_> = (0..5).map(|_| a_user()).collect();
    let partitions = users.iter().flat_map(|user| (0..70).map(move |n| partition(user, "a", n)));
    let events: BTreeMap<_, _> = partitions.zip(1..).collect();
    let batch = some_batch().id();
    assert_eq!(settlement.settle(&batch, &events).await.unwrap(), Settled::Now);
    assert_eq!(settlement.settle(&batch, &events).await.unwrap(), Settled::Before);
    for user in &users {
        let hours = counts.hours(user, &event_type("a"), hour(0), hour(69)).await.unwrap();
        let expected: u64 = events.iter().filter(|(at, _)| at.username == *user).map(|(_, n)| n).sum();
        assert_eq!((hours.len(), hours.values().sum::<u64>()), (70, expected));
        assert_eq!(total(counts, user, "a").await, expected);
    }
    let empty = some_batch().id();
    settlement.settle(&empty, &BTreeMap::new()).await.unwrap();
}
