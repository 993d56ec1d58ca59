//! Event time: the one time that decides an event's hour in the lake, and with it its settled counts.

use crate::{Timestamp, occurred};

/// How long before its arrival an event may have happened: 400 days, in milliseconds. A year's export fits, with a month to
/// send it.
pub const MAX_AGE: u64 = 400 * 24 * 60 * 60 * 1000;

/// How long after its arrival an event may claim to have happened, as clients' clocks are ahead at times: 10 minutes, in
/// milliseconds.
pub const MAX_AHEAD: u64 = 10 * 60 * 1000;

/// Returns the event time: `occurred_at` if it is within the bounds, or else the time of arrival.
#[must_use]
pub fn of(occurred_at: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    occurred_at.filter(|&at| is_within(at, received_at)).unwrap_or(received_at)
}

/// Returns the warning for an event that is filed by its time of arrival although its client gave it another time.
#[must_use]
pub fn warning(occurred_at: Option<Timestamp>, received_at: Timestamp) -> Option<&'static str> {
    let at = occurred_at.filter(|&at| !is_within(at, received_at))?;
    Some(if occurred::SECONDS.contains(&at.millis()) {
        "occurred_at looks like seconds, and is milliseconds: the event is filed by its time of arrival"
    } else if at < received_at {
        "occurred_at is more than 400 days before the arrival: the event is filed by its time of arrival"
    } else {
        "occurred_at is more than 10 minutes after the arrival: the event is filed by its time of arrival"
    })
}

fn is_within(at: Timestamp, received_at: Timestamp) -> bool {
    let (at, received_at) = (at.millis(), received_at.millis());
    (received_at.saturating_sub(MAX_AGE)..=received_at + MAX_AHEAD).contains(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_179_605_007;

    fn at(millis: u64) -> (Timestamp, Option<&'static str>) {
        let (at, now) = (Some(Timestamp::saturating(millis)), Timestamp::saturating(NOW));
        (of(at, now), warning(at, now))
    }

    #[test]
    fn a_time_within_the_bounds_is_the_event_time() {
        for millis in [NOW - MAX_AGE, NOW - 1, NOW, NOW + 1, NOW + MAX_AHEAD] {
            assert_eq!(at(millis), (Timestamp::saturating(millis), None));
        }
    }

    #[test]
    fn a_time_out_of_bounds_is_warned_of_and_the_time_of_arrival_counts() {
        for (millis, reason) in [
            (0, "more than 400 days before"),
            (315_532_800_000, "more than 400 days before"),
            (NOW - MAX_AGE - 1, "more than 400 days before"),
            (NOW + MAX_AHEAD + 1, "more than 10 minutes after"),
            (u64::MAX, "more than 10 minutes after"),
            (NOW / 1000, "looks like seconds"),
        ] {
            let (time, warning) = at(millis);
            assert_eq!(time.millis(), NOW);
            assert!(warning.unwrap().contains(reason), "{millis}");
        }
    }

    #[test]
    fn an_event_without_a_time_of_its_own_has_that_of_its_arrival() {
        let now = Timestamp::saturating(NOW);
        assert_eq!((of(None, now), warning(None, now)), (now, None));
    }
}
