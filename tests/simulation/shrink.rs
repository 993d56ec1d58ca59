//! A list that breaks a promise, made as short as it can be while it still does.

use std::collections::BTreeSet;

use crate::{
    operations::{Op, What},
    planted::Bug,
    run::replay,
};

/// So many runs are spent on a list at the most.
const RUNS: usize = 1000;

/// What is left of a list.
pub(crate) struct Shrunk {
    pub(crate) list: Vec<Op>,
    /// How many runs that took.
    pub(crate) runs: usize,
}

/// Leaves out of a list what a check does not need to fail.
pub(crate) fn shrink(list: &[Op], check: &str, bug: Option<Bug>) -> Shrunk {
    let mut shrinking = Shrinking { check, bug, list: list.to_vec(), runs: 0 };
    shrinking.drop_kinds();
    shrinking.drop_chunks();
    Shrunk { list: shrinking.list, runs: shrinking.runs }
}

struct Shrinking<'a> {
    check: &'a str,
    bug: Option<Bug>,
    list: Vec<Op>,
    runs: usize,
}

impl Shrinking<'_> {
    /// Takes a shorter list, if the check fails with it too: without what did not even happen.
    fn take(&mut self, shorter: &[Op]) -> bool {
        if self.runs >= RUNS {
            return false;
        }
        self.runs += 1;
        let outcome = replay(shorter, self.bug, false);
        let fails = outcome.broken.iter().any(|(check, _)| *check == self.check);
        if fails {
            self.list = outcome.list;
        }
        fails
    }

    /// First whole kinds of operations: most of a list are delays that nothing depends on.
    fn drop_kinds(&mut self) {
        let kinds: BTreeSet<Option<What>> = self.list.iter().map(kind).collect();
        for dropped in kinds {
            let shorter: Vec<Op> = self.list.iter().filter(|op| kind(op) != dropped).copied().collect();
            if shorter.len() < self.list.len() {
                self.take(&shorter);
            }
        }
    }

    /// Then halves, quarters and so on, and single operations, until each that is left is needed.
    fn drop_chunks(&mut self) {
        let mut size = self.list.len().div_ceil(2);
        while size > 0 {
            let before = self.list.len();
            let mut at = 0;
            while at < self.list.len() {
                let end = (at + size).min(self.list.len());
                let shorter = [&self.list[..at], &self.list[end..]].concat();
                if !self.take(&shorter) {
                    at = end;
                }
            }
            size = match size {
                1 if self.list.len() < before && self.runs < RUNS => 1,
                1 => 0,
                size => size.min(self.list.len()).div_ceil(2),
            };
        }
    }
}

fn kind(op: &Op) -> Option<What> {
    match op {
        Op::Luck { what, .. } => Some(*what),
        _ => None,
    }
}
