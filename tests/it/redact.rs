//! Redaction: a value that a type redacts is in no file of the data folder, in whatever way its event came.

use std::fs;

use crate::harness::{Weir, eventually, files_that_hold, json};

const SIGNUP: &str = r#"{"type": "object", "required": ["email"],
    "properties": {"email": {"type": "string", "maxLength": 200}, "ip": {"type": "string"}, "plan": {"type": "string"}},
    "x-weir": {"route": "/shop/signup", "count_by": "email", "latest_by": "email", "redact": {"email": "hash", "ip": "truncate"}}}"#;

const EMAIL: &str = "MARKann@example.com";
const IP: &str = "203.0.113.199";

/// The type of Segment's `track`, which has a field that is redacted.
fn track() -> String {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/track.json")).unwrap();
    let mut track: serde_json::Value = serde_json::from_str(&text).unwrap();
    track["x-weir"]["redact"] = json!({"user_id": "hash"});
    track.to_string()
}

#[test]
fn a_redacted_value_is_in_no_file_of_the_data_folder_whatever_way_it_came() {
    let catalog = tempfile::tempdir().unwrap();
    fs::write(catalog.path().join("signup.json"), SIGNUP).unwrap();
    fs::write(catalog.path().join("track.json"), track()).unwrap();
    let catalog = catalog.path().to_str().unwrap().to_owned();
    let mut weir = Weir::start_with(&["--catalog", &catalog, "--flush-every", "1h"]);
    let whole = json!({"email": EMAIL, "ip": IP, "plan": "free"});
    assert_eq!(weir.post("/shop/signup", whole.to_string()).status, 200);
    let with_type = json!({"event_type": "signup", "email": EMAIL, "ip": IP});
    assert_eq!(weir.post("/events", json!([with_type]).to_string()).status, 200);
    let message = json!({"type": "track", "messageId": "m1", "event": "Signed Up", "userId": EMAIL});
    assert_eq!(weir.post("/v1/track", message.to_string()).status, 200);
    // Rejected events: of a known type, of a type that follows from nothing, and bodies that are not JSON.
    let rejected = [
        ("/shop/signup", json!({"email": EMAIL, "ip": IP, "plan": 7}).to_string()),
        ("/shop/signup", json!({"email": [EMAIL], "ip": {"a": IP}}).to_string()),
        ("/events", json!({"event_type": "nothing", "data": {"email": EMAIL, "ip": IP}}).to_string()),
        ("/events", format!("{{\"event_type\": \"signup\", \"email\": \"{EMAIL}\", \"ip\": \"{IP}")),
        ("/shop/signup", format!("{{\"email\": {EMAIL}\n, 'ip': \"x\", \"ip\" : \"{IP}\"}}")),
    ];
    for (route, body) in &rejected {
        assert_eq!(weir.post(route, body).status, 422, "{body}");
    }
    assert_eq!(weir.get("/rejected").json()["rejected"].as_array().unwrap().len(), rejected.len());
    assert!(!weir.get("/rejected").text().contains("MARK"));

    let keys = weir.get("/counts/signup").json()["keys"].clone();
    let hash = keys[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(keys, json!([{"key": hash, "count": 2}]));
    assert!(hash.len() == 32 && !hash.contains("ann"), "{hash}");
    assert_eq!(weir.get(&format!("/shop/signup/count?email={hash}")).json()["count"], 2);
    let latest = weir.get(&format!("/shop/signup/latest?email={hash}")).json();
    assert_eq!((&latest["ip"], &latest["email"]), (&json!("203.0.113.0"), &json!(hash)));
    let nowhere = |weir: &Weir| {
        for marker in ["MARK", IP] {
            assert_eq!(files_that_hold(&weir.data(), marker.as_bytes()), Vec::<std::path::PathBuf>::new());
        }
    };
    nowhere(&weir);

    // The same secret after a restart, and in a backup.
    assert_eq!(weir.stop("-TERM"), Some(0));
    nowhere(&weir);
    weir.restart();
    assert_eq!(weir.post("/shop/signup", whole.to_string()).status, 200);
    eventually("the third event counts", || weir.get("/counts/signup").json()["total"] == 3);
    assert_eq!(weir.get(&format!("/shop/signup/count?email={hash}")).json()["count"], 3);
    let places = tempfile::tempdir().unwrap();
    let backup = places.path().join("backup");
    weir.output(&["backup", backup.to_str().unwrap()]);
    let restored = places.path().join("restored");
    weir.output(&["restore", backup.to_str().unwrap(), "--data", restored.to_str().unwrap()]);
    let secret = |folder: &std::path::Path| fs::read_to_string(folder.join("secret")).unwrap();
    assert_eq!(secret(&restored), secret(&weir.data()));
    let rows = weir.query("SELECT user_id, count(*) AS n FROM track GROUP BY ALL");
    assert_eq!(rows, [json!({"user_id": hash, "n": 1})], "hashes of different types join");
}
