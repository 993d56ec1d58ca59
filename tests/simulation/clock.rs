//! The time of a run: it stands still while anything can be done, and then leaps to the next thing that waits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;
use weir_core::{Clock, Timestamp};

/// Weir's clock and the SDK's: the time of day that tokio's paused time amounts to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimulatedClock {
    start: Instant,
    at_start: u64,
}

impl SimulatedClock {
    /// A clock that shows `at_start` (milliseconds since 1970) now.
    pub(crate) fn starting(at_start: u64) -> Self {
        Self { start: Instant::now(), at_start }
    }

    /// Milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        self.at_start + u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.millis())
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl TimeSource for SimulatedClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.millis())
    }
}

/// Waits, in the run's time.
pub(crate) async fn wait(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
