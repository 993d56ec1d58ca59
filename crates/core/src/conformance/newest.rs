//! [`NewestEvents`] of an engine that lists events at once, with the [`Stream`] that stores them.

use super::{a_user, event_type};
use crate::{
    Clock, Event, Record, SystemClock, SystemRandom, Username, Violation,
    newest::{MAX_BYTES, NewestEvent, NewestFate, NewestPage, NewestRequest},
    ports::{Appended, NewestEvents, Stream},
    record::Stamp,
};

fn stamp(username: &Username) -> Stamp {
    Stamp::new(username.clone(), None, SystemClock.now(), &SystemRandom)
}

/// An event of the type `name` with this number.
pub(super) fn accepted(username: &Username, name: &str, number: usize) -> Record {
    let text = format!("{{\"number\": {number}}}");
    Record::accepted(&Event::read(&text).unwrap(), &event_type(name), None, stamp(username))
}

/// An event with this number that was rejected, sent as the type `name`.
pub(super) fn rejected(username: &Username, name: &str, number: usize) -> Record {
    let errors = [Violation::new("/a", "is required"), Violation::new("", "is no click")];
    Record::rejected(number.to_string().as_bytes(), Some(&event_type(name)), &errors, stamp(username))
}

pub(super) async fn send(stream: &dyn Stream, records: Vec<Record>) {
    let appended = stream.append(records).await;
    assert!(appended.iter().all(Appended::is_durable), "{appended:?}");
}

fn request(limit: usize) -> NewestRequest {
    NewestRequest { event_type: None, after: None, limit }
}

/// Returns the number of an event, and whether it was accepted.
pub(super) fn number(event: &NewestEvent) -> (usize, bool) {
    match &event.fate {
        NewestFate::Accepted { event } => {
            let event: serde_json::Value = serde_json::from_str(event.get()).unwrap();
            (usize::try_from(event["number"].as_u64().unwrap()).unwrap(), true)
        }
        NewestFate::Rejected { event, .. } => (event.parse().unwrap(), false),
    }
}

fn numbers(page: &NewestPage) -> Vec<usize> {
    page.events.iter().map(|event| number(event).0).collect()
}

/// Reads all pages.
async fn all(newest: &dyn NewestEvents, username: &Username, mut request: NewestRequest) -> Vec<usize> {
    let mut found = Vec::new();
    loop {
        let page = newest.newest(username, &request).await.unwrap();
        assert!(page.events.len() <= request.limit);
        found.extend(numbers(&page));
        request.after = page.next;
        if request.after.is_none() {
            return found;
        }
    }
}

/// Every event is listed as soon as its append has returned, the newest first, as it was stored.
pub async fn events_are_listed_as_soon_as_they_are_stored(stream: &dyn Stream, newest: &dyn NewestEvents) {
    let user = a_user();
    assert_eq!(numbers(&newest.newest(&user, &request(5)).await.unwrap()), [0; 0]);
    for first in (0..40).step_by(4) {
        let record = accepted(&user, "a", first);
        let line = std::str::from_utf8(record.line()).unwrap().trim_end().to_owned();
        send(stream, vec![record]).await;
        let page = newest.newest(&user, &request(1)).await.unwrap();
        assert!(page.live);
        assert!(matches!(&page.events[0].fate, NewestFate::Accepted { event } if event.get() == line));
        let rest = vec![
            rejected(&user, "a", first + 1),
            accepted(&user, "b", first + 2),
            accepted(&user, "a", first + 3),
        ];
        send(stream, rest).await;
        let page = newest.newest(&user, &request(4)).await.unwrap();
        let shown: Vec<_> = page.events.iter().map(number).collect();
        assert_eq!(shown, [(first + 3, true), (first + 2, true), (first + 1, false), (first, true)]);
        assert!(
            matches!(&page.events[2].fate, NewestFate::Rejected { reason, .. } if reason == "/a: is required; is no click")
        );
    }
}

/// Pages of any size have every event once, in order, through all the places where an engine keeps them. `deliver` is called
/// now and then, to have the events so far put into batches.
pub async fn pages_have_every_event_once(
    stream: &dyn Stream,
    newest: &dyn NewestEvents,
    deliver: impl AsyncFn(),
) {
    let user = a_user();
    for first in (0..60).step_by(3) {
        let event = |number| {
            let name = ["a", "b"][number % 2];
            if number % 5 == 0 { rejected(&user, name, number) } else { accepted(&user, name, number) }
        };
        send(stream, (first..first + 3).map(event).collect()).await;
        if first % 4 == 0 && first < 50 {
            deliver().await;
        }
    }
    for limit in [1, 2, 7, 59, 60, 100] {
        assert_eq!(all(newest, &user, request(limit)).await, (0..60).rev().collect::<Vec<_>>(), "{limit}");
    }
    let of = async |name: &str, limit| {
        let event_type = Some(event_type(name));
        all(newest, &user, NewestRequest { event_type, ..request(limit) }).await
    };
    assert_eq!(of("a", 4).await, (0..60).rev().filter(|number| number % 2 == 0).collect::<Vec<_>>());
    assert_eq!(of("rejected", 5).await, (0..60).rev().filter(|number| number % 5 == 0).collect::<Vec<_>>());
    assert_eq!(of("c", 5).await, [0; 0]);
}

/// A user sees no event of another, even if the other's text pretends to be the user's.
pub async fn a_user_sees_no_event_of_another(stream: &dyn Stream, newest: &dyn NewestEvents) {
    let (ann, bob) = (a_user(), a_user());
    let pretending =
        format!("{{\"number\": 1, \"user\": {{\"username\":\"{bob}\"}}, \"x\": \"username\\\":\\\"{bob}\"}}");
    let pretending =
        Record::accepted(&Event::read(&pretending).unwrap(), &event_type("a"), None, stamp(&ann));
    let body = format!("{{\"username\":\"{bob}\"}}");
    let refused = Record::rejected(body.as_bytes(), None, &[], stamp(&ann));
    send(stream, vec![pretending, refused, accepted(&bob, "a", 7)]).await;
    assert_eq!(all(newest, &bob, request(10)).await, [7]);
    assert_eq!(newest.newest(&ann, &request(10)).await.unwrap().events.len(), 2);
}

/// Events of any size are listed whole, and no page is much larger than the bound.
pub async fn pages_of_large_events_are_bounded(stream: &dyn Stream, newest: &dyn NewestEvents) {
    let user = a_user();
    let text = |number: usize| format!("{{\"number\": {number}, \"text\": \"{}\"}}", "x".repeat(200_000));
    for number in 0..30 {
        let event = text(number);
        let event = Event::read(&event).unwrap();
        send(stream, vec![Record::accepted(&event, &event_type("a"), None, stamp(&user))]).await;
    }
    let first = newest.newest(&user, &request(100)).await.unwrap();
    assert!(first.events.len() > 5 && first.next.is_some(), "{}", first.events.len());
    assert!(first.events.iter().map(NewestEvent::bytes).sum::<usize>() <= MAX_BYTES + 300_000);
    assert_eq!(all(newest, &user, request(100)).await, (0..30).rev().collect::<Vec<_>>());
}
