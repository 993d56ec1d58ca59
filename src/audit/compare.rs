//! The comparison itself: what the lake holds of a user's type against its counts.
//!
//! Events keep arriving, so counts are read both before and after the recount. Settled counts and the live counts of
//! settled events never decrease, and an object is in the lake before it is settled. So the recount must be between the two
//! readings, and equal to both where nothing moved.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::{
    CountedValue, Counter, EventType, Hour, Username,
    books::{Breakdown, Correction, TypeCounts},
};

/// The result of recounting the lake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InLake {
    pub(super) breakdown: Breakdown,
    pub(super) hours: BTreeMap<Hour, u64>,
}

/// One reading of the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) counts: TypeCounts,
    /// The part of the live counts not yet settled; `None` if unknown.
    pub(super) under_way: Option<Breakdown>,
}

/// Which comparisons apply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether totals and live counts are compared: not if only some hours were recounted.
    pub(super) all_hours: bool,
    /// Whether live counts by key are compared: not if the catalog counts by no key.
    pub(super) keys: bool,
    /// Whether the counts stood still for so long that nothing can be in flight.
    pub(super) still: bool,
}

/// One count of a user's type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Total,
    Hour(Hour),
    Key(CountedValue),
}

/// Its live or its settled count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Settled,
    Live,
    /// Live counts above the lake's, where the surplus may be events in flight.
    UnderWayOrLost,
}

/// A count that differs from the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) scope: Scope,
    pub(super) which: Which,
    pub(super) lake: u64,
    pub(super) settled: Option<u64>,
    pub(super) live: Option<u64>,
    pub(super) under_way: Option<u64>,
    /// By how much the count is too high; negative if too low.
    pub(super) by: i128,
}

/// Returns all differences, totals first.
pub(super) fn compare(lake: &InLake, before: &Reading, after: &Reading, terms: Terms) -> Vec<Difference> {
    let mut found = Vec::new();
    let settled = |scope: Scope, lake: u64, before: u64, after: u64, live: Option<u64>| {
        let by = outside(lake, before.into(), after.into())?;
        let which = Which::Settled;
        Some(Difference { scope, which, lake, settled: Some(after), live, under_way: None, by })
    };
    let (first, last) = (&before.counts, &after.counts);
    if terms.all_hours {
        found.extend(settled(
            Scope::Total,
            lake.breakdown.total,
            first.settled,
            last.settled,
            Some(last.live.total),
        ));
        found.extend(live(Scope::Total, lake, before, after, terms));
    }
    let hours: BTreeSet<Hour> = [&lake.hours, &first.settled_hours, &last.settled_hours]
        .into_iter()
        .flat_map(BTreeMap::keys)
        .copied()
        .collect();
    for hour in hours {
        let of = |hours: &BTreeMap<Hour, u64>| hours.get(&hour).copied().unwrap_or_default();
        let (first, last) = (of(&first.settled_hours), of(&last.settled_hours));
        found.extend(settled(Scope::Hour(hour), of(&lake.hours), first, last, None));
    }
    if terms.all_hours && terms.keys {
        let under_way = [before, after].into_iter().filter_map(|reading| reading.under_way.as_ref());
        let breakdowns = [&lake.breakdown, &first.live, &last.live].into_iter().chain(under_way);
        let keys: BTreeSet<&CountedValue> = breakdowns.flat_map(|breakdown| breakdown.keys.keys()).collect();
        found.extend(
            keys.into_iter().filter_map(|key| live(Scope::Key(key.clone()), lake, before, after, terms)),
        );
    }
    found
}

/// Compares one live count.
fn live(scope: Scope, lake: &InLake, before: &Reading, after: &Reading, terms: Terms) -> Option<Difference> {
    let of = |breakdown: &Breakdown| match &scope {
        Scope::Key(key) => breakdown.key(key),
        _ => breakdown.total,
    };
    let lies = of(&lake.breakdown);
    let counted = of(&after.counts.live);
    let settled = |reading: &Reading| {
        let under_way = reading.under_way.as_ref().map_or(0, of);
        i128::from(of(&reading.counts.live)) - i128::from(under_way)
    };
    let known = after.under_way.is_some();
    let by = if known || terms.still {
        outside(lies, settled(before), settled(after))?
    } else {
        outside(lies, settled(after), settled(after))?
    };
    let which = if known || terms.still || by < 0 { Which::Live } else { Which::UnderWayOrLost };
    let under_way = match which {
        Which::UnderWayOrLost => u64::try_from(by).ok(),
        _ => after.under_way.as_ref().map(of),
    };
    let settled = (scope == Scope::Total).then_some(after.counts.settled);
    Some(Difference { scope, which, lake: lies, settled, live: Some(counted), under_way, by })
}

/// Returns by how much both readings are above or below the lake; `None` if the lake is between them.
fn outside(lake: u64, before: i128, after: i128) -> Option<i128> {
    let lake = i128::from(lake);
    // The second reading is lower only if an operator lowered a count meanwhile.
    let (low, high) = (before.min(after), before.max(after));
    match lake {
        lake if lake < low => Some(low - lake),
        lake if lake > high => Some(high - lake),
        _ => None,
    }
}

/// Returns whether the lake holds more than is settled: a batch may be on its way between the two.
pub(super) fn is_ahead(lake: &InLake, counts: &TypeCounts) -> bool {
    let settled = |hour: &Hour| counts.settled_hours.get(hour).copied().unwrap_or_default();
    lake.hours.iter().any(|(hour, lies)| *lies > settled(hour))
}

/// Returns what to add to live counts to make them right; `None` if the lake itself is in doubt.
pub(super) fn corrections(
    username: &Username,
    event_type: &EventType,
    differences: &[Difference],
) -> Option<Vec<Correction>> {
    if differences.iter().any(|difference| difference.which == Which::Settled) {
        return None;
    }
    let live = differences.iter().filter(|difference| difference.which == Which::Live);
    live.map(|difference| {
        let key = match &difference.scope {
            Scope::Key(key) => Some(key.clone()),
            _ => None,
        };
        let counter = Counter { username: username.clone(), event_type: event_type.clone(), key };
        Some(Correction { counter, by: i64::try_from(-difference.by).ok()? })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Terms = Terms { all_hours: true, keys: true, still: false };

    fn breakdown(keys: &[(&str, u64)]) -> Breakdown {
        let keys: BTreeMap<CountedValue, u64> =
            keys.iter().map(|(key, n)| (key.parse().unwrap(), *n)).collect();
        Breakdown { total: keys.values().sum(), keys }
    }

    fn hours(hours: &[u64]) -> BTreeMap<Hour, u64> {
        (0..).zip(hours).map(|(n, count)| (Hour::from_epoch(n).unwrap(), *count)).collect()
    }

    /// Counts that are right if nothing is in flight.
    fn right(lake: &InLake, under_way: Option<Breakdown>) -> Reading {
        let mut live = lake.breakdown.clone();
        if let Some(more) = &under_way {
            live.total += more.total;
            for (key, n) in &more.keys {
                *live.keys.entry(key.clone()).or_default() += n;
            }
        }
        let settled_hours = lake.hours.clone();
        let counts = TypeCounts { live, settled: lake.breakdown.total, settled_hours, under_way: None };
        Reading { counts, under_way }
    }

    fn lake(keys: &[(&str, u64)]) -> InLake {
        let breakdown = breakdown(keys);
        let hours = hours(&[breakdown.total / 2, breakdown.total - breakdown.total / 2]);
        InLake { breakdown, hours }
    }

    #[test]
    fn what_is_right_differs_in_nothing() {
        let lake = lake(&[("a", 3), ("b", 4)]);
        for under_way in [None, Some(Breakdown::default()), Some(breakdown(&[("a", 2), ("c", 9)]))] {
            let reading = right(&lake, under_way);
            assert_eq!(compare(&lake, &reading, &reading, ALL), []);
        }
        // A count of zero equals a missing one.
        let mut zeros = right(&lake, None);
        zeros.counts.live.keys.insert("z".parse().unwrap(), 0);
        zeros.counts.settled_hours.insert(Hour::from_epoch(99).unwrap(), 0);
        assert_eq!(compare(&lake, &zeros, &zeros, ALL), []);
    }

    #[test]
    fn a_surplus_of_live_counts_is_a_difference_only_where_nothing_can_be_under_way() {
        let lake = lake(&[("a", 3)]);
        let mut reading = right(&lake, None);
        reading.counts.live = breakdown(&[("a", 5)]);
        let found = |terms| {
            let found = compare(&lake, &reading, &reading, terms);
            found.iter().map(|it| (it.which, it.by, it.under_way)).collect::<Vec<_>>()
        };
        assert_eq!(found(ALL), [(Which::UnderWayOrLost, 2, Some(2)); 2]);
        assert_eq!(found(Terms { still: true, ..ALL }), [(Which::Live, 2, None); 2]);
        reading.under_way = Some(Breakdown::default());
        assert_eq!(compare(&lake, &reading, &reading, ALL).len(), 2);
        let mut too_low = right(&lake, None);
        too_low.counts.live = Breakdown::default();
        let found = compare(&lake, &too_low, &too_low, ALL);
        assert!(
            found.iter().all(|it| it.which == Which::Live && it.by == -3) && found.len() == 2,
            "{found:?}"
        );
    }

    #[test]
    fn only_the_hours_are_compared_where_not_all_of_them_were_recounted() {
        let lake = lake(&[("a", 3)]);
        let mut reading = right(&lake, None);
        reading.counts.live = breakdown(&[("b", 50)]);
        reading.counts.settled = 7;
        let terms = Terms { all_hours: false, ..ALL };
        assert_eq!(compare(&lake, &reading, &reading, terms), []);
        reading.counts.settled_hours = hours(&[1, 3]);
        let found = compare(&lake, &reading, &reading, terms);
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].scope, found[0].by), (&Scope::Hour(Hour::from_epoch(1).unwrap()), 1));
        // Keys of a type without a key in the catalog are left alone.
        reading.counts.settled_hours = hours(&[1, 2]);
        let found = compare(&lake, &reading, &reading, Terms { keys: false, ..ALL });
        assert!(found.iter().all(|it| it.scope == Scope::Total), "{found:?}");
    }

    fn breakdowns() -> impl Strategy<Value = Breakdown> {
        proptest::collection::btree_map("[a-c]", 0u64..5, 0..4).prop_map(|keys| {
            let keys: Vec<(&str, u64)> = keys.iter().map(|(key, n)| (key.as_str(), *n)).collect();
            breakdown(&keys)
        })
    }

    proptest! {
        /// Corrections make live counts right, whatever they were.
        #[test]
        fn what_is_corrected_differs_in_nothing(lies in breakdowns(), counted in breakdowns(), under_way in proptest::option::of(breakdowns())) {
            let lake = InLake { hours: hours(&[lies.total]), breakdown: lies };
            let mut reading = right(&lake, under_way);
            reading.counts.live = counted;
            let terms = Terms { still: true, ..ALL };
            let found = compare(&lake, &reading, &reading, terms);
            let corrections = corrections(&"u".parse().unwrap(), &"t".parse().unwrap(), &found).unwrap();
            for Correction { counter, by } in corrections {
                let live = &mut reading.counts.live;
                let count = match counter.key {
                    None => &mut live.total,
                    Some(key) => live.keys.entry(key).or_default(),
                };
                *count = count.checked_add_signed(by).unwrap();
            }
            prop_assert_eq!(compare(&lake, &reading, &reading, terms), []);
        }

        /// However far filing has come at each of the three moments, no false difference is found.
        #[test]
        fn events_that_come_in_meanwhile_are_no_difference(filed in 0u64..50, then in 0u64..5, later in 0u64..5, waiting in 0u64..5) {
            let at = |total: u64| InLake { breakdown: breakdown(&[("a", total)]), hours: hours(&[total]) };
            let under_way = |n: u64| Some(breakdown(&[("a", n)]));
            let before = right(&at(filed), under_way(waiting));
            let after = right(&at(filed + then + later), under_way(0));
            prop_assert_eq!(compare(&at(filed + then), &before, &after, ALL), []);
        }

        #[test]
        fn a_settled_count_that_is_wrong_is_found_and_keeps_live_counts_as_they_are(lies in 0u64..9, settled in 0u64..9) {
            prop_assume!(lies != settled);
            let lake = InLake { breakdown: breakdown(&[("a", lies)]), hours: hours(&[lies]) };
            let mut reading = right(&lake, Some(Breakdown::default()));
            reading.counts.settled_hours = hours(&[settled]);
            let found = compare(&lake, &reading, &reading, ALL);
            prop_assert_eq!(found.iter().map(|it| it.by).collect::<Vec<_>>(), [i128::from(settled) - i128::from(lies)]);
            prop_assert_eq!(corrections(&"u".parse().unwrap(), &"t".parse().unwrap(), &found), None);
            prop_assert_eq!(is_ahead(&lake, &reading.counts), lies > settled);
        }
    }
}
