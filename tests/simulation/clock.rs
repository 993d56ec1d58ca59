//! The time of a run: it stands still while anything can be done, and then leaps to the next thing that waits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;
use weir_core::{Clock, Timestamp};

use crate::{luck::Luck, operations::Machine};

/// In milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

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

    /// Waits until so many milliseconds have passed since the start.
    pub(crate) async fn until(&self, since_start: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(since_start)).await;
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

/// The clocks of a machine that are wrong: the wall clock, or the one that counts what time passes, or both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongClock {
    right: SimulatedClock,
    /// By how many milliseconds the wall clock is ahead, before a moment of the run and from then on.
    ahead: [i64; 2],
    jumps_at: Duration,
    /// How long the count of what time passes stands still at that moment, as where a process is frozen.
    stands_still: Duration,
}

impl WrongClock {
    /// The clock of a machine: right in some runs; in others off by days from the start or from some moment on, or standing
    /// still for a while. The authorizer's is ahead at first, and then is set right.
    pub(crate) fn of(machine: Machine, right: SimulatedClock, luck: &Luck) -> Self {
        let (ahead, jumps_at, still) = luck.clock(machine, |dice| {
            let off = *dice.pick(&[240_000, 2 * DAY, -2 * DAY]);
            let wrong = [
                ([0, 0], 0),
                ([off, off], 0),
                ([0, off], 0),
                ([off, 0], 0),
                ([0, 0], 600),
                ([off, 2 * off], 600),
            ];
            let (ahead, still) = match machine {
                Machine::Authorizer => ([*dice.pick(&[0, 30_000, 240_000, 2 * DAY]), 0], 0),
                _ => *dice.pick(&wrong),
            };
            (ahead, dice.range(60..1_200), still)
        });
        let [jumps_at, stands_still] = [jumps_at, still].map(Duration::from_secs);
        Self { right, ahead, jumps_at, stands_still }
    }
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead[usize::from(self.right.elapsed() >= self.jumps_at)];
        Timestamp::saturating(self.right.millis().saturating_add_signed(ahead))
    }

    fn elapsed(&self) -> Duration {
        let passed = self.right.elapsed();
        let goes_on_at = self.jumps_at + self.stands_still;
        if passed < self.jumps_at {
            passed
        } else if passed < goes_on_at {
            self.jumps_at
        } else {
            passed.saturating_sub(self.stands_still)
        }
    }
}

/// Waits, in the run's time.
pub(crate) async fn wait(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
