//! Compares latest values with the events in the lake, and mends them.
//!
//! Events keep arriving, so the values are read both before and after the recount. When it is read after the recount, a value
//! must be at least as new as the newest event found. A value that was there before the recount, and is newer than all events
//! found, belongs to no event. This is certain only if the events under way are known, too.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use weir_core::{
    EventType, LatestKey, Username,
    latest::{LatestValue, Newest, Version},
    ports::{LatestValuesAdmin, PortError, ReadLatest},
};

/// All latest values of a user's type.
pub(super) type Kept = BTreeMap<LatestKey, LatestValue>;

/// A latest value that disagrees with the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongValue {
    pub(super) key: LatestKey,
    /// The newest event found.
    pub(super) found: Option<LatestValue>,
    /// The latest value.
    pub(super) kept: Option<LatestValue>,
}

impl WrongValue {
    /// Returns whether the value is of an event that was not found. Otherwise a newer one was.
    pub(super) fn is_of_no_event(&self) -> bool {
        let version = |value: &Option<LatestValue>| value.as_ref().map(|value| value.version.clone());
        version(&self.kept) > version(&self.found)
    }

    pub(super) fn what(&self) -> &'static str {
        match &self.kept {
            _ if self.is_of_no_event() => "latest value of no event",
            Some(_) => "stale latest value",
            None => "missing latest value",
        }
    }

    /// Describes both events.
    pub(super) fn detail(&self) -> String {
        let said = |value: &Option<LatestValue>| match value {
            Some(LatestValue { version: Version { time, event_id }, .. }) => format!("{event_id} of {time}"),
            None => "none".to_owned(),
        };
        format!("it is {}, and the newest event is {}", said(&self.kept), said(&self.found))
    }
}

/// Reads all latest values of a user's type.
pub(super) async fn kept(
    latest: &dyn ReadLatest,
    username: &Username,
    event_type: &EventType,
) -> Result<Kept, PortError> {
    let values = crate::latest::all(latest, username, event_type).await?;
    Ok(values.into_iter().map(|value| (value.resource.key.clone(), value)).collect())
}

/// Returns the values that are wrong, in the order of their keys. `found` has the newest events of the type; `all_are_known` says
/// whether it covers all events, those under way included.
pub(super) fn compare(
    found: &Newest,
    before: &Kept,
    mut after: Kept,
    all_are_known: bool,
) -> Vec<WrongValue> {
    let mut wrong = Vec::new();
    for found in found.iter() {
        let key = found.resource.key.clone();
        let kept = after.remove(&key);
        let is_stale = kept.as_ref().is_none_or(|kept| kept.version < found.version);
        let is_newer = kept.as_ref().is_some_and(|kept| kept.version > found.version);
        if is_stale || (is_newer && all_are_known && kept.as_ref() == before.get(&key)) {
            wrong.push(WrongValue { key, found: Some(found), kept });
        }
    }
    let of_no_event = after.into_iter().filter(|(key, kept)| all_are_known && before.get(key) == Some(kept));
    wrong.extend(of_no_event.map(|(key, kept)| WrongValue { key, found: None, kept: Some(kept) }));
    wrong.sort_by(|one, other| one.key.cmp(&other.key));
    wrong
}

/// Mends a value.
pub(super) async fn mend(admin: &dyn LatestValuesAdmin, wrong: &WrongValue) -> Result<()> {
    let doing = || format!("mending the latest value {:?}", wrong.key);
    if wrong.is_of_no_event()
        && let Some(kept) = &wrong.kept
    {
        admin.remove(kept).await.with_context(doing)?;
    }
    for raised in admin.raise(wrong.found.as_slice()).await {
        raised.with_context(doing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &str, time: u64) -> LatestValue {
        let line = format!(
            r#"{{"time":{time},"event_id":"e","username":"u","event_type":"t","received_at":{time}}}"#
        );
        LatestValue::read(LatestKey::of(key), line.into()).unwrap()
    }

    fn kept(values: &[(&str, u64)]) -> Kept {
        values.iter().map(|(key, time)| (LatestKey::of(key), value(key, *time))).collect()
    }

    fn compared(
        found: &[(&str, u64)],
        before: &[(&str, u64)],
        after: &[(&str, u64)],
        known: bool,
    ) -> Vec<String> {
        let mut newest = Newest::default();
        newest.extend(found.iter().map(|(key, time)| value(key, *time)));
        let wrong = compare(&newest, &kept(before), kept(after), known);
        wrong.iter().map(|wrong| format!("{} {}", wrong.key, wrong.what())).collect()
    }

    #[test]
    fn a_value_older_than_an_event_is_stale_whatever_is_under_way() {
        for known in [true, false] {
            let found = [("a", 5), ("b", 5), ("c", 5), ("d", 5)];
            let after = [("a", 4), ("b", 5), ("d", 5)];
            let said = compared(&found, &[("a", 4), ("b", 1)], &after, known);
            assert_eq!(said, ["a stale latest value", "c missing latest value"]);
        }
    }

    #[test]
    fn a_value_of_no_event_is_found_where_all_events_are_known_and_it_did_not_come_meanwhile() {
        let (found, values) = ([("a", 5)], [("a", 9), ("b", 1)]);
        let said = compared(&found, &values, &values, true);
        assert_eq!(said, ["a latest value of no event", "b latest value of no event"]);
        assert_eq!(compared(&found, &values, &values, false), [""; 0]);
        assert_eq!(compared(&found, &[("a", 5)], &values, true), [""; 0]);
        assert_eq!(compared(&found, &[("a", 8)], &values, true), [""; 0]);
    }
}
