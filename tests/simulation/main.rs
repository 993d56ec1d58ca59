//! The whole way of an event on AWS, with faults at every step, in runs that follow from a seed: docs/SIMULATION.md.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod checks;
mod clients;
mod clock;
mod dice;
mod events;
mod faults;
mod filing;
mod forgetting;
mod gateway;
mod kept;
mod ledger;
mod luck;
mod operations;
mod operator;
mod people;
mod planted;
mod run;
mod sealing;
mod shrink;
mod stranger;
mod trace;
mod weir;
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use operations::Op;
use planted::Bug;
use run::{replay, run};
use shrink::shrink;

/// A variable's number.
fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs seeds on all cores; answers with those of them for which there is something to say.
fn on_all_cores<T: Send>(seeds: &[u64], work: impl Fn(u64) -> Option<T> + Sync) -> Vec<(u64, T)> {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut found = Vec::new();
        while let Some(seed) = seeds.get(usize::try_from(next.fetch_add(1, Ordering::SeqCst)).unwrap()) {
            found.extend(work(*seed).map(|what| (*seed, what)));
        }
        found
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn every_promise_is_kept_in_every_run() {
    let first = number("WEIR_SIM_FIRST", 1);
    let seeds: Vec<u64> = (first..first + number("WEIR_SIM_SEEDS", 12)).collect();
    let keeps_trace = env::var_os("WEIR_SIM_TRACE").is_some();
    let bug = env::var("WEIR_SIM_BUG").ok().map(|name| planted::named(&name));
    let (began, events, calls) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let failed = on_all_cores(&seeds, |seed| {
        let outcome = run(seed, bug, keeps_trace);
        events.fetch_add(outcome.events as u64, Ordering::SeqCst);
        calls.fetch_add(outcome.calls, Ordering::SeqCst);
        (!outcome.broken.is_empty()).then_some(outcome)
    });
    println!(
        "{} runs, {} events, {} calls to AWS, {:.1} s",
        seeds.len(),
        events.into_inner(),
        calls.into_inner(),
        began.elapsed().as_secs_f64()
    );
    for (seed, outcome) in failed.iter().take(3) {
        outcome.trace.iter().for_each(|line| println!("{line}"));
        for (check, details) in outcome.broken.iter().take(10) {
            println!("seed {seed}: {check}: {details}");
        }
        println!(
            "WEIR_SIM_TRACE=1 WEIR_SIM_SEEDS=1 WEIR_SIM_FIRST={seed} cargo test --test simulation every_promise"
        );
    }
    // One of them says enough, and each takes some hundred runs.
    if let Some((seed, outcome)) = failed.first() {
        let check = outcome.broken[0].0;
        let shrunk = shrink(&outcome.list, check, bug);
        println!(
            "seed {seed}: {check}: of {} operations, these are needed ({} runs):",
            outcome.list.len(),
            shrunk.runs
        );
        shrunk.list.iter().for_each(|op| println!("        Op::{op:?},"));
    }
    assert!(failed.is_empty(), "{} runs broke a promise: {:?}", failed.len(), seeds_of(&failed));
}

fn seeds_of<T>(failed: &[(u64, T)]) -> Vec<u64> {
    failed.iter().map(|(seed, _)| *seed).take(20).collect()
}

#[test]
fn a_run_is_repeated_to_the_letter() {
    for seed in 1..5 {
        let [once, again] = [run(seed, None, true), run(seed, None, true)];
        let differ = once.trace.iter().zip(&again.trace).find(|(once, again)| once != again);
        assert_eq!(
            (once.hash, once.events, once.calls),
            (again.hash, again.events, again.calls),
            "{differ:#?}"
        );
    }
}

#[test]
fn the_list_of_a_run_is_the_run() {
    for seed in 1..5 {
        let drawn = run(seed, None, true);
        let replayed = replay(&drawn.list, None, true);
        let differ = drawn.trace.iter().zip(&replayed.trace).find(|(drawn, replayed)| drawn != replayed);
        assert_eq!((drawn.hash, &drawn.list), (replayed.hash, &replayed.list), "{differ:#?}");
    }
}

#[test]
fn a_list_that_breaks_a_promise_is_shrunk_to_what_is_needed() {
    let bug = Some(Bug::AcknowledgedUnstored);
    let check = "acknowledged is stored";
    let breaks = |list: &[Op]| replay(list, bug, false).broken.iter().any(|(found, _)| *found == check);
    let seed =
        (1..=ENOUGH).find(|seed| run(*seed, bug, false).broken.iter().any(|(found, _)| *found == check));
    let list = run(seed.unwrap(), bug, false).list;
    let shrunk = shrink(&list, check, bug);
    println!("{} of {} operations, {} runs: {:#?}", shrunk.list.len(), list.len(), shrunk.runs, shrunk.list);
    assert!(breaks(&shrunk.list));
    for left_out in 0..shrunk.list.len() {
        let mut shorter = shrunk.list.clone();
        shorter.remove(left_out);
        assert!(!breaks(&shorter), "{:?} is not needed", shrunk.list[left_out]);
    }
    assert!(replay(&shrunk.list, None, false).broken.is_empty());
}

/// So many seeds are tried at the most until a planted bug is found.
const ENOUGH: u64 = 200;

#[test]
fn every_planted_bug_is_found() {
    let all: Vec<u64> = (0..planted::ALL.len() as u64).collect();
    let told = on_all_cores(&all, |at| {
        let (bug, check, from) = planted::ALL[usize::try_from(at).unwrap()];
        let finds = |seed: &u64| run(*seed, Some(bug), false).broken.iter().any(|(found, _)| *found == check);
        let seed = (from..from + ENOUGH).find(finds);
        println!("{bug:?}: {check}, seed {seed:?}");
        // It is the bug that is found, and not the seed.
        (!seed.is_some_and(|seed| run(seed, None, false).broken.is_empty())).then_some(bug)
    });
    assert!(told.is_empty(), "missed: {told:?}");
}
