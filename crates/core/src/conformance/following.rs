//! [`FollowEvents`], with the [`Stream`] that stores the events.

use super::{
    a_user, event_type,
    newest::{accepted, number, rejected, send},
};
use crate::{
    Event, Record, Stamp, SystemClock, SystemRandom, Username,
    clock::Clock,
    following::{FollowRequest, MAX_BYTES, MAX_EVENTS},
    newest::Position,
    ports::{FollowEvents, Stream},
};

fn last(follow: &dyn FollowEvents) -> Position {
    follow.last().unwrap()
}

/// Reads all events after a position. Returns their numbers, and the position of the end.
async fn all(follow: &dyn FollowEvents, username: &Username, after: Position) -> (Vec<usize>, Position) {
    let mut request = FollowRequest { event_type: None, after };
    let mut found = Vec::new();
    loop {
        let page = follow.page(username, &request).await.unwrap();
        assert!(page.events.len() <= MAX_EVENTS && !page.has_gap);
        assert!(page.events.windows(2).all(|two| two[0].0 < two[1].0), "positions rise from event to event");
        found.extend(page.events.iter().map(|(_, event)| number(event).0));
        request.after = page.up_to;
        if !page.has_more {
            return (found, request.after);
        }
    }
}

/// Events are followed once and in order from any position, wherever the engine keeps them. `deliver` is called now and
/// then, and puts the events so far into batches.
pub async fn events_come_once_and_in_order_from_any_position(
    stream: &dyn Stream,
    follow: &dyn FollowEvents,
    deliver: impl AsyncFn(),
) {
    let (user, other) = (a_user(), a_user());
    send(stream, vec![accepted(&user, "a", 1000)]).await;
    // The reported end may be before an event that was just stored.
    let (_, begin) = all(follow, &user, last(follow)).await;
    assert_eq!(all(follow, &user, begin.clone()).await.0, [0; 0]);
    let (mut live, mut came) = (begin.clone(), Vec::new());
    for first in (0..60).step_by(3) {
        let event = |number| {
            if number % 5 == 0 { rejected(&user, "b", number) } else { accepted(&user, "a", number) }
        };
        send(stream, (first..first + 3).map(event).collect()).await;
        send(stream, vec![accepted(&other, "a", first)]).await;
        // The reported end soon includes all that was stored.
        follow.stored_after(&live).await;
        if first % 4 == 0 {
            deliver().await;
        }
        if first % 2 == 0 {
            let (some, up_to) = all(follow, &user, live).await;
            came.extend(some);
            live = up_to;
        }
    }
    came.extend(all(follow, &user, live).await.0);
    let numbers: Vec<usize> = (0..60).collect();
    assert_eq!(came, numbers);
    assert_eq!(all(follow, &user, begin.clone()).await.0, numbers);
    let request = FollowRequest { event_type: None, after: begin };
    let page = follow.page(&user, &request).await.unwrap();
    for (position, event) in &page.events {
        let rest = all(follow, &user, position.clone()).await.0;
        assert_eq!(rest, numbers[number(event).0 + 1..]);
    }
    for (name, is) in [("rejected", 0), ("b", 0)] {
        let request = FollowRequest { event_type: Some(event_type(name)), ..request.clone() };
        let mut next = request.clone();
        let mut found = Vec::new();
        loop {
            let page = follow.page(&user, &next).await.unwrap();
            found.extend(page.events.iter().map(|(_, event)| number(event).0));
            next.after = page.up_to;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(found, (0..60).filter(|number| number % 5 == is).collect::<Vec<_>>(), "{name}");
    }
}

/// A user gets no event of another.
pub async fn a_user_follows_no_event_of_another(stream: &dyn Stream, follow: &dyn FollowEvents) {
    let (ann, bob) = (a_user(), a_user());
    let begin = last(follow);
    let pretending = format!("{{\"number\": 1, \"user\": {{\"username\":\"{bob}\"}}}}");
    let stamp = Stamp::new(ann.clone(), None, SystemClock.now(), &SystemRandom);
    let pretending = Record::accepted(&Event::read(&pretending).unwrap(), &event_type("a"), None, stamp);
    send(stream, vec![pretending, accepted(&bob, "a", 7), rejected(&ann, "a", 2)]).await;
    assert_eq!(all(follow, &bob, begin.clone()).await.0, [7]);
    assert_eq!(all(follow, &ann, begin).await.0, [1, 2]);
}

/// Pages of many and of large events are bounded, and lose none.
pub async fn pages_of_many_events_are_bounded(stream: &dyn Stream, follow: &dyn FollowEvents) {
    let user = a_user();
    let begin = last(follow);
    let many = |number| accepted(&user, "a", number);
    send(stream, (0..2500).map(many).collect()).await;
    for number in 2500..2510 {
        let text = format!("{{\"number\": {number}, \"text\": \"{}\"}}", "x".repeat(200_000));
        let stamp = Stamp::new(user.clone(), None, SystemClock.now(), &SystemRandom);
        let event = Record::accepted(&Event::read(&text).unwrap(), &event_type("a"), None, stamp);
        send(stream, vec![event]).await;
    }
    let mut request = FollowRequest { event_type: None, after: begin.clone() };
    loop {
        let page = follow.page(&user, &request).await.unwrap();
        let bytes: usize = page.events.iter().map(|(_, event)| event.bytes()).sum();
        assert!(bytes < MAX_BYTES + 300_000 && page.events.len() <= MAX_EVENTS);
        request.after = page.up_to;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(all(follow, &user, begin).await.0, (0..2510).collect::<Vec<_>>());
}
