//! The stream of events and the counts by minute, on an engine that has them and on one that has not.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod script;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use script::{Script, api, ask};
use tower::ServiceExt;

/// The script has no such ports, as on AWS.
#[tokio::test]
async fn where_events_cannot_be_followed_the_answer_says_what_to_do_instead() {
    let script = Arc::new(Script::default());
    let answer = ask(&script, "GET", "/events/stream", Body::empty()).await;
    assert_eq!((answer.status, answer.retry_after), (StatusCode::NOT_FOUND, false));
    assert_eq!(answer.body["type"], "urn:weir:problem:no-stream-here");
    assert!(answer.body["detail"].as_str().unwrap().contains("GET /events?after="), "{}", answer.body);
    let answer = ask(&script, "GET", "/counts/button_click/minutes", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body["type"], "urn:weir:problem:no-minutes-here");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_key_is_removed_although_events_wait_for_a_slow_client() {
    let script = Arc::new(Script { follows: true, ..Script::default() });
    let request = Request::builder().uri("/events/stream").header("last-event-id", "0");
    let answer = api(&script, false).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let mut next = async || {
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.to_vec()).unwrap())
    };
    assert!(next().await.unwrap().contains("id: 0"), "the position at the beginning");
    for number in 1..=3 {
        assert!(next().await.unwrap().contains(&format!("\"e-{number}\"")));
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    script.is_removed.store(true, Ordering::Relaxed);
    assert!(next().await.unwrap().contains(r#"{"reason":"signed-out"}"#));
    assert_eq!(next().await, None);
}
