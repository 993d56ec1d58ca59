//! [`LatestValues`], with the [`Stream`] that stores the events.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{a_user, event_type};
use crate::{
    Clock, Event, EventId, EventType, LatestKey, Record, SystemClock, SystemRandom, Timestamp, Username,
    latest::LatestValue,
    ports::{Appended, LatestValues, LatestValuesAdmin, Stream},
    record::Stamp,
};

/// A time of arrival of all events here.
const RECEIVED_AT: u64 = 1_795_179_605_007;

fn reading() -> EventType {
    event_type("reading")
}

/// A value of `key`, which happened `time` milliseconds before the bound of event times.
fn value(username: &Username, key: &str, time: u64, id: &str) -> LatestValue {
    value_of(&reading(), username, key, time, id, "")
}

fn value_of(
    event_type: &EventType,
    username: &Username,
    key: &str,
    time: u64,
    id: &str,
    padding: &str,
) -> LatestValue {
    let occurred_at = RECEIVED_AT - 1000 + time;
    let text = format!(r#"{{"event_id":"{id}","occurred_at":{occurred_at},"padding":"{padding}"}}"#);
    let stamp = Stamp {
        username: username.clone(),
        event_id: id.parse().unwrap(),
        received_at: Timestamp::saturating(RECEIVED_AT),
    };
    let record = Record::accepted(&Event::read(&text).unwrap(), event_type, None, stamp);
    LatestValue::of(&record.latest_under(Some(LatestKey::of(key)))).unwrap()
}

async fn raise(latest: &dyn LatestValues, values: &[LatestValue]) {
    let outcomes = latest.raise(values).await;
    assert_eq!(outcomes.len(), values.len());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

async fn read(latest: &dyn LatestValues, username: &Username, key: &str) -> Option<LatestValue> {
    let mut read = latest.read(username, &reading(), &[LatestKey::of(key)]).await.unwrap();
    assert_eq!(read.len(), 1);
    read.remove(0)
}

async fn keys(
    latest: &dyn LatestValues,
    username: &Username,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let after = after.map(LatestKey::of);
    let listed = latest.list(username, &reading(), after.as_ref(), limit).await.unwrap();
    listed.into_iter().map(|value| value.resource.key.to_string()).collect()
}

/// A resource of which nothing was raised has no latest value.
pub async fn what_was_never_raised_is_none(latest: &dyn LatestValues) {
    let user = a_user();
    assert!(latest.raise(&[]).await.is_empty());
    assert!(latest.read(&user, &reading(), &[]).await.unwrap().is_empty());
    assert_eq!(read(latest, &user, "a").await, None);
    assert_eq!(keys(latest, &user, None, 10).await, [""; 0]);
    raise(latest, &[value(&user, "a", 1, "e")]).await;
    let asked = ["b", "a", "c", "a"].map(LatestKey::of);
    let found = latest.read(&user, &reading(), &asked).await.unwrap();
    let a = Some(value(&user, "a", 1, "e"));
    assert_eq!(found, [None, a.clone(), None, a]);
}

/// Of values that are raised in any order, one by one or together, again and again, the newest stays: by time, then by id.
pub async fn the_newest_stays_in_any_order(latest: &dyn LatestValues) {
    let newest_last = [(9, "z"), (10, "A"), (10, "A-1"), (10, "a"), (100, "A")];
    for at in 0..newest_last.len() {
        let user = a_user();
        let mut values: Vec<_> = newest_last.iter().map(|&(time, id)| value(&user, "x", time, id)).collect();
        let newest = values.last().cloned();
        values.rotate_left(at);
        for value in &values {
            raise(latest, std::slice::from_ref(value)).await;
        }
        assert_eq!(read(latest, &user, "x").await, newest, "rotated by {at}");
        raise(latest, &values).await;
        assert_eq!(read(latest, &user, "x").await, newest, "rotated by {at}, again");
        assert_eq!(keys(latest, &user, None, 10).await, ["x"]);

        let together = a_user();
        let values: Vec<_> =
            values.iter().map(|of| value(&together, "x", 0, of.version.event_id.as_str())).collect();
        raise(latest, &values).await;
        let newest = values.iter().max_by_key(|value| &value.version).cloned();
        assert_eq!(read(latest, &together, "x").await, newest, "together");
    }
}

/// An event of the same version changes nothing, whatever it holds.
pub async fn of_one_version_the_first_stays(latest: &dyn LatestValues) {
    let user = a_user();
    let first = value_of(&reading(), &user, "x", 5, "e", "first");
    raise(latest, std::slice::from_ref(&first)).await;
    raise(latest, &[value_of(&reading(), &user, "x", 5, "e", "second")]).await;
    assert_eq!(read(latest, &user, "x").await, Some(first));
}

/// Concurrent calls end with the newest value of each resource.
pub async fn concurrent_raises_end_with_the_newest(latest: &dyn LatestValues) {
    let user = a_user();
    let calls = (0..40_u64).map(|n| {
        // Each call has three resources, and the times of a resource come in no order.
        let values: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .zip([1, 7, 11])
            .map(|(key, step)| value(&user, key, n * step % 40, "e"))
            .collect();
        async move { raise(latest, &values).await }
    });
    join_all(calls).await;
    for key in ["a", "b", "c"] {
        assert_eq!(read(latest, &user, key).await, Some(value(&user, key, 39, "e")));
    }
}

/// Users and types have latest values of their own.
pub async fn users_and_types_do_not_share_values(latest: &dyn LatestValues) {
    let (ann, bob) = (a_user(), a_user());
    let other = value_of(&event_type("other"), &ann, "x", 9, "other", "");
    raise(latest, &[value(&ann, "x", 1, "ann"), value(&bob, "x", 2, "bob"), other.clone()]).await;
    assert_eq!(read(latest, &ann, "x").await, Some(value(&ann, "x", 1, "ann")));
    assert_eq!(read(latest, &bob, "x").await, Some(value(&bob, "x", 2, "bob")));
    assert_eq!(read(latest, &a_user(), "x").await, None);
    assert_eq!(keys(latest, &ann, None, 10).await, ["x"]);
    let listed = latest.list(&ann, &event_type("other"), None, 10).await.unwrap();
    assert_eq!(listed, [other]);
}

/// Any text is a key of its own, and keys are listed in the order of their bytes, in pages.
pub async fn any_text_is_a_key_and_keys_are_listed_in_order(latest: &dyn LatestValues) {
    let user = a_user();
    let long = "é".repeat(256);
    let mut texts =
        ["", "\0", " ", "#", "../", "A", "a", "a\0", "a!", "a/b", "a#b", "ab", "é", "\u{ffff}", "😀", &long];
    let values: Vec<_> = texts.iter().map(|key| value(&user, key, 1, "e")).collect();
    raise(latest, &values).await;
    for (key, value) in texts.iter().zip(values) {
        assert_eq!(read(latest, &user, key).await, Some(value), "{key:?}");
    }
    texts.sort_unstable();
    assert_eq!(keys(latest, &user, None, 100).await, texts);
    assert_eq!(keys(latest, &user, Some("😀"), 100).await, [""; 0]);
    for limit in [1, 5, texts.len()] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = keys(latest, &user, after.as_deref(), limit).await;
            assert!(page.len() == limit || found.len() + page.len() == texts.len(), "a page is full");
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page);
        }
        assert_eq!(found, texts, "in pages of {limit}");
    }
    // A key that was never raised is a place to go on after, too.
    assert_eq!(keys(latest, &user, Some("aaa"), 2).await, ["ab", "é"]);
}

/// Large events are kept whole, as they are stored, and small ones take their place and the other way round.
pub async fn events_of_any_size_are_kept_whole(latest: &dyn LatestValues) {
    let user = a_user();
    for (time, length) in [0, 7_000, 8_200, 250_000, 3, 100_000, 399].into_iter().enumerate() {
        let padding = "é\\u0001 ".repeat(length / 9);
        let large = value_of(&reading(), &user, "x", time as u64, "e", &padding);
        raise(latest, std::slice::from_ref(&large)).await;
        assert_eq!(read(latest, &user, "x").await.as_ref(), Some(&large), "{length} bytes");
        assert_eq!(latest.list(&user, &reading(), None, 5).await.unwrap(), [large]);
    }
    let many: Vec<_> = (0..20)
        .map(|n| value_of(&reading(), &user, &format!("many {n:02}"), 1, "e", &"x".repeat(120_000)))
        .collect();
    raise(latest, &many).await;
    let listed = latest.list(&user, &reading(), None, 20).await.unwrap();
    assert_eq!(listed, many);
}

/// Hundreds of resources of one call are all raised, and read in one call.
pub async fn hundreds_of_resources_are_raised_and_read_together(latest: &dyn LatestValues) {
    let user = a_user();
    let values: Vec<_> = (0..250).map(|n| value(&user, &format!("k{n:03}"), n, "e")).collect();
    raise(latest, &values).await;
    let asked: Vec<_> = values.iter().rev().map(|value| value.resource.key.clone()).collect();
    let found: Vec<_> = latest.read(&user, &reading(), &asked).await.unwrap().into_iter().flatten().collect();
    assert_eq!(found, values.into_iter().rev().collect::<Vec<_>>());
}

/// A value that was read is removed, unless another has taken its place.
pub async fn only_a_value_that_was_read_is_removed(latest: &dyn LatestValuesAdmin) {
    let user = a_user();
    let (older, newer) = (value(&user, "x", 1, "e"), value(&user, "x", 2, "e"));
    latest.remove(&older).await.unwrap();
    raise(latest, std::slice::from_ref(&newer)).await;
    latest.remove(&older).await.unwrap();
    assert_eq!(read(latest, &user, "x").await.as_ref(), Some(&newer));
    latest.remove(&newer).await.unwrap();
    latest.remove(&newer).await.unwrap();
    assert_eq!(read(latest, &user, "x").await, None);
    assert_eq!(keys(latest, &user, None, 10).await, [""; 0]);
    // What was removed may come back, an older one too.
    raise(latest, std::slice::from_ref(&older)).await;
    assert_eq!(read(latest, &user, "x").await, Some(older));
}

/// A record of `key` that arrives so many milliseconds later than the first; without an id of its client's, Weir makes one.
fn arriving(username: &Username, key: &str, id: Option<&str>, later: u64) -> Record {
    let received_at = SystemClock.now().plus_millis(later);
    let given: Option<EventId> = id.map(|id| id.parse().unwrap());
    let text = id.map_or_else(|| "{}".to_owned(), |id| format!(r#"{{"event_id":"{id}","later":{later}}}"#));
    let stamp = Stamp::new(username.clone(), given, received_at, &SystemRandom);
    let record = Record::accepted(&Event::read(&text).unwrap(), &reading(), None, stamp);
    record.latest_under(Some(LatestKey::of(key)))
}

/// Stores records, and raises the latest values that the engine leaves to its caller, as the collector does.
async fn send(stream: &dyn Stream, latest: &dyn LatestValues, records: Vec<Record>) -> Vec<Appended> {
    let appended = stream.append(records.clone()).await;
    let values: Vec<_> =
        records.iter().zip(&appended).filter_map(|(record, appended)| appended.to_raise(record)).collect();
    raise(latest, &values).await;
    appended
}

/// Stored events become latest values at once; rejected events and those without a key never do.
pub async fn stored_events_become_latest_values(stream: &dyn Stream, latest: &dyn LatestValues) {
    let user = a_user();
    let [first, late, other] =
        [("x", 50), ("x", 20), ("y", 10)].map(|(key, at)| arriving(&user, key, None, at));
    let keyless = arriving(&user, "z", None, 90).latest_under(None);
    let stamp = Stamp::new(user.clone(), None, first.received_at(), &SystemRandom);
    let rejected = Record::rejected(b"{}", Some(&reading()), &[], stamp);
    let sent = send(stream, latest, vec![first.clone(), keyless, late, rejected, other.clone()]).await;
    assert!(sent.iter().all(Appended::is_durable), "{sent:?}");
    assert_eq!(read(latest, &user, "x").await, LatestValue::of(&first));
    assert_eq!(keys(latest, &user, None, 10).await, ["x", "y"]);
    let newest = arriving(&user, "x", Some("e-1"), 60);
    send(stream, latest, vec![newest.clone()]).await;
    let asked = ["x", "y"].map(LatestKey::of);
    let found = latest.read(&user, &reading(), &asked).await.unwrap();
    assert_eq!(found, [LatestValue::of(&newest), LatestValue::of(&other)]);
}

/// A repeated event changes nothing, though it arrives later and may hold something else: the version is that of the record
/// that was stored. If nothing was raised for that record, its repeat raises it.
pub async fn a_repeat_raises_the_record_that_was_stored(stream: &dyn Stream, latest: &dyn LatestValues) {
    let user = a_user();
    let first = arriving(&user, "x", Some("e-1"), 0);
    // The caller of this append ends before it raises anything.
    assert!(stream.append(vec![first.clone()]).await[0].is_durable());
    let again = vec![arriving(&user, "x", Some("e-1"), 500), arriving(&user, "elsewhere", Some("e-1"), 900)];
    for _ in 0..2 {
        let sent = send(stream, latest, again.clone()).await;
        assert!(sent.iter().all(|sent| matches!(sent, Appended::Duplicate { .. })), "{sent:?}");
        assert_eq!(read(latest, &user, "x").await, LatestValue::of(&first));
        assert_eq!(keys(latest, &user, None, 10).await, ["x"]);
    }
    let between = arriving(&user, "x", Some("e-2"), 100);
    send(stream, latest, vec![between.clone()]).await;
    send(stream, latest, again).await;
    assert_eq!(read(latest, &user, "x").await, LatestValue::of(&between));
}

/// A repeat within one append is a duplicate that raises the first record.
pub async fn a_repeat_in_one_append_raises_the_first(stream: &dyn Stream, latest: &dyn LatestValues) {
    let user = a_user();
    let first = arriving(&user, "x", Some("e-1"), 0);
    let appended = stream.append(vec![first.clone(), arriving(&user, "x", Some("e-1"), 500)]).await;
    // The second may be another caller's, who raises it without the first.
    if let Some(value) = appended[1].to_raise(&arriving(&user, "x", Some("e-1"), 500)) {
        raise(latest, &[value]).await;
    }
    assert_eq!(read(latest, &user, "x").await, LatestValue::of(&first));
}

/// The largest event that a client can send has a latest value as it was stored.
pub async fn the_largest_event_is_a_latest_value(stream: &dyn Stream, latest: &dyn LatestValues) {
    let user = a_user();
    let text = format!(r#"{{"event_id":"e-1","text":"{}"}}"#, "x".repeat(crate::event::MAX_EVENT_BYTES - 30));
    let stamp = Stamp::new(user.clone(), Some("e-1".parse().unwrap()), SystemClock.now(), &SystemRandom);
    let record = Record::accepted(&Event::read(&text).unwrap(), &reading(), None, stamp);
    let record = record.latest_under(Some(LatestKey::of("x")));
    assert!(stream.append(vec![record.clone()]).await[0].is_durable());
    send(stream, latest, vec![record.clone()]).await;
    let found = read(latest, &user, "x").await.map(|value| Bytes::clone(value.event()));
    assert_eq!(found, LatestValue::of(&record).map(|value| Bytes::clone(value.event())));
}
