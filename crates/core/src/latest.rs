//! Latest values: the newest event of each resource, such as a sensor.
//!
//! A resource is a value of the field that the catalog names as `latest_by`. Its latest value is the event with the highest
//! [`Version`]: the latest event time, and of equal times the greatest `event_id`. A version follows from the stored event
//! alone, so neither the order of arrival nor repeats nor retries change which event is the latest.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

use crate::{EventId, EventType, LatestKey, Record, RecordHead, RecordHeadError, Timestamp, Username};

/// The owner of a latest value, such as a sensor: one key of a user's events of a type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// The user who sends the events.
    pub username: Username,
    /// The type of the events.
    pub event_type: EventType,
    /// The value of the field that the catalog names as `latest_by`.
    pub key: LatestKey,
}

/// The order of a resource's events: the newer one has the later event time, or of equal times the greater id, by its bytes.
/// Events of equal version are one event that was sent again.
// The derived order compares the fields in their order here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The event time, within the bounds of [`event_time`](crate::event_time).
    pub time: Timestamp,
    /// The event's id.
    pub event_id: EventId,
}

/// An event that is, or may become, the latest of its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestValue {
    /// The resource.
    pub resource: Resource,
    /// The event's version.
    pub version: Version,
    /// The event as it is stored: its line, without the line break.
    event: Bytes,
}

impl LatestValue {
    /// Returns a record as the value of its resource; `None` if it has no resource.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let key = record.latest_key()?.clone();
        let counter = record.counter();
        let (username, event_type) = (counter.username.clone(), counter.event_type.clone());
        Some(Self {
            resource: Resource { username, event_type, key },
            version: Version { time: record.time(), event_id: record.event_id().clone() },
            event: without_line_break(record.line().clone()),
        })
    }

    /// Reads a stored line as the value of this key of its user and type.
    pub fn read(key: LatestKey, line: Bytes) -> Result<Self, RecordHeadError> {
        let RecordHead { partition, event_id, time, .. } = RecordHead::read(&line)?;
        let (username, event_type) = (partition.username, partition.event_type);
        Ok(Self {
            resource: Resource { username, event_type, key },
            version: Version { time, event_id },
            event: without_line_break(line),
        })
    }

    /// Returns the event as it is stored: JSON in one line, without the line break.
    #[must_use]
    pub fn event(&self) -> &Bytes {
        &self.event
    }
}

fn without_line_break(mut line: Bytes) -> Bytes {
    let length = line.strip_suffix(b"\n").map_or(line.len(), <[u8]>::len);
    line.truncate(length);
    line
}

/// Returns the newest value of each resource, in the order of the resources.
#[must_use]
pub fn newest(values: impl IntoIterator<Item = LatestValue>) -> Vec<LatestValue> {
    let mut newest = Newest::default();
    newest.extend(values);
    newest.into_values().collect()
}

impl Extend<LatestValue> for Newest {
    fn extend<T: IntoIterator<Item = LatestValue>>(&mut self, values: T) {
        values.into_iter().for_each(|value| self.raise(value));
    }
}

/// The newest value of each resource among those that were raised.
#[derive(Debug, Clone, Default)]
pub struct Newest(BTreeMap<Resource, (Version, Bytes)>);

impl Newest {
    /// Adds a value, unless that of its resource is as new, or newer.
    pub fn raise(&mut self, LatestValue { resource, version, event }: LatestValue) {
        match self.0.get_mut(&resource) {
            None => {
                self.0.insert(resource, (version, event));
            }
            Some(newest) if newest.0 < version => *newest = (version, event),
            Some(_) => {}
        }
    }

    /// Returns the value of a resource.
    #[must_use]
    pub fn get(&self, resource: &Resource) -> Option<LatestValue> {
        self.0.get_key_value(resource).map(value)
    }

    /// Returns whether no value was raised.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all values, in the order of the resources.
    pub fn iter(&self) -> impl Iterator<Item = LatestValue> {
        self.0.iter().map(value)
    }

    /// Returns the values of a user and type whose keys are after `after` (`None`: all), in the order of the keys.
    pub fn after<'a>(
        &'a self,
        username: &'a Username,
        event_type: &'a EventType,
        after: Option<&LatestKey>,
    ) -> impl Iterator<Item = LatestValue> + use<'a> {
        let key = after.cloned().unwrap_or_else(|| LatestKey::of(""));
        let from = Resource { username: username.clone(), event_type: event_type.clone(), key };
        let from = if after.is_some() { Bound::Excluded(from) } else { Bound::Included(from) };
        let later = self.0.range((from, Bound::Unbounded));
        let later = later
            .take_while(|(resource, _)| resource.username == *username && resource.event_type == *event_type);
        later.map(value)
    }

    /// Turns into all values, in the order of the resources.
    pub fn into_values(self) -> impl Iterator<Item = LatestValue> {
        let value = |(resource, (version, event))| LatestValue { resource, version, event };
        self.0.into_iter().map(value)
    }
}

fn value((resource, (version, event)): (&Resource, &(Version, Bytes))) -> LatestValue {
    LatestValue { resource: resource.clone(), version: version.clone(), event: event.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, Stamp};

    fn value(key: &str, time: u64, id: &str) -> LatestValue {
        let text = format!(r#"{{"event_id":"{id}","occurred_at":{time}}}"#);
        let received_at = Timestamp::saturating(10_000);
        let stamp = Stamp { username: "ann".parse().unwrap(), event_id: id.parse().unwrap(), received_at };
        let record = Record::accepted(&Event::read(&text).unwrap(), &"reading".parse().unwrap(), None, stamp);
        LatestValue::of(&record.latest_under(Some(LatestKey::of(key)))).unwrap()
    }

    #[test]
    fn a_version_is_the_event_time_and_then_the_id_by_its_bytes() {
        let in_order = [
            value("x", 1, "z"),
            value("x", 2, "A"),
            value("x", 2, "B"),
            value("x", 2, "B-1"),
            value("x", 2, "a"),
            value("x", 10, "A"),
        ];
        let versions: Vec<_> = in_order.iter().map(|value| &value.version).collect();
        assert!(versions.is_sorted_by(|one, other| one < other), "{versions:?}");
    }

    #[test]
    fn a_value_is_read_back_from_its_line() {
        let value = value("x", 7, "e-1");
        let line = [&value.event()[..], b"\n"].concat();
        for line in [Bytes::from(line), value.event().clone()] {
            assert_eq!(LatestValue::read(LatestKey::of("x"), line).unwrap(), value);
        }
        assert!(LatestValue::read(LatestKey::of("x"), Bytes::from_static(b"{}")).is_err());
    }

    proptest! {
        #[test]
        fn the_newest_values_do_not_depend_on_order_or_repeats(
            events in prop::collection::vec(("[ab]", 0..4_u64, "[xyz]"), 1..20), seed in any::<u64>(),
        ) {
            let values: Vec<_> = events.iter().map(|(key, time, id)| value(key, *time, id)).collect();
            let mut shuffled: Vec<_> = values.iter().chain(&values).cloned().collect();
            let length = shuffled.len();
            for at in 0..length {
                shuffled.swap(at, usize::try_from(seed.rotate_left(u32::try_from(at).unwrap()) % length as u64).unwrap());
            }
            prop_assert_eq!(newest(values), newest(shuffled));
        }
    }
}
