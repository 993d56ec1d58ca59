//! The head of an answer's SQL file: comments that say how its rows are addressed, and who may read them.
//!
//! ```sql
//! -- title: Visits of each page
//! -- path: month
//! -- slot: url
//! -- every: 1 hour
//! -- public: true
//! -- chart: bar
//! SELECT …
//! ```

use std::{fmt, str::FromStr, time::Duration};

use crate::{AnswerName, NameError};

/// The column that binds a private answer to its caller.
pub const USERNAME: &str = "username";

/// The most columns that a path or a slot may have.
const MOST_COLUMNS: usize = 8;

/// An answer as its file defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The file's name without its ending.
    pub name: AnswerName,
    /// What people read above it; the name if the head has none.
    pub title: String,
    /// The columns whose values are the rest of the URL's path.
    pub path: Vec<ColumnName>,
    /// The columns whose values, in the query, name one row below a path.
    pub slot: Vec<ColumnName>,
    /// How often it is computed; `None` if only on demand.
    pub every: Option<Duration>,
    /// Whether it is read without credentials. Otherwise each user reads the rows of their own.
    pub public: bool,
    /// How the dashboard draws it.
    pub chart: Chart,
}

/// How the dashboard draws an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chart {
    /// A line for each series of rows.
    Line,
    /// A bar for each row.
    Bar,
    /// A table.
    #[default]
    Table,
}

impl Chart {
    /// Returns its name in the head.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Bar => "bar",
            Self::Table => "table",
        }
    }
}

/// The name of a column of an answer's SELECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnName(String);

impl ColumnName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ColumnName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const NOT_ONE: NameError =
            NameError::new("a column of an answer", "must be 1 to 64 of a-z, A-Z, 0-9 and _");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let accepted = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        if accepted { Ok(Self(text.to_owned())) } else { Err(NOT_ONE) }
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The error of a head, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}.sql:{line}: {wrong}")]
pub struct DefinitionError {
    name: AnswerName,
    line: usize,
    wrong: Wrong,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("a head has no {0:?}, only title, path, slot, every, public and chart")]
    UnknownKey(String),
    #[error("{0} is there twice")]
    Twice(String),
    #[error("{0} needs a value")]
    Empty(String),
    #[error("{0}: {1}")]
    Column(&'static str, NameError),
    #[error("the column {0} is there twice")]
    ColumnTwice(String),
    #[error("{0} has more than {MOST_COLUMNS} columns")]
    TooManyColumns(&'static str),
    #[error("every is like 10 minutes, 1 hour or 1 day, at most 365 days, not {0:?}")]
    Every(String),
    #[error("public is true or false, not {0:?}")]
    Public(String),
    #[error("chart is line, bar or table, not {0:?}")]
    Chart(String),
    #[error(
        "username is the caller's in an answer that is not public: it can be in the path, and not in the slot"
    )]
    UsernameInSlot,
    #[error("there is no query below the head")]
    NoQuery,
}

impl Definition {
    /// Reads the head of an SQL file: the comments before its query. Comments that are not of the form `-- key: value`, with a
    /// lower-case key, are for people.
    pub fn read(name: AnswerName, sql: &str) -> Result<Self, DefinitionError> {
        let mut read = Self {
            title: name.as_str().to_owned(),
            name,
            path: Vec::new(),
            slot: Vec::new(),
            every: None,
            public: false,
            chart: Chart::default(),
        };
        let mut seen: Vec<&str> = Vec::new();
        let mut slot_at = 0;
        let mut last = 0;
        for (index, line) in sql.lines().enumerate() {
            last = index + 1;
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let Some(comment) = line.strip_prefix("--") else {
                if !read.public && read.slot.iter().any(|column| column.as_str() == USERNAME) {
                    return Err(read.wrong(slot_at, Wrong::UsernameInSlot));
                }
                return Ok(read);
            };
            let Some((key, value)) = entry(comment) else { continue };
            if seen.contains(&key) {
                return Err(read.wrong(last, Wrong::Twice(key.to_owned())));
            }
            seen.push(key);
            if key == "slot" {
                slot_at = last;
            }
            read.set(key, value).map_err(|wrong| read.wrong(last, wrong))?;
        }
        Err(read.wrong(last.max(1), Wrong::NoQuery))
    }

    /// Returns how the URL's path goes on behind the answer's name, for people: `/{month}`.
    #[must_use]
    pub fn template(&self) -> String {
        self.path.iter().map(|column| format!("/{{{column}}}")).collect()
    }

    /// Returns whether each path begins with the caller's name, which the URL leaves out: in an answer that is not public and
    /// does not have `username` in its path.
    #[must_use]
    pub fn is_per_user(&self) -> bool {
        !self.public && !self.path.iter().any(|column| column.as_str() == USERNAME)
    }

    /// Returns the columns by which rows lie below each other: those of the path, and before them `username` where each path
    /// begins with it.
    #[must_use]
    pub fn stored_path(&self) -> Vec<&str> {
        let implied = self.is_per_user().then_some(USERNAME);
        implied.into_iter().chain(self.path.iter().map(ColumnName::as_str)).collect()
    }

    fn wrong(&self, line: usize, wrong: Wrong) -> DefinitionError {
        DefinitionError { name: self.name.clone(), line, wrong }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Wrong> {
        if value.is_empty() {
            return Err(if is_known(key) {
                Wrong::Empty(key.to_owned())
            } else {
                Wrong::UnknownKey(key.to_owned())
            });
        }
        match key {
            "title" => value.clone_into(&mut self.title),
            "path" => self.path = self.columns("path", value)?,
            "slot" => self.slot = self.columns("slot", value)?,
            "every" => self.every = Some(every(value).ok_or_else(|| Wrong::Every(value.to_owned()))?),
            "public" => {
                self.public = value.parse().map_err(|_| Wrong::Public(value.to_owned()))?;
            }
            "chart" => {
                self.chart = [Chart::Line, Chart::Bar, Chart::Table]
                    .into_iter()
                    .find(|chart| chart.as_str() == value)
                    .ok_or_else(|| Wrong::Chart(value.to_owned()))?;
            }
            _ => return Err(Wrong::UnknownKey(key.to_owned())),
        }
        Ok(())
    }

    fn columns(&self, key: &'static str, value: &str) -> Result<Vec<ColumnName>, Wrong> {
        let mut columns: Vec<ColumnName> = Vec::new();
        for text in value.split(',') {
            let column: ColumnName = text.trim().parse().map_err(|error| Wrong::Column(key, error))?;
            if columns.iter().chain(&self.path).chain(&self.slot).any(|other| *other == column) {
                return Err(Wrong::ColumnTwice(column.0));
            }
            columns.push(column);
        }
        if columns.len() > MOST_COLUMNS { Err(Wrong::TooManyColumns(key)) } else { Ok(columns) }
    }
}

fn is_known(key: &str) -> bool {
    ["title", "path", "slot", "every", "public", "chart"].contains(&key)
}

/// Returns the key and the value of a comment that has them.
fn entry(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.split_once(':')?;
    let key = key.trim();
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase());
    is_key.then_some((key, value.trim()))
}

/// Reads a number and a unit.
fn every(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_once(' ')?;
    let number: u32 = number.parse().ok()?;
    let seconds = match unit.trim().trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    let every = Duration::from_secs(u64::from(number) * seconds);
    (!every.is_zero() && every <= Duration::from_hours(24 * 365)).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Result<Definition, String> {
        Definition::read("visits".parse().unwrap(), sql).map_err(|error| error.to_string())
    }

    #[test]
    fn the_head_says_how_rows_are_addressed_and_who_reads_them() {
        let read = read(
            "-- Visits: for people.\n-- title: Visits, by month\n-- path: username, month\n--slot: day,button_id\n\n\
             -- every: 1 day\n-- public: true\n-- chart: line\nSELECT 1 -- every: 2 days\n",
        )
        .unwrap();
        let names =
            |columns: &[ColumnName]| columns.iter().map(|c| c.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(read.title, "Visits, by month");
        assert_eq!(
            (names(&read.path), names(&read.slot)),
            (vec!["username".to_owned(), "month".to_owned()], vec!["day".to_owned(), "button_id".to_owned()])
        );
        assert_eq!(read.every, Some(Duration::from_hours(24)));
        assert!(read.public && read.chart == Chart::Line && !read.is_per_user());
    }

    #[test]
    fn without_a_head_each_user_reads_the_rows_of_their_own() {
        let read = read("SELECT 1").unwrap();
        assert_eq!((read.title.as_str(), read.every, read.chart), ("visits", None, Chart::Table));
        assert!(!read.public && read.is_per_user());
        assert_eq!(read.stored_path(), [USERNAME]);
    }

    #[test]
    fn what_a_head_has_wrong_is_named_with_its_line() {
        for (sql, expected) in [
            (
                "-- slots: a\nSELECT 1",
                "visits.sql:1: a head has no \"slots\", only title, path, slot, every, public and chart",
            ),
            ("-- slot: a\n-- slot: b\nSELECT 1", "visits.sql:2: slot is there twice"),
            ("-- path:\nSELECT 1", "visits.sql:1: path needs a value"),
            (
                "-- path: a, ü\nSELECT 1",
                "visits.sql:1: path: a column of an answer must be 1 to 64 of a-z, A-Z, 0-9 and _",
            ),
            (
                "-- path: a/b\nSELECT 1",
                "visits.sql:1: path: a column of an answer must be 1 to 64 of a-z, A-Z, 0-9 and _",
            ),
            (
                "-- path: a,,b\nSELECT 1",
                "visits.sql:1: path: a column of an answer must be 1 to 64 of a-z, A-Z, 0-9 and _",
            ),
            ("-- path: a\n-- slot: b, a\nSELECT 1", "visits.sql:2: the column a is there twice"),
            ("-- slot: a,b,c,d,e,f,g,h,i\nSELECT 1", "visits.sql:1: slot has more than 8 columns"),
            (
                "-- every: daily\nSELECT 1",
                "visits.sql:1: every is like 10 minutes, 1 hour or 1 day, at most 365 days, not \"daily\"",
            ),
            (
                "-- every: 0 days\nSELECT 1",
                "visits.sql:1: every is like 10 minutes, 1 hour or 1 day, at most 365 days, not \"0 days\"",
            ),
            ("-- public: yes\nSELECT 1", "visits.sql:1: public is true or false, not \"yes\""),
            ("-- chart: pie\nSELECT 1", "visits.sql:1: chart is line, bar or table, not \"pie\""),
            (
                "-- chart: bar\n\n-- slot: username\nSELECT 1",
                "visits.sql:3: username is the caller's in an answer that is not public: it can be in the path, and not in the slot",
            ),
            ("-- chart: bar\n", "visits.sql:1: there is no query below the head"),
            ("", "visits.sql:1: there is no query below the head"),
        ] {
            assert_eq!(read(sql), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_name_cannot_leave_its_folder_or_its_part_of_a_url() {
        for bad in ["", "..", "a/b", "a%2Fb", "ü", "a.sql", "A", "_a", "1a", "a b", "a\0", &"a".repeat(49)] {
            assert!(bad.parse::<AnswerName>().is_err(), "{bad:?}");
        }
        assert!("daily_counts".parse::<AnswerName>().is_ok());
    }
}
