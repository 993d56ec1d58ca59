//! An AWS that knows one user, takes every event, and counts three of everything.

use std::time::Duration;

use serde_json::{Value, json};
use weir_lambda::testing::{Call, StubAws};

pub(super) const COUNTS: &str = "weir-counts";
pub(super) const USERS: &str = "weir-users";
pub(super) const IDS: &str = "weir-recent-ids";
pub(super) const LATEST: &str = "weir-latest";
pub(super) const LAKE: &str = "weir-lake";
pub(super) const STREAM: &str = "weir-stream";

/// What every counter is at.
pub(super) const COUNT: u64 = 3;

/// Starts it; it answers after so long.
pub(super) fn start(latency: Duration, user: Value) -> StubAws {
    StubAws::start_after(move |_| latency, move |call| (200, answer(call, &user).to_string().into_bytes()))
}

fn answer(call: &Call, user: &Value) -> Value {
    match operation(call) {
        "PutRecordBatch" => {
            let records = call.json()["Records"].as_array().map_or(0, Vec::len);
            json!({"FailedPutCount": 0, "RequestResponses": vec![json!({"RecordId": "1"}); records]})
        }
        "BatchGetItem" => {
            let asked = &call.json()["RequestItems"][COUNTS]["Keys"];
            let counted = |key: &Value| {
                let mut item = key.clone();
                item["n"] = json!({"N": COUNT.to_string()});
                item
            };
            let items: Vec<Value> = asked.as_array().into_iter().flatten().map(counted).collect();
            json!({"Responses": {COUNTS: items}, "UnprocessedKeys": {}})
        }
        "GetItem" => user.clone(),
        _ => json!({}),
    }
}

/// What a call asks for: `UpdateItem`.
pub(super) fn operation(call: &Call) -> &str {
    call.target.rsplit('.').next().unwrap_or_default()
}

/// How many calls of an operation there were after the first ones.
pub(super) fn calls(aws: &StubAws, first: usize, wanted: &str) -> usize {
    aws.calls()[first..].iter().filter(|call| operation(call) == wanted).count()
}
