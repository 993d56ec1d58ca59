//! What a dashboard reads: counts by hour and day, when they were settled, and the latest rejected events; and that it
//! need not read again what did not change.

use std::collections::BTreeSet;

use crate::harness::{Answer, Value, Weir, click, json};
use weir_core::{Clock, Day, Hour, SystemClock};

/// An event that is not valid, and that shows which one it is.
fn bad(n: usize) -> String {
    json!({"session_id": n}).to_string()
}

/// The texts of the rejected events that a user is shown.
fn shown(weir: &Weir, who: &str, query: &str) -> Vec<String> {
    let answer = weir.get_as(who, &format!("/rejected{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let events = answer.json()["rejected"].as_array().unwrap().clone();
    events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

/// The sum of the counts of an answer about hours or days.
fn sum(answer: &Answer, unit: &str) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let counts = body[format!("{unit}s")].as_array().unwrap();
    assert!(counts.is_sorted_by_key(|count| count[unit].as_str().unwrap().to_owned()), "{body}");
    counts.iter().map(|count| count["count"].as_u64().unwrap()).sum()
}

fn settled_at(weir: &Weir, who: &str) -> Value {
    weir.get_as(who, "/counts").json()["settled_at"].clone()
}

fn again(weir: &Weir, path: &str, tag: &str) -> Answer {
    weir.request("GET", Some(&weir.credentials), path, &[("if-none-match", tag)], b"")
}

#[test]
fn settled_counts_are_read_by_hour_and_day_with_the_time_they_were_settled() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    assert_eq!(settled_at(&weir, &weir.credentials), Value::Null);
    let began = SystemClock.now();
    for n in 0..5 {
        assert_eq!(weir.post("/button/click", click("s", &format!("b{n}"))).status, 200);
    }
    assert_eq!(weir.post("/events", format!("[{},{}]", bad(0), bad(1))).status, 422);
    weir.wait_until_filed();
    let ended = SystemClock.now();

    let at = settled_at(&weir, &weir.credentials).as_u64().unwrap();
    assert!((began.millis()..=ended.millis()).contains(&at), "{at}");
    let hours = weir.get("/counts/button_click/hours");
    assert_eq!(sum(&hours, "hour"), 5);
    let hours = hours.json();
    assert_eq!(hours["event_type"], "button_click");
    let [from, to, of_one] = [&hours["from"], &hours["to"], &hours["hours"][0]["hour"]]
        .map(|hour| hour.as_str().unwrap().parse::<Hour>().unwrap());
    assert_eq!(from, to.minus(47));
    assert!((began.hour()..=ended.hour()).contains(&of_one), "{of_one}");
    let days = weir.get("/counts/button_click/days");
    assert_eq!(sum(&days, "day"), 5);
    let [from, to] = ["from", "to"].map(|name| days.json()[name].as_str().unwrap().parse::<Day>().unwrap());
    assert_eq!(from, to.minus(89));
    assert_eq!(sum(&weir.get("/counts/rejected/hours"), "hour"), 2);
    assert_eq!(sum(&weir.get("/counts/rejected/days"), "day"), 2);

    // Both ends are included, and nothing beyond them.
    let of = |from: Hour, to: Hour| {
        sum(&weir.get(&format!("/counts/button_click/hours?from={from}&to={to}")), "hour")
    };
    assert_eq!(of(began.hour(), ended.hour()), 5);
    assert_eq!(of(began.hour().minus(9), began.hour().minus(1)), 0);
    // A day is all of its hours.
    let path =
        format!("/counts/button_click/hours?from={}&to={}", Day::of(began.hour()), Day::of(ended.hour()));
    let of_days = weir.get(&path);
    assert_eq!(sum(&of_days, "hour"), 5);
    assert_eq!(of_days.json()["to"], Day::of(ended.hour()).last_hour().to_string());
    let [today, tomorrow] = [Day::of(began.hour()), Day::of(ended.plus_millis(24 * 3_600_000).hour())];
    let of =
        |from: Day, to: Day| sum(&weir.get(&format!("/counts/button_click/days?from={from}&to={to}")), "day");
    assert_eq!((of(today, tomorrow), of(today.minus(3), today.minus(1))), (5, 0));

    // The other user has sent nothing.
    assert_eq!(settled_at(&weir, &ann), Value::Null);
    assert_eq!(weir.get_as(&ann, "/counts/button_click/hours").json()["hours"], json!([]));
    assert_eq!(weir.get_as(&ann, "/counts/button_click/days").json()["days"], json!([]));
}

#[test]
fn an_hour_or_a_day_that_cannot_be_is_422_and_so_is_too_much_of_them() {
    let weir = Weir::start();
    for (path, told) in [
        ("/counts/button_click/hours?from=2026-11-31", "from: an hour is like"),
        ("/counts/button_click/hours?to=20.11.2026", "or a day like 2026-11-20"),
        ("/counts/button_click/keys?from=2026-11-31", "from: an hour is like"),
        ("/counts/button_click/hours?to=2026-11-20T24", "to: an hour is like"),
        ("/counts/button_click/hours?from=2026-02-30T01&to=2026-03-01T01", "from: an hour is like"),
        ("/counts/button_click/hours?from=2026-01-02T00&to=2026-01-01T23", "is later than to"),
        (
            "/counts/button_click/hours?from=2026-01-01T00&to=2026-02-01T00",
            "745 hours; one answer has at most 744",
        ),
        ("/counts/button_click/hours?from=9999-01-01T00", "is later than to"),
        ("/counts/button_click/hours?form=2026-01-01T00", "is from meant?"),
        ("/counts/button_click/days?from=2026-11-20T13", "from: a day is like"),
        ("/counts/button_click/days?from=2026-1-1&to=2026-01-02", "from: a day is like"),
        ("/counts/button_click/days?from=2025-01-01&to=2026-03-08", "432 days; one answer has at most 431"),
        ("/rejected?limit=0", "a number from 1 to 50"),
        ("/rejected?limit=51", "a number from 1 to 50"),
        ("/rejected?limit=x", "a number from 1 to 50"),
        ("/rejected?limt=5", "is limit meant?"),
    ] {
        let problem = weir.get(path).problem(422, "invalid-query");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{path}: {problem}");
    }
    let most = ["hours?from=2026-01-01T00&to=2026-01-31T23", "days?from=2024-01-01&to=2025-03-06"];
    for path in most.into_iter().chain(["hours?to=1970-01-01T05", "days?to=1970-01-01", "days?to=9999-12-30"])
    {
        assert_eq!(weir.get(&format!("/counts/rejected/{path}")).status, 200, "{path}");
    }
    for path in ["/counts/no_such_type/hours", "/counts/Button_Click/days?from=x"] {
        weir.get(path).problem(404, "unknown-event-type");
    }
}

#[test]
fn the_latest_rejected_events_are_shown_as_they_were_sent_with_their_reasons() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    assert_eq!(shown(&weir, &weir.credentials, ""), [""; 0]);
    let began = SystemClock.now().millis();
    let odd = "{\"button_id\":\"<script>alert('\\u0000')</script>\", \"é\":[}";
    assert_eq!(weir.post("/button/click", odd).status, 422);
    let mixed = format!(
        "{}\n{{\"event_type\":\"no_such_type\"}}\n",
        bad(7).replace('{', "{\"event_type\":\"page_view\",")
    );
    assert_eq!(weir.post("/events", mixed).status, 422);
    assert_eq!(weir.post("/button/click", [&b"\xff"[..], &[b'x'; 5000]].concat()).status, 422);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);

    let events = weir.get("/rejected").json()["rejected"].as_array().unwrap().clone();
    let members = |name: &str| -> Vec<Value> { events.iter().map(|event| event[name].clone()).collect() };
    assert_eq!(
        members("event_type"),
        [json!("button_click"), Value::Null, json!("page_view"), json!("button_click")]
    );
    assert_eq!(members("truncated"), [true, false, false, false]);
    assert_eq!(events[3]["event"], odd);
    assert!(events[0]["event"].as_str().unwrap().starts_with("\u{fffd}xxx"));
    assert!(events.iter().all(|event| event["event"].as_str().unwrap().len() <= 2048));
    assert_eq!(
        events[1]["errors"],
        json!([{"path": "/event_type", "message": "the catalog has no event type no_such_type"}])
    );
    let paths: Vec<&str> =
        events[2]["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/url") && paths.contains(&"/session_id"), "{paths:?}");
    let ids: BTreeSet<String> =
        members("event_id").iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 4);
    for at in members("received_at") {
        assert!((began..=SystemClock.now().millis()).contains(&at.as_u64().unwrap()), "{at}");
    }
    // They are the events of the lake's partition.
    weir.wait_until_filed();
    let filed: BTreeSet<String> = weir
        .lines("lake/username=demo/rejected")
        .iter()
        .map(|line| line["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(filed, ids);

    assert_eq!(shown(&weir, &ann, ""), [""; 0]);
    assert_eq!(weir.request("GET", None, "/rejected", &[], b"").status, 401);
    weir.output(&["user", "add", "ann", "--label", "page", "--scope", "write"]);
}

#[test]
fn a_request_of_ten_thousand_rejected_events_leaves_the_last_fifty() {
    let weir = Weir::start();
    let many: Vec<String> = (0..10_000).map(bad).collect();
    assert_eq!(weir.post("/events", format!("[{}]", many.join(","))).status, 422);
    let last = |n: usize| -> Vec<String> { many.iter().rev().take(n).cloned().collect() };
    assert_eq!(shown(&weir, &weir.credentials, "?limit=50"), last(50));
    assert_eq!(shown(&weir, &weir.credentials, ""), last(20));
    assert_eq!(weir.post("/events", bad(10_000)).status, 422);
    assert_eq!(shown(&weir, &weir.credentials, "?limit=2"), [bad(10_000), bad(9_999)]);
    assert_eq!(shown(&weir, &weir.credentials, "?limit=50").len(), 50);
}

#[test]
fn the_list_of_rejected_events_is_what_was_acknowledged_after_a_restart_and_after_a_kill() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    assert_eq!(weir.post("/events", bad(1)).status, 422);
    weir.kill();
    weir.restart();
    assert_eq!(shown(&weir, &weir.credentials, ""), [bad(1)]);
    assert_eq!(weir.post("/events", bad(2)).status, 422);
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.restart();
    let before = settled_at(&weir, &weir.credentials);
    assert!(before.is_u64(), "it was filed at the stop");
    assert_eq!(shown(&weir, &weir.credentials, ""), [bad(2), bad(1)]);
    weir.kill();
    weir.restart();
    assert_eq!(settled_at(&weir, &weir.credentials), before);
}

#[test]
fn an_answer_that_did_not_change_is_304_without_a_body() {
    let weir = Weir::start_with(&["--flush-every", "1h"]);
    let paths = [
        "/counts",
        "/counts/button_click",
        "/counts/button_click/days",
        "/button/click/count",
        "/rejected",
        "/health",
        "/openapi.json",
    ];
    for path in paths {
        let answer = weir.get(path);
        let tag = answer.header("etag").unwrap_or_else(|| panic!("{path}: {answer:?}")).to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        let needs_credentials = !["/health", "/openapi.json"].contains(&path);
        let cached = needs_credentials.then_some("private, no-cache");
        assert_eq!(answer.header("cache-control"), cached, "{path}");
        for had in [&tag, "*", &format!("\"x\", {tag}")] {
            let spared = again(&weir, path, had);
            assert_eq!((spared.status, spared.body.len()), (304, 0), "{path}");
            assert_eq!(
                (spared.header("etag"), spared.header("cache-control")),
                (Some(&*tag), cached),
                "{path}"
            );
            assert!(
                spared.header("content-type").is_none() && spared.header("content-length").is_none(),
                "{spared:?}"
            );
        }
        let other = again(&weir, path, "W/\"00000000000000000000000000000000\"");
        assert_eq!((other.status, other.body), (200, answer.body), "{path}");
    }
    let tags = || ["/counts", "/rejected"].map(|path| weir.get(path).header("etag").unwrap().to_owned());
    let before = tags();
    assert_eq!(before, tags());
    weir.post("/events", bad(1));
    for (path, tag) in ["/counts", "/rejected"].into_iter().zip(before) {
        let answer = again(&weir, path, &tag);
        assert_eq!(answer.status, 200, "{path}");
        assert_ne!(answer.header("etag"), Some(&*tag));
    }
    // Errors have no tag, and are private, too; without credentials, a tag is worth nothing.
    let error = weir.get("/rejected?limit=0");
    assert_eq!(
        (error.status, error.header("etag"), error.header("cache-control")),
        (422, None, Some("private, no-cache"))
    );
    assert_eq!(weir.request("GET", None, "/counts", &[("if-none-match", "*")], b"").status, 401);
    assert_eq!(weir.post("/events", "1").header("etag"), None);
}
