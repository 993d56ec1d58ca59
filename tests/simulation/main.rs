//! The whole way of an event on AWS, with faults at every step, in runs that follow from a seed: docs/SIMULATION.md.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod checks;
mod clients;
mod clock;
mod dice;
mod events;
mod faults;
mod filing;
mod gateway;
mod ledger;
mod operator;
mod planted;
mod run;
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

use run::run;

/// A variable's number.
fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Seeds that found something once.
fn regressions() -> Vec<u64> {
    let lines = include_str!("regressions.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()).map(|seed| seed.parse().unwrap()).collect()
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
    let mut seeds = regressions();
    seeds.extend(first..first + number("WEIR_SIM_SEEDS", 12));
    let keeps_trace = env::var_os("WEIR_SIM_TRACE").is_some();
    let (began, events, calls) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let failed = on_all_cores(&seeds, |seed| {
        let outcome = run(seed, None, keeps_trace);
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

/// So many seeds are tried at the most until a planted bug is found.
const ENOUGH: u64 = 200;

#[test]
fn every_planted_bug_is_found() {
    let wanted = env::var("WEIR_SIM_BUGS").unwrap_or_default();
    let is_wanted = |bug: &str| wanted.is_empty() || wanted.split(',').any(|wanted| wanted == bug);
    let all: Vec<u64> = (0..)
        .zip(&planted::ALL)
        .filter(|(_, (bug, ..))| is_wanted(&format!("{bug:?}")))
        .map(|(at, _)| at)
        .collect();
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
