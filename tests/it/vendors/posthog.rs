//! PostHog's protocol, with its clients, with the forms of its older clients, and with bad input.

use std::{collections::BTreeSet, thread};

use super::{are_stored_once, key, only, run, shared, stored, survive_a_kill};
use crate::harness::{Value, Weir, gzip, json};

#[test]
fn what_the_clients_of_posthog_report_as_sent_is_in_the_lake_once() {
    let weir = shared();
    thread::scope(|scope| {
        for (user, program, form) in [
            ("posthog-python", "posthog_client.py", "plain"),
            ("posthog-gzip", "posthog_client.py", "gzip"),
            ("posthog-node", "posthog_client.cjs", "node"),
        ] {
            let weir = &weir;
            scope.spawn(move || sends_all(weir, user, program, form));
        }
    });
}

fn sends_all(weir: &Weir, user: &str, program: &str, form: &str) {
    let sent = run(program, &[&weir.url(), &key(weir, user, "write"), form, "50"]);
    are_stored_once(weir, user, &sent);
    let one = |event_type: &str| only(weir, user, event_type);
    let click = one("button_click");
    assert_eq!((&click["button_id"], &click["session_id"]), (&json!(form), &json!("s1")));
    assert_eq!((&click["user_id"], &click["context"]["event"]), (&json!("u1"), &json!("button click")));
    let tracks = stored(weir, user, "track");
    let order = tracks.iter().find(|track| track["event"] == "Order Completed").unwrap();
    assert_eq!((&order["properties"]["total"], &order["properties"]["note"]), (&json!(25.5), &json!("ü")));
    assert_eq!(order["occurred_at"], 1_795_780_800_123_u64);
    assert!(tracks.iter().any(|track| track["event"] == "$feature_flag_called"), "{user}");
    let (page, view) = (one("page"), one("page_view"));
    assert_eq!((&page["url"], &view["url"]), (&json!("https://a.example/"), &json!("https://a.example/")));
    assert_eq!(one("screen")["name"], "Basket");
    assert_eq!(one("identify")["traits"], json!({"plan": "free"}));
    assert_eq!((&one("group")["group_id"], &one("group")["traits"]["size"]), (&json!("c1"), &json!(7)));
    // Which of the two ids is the older one is said in two ways.
    let alias = one("alias");
    let both = BTreeSet::from([alias["user_id"].as_str(), alias["previous_id"].as_str()]);
    assert_eq!(both, BTreeSet::from([Some("a1"), Some("u1")]), "{alias}");
    if program.ends_with(".py") {
        assert_eq!(order["properties"]["long"], json!(12_345_678_901_234_567_890_u64));
        assert!(tracks.iter().any(|track| track["event"] == "$exception"));
        let loops: BTreeSet<u64> =
            tracks.iter().filter_map(|track| track["properties"]["n"].as_u64()).collect();
        assert_eq!(loops.len(), 50);
    }
    assert!(stored(weir, user, "rejected").is_empty(), "{user}");
}

#[test]
fn a_server_that_is_killed_in_the_middle_loses_no_event_of_posthogs_client_and_counts_none_twice() {
    const LOOPS: usize = 1000;
    let printed =
        survive_a_kill(LOOPS, |url, key| run("posthog_client.py", &[&url, &key, "gzip", &LOOPS.to_string()]));
    assert_eq!(printed.lines().count(), 8 + LOOPS);
}

fn event(id: &str) -> Value {
    json!({"event": "Loop", "distinct_id": "u1", "uuid": id, "properties": {"n": 1}})
}

#[test]
fn all_forms_of_posthogs_requests_are_taken_and_its_settings_are_harmless() {
    let weir = shared();
    let write = key(&weir, "posthog-forms", "write");
    let batch = json!({"api_key": write, "batch": [event("1")]}).to_string();
    let mut own = event("2");
    own["properties"]["token"] = json!(write);
    let list = json!([own]).to_string();
    let mut single = event("3");
    single["api_key"] = json!(write);
    let form = |text: &str| {
        use base64::Engine;
        let base64 = base64::prelude::BASE64_STANDARD.encode(text);
        format!("data={}", base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")).into_bytes()
    };
    let post = |path: &str, body: &[u8], content_type: &str| {
        weir.request("POST", None, path, &[("content-type", content_type)], body)
    };
    let text = "text/plain";
    for (path, body, content_type) in [
        ("/batch/", batch.clone().into_bytes(), "application/json"),
        ("/batch", batch.into_bytes(), "application/json"),
        ("/e/?ip=1&ver=1.2", list.clone().into_bytes(), "application/json"),
        ("/e/?compression=gzip-js&ver=1.2", gzip(list.as_bytes()), text),
        ("/e/?compression=base64", form(&list), "application/x-www-form-urlencoded"),
        ("/i/v0/e/?compression=gzip-js", gzip(single.to_string().as_bytes()), text),
        ("/i/v0/e", single.to_string().into_bytes(), "application/json"),
        ("/capture/", single.to_string().into_bytes(), "application/json"),
        ("/capture", form(&single.to_string()), "application/x-www-form-urlencoded"),
    ] {
        let answer = post(path, &body, content_type);
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "Ok"})), "{path}");
    }
    let who = json!({"token": write, "distinct_id": "u1"}).to_string();
    for path in ["/flags/?v=4", "/flags?v=2", "/decide/?v=3"] {
        for body in [who.clone().into_bytes(), form(&who)] {
            let answer = post(path, &body, text).json();
            assert_eq!((&answer["flags"], &answer["featureFlags"]), (&json!({}), &json!({})), "{path}");
        }
    }
    let settings = weir.request("GET", None, &format!("/array/{write}/config?ip=0"), &[], b"");
    assert_eq!((settings.status, &settings.json()["sessionRecording"]), (200, &json!(false)));
    weir.wait_until_filed();
    let all = weir.lines("lake/username=posthog-forms");
    let ids: BTreeSet<&str> = all.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!((ids, all.len()), (BTreeSet::from(["1", "2", "3"]), 3));
    let secret = write.split_once(':').unwrap().1;
    assert!(!weir.log().contains(secret) && !all.iter().any(|event| event.to_string().contains(secret)));
}

#[test]
fn bad_requests_of_posthogs_protocol_are_the_clients_fault_and_keep_what_can_be_kept() {
    let weir = shared();
    let [write, both, read] = ["write", "both", "read"].map(|scope| key(&weir, "posthog-bad", scope));
    let post = |path: &str, body: &[u8]| weir.request("POST", None, path, &[], body);
    let batch = |key: &str, events: &Value| json!({"api_key": key, "batch": events}).to_string().into_bytes();
    let good = json!([event("good")]);
    for path in ["/batch", "/flags", "/decide"] {
        for (key, status, kind) in [
            ("posthog-bad:wrong", 401, "unauthorized"),
            ("phc_of_posthog", 401, "unauthorized"),
            (&*format!("{write}x"), 401, "unauthorized"),
            (&*both, 403, "out-of-scope"),
            (&*read, 403, "out-of-scope"),
        ] {
            post(path, &batch(key, &good)).problem(status, kind);
        }
        post(path, b"").problem(401, "unauthorized");
    }
    weir.request("GET", None, "/array/phc_x/config", &[], b"").problem(401, "unauthorized");
    // Half a body has no key that could be read; one with its key elsewhere is kept.
    let whole = batch(&write, &good);
    post("/batch", &whole[..whole.len() - 4]).problem(401, "unauthorized");
    let below = format!("/k/{write}/batch");
    assert_eq!(post(&below, &whole[..whole.len() - 4]).status, 200);
    for body in [&b"{\"batch\":{}}"[..], b"data=%00", b"\xff", b"[[[["] {
        assert_eq!(post(&below, body).status, 200, "{}", body.escape_ascii());
    }
    post(&below, b"\x1f\x8bnonsense").problem(422, "undecodable-body");
    post(&below, &gzip(&vec![b' '; 17 << 20])).problem(413, "body-too-large");
    let mixed = json!([
        event("good"),
        7,
        {"distinct_id": "u1"},
        {"event": "button_click", "uuid": "no-session", "properties": {"button_id": "b"}},
        {"event": "Loop", "uuid": "é".repeat(99), "distinct_id": {"a": 1}, "timestamp": "yesterday", "properties": [1]},
    ]);
    assert_eq!(post("/batch", &batch(&write, &mixed)).status, 200);
    let many = |count: usize| {
        let events: Vec<Value> = (0..count).map(|n| event(&format!("many-{n}"))).collect();
        gzip(&batch(&write, &json!(events)))
    };
    assert_eq!(post("/batch/?compression=gzip-js", &many(10_000)).status, 200);
    post("/batch/?compression=gzip-js", &many(10_001)).problem(413, "too-many-events");
    weir.wait_until_filed();
    let tracks = stored(&weir, "posthog-bad", "track");
    assert_eq!(tracks.len(), 10_002);
    let odd = tracks.iter().find(|track| track["context"]["timestamp"] == "yesterday").unwrap();
    assert_eq!(
        (&odd["context"]["distinct_id"], &odd["context"]["properties"]),
        (&json!({"a": 1}), &json!([1]))
    );
    let rejected = stored(&weir, "posthog-bad", "rejected");
    assert_eq!(rejected.len(), 8, "{rejected:?}");
    let secret = write.split_once(':').unwrap().1;
    assert!(!rejected.iter().any(|line| line.to_string().contains(secret)));
}
