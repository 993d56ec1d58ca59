//! Counts, and the few increments that a request's events add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CountedValue, EventType, Record, Timestamp, Username};

/// One live count: a user's events of a type, or those of them that have one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counter {
    /// The user whose events are counted.
    pub username: Username,
    /// The type of the events.
    pub event_type: EventType,
    /// The key of the events; `None` counts all of the type.
    pub key: Option<CountedValue>,
}

impl Counter {
    /// Returns the counter of all events of the type.
    #[must_use]
    pub fn total(&self) -> Self {
        Self { key: None, ..self.clone() }
    }
}

/// An amount to add to a live count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// The count to raise.
    pub counter: Counter,
    /// The amount.
    pub by: u64,
}

/// Returns the increments of some records: each counts once for its type and once for its key, one of a bot also as such and
/// by its type ([`EventType::bots`]), and equal counters are raised together. They are in the order of the counters, so that
/// equal records make equal increments.
#[must_use]
pub fn increments<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Increment> {
    let mut sums: BTreeMap<Counter, u64> = BTreeMap::new();
    for record in records {
        let counter = record.counter();
        *sums.entry(counter.total()).or_default() += 1;
        if counter.key.is_some() {
            *sums.entry(counter.clone()).or_default() += 1;
        }
        if record.is_of_a_bot() {
            let of_bots = of_bots(&counter.username, &counter.event_type);
            *sums.entry(of_bots.total()).or_default() += 1;
            *sums.entry(of_bots).or_default() += 1;
        }
    }
    sums.into_iter().map(|(counter, by)| Increment { counter, by }).collect()
}

/// Returns the counter of the bots' events of a type.
fn of_bots(username: &Username, event_type: &EventType) -> Counter {
    let key = Some(CountedValue::of(event_type.as_str()));
    Counter { username: username.clone(), event_type: EventType::bots(), key }
}

/// The counts of a user's events in the lake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledTotals {
    /// The number of events of each type.
    pub by_type: BTreeMap<EventType, u64>,
    /// The time at which the last batch with events of the user was settled; `None` if no such batch was settled since Weir
    /// keeps this time.
    pub settled_at: Option<Timestamp>,
}

/// A request for a page of a type's counts by key, largest first.
#[derive(Debug, Clone, Default)]
pub struct KeysRequest {
    /// The count to go on after.
    pub after: Option<KeyCount>,
    /// The most counts to return.
    pub limit: usize,
}

impl KeysRequest {
    /// Returns the page of these counts, which are in any order.
    #[must_use]
    pub fn page(&self, counts: impl IntoIterator<Item = KeyCount>) -> Vec<KeyCount> {
        let is_after = |count: &KeyCount| self.after.as_ref().is_none_or(|after| after.precedes(count));
        let mut page: Vec<KeyCount> = counts.into_iter().filter(is_after).collect();
        page.sort_by(|a, b| a.place().cmp(&b.place()));
        page.truncate(self.limit);
        page
    }
}

/// The count of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCount {
    /// The key.
    pub key: CountedValue,
    /// The number of events that have the key.
    pub count: u64,
}

impl KeyCount {
    /// Returns whether this count comes before `other` in a listing: larger counts first, equal ones by key.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        self.place() < other.place()
    }

    fn place(&self) -> (std::cmp::Reverse<u64>, &CountedValue) {
        (std::cmp::Reverse(self.count), &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Timestamp, record::Stamp};

    #[test]
    fn a_page_is_largest_first_and_goes_on_after_the_last_one() {
        let count = |key: &str, count| KeyCount { key: key.parse().unwrap(), count };
        let all = || [count("b", 1), count("a", 1), count("c", 2), count("d", 9)];
        let first = KeysRequest { after: None, limit: 3 }.page(all());
        assert_eq!(first, [count("d", 9), count("c", 2), count("a", 1)]);
        assert_eq!(KeysRequest { after: first.last().cloned(), limit: 3 }.page(all()), [count("b", 1)]);
    }

    #[test]
    fn a_requests_events_are_aggregated_before_they_are_counted() {
        let record = |user: &str, key: Option<&str>| {
            let stamp = Stamp {
                username: user.parse().unwrap(),
                event_id: "1".parse().unwrap(),
                received_at: Timestamp::saturating(0),
            };
            let key = key.map(|key| key.parse().unwrap());
            Record::accepted(&Event::read("{}").unwrap(), &"t".parse().unwrap(), key, stamp)
        };
        let records =
            [record("b", Some("x")), record("a", None), record("b", Some("y")), record("b", Some("x"))];
        let said: Vec<_> = increments(&records)
            .into_iter()
            .map(|i| format!("{} {:?} {}", i.counter.username, i.counter.key, i.by))
            .collect();
        assert_eq!(said, ["a None 1", "b None 3", "b Some(\"x\") 2", "b Some(\"y\") 1"]);
    }

    #[test]
    fn a_bots_event_counts_as_any_other_and_once_more_as_a_bots() {
        let record = |event_type: &str, is_of_a_bot: bool| {
            let received_at = Timestamp::saturating(0);
            let stamp = Stamp { username: "a".parse().unwrap(), event_id: "1".parse().unwrap(), received_at };
            let mut event = Event::read("{}").unwrap();
            if is_of_a_bot {
                event.mark_as_of_a_bot();
            }
            Record::accepted(&event, &event_type.parse().unwrap(), None, stamp)
        };
        let records = [record("t", true), record("t", false), record("u", true), record("t", true)];
        let said: Vec<_> = increments(&records)
            .into_iter()
            .map(|i| format!("{} {:?} {}", i.counter.event_type, i.counter.key, i.by))
            .collect();
        let of_bots = ["weir_bots None 3", "weir_bots Some(\"t\") 2", "weir_bots Some(\"u\") 1"];
        assert_eq!(said, [&["t None 3", "u None 1"], &of_bots[..]].concat());
    }
}
