//! Values of options: servers, hours, times and sizes.

use std::{ffi::OsStr, str::FromStr, time::Duration};

use clap::{Arg, Command, Error, builder::TypedValueParser, error::ErrorKind};
use weir_core::{Day, Hour};

use crate::address::Base;

/// Reads where a server is. An address that is refused may hold a secret, so that it is not printed as clap would.
#[derive(Clone)]
pub(super) struct Server;

impl TypedValueParser for Server {
    type Value = Base;

    fn parse_ref(&self, command: &Command, option: Option<&Arg>, value: &OsStr) -> Result<Base, Error> {
        let option = option.map(ToString::to_string).unwrap_or_default();
        let refused = |why: String| {
            let message = format!("the address for '{option}' is not understood: {why}\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        };
        value.to_string_lossy().parse().map_err(refused)
    }
}

/// Reads an hour such as 2026-11-20T13, or the first of a day.
pub(super) fn hour(text: &str) -> Result<Hour, String> {
    let first_of_day = || text.parse().map(Day::first_hour).ok();
    let found = text.parse().ok().or_else(first_of_day);
    found.ok_or_else(|| "an hour is like 2026-11-20T13, or 2026-11-20 for the first of a day".to_owned())
}

/// Reads a day such as 2026-11-20.
pub(super) fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|_| "a day is like 2026-11-20".to_owned())
}

/// Reads a time such as 500ms, 5s, 1h30m or 7d. A day has 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<jiff::Span> = text.parse().ok();
    parsed
        .and_then(|time| time.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "a time is like 500ms, 5s, 1h 30m or 7d".to_owned())
}

/// Reads a time that is not none.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| {
        // What is added to a time of day must not run over.
        let fits = !time.is_zero() && time <= Duration::from_hours(24 * 365);
        fits.then_some(time).ok_or_else(|| "it must be more than none and less than a year".to_owned())
    })
}

/// How long after its end a day is sealed; `None` for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealAfter(pub(crate) Option<Duration>);

impl FromStr for SealAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" { Ok(Self(None)) } else { duration(text).map(|time| Self(Some(time))) }
    }
}

/// Reads a size such as 4096, 512KiB or 16MiB; at least one byte.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let parsed: Option<bytesize::ByteSize> = text.parse().ok();
    parsed
        .map(|size| size.as_u64())
        .filter(|size| *size > 0)
        .ok_or_else(|| "a size is like 4096, 512KiB or 16MiB".to_owned())
}

/// Reads a size of memory in which DuckDB can sort.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let least = "it must be at least 256MiB";
    size(text).and_then(|size| if size >= 256 << 20 { Ok(size) } else { Err(least.to_owned()) })
}

/// Reads a whole number.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| not_a_number(text, "it is a whole number, such as 2"))
}

/// Reads a number of days, at least one.
pub(super) fn days(text: &str) -> Result<u32, String> {
    const DAYS: &str = "it is a number of days, such as 90";
    match text.parse() {
        Ok(0) => Err(DAYS.to_owned()),
        read => read.map_err(|_| not_a_number(text, DAYS)),
    }
}

/// Returns why a text is not read as a number.
fn not_a_number(text: &str, expected: &str) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { "it is too large".to_owned() } else { expected.to_owned() }
}

pub(super) fn size_or_none(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { size(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_a_day_and_its_number() {
        let parts = |text| hour(text).map(Hour::parts);
        assert_eq!(parts("2026-11-20T13"), Ok([2026, 11, 20, 13]));
        assert_eq!(parts("2026-11-20"), Ok([2026, 11, 20, 0]));
        for bad in [
            "",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-11-20T24",
            "2026-11-20T",
            "2026-11-20T13:00",
            "2026-11-20T1",
            "2026-1-2",
            "+026-11-20",
            "x-y-z",
        ] {
            assert!(hour(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_that_is_none_or_too_large_is_refused_as_that() {
        assert_eq!((number::<u16>("70"), days("90")), (Ok(70), Ok(90)));
        for (text, why) in
            [("70000", "too large"), ("x", "whole number"), ("", "whole number"), ("-1", "whole number")]
        {
            assert!(number::<u16>(text).unwrap_err().contains(why), "{text}");
        }
        for (text, why) in [("9999999999", "too large"), ("0", "days"), ("10d", "days"), ("", "days")] {
            assert!(days(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(duration("1d 12h"), Ok(Duration::from_hours(36)));
        assert!(duration("1mo").is_err(), "a month has no length");
        assert!(duration("5").is_err() && duration("-5s").is_err() && duration("").is_err());
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
        assert!(some_time("0s").is_err() && some_time("10000000h").is_err() && some_time("5").is_err());
        assert!(size("0").is_err() && size("x").is_err());
    }
}
