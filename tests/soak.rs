//! A short soak of the real program, and what it says when something is lost or doubled. The hour is `weir-bench soak`.
#![cfg(target_os = "linux")]
#![allow(dead_code, reason = "a command is more than its test needs")]

#[path = "../benches/src/process.rs"]
mod process;
#[path = "../benches/src/soak/mod.rs"]
mod soak;

use std::path::Path;

use soak::{Options, Plant, Summary};

fn soaked(minutes: f64, plant: Option<Plant>) -> Summary {
    let rest_every = 12.0;
    let options = Options { minutes, seed: None, rest_every, rate: 100.0, data: None, built: None, plant };
    soak::run(&options, Path::new(env!("CARGO_BIN_EXE_weir"))).expect("it runs")
}

#[test]
fn a_short_soak_loses_nothing_and_doubles_nothing() {
    let summary = soaked(0.2, None);
    assert!(summary.broken.is_empty(), "{summary:#?}");
    assert!(summary.rests > 0 && summary.acknowledged > 0 && !summary.faults.is_empty(), "{summary:#?}");
}

#[test]
fn a_soak_finds_an_event_that_is_lost_and_one_that_is_doubled() {
    for (plant, found) in [(Plant::Loss, (1, 0)), (Plant::Repeat, (0, 1))] {
        let summary = soaked(0.02, Some(plant));
        assert_eq!((summary.lost, summary.double), found, "{summary:#?}");
        // The audit finds it too.
        assert_eq!(summary.broken.len(), 2, "{summary:#?}");
    }
}
