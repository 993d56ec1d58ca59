//! CloudEvents, in all three forms, with its SDKs and with bad input.

use std::collections::BTreeMap;

use super::{key, run, shared, stored};
use crate::harness::{Value, Weir, basic, json};

const STRUCTURED: [(&str, &str); 1] = [("content-type", "application/cloudevents+json")];
const BATCHED: [(&str, &str); 1] = [("content-type", "application/cloudevents-batch+json")];

/// The user's stored events of a type, by the id that their sender gave them.
fn by_id(weir: &Weir, user: &str, event_type: &str) -> BTreeMap<String, Value> {
    let events = stored(weir, user, event_type);
    let count = events.len();
    let id = |event: Value| (event["context"]["id"].as_str().unwrap().to_owned(), event);
    let events: BTreeMap<_, _> = events.into_iter().map(id).collect();
    assert_eq!(events.len(), count, "an event is stored twice");
    events
}

#[test]
fn what_the_sdks_of_cloudevents_send_is_in_the_lake_once_whatever_its_form() {
    let weir = shared();
    for (user, program, language) in
        [("cloud-python", "cloudevents_client.py", "py"), ("cloud-node", "cloudevents_client.cjs", "js")]
    {
        let sent = run(program, &[&weir.url(), &key(&weir, user, "both")]);
        weir.wait_until_filed();
        let (tracks, clicks) = (by_id(&weir, user, "track"), by_id(&weir, user, "button_click"));
        for id in sent.lines() {
            assert!(tracks.contains_key(id) || clicks.contains_key(id), "{id} is lost");
        }
        for form in ["binary", "structured"] {
            let track = |name: &str| &tracks[&format!("{language}-{form}-{name}")];
            let order = track("json");
            assert_eq!(order["event"], "com.example.order.created");
            assert_eq!(order["properties"], json!({"total": 25, "note": "ü"}));
            assert_eq!(order["occurred_at"], 1_795_780_800_123_u64);
            assert_eq!(
                (&order["context"]["subject"], &order["context"]["tenant"]),
                (&json!("one & two"), &json!("é 1"))
            );
            assert_eq!(track("text")["data"], "hello");
            assert_eq!(track("bytes")["data_base64"], "AP8=");
            assert_eq!(track("none")["properties"], Value::Null);
            let click = &clicks[&format!("{language}-{form}-click")];
            assert_eq!(click["session_id"], "s1");
            assert_eq!(click["context"]["type"], "com.example.button-click");
        }
        assert!(stored(&weir, user, "rejected").is_empty());
    }
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/s", "type": "order", "data": {"n": 1}})
}

#[test]
fn each_event_of_a_batch_has_its_own_outcome_and_a_repeat_is_a_duplicate() {
    let weir = shared();
    let who = key(&weir, "cloud-batch", "write");
    let send = |events: &Value| weir.post_as(&who, "/events", events.to_string(), &BATCHED);
    assert_eq!(send(&json!([event("1"), event("2")])).status, 200);
    let mut click = event("3");
    click["type"] = json!("com.example.button_click");
    let answer = send(&json!([event("2"), click, {"specversion": "1.0"}, 7, event("4")]));
    let outcomes = answer.json()["outcomes"].clone();
    let statuses: Vec<&str> =
        outcomes.as_array().unwrap().iter().map(|outcome| outcome["status"].as_str().unwrap()).collect();
    assert_eq!(answer.status, 207);
    assert_eq!(statuses, ["duplicate", "rejected", "rejected", "rejected", "stored"]);
    // The same id of another source is another event.
    let mut other = event("1");
    other["source"] = json!("/other");
    assert_eq!(send(&json!([other])).json()["stored"], 1);
    assert_eq!(send(&json!([click])).status, 422);
    let many: Vec<Value> = (0..10_001).map(|n| event(&format!("many-{n}"))).collect();
    send(&json!(many)).problem(413, "too-many-events");
    assert_eq!(send(&json!(many[..10_000])).json()["stored"], 10_000);
    weir.wait_until_filed();
    assert_eq!(stored(&weir, "cloud-batch", "track").len(), 10_004);
    assert_eq!(stored(&weir, "cloud-batch", "rejected").len(), 4);
}

#[test]
fn cloudevents_need_the_key_of_every_event_or_one_in_the_path_that_reads_nothing() {
    let weir = shared();
    let [write, read, both] = ["write", "read", "both"].map(|scope| key(&weir, "cloud-keys", scope));
    let body = event("1").to_string();
    let send = |path: &str, who: Option<&str>| weir.request("POST", who, path, &STRUCTURED, body.as_bytes());
    send("/events", None).problem(401, "unauthorized");
    send("/events", Some("cloud-keys:wrong")).problem(401, "unauthorized");
    send("/events", Some(&read)).problem(403, "out-of-scope");
    assert_eq!(send("/events", Some(&both)).status, 200);
    // A sender that knows an address only.
    send(&format!("/k/{both}/events"), None).problem(403, "out-of-scope");
    assert_eq!(send(&format!("/k/{write}/events"), None).json()["duplicates"], 1);
    assert_eq!(send(&format!("/events?key={write}"), None).json()["duplicates"], 1);
    weir.wait_until_filed();
    assert_eq!(stored(&weir, "cloud-keys", "track").len(), 1);
}

#[test]
fn bad_cloudevents_are_the_senders_fault_and_kept_as_rejected_events() {
    let weir = shared();
    let who = key(&weir, "cloud-hostile", "write");
    let whole = event("half").to_string();
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (headers, body) in [
        (&STRUCTURED[..], &whole.as_bytes()[..40]),
        (&STRUCTURED, b""),
        (&STRUCTURED, b"[]"),
        (&STRUCTURED, b"\xff"),
        (&STRUCTURED, deep.as_bytes()),
        (&BATCHED, whole.as_bytes()),
        (&BATCHED, b"[{"),
        (&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t")], b"{}"),
        (&[("ce-specversion", "1.0"), ("ce-id", ""), ("ce-source", "/s"), ("ce-type", "t")], b"{}"),
    ] {
        let answer = weir.post_as(&who, "/events", body, headers);
        assert_eq!((answer.status, &answer.json()["rejected"]), (422, &json!(1)), "{}", answer.text());
    }
    // An odd id is one all the same, and an odd time is kept for what it is.
    for (id, time) in
        [("é".repeat(900), json!("yesterday")), ("..".to_owned(), json!("2026-11-20T13:00:05Z"))]
    {
        let mut odd = event(&id);
        odd["time"] = time;
        for expected in ["stored", "duplicates"] {
            let answer = weir.post_as(&who, "/events", odd.to_string(), &STRUCTURED);
            assert_eq!((answer.status, &answer.json()[expected]), (200, &json!(1)), "{}", answer.text());
        }
    }
    let gzip = [STRUCTURED[0], ("content-encoding", "gzip")];
    weir.post_as(&who, "/events", &whole, &gzip).problem(422, "undecodable-body");
    // A page's own request is one of another origin as ever.
    let page = [
        STRUCTURED[0],
        ("origin", "https://a.example"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-site", "cross-site"),
    ];
    let header = basic(&who);
    let page = [&page[..], &[("authorization", &*header)]].concat();
    weir.request("POST", None, "/events", &page, whole.as_bytes()).problem(403, "origin-not-allowed");
    weir.wait_until_filed();
    assert_eq!(stored(&weir, "cloud-hostile", "rejected").len(), 9);
    let odd: Vec<Value> = stored(&weir, "cloud-hostile", "track");
    assert_eq!(odd.len(), 2);
    assert!(odd.iter().any(|event| event["context"]["time"] == "yesterday"));
}
