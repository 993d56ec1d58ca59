//! The time of a run: it stands still while anything can be done, and then leaps to the next thing that waits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;
use weir_core::{Clock, Timestamp};

use crate::dice::Dice;

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
    /// A clock that is right in some runs, in others is off by days from the start or from some moment on, and in others
    /// stands still for a while.
    pub(crate) fn drawn(right: SimulatedClock, dice: &Dice) -> Self {
        let off = *dice.pick(&[240_000, 2 * DAY, -2 * DAY]);
        let (ahead, still) = *dice.pick(&[
            ([0, 0], 0),
            ([off, off], 0),
            ([0, off], 0),
            ([off, 0], 0),
            ([0, 0], 600),
            ([off, 2 * off], 600),
        ]);
        Self { ahead, stands_still: Duration::from_secs(still), ..Self::ahead_at_first(right, dice) }
    }

    /// A clock that is ahead at first, and then is set right.
    pub(crate) fn ahead_at_first(right: SimulatedClock, dice: &Dice) -> Self {
        let ahead = [*dice.pick(&[0, 30_000, 240_000, 2 * DAY]), 0];
        let jumps_at = Duration::from_secs(dice.range(60..1_200));
        Self { right, ahead, jumps_at, stands_still: Duration::ZERO }
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
