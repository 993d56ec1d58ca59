//! What happened in a run, in its order: the hash of it tells whether a run is repeated to the letter.

use std::sync::Mutex;

use crate::dice::fnv;

/// A run's trace.
pub(crate) struct Trace {
    state: Mutex<State>,
    keeps: bool,
}

struct State {
    hash: u64,
    lines: Vec<String>,
}

impl Trace {
    /// A trace; one that `keeps` its lines can show them.
    pub(crate) fn new(keeps: bool) -> Self {
        Self { state: Mutex::new(State { hash: 0xcbf2_9ce4_8422_2325, lines: Vec::new() }), keeps }
    }

    pub(crate) fn note(&self, millis: u64, what: &str) {
        let mut state = self.state.lock().unwrap();
        state.hash = fnv(fnv(state.hash, &millis.to_le_bytes()), what.as_bytes());
        if self.keeps {
            state.lines.push(format!("{}.{:03} {what}", millis / 1000, millis % 1000));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.state.lock().unwrap().hash
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }
}
