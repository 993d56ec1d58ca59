//! Points in time, in milliseconds, and the UTC hours that partitions are made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NameError;

/// A point in time: milliseconds since 1970-01-01 UTC, up to the end of the year 9999, but for its last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

/// The error of milliseconds beyond the year 9999, and of a text that is not an RFC 3339 time.
pub(crate) const NOT_A_TIME: NameError = NameError::new(
    "a time",
    "must be milliseconds since 1970 or an RFC 3339 text such as 2026-11-20T13:05:00Z, between the years 1970 and 9999",
);

impl Timestamp {
    /// The last: 9999-12-30T22:00Z, the last that jiff knows; RFC 3339 and Hive partitions end a day later.
    pub const MAX_MILLIS: u64 = 253_402_207_200_000;

    /// 2026-01-01, before Weir's first version. A clock that shows an earlier time is wrong.
    pub const FIRST_VERSION: Self = Self(1_767_225_600_000);

    /// Returns the point in time `millis` milliseconds after 1970-01-01 UTC.
    pub fn from_millis(millis: u64) -> Result<Self, NameError> {
        if millis <= Self::MAX_MILLIS { Ok(Self(millis)) } else { Err(NOT_A_TIME) }
    }

    /// Works like [`Self::from_millis`], but returns the last possible time for everything after it.
    #[must_use]
    pub fn saturating(millis: u64) -> Self {
        Self(millis.min(Self::MAX_MILLIS))
    }

    /// Reads an RFC 3339 text, such as `2026-11-20T13:05:00.250Z` or `2026-11-20T14:05:00+01:00`. Fractions of a millisecond
    /// are cut off. A leap second (`:60`) has no milliseconds of its own since 1970, and is refused.
    pub fn from_rfc3339(text: &str) -> Result<Self, NameError> {
        // Jiff reads more than RFC 3339 (a bare `2026-11-20T13Z`, a zone in brackets, a leap second as the one before, an
        // offset of more than a day), so check its outline first.
        let outline = text.len() >= 20
            && text.as_bytes()[13] == b':'
            && text.as_bytes()[16] == b':'
            && text.as_bytes()[17] < b'6'
            && !text.ends_with(']')
            && !text.contains(',')
            && has_a_possible_offset(&text.as_bytes()[19..]);
        let parsed: jiff::Timestamp = if outline {
            text.parse().map_err(|_| NOT_A_TIME)?
        } else {
            return Err(NOT_A_TIME);
        };
        u64::try_from(parsed.as_millisecond()).map_err(|_| NOT_A_TIME).and_then(Self::from_millis)
    }

    /// Returns the milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Returns the UTC hour that it is in.
    #[must_use]
    pub fn hour(self) -> Hour {
        Hour(self.0 / Hour::MILLIS)
    }

    /// Returns this time plus `millis` milliseconds.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self::saturating(self.0.saturating_add(millis))
    }

    fn civil(self) -> jiff::civil::DateTime {
        let millis = i64::try_from(self.0).expect("at most MAX_MILLIS, which fits");
        let instant = jiff::Timestamp::from_millisecond(millis).expect("1970 to 9999 is inside jiff's range");
        jiff::tz::TimeZone::UTC.to_datetime(instant)
    }
}

/// Returns whether the text behind the seconds of a time has no numeric offset, or one of at most 23 hours and 59 minutes.
fn has_a_possible_offset(end: &[u8]) -> bool {
    let Some(sign) = end.iter().position(|byte| matches!(byte, b'+' | b'-')) else { return true };
    let offset = &end[sign + 1..];
    let (hours, minutes) = match offset.len() {
        2 => (offset, &b"00"[..]),
        4 => offset.split_at(2),
        5 if offset[2] == b':' => (&offset[..2], &offset[3..]),
        _ => return false,
    };
    hours.iter().chain(minutes).all(u8::is_ascii_digit) && hours < &b"24"[..] && minutes < &b"60"[..]
}

impl TryFrom<u64> for Timestamp {
    type Error = NameError;

    fn try_from(millis: u64) -> Result<Self, NameError> {
        Self::from_millis(millis)
    }
}

impl From<Timestamp> for u64 {
    fn from(timestamp: Timestamp) -> u64 {
        timestamp.0
    }
}

/// RFC 3339 in UTC with milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3}Z", self.civil())
    }
}

/// A UTC hour: the unit of partitions and settled counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(u64);

impl Hour {
    const MILLIS: u64 = 3_600_000;

    /// Returns its first millisecond.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0 * Self::MILLIS)
    }

    /// Returns the hours since 1970-01-01T00 UTC.
    #[must_use]
    pub fn since_epoch(self) -> u64 {
        self.0
    }

    /// Returns the hour that is `hours` after 1970-01-01T00 UTC.
    pub fn from_epoch(hours: u64) -> Result<Self, NameError> {
        Timestamp::from_millis(hours.saturating_mul(Self::MILLIS)).map(Timestamp::hour)
    }

    /// Returns the hour `hour` of a date; `None` if there is no such date or hour since 1970.
    #[must_use]
    pub fn of_date(year: u16, month: u8, day: u8, hour: u8) -> Option<Self> {
        let year = i16::try_from(year).ok()?;
        let (month, day, hour) =
            (i8::try_from(month).ok()?, i8::try_from(day).ok()?, i8::try_from(hour).ok()?);
        let date = jiff::civil::DateTime::new(year, month, day, hour, 0, 0, 0).ok()?;
        let millis = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_millisecond();
        Some(Timestamp::from_millis(u64::try_from(millis).ok()?).ok()?.hour())
    }

    /// Returns year, month, day and hour, as numbers.
    #[must_use]
    pub fn parts(self) -> [u16; 4] {
        let civil = self.start().civil();
        // None of the four is negative for 1970 to 9999.
        [civil.year(), civil.month().into(), civil.day().into(), civil.hour().into()].map(i16::unsigned_abs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339_and_knows_its_hour() {
        let time = Timestamp::from_millis(1_795_179_605_007).unwrap();
        assert_eq!(time.to_string(), "2026-11-20T13:00:05.007Z");
        assert_eq!(time.hour().parts(), [2026, 11, 20, 13]);
        assert_eq!(time.hour().start().to_string(), "2026-11-20T13:00:00.000Z");
    }

    #[test]
    fn times_after_the_year_9999_are_refused() {
        assert!(Timestamp::from_millis(Timestamp::MAX_MILLIS).is_ok());
        assert_eq!(Timestamp::from_millis(Timestamp::MAX_MILLIS + 1), Err(NOT_A_TIME));
        assert_eq!(Timestamp::saturating(u64::MAX).hour().parts(), [9999, 12, 30, 22]);
    }

    #[test]
    fn only_rfc_3339_texts_are_times() {
        let time = Timestamp::from_millis(1_795_179_605_007).unwrap();
        for good in ["2026-11-20T13:00:05.007Z", "2026-11-20T14:00:05.007+01:00", "2026-11-20 13:00:05.007Z"]
        {
            assert_eq!(Timestamp::from_rfc3339(good), Ok(time), "{good}");
        }
        for bad in
            ["", "now", "2026-11-20", "2026-11-20T13:00:05", "2026-13-20T13:00:05Z", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(Timestamp::from_rfc3339(bad), Err(NOT_A_TIME), "{bad}");
        }
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        for bad in [
            "2026-11-20T13:00:60Z",
            "2016-12-31T23:59:60Z",
            "2026-11-20T13:00:61Z",
            "2026-11-20T13:60:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T24:00:00.000+01:00",
            "2026-02-30T13:00:00Z",
            "2025-02-29T13:00:00Z",
            "2026-04-31T13:00:00Z",
            "2026-00-10T13:00:00Z",
            "2026-11-20T13:00:00+25:00",
            "2026-11-20T13:00:00+24:00",
            "2026-11-20T13:00:00-25:59",
            "2026-11-20T13:00:00.123456+25:00",
            "2026-11-20T13:00:00+01:60",
            "2026-11-20T13:00:00+2500",
            "2026-11-20T13:00:00+25",
            "2026-11-20T13:00:00+01:00:30",
            "2026-11-20T13:00:00+1:00",
            "2026-11-20T13:00:00+",
        ] {
            assert_eq!(Timestamp::from_rfc3339(bad), Err(NOT_A_TIME), "{bad}");
        }
        for good in [
            "2024-02-29T13:00:59.999Z",
            "2026-11-20T13:00:00-00:00",
            "2026-11-20T13:00:00+14:00",
            "2026-11-20T13:00:00-23:59",
            "2026-11-20T13:00:00+0100",
            "2026-11-20T13:00:00+01",
            "2026-11-20t13:00:00z",
        ] {
            assert!(Timestamp::from_rfc3339(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn of_a_time_its_milliseconds_in_utc_are_kept() {
        for (text, kept) in [
            ("2026-11-20T14:00:00.123456+01:00", "2026-11-20T13:00:00.123Z"),
            ("2026-11-20T13:00:00.123999999Z", "2026-11-20T13:00:00.123Z"),
            ("2026-11-20T00:30:00-23:59", "2026-11-21T00:29:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_rfc3339(text).unwrap().to_string(), kept, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_hour_is_found_again_from_its_parts(millis in 0..=Timestamp::MAX_MILLIS) {
            let hour = Timestamp::from_millis(millis).unwrap().hour();
            let [y, m, d, h] = hour.parts();
            let again = Hour::of_date(y, u8::try_from(m).unwrap(), u8::try_from(d).unwrap(), u8::try_from(h).unwrap());
            prop_assert_eq!(again, Some(hour));
            prop_assert_eq!(Hour::from_epoch(hour.since_epoch()), Ok(hour));
        }

        #[test]
        fn reading_a_time_never_panics(text in "\\PC{0,40}") {
            let _ = Timestamp::from_rfc3339(&text);
        }

        #[test]
        fn a_printed_time_reads_back(millis in 0..=Timestamp::MAX_MILLIS) {
            let time = Timestamp::from_millis(millis).unwrap();
            prop_assert_eq!(Timestamp::from_rfc3339(&time.to_string()), Ok(time));
        }
    }
}
