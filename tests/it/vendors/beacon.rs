//! Beacons and pictures: requests of a page without a header of its own.

use super::{key, shared, stored};
use crate::harness::{click, json};

const BEACON: [(&str, &str); 4] = [
    ("content-type", "text/plain;charset=UTF-8"),
    ("origin", "https://a.example"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "no-cors"),
];

#[test]
fn a_beacon_brings_its_key_in_the_url_and_its_events_go_the_way_of_all() {
    let weir = shared();
    let [write, both] = ["write", "both"].map(|scope| key(&weir, "beacons", scope));
    let event = |id: &str| {
        let mut event: crate::harness::Value = serde_json::from_str(&click("s1", "abc")).unwrap();
        event["event_type"] = json!("button_click");
        event["event_id"] = json!(id);
        event.to_string()
    };
    let send = |path: &str, body: &str| weir.request("POST", None, path, &BEACON, body.as_bytes());
    for path in [format!("/events?key={write}"), format!("/k/{write}/events")] {
        let answer = send(&path, &format!("{}\n{}\n{{}}", event("one"), event(&path[..3].replace('/', "-"))));
        assert_eq!(answer.status, 207, "{}", answer.text());
        assert_eq!(answer.json()["rejected"], 1);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    for path in [format!("/events?key={both}"), format!("/k/{both}/events")] {
        send(&path, &event("two")).problem(403, "out-of-scope");
    }
    for path in
        ["/events?key=beacons:weir_wrong", "/k/beacons:weir_wrong/events", "/k/beacons/events", "/events"]
    {
        let status = send(path, &event("two")).status;
        assert!(status == 401 || (path == "/events" && status == 403), "{path}: {status}");
    }
    weir.wait_until_filed();
    assert_eq!(stored(&weir, "beacons", "button_click").len(), 3);
    let secret = write.split_once(':').unwrap().1;
    assert!(!weir.log().contains(secret) && !weir.get("/metrics").text().contains(secret));
}

#[test]
fn a_picture_stores_the_event_of_its_query_once() {
    let weir = shared();
    let write = key(&weir, "pictures", "write");
    let get = |method: &str, path: &str| {
        weir.request(
            method,
            None,
            path,
            &[("referer", "https://a.example/mail"), ("sec-fetch-mode", "no-cors")],
            b"",
        )
    };
    let query = "event_type=button_click&session_id=s1&button_id=a+b%26&event_id=p1";
    for path in [format!("/pixel.gif?key={write}&{query}"), format!("/k/{write}/pixel.gif?{query}")] {
        let answer = get("GET", &path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("image/gif")),
            "{}",
            answer.text()
        );
        assert!(answer.body.starts_with(b"GIF89a") && answer.header("cache-control") == Some("no-store"));
    }
    assert_eq!(get("GET", &format!("/pixel.gif?key={write}&session_id=s1")).status, 200);
    // What the catalog refuses is kept as a rejected event. A picture cannot show it.
    assert_eq!(get("GET", &format!("/pixel.gif?key={write}&event_type=nothing")).status, 200);
    get("GET", &format!("/pixel.gif?{query}")).problem(401, "unauthorized");
    assert_eq!(get("HEAD", &format!("/pixel.gif?key={write}&{query}&event_id=p2")).status, 405);
    weir.wait_until_filed();
    let [click] = &stored(&weir, "pictures", "button_click")[..] else { panic!() };
    assert_eq!(click["button_id"], "a b&");
    let [view] = &stored(&weir, "pictures", "page_view")[..] else { panic!() };
    assert_eq!(view["url"], "https://a.example/mail");
    assert_eq!(stored(&weir, "pictures", "rejected").len(), 1);
}
