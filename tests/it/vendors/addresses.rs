//! Addresses and user agents of clients, which are stored only where the catalog says so.

use std::fs;

use super::{key, only, shared};
use crate::harness::{Value, Weir, json};

const PROXIED: [(&str, &str); 2] =
    [("x-forwarded-for", "198.51.100.9, 203.0.113.77"), ("user-agent", "Browser/1.0")];

fn file(folder: &std::path::Path, name: &str, fill: &Value, fields: &[&str], required: &[&str]) {
    let mut schema = json!({"type": "object", "properties": {}, "required": required,
        "x-weir": {"route": format!("/own/{name}"), "fill": fill}});
    for field in fields {
        schema["properties"][field] = json!({"type": "string"});
    }
    fs::write(folder.join(format!("{name}.json")), schema.to_string()).unwrap();
}

#[test]
fn what_is_known_of_a_client_is_stored_where_the_catalog_says_so_even_in_a_required_field() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path();
    let both = json!({"ipaddress": "client_ip_truncated", "useragent": "user_agent"});
    let fields = ["url", "session_id", "ipaddress", "useragent"];
    file(catalog, "page_view", &both, &fields, &["url", "session_id", "ipaddress"]);
    file(catalog, "track", &json!({"whole": "client_ip"}), &["event", "whole"], &["event", "whole"]);
    let options = ["--catalog", catalog.to_str().unwrap(), "--flush-every", "100ms"];
    let mut weir = Weir::start_with(&[&options[..], &["--trust-forwarded-for"]].concat());
    let write = key(&weir, "ann", "write");
    let send = |weir: &Weir, path: &str, body: &Value| {
        let path = format!("/k/{write}{path}");
        let answer = weir.request("POST", None, &path, &PROXIED, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    // A page is a page view if that can be filled; any other name is a track.
    let page = json!({"context": {"sessionId": "s1", "page": {"url": "https://a.example/"}}});
    send(&weir, "/v1/page", &page);
    send(&weir, "/v1/track", &json!({"event": "x"}));
    let view = json!({"event_type": "page_view", "url": "https://b.example/", "session_id": "s1"});
    let mut own = view.clone();
    own["ipaddress"] = json!("mine");
    weir.wait_until_filed();
    let filled = only(&weir, "ann", "page_view");
    assert_eq!((&filled["ipaddress"], &filled["useragent"]), (&json!("203.0.113.0"), &json!("Browser/1.0")));
    assert_eq!(only(&weir, "ann", "track")["whole"], "203.0.113.77");
    let described = &weir.get("/openapi.json").json()["components"]["schemas"]["page_view"];
    assert_eq!(described["required"], json!(["url", "session_id"]), "a client need not send it");

    // Without a trusted proxy it is the connection's, whatever the header says.
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.options.retain(|option| option != "--trust-forwarded-for");
    weir.restart();
    send(&weir, "/events", &json!([view, own]));
    weir.wait_until_filed();
    let views = weir.lines("lake/username=ann/page_view");
    let mut addresses: Vec<&Value> = views.iter().map(|view| &view["ipaddress"]).collect();
    addresses.sort_by_key(ToString::to_string);
    assert_eq!(addresses, ["127.0.0.0", "203.0.113.0", "mine"]);
}

#[test]
fn nothing_is_stored_of_a_client_that_it_did_not_send_unless_the_catalog_says_so() {
    let weir = shared();
    let write = key(&weir, "unknown", "write");
    let body = br#"{"event_type":"page_view","url":"https://a.example/","session_id":"s1"}"#;
    let answer = weir.request("POST", None, &format!("/k/{write}/events"), &PROXIED, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    weir.wait_until_filed();
    let view = only(&weir, "unknown", "page_view");
    let mut names: Vec<&String> = view.as_object().unwrap().keys().collect();
    names.sort();
    let expected = ["event_id", "event_type", "received_at", "session_id", "time", "url", "username"];
    assert_eq!(names, expected);
}
