//! The time at which an event happened, as its client gives it.

use std::ops::Range;

use serde_json::Value;

use crate::{Timestamp, timestamp::NOT_A_TIME};

/// The seconds since 1970 of the years 1990 to 2099. As milliseconds, they would be in January and February 1970, when no
/// event happened that a client counts in milliseconds.
pub(crate) const SECONDS: Range<u64> = 631_152_000..4_102_444_800;

/// Reads `occurred_at`: milliseconds since 1970, or an RFC 3339 text. An error says which fault the value has.
pub(crate) fn read(value: &Value) -> Result<Timestamp, String> {
    if let Some(text) = value.as_str() {
        return Timestamp::from_rfc3339(text).map_err(|error| error.to_string());
    }
    let Some(number) = value.as_f64() else { return Err(NOT_A_TIME.to_string()) };
    let millis = value.as_u64().or_else(|| whole(number)).ok_or(NOT_A_TIME);
    millis.and_then(Timestamp::from_millis).map_err(|error| match unit(number) {
        Some(unit) => format!("a number is milliseconds since 1970, and this looks like {unit}"),
        None => error.to_string(),
    })
}

/// Returns the unit other than milliseconds in which the number is a time of the years 1990 to 2099, if there is one.
#[expect(clippy::cast_precision_loss, reason = "both bounds are small")]
fn unit(number: f64) -> Option<&'static str> {
    let days = SECONDS.start as f64..SECONDS.end as f64;
    [(1.0, "seconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
        .into_iter()
        .find_map(|(in_a_second, unit)| days.contains(&(number / in_a_second)).then_some(unit))
}

/// Returns a whole number that is written with a point or an exponent: to JSON it is the same number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and not negative")]
fn whole(number: f64) -> Option<u64> {
    // Up to 2^53, above which floating point has no odd numbers.
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_cannot_be_milliseconds_is_refused_and_the_unit_that_it_looks_like_is_named() {
        for (number, unit) in [
            (json!(1_795_744_958.123), "seconds"),
            (json!(1_795_744_958_123_456_u64), "microseconds"),
            (json!(1_795_744_958_123_456_789_u64), "nanoseconds"),
        ] {
            let said = read(&number).unwrap_err();
            assert!(said.ends_with(&format!("and this looks like {unit}")), "{number}: {said}");
        }
    }

    #[test]
    fn milliseconds_are_taken_of_clocks_that_were_never_set_too() {
        // 1970 and the hours after, today in seconds, a FAT file system's 1980, GPS's first day, 1990, today, 2100.
        for millis in [
            0,
            1000,
            86_400_000,
            1_795_744_958,
            315_532_800_000,
            315_964_800_000,
            631_152_000_000,
            1_795_744_958_123,
            4_102_444_800_000,
        ] {
            assert_eq!(read(&json!(millis)).map(Timestamp::millis), Ok(millis));
        }
    }
}
