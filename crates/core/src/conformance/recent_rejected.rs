//! [`RecentRejected`], with the [`Stream`] that stores the noted events.

use std::sync::LazyLock;

use futures_util::future::join_all;

use super::{a_user, event_type};
use crate::{
    Clock, Event, EventId, Record, SystemClock, SystemRandom, Timestamp, Username, Violation,
    ports::{Appended, RecentRejected, Stream},
    record::Stamp,
    rejected::{MAX_SHOWN, MAX_TEXT},
};

/// The start of the times of arrival: ids that Weir makes sort by them. An engine may forget old events.
static START: LazyLock<Timestamp> = LazyLock::new(|| SystemClock.now());

fn stamp(username: &Username, at: u64) -> Stamp {
    let received_at = START.plus_millis(at);
    let event_id = EventId::generate(received_at, &SystemRandom);
    Stamp { username: username.clone(), event_id, received_at }
}

fn rejected(username: &Username, at: u64, body: &str) -> Record {
    let errors = [Violation::new("/a", "is required")];
    Record::rejected(body.as_bytes(), Some(&event_type("a")), &errors, stamp(username, at))
}

/// Stores a request's records, and notes the rejected ones, as the collector does.
async fn send(stream: &dyn Stream, recent: &dyn RecentRejected, records: Vec<Record>) {
    let appended = stream.append(records.clone()).await;
    assert!(appended.iter().all(Appended::is_durable), "{appended:?}");
    let stored = records.into_iter().zip(appended);
    let stored: Vec<Record> = stored
        .filter(|(_, appended)| matches!(appended, Appended::Stored))
        .map(|(record, _)| record)
        .collect();
    recent.note(&stored).await.unwrap();
}

async fn texts(recent: &dyn RecentRejected, username: &Username, limit: usize) -> Vec<String> {
    recent.latest(username, limit).await.unwrap().into_iter().map(|event| event.event).collect()
}

/// Rejected events are listed newest first, within a request and over requests, as many as are asked for.
pub async fn the_latest_are_listed_newest_first(stream: &dyn Stream, recent: &dyn RecentRejected) {
    let user = a_user();
    assert_eq!(texts(recent, &user, 5).await, [""; 0]);
    let valid = Event::read("{}").unwrap();
    let valid = Record::accepted(&valid, &event_type("a"), None, stamp(&user, 0));
    send(stream, recent, vec![rejected(&user, 0, "0"), valid.clone(), rejected(&user, 0, "1")]).await;
    send(stream, recent, vec![valid]).await;
    for at in 1..4 {
        send(stream, recent, vec![rejected(&user, at, &format!("{}", at + 1))]).await;
    }
    assert_eq!(texts(recent, &user, 20).await, ["4", "3", "2", "1", "0"]);
    assert_eq!(texts(recent, &user, 2).await, ["4", "3"]);
    recent.note(&[]).await.unwrap();
    let shown = &recent.latest(&user, 1).await.unwrap()[0];
    assert_eq!(shown.errors, [Violation::new("/a", "is required")]);
    assert_eq!((&shown.event_type, shown.truncated), (&Some(event_type("a")), false));
    assert_eq!(shown.received_at, START.plus_millis(3));
}

/// However many there are, in one request or in many, a bounded number is listed, and the newest are among them.
pub async fn only_the_latest_are_kept(stream: &dyn Stream, recent: &dyn RecentRejected) {
    let user = a_user();
    let many = (0..300).map(|n| rejected(&user, 0, &format!("first {n}"))).collect();
    send(stream, recent, many).await;
    let found = texts(recent, &user, MAX_SHOWN).await;
    assert!((10..=MAX_SHOWN).contains(&found.len()), "{}", found.len());
    assert_eq!(found[..2], ["first 299", "first 298"]);
    for at in 0..60 {
        send(stream, recent, vec![rejected(&user, 1 + at, &at.to_string())]).await;
    }
    let expected: Vec<String> = (10..60).rev().map(|at| at.to_string()).collect();
    assert_eq!(texts(recent, &user, MAX_SHOWN).await, expected);
    assert_eq!(texts(recent, &user, 1000).await.len(), MAX_SHOWN);
}

/// Any text is kept as it was sent; a long one is cut to its beginning.
pub async fn any_text_is_kept_as_it_was_sent(stream: &dyn Stream, recent: &dyn RecentRejected) {
    let user = a_user();
    let long = "é\u{1}\"".repeat(100_000);
    for (at, body) in ["", "\0", "</script>", "\u{2028}\"\\", "{\"a\":1}\r\n", &long].into_iter().enumerate()
    {
        send(stream, recent, vec![rejected(&user, at as u64, body)]).await;
        let shown = &recent.latest(&user, 1).await.unwrap()[0];
        assert_eq!(shown.truncated, body.len() > MAX_TEXT);
        assert!(
            body.starts_with(&shown.event) && shown.event.len() >= body.len().min(MAX_TEXT - 3),
            "{shown:?}"
        );
    }
    // Ten of the worst events in one request are listed as well as one of them.
    let worst = (0..10).map(|_| rejected(&user, 100, &"\u{1}".repeat(5000))).collect();
    send(stream, recent, worst).await;
    assert_eq!(recent.latest(&user, 1).await.unwrap()[0].event, "\u{1}".repeat(MAX_TEXT));
}

/// No user's list has events of another user, even if both send at the same time.
pub async fn a_user_sees_no_rejected_events_of_another(stream: &dyn Stream, recent: &dyn RecentRejected) {
    let users: Vec<Username> = (0..4).map(|_| a_user()).collect();
    join_all(users.iter().map(|user| async move {
        for at in 0..5 {
            send(stream, recent, vec![rejected(user, at, user.as_str())]).await;
        }
    }))
    .await;
    for user in &users {
        assert_eq!(texts(recent, user, MAX_SHOWN).await, [user.as_str(); 5]);
    }
    assert_eq!(texts(recent, &a_user(), MAX_SHOWN).await, [""; 0]);
}
