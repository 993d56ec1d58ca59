//! `weir counts --engine aws`: what the table of counts has, of all users.

use super::on_aws::{OnAws, said};
use crate::harness::{Value, json};

#[test]
fn a_value_too_long_to_count_by_is_counted_by_one_shortened_key() {
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[]);
    let url = format!("https://example.com/{}", "x".repeat(2000));
    let view = json!({"event_type": "page_view", "session_id": "s", "url": url}).to_string();
    assert_eq!(server.post(&ann, "/web/page_view", &view).status, 200);
    assert_eq!(server.post(&ann, "/events", &view).status, 200);
    let listed = server.get(&ann, "/counts/page_view").json();
    assert_eq!((&listed["keys"][0]["count"], listed["keys"].as_array().unwrap().len()), (&json!(2), 1));
    let count = server.get(&ann, &format!("/web/page_view/count?url={url}")).json();
    assert_eq!(count, json!({"count": 2}));
    aws.output(&["replay"]);
    aws.output(&["audit", "--wait", "0s"]);
}

#[test]
fn live_and_settled_counts_and_the_largest_keys_are_printed() {
    let aws = OnAws::start();
    let (ann, bob) = (aws.user("ann"), aws.user("bob"));
    let server = aws.serve(&[]);
    let click = |button: &str| json!({"event_type": "button_click", "session_id": "s", "button_id": button});
    let clicks: Value = ["a", "b", "a", "c", "b", "a"].map(click).into_iter().collect();
    assert_eq!(server.post(&ann, "/events", clicks.to_string()).status, 200);
    assert_eq!(server.post(&bob, "/button/click", "{}").status, 422);
    let counts = |arguments: &[&str]| -> Vec<Value> {
        let output = aws.output(&[&["counts", "--format", "json"], arguments].concat());
        serde_json::from_str(&output).unwrap()
    };
    let row = |user: &str, event_type: &str, live: u64, settled: u64| json!({"username": user, "event_type": event_type, "live": live, "settled": settled});
    assert_eq!(counts(&["--user", "ann"]), [row("ann", "button_click", 6, 0)]);
    aws.output(&["replay"]);
    assert_eq!(counts(&["--user", "ann"]), [row("ann", "button_click", 6, 6)]);
    // What was rejected is filed, and the stack's live counts have it as any other type.
    let rejected = counts(&["--type", "rejected"]);
    assert_eq!((&rejected[0]["username"], &rejected[0]["settled"]), (&json!("bob"), &json!(1)));
    let keys = counts(&["--user", "ann", "--keys", "2"]);
    let short: Vec<_> = keys.iter().map(|row| (row["key"].clone(), row["live"].clone())).collect();
    assert_eq!(short, [(Value::Null, json!(6)), (json!("a"), json!(3)), (json!("b"), json!(2))]);

    let output = aws.command(&["counts"]).env("WEIR_COUNTS_TABLE", "no-such-table").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}
