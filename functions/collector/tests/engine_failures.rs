//! The answers to clients when the engine does only a part, or nothing: an event is acknowledged if and only if it is
//! durable, whatever else fails.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod script;

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use collector::ByFate;
use script::{Script, api, ask, clicks, taken};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_core::EventType;

#[tokio::test]
async fn each_event_has_its_own_outcome_when_the_stream_refuses_some() {
    let script = Arc::new(Script { refuse: &["bad"], ..Script::default() });
    let body = r#"[{"event_type":"button_click","session_id":"s","button_id":"bad","event_id":"mine"},
        {"event_type":"button_click","session_id":"s","button_id":"good"}, {"event_type":"button_click"}]"#;
    let answer = ask(&script, "POST", "/events", body).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let outcomes = &answer.body["outcomes"];
    assert_eq!(outcomes[0], json!({"status": "not_stored", "event_id": "mine"}));
    assert_eq!((&outcomes[1]["status"], &outcomes[2]["status"]), (&json!("stored"), &json!("rejected")));
    assert_eq!(script.stored.lock().unwrap().len(), 2);
    let expected = taken(ByFate { stored: 1, rejected: 1, not_stored: 1, ..ByFate::default() }, 0);
    assert_eq!(*script.taken.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn what_was_stored_before_is_acknowledged_and_not_counted() {
    let script = Arc::new(Script { refuse: &["bad"], known: &["old"], ..Script::default() });
    let click = r#"{"session_id":"s","button_id":"old","event_id":"old-1"}"#;
    let answer = ask(&script, "POST", "/button/click", click).await;
    let again = json!({"message": "Received", "status": "duplicate", "event_id": "old-1"});
    assert_eq!((answer.status, answer.body), (StatusCode::OK, again));

    let answer = ask(&script, "POST", "/events", clicks(&["old", "new"])).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((&answer.body["stored"], &answer.body["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(answer.body["outcomes"][0]["status"], "duplicate");
    assert!(answer.body["outcomes"][0]["event_id"].is_string());
    assert_eq!(answer.body["outcomes"][1]["status"], "stored");

    assert_eq!(ask(&script, "POST", "/events", clicks(&["old", "old"])).await.status, StatusCode::OK);
    // None is stored now, but one is durable: not 503.
    let answer = ask(&script, "POST", "/events", clicks(&["old", "bad"])).await;
    assert_eq!((answer.status, &answer.body["not_stored"]), (StatusCode::MULTI_STATUS, &json!(1)));
    let answer =
        ask(&script, "POST", "/events", format!("{}\n1\n", clicks(&["old"]).trim_matches(['[', ']']))).await;
    assert_eq!((answer.status, &answer.body["rejected"]), (StatusCode::MULTI_STATUS, &json!(1)));

    let raised: u64 = script.raised.lock().unwrap().iter().map(|increment| increment.by).sum();
    assert_eq!(raised, 3, "one event, for its type and its button, and a rejected one");
    let duplicates: usize = script.taken.lock().unwrap().iter().map(|taken| taken.events.duplicates).sum();
    assert_eq!(duplicates, 6);
}

#[tokio::test]
async fn only_stored_events_are_counted_and_equal_counters_once() {
    let script = Arc::new(Script { refuse: &["bad"], ..Script::default() });
    ask(&script, "POST", "/events", clicks(&["a", "bad", "a", "b"])).await;
    let raised: Vec<(Option<String>, u64)> = script
        .raised
        .lock()
        .unwrap()
        .iter()
        .map(|increment| (increment.counter.key.as_ref().map(ToString::to_string), increment.by))
        .collect();
    assert_eq!(raised, [(None, 3), (Some("a".to_owned()), 2), (Some("b".to_owned()), 1)]);
}

fn readings(readings: &[(&str, u64)]) -> String {
    let reading = |(sensor, n): &(&str, u64)| json!({"event_type": "reading", "sensor_id": sensor, "occurred_at": n, "n": n});
    let at = |n: u64| 1_795_179_605_007 - 1000 + n;
    let all = readings.iter().map(|(sensor, n)| reading(&(sensor, at(*n))));
    Value::from(all.collect::<Vec<_>>()).to_string()
}

#[tokio::test]
async fn of_each_resource_the_newest_stored_event_is_raised_once_before_the_answer() {
    let script = Arc::new(Script { refuse: &["refused"], ..Script::default() });
    let body = readings(&[("a", 5), ("a", 9), ("b", 1), ("refused", 7), ("a", 3)]);
    assert_eq!(ask(&script, "POST", "/events", body).await.status, StatusCode::MULTI_STATUS);
    for body in [r#"{"sensor_id":1}"#, r#"{"sensor_id":null}"#, "{}"] {
        ask(&script, "POST", "/sensor/reading", body).await;
    }
    ask(&script, "POST", "/events", clicks(&["a"])).await;
    let raised = script.latest.lock().unwrap();
    let raised: Vec<_> = raised
        .iter()
        .map(|value| (value.resource.key.as_str(), value.version.time.millis() - 1_795_179_604_007))
        .collect();
    assert_eq!(raised, [("a", 9), ("b", 1)]);
}

#[tokio::test]
async fn what_the_stream_raises_itself_is_not_raised_again() {
    let script = Arc::new(Script { counts_itself: true, ..Script::default() });
    assert_eq!(ask(&script, "POST", "/events", readings(&[("a", 1)])).await.status, StatusCode::OK);
    assert!(script.latest.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_event_whose_latest_value_was_not_raised_is_to_be_sent_again_and_counts_once() {
    let script = Arc::new(Script { cannot_raise: &["bad"], ..Script::default() });
    // The older event waits for the newer one that is to be raised for both.
    let body = readings(&[("bad", 5), ("good", 1), ("bad", 9)]);
    let answer = ask(&script, "POST", "/events", body).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let outcomes = answer.body["outcomes"].as_array().unwrap();
    let statuses: Vec<&str> = outcomes.iter().map(|outcome| outcome["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["not_stored", "stored", "not_stored"]);
    assert_eq!(script.stored.lock().unwrap().len(), 3);
    assert_eq!(script.raised.lock().unwrap()[0].by, 3, "stored events count, as their repeats will not");
    let answer = ask(&script, "POST", "/sensor/reading", r#"{"sensor_id":"bad"}"#).await;
    assert_eq!((answer.status, answer.retry_after), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert_eq!(answer.body["type"], "urn:weir:problem:not-stored");

    // The repeat raises the value of the event that was stored.
    let again = Arc::new(Script { known: &["bad"], ..Script::default() });
    let answer = ask(&again, "POST", "/sensor/reading", r#"{"sensor_id":"bad","event_id":"e-1"}"#).await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &json!("duplicate")));
    assert_eq!(again.latest.lock().unwrap().len(), 1);
    assert!(again.raised.lock().unwrap().is_empty());
    let again = Arc::new(Script { known: &["bad"], cannot_raise: &["bad"], ..Script::default() });
    let answer = ask(&again, "POST", "/sensor/reading", r#"{"sensor_id":"bad","event_id":"e-1"}"#).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn raising_that_takes_longer_than_the_request_may_is_not_acknowledged() {
    let script = Arc::new(Script { never_counts: true, ..Script::default() });
    let answer = ask(&script, "POST", "/sensor/reading", r#"{"sensor_id":"a"}"#).await;
    assert_eq!((answer.status, answer.retry_after), (StatusCode::SERVICE_UNAVAILABLE, true));
}

#[tokio::test]
async fn what_the_stream_counts_itself_is_not_counted_again() {
    let script = Arc::new(Script { counts_itself: true, ..Script::default() });
    assert_eq!(ask(&script, "POST", "/events", clicks(&["a"])).await.status, StatusCode::OK);
    assert!(script.raised.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_count_that_cannot_be_raised_is_no_error_for_a_stored_event() {
    let script = Arc::new(Script { cannot_count: true, ..Script::default() });
    assert_eq!(ask(&script, "POST", "/events", clicks(&["a"])).await.status, StatusCode::OK);
    let body = r#"{"session_id":"s","button_id":"b"}"#;
    assert_eq!(ask(&script, "POST", "/button/click", body).await.body, json!({"message": "Received"}));
    assert_eq!(script.stored.lock().unwrap().len(), 2);
    // The type's counter and the button's.
    let expected = taken(ByFate { stored: 1, ..ByFate::default() }, 2);
    assert_eq!(*script.taken.lock().unwrap(), [expected, expected]);
}

#[tokio::test(start_paused = true)]
async fn counting_that_takes_longer_than_the_request_may_is_given_up_and_what_is_stored_is_acknowledged() {
    let script = Arc::new(Script { never_counts: true, ..Script::default() });
    let answer = ask(&script, "POST", "/events", clicks(&["a", "b"])).await;
    assert_eq!((answer.status, &answer.body["stored"]), (StatusCode::OK, &json!(2)));
    let expected = taken(ByFate { stored: 2, ..ByFate::default() }, 3);
    assert_eq!(*script.taken.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn rejected_events_are_noted_where_they_are_stored_and_the_engine_does_not_do_so_itself() {
    let body = r#"[{"event_type":"button_click","n":1},{"event_type":"button_click","n":"bad"},{"event_type":"odd"},
        {"event_type":"button_click","session_id":"s","button_id":"b"}]"#;
    let script = Arc::new(Script { refuse: &["bad"], ..Script::default() });
    ask(&script, "POST", "/events", body).await;
    let noted = script.noted.lock().unwrap().clone();
    let shown: Vec<(&str, Option<&str>)> =
        noted.iter().map(|event| (&*event.event, event.event_type.as_ref().map(EventType::as_str))).collect();
    let expected = [
        (r#"{"event_type":"odd"}"#, Some("odd")),
        (r#"{"event_type":"button_click","n":1}"#, Some("button_click")),
    ];
    assert_eq!(shown, expected);
    // The list names only event types that exist.
    let listed = ask(&script, "GET", "/rejected", Body::empty()).await.body;
    let types = [&listed["rejected"][0]["event_type"], &listed["rejected"][1]["event_type"]];
    assert_eq!(types, [&Value::Null, &json!("button_click")]);

    let counts_itself = Arc::new(Script { counts_itself: true, ..Script::default() });
    ask(&counts_itself, "POST", "/events", body).await;
    assert!(counts_itself.noted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_rejected_event_that_cannot_be_noted_is_no_error() {
    let script = Arc::new(Script { cannot_note: true, ..Script::default() });
    let answer = ask(&script, "POST", "/events", r#"[{"event_type":"button_click"}]"#).await;
    assert_eq!((answer.status, &answer.body["rejected"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(1)));
    assert_eq!((script.stored.lock().unwrap().len(), script.raised.lock().unwrap().len()), (1, 1));
    assert_eq!(*script.taken.lock().unwrap(), [taken(ByFate { rejected: 1, ..ByFate::default() }, 0)]);
}

#[tokio::test]
async fn nothing_stored_is_503_with_retry_after_and_is_never_acknowledged() {
    let script = Arc::new(Script { refuse: &["event_id"], ..Script::default() });
    for (path, body) in [
        ("/events", clicks(&["a", "b"])),
        ("/events", r#"[{"event_type":"button_click"},{"event_type":"button_click","session_id":"s","button_id":"b"}]"#.into()),
        ("/button/click", r#"{"session_id":"s","button_id":"b"}"#.into()),
    ] {
        let answer = ask(&script, "POST", path, body).await;
        assert_eq!((answer.status, answer.retry_after), (StatusCode::SERVICE_UNAVAILABLE, true), "{path}");
        assert_eq!(answer.body["type"], "urn:weir:problem:not-stored");
    }
}

#[tokio::test]
async fn an_invalid_event_that_cannot_be_kept_is_to_be_sent_again() {
    let script = Arc::new(Script { refuse: &["event_id"], ..Script::default() });
    let answer = ask(&script, "POST", "/button/click", "{}").await;
    assert_eq!((answer.status, answer.retry_after), (StatusCode::SERVICE_UNAVAILABLE, true));
    let answer = ask(&script, "POST", "/events", "nonsense").await;
    assert_eq!(answer.body["outcomes"], json!([{"status": "not_stored"}]));
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_503_and_its_words_stay_inside() {
    let script = Arc::new(Script { unwell: true, cannot_note: true, ..Script::default() });
    for path in [
        "/health",
        "/counts",
        "/counts/button_click",
        "/counts/button_click/hours",
        "/counts/button_click/days",
        "/button/click/count",
        "/rejected",
        "/answers",
        "/answers/daily_counts?day=2026-11-20",
        "/sensor/reading/latest",
        "/sensor/reading/latest?sensor_id=a",
    ] {
        let answer = ask(&script, "GET", path, Body::empty()).await;
        assert_eq!((answer.status, answer.retry_after), (StatusCode::SERVICE_UNAVAILABLE, true), "{path}");
        assert!(!answer.body.to_string().contains("secret host name"), "{path}");
    }
    let request = Request::builder().uri("/counts").body(Body::empty()).unwrap();
    let answer = api(&script, true).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn an_answer_stays_small_however_many_events_are_bad() {
    let script = Arc::new(Script::default());
    let body = format!("[{}1]", "{\"event_type\":\"page_view\",\"url\":1,\"useragent\":1},".repeat(9_999));
    let answer = ask(&script, "POST", "/events", body).await;
    assert_eq!(answer.body["outcomes"].as_array().unwrap().len(), 10_000);
    let errors: usize = answer.body["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["errors"].as_array().unwrap().len())
        .sum();
    assert!(errors < 11_001, "{errors}");
}
