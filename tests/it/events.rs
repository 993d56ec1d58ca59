//! The caller's own events: `GET /events`.

use serde_json::{Value, json};

use crate::harness::{Weir, click};

/// The ids of a page.
fn ids(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

fn with_id(id: &str) -> String {
    json!({"event_type": "button_click", "event_id": id, "session_id": "s", "button_id": "b"}).to_string()
}

#[test]
fn the_newest_events_are_listed_as_soon_as_they_are_acknowledged_accepted_and_rejected() {
    let mut weir = Weir::start_with(&["--flush-every", "1s"]);
    assert_eq!(weir.get("/events").json(), json!({"events": [], "next": null, "live": true}));
    for round in 0..30 {
        assert_eq!(weir.post("/events", with_id(&format!("e-{round}"))).status, 200);
        let page = weir.get("/events?limit=1").json();
        assert_eq!(ids(&page), [format!("e-{round}")], "acknowledged and not listed: {page}");
    }
    let event = &weir.get("/events?limit=1").json()["events"][0];
    assert_eq!((&event["status"], &event["event_type"]), (&json!("accepted"), &json!("button_click")));
    assert_eq!(event["event"]["button_id"], "b");
    assert_eq!(event["received_at"], event["event"]["received_at"]);
    assert!(event.get("reason").is_none());

    assert_eq!(weir.post("/button/click", r#"{"button_id": "b"}"#).status, 422);
    let page = weir.get("/events?limit=2").json();
    let (rejected, accepted) = (&page["events"][0], &page["events"][1]);
    assert_eq!((&rejected["status"], &rejected["event_type"]), (&json!("rejected"), &json!("button_click")));
    assert_eq!(rejected["event"], r#"{"button_id": "b"}"#);
    assert!(rejected["reason"].as_str().unwrap().contains("session_id"), "{rejected}");
    assert_eq!(accepted["event_id"], "e-29");
    assert_eq!(ids(&weir.get("/events?event_type=page_view").json()), [""; 0]);
    assert_eq!(weir.get("/events?event_type=rejected").json()["events"].as_array().unwrap().len(), 1);

    // A repeat is no event of its own, and another user has none of these.
    assert_eq!(weir.post("/events", with_id("e-3")).json()["duplicates"], 1);
    assert_eq!(weir.get("/events?limit=1").json()["events"][0]["status"], "rejected");
    let other = weir.user("other");
    assert_eq!(weir.get_as(&other, "/events").json()["events"], json!([]));

    // The same list from journal, raw and lake, after a kill too.
    let all: Vec<String> = (0..30).rev().map(|round| format!("e-{round}")).collect();
    let listed = |weir: &Weir| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = weir.get(&format!("/events?limit=7{after}")).json();
            found.extend(ids(&page).into_iter().map(str::to_owned));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(listed(&weir)[1..], all);
    weir.wait_until_filed();
    assert_eq!(listed(&weir)[1..], all);
    weir.kill();
    weir.restart();
    assert_eq!(listed(&weir)[1..], all);
}

#[test]
fn each_event_has_the_right_receipt_in_journal_raw_and_lake_and_after_a_kill() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    let mine = |weir: &Weir, id: &str| weir.get(&format!("/events/{id}")).json();
    weir.post("/events", with_id("a-1"));
    let without_id = r#"{"session_id": "s", "button_id": "b", "occurred_at": "2026-02-03T04:05:06Z"}"#;
    assert_eq!(weir.post("/button/click", without_id).status, 200);
    let bodies = r#"[{"event_type": "button_click", "event_id": "a-1", "session_id": "s", "button_id": "c"},
        {"event_type": "button_click", "button_id": "b"},
        {"event_type": "button_click", "event_id": "a-2", "session_id": "s", "button_id": "d"}]"#;
    assert_eq!(weir.post("/events", bodies).json()["duplicates"], 1);
    let listed = weir.get("/events").json();
    let [second, rejected, made, first] = ids(&listed)[..] else { panic!("{listed}") };
    assert_eq!((first, second), ("a-1", "a-2"));
    let at = |id: &str| {
        let mut events = listed["events"].as_array().unwrap().iter();
        events.find(|event| event["event_id"] == id).unwrap()["received_at"].clone()
    };
    let expect = |weir: &Weir, filed: bool| {
        for id in [first, second, made, rejected] {
            let receipt = mine(weir, id);
            let status = if id == rejected {
                "rejected"
            } else if filed {
                "filed"
            } else {
                "stored"
            };
            assert_eq!(receipt["status"], status, "{receipt}");
            assert_eq!((&receipt["received_at"], &receipt["event_type"]), (&at(id), &json!("button_click")));
            assert_eq!(receipt["reason"].is_string(), id == rejected);
            if filed {
                let object = receipt["object"].as_str().unwrap_or_else(|| panic!("{receipt}"));
                let lines =
                    crate::harness::gunzip(&std::fs::read(weir.data().join("lake").join(object)).unwrap());
                assert!(lines.contains(&format!("\"event_id\":\"{id}\"")), "{object}: {lines}");
            } else {
                assert_eq!(receipt["object"], Value::Null);
            }
        }
        for unknown in ["a-3", "019a0000-0000-7000-8000-000000000000", "%20", "x%2Fy"] {
            weir.get(&format!("/events/{unknown}")).problem(404, "unknown-event");
        }
    };
    expect(&weir, false);
    weir.kill();
    weir.restart();
    expect(&weir, false);
    // The end cuts a batch, and files it.
    weir.stop("-TERM");
    weir.restart();
    expect(&weir, true);
    let other = weir.user("other");
    for id in [first, made, rejected] {
        weir.get_as(&other, &format!("/events/{id}")).problem(404, "unknown-event");
    }
    let receipt = |id: &str| {
        let mut command = weir.command();
        command.args(["receipt", id, "--to", &weir.url()]).env("WEIR_CREDENTIALS", &weir.credentials);
        command.output().unwrap()
    };
    let printed = receipt(first);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.status.success() && text.starts_with("status       filed\ntype         button_click\n"),
        "{text}"
    );
    let unknown = receipt("a-3");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("No event of yours with this id is known"));
}

#[test]
fn the_list_of_events_is_for_readers_and_a_query_that_means_something_else_is_refused() {
    let weir = Weir::start();
    assert_eq!(weir.request("GET", None, "/events", &[], b"").status, 401);
    let writer = weir.output(&["user", "add", "pages", "--scope", "write"]);
    weir.get_as(writer.trim_end(), "/events").problem(403, "out-of-scope");
    weir.post("/button/click", click("s", "b"));
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "after=x",
        "after=-1",
        "after=1.",
        "limits=3",
        "eventType=page_view",
    ] {
        weir.get(&format!("/events?{query}")).problem(422, "invalid-query");
    }
    weir.get("/events?event_type=nope").problem(404, "unknown-event-type");
    assert_eq!(weir.get("/events?after=0&_=1").json()["events"], json!([]));
}
