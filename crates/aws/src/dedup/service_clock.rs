//! A clock set by DynamoDB's answers.
//!
//! Several processes compare their claims on ids, and DynamoDB removes items by its own clock. A process with a wrong clock
//! would take over a claim that still holds, or make one that holds for days, or mark an event so that it is forgotten at
//! once. The SDK does not prevent that: it corrects its signatures by the skew that it sees.
//!
//! So the `Date` of each answer (RFC 9110, section 6.6.1), including errors, sets this clock, which then advances by the time
//! that passes. The time that passes is read on two clocks, and each has its weakness: the wall clock may jump, and the
//! monotonic one may stand still while Lambda freezes a process or a laptop sleeps. While both agree, the last answer still
//! counts; where they differ, another answer is needed.

use std::{fmt, sync::Arc, time::Duration};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{DateTime, config_bag::ConfigBag, date_time::Format};
use parking_lot::Mutex;
use weir_core::{Clock, Timestamp};

/// The most by which the two clocks may differ.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The greatest age of an answer's `Date` on arrival: an attempt of a call takes no longer, and `Date` is in whole seconds. So
/// the clocks of two processes differ by at most this much, and a claim holds that much longer than any request takes.
const OLDEST: Duration = Duration::from_secs(6);

/// A clock that a service's answers set; clones share it.
#[derive(Clone)]
pub(crate) struct ServiceClock {
    local: Arc<dyn Clock>,
    seen: Arc<Mutex<Seen>>,
}

/// The last reading from an answer.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// No answer has come.
    Nothing,
    /// Answers come without a `Date`, as an emulator's do: only the machine's clock is left.
    NoDate,
    /// The time of the last answer, and the readings of both clocks when it came.
    Date { service: Timestamp, wall: Timestamp, elapsed: Duration },
}

impl ServiceClock {
    pub(crate) fn new(local: Arc<dyn Clock>) -> Self {
        Self { local, seen: Arc::new(Mutex::new(Seen::Nothing)) }
    }

    /// Returns the time by the last answer, or by the machine's clock if there was none.
    pub(crate) fn now(&self) -> Timestamp {
        match *self.seen.lock() {
            Seen::Nothing | Seen::NoDate => self.local.now(),
            Seen::Date { service, elapsed, .. } => {
                let passed = self.local.elapsed().saturating_sub(elapsed).as_millis();
                service.plus_millis(u64::try_from(passed).unwrap_or(u64::MAX))
            }
        }
    }

    /// Returns whether [`now`](Self::now) can be compared with other processes' times: an answer has come, and neither of the
    /// machine's clocks has jumped or stood still since.
    pub(crate) fn is_set(&self) -> bool {
        match *self.seen.lock() {
            Seen::Nothing => false,
            Seen::NoDate => true,
            Seen::Date { wall, elapsed, .. } => {
                let by_elapsed = self.local.elapsed().saturating_sub(elapsed).as_millis();
                let by_wall = i128::from(self.local.now().millis()) - i128::from(wall.millis());
                i128::try_from(by_elapsed)
                    .is_ok_and(|by_elapsed| (by_wall - by_elapsed).unsigned_abs() <= TOLERANCE.as_millis())
            }
        }
    }

    /// Sets the clock by an answer's `Date`. A slow answer does not set the clock back.
    fn see(&self, date: Option<&str>) {
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let millis =
            date.and_then(|date| date.to_millis().ok()).and_then(|millis| u64::try_from(millis).ok());
        let (is_set, now) = (self.is_set(), self.now());
        let mut seen = self.seen.lock();
        match (millis, *seen) {
            (Some(millis), before) => {
                let mut service = Timestamp::saturating(millis);
                let behind = now.millis().saturating_sub(millis);
                if matches!(before, Seen::Date { .. }) && is_set && u128::from(behind) <= OLDEST.as_millis() {
                    service = service.max(now);
                }
                *seen = Seen::Date { service, wall: self.local.now(), elapsed: self.local.elapsed() };
            }
            (None, Seen::Nothing) => *seen = Seen::NoDate,
            (None, Seen::NoDate | Seen::Date { .. }) => {}
        }
    }
}

impl fmt::Debug for ServiceClock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServiceClock").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "ServiceClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.see(context.response().headers().get("date"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use weir_core::ManualClock;

    use super::*;

    const DATE: &str = "Fri, 20 Nov 2026 13:00:00 GMT";
    const THEN: u64 = 1_795_179_600_000;
    const TWO_DAYS: i64 = 172_800_000;

    fn clocks() -> (Arc<ManualClock>, ServiceClock) {
        let local = Arc::new(ManualClock::at(Timestamp::saturating(0)));
        (local.clone(), ServiceClock::new(local))
    }

    #[test]
    fn answers_set_the_clock_and_jumps_of_the_machines_clock_do_not() {
        let (local, clock) = clocks();
        assert!(!clock.is_set(), "only the machine's clock is known");
        assert_eq!(clock.now().millis(), 0);
        clock.see(Some(DATE));
        assert!(clock.is_set());
        assert_eq!(clock.now().millis(), THEN);
        local.jump(-TWO_DAYS);
        local.advance(1500);
        assert_eq!(clock.now().millis(), THEN + 1500);
    }

    #[test]
    fn another_answer_is_needed_once_the_two_clocks_of_the_machine_differ() {
        for jump in [TWO_DAYS, 5_000, -5_000, -TWO_DAYS] {
            let (local, clock) = clocks();
            local.jump(2 * TWO_DAYS);
            clock.see(Some(DATE));
            local.advance(3_600_000);
            assert!(clock.is_set(), "an hour passed on both");
            local.jump(jump);
            assert!(!clock.is_set(), "{jump}");
            clock.see(Some(DATE));
            assert!(clock.is_set());
        }
    }

    #[test]
    fn an_answer_that_was_slow_to_come_sets_the_clock_back_by_nothing_and_another_time_sets_it() {
        for (passed, shown) in [(500, 500), (5_999, 5_999), (6_001, 0)] {
            let (local, clock) = clocks();
            clock.see(Some(DATE));
            local.advance(passed);
            clock.see(Some(DATE));
            assert_eq!(clock.now().millis(), THEN + shown, "after {passed} ms");
        }
    }

    #[test]
    fn the_machines_clock_is_all_there_is_where_answers_have_no_date() {
        for date in [None, Some("no date")] {
            let (local, clock) = clocks();
            clock.see(date);
            local.jump(TWO_DAYS);
            assert!(clock.is_set());
            assert_eq!(i64::try_from(clock.now().millis()).unwrap(), TWO_DAYS);
            clock.see(Some(DATE));
            clock.see(date);
            assert_eq!(clock.now().millis(), THEN);
        }
    }
}
