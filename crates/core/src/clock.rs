//! The source of the time: passed in, so that a run can be repeated.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::Timestamp;

/// A source of the time of day, and of the time that passes.
pub trait Clock: Send + Sync {
    /// Returns the wall clock's time: it may be wrong, and may jump in both directions.
    fn now(&self) -> Timestamp;

    /// Returns the time that has passed since some moment in the life of this process, by a monotonic clock. Only the
    /// difference of two readings has a meaning. Weir forgets things by this time, never by [`now`](Self::now).
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::saturating(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        static FIRST_READING: LazyLock<Instant> = LazyLock::new(Instant::now);
        FIRST_READING.elapsed()
    }
}

/// A clock that stands still until it is set: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    start: u64,
    elapsed: AtomicU64,
    /// How far the wall clock is ahead of the time that has passed.
    ahead: AtomicI64,
}

impl ManualClock {
    /// Makes a clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { start: now.millis(), elapsed: AtomicU64::new(0), ahead: AtomicI64::new(0) }
    }

    /// Lets `millis` milliseconds pass.
    pub fn advance(&self, millis: u64) {
        self.elapsed.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the wall clock forward or back by `millis` milliseconds; no time passes.
    pub fn jump(&self, millis: i64) {
        self.ahead.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let passed = self.start.saturating_add(self.elapsed.load(Ordering::SeqCst));
        Timestamp::saturating(passed.saturating_add_signed(self.ahead.load(Ordering::SeqCst)))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::SeqCst))
    }
}
