//! Latest values: the newest event of each sensor by its own time, in the API, in the command and in the audit; through a
//! crash, a backup and another catalog.

use std::{fs, path::Path};

use weir_core::{Clock, SystemClock};

use crate::harness::{Value, Weir, eventually, json};

/// The event type of docs/LATEST.md.
pub(crate) fn reading() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/LATEST.md")).unwrap();
    page.split("```json\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// A folder with that type.
pub(crate) fn catalog() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("reading.json"), reading()).unwrap();
    folder
}

fn now() -> u64 {
    SystemClock.now().millis()
}

fn send(weir: &Weir, sensor: &str, celsius: i64, occurred_at: u64, id: &str) {
    let event = json!({"sensor_id": sensor, "celsius": celsius, "occurred_at": occurred_at, "event_id": id});
    assert_eq!(weir.post("/sensor/reading", event.to_string()).status, 200);
}

fn celsius(weir: &Weir, sensor: &str) -> Value {
    weir.get(&format!("/sensor/reading/latest?sensor_id={sensor}")).json()["celsius"].clone()
}

fn listed(answer: &Value) -> Vec<(&str, i64)> {
    let values = answer["latest"].as_array().unwrap().iter();
    values.map(|of| (of["sensor_id"].as_str().unwrap(), of["celsius"].as_i64().unwrap())).collect()
}

/// Findings of `weir audit`: what, and of which key.
fn audited(weir: &Weir, arguments: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let output = weir.run(&[&["audit", "--format", "json"], arguments].concat());
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    (output.status.code(), rows.iter().map(|row| (text(row, "finding"), text(row, "key"))).collect())
}

#[test]
fn the_latest_event_of_each_sensor_is_there_before_the_answer_whatever_came_first_and_whatever_crashed() {
    let catalog = catalog();
    let catalog = catalog.path().to_str().unwrap();
    let mut weir = Weir::start_with(&["--catalog", catalog, "--flush-every", "1h"]);
    let route = "/sensor/reading/latest";
    weir.get(&format!("{route}?sensor_id=kitchen")).problem(404, "no-latest-value");
    assert_eq!(weir.get(route).json(), json!({"latest": [], "next": null}));

    let at = now() - 60_000;
    send(&weir, "kitchen", 21, at, "b");
    assert_eq!(celsius(&weir, "kitchen"), 21);
    send(&weir, "kitchen", 19, at - 1, "c");
    assert_eq!(celsius(&weir, "kitchen"), 21, "a late one");
    send(&weir, "kitchen", 18, at, "a");
    assert_eq!(celsius(&weir, "kitchen"), 21, "of the same time, with a lesser id");
    send(&weir, "kitchen", 22, at, "b-1");
    assert_eq!(celsius(&weir, "kitchen"), 22, "of the same time, with a greater id");
    send(&weir, "kitchen", 99, at + 5_000, "b-1");
    assert_eq!(celsius(&weir, "kitchen"), 22, "a repeat with other content");
    weir.post("/sensor/reading", r#"{"sensor_id":"kitchen"}"#).problem(422, "invalid-event");
    // Of one request the newest counts, and a time that cannot be is that of the arrival.
    let of = |n: i64, at: u64| json!({"event_type": "reading", "sensor_id": "cellar", "celsius": n, "occurred_at": at});
    let many = json!([of(12, at + 9), of(10, at + 8), of(5, 0), of(11, at)]);
    assert_eq!(weir.post("/events", many.to_string()).status, 200);
    assert_eq!(celsius(&weir, "cellar"), 5);
    send(&weir, "ü/ä", 1, at, "e");

    let whole = weir.get(&format!("{route}?sensor_id=kitchen"));
    let tag = whole.header("etag").unwrap();
    let expected = json!({"time": at, "event_id": "b-1", "username": "demo", "event_type": "reading", "sensor_id": "kitchen",
        "celsius": 22, "occurred_at": at, "received_at": whole.json()["received_at"]});
    assert_eq!(whole.json(), expected);
    let again = weir.request(
        "GET",
        Some(&weir.credentials),
        &format!("{route}?sensor_id=kitchen"),
        &[("if-none-match", tag)],
        b"",
    );
    assert_eq!(again.status, 304);

    let check = |weir: &Weir| {
        let several =
            weir.get(&format!("{route}?sensor_id=none&sensor_id=%C3%BC/%C3%A4&sensor_id=kitchen")).json();
        assert_eq!(listed(&several), [("ü/ä", 1), ("kitchen", 22)]);
        let first = weir.get(&format!("{route}?limit=2")).json();
        assert_eq!(
            (listed(&first), &first["next"]),
            (vec![("cellar", 5), ("kitchen", 22)], &json!("kitchen"))
        );
        let second = weir.get(&format!("{route}?limit=2&after=kitchen")).json();
        assert_eq!((listed(&second), &second["next"]), (vec![("ü/ä", 1)], &Value::Null));
    };
    check(&weir);
    // From the journal, from the journal after a crash, and from the table after its batch was cut.
    weir.kill();
    let printed = |weir: &Weir, arguments: &[&str]| -> Vec<Value> {
        let output = weir.output(&[&["latest", "reading", "--format", "json"], arguments].concat());
        serde_json::from_str(&output).unwrap()
    };
    let sensors = |rows: &[Value]| rows.iter().map(|row| row["sensor_id"].clone()).collect::<Vec<_>>();
    assert_eq!(sensors(&printed(&weir, &[])), ["cellar", "kitchen", "ü/ä"]);
    weir.restart();
    check(&weir);
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.restart();
    check(&weir);
    send(&weir, "kitchen", 20, at - 7, "late");
    check(&weir);
    let rows = printed(&weir, &["kitchen", "none", "--user", "demo"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["username"], &rows[0]["event_id"], &rows[0]["event"]),
        (&json!("demo"), &json!("b-1"), &expected)
    );
    assert!(weir.output(&["latest", "reading"]).contains("│ demo     │ kitchen   │"));

    // Who may read.
    let ann = weir.user("ann");
    assert_eq!(weir.get_as(&ann, route).json(), json!({"latest": [], "next": null}));
    weir.get_as(&ann, &format!("{route}?sensor_id=kitchen")).problem(404, "no-latest-value");
    let writer = weir.output(&["user", "add", "sensor", "--scope", "write"]);
    weir.get_as(writer.trim(), route).problem(403, "out-of-scope");
    weir.request("GET", None, route, &[], b"").problem(401, "unauthorized");
    weir.get(&format!("{route}?sensorId=kitchen")).problem(422, "invalid-query");
    let document = weir.get("/openapi.json").json();
    assert!(
        document["paths"][route]["get"].is_object()
            && document["components"]["schemas"]["StoredEvent"].is_object()
    );
}

#[test]
fn stale_and_invented_latest_values_are_found_and_mended_and_a_backup_and_a_changed_catalog_have_them_right()
{
    let folder = catalog();
    let catalog = folder.path().to_str().unwrap();
    let mut weir = Weir::start_with(&["--catalog", catalog, "--flush-every", "50ms"]);
    let at = now() - 60_000;
    for (sensor, n) in [("a", 1), ("a", 3), ("a", 2), ("b", 1), ("c", 1)] {
        send(&weir, sensor, n, at + n.unsigned_abs(), &format!("{sensor}-{n}"));
    }
    weir.wait_until_filed();
    assert_eq!(audited(&weir, &[]), (Some(0), vec![]));
    let copy = tempfile::tempdir().unwrap();
    let (backup, restored) = (copy.path().join("backup"), copy.path().join("restored"));
    weir.output(&["backup", backup.to_str().unwrap()]);
    weir.output(&["restore", backup.to_str().unwrap(), "--data", restored.to_str().unwrap()]);
    let of_both = [weir.data(), restored]
        .map(|data| weir.output(&["latest", "reading", "--format", "csv", "--data", data.to_str().unwrap()]));
    assert_eq!(of_both[0], of_both[1]);
    assert_eq!(of_both[0].lines().count(), 4);

    assert_eq!(weir.stop("-TERM"), Some(0));
    {
        let db = rusqlite::Connection::open(weir.data().join("events.db")).unwrap();
        let event = |id: &str, time: u64| {
            format!(
                r#"{{"time":{time},"event_id":"{id}","username":"demo","event_type":"reading","received_at":{time}}}"#
            )
        };
        let set =
            "UPDATE latest_values SET time = ?2, event_id = ?3, event = CAST(?4 AS BLOB) WHERE key = ?1";
        db.execute(set, rusqlite::params!["a", at + 1, "a-1", event("a-1", at + 1)]).unwrap();
        db.execute(set, rusqlite::params!["b", at + 9, "no", event("no", at + 9)]).unwrap();
        db.execute("DELETE FROM latest_values WHERE key = 'c'", []).unwrap();
        db.execute(
            "INSERT INTO latest_values VALUES ('demo', 'reading', 'd', ?1, 'no', CAST(?2 AS BLOB))",
            rusqlite::params![at, event("no", at)],
        )
        .unwrap();
    }
    let wrong = [
        ("stale latest value", "a"),
        ("latest value of no event", "b"),
        ("missing latest value", "c"),
        ("latest value of no event", "d"),
    ];
    let wrong = wrong.map(|(what, key)| (what.to_owned(), key.to_owned())).to_vec();
    assert_eq!(audited(&weir, &[]), (Some(3), wrong.clone()));
    assert_eq!(audited(&weir, &["--repair"]), (Some(0), wrong));
    assert_eq!(audited(&weir, &[]), (Some(0), vec![]));
    let rows = weir.output(&["latest", "reading", "--format", "csv"]);
    assert_eq!(rows, of_both[0]);

    // The same events by another field.
    let changed = reading()
        .replace(
            r#""celsius": { "type": "number" }"#,
            r#""celsius": { "type": "number" }, "room": { "type": "string" }"#,
        )
        .replace(r#""latest_by": "sensor_id""#, r#""latest_by": "room""#);
    fs::write(folder.path().join("reading.json"), changed).unwrap();
    weir.restart();
    eventually("the start warns of it", || weir.log().contains("latest values by sensor_id are removed"));
    assert_eq!(weir.get("/sensor/reading/latest").json()["latest"], json!([]));
    assert_eq!(weir.post("/sensor/reading", r#"{"sensor_id":"a","celsius":7,"room":"hall"}"#).status, 200);
    assert_eq!(weir.get("/sensor/reading/latest?room=hall").json()["celsius"], 7);
    assert_eq!(weir.stop("-TERM"), Some(0));
    fs::write(folder.path().join("reading.json"), reading()).unwrap();
    weir.output(&["audit", "--repair", "--catalog", catalog]);
    weir.restart();
    assert_eq!(listed(&weir.get("/sensor/reading/latest").json()), [("a", 7), ("b", 1), ("c", 1)]);
}
