//! Counts requests, and the calls that they took.

use std::sync::atomic::{AtomicU64, Ordering};

/// The requests of each kind, and the calls that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchingStats {
    /// Reads of counts, of latest values and of rejected events.
    pub reads: Batched,
    /// Increments of counts, and latest values that are raised.
    pub increments: Batched,
    /// Appends to the stream.
    pub appends: Batched,
}

/// The requests of one kind, and the calls that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batched {
    /// The number of requests.
    pub requests: u64,
    /// The number of calls of the engine.
    pub calls: u64,
}

/// The running counters behind [`BatchingStats`].
#[derive(Default)]
pub(super) struct Stats {
    pub(super) reads: Counters,
    pub(super) increments: Counters,
    pub(super) appends: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    calls: AtomicU64,
}

impl Stats {
    pub(super) fn take(&self) -> BatchingStats {
        BatchingStats {
            reads: self.reads.take(),
            increments: self.increments.take(),
            appends: self.appends.take(),
        }
    }
}

impl Counters {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> Batched {
        Batched {
            requests: self.requests.swap(0, Ordering::Relaxed),
            calls: self.calls.swap(0, Ordering::Relaxed),
        }
    }
}
