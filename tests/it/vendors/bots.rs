//! Events of bots, which are marked and counted apart.

use super::{key, shared};
use crate::harness::{Value, json};

const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
const LIBRARY: &str = "python-requests/2.32.3";

#[test]
fn a_bots_event_is_stored_as_any_other_and_marked_and_counted_apart() {
    let weir = shared();
    let [write, read] = ["write", "read"].map(|scope| key(&weir, "crawled", scope));
    let send = |path: &str, user_agent: &str, body: &Value| {
        let path = format!("/k/{write}{path}");
        let answer =
            weir.request("POST", None, &path, &[("user-agent", user_agent)], body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let view = |n: usize, more: Value| {
        let mut view =
            json!({"event_type": "page_view", "url": "/", "session_id": "s", "event_id": n.to_string()});
        view.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        view
    };
    for user_agent in [LIBRARY, BROWSER] {
        send("/events", user_agent, &view(0, json!({})));
    }
    assert_eq!(weir.get_as(&read, "/counts").json().get("bots"), None, "there is none yet");
    // The event's own user agent comes first. The repeat is a duplicate.
    for _ in 0..2 {
        send("/events", BOT, &view(1, json!({})));
    }
    send(
        "/events",
        LIBRARY,
        &json!([view(2, json!({"useragent": BOT})), view(3, json!({"useragent": BROWSER}))]),
    );
    send("/events", BOT, &view(4, json!({"useragent": BROWSER})));
    // A field of this name is the client's.
    send("/events", BOT, &view(5, json!({"bot": "R2-D2"})));
    send("/v1/track", LIBRARY, &json!({"event": "segment", "context": {"userAgent": BOT}}));
    send("/v1/track", BOT, &json!({"event": "segment", "context": {"userAgent": BROWSER}}));
    for name in ["$raw_user_agent", "$useragent"] {
        send("/e", LIBRARY, &json!({"event": "posthog", "distinct_id": "u", "properties": {name: BOT}}));
    }
    send(
        "/e",
        LIBRARY,
        &json!({"event": "Button Click", "distinct_id": "u",
        "properties": {"$useragent": BOT, "session_id": "s", "button_id": "b"}}),
    );
    send(
        "/com.snowplowanalytics.snowplow/tp2",
        BROWSER,
        &json!({"data": [{"e": "se", "se_ac": "a", "ua": BOT}]}),
    );

    weir.wait_until_filed();
    let counts = weir.get_as(&read, "/counts").json();
    let of = |event_type: &str| {
        let counts = counts["counts"].as_array().unwrap();
        counts.iter().find(|count| count["event_type"] == event_type).unwrap().clone()
    };
    assert_eq!(of("page_view"), json!({"event_type": "page_view", "total": 6, "settled": 6, "bots": 2}));
    assert_eq!(of("track"), json!({"event_type": "track", "total": 5, "settled": 5, "bots": 4}));
    assert_eq!(
        of("button_click"),
        json!({"event_type": "button_click", "total": 1, "settled": 1, "bots": 1})
    );
    assert_eq!(of("outcome").get("bots"), None);
    assert_eq!(counts["bots"], json!({"total": 7, "settled": 7}));
    assert_eq!(weir.get_as(&read, "/counts/page_view").json()["bots"], 2);
    let rows = weir
        .query("SELECT bot, count(*) AS n FROM page_view WHERE username = 'crawled' GROUP BY 1 ORDER BY 2");
    assert_eq!(rows, [json!({"bot": true, "n": 2}), json!({"bot": null, "n": 4})]);
    let said = weir.output(&["audit", "--user", "crawled", "--format", "json"]);
    assert_eq!(said.trim(), "[]");
    // Its name is no event type.
    weir.get_as(&read, "/counts/weir_bots").problem(404, "unknown-event-type");
    let as_a_type = br#"{"event_type":"weir_bots"}"#;
    assert_eq!(weir.request("POST", None, &format!("/k/{write}/events"), &[], as_a_type).status, 422);
}
