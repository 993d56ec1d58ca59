//! Live counts by minute, of the last hour: minutes and their texts, the arrivals of some records, and the counts.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{EventType, Hour, NameError, Record, Timestamp, Username};

/// The number of minutes, up to the current one, whose counts are kept.
pub const KEPT: u64 = 61;

/// A minute in UTC, as a text like `2026-11-20T13:05`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(u64);

impl Minute {
    const MILLIS: u64 = 60_000;
    const OF_AN_HOUR: u64 = 60;

    /// Returns the minute that a time is in.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        Self(time.millis() / Self::MILLIS)
    }

    /// Returns the minutes since 1970.
    #[must_use]
    pub fn since_epoch(self) -> u64 {
        self.0
    }

    /// Returns the minute this many minutes earlier, but none before 1970.
    #[must_use]
    pub fn minus(self, minutes: u64) -> Self {
        Self(self.0.saturating_sub(minutes))
    }

    /// Returns the time at which the minute begins.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::saturating(self.0.saturating_mul(Self::MILLIS))
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{:02}", self.start().hour(), self.0 % Self::OF_AN_HOUR)
    }
}

impl FromStr for Minute {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const NOT_A_MINUTE: NameError =
            NameError::new("a minute", "is like 2026-11-20T13:05, in UTC, between the years 1970 and 9999");
        let (hour, minute) = text.split_once(':').ok_or(NOT_A_MINUTE)?;
        let hour: Hour = hour.parse().map_err(|_| NOT_A_MINUTE)?;
        let is_plain = minute.len() == 2 && minute.bytes().all(|digit| digit.is_ascii_digit());
        let minute = minute.parse::<u64>().ok().filter(|minute| is_plain && *minute < Self::OF_AN_HOUR);
        Ok(Self(hour.since_epoch() * Self::OF_AN_HOUR + minute.ok_or(NOT_A_MINUTE)?))
    }
}

/// Some events of a user, of one type, in one minute of their event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    /// The user.
    pub username: Username,
    /// The type.
    pub event_type: EventType,
    /// The minute.
    pub minute: Minute,
    /// The number of events.
    pub events: u64,
}

/// Returns the arrivals of some records. Neighbours with the same user, type and minute are merged.
#[must_use]
pub fn arrivals<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Arrivals> {
    let mut all: Vec<Arrivals> = Vec::new();
    for record in records {
        let (counter, minute) = (record.counter(), Minute::of(record.time()));
        match all.last_mut() {
            Some(last)
                if last.minute == minute
                    && last.event_type == counter.event_type
                    && last.username == counter.username =>
            {
                last.events += 1;
            }
            _ => all.push(Arrivals {
                username: counter.username.clone(),
                event_type: counter.event_type.clone(),
                minute,
                events: 1,
            }),
        }
    }
    all
}

/// A type's live counts by minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteCounts {
    /// The time since which every event that arrived is counted.
    pub since: Timestamp,
    /// The counts of minutes that have events.
    pub counts: BTreeMap<Minute, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_read_back_from_its_text_and_from_no_other() {
        let minute = Minute::of(Timestamp::from_rfc3339("2026-11-20T13:05:59.999Z").unwrap());
        assert_eq!(minute.to_string(), "2026-11-20T13:05");
        assert_eq!("2026-11-20T13:05".parse(), Ok(minute));
        assert_eq!(minute.minus(6).to_string(), "2026-11-20T12:59");
        for text in [
            "",
            "2026-11-20T13",
            "2026-11-20T13:60",
            "2026-11-20T13:5",
            "2026-11-20T13:+5",
            "2026-11-20T24:00",
        ] {
            assert!(text.parse::<Minute>().is_err(), "{text}");
        }
    }
}
