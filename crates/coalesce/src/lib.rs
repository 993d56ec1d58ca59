//! Ports over ports: what many ask for at the same time is asked for once.
//!
//! An engine that is reached over a network is paid for by the call, and answers after milliseconds in which others ask
//! for the same. [`Coalescing`] puts a port before each of an engine's, of the same kind, which shares calls:
//!
//! | port | what is shared |
//! | --- | --- |
//! | `LiveCounts::read` | the counters of all who wait, each once, 100 in a call at the most |
//! | `LiveCounts::totals` and `keys`, `SettledCounts::totals` and `hours`, `RecentRejected::latest` | one call for all who ask the same |
//! | `LiveCounts::raise` | one call with the sum for each counter |
//! | `Stream::append` | one call for small appends |
//!
//! All other calls go through as they are. What holds for all of them:
//!
//! - **Nobody is given an answer that is older than their question.** A call is joined only until it leaves.
//! - **Who is alone waits for nothing.** A call leaves at once where none of its kind is under way. What comes meanwhile
//!   gathers, and leaves when that one is back, after [`GATHERING`], or once it is full, whichever is sooner.
//! - **Each is told of their own.** Errors are shared as they are by those who share what failed, and by nobody else.
//! - **Whoever goes away ends nothing.** A shared call runs in a task of its own.
//! - **Nothing stays behind**: a lane ends with its last call.
//!
//! Read in this order: `lanes` is how calls gather and leave; `same`, `reads`, `raises` and `appends` are what gathers;
//! `ports` puts it behind the ports; `work` counts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod appends;
mod lanes;
mod ports;
mod raises;
mod reads;
mod same;
mod work;

use std::{sync::Arc, time::Duration};

use weir_core::ports::{LiveCounts, RecentRejected, SettledCounts, Stream};

use lanes::Rules;
use ports::{SharedLiveCounts, SharedRecentRejected, SharedSettledCounts};
use work::Counted;

pub use work::{Shared, Work};

/// For how long calls gather at the most while one of their kind is under way. Of 10,000 reads of 20 counters that came
/// over one second, from an engine that answers after 20 ms (`weir-bench coalesce --over 1000 --latency 20 --gathering N`,
/// two busy cores, not optimised): 1 ms took 405 calls and half of the callers 24 ms or less; 2 ms 287 and 26; 5 ms 153 and
/// 26; 10 ms 89 and 30; 20 ms 49 and 37.
pub const GATHERING: Duration = Duration::from_millis(5);

/// How long a caller waits for what it reads, unless somebody says.
pub const READ_WITHIN: Duration = Duration::from_secs(10);

/// How ports are put before others, and how much that spared. All ports that one of these makes are counted together.
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
    /// With the usual times.
    #[must_use]
    pub fn new() -> Self {
        Self { gathering: GATHERING, read_within: READ_WITHIN, counted: Arc::default() }
    }

    /// Calls gather for so long at the most.
    #[must_use]
    pub fn gathering_for(self, gathering: Duration) -> Self {
        Self { gathering, ..self }
    }

    /// A caller waits for so long at the most for what it reads, and is told then that it is not available. The call
    /// goes on for the others.
    #[must_use]
    pub fn reading_within(self, read_within: Duration) -> Self {
        Self { read_within, ..self }
    }

    /// Live counts that share reads and increments.
    pub fn live_counts(&self, inner: Arc<dyn LiveCounts>) -> Arc<dyn LiveCounts> {
        Arc::new(SharedLiveCounts::new(inner, self))
    }

    /// Settled counts that share reads.
    pub fn settled_counts(&self, inner: Arc<dyn SettledCounts>) -> Arc<dyn SettledCounts> {
        Arc::new(SharedSettledCounts::new(inner, self))
    }

    /// Recent rejected events that share reads.
    pub fn recent_rejected(&self, inner: Arc<dyn RecentRejected>) -> Arc<dyn RecentRejected> {
        Arc::new(SharedRecentRejected::new(inner, self))
    }

    /// A stream that shares appends.
    pub fn stream(&self, inner: Arc<dyn Stream>) -> Arc<dyn Stream> {
        Arc::new(appends::SharedStream::new(inner, self))
    }

    /// What was asked for and what was done, since this was last asked.
    #[must_use]
    pub fn take_work(&self) -> Work {
        self.counted.take()
    }

    fn rules(&self) -> Rules {
        Rules { gathering: self.gathering, ..Rules::default() }
    }
}
