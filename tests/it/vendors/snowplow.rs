//! Snowplow's tracker protocol, with its clients, and with bad input.

use std::thread;

use super::{are_stored_once, key, only, run, shared, stored, survive_a_kill};
use crate::harness::{Value, Weir, json};

/// The path of lists of events.
const LISTS: &str = "/com.snowplowanalytics.snowplow/tp2";

#[test]
fn what_the_clients_of_snowplow_report_as_sent_is_in_the_lake_once() {
    let weir = shared();
    thread::scope(|scope| {
        for (user, program, method, form) in [
            ("snowplow-python", "snowplow_client.py", "post", "base64"),
            ("snowplow-pixel", "snowplow_client.py", "get", "json"),
            ("snowplow-node", "snowplow_client.cjs", "post", "base64"),
            ("snowplow-node-pixel", "snowplow_client.cjs", "get", "json"),
        ] {
            let weir = &weir;
            scope.spawn(move || sends_all(weir, user, program, method, form));
        }
    });
}

fn sends_all(weir: &Weir, user: &str, program: &str, method: &str, form: &str) {
    let endpoint = format!("{}/k/{}", weir.url(), key(weir, user, "write"));
    let sent = run(program, &[&endpoint, method, form, "5"]);
    let count = if program.ends_with(".py") { 11 } else { 6 };
    assert_eq!(sent.lines().count(), count, "{user}");
    are_stored_once(weir, user, &sent);
    let one = |event_type: &str| only(weir, user, event_type);
    let (page, view) = (one("page"), one("page_view"));
    for event in [&page, &view] {
        assert_eq!(event["url"], "https://a.example/ä?x=1", "{user}");
        assert_eq!(
            (&event["user_id"], &event["anonymous_id"], &event["session_id"]),
            (&json!("u1"), &json!("d1"), &json!("s1"))
        );
        assert_eq!(event["occurred_at"], 1_795_780_800_123_u64, "{user}");
    }
    assert_eq!((&page["name"], &view["referral_url"]), (&json!("T ü"), &json!("https://r.example/")));
    assert_eq!(page["context"]["contexts"][0]["data"], json!({"items": 2}), "{user}");
    assert_eq!((&page["context"]["aid"], &page["context"]["tna"]), (&json!("shop"), &json!("ns")));
    let click = one("button_click");
    assert_eq!(click["button_id"], format!("{method}-{form}"));
    assert!(click["occurred_at"].is_u64() && click["context"]["dtm"].is_null(), "{click}");
    let tracks = stored(weir, user, "track");
    let track = |event: &str| tracks.iter().find(|track| track["event"] == event).unwrap();
    assert_eq!(
        track("add to basket")["properties"],
        json!({"category": "shop", "action": "add to basket", "label": "l", "property": "p", "value": 2.5}),
        "{user}"
    );
    assert_eq!(track("page_ping")["properties"], json!({"min_x": 1, "max_x": 2}), "{user}");
    let save = track("save_game");
    assert_eq!(save["properties"]["note"], "ü>>>???", "{user}");
    assert_eq!(one("screen")["name"], "Basket", "{user}");
    if program.ends_with(".py") {
        assert_eq!(save["properties"]["score"], json!(12_345_678_901_234_567_890_u64));
    }
    assert!(stored(weir, user, "rejected").is_empty(), "{user}");
}

#[test]
fn a_server_that_is_killed_in_the_middle_loses_no_event_of_snowplows_client_and_counts_none_twice() {
    const LOOPS: usize = 1000;
    let printed = survive_a_kill(LOOPS, |url, key| {
        run("snowplow_client.py", &[&format!("{url}/k/{key}"), "post", "base64", &LOOPS.to_string()])
    });
    assert_eq!(printed.lines().count(), 6 + LOOPS);
}

fn event(id: &str) -> Value {
    json!({"e": "se", "eid": id, "se_ca": "test", "se_ac": "Loop", "dtm": "1795780800123"})
}

#[test]
fn bad_requests_of_snowplows_protocol_are_the_clients_fault_and_keep_what_can_be_kept() {
    let weir = shared();
    let [write, both, read] = ["write", "both", "read"].map(|scope| key(&weir, "snowplow-bad", scope));
    let list = |events: &Value| {
        json!({"schema": "iglu:x/payload_data/jsonschema/1-0-4", "data": events}).to_string()
    };
    let post = |path: &str, body: &[u8]| weir.request("POST", None, path, &[], body);
    let get = |path: &str| weir.request("GET", None, path, &[], b"");
    let good = list(&json!([event("good")]));
    let pixel = "/i?e=se&se_ca=test&se_ac=Loop&eid=pixel";
    for (key, status, kind) in [
        ("snowplow-bad:wrong", 401, "unauthorized"),
        (&*format!("{write}x"), 401, "unauthorized"),
        (&*both, 403, "out-of-scope"),
        (&*read, 403, "out-of-scope"),
    ] {
        post(&format!("/k/{key}{LISTS}"), good.as_bytes()).problem(status, kind);
        get(&format!("/k/{key}{pixel}")).problem(status, kind);
        get(&format!("{pixel}&key={key}")).problem(status, kind);
    }
    post(LISTS, good.as_bytes()).problem(401, "unauthorized");
    get(pixel).problem(401, "unauthorized");
    let path = format!("/k/{write}{LISTS}");
    // Twice: the client's retry, with another time of sending.
    for _ in 0..2 {
        let answer = post(&path, good.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        for path in [format!("/k/{write}{pixel}"), format!("{pixel}&key={write}")] {
            let answer = get(&path);
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
            assert_eq!(&answer.body[..6], b"GIF89a");
        }
    }
    for body in [&good.as_bytes()[..good.len() - 3], b"", b"[]", b"\xff", b"{\"data\":{}}"] {
        assert_eq!(post(&path, body).status, 200, "{}", body.escape_ascii());
    }
    assert_eq!(get(&format!("/i?key={write}")).status, 200);
    let mixed = json!([
        event("good"),
        7,
        {"eid": "no-kind"},
        {"e": "ue", "eid": "no-object", "ue_px": "%%%"},
        {"e": "se", "se_ac": "Loop", "eid": "é".repeat(99), "dtm": "yesterday", "uid": {"a": 1}},
    ]);
    assert_eq!(post(&path, list(&mixed).as_bytes()).status, 200);
    let many: Vec<Value> = (0..10_001).map(|n| event(&format!("many-{n}"))).collect();
    post(&path, list(&json!(many)).as_bytes()).problem(413, "too-many-events");
    assert_eq!(post(&path, list(&json!(many[..10_000])).as_bytes()).status, 200);
    weir.wait_until_filed();
    let tracks = stored(&weir, "snowplow-bad", "track");
    assert_eq!(tracks.len(), 10_003);
    let odd = tracks.iter().find(|track| track["context"]["dtm"] == "yesterday").unwrap();
    assert_eq!(odd["context"]["uid"], json!({"a": 1}));
    let rejected = stored(&weir, "snowplow-bad", "rejected");
    assert_eq!(rejected.len(), 9, "{rejected:?}");
    let secret = write.split_once(':').unwrap().1;
    let all = weir.lines("lake/username=snowplow-bad");
    assert!(!weir.log().contains(secret) && !all.iter().any(|event| event.to_string().contains(secret)));
}
