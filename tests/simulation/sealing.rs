//! Sealing: batches are filed, late ones among them, while days are sealed and sealed again, JSON expires, events are removed that are not kept any longer, and readers read. Any of
//! them dies at any call of a port. The steps are those of `weir_core::sealing`; only the folders and the SQL are simulated
//! (`store`).
//!
//! A future is polled once at a time, in an order that follows from the seed, and each call of a port waits before and after it
//! takes effect. So every interleaving of calls can happen, and to drop a future is a death.

mod actors;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use crate::dice::Dice;
use actors::{Actor, Filer, Reader, Sealer, check_end};
use store::Store;

/// A bug that the store plants, and the check that must find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealingBug {
    WatermarkBeforeFiles,
    LateObjectNotNoted,
    NotedOnlyBefore,
    RepeatKept,
    ReplacedRemovedAtOnce,
    NothingCovered,
    UnsettledTaken,
    ManifestTorn,
    RemovedWatermarkLost,
    BatchNotStripped,
    RemovedIsRead,
    NothingWritten,
    JsonPutBackStays,
}

/// All of them.
const ALL: [(SealingBug, &str); 13] = [
    (SealingBug::WatermarkBeforeFiles, "each event is seen"),
    (SealingBug::LateObjectNotNoted, "each event is seen"),
    (SealingBug::NotedOnlyBefore, "each event is seen"),
    (SealingBug::RepeatKept, "sealed days have no repeats"),
    (SealingBug::ReplacedRemovedAtOnce, "a reader finds its files"),
    (SealingBug::NothingCovered, "no event is seen twice"),
    (SealingBug::UnsettledTaken, "sealing goes on"),
    (SealingBug::ManifestTorn, "each event is seen"),
    (SealingBug::RemovedWatermarkLost, "each event is seen"),
    (SealingBug::BatchNotStripped, "removed events are nowhere"),
    (SealingBug::RemovedIsRead, "removed events are not read"),
    // The day is refused, and stays as it was.
    (SealingBug::NothingWritten, "sealing goes on"),
    (SealingBug::JsonPutBackStays, "JSON of sealed days goes"),
];

/// How many seeds are tried at the most until a planted bug is found.
const ENOUGH: u64 = 300;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a seed; returns the broken checks, with details.
fn run(seed: u64, bug: Option<SealingBug>) -> Vec<(&'static str, String)> {
    let dice = Arc::new(Dice::new(seed, "sealing"));
    let store = Store::new(Arc::clone(&dice), bug);
    let mut actors: Vec<(Actor, Option<Task>)> = vec![
        (Actor::Filer(Filer::new(&store)), None),
        (Actor::Filer(Filer::new(&store)), None),
        (Actor::Sealer(Sealer::new(&store)), None),
        (Actor::Reader(Reader::new(&store)), None),
        (Actor::Reader(Reader::new(&store)), None),
    ];
    let deadly = dice.range(0..30);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..dice.range(500..4000) {
        let at = dice.index(actors.len());
        let (actor, task) = &mut actors[at];
        let polled = task.get_or_insert_with(|| actor.begin()).as_mut().poll(&mut context);
        if polled.is_ready() || dice.chance(deadly) {
            *task = None;
        }
        store.tick(dice.chance(20));
    }
    // Nothing dies any more: what is left is filed, and sealed.
    let mut broken = store.broken();
    if broken.is_empty() {
        drop(actors);
        let mut end: Task = Box::pin(check_end(store.clone()));
        while end.as_mut().poll(&mut context).is_pending() {}
        broken = store.broken();
    }
    broken
}

#[test]
fn while_days_are_sealed_each_filed_event_is_seen_exactly_once_whatever_dies() {
    let first = super::number("WEIR_SIM_FIRST", 1);
    let seeds: Vec<u64> = (first..first + super::number("WEIR_SIM_SEEDS", 12) * 5).collect();
    let failed = super::on_all_cores(&seeds, |seed| {
        let broken = run(seed, None);
        (!broken.is_empty()).then_some(broken)
    });
    let by_check: BTreeMap<&str, u64> =
        failed.iter().flat_map(|(seed, broken)| broken.iter().map(|(check, _)| (*check, *seed))).collect();
    assert!(failed.is_empty(), "{by_check:?}: {:?}", failed.first());
}

#[test]
fn the_simulated_store_of_sealed_days_keeps_the_promises_of_the_port() {
    let store = Store::new(Arc::new(Dice::new(1, "sealing")), None);
    let make = |day, number, covered: &BTreeSet<String>| {
        let rows = store::Rows { covered: covered.clone(), ..Default::default() };
        store.state().generations.insert((day, number), rows);
    };
    let mut suite: Pin<Box<dyn Future<Output = ()> + '_>> =
        Box::pin(weir_core::conformance::sealed_days::all(&store, &make));
    while suite.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}

#[test]
fn what_a_sealing_left_that_died_goes_with_the_events_that_are_not_kept() {
    let store = Store::new(Arc::new(Dice::new(1, "sealing")), None);
    let [day, kept] = [store::first_day(), store::first_day().next()];
    for day in [day, kept] {
        store.state().generations.insert((day, 1), store::Rows::default());
    }
    let first_days = BTreeMap::from([(store::TYPE.parse().unwrap(), kept)]);
    let retained = weir_core::sealing::retain(&store, &store, &store, &first_days);
    let mut retained: Pin<Box<dyn Future<Output = _> + '_>> = Box::pin(retained);
    let mut context = Context::from_waker(Waker::noop());
    while retained.as_mut().poll(&mut context).is_pending() {}
    drop(retained);
    assert!(store.state().generations.is_empty());
}

#[test]
fn every_planted_bug_of_sealing_is_found() {
    let all: Vec<u64> = (0..ALL.len() as u64).collect();
    let told = super::on_all_cores(&all, |at| {
        let (bug, check) = ALL[usize::try_from(at).unwrap()];
        let finds = |seed: &u64| run(*seed, Some(bug)).iter().any(|(found, _)| *found == check);
        let seed = (1..ENOUGH).find(finds);
        println!("{bug:?}: {check}, seed {seed:?}");
        // It is the bug that is found, and not the seed.
        (!seed.is_some_and(|seed| run(seed, None).is_empty())).then_some(bug)
    });
    assert!(told.is_empty(), "missed: {told:?}");
}
