//! Partitions: the places of events in the lake. No other code writes or reads the lake's paths.

use std::{fmt, str::FromStr};

use crate::{BatchId, Day, EventType, Format, Hour, NameError, Username};

/// One user's events of one type and one UTC hour. Its text form is the folder below the lake:
/// `username=ethan/button_click/year=2026/month=11/day=20/hour=13`, numbers unpadded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The user whose events these are.
    pub username: Username,
    /// Their type.
    pub event_type: EventType,
    /// The hour of their event time ([`event_time`](crate::event_time)).
    pub hour: Hour,
}

const NOT_A_PARTITION: NameError =
    NameError::new("a partition", "is username=…/TYPE/year=…/month=…/day=…/hour=…, an hour in plain numbers");

const USER: &str = Partition::PREFIX;
const HOUR: [&str; 4] = Partition::HOUR_FOLDERS;

impl Partition {
    /// The columns that Hive, Athena and DuckDB read from the names of the folders, beside the type's.
    pub const COLUMNS: [&str; 5] = ["username", "year", "month", "day", "hour"];

    /// The beginning of the name of a user's folder, and so of each path in the lake.
    pub const PREFIX: &str = "username=";

    /// The beginnings of the names of the four folders below a type's.
    pub const HOUR_FOLDERS: [&str; 4] = ["year=", "month=", "day=", "hour="];

    /// Returns the path, below the lake, of the events of `batch` for this partition.
    #[must_use]
    pub fn object(&self, batch: &BatchId) -> String {
        format!("{self}/{}", Format::default().file(batch))
    }

    /// Returns the folder of a user's events, without a slash at its end.
    #[must_use]
    pub fn folder_of_user(username: &Username) -> String {
        format!("{USER}{username}")
    }

    /// Returns the folder of a user's events of one type, without a slash at its end.
    #[must_use]
    pub fn folder_of_type(username: &Username, event_type: &EventType) -> String {
        format!("{USER}{username}/{event_type}")
    }

    /// Returns the user in whose folder a path of the lake is.
    #[must_use]
    pub fn user_of(path: &str) -> Option<Username> {
        let (folder, _) = path.split_once('/')?;
        folder.strip_prefix(USER)?.parse().ok()
    }

    /// Returns the type in whose folder a path of the lake is.
    #[must_use]
    pub fn type_of(path: &str) -> Option<EventType> {
        let (_, below) = path.split_once('/')?;
        let (folder, _) = below.split_once('/')?;
        folder.parse().ok()
    }

    /// Returns the pattern of the paths of all objects of one type, or of all types for `*`.
    #[must_use]
    pub fn pattern(event_type: &str, format: Format) -> String {
        let hour = HOUR.map(|folder| format!("{folder}*")).join("/");
        format!("{USER}*/{event_type}/{hour}/{}", format.file("*"))
    }

    /// Returns the pattern of the paths of a day's objects of one type, or of all types for `*`.
    #[must_use]
    pub fn pattern_of_day(event_type: &str, day: Day, format: Format) -> String {
        let [year, month, date, _] = day.first_hour().parts();
        let [in_year, in_month, in_day, in_hour] = HOUR;
        let folder = format!("{in_year}{year}/{in_month}{month}/{in_day}{date}/{in_hour}*");
        format!("{USER}*/{event_type}/{folder}/{}", format.file("*"))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{USER}{}/{}", self.username, self.event_type)?;
        HOUR.into_iter().zip(self.hour.parts()).try_for_each(|(name, number)| write!(out, "/{name}{number}"))
    }
}

impl FromStr for Partition {
    type Err = NameError;

    fn from_str(path: &str) -> Result<Self, NameError> {
        let segments: Vec<&str> = path.split('/').collect();
        let [username, event_type, year, month, day, hour] = segments[..] else {
            return Err(NOT_A_PARTITION);
        };
        let hour = Hour::of_date(
            number(value(year, HOUR[0])?)?,
            number(value(month, HOUR[1])?)?,
            number(value(day, HOUR[2])?)?,
            number(value(hour, HOUR[3])?)?,
        );
        Ok(Self {
            username: value(username, USER)?.parse()?,
            event_type: event_type.parse()?,
            hour: hour.ok_or(NOT_A_PARTITION)?,
        })
    }
}

/// An object of the lake, as its path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeObject<'a> {
    /// The partition of its events.
    pub partition: Partition,
    /// The batch that its events came in: the text of its [`BatchId`], if Weir put the object there.
    pub batch: &'a str,
    /// Its format.
    pub format: Format,
}

impl<'a> LakeObject<'a> {
    /// Reads the path of an object; `None` if it is not the path of one.
    #[must_use]
    pub fn at(path: &'a str) -> Option<Self> {
        let (folder, file) = path.rsplit_once('/')?;
        let (batch, format) = Format::of_file(file)?;
        Some(Self { partition: folder.parse().ok()?, batch, format })
    }
}

/// Returns the rest of a folder's name behind this beginning.
fn value<'a>(folder: &'a str, name: &str) -> Result<&'a str, NameError> {
    folder.strip_prefix(name).ok_or(NOT_A_PARTITION)
}

/// Parses a number in its only spelling, so that a partition has one path.
fn number<N: FromStr>(text: &str) -> Result<N, NameError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| NOT_A_PARTITION) } else { Err(NOT_A_PARTITION) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BatchKey, Timestamp};

    #[test]
    fn a_partition_is_the_documented_path() {
        let partition = Partition {
            username: "ethan".parse().unwrap(),
            event_type: "button_click".parse().unwrap(),
            hour: Timestamp::from_millis(1_767_603_900_000).unwrap().hour(),
        };
        assert_eq!(partition.to_string(), "username=ethan/button_click/year=2026/month=1/day=5/hour=9");
        let id = BatchKey::new("b.gz").id();
        assert_eq!(partition.object(&id), format!("{partition}/{id}.json.gz"));
    }

    #[test]
    fn paths_that_are_no_partition_are_refused() {
        for bad in [
            "",
            "username=a/t/year=2026/month=1/day=5",
            "username=a/t/year=2026/month=01/day=5/hour=9",
            "username=a/t/year=2026/month=2/day=30/hour=9",
            "username=a/t/year=2026/month=2/day=3/hour=24",
            "username=../t/year=2026/month=1/day=5/hour=9",
            "username=a/../year=2026/month=1/day=5/hour=9",
            "user=a/t/year=2026/month=1/day=5/hour=9",
            "username=a/t/year=+2026/month=1/day=5/hour=9",
            "username=a/t/year=2026/month=1/day=5/hour=9/",
        ] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_folders_patterns_and_columns_of_the_lake_are_those_of_its_partitions() {
        let path = "username=ethan/button_click/year=2026/month=1/day=5/hour=9";
        let partition: Partition = path.parse().unwrap();
        let Partition { username, event_type, .. } = &partition;
        assert_eq!(Partition::folder_of_user(username), "username=ethan");
        assert_eq!(Partition::folder_of_type(username, event_type), "username=ethan/button_click");
        assert!(path.starts_with(Partition::PREFIX));
        let columns: Vec<&str> =
            path.split('/').filter_map(|folder| Some(folder.split_once('=')?.0)).collect();
        assert_eq!(columns, Partition::COLUMNS);
        for (event_type, pattern) in [
            ("button_click", "username=*/button_click/year=*/month=*/day=*/hour=*/*.json.gz"),
            ("*", "username=*/*/year=*/month=*/day=*/hour=*/*.json.gz"),
        ] {
            assert_eq!(Partition::pattern(event_type, Format::JsonGz), pattern);
            let of_day = pattern.replace("year=*/month=*/day=*", "year=2026/month=1/day=5");
            let day = "2026-01-05".parse().unwrap();
            assert_eq!(Partition::pattern_of_day(event_type, day, Format::JsonGz), of_day);
        }
        for stray in ["", "ethan/a", "username=ethan", "username=Ethan/a", "notes.txt"] {
            assert_eq!(Partition::user_of(stray), None, "{stray}");
        }
        for stray in ["username=ethan/button_click", "username=ethan/notes.txt", "username=ethan/Click/a"] {
            assert_eq!(Partition::type_of(stray), None, "{stray}");
        }
    }

    proptest! {
        #[test]
        fn the_path_of_an_object_says_its_partition_and_its_batch(
            user in "[a-z0-9]{1,12}", event_type in "[a-z][a-z0-9_]{0,12}", millis in 0u64..253_402_207_200_000,
            key in "\\PC{0,30}",
        ) {
            let partition = Partition {
                username: user.parse().unwrap(),
                event_type: event_type.parse().unwrap(),
                hour: Timestamp::from_millis(millis).unwrap().hour(),
            };
            let batch = BatchKey::new(key).id();
            let path = partition.object(&batch);
            prop_assert_eq!(Partition::user_of(&path), Some(partition.username.clone()));
            prop_assert_eq!(Partition::type_of(&path), Some(partition.event_type.clone()));
            let expected = LakeObject { partition, batch: batch.as_str(), format: Format::JsonGz };
            prop_assert_eq!(LakeObject::at(&path), Some(expected));
        }

        #[test]
        fn a_partition_reads_back_from_its_path(
            user in "[a-z0-9]{1,12}", event_type in "[a-z][a-z0-9_]{0,12}", millis in 0u64..253_402_207_200_000,
        ) {
            let partition = Partition {
                username: user.parse().unwrap(),
                event_type: event_type.parse().unwrap(),
                hour: Timestamp::from_millis(millis).unwrap().hour(),
            };
            prop_assert_eq!(partition.to_string().parse::<Partition>(), Ok(partition));
        }

        #[test]
        fn a_path_that_reads_as_a_partition_is_that_partitions_own(path in "username=[a-z-]{0,3}/[a-z_]{0,3}/year=[0-9]{0,5}/month=[0-9]{0,3}/day=[0-9]{0,3}/hour=[0-9]{0,3}") {
            if let Ok(partition) = path.parse::<Partition>() {
                prop_assert_eq!(partition.to_string(), path);
            }
        }
    }
}
