//! Request coalescing (single-flight and batching) in front of the ports.
//!
//! A remote engine is paid for by the call, and answers after milliseconds in which other callers ask for the same.
//! [`Coalescing`] wraps an engine's port in a port of the same kind that shares calls:
//!
//! | port | how calls are shared |
//! | --- | --- |
//! | `LiveCounts::read` | one call for the counters of all waiting callers, each once, 100 in a call at the most |
//! | `LiveCounts::totals` and `keys`, `SettledCounts::totals` and `hours`, `RecentRejected::latest` | one call for all equal requests |
//! | `LiveCounts::raise` | one call with the sum for each counter |
//! | `Stream::append` | one call for small appends |
//!
//! All other calls go through unchanged. The rules for all shared calls:
//!
//! - **No answer is older than its question.** A caller can join a call only until it leaves.
//! - **A lone caller is dispatched at once.** A call leaves at once if none of its kind is under way. Requests that
//!   come meanwhile gather, and leave when that call is back, after [`GATHERING`], or once the batch is full, whichever
//!   is sooner.
//! - **Each caller gets its own answer.** Only the callers who share a failed call share its error, which is passed on
//!   unchanged.
//! - **A caller that goes away cancels nothing.** A shared call runs in a task of its own.
//! - **Nothing stays behind**: a lane ends with its last call.
//!
//! Read in this order: `lanes` gathers and dispatches calls; `same`, `reads`, `raises` and `appends` define the
//! batches; `ports` puts them behind the ports; `work` counts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod appends;
mod lanes;
mod ports;
mod raises;
mod reads;
mod same;
mod work;

use std::{sync::Arc, time::Duration};

use weir_core::ports::{LiveCounts, Ports, RecentRejected, SettledCounts, Stream};

use lanes::Rules;
use ports::{SharedLiveCounts, SharedRecentRejected, SharedSettledCounts};
use work::Counted;

pub use work::{Shared, Work};

/// The longest that calls gather while one of their kind is under way. Measured with 10,000 reads of 20 counters over
/// one second, from an engine that answers after 20 ms (`weir-bench coalesce --over 1000 --latency 20 --gathering N`,
/// two busy cores, not optimised): 1 ms took 405 calls and half of the callers 24 ms or less; 2 ms 287 and 26; 5 ms 153
/// and 26; 10 ms 89 and 30; 20 ms 49 and 37.
pub const GATHERING: Duration = Duration::from_millis(5);

/// The default limit on how long a caller waits for a read.
pub const READ_WITHIN: Duration = Duration::from_secs(10);

/// Wraps ports so that they coalesce calls, and counts the calls saved. All ports that one of these makes are counted
/// together.
#[derive(Clone)]
pub struct Coalescing {
    gathering: Duration,
    read_within: Duration,
    counted: Arc<Counted>,
}

impl Default for Coalescing {
    fn default() -> Self {
        Self::new()
    }
}

impl Coalescing {
    /// Returns a wrapper with the default times.
    #[must_use]
    pub fn new() -> Self {
        Self { gathering: GATHERING, read_within: READ_WITHIN, counted: Arc::default() }
    }

    /// Sets the longest that calls gather.
    #[must_use]
    pub fn gathering_for(self, gathering: Duration) -> Self {
        Self { gathering, ..self }
    }

    /// Sets how long a caller waits for a read at the most; it then gets the error that the engine is not available.
    /// The call goes on for the others.
    #[must_use]
    pub fn reading_within(self, read_within: Duration) -> Self {
        Self { read_within, ..self }
    }

    /// Wraps the collector's ports.
    #[must_use]
    pub fn ports(&self, inner: Ports) -> Ports {
        Ports {
            stream: self.stream(inner.stream),
            live: self.live_counts(inner.live),
            settled: self.settled_counts(inner.settled),
            rejected: self.recent_rejected(inner.rejected),
            health: inner.health,
        }
    }

    /// Wraps live counts so that they share reads and increments.
    pub fn live_counts(&self, inner: Arc<dyn LiveCounts>) -> Arc<dyn LiveCounts> {
        Arc::new(SharedLiveCounts::new(inner, self))
    }

    /// Wraps settled counts so that they share reads.
    pub fn settled_counts(&self, inner: Arc<dyn SettledCounts>) -> Arc<dyn SettledCounts> {
        Arc::new(SharedSettledCounts::new(inner, self))
    }

    /// Wraps recent rejected events so that they share reads.
    pub fn recent_rejected(&self, inner: Arc<dyn RecentRejected>) -> Arc<dyn RecentRejected> {
        Arc::new(SharedRecentRejected::new(inner, self))
    }

    /// Wraps a stream so that it batches appends.
    pub fn stream(&self, inner: Arc<dyn Stream>) -> Arc<dyn Stream> {
        Arc::new(appends::SharedStream::new(inner, self))
    }

    /// Returns the requests and calls counted since the last time, and resets them.
    #[must_use]
    pub fn take_work(&self) -> Work {
        self.counted.take()
    }

    fn rules(&self) -> Rules {
        Rules { gathering: self.gathering, ..Rules::default() }
    }
}
