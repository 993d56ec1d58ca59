//! The real program, where Lambda hands it several invocations at once.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weir_lambda::testing::{Call, Function, Outcome, StubAws};

/// An event of an HTTP API.
fn post(path: &str, body: &Value) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "stage": "$default",
            "http": {"method": "POST", "path": path},
            "authorizer": {"lambda": {"username": "ethan", "scope": "both", "access_key": "web"}},
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    })
}

/// The lines that each call of the stream had.
fn puts(aws: &StubAws) -> Vec<Vec<Value>> {
    let puts = aws.calls().into_iter().filter(|call| call.target.ends_with("PutRecordBatch"));
    puts.map(|call| call.json()["Records"].as_array().unwrap().iter().flat_map(lines_of).collect()).collect()
}

/// By how much each call of the counts raised one.
fn raised(aws: &StubAws) -> Vec<u64> {
    let updates = aws.calls().into_iter().filter(|call| call.target.ends_with("UpdateItem"));
    let by = |call: Call| call.json()["ExpressionAttributeValues"][":by"]["N"].as_str().unwrap().parse();
    updates.map(|call| by(call).unwrap()).collect()
}

/// The lines of an entry of the stream's.
fn lines_of(entry: &Value) -> Vec<Value> {
    let text = String::from_utf8(BASE64_STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn several_invocations_at_once_share_calls_and_each_gets_its_own_outcome() {
    const AT_ONCE: usize = 16;
    // An entry with the mark is refused, for whichever users' events are in it; all others are taken.
    let is_refused = |entry: &Value| lines_of(entry).iter().any(|line| line["mark"] == true);
    let aws = StubAws::start_after(
        |_| Duration::from_millis(30),
        move |call: &Call| {
            let answer = match call.target.as_str() {
                "Firehose_20150804.PutRecordBatch" => {
                    let answer = |entry: &Value| {
                        if is_refused(entry) {
                            json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "no"})
                        } else {
                            json!({"RecordId": "1"})
                        }
                    };
                    let answers: Vec<Value> =
                        call.json()["Records"].as_array().unwrap().iter().map(answer).collect();
                    let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
                    json!({"FailedPutCount": failed, "RequestResponses": answers})
                }
                "DynamoDB_20120810.BatchGetItem" => json!({"Responses": {}, "UnprocessedKeys": {}}),
                _ => json!({}),
            };
            (200, answer.to_string().into_bytes())
        },
    );
    let url = aws.url();
    let at_once = AT_ONCE.to_string();
    let variables = [
        ("WEIR_STREAM", "weir-stream"),
        ("WEIR_COUNTS_TABLE", "weir-counts"),
        ("WEIR_IDS_TABLE", "weir-recent-ids"),
        ("WEIR_LATEST_TABLE", "weir-latest"),
        ("WEIR_USERS_TABLE", "weir-users"),
        ("WEIR_RAW_BUCKET", "weir-raw"),
        ("WEIR_LAKE_BUCKET", "weir-lake"),
        ("AWS_ENDPOINT_URL", &url),
        ("AWS_LAMBDA_MAX_CONCURRENCY", &at_once),
    ];
    let mut function = Function::start(env!("CARGO_BIN_EXE_collector"), &variables);
    // What comes together is for chance to say, so it is tried until all of this was seen: calls of each kind that were
    // shared, and a refusal that met several.
    let (mut shared_puts, mut shared_counts, mut shared_refusal) = (false, false, false);
    for round in 0.. {
        assert!(round < 100, "nothing is shared; {}", function.told());
        let events = (0..AT_ONCE).map(|n| {
            let click =
                json!({"session_id": format!("s-{round}-{n}"), "button_id": "abc", "mark": round > 0 && n == 7});
            post("/button/click", &click)
        });
        let told: Vec<u64> = function
            .invoke_all(events)
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Answer(answer) => answer["statusCode"].as_u64().unwrap(),
                other => panic!("{other:?}; {}", function.told()),
            })
            .collect();
        let puts = puts(&aws);
        let marked = puts.iter().filter(|lines| lines.iter().any(|line| line["mark"] == true));
        let refused: BTreeSet<&str> =
            marked.flatten().map(|line| line["session_id"].as_str().unwrap()).collect();
        for (n, status) in told.iter().enumerate() {
            let session = format!("s-{round}-{n}");
            let expected = if refused.contains(&session[..]) { 503 } else { 200 };
            assert_eq!(*status, expected, "{session} of {refused:?}");
            if *status == 503 {
                // Of the invocation whose events they were.
                let id = format!("request-{}", round * AT_ONCE + n + 1);
                function.logged(|line| {
                    line["message"] == "events were not stored" && line["spans"][0]["request_id"] == id
                });
            }
        }
        let of_this_round = |session: &&str| session.starts_with(&format!("s-{round}-"));
        shared_refusal |= refused.iter().filter(|session| of_this_round(session)).count() > 1;
        shared_puts |= puts.iter().any(|lines| lines.len() > 1);
        shared_counts |= raised(&aws).iter().any(|by| *by > 1);
        if shared_puts && shared_counts && shared_refusal {
            break;
        }
    }
    // Whatever was shared, each stored event is counted once: in its total and under its key.
    let puts = puts(&aws);
    let stored: u64 = puts
        .iter()
        .filter(|lines| lines.iter().all(|line| line["mark"] != true))
        .map(|lines| lines.len() as u64)
        .sum();
    let counted: u64 = raised(&aws).iter().sum();
    assert_eq!(counted, 2 * stored);
    let line = function.measured(|line| line["AppendRequests"].as_u64() > Some(0));
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function"]]));
}
