//! Latest values on AWS: the newest event of each resource, in a table of their own.

use std::fs;

use super::{
    emulator::{LAKE, LATEST, RAW},
    on_aws::OnAws,
};
use crate::harness::{Value, json};

/// A catalog with readings of sensors, of which the latest are kept.
fn catalog() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let schema = json!({
        "type": "object",
        "properties": {"sensor_id": {"type": "string"}, "text": {"type": "string"}},
        "required": ["sensor_id"],
        "x-weir": {"route": "/sensor/reading", "latest_by": "sensor_id"},
    });
    fs::write(folder.path().join("reading.json"), schema.to_string()).unwrap();
    folder
}

fn reading(sensor: &str, id: &str, occurred_at: Option<u64>, text: &str) -> String {
    let mut event = json!({"sensor_id": sensor, "event_id": id, "text": text});
    if let Some(occurred_at) = occurred_at {
        event["occurred_at"] = occurred_at.into();
    }
    event.to_string()
}

#[test]
fn the_newest_event_of_a_sensor_is_read_at_once_in_whatever_order_events_come() {
    let (aws, catalog) = (OnAws::start(), catalog());
    let server = aws.serve(&[("WEIR_CATALOG", catalog.path().to_str().unwrap())]);
    let (ann, bob) = (aws.user("ann"), aws.user("bob"));
    let post = |event: String| {
        let posted = server.post(&ann, "/sensor/reading", event);
        assert_eq!(posted.status, 200, "{}", posted.text());
    };
    let latest = |sensor: &str| server.get(&ann, &format!("/sensor/reading/latest?sensor_id={sensor}"));
    let at = |minutes: u64| Some(1_795_000_000_000 + minutes * 60_000);
    latest("s-1").problem(404, "no-latest-value");
    let large = "x".repeat(100_000);
    for (event, newest) in [
        (reading("s-1", "b", at(2), "first"), "b"),
        (reading("s-1", "a", at(1), "late"), "b"),
        (reading("s-1", "a-1", at(2), "at the same time, with a lesser id"), "b"),
        (reading("s-1", "b", at(9), "the same event, as its client sees it"), "b"),
        (reading("s-1", "c", at(3), &large), "c"),
        (reading("s-1", "d", at(2), &large), "c"),
    ] {
        post(event);
        let found = latest("s-1");
        assert_eq!((found.status, &found.json()["event_id"]), (200, &json!(newest)));
    }
    assert_eq!(latest("s-1").json()["text"], large);
    let objects = aws.objects(LAKE, "latest/");
    assert_eq!(objects.len(), 1, "{:?}", objects.keys());
    // As one of a list, and as the object itself.
    let listed = server.get(&ann, "/sensor/reading/latest").json();
    let stored: Value = serde_json::from_slice(objects.values().next().unwrap()).unwrap();
    assert_eq!((&listed["latest"], &listed["next"]), (&json!([stored]), &Value::Null));
    // Its object goes when a newer event takes its place.
    post(reading("s-1", "e", at(4), "small"));
    post(reading("s-0", "e-0", at(4), "another sensor's"));
    assert!(aws.objects(LAKE, "latest/").is_empty());
    let found = latest("s-1");
    let etag = found.header("etag").unwrap();
    let asked = "/sensor/reading/latest?sensor_id=s-1";
    let unchanged = server.request("GET", Some(&ann), asked, &[("if-none-match", etag)], b"");
    assert_eq!((found.json()["text"].as_str(), unchanged.status), (Some("small"), 304));
    let both = server.get(&ann, "/sensor/reading/latest?sensor_id=s-1&sensor_id=s-0&sensor_id=s-2").json();
    let sensors: Vec<&Value> =
        both["latest"].as_array().unwrap().iter().map(|event| &event["sensor_id"]).collect();
    assert_eq!(sensors, ["s-1", "s-0"]);
    server.get(&bob, asked).problem(404, "no-latest-value");
    assert_eq!(server.get(&bob, "/sensor/reading/latest").json()["latest"], json!([]));
}

#[test]
fn an_event_whose_latest_value_was_not_raised_is_raised_as_it_was_stored_when_it_is_sent_again() {
    let (aws, catalog) = (OnAws::start(), catalog());
    let served = ("WEIR_CATALOG", catalog.path().to_str().unwrap());
    let ann = aws.user("ann");
    let failing = aws.serve(&[served, ("WEIR_LATEST_TABLE", "no-such-table")]);
    let event = reading("s-1", "e-1", None, "x");
    assert_eq!(failing.post(&ann, "/sensor/reading", &event).status, 503);
    drop(failing);
    let server = aws.serve(&[served]);
    server.get(&ann, "/sensor/reading/latest?sensor_id=s-1").problem(404, "no-latest-value");
    assert_eq!(server.post(&ann, "/sensor/reading", &event).status, 200);
    let found = server.get(&ann, "/sensor/reading/latest?sensor_id=s-1").json();
    let batches: Vec<String> =
        aws.objects(RAW, "raw/").into_values().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    let [stored] = &batches[..] else { panic!("it is stored once: {batches:?}") };
    assert_eq!(found, serde_json::from_str::<Value>(stored).unwrap());
    let items = aws.emulator.call("DynamoDB_20120810.Scan", &json!({"TableName": LATEST}));
    assert_eq!((&items["Count"], &items["Items"][0]["pk"]["S"]), (&json!(1), &json!("ann#reading")));
}
