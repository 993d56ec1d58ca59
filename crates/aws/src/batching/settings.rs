//! The times and bounds of batching, and the counters that all batched ports share.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{batcher::Limits, stats::Stats};

/// The longest that requests gather while a call of their kind is under way. Measured with 10,000 reads of 20 counters
/// over one second, from an engine that answers after 20 ms (`weir-bench batching --over 1000 --latency 20 --gathering
/// N`, two busy cores, not optimised): 1 ms took 405 calls and half of the callers 24 ms or less; 2 ms 287 and 26; 5 ms
/// 153 and 26; 10 ms 89 and 30; 20 ms 49 and 37.
pub const GATHERING: Duration = Duration::from_millis(5);

/// The default limit on how long a caller waits for a read.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// The most calls of one kind under way at once.
pub(super) const AT_ONCE: u32 = 128;

/// The time for which a request waits for a permit before it fails: a stored event must be acknowledged in time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The settings that all ports of one [`Batching`](super::Batching) share.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) gathering: Duration,
    pub(super) read_within: Duration,
    pub(super) stats: Arc<Stats>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { gathering: GATHERING, read_within: READ_WITHIN, stats: Arc::default() }
    }
}

impl Settings {
    /// Returns the limits of one kind of request, with permits of its own.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            gathering: self.gathering,
            of_a_key: AT_ONCE,
            permits: Arc::new(Semaphore::new(AT_ONCE as usize)),
            patience: PATIENCE,
        }
    }
}
