//! The ends of a range of time in a query: `from` and `to`, both included.

use std::{fmt::Display, str::FromStr};

use weir_core::{Day, Hour, minutes::Minute};

use crate::api::{
    parameters::{self, invalid},
    problem::Problem,
};

/// A unit of time that a range consists of.
pub(crate) trait End: Sized {
    /// Parses the first unit of a range; fails with the reason.
    fn first(text: &str) -> Result<Self, String>;
    /// Parses the last unit of a range; fails with the reason.
    fn last(text: &str) -> Result<Self, String>;
}

/// A day stands for its first hour at the start of a range, and for its last one at the end.
impl End for Hour {
    fn first(text: &str) -> Result<Self, String> {
        hour(text, Day::first_hour)
    }

    fn last(text: &str) -> Result<Self, String> {
        hour(text, Day::last_hour)
    }
}

impl End for Day {
    fn first(text: &str) -> Result<Self, String> {
        parsed(text)
    }

    fn last(text: &str) -> Result<Self, String> {
        parsed(text)
    }
}

impl End for Minute {
    fn first(text: &str) -> Result<Self, String> {
        parsed(text)
    }

    fn last(text: &str) -> Result<Self, String> {
        parsed(text)
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn hour(text: &str, of_day: fn(Day) -> Hour) -> Result<Hour, String> {
    match text.parse() {
        Ok(day) => Ok(of_day(day)),
        Err(_) => parsed(text).map_err(|error| format!("{error}, or a day like 2026-11-20")),
    }
}

/// The ends that a query names.
pub(crate) struct Ends<T> {
    from: Option<T>,
    to: Option<T>,
}

impl<T: End> Ends<T> {
    /// The parameters' names.
    pub(crate) const NAMES: [&str; 2] = ["from", "to"];

    /// Makes the ends of a query that names none.
    pub(crate) fn new() -> Self {
        Self { from: None, to: None }
    }

    /// Takes a parameter; returns whether it is an end.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        let wrong = |error| invalid(format!("{name}: {error}."));
        match name {
            "from" => self.from = Some(T::first(value).map_err(wrong)?),
            "to" => self.to = Some(T::last(value).map_err(wrong)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the start and the end.
    pub(crate) fn named(self) -> (Option<T>, Option<T>) {
        (self.from, self.to)
    }
}

/// Returns the start and the end in a query that has no other parameters.
pub(crate) fn asked<T: End>(pairs: Vec<(String, String)>) -> Result<(Option<T>, Option<T>), Problem> {
    let mut ends = Ends::new();
    for (name, value) in pairs {
        if !ends.take(&name, &value)? {
            parameters::refuse_near_miss(&name, &Ends::<T>::NAMES)?;
        }
    }
    Ok(ends.named())
}

/// Refuses a range that ends before it begins, or is too long.
pub(crate) fn check<T: Display>(
    [from, to]: [T; 2],
    [first, last]: [u64; 2],
    most: u64,
    what: &str,
) -> Result<(), Problem> {
    if first > last {
        return Err(invalid(format!("from ({from}) is later than to ({to}).")));
    }
    let asked = last - first + 1;
    if asked > most {
        return Err(invalid(format!(
            "From {from} to {to} are {asked} {what}; one answer has at most {most}."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_all_of_its_hours() {
        let pairs = |from: &str, to: &str| {
            vec![("from".to_owned(), from.to_owned()), ("to".to_owned(), to.to_owned())]
        };
        let hours = |from: &str, to: &str| {
            let (from, to) = asked::<Hour>(pairs(from, to)).ok()?;
            Some((from?.to_string(), to?.to_string()))
        };
        let range = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(hours("2026-11-20", "2026-11-20"), range("2026-11-20T00", "2026-11-20T23"));
        assert_eq!(hours("2026-11-20T05", "2026-11-21"), range("2026-11-20T05", "2026-11-21T23"));
        for wrong in ["2026-11-31", "2026-11-20T24", "2026-11", "", "today"] {
            assert_eq!(hours(wrong, "2026-12-31"), None, "{wrong}");
            assert_eq!(hours("2026-01-01", wrong), None, "{wrong}");
        }
    }
}
