//! UTC hours and days in their text forms: `2026-11-20T13` and `2026-11-20`, with all their digits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Hour, NameError, Timestamp};

const NOT_AN_HOUR: NameError =
    NameError::new("an hour", "is like 2026-11-20T13, in UTC, between the years 1970 and 9999");
const NOT_A_DAY: NameError =
    NameError::new("a day", "is like 2026-11-20, in UTC, between the years 1970 and 9999");

/// A UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(u64);

const HOURS: u64 = 24;

impl Day {
    /// 1970-01-01.
    pub const FIRST: Self = Self(0);

    /// Returns the day of an hour.
    #[must_use]
    pub fn of(hour: Hour) -> Self {
        Self(hour.since_epoch() / HOURS)
    }

    /// Returns the days since 1970-01-01.
    #[must_use]
    pub fn since_epoch(self) -> u64 {
        self.0
    }

    /// Returns the day's first hour.
    #[must_use]
    pub fn first_hour(self) -> Hour {
        hour_at(self.0 * HOURS)
    }

    /// Returns the day's last hour.
    #[must_use]
    pub fn last_hour(self) -> Hour {
        hour_at(self.0 * HOURS + HOURS - 1)
    }

    /// Returns the day after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the day this many days before, or 1970-01-01 if that is later.
    #[must_use]
    pub fn minus(self, days: u64) -> Self {
        Self(self.0.saturating_sub(days))
    }
}

impl Hour {
    /// Returns the hour this many hours before, or the first hour of 1970 if that is later.
    #[must_use]
    pub fn minus(self, hours: u64) -> Self {
        hour_at(self.since_epoch().saturating_sub(hours))
    }
}

impl Hour {
    /// Returns the hour this many hours after, or the last possible hour if that is earlier.
    #[must_use]
    pub fn plus(self, hours: u64) -> Self {
        hour_at(self.since_epoch().saturating_add(hours))
    }
}

/// Returns the hour this many hours after the first, or the last possible hour if that is earlier.
fn hour_at(hours: u64) -> Hour {
    Hour::from_epoch(hours).unwrap_or_else(|_| Timestamp::saturating(u64::MAX).hour())
}

impl fmt::Display for Hour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour] = self.parts();
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}")
    }
}

impl FromStr for Hour {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (date, hour) = text.split_once('T')?;
            hour_of(date, digits(hour, 2)?)
        };
        read().ok_or(NOT_AN_HOUR)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, _] = self.first_hour().parts();
        write!(out, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        hour_of(text, 0).map(Self::of).ok_or(NOT_A_DAY)
    }
}

impl TryFrom<String> for Day {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

/// Returns an hour of a date such as `2026-11-20`.
fn hour_of(date: &str, hour: u8) -> Option<Hour> {
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Hour::of_date(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?, hour)
}

/// Parses a number of exactly `width` digits.
fn digits<N: FromStr>(text: &str, width: usize) -> Option<N> {
    let plain = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hours_and_days_are_written_with_all_their_digits() {
        let hour: Hour = "2026-01-05T09".parse().unwrap();
        assert_eq!(hour.parts(), [2026, 1, 5, 9]);
        assert_eq!(
            (hour.to_string(), Day::of(hour).to_string()),
            ("2026-01-05T09".into(), "2026-01-05".into())
        );
        let day: Day = "2026-01-05".parse().unwrap();
        assert_eq!((day.first_hour().to_string(), day.last_hour().to_string()), {
            ("2026-01-05T00".to_owned(), "2026-01-05T23".to_owned())
        });
        assert_eq!((day.minus(5).to_string(), hour.minus(10).to_string()), {
            ("2025-12-31".to_owned(), "2026-01-04T23".to_owned())
        });
        let first: Hour = "1970-01-01T00".parse().unwrap();
        assert_eq!((first.minus(1), Day::of(first).minus(1)), (first, Day::of(first)));
        let last: Day = "9999-12-30".parse().unwrap();
        assert_eq!(last.last_hour().to_string(), "9999-12-30T22");
    }

    #[test]
    fn no_looser_text_is_an_hour_or_a_day() {
        for bad in [
            "",
            "T",
            "2026-11-20",
            "2026-11-20T",
            "2026-11-20T24",
            "2026-11-20T1",
            "2026-11-20T013",
            "2026-02-30T01",
            "2026-11-20t13",
            "2026-11-20T13:00",
            "+026-11-20T13",
            "2026-11-20T+1",
            "1969-12-31T23",
            "9999-12-31T00",
            "2026-11-20T13 ",
            "２026-11-20T13",
            "20261120T13",
        ] {
            assert_eq!(bad.parse::<Hour>(), Err(NOT_AN_HOUR), "{bad}");
        }
        for bad in [
            "",
            "2026-11-2",
            "2026-11-20T13",
            "2026-13-01",
            "2026-02-29",
            "26-11-20",
            "2026-11-20-",
            "9999-12-31",
        ] {
            assert_eq!(bad.parse::<Day>(), Err(NOT_A_DAY), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_hour_and_its_day_read_back(millis in 0..=Timestamp::MAX_MILLIS) {
            let hour = Timestamp::from_millis(millis).unwrap().hour();
            let day = Day::of(hour);
            prop_assert_eq!(hour.to_string().parse::<Hour>(), Ok(hour));
            prop_assert_eq!(day.to_string().parse::<Day>(), Ok(day));
            prop_assert!(day.first_hour() <= hour && hour <= day.last_hour());
        }
    }
}
