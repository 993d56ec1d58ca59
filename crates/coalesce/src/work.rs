//! Counts requests, and the calls that they took.

use std::sync::atomic::{AtomicU64, Ordering};

/// The requests, and the calls that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Reads of counts and of rejected events.
    pub reads: Shared,
    /// Increments.
    pub raises: Shared,
    /// Appends to the stream.
    pub appends: Shared,
}

/// The requests of one kind, and the calls that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// The number of requests.
    pub requests: u64,
    /// The number of calls of the engine.
    pub calls: u64,
}

/// The running counters behind [`Work`].
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) reads: Counters,
    pub(crate) raises: Counters,
    pub(crate) appends: Counters,
}

#[derive(Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    calls: AtomicU64,
}

impl Counted {
    pub(crate) fn take(&self) -> Work {
        Work { reads: self.reads.take(), raises: self.raises.take(), appends: self.appends.take() }
    }
}

impl Counters {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> Shared {
        Shared {
            requests: self.requests.swap(0, Ordering::Relaxed),
            calls: self.calls.swap(0, Ordering::Relaxed),
        }
    }
}
