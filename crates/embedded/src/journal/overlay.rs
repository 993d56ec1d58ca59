//! The overlay: the counts and latest values of events that are in the journal and not in the store's tables of counts yet.
//!
//! It is a list of generations, each with the sums of a range of the sequence. The last one is open and grows with every
//! commit. The others wait until their range is applied; a generation is applied as a whole or not at all. A reader takes the
//! list *first*, then reads the stored counts and their watermark (the last event applied) in one transaction, and adds only
//! the generations beyond it. A generation that is applied meanwhile counts once, in the store. So no reader waits for a commit,
//! and every reader counts each event exactly once.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard, RwLock};
use weir_core::{
    CountedValue, Counter, EventType, Increment, LatestKey, Username,
    latest::{LatestValue, Newest, Resource},
};

/// A generation of the overlay is closed at this size: one transaction applies it to the stored counts.
pub(crate) const SLICE_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Overlay {
    generations: RwLock<Vec<Arc<Generation>>>,
}

/// The sums of one range of the sequence.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The first event it counts.
    first: u64,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    /// The last event it counts; if it is less than `first`, nothing is counted yet.
    last: u64,
    /// The bytes of the events' lines.
    bytes: u64,
    sums: BTreeMap<Counter, u64>,
    latest: Newest,
}

/// The sums that a generation adds to the stored counts, and the values that it raises.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) last: u64,
    pub(crate) sums: Vec<Increment>,
    pub(crate) latest: Vec<LatestValue>,
}

impl Overlay {
    /// Makes an overlay that counts from the event `first` on.
    pub(crate) fn starting_at(first: u64) -> Self {
        Self { generations: RwLock::new(vec![Arc::new(Generation::starting_at(first))]) }
    }

    /// Counts a commit: the events up to `last`. Only the writer does this.
    pub(crate) fn raise(
        &self,
        last: u64,
        bytes: u64,
        increments: impl IntoIterator<Item = Increment>,
        latest: impl IntoIterator<Item = LatestValue>,
    ) {
        let open = self.open();
        let mut content = open.content();
        content.last = last;
        content.bytes += bytes;
        for Increment { counter, by } in increments {
            *content.sums.entry(counter).or_default() += by;
        }
        content.latest.extend(latest);
    }

    /// Returns the bytes of the open generation's events.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open().content().bytes
    }

    /// Closes the open generation, unless it is empty, and opens the next.
    pub(crate) fn close(&self) {
        let open = self.open();
        let last = open.content().last;
        if last >= open.first {
            self.generations.write().push(Arc::new(Generation::starting_at(last + 1)));
        }
    }

    /// Returns the earliest generation, if it is closed and ends at `last` or before: the next to be applied.
    pub(crate) fn earliest_up_to(&self, last: u64) -> Option<Slice> {
        let earliest = match &self.generations.read()[..] {
            [earliest, _, ..] => Arc::clone(earliest),
            _ => return None,
        };
        let content = earliest.content();
        let sums = content
            .sums
            .iter()
            .map(|(counter, by)| Increment { counter: counter.clone(), by: *by })
            .collect();
        let latest = content.latest.iter().collect();
        (content.last <= last).then_some(Slice { last: content.last, sums, latest })
    }

    /// Drops the generations that end at `applied` or before: the stored counts have them.
    pub(crate) fn drop_applied(&self, applied: u64) {
        self.generations.write().retain(|generation| {
            let last = generation.content().last;
            last < generation.first || last > applied
        });
    }

    /// Returns the overlay of this moment: it must be taken before the stored counts are read.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.generations.read().clone())
    }

    fn open(&self) -> Arc<Generation> {
        let generations = self.generations.read();
        Arc::clone(generations.last().expect("there is always an open generation"))
    }
}

impl Generation {
    fn starting_at(first: u64) -> Self {
        Self { first, content: Mutex::new(Content { last: first - 1, ..Content::default() }) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock()
    }
}

/// The list of generations as it was at some moment; its open generation goes on growing.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot(Vec<Arc<Generation>>);

impl Snapshot {
    fn beyond(&self, applied: u64) -> impl Iterator<Item = MutexGuard<'_, Content>> {
        self.0
            .iter()
            .filter(move |generation| generation.first > applied)
            .map(|generation| generation.content())
    }

    /// Returns the amount to add to a stored count that goes up to the event `applied`.
    pub(crate) fn count(&self, counter: &Counter, applied: u64) -> u64 {
        self.beyond(applied).filter_map(|content| content.sums.get(counter).copied()).sum()
    }

    /// Returns the amounts to add to the stored totals of a user's types.
    pub(crate) fn totals(&self, username: &Username, applied: u64) -> BTreeMap<EventType, u64> {
        let mut totals = BTreeMap::new();
        for content in self.beyond(applied) {
            let own = content
                .sums
                .iter()
                .filter(|(counter, _)| counter.username == *username && counter.key.is_none());
            for (counter, by) in own {
                *totals.entry(counter.event_type.clone()).or_default() += by;
            }
        }
        totals
    }

    /// Returns the amounts to add to the stored counts of a type by key.
    pub(crate) fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        applied: u64,
    ) -> BTreeMap<CountedValue, u64> {
        let total = Counter { username: username.clone(), event_type: event_type.clone(), key: None };
        let mut keys = BTreeMap::new();
        for content in self.beyond(applied) {
            // A type's keys follow its total directly, as `None` sorts before any key.
            let own = content.sums.range(&total..).take_while(|(counter, _)| {
                counter.username == total.username && counter.event_type == total.event_type
            });
            for (counter, by) in own {
                if let Some(key) = &counter.key {
                    *keys.entry(key.clone()).or_default() += by;
                }
            }
        }
        keys
    }

    /// Returns the newest value of a resource.
    pub(crate) fn latest(&self, resource: &Resource) -> Option<LatestValue> {
        let values = self.beyond(0).filter_map(|content| content.latest.get(resource));
        values.max_by(|one, other| one.version.cmp(&other.version))
    }

    /// Returns the newest values of a type whose keys are after `after`.
    pub(crate) fn latest_of(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
    ) -> BTreeMap<LatestKey, LatestValue> {
        let mut newest = Newest::default();
        for content in self.beyond(0) {
            let later = content.latest.after(username, event_type, after);
            newest.extend(later);
        }
        newest.into_values().map(|value| (value.resource.key.clone(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(key: Option<&str>) -> Counter {
        let key = key.map(|key| key.parse().unwrap());
        Counter { username: "u".parse().unwrap(), event_type: "t".parse().unwrap(), key }
    }

    fn raise(overlay: &Overlay, last: u64, by: u64) {
        overlay.raise(
            last,
            10,
            [Increment { counter: counter(None), by }, Increment { counter: counter(Some("x")), by }],
            [],
        );
    }

    #[test]
    fn an_event_counts_once_whether_its_generation_was_applied_before_or_after_the_snapshot() {
        let overlay = Overlay::starting_at(1);
        raise(&overlay, 3, 3);
        overlay.close();
        raise(&overlay, 5, 2);
        let before = overlay.snapshot();
        // The store is then read at 0 events applied, or at 3 and a count of 3: the sum is 5 both times.
        assert_eq!(before.count(&counter(None), 0), 5);
        assert_eq!(before.count(&counter(None), 3) + 3, 5);
        overlay.drop_applied(3);
        assert_eq!(before.count(&counter(None), 3) + 3, 5);
        assert_eq!(overlay.snapshot().count(&counter(None), 3) + 3, 5);
    }

    #[test]
    fn generations_are_applied_in_their_order_and_only_when_closed_and_in_range() {
        let overlay = Overlay::starting_at(1);
        assert!(overlay.earliest_up_to(9).is_none());
        raise(&overlay, 3, 3);
        assert!(overlay.earliest_up_to(9).is_none(), "it is open");
        overlay.close();
        overlay.close();
        raise(&overlay, 5, 2);
        overlay.close();
        assert!(overlay.earliest_up_to(2).is_none(), "it goes on after 2");
        let slice = overlay.earliest_up_to(5).unwrap();
        assert_eq!((slice.last, slice.sums[0].by, slice.sums.len()), (3, 3, 2));
        overlay.drop_applied(3);
        assert_eq!(overlay.earliest_up_to(5).unwrap().last, 5);
        overlay.drop_applied(5);
        assert!(overlay.earliest_up_to(9).is_none());
        assert_eq!(overlay.open_bytes(), 0);
    }

    #[test]
    fn totals_and_keys_are_summed_over_generations() {
        let overlay = Overlay::starting_at(1);
        raise(&overlay, 3, 3);
        overlay.close();
        raise(&overlay, 5, 2);
        let snapshot = overlay.snapshot();
        let (user, of) = ("u".parse().unwrap(), "t".parse().unwrap());
        assert_eq!(snapshot.totals(&user, 0).into_iter().collect::<Vec<_>>(), [("t".parse().unwrap(), 5)]);
        assert_eq!(snapshot.keys(&user, &of, 3).into_iter().collect::<Vec<_>>(), [("x".parse().unwrap(), 2)]);
        assert!(snapshot.keys(&"v".parse().unwrap(), &of, 0).is_empty());
    }
}
