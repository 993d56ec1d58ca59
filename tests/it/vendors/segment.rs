//! Segment's protocol, with the clients of Segment and of RudderStack, and with bad input.

use std::{collections::BTreeSet, thread};

use super::{key, only, run, shared, stored, survive_a_kill};
use crate::{
    clients::site::Site,
    harness::{Value, Weir, basic, browser::Browser, eventually, gzip, json},
};

/// Each client: its user, its program, and the program's module.
const CLIENTS: [(&str, &str, &str); 4] = [
    ("segment-python", "python_client.py", "segment.analytics.client"),
    ("segment-node", "node_client.cjs", "@segment/analytics-node"),
    ("rudder-python", "python_client.py", "rudderstack.analytics.client"),
    ("rudder-node", "node_client.cjs", "@rudderstack/rudder-sdk-node"),
];

#[test]
fn what_the_clients_of_segment_and_rudderstack_report_as_sent_is_in_the_lake_once() {
    let weir = shared();
    thread::scope(|scope| {
        for (user, program, module) in CLIENTS {
            let weir = &weir;
            scope.spawn(move || sends_all(weir, user, program, module));
        }
    });
}

fn sends_all(weir: &Weir, user: &str, program: &str, module: &str) {
    const LOOPS: usize = 50;
    let sent = run(program, &[module, &weir.url(), &key(weir, user, "write"), &LOOPS.to_string(), "gzip"]);
    assert_eq!(sent.trim(), (7 + LOOPS).to_string(), "{user}");
    weir.wait_until_filed();
    let of = |event_type: &str| stored(weir, user, event_type);
    let [click] = &of("button_click")[..] else { panic!("{user}: {:?}", of("button_click")) };
    assert_eq!(
        (&click["button_id"], &click["session_id"], &click["user_id"]),
        (&json!("abc"), &json!("s1"), &json!("u1"))
    );
    assert_eq!(click["context"]["event"], "Button Click", "{user}");
    assert!(click["occurred_at"].is_u64(), "{user}: {click}");
    assert!(click["context"]["library"].is_object(), "{user}: {click}");
    if program.ends_with(".py") {
        assert_eq!(click["long"], json!(12_345_678_901_234_567_890_u64));
    }
    let tracks = of("track");
    let orders: Vec<&Value> = tracks.iter().filter(|track| track["event"] == "Order Completed").collect();
    let [order] = &orders[..] else { panic!("{user}: {orders:?}") };
    assert_eq!(order["properties"], json!({"total": 25.5, "key": "é"}), "{user}");
    assert_eq!(order["context"]["ip"], "192.0.2.1", "{user}");
    let loops: BTreeSet<u64> = tracks.iter().filter_map(|track| track["properties"]["n"].as_u64()).collect();
    assert_eq!((loops.len(), tracks.len()), (LOOPS, LOOPS + 1), "{user}");
    let [page] = &of("page")[..] else { panic!("{user}") };
    assert_eq!((&page["name"], &page["url"]), (&json!("Home"), &json!("https://a.example/")), "{user}");
    // It says of which visit it is, so it is a page view too.
    let [view] = &of("page_view")[..] else { panic!("{user}") };
    assert_eq!((&view["url"], &view["session_id"]), (&json!("https://a.example/"), &json!("s1")), "{user}");
    let one = |event_type: &str| only(weir, user, event_type);
    assert_eq!(one("screen")["name"], "Basket", "{user}");
    assert_eq!(one("identify")["traits"], json!({"plan": "free"}), "{user}");
    assert_eq!(
        (one("group")["group_id"].clone(), one("group")["traits"].clone()),
        (json!("g1"), json!({"size": 7}))
    );
    assert_eq!(
        (one("alias")["previous_id"].clone(), one("alias")["user_id"].clone()),
        (json!("a1"), json!("u1"))
    );
    assert!(of("rejected").is_empty(), "{user}: {:?}", of("rejected"));
}

#[test]
fn a_server_that_is_killed_in_the_middle_loses_no_event_of_a_client_and_counts_none_twice() {
    const LOOPS: usize = 3000;
    let printed = survive_a_kill(LOOPS, |url, key| {
        run("python_client.py", &["segment.analytics.client", &url, &key, &LOOPS.to_string(), "gzip"])
    });
    assert_eq!(printed.trim(), (7 + LOOPS).to_string());
}

fn track(id: &str) -> Value {
    json!({"type": "track", "userId": "u1", "event": "Loop", "messageId": id, "timestamp": "2026-11-20T13:00:05.007Z"})
}

#[test]
fn a_key_is_taken_in_each_place_where_a_client_can_put_it_and_outside_the_header_only_one_that_reads_nothing()
{
    let weir = shared();
    let [write, both] = ["write", "both"].map(|scope| key(&weir, "places", scope));
    let body = |key: Option<&str>| json!({"batch": [track("one")], "writeKey": key}).to_string();
    let send = |path: &str, header: Option<&str>, body: &str| {
        weir.request("POST", header, path, &[("content-type", "text/plain")], body.as_bytes()).status
    };
    for (key, outside) in [(&write, 200), (&both, 403)] {
        assert_eq!(send("/v1/batch", Some(&format!("{key}:")), &body(None)), 200);
        assert_eq!(send("/v1/batch", Some(key), &body(None)), 200);
        assert_eq!(send("/v1/b", None, &body(Some(key))), outside);
        assert_eq!(send(&format!("/v1/batch?key={key}"), None, &body(None)), outside);
        assert_eq!(send(&format!("/k/{key}/v1/batch"), None, &body(None)), outside);
    }
    let read = key(&weir, "places", "read");
    assert_eq!(send("/v1/batch", Some(&format!("{read}:")), &body(None)), 403);
    let wrong = format!("{write}x");
    for (path, header, key) in [
        ("/v1/batch".to_owned(), Some(format!("{wrong}:")), None),
        ("/v1/batch".to_owned(), None, Some(&*wrong)),
        ("/v1/batch".to_owned(), None, Some("places:password")),
        ("/v1/batch".to_owned(), None, Some("")),
        ("/v1/batch".to_owned(), None, None),
        (format!("/v1/batch?key={wrong}"), None, Some(&*write)),
        (format!("/k/{wrong}/v1/batch"), Some(write.clone()), None),
        ("/k/nobody:weir_x/v1/batch".to_owned(), None, None),
    ] {
        let answer = weir.request("POST", header.as_deref(), &path, &[], body(key).as_bytes());
        answer.problem(401, "unauthorized");
    }
    weir.wait_until_filed();
    assert_eq!(stored(&weir, "places", "track").len(), 1, "the same message counts once");
    let secrets = [&write, &both, &read, &wrong].map(|key| key.split_once(':').unwrap().1.to_owned());
    let metrics = weir.get("/metrics").text();
    for secret in &secrets {
        assert!(!weir.log().contains(secret) && !metrics.contains(secret));
        assert!(!weir.lines("lake/username=places").iter().any(|line| line.to_string().contains(secret)));
    }
}

#[test]
fn bad_requests_of_segments_protocol_are_the_clients_fault_and_keep_what_can_be_kept() {
    let weir = shared();
    let write = key(&weir, "hostile", "write");
    let header = format!("{write}:");
    let send = |path: &str, body: &[u8], headers: &[(&str, &str)]| weir.post_as(&header, path, body, headers);
    // A good message beside bad ones.
    let batch = json!({"batch": [
        track("good"),
        7,
        {"type": "track", "messageId": "no-event"},
        {"type": "dance"},
        {"type": "track", "event": "Button Click", "messageId": "no-session", "properties": {"button_id": "abc"}},
        {"type": "track", "event": "Loop", "messageId": {"a": 1}, "userId": ["x"], "timestamp": "yesterday"},
        {"type": "TRACK", "event": "Loop", "messageId": "é".repeat(90), "userId": 7, "username": "eve", "time": 1},
    ]});
    let answer = send("/v1/batch", batch.to_string().as_bytes(), &[]);
    assert_eq!((answer.status, answer.json()["rejected"].clone()), (200, json!(4)), "{}", answer.text());
    // Half a body, with the key in it.
    let whole = json!({"writeKey": write, "batch": [track("half")]}).to_string();
    let half = &whole.as_bytes()[..whole.len() - 9];
    assert_eq!(send("/v1/batch", half, &[]).json()["rejected"], 1);
    weir.request("POST", None, "/v1/batch", &[], half).problem(401, "unauthorized");
    for (path, body) in [
        ("/v1/batch", "[]"),
        ("/v1/batch", ""),
        ("/v1/b", "{\"batch\":{}}"),
        ("/v1/t", "null"),
        ("/v1/t", "\u{0}"),
    ] {
        assert_eq!(send(path, body.as_bytes(), &[]).json()["rejected"], 1, "{body:?}");
    }
    assert_eq!(send("/v1/t", b"\xff\xfe", &[]).json()["rejected"], 1);
    assert_eq!(send("/v1/batch", b"{\"batch\":[]}", &[]).status, 200);
    // Deep, compressed wrongly, and of an unknown encoding.
    let deep = format!("{{\"event\":\"x\",\"properties\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(send("/v1/track", deep.as_bytes(), &[]).json()["rejected"], 1);
    send("/v1/batch", b"{}", &[("content-encoding", "gzip")]).problem(422, "undecodable-body");
    send("/v1/batch", b"{}", &[("content-encoding", "br")]).problem(415, "unsupported-encoding");
    for method in ["GET", "PUT", "DELETE"] {
        weir.request(method, Some(&header), "/v1/batch", &[], b"").problem(405, "method-not-allowed");
    }
    weir.request("POST", Some(&header), "/v1/nothing", &[], b"{}").problem(404, "not-found");
    // As many messages as a request may have, with gzip and the content type of a form; and one more.
    let many = |count: usize| {
        let messages: Vec<Value> = (0..count).map(|n| track(&format!("many-{n}"))).collect();
        gzip(json!({"batch": messages, "sentAt": "2026-11-20T13:00:05Z"}).to_string().as_bytes())
    };
    let form = [("content-encoding", "gzip"), ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(send("/v1/batch", &many(10_000), &form).json(), json!({"success": true}));
    send("/v1/batch", &many(10_001), &form).problem(413, "too-many-events");
    weir.wait_until_filed();
    let tracks = stored(&weir, "hostile", "track");
    assert_eq!(tracks.len(), 10_003);
    let odd = tracks.iter().find(|track| track["context"]["timestamp"] == "yesterday").unwrap();
    assert_eq!((&odd["context"]["messageId"], &odd["context"]["userId"]), (&json!({"a": 1}), &json!(["x"])));
    let other = tracks.iter().find(|track| track["user_id"] == "7").unwrap();
    assert_eq!((&other["context"]["username"], &other["context"]["time"]), (&json!("eve"), &json!(1)));
    assert_eq!(other["username"], "hostile");
    let rejected = stored(&weir, "hostile", "rejected");
    let secret = write.split_once(':').unwrap().1;
    assert!(!rejected.iter().any(|line| line.to_string().contains(secret)));
    assert_eq!(rejected.len(), 12, "{rejected:?}");
}

#[test]
fn a_page_of_another_origin_may_send_with_a_key_of_its_own_and_never_with_what_its_browser_knows() {
    let weir = shared();
    let write = key(&weir, "pages", "write");
    let body = |key: Option<&str>| json!({"type": "page", "writeKey": key, "messageId": "m"}).to_string();
    let page =
        [("origin", "https://a.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
    let answer = weir.request("POST", None, "/v1/p", &page, body(Some(&write)).as_bytes());
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    let header = basic(&write);
    let with_header = [&page[..], &[("authorization", &*header)]].concat();
    let answer = weir.request("POST", None, "/v1/p", &with_header, body(None).as_bytes());
    answer.problem(403, "origin-not-allowed");
    let answer = weir.request("POST", None, "/v1/p", &page, body(None).as_bytes());
    answer.problem(401, "unauthorized");
    assert!(
        answer.header("www-authenticate").unwrap().starts_with("xBasic"),
        "no browser asks a person for it"
    );
}

/// Batches are sent when the page is left; single messages at once.
#[test]
fn segments_script_in_a_browser_sends_to_the_address_that_its_page_names() {
    let weir = shared();
    let write = key(&weir, "browser", "write");
    let script = format!(
        "{}/target/browser/node_modules/@segment/analytics-next/dist/umd/index.js",
        env!("CARGO_MANIFEST_DIR")
    );
    let script = std::fs::read_to_string(script).expect("./check installs it");
    let site = Site::start(format!("<!doctype html><title>A page</title><script>{script}</script>"));
    let browser = Browser::start();
    let host = format!("{}/v1", weir.url().strip_prefix("http://").unwrap());
    for strategy in ["standard", "batching"] {
        browser.open(&site.url());
        let config = json!({"strategy": strategy, "config": {"size": 10, "timeout": 60_000}});
        browser.run(
            "const [writeKey, apiHost, deliveryStrategy] = arguments;\
             const settings = { writeKey, cdnSettings: { integrations: { 'Segment.io':\
               { apiKey: writeKey, apiHost, protocol: 'http', deliveryStrategy } } } };\
             window.analytics = AnalyticsNext.AnalyticsBrowser.load(settings);\
             window.told = 0;\
             const done = () => { window.told++; };\
             analytics.page('Docs', 'Home').then(done);\
             analytics.track('Button Click', { session_id: 's1', button_id: deliveryStrategy.strategy }).then(done);\
             analytics.identify('u1', { plan: 'free' }).then(done);",
            &json!([write, host, config]),
        );
        eventually("the script has taken all", || browser.run("return told", &json!([])) == 3);
        browser.run("location.href = 'about:blank'", &json!([]));
        eventually("all three are stored", || {
            weir.wait_until_filed();
            let of = |event_type: &str| stored(&weir, "browser", event_type);
            let clicks = of("button_click");
            let is_there = |name: &str| clicks.iter().filter(|click| click["button_id"] == name).count() == 1;
            let pages = if strategy == "standard" { 1 } else { 2 };
            is_there(strategy) && of("page").len() == pages && of("identify").len() == pages
        });
    }
    let page = &stored(&weir, "browser", "page")[0];
    assert_eq!((&page["url"], &page["name"]), (&json!(site.url()), &json!("Home")));
    assert!(page["anonymous_id"].is_string() && page["context"]["userAgent"].is_string(), "{page}");
    let lines = weir.lines("lake/username=browser");
    assert!(!lines.iter().any(|line| line.to_string().contains(write.split_once(':').unwrap().1)));
}
