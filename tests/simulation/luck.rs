//! Luck: what happens in a run, drawn from a seed or read from a list.
//!
//! What is drawn follows from the seed, from whom it happens to and from how often it could have happened to them before: not
//! from what happens elsewhere. So a list from which operations were taken goes on as before in all else.

use std::{collections::HashMap, sync::Mutex};

use crate::{
    dice::Dice,
    faults::Fault,
    operations::{Machine, Op, What, Who},
    people,
};

/// The luck of a run.
pub(crate) struct Luck {
    source: Source,
    /// What people do.
    people: Vec<Op>,
    state: Mutex<State>,
}

enum Source {
    Seed(u64),
    List { faults: HashMap<(Who, u32), Fault>, numbers: HashMap<(Who, What, u32), u64>, clocks: Vec<Op> },
}

#[derive(Default)]
struct State {
    calls: HashMap<Who, u32>,
    times: HashMap<(Who, What), u32>,
    /// What was not as usual.
    happened: Vec<Op>,
}

impl Luck {
    /// What follows from a seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let lasts = lasts(&Dice::of(seed, &(Who::Run, What::Lasts, 0_u32)));
        Self { source: Source::Seed(seed), people: people::of_seed(seed, lasts), state: Mutex::default() }
    }

    /// What a list has, and nothing else.
    pub(crate) fn of_list(list: &[Op]) -> Self {
        let (mut faults, mut numbers) = (HashMap::new(), HashMap::new());
        let (mut clocks, mut people) = (Vec::new(), Vec::new());
        for op in list {
            match *op {
                Op::Fault { of, call, is } => drop(faults.insert((of, call), is)),
                Op::Luck { of, what, nth, is } => drop(numbers.insert((of, what, nth), is)),
                Op::Clock { .. } => clocks.push(*op),
                _ => people.push(*op),
            }
        }
        Self { source: Source::List { faults, numbers, clocks }, people, state: Mutex::default() }
    }

    /// What people do.
    pub(crate) fn people(&self) -> &[Op] {
        &self.people
    }

    /// All that happened, as a list.
    pub(crate) fn happened(&self) -> Vec<Op> {
        [&self.people[..], &self.state.lock().unwrap().happened].concat()
    }

    /// The dice of a seed, for this; a list has none.
    pub(crate) fn dice(&self, purpose: &str) -> Option<Dice> {
        match self.source {
            Source::Seed(seed) => Some(Dice::new(seed, purpose)),
            Source::List { .. } => None,
        }
    }

    /// A number, which usually is `usual`.
    pub(crate) fn number(&self, of: Who, what: What, usual: u64, draw: impl FnOnce(&Dice) -> u64) -> u64 {
        let mut state = self.state.lock().unwrap();
        let nth = next(state.times.entry((of, what)).or_default());
        let is = match &self.source {
            Source::Seed(seed) => draw(&Dice::of(*seed, &(of, what, nth))),
            Source::List { numbers, .. } => numbers.get(&(of, what, nth)).copied().unwrap_or(usual),
        };
        if is != usual {
            state.happened.push(Op::Luck { of, what, nth, is });
        }
        is
    }

    /// The fault of the next call on behalf of `of`.
    pub(crate) fn fault(&self, of: Who, draw: impl FnOnce(&Dice) -> Option<Fault>) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let call = next(state.calls.entry(of).or_default());
        let fault = match &self.source {
            Source::Seed(seed) => draw(&Dice::of(*seed, &(of, call))),
            Source::List { faults, .. } => faults.get(&(of, call)).copied(),
        };
        state.happened.extend(fault.map(|is| Op::Fault { of, call, is }));
        fault
    }

    /// What is wrong with the clocks of a machine: see [`Op::Clock`].
    pub(crate) fn clock(
        &self,
        of: Machine,
        draw: impl FnOnce(&Dice) -> ([i64; 2], u64, u64),
    ) -> ([i64; 2], u64, u64) {
        let mut state = self.state.lock().unwrap();
        let clock = match &self.source {
            Source::Seed(seed) => draw(&Dice::of(*seed, &of)),
            Source::List { clocks, .. } => clocks
                .iter()
                .find_map(|op| match *op {
                    Op::Clock { of: whose, ahead, jumps_at, stands_still } if whose == of => {
                        Some((ahead, jumps_at, stands_still))
                    }
                    _ => None,
                })
                .unwrap_or_default(),
        };
        let (ahead, jumps_at, stands_still) = clock;
        let op = Op::Clock { of, ahead, jumps_at, stands_still };
        if (ahead, stands_still) != ([0, 0], 0) && !state.happened.contains(&op) {
            state.happened.push(op);
        }
        clock
    }
}

/// How long people are at work, in milliseconds.
pub(crate) fn lasts(dice: &Dice) -> u64 {
    dice.range(300_000..1_500_000)
}

/// Counts one more, and answers with how many there were.
fn next(count: &mut u32) -> u32 {
    *count += 1;
    *count - 1
}
