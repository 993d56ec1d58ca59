//! Batching and single-flight in front of the engine: callers at the same time share calls.
//!
//! AWS bills each call, and takes milliseconds to answer, in which other callers ask for the same. [`Batching`] wraps a port in
//! a port of the same kind that shares calls:
//!
//! | port | how calls are shared |
//! | --- | --- |
//! | `LiveCounts::read` | one call for the counters of all waiting callers, each once, 100 in a call at the most |
//! | `LiveCounts::totals` and `keys`, `SettledCounts::totals` and `hours`, `RecentRejected::latest` | one call for all equal requests |
//! | `LatestValues::read` | one call for the keys of all callers who ask for the same user's type, each key once |
//! | `LatestValues::list` | one call for all equal requests |
//! | `LiveCounts::raise` | one call with the sum for each counter |
//! | `LatestValues::raise` | one call with the newest value of each resource |
//! | `Stream::append` | one call for small appends |
//!
//! All other calls go through unchanged. The rules for all shared calls:
//!
//! - **No answer is older than its question.** A caller can join a call only until it leaves.
//! - **A lone caller is dispatched at once.** A call leaves at once if none of its kind is under way. Requests that
//!   come meanwhile gather, and leave when that call is back or after [`GATHERING`], whichever is sooner. Once they are more
//!   than one call takes, they do not gather any longer.
//! - **Calls under way are bounded** by permits (128 of a kind). That is backpressure: requests without a
//!   permit gather. One that gets none within 2 seconds fails, and was not sent.
//! - **Each caller gets its own answer.** Only the callers who share a failed call share its error, which is passed on
//!   unchanged.
//! - **A caller that goes away cancels nothing.** A shared call runs in a task of its own.
//! - **Nothing stays behind**: a queue ends with its last call.
//!
//! Read in this order: `batcher` gathers requests and makes calls; `single_flight`, `reads`, `increments` and `appends`
//! merge them; `ports` and `latest` put them behind the ports; `stats` counts.

mod appends;
mod batcher;
mod increments;
mod latest;
mod ports;
mod reads;
mod settings;
mod single_flight;
mod stats;

use std::{sync::Arc, time::Duration};

use weir_core::ports::{LatestValues, LiveCounts, Ports, RecentRejected, SettledCounts, Stream};

use appends::BatchedStream;
use latest::BatchedLatestValues;
use ports::{BatchedLiveCounts, BatchedRecentRejected, BatchedSettledCounts};
use settings::Settings;

pub use settings::GATHERING;
pub use stats::{Batched, BatchingStats};

/// Wraps ports so that callers share calls, and counts the calls saved. All ports that one of these makes are counted
/// together.
#[derive(Clone, Default)]
pub struct Batching(Settings);

impl Batching {
    /// Sets the longest that requests gather.
    #[must_use]
    pub fn gathering_for(self, gathering: Duration) -> Self {
        Self(Settings { gathering, ..self.0 })
    }

    /// Sets how long a caller waits for a read at the most; it then gets the error that the engine is not available.
    /// The call goes on for the others.
    #[must_use]
    pub fn reading_within(self, read_within: Duration) -> Self {
        Self(Settings { read_within, ..self.0 })
    }

    /// Wraps the collector's ports.
    #[must_use]
    pub fn ports(&self, inner: Ports) -> Ports {
        Ports {
            stream: self.stream(inner.stream),
            live: self.live_counts(inner.live),
            minutes: inner.minutes,
            settled: self.settled_counts(inner.settled),
            rejected: self.recent_rejected(inner.rejected),
            newest: inner.newest,
            follow: inner.follow,
            receipts: inner.receipts,
            answers: inner.answers,
            latest: self.latest_values(inner.latest),
            health: inner.health,
        }
    }

    /// Wraps live counts so that callers share reads and increments.
    pub fn live_counts(&self, inner: Arc<dyn LiveCounts>) -> Arc<dyn LiveCounts> {
        Arc::new(BatchedLiveCounts::new(inner, &self.0))
    }

    /// Wraps settled counts so that callers share reads.
    pub fn settled_counts(&self, inner: Arc<dyn SettledCounts>) -> Arc<dyn SettledCounts> {
        Arc::new(BatchedSettledCounts::new(inner, &self.0))
    }

    /// Wraps recent rejected events so that callers share reads.
    pub fn recent_rejected(&self, inner: Arc<dyn RecentRejected>) -> Arc<dyn RecentRejected> {
        Arc::new(BatchedRecentRejected::new(inner, &self.0))
    }

    /// Wraps latest values so that callers share reads and writes.
    pub fn latest_values(&self, inner: Arc<dyn LatestValues>) -> Arc<dyn LatestValues> {
        Arc::new(BatchedLatestValues::new(inner, &self.0))
    }

    /// Wraps a stream so that callers share appends.
    pub fn stream(&self, inner: Arc<dyn Stream>) -> Arc<dyn Stream> {
        Arc::new(BatchedStream::new(inner, &self.0))
    }

    /// Returns the requests and calls counted since the last time, and resets them.
    #[must_use]
    pub fn take_stats(&self) -> BatchingStats {
        self.0.stats.take()
    }
}
