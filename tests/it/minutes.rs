//! Live counts of the last hour by minute: `GET /counts/{event_type}/minutes`.

use std::collections::BTreeMap;

use weir_core::{Clock, SystemClock, Timestamp, minutes::Minute};

use crate::harness::{Value, Weir, click, eventually, json};

const MINUTE: u64 = 60_000;

/// The counts by minute of a type.
fn minutes(weir: &Weir, who: &str, of: &str) -> BTreeMap<String, u64> {
    let answer = weir.get_as(who, &format!("/counts/{of}/minutes")).json();
    let counts = answer["minutes"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let count = |one: &Value| (one["minute"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap());
    counts.iter().map(count).collect()
}

fn at(millis: u64) -> String {
    Minute::of(Timestamp::saturating(millis)).to_string()
}

#[test]
fn an_acknowledged_event_is_counted_in_its_minute_at_once_and_after_a_kill() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    let (demo, other) = (weir.credentials.clone(), weir.user("other"));
    let begun = SystemClock.now().millis();
    let past = |minutes: u64| begun - minutes * MINUTE;
    let event = |id: usize, time: u64| json!({"event_type": "button_click", "event_id": format!("e-{id}"), "session_id": "s", "button_id": "b", "occurred_at": time});
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (id, (minutes, times)) in
        [(1, 1), (3, 2), (30, 1), (50, 3), (90, 1), (3000, 1)].into_iter().enumerate()
    {
        for time in 0..times {
            let one = event(100 * id + time, past(minutes));
            assert_eq!(weir.post("/events", one.to_string()).status, 200);
            // A repeat counts once, whether it comes alone or with others.
            let long_ago = event(10_000 + 100 * id + time, past(3000));
            assert_eq!(weir.post("/events", json!([one, long_ago]).to_string()).json()["duplicates"], 1);
        }
        if minutes < 60 {
            expected.insert(at(past(minutes)), times as u64);
        }
        assert_eq!(minutes_of_past(&weir, &demo, begun), expected);
    }
    // Rejected events count in the minute of their arrival, and another user's apart.
    assert_eq!(weir.post("/button/click", "{}").status, 422);
    assert_eq!(weir.post_as(&other, "/button/click", click("s", "b"), &[]).status, 200);
    let sum = |of: &BTreeMap<String, u64>| of.values().sum::<u64>();
    assert_eq!(sum(&minutes(&weir, &demo, "rejected")), 1);
    assert_eq!(sum(&minutes(&weir, &other, "button_click")), 1);
    assert!(minutes(&weir, &demo, "page_view").is_empty());

    // A start counts the events again, from the journal and from raw.
    for signal in ["", "-TERM"] {
        if signal.is_empty() {
            weir.kill();
        } else {
            weir.stop(signal);
        }
        weir.restart();
        eventually("the events of the last hour are counted again", || {
            let since = weir.get("/counts/button_click/minutes").json()["since"].as_u64().unwrap();
            since < begun
        });
        assert_eq!(minutes_of_past(&weir, &demo, begun), expected);
        assert_eq!(sum(&minutes(&weir, &other, "button_click")), 1);
        assert_eq!(sum(&minutes(&weir, &demo, "rejected")), 1);
    }
    // The count of a filed hour is the sum of its minutes.
    weir.wait_until_filed();
    let hours = weir.get("/counts/button_click/hours").json();
    for hour in hours["hours"].as_array().unwrap() {
        let name = hour["hour"].as_str().unwrap();
        let by_minute: u64 =
            expected.iter().filter(|(minute, _)| minute.starts_with(name)).map(|(_, count)| count).sum();
        // Except for an hour with events that are older than the counted minutes.
        if !at(past(90)).starts_with(name) && !at(past(3000)).starts_with(name) {
            assert_eq!(hour["count"], by_minute, "{name}");
        }
    }
}

/// The counts by minute, without minutes that may no longer be in the last hour.
fn minutes_of_past(weir: &Weir, who: &str, begun: u64) -> BTreeMap<String, u64> {
    let mut found = minutes(weir, who, "button_click");
    found.retain(|minute, _| *minute >= at(begun - 58 * MINUTE));
    found
}

#[test]
fn minutes_that_cannot_be_are_422_and_so_are_too_many_of_them() {
    let weir = Weir::start();
    let now = SystemClock.now().millis();
    let answer = weir.get("/counts/button_click/minutes").json();
    assert!(answer["from"].as_str().unwrap() >= at(now - 59 * MINUTE).as_str(), "{answer}");
    let (from, to) = (at(now - 5 * MINUTE), at(now - 3 * MINUTE));
    let answer = weir.get(&format!("/counts/button_click/minutes?from={from}&to={to}")).json();
    assert_eq!((&answer["from"], &answer["to"]), (&json!(from), &json!(to)));
    for query in [
        "from=2026-11-20T13".to_owned(),
        "to=2026-11-20T13:60".to_owned(),
        "form=2026-11-20T13:05".to_owned(),
        format!("from={to}&to={from}"),
        format!("from={}&to={to}", at(now - 90 * MINUTE)),
    ] {
        weir.get(&format!("/counts/button_click/minutes?{query}")).problem(422, "invalid-query");
    }
    weir.get("/counts/nope/minutes").problem(404, "unknown-event-type");
    assert_eq!(weir.request("GET", None, "/counts/button_click/minutes", &[], b"").status, 401);
}
