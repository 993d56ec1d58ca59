//! [`Stream`] and repeated events (dedup), with the [`RawObjects`] that it delivers into.

use futures_util::future::join_all;

use super::{
    a_user, event_type,
    stream::{delivered, eventually},
};
use crate::{
    Event, Record, Timestamp, Username,
    ports::{Appended, RawObjects, Stream},
    record::Stamp,
};

/// Makes an event with the client's id `id`; `text` distinguishes the versions sent under it.
#[must_use]
pub fn event(username: &Username, id: &str, text: &str) -> Record {
    let text = format!(r#"{{"event_id":"{id}","text":"{text}"}}"#);
    let event = Event::read(&text).unwrap();
    Record::accepted(&event, &event_type("a"), Some("x".parse().unwrap()), stamp(username, id))
}

fn stamp(username: &Username, id: &str) -> Stamp {
    let received_at = Timestamp::saturating(1_795_179_605_007);
    Stamp { username: username.clone(), event_id: id.parse().unwrap(), received_at }
}

/// The outcomes of an append, in letters: new, duplicate or refused.
fn told(outcomes: &[Appended]) -> String {
    let letter = |outcome: &Appended| match outcome {
        Appended::Counted | Appended::Stored => 'n',
        Appended::Duplicate { .. } => 'd',
        Appended::Refused(_) => 'r',
    };
    outcomes.iter().map(letter).collect()
}

/// Checks that the user's lines in raw are those of these records, once each, and stay so.
async fn arrived(raw: &dyn RawObjects, username: &Username, records: &[Record]) {
    let lines = eventually(raw, username, records.len()).await;
    let expected: Vec<(Vec<u8>, usize)> = lines.keys().map(|line| (line.clone(), 1)).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
    assert!(records.iter().all(|record| expected.iter().any(|(line, _)| line == record.line())));
    assert_eq!(delivered(raw, username).await.len(), records.len());
}

/// An event that is sent again is a duplicate and not stored, even if its content differs.
pub async fn what_was_stored_is_a_duplicate_when_it_comes_again(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let (one, two) = (event(&user, "one", "first"), event(&user, "two", ""));
    assert_eq!(told(&stream.append(vec![one.clone()]).await), "n");
    assert_eq!(told(&stream.append(vec![one.clone()]).await), "d");
    let changed = event(&user, "one", "second");
    assert_eq!(told(&stream.append(vec![changed.clone(), two.clone(), one.clone()]).await), "dnd");
    assert_eq!(told(&stream.append(vec![two.clone(), changed]).await), "dd");
    arrived(raw, &user, &[one, two]).await;
}

/// Of the records of one append that are the same event, the first is stored.
pub async fn repeats_in_one_append_are_duplicates_of_the_first(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let records: Vec<Record> =
        (0..300).map(|n| event(&user, &format!("e-{}", n % 100), &n.to_string())).collect();
    let expected = "n".repeat(100) + &"d".repeat(200);
    assert_eq!(told(&stream.append(records.clone()).await), expected);
    arrived(raw, &user, &records[..100]).await;
}

/// Of any number of concurrent appends of the same event, one stores it.
pub async fn of_concurrent_repeats_one_is_stored(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let records: Vec<Record> = (0..10).map(|n| event(&user, &format!("e-{n}"), "")).collect();
    let answers: Vec<String> = join_all((0..8).map(|n| {
        let (before, after) = records.split_at(n);
        // Each append has another order.
        let records = [after, before].concat();
        async move {
            let told = told(&stream.append(records).await);
            let (after, before) = told.split_at(told.len() - n);
            format!("{before}{after}")
        }
    }))
    .await;
    for (n, record) in records.iter().enumerate() {
        let mut of_one: Vec<char> = answers.iter().map(|told| told.as_bytes()[n].into()).collect();
        assert_eq!(of_one.iter().filter(|told| **told == 'n').count(), 1, "{answers:?}");
        // Callers who were refused retry, and then learn that it is stored.
        of_one.retain(|told| *told == 'r');
        for _ in of_one {
            assert_eq!(told(&stream.append(vec![record.clone()]).await), "d");
        }
    }
    arrived(raw, &user, &records).await;
}

/// The same id of two users names two events.
pub async fn users_do_not_share_ids(stream: &dyn Stream, raw: &dyn RawObjects) {
    let (ann, bob) = (a_user(), a_user());
    for user in [&ann, &bob] {
        assert_eq!(told(&stream.append(vec![event(user, "e:1", "")]).await), "n");
    }
    for user in [&ann, &bob] {
        assert_eq!(told(&stream.append(vec![event(user, "e:1", "")]).await), "d");
        arrived(raw, user, &[event(user, "e:1", "")]).await;
    }
}

/// Events without an id of the client's, and rejected ones, are stored however often they come; and rejecting an event does
/// not keep it from being stored once it is corrected.
pub async fn records_without_an_identity_are_all_stored(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let nameless =
        |id: &str| Record::accepted(&Event::read("{}").unwrap(), &event_type("a"), None, stamp(&user, id));
    let rejected = |id: &str| Record::rejected(br#"{"event_id":"e-1"}"#, None, &[], stamp(&user, id));
    let records =
        vec![nameless("n-1"), rejected("r-1"), event(&user, "e-1", ""), rejected("r-2"), nameless("n-2")];
    assert_eq!(told(&stream.append(records.clone()).await), "nnnnn");
    let again = vec![nameless("n-3"), rejected("r-3"), event(&user, "e-1", "")];
    assert_eq!(told(&stream.append(again.clone()).await), "nnd");
    arrived(raw, &user, &[&records[..], &again[..2]].concat()).await;
}

/// A refused event is not remembered: once the stream works, it is stored. `broken` is a second stream with the same memory
/// that refuses every event.
pub async fn what_was_refused_can_be_sent_again(
    broken: &dyn Stream,
    stream: &dyn Stream,
    raw: &dyn RawObjects,
) {
    let user = a_user();
    let records: Vec<Record> = (0..3).map(|n| event(&user, &format!("e-{n}"), "")).collect();
    assert_eq!(told(&stream.append(vec![records[0].clone()]).await), "n");
    // A stored event is recognised, even if no more can be stored.
    assert_eq!(told(&broken.append(records.clone()).await), "drr");
    assert_eq!(told(&stream.append(records.clone()).await), "dnn");
    arrived(raw, &user, &records).await;
}
