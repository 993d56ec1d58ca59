//! Forgetting on one machine, in runs that follow from a seed: events come in, are filed, sealed and sealed again, JSON expires,
//! clients send again, an operator replays batches and puts old ones back, and forgets events in between. Servers die while they
//! file, and a forgetting dies at any of its steps. The data folder is real; only Parquet is plain text (`parquet`).
//!
//! After each forgetting: what was forgotten is in no file, in no count and among no ids, and everything else is there once.

mod check;
mod parquet;
mod steps;

use std::{collections::BTreeMap, sync::Arc};

use crate::dice::Dice;
use steps::World;

/// A bug that is planted, and the check that must find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForgettingBug {
    TombstonesNotWritten,
    IdsKept,
    FinishNotResumed,
    CountsNotLowered,
    KeysNotLowered,
    SealedRowsKept,
    LateObjectsNotNoted,
}

const ALL: [(ForgettingBug, &str); 7] = [
    (ForgettingBug::TombstonesNotWritten, "forgotten events never come back"),
    (ForgettingBug::IdsKept, "no id of a forgotten event is remembered"),
    (ForgettingBug::FinishNotResumed, "counts are those of what is left"),
    (ForgettingBug::CountsNotLowered, "counts are those of what is left"),
    (ForgettingBug::KeysNotLowered, "counts are those of what is left"),
    (ForgettingBug::SealedRowsKept, "forgotten events are in no file"),
    (ForgettingBug::LateObjectsNotNoted, "no other event is lost"),
];

/// How many seeds are tried at the most until a planted bug is found.
const ENOUGH: u64 = 40;

/// Runs a seed; returns the broken checks, with details.
fn run(seed: u64, bug: Option<ForgettingBug>) -> Vec<(&'static str, String)> {
    let dice = Arc::new(Dice::new(seed, "forgetting"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(Arc::clone(&dice), bug);
        for _ in 0..dice.range(6..16) {
            match dice.range(0..10) {
                0..4 => world.serve().await,
                4..6 => world.seal().await,
                6 => world.replay().await,
                7 => world.put_back().await,
                _ => world.forget().await,
            }
            if !world.broken.is_empty() {
                break;
            }
        }
        if world.broken.is_empty() {
            world.forget().await;
        }
        world.broken
    })
}

#[test]
fn what_was_forgotten_is_nowhere_and_nothing_else_is_lost_whatever_dies() {
    let first = super::number("WEIR_SIM_FIRST", 1);
    let seeds: Vec<u64> = (first..first + super::number("WEIR_SIM_SEEDS", 12)).collect();
    let failed = super::on_all_cores(&seeds, |seed| {
        let broken = run(seed, None);
        (!broken.is_empty()).then_some(broken)
    });
    let by_check: BTreeMap<&str, u64> =
        failed.iter().flat_map(|(seed, broken)| broken.iter().map(|(check, _)| (*check, *seed))).collect();
    assert!(failed.is_empty(), "{by_check:?}: {failed:?}");
}

#[test]
fn every_planted_bug_of_forgetting_is_found() {
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
