//! Partitions: the places of events in the lake.

use std::{fmt, str::FromStr};

use crate::{BatchId, EventType, Hour, NameError, Username};

/// One user's events of one type and one UTC hour of arrival. Its text form is the folder below the lake:
/// `username=ethan/button_click/year=2026/month=11/day=20/hour=13`, numbers unpadded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The user whose events these are.
    pub username: Username,
    /// Their type.
    pub event_type: EventType,
    /// The hour of `received_at`.
    pub hour: Hour,
}

/// Why a path is not a partition's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The path does not have the six folders of a partition.
    #[error("a partition is username=…/TYPE/year=…/month=…/day=…/hour=…")]
    Shape,
    /// A name in the path is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such hour, or its numbers are padded.
    #[error("there is no such hour")]
    Hour,
}

impl Partition {
    /// Returns the path, below the lake, of the events of `batch` for this partition.
    #[must_use]
    pub fn object(&self, batch: &BatchId) -> String {
        format!("{self}/{batch}.json.gz")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour] = self.hour.parts();
        let Self { username, event_type, .. } = self;
        write!(out, "username={username}/{event_type}/year={year}/month={month}/day={day}/hour={hour}")
    }
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(path: &str) -> Result<Self, PartitionError> {
        let segments: Vec<&str> = path.split('/').collect();
        let [username, event_type, year, month, day, hour] = segments[..] else {
            return Err(PartitionError::Shape);
        };
        let value = |segment: &'_ str, name: &str| -> Result<String, PartitionError> {
            let (found, value) = segment.split_once('=').ok_or(PartitionError::Shape)?;
            if found == name { Ok(value.to_owned()) } else { Err(PartitionError::Shape) }
        };
        let hour = Hour::of_date(
            number(&value(year, "year")?)?,
            number(&value(month, "month")?)?,
            number(&value(day, "day")?)?,
            number(&value(hour, "hour")?)?,
        );
        Ok(Self {
            username: value(username, "username")?.parse()?,
            event_type: event_type.parse()?,
            hour: hour.ok_or(PartitionError::Hour)?,
        })
    }
}

/// Parses a number in its only spelling, so that a partition has one path.
fn number<N: FromStr>(text: &str) -> Result<N, PartitionError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| PartitionError::Hour) } else { Err(PartitionError::Hour) }
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

    proptest! {
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
