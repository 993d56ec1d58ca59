//! The real program on a Runtime API, with a stream and tables that answer as the test says.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU32, Ordering},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weir_core::{
    SeededRandom, Timestamp,
    users::{AccessKey, Scope, generate},
};
use weir_lambda::testing::{Call, Function, Outcome, StubAws};

const PROGRAM: &str = env!("CARGO_BIN_EXE_collector");
const CLICK: &str = r#"{"session_id":"s1","button_id":"abc"}"#;

const NEVER_AGAIN: u32 = u32::MAX;

struct Setup {
    function: Function,
    aws: StubAws,
    /// How many calls of the stream are still to fail; with `NEVER_AGAIN`, it takes none at all.
    stream_fails: Arc<AtomicU32>,
    /// The status of what the table of counts answers to writes.
    counting: Arc<AtomicU16>,
}

fn setup() -> Setup {
    let (stream_fails, counting) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU16::new(200)));
    let (fails, status) = (stream_fails.clone(), counting.clone());
    let aws = StubAws::start(move |call: &Call| {
        let answer = match call.target.as_str() {
            // Nothing was forgotten.
            "" if call.path == "/weir-lake/forgotten/current" => {
                return (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
            }
            "Firehose_20150804.PutRecordBatch" => {
                if fails.load(Ordering::SeqCst) == NEVER_AGAIN {
                    return (400, br#"{"__type":"ResourceNotFoundException"}"#.to_vec());
                }
                let fail = |left: u32| left.checked_sub(1);
                if fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fail).is_ok() {
                    return (503, br#"{"__type":"ServiceUnavailableException"}"#.to_vec());
                }
                let records = call.json()["Records"].as_array().unwrap().len();
                json!({"FailedPutCount": 0, "RequestResponses": vec![json!({"RecordId": "1"}); records]})
            }
            "DynamoDB_20120810.UpdateItem" => {
                let status = status.load(Ordering::SeqCst);
                if status != 200 {
                    return (
                        status,
                        br#"{"__type":"com.amazonaws.dynamodb#AccessDeniedException"}"#.to_vec(),
                    );
                }
                json!({})
            }
            "DynamoDB_20120810.GetItem" if call.json()["TableName"] == "weir-users" => user(&call.json()),
            "DynamoDB_20120810.GetItem" => json!({"Item": {"n": {"N": "3"}}}),
            "DynamoDB_20120810.BatchGetItem" => json!({"Responses": {}, "UnprocessedKeys": {}}),
            "DynamoDB_20120810.Query" => {
                let totals = match call.json()["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap() {
                    "live#ethan#0" => vec![("button_click", 7), ("page_view", 1)],
                    "settled#ethan" => vec![("button_click", 5), ("page_view", 4)],
                    _ => Vec::new(),
                };
                let item = |(of, n): &(&str, u64)| json!({"sk": {"S": format!("type#{of}")}, "n": {"N": n.to_string()}});
                let items: Vec<Value> = totals.iter().map(item).collect();
                json!({"Count": items.len(), "Items": items})
            }
            _ => json!({}),
        };
        (200, answer.to_string().into_bytes())
    });
    let function = Function::start(PROGRAM, &variables(&aws.url()));
    Setup { function, aws, stream_fails, counting }
}

/// An access key of ethan's with this scope, and its secret.
fn access_key(scope: Scope) -> (AccessKey, String) {
    let label = if scope == Scope::Write { "web" } else { "desk" };
    let seed = label.len() as u64;
    let now = Timestamp::saturating(1_795_179_605_007);
    let (key, secret) = generate(label.parse().unwrap(), scope, now, &SeededRandom::new(seed));
    (key, format!("ethan:{}", secret.reveal()))
}

/// The answer of the table of users, which has ethan.
fn user(asked: &Value) -> Value {
    if asked["Key"]["username"]["S"] != "ethan" {
        return json!({});
    }
    let keys = [Scope::Write, Scope::Both].map(|scope| access_key(scope).0);
    let keys = serde_json::to_string(&keys).unwrap();
    json!({"Item": {"username": {"S": "ethan"}, "version": {"N": "1"}, "access_keys": {"S": keys}}})
}

fn variables(url: &str) -> [(&str, &str); 9] {
    [
        ("WEIR_STREAM", "weir-stream"),
        ("WEIR_COUNTS_TABLE", "weir-counts"),
        ("WEIR_IDS_TABLE", "weir-recent-ids"),
        ("WEIR_LATEST_TABLE", "weir-latest"),
        ("WEIR_USERS_TABLE", "weir-users"),
        ("WEIR_RAW_BUCKET", "weir-raw"),
        ("WEIR_LAKE_BUCKET", "weir-lake"),
        ("AWS_ENDPOINT_URL", url),
        ("WEIR_LOG", "trace"),
    ]
}

/// An event of an HTTP API.
fn v2(stage: &str, method: &str, path: &str, body: Option<&str>) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": "Basic c2VjcmV0OnNlY3JldA=="},
        "requestContext": {
            "accountId": "123456789012",
            "stage": stage,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "authorizer": {"lambda": {"username": "ethan", "scope": "both", "access_key": "web"}},
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// An event of a REST API.
fn v1(method: &str, path: &str, body: Option<&str>) -> Value {
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "requestContext": {
            "stage": "prod",
            "path": format!("/prod{path}"),
            "authorizer": {"principalId": "ethan", "username": "ethan", "scope": "both"},
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// Status and body of an answer.
fn told(answer: &Value) -> (u64, Value) {
    let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (answer["statusCode"].as_u64().unwrap(), body)
}

fn received() -> (u64, Value) {
    (200, json!({"message": "Received"}))
}

fn problem(answer: &Value, headers: &str) -> (u64, String) {
    let (status, body) = told(answer);
    let content_type = match &answer[headers]["content-type"] {
        Value::Array(values) => &values[0],
        value => value,
    };
    assert_eq!(content_type, "application/problem+json", "{answer}");
    (status, body["type"].as_str().unwrap().to_owned())
}

/// The lines that the stream was given.
fn lines(aws: &StubAws) -> Vec<Value> {
    let puts = aws.calls().into_iter().filter(|call| call.target.ends_with("PutRecordBatch"));
    let records = puts.flat_map(|call| call.json()["Records"].as_array().unwrap().clone());
    records
        .flat_map(|record| {
            let bytes = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect()
}

#[test]
fn a_missing_or_wrong_variable_is_named() {
    let all = variables("http://127.0.0.1:9");
    for name in [
        "WEIR_STREAM",
        "WEIR_COUNTS_TABLE",
        "WEIR_IDS_TABLE",
        "WEIR_RAW_BUCKET",
        "WEIR_LATEST_TABLE",
        "WEIR_LAKE_BUCKET",
        "WEIR_USERS_TABLE",
    ] {
        let others: Vec<_> = all.into_iter().filter(|(other, _)| *other != name).collect();
        let mut function = Function::start(PROGRAM, &others);
        let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
        assert_eq!(told["errorMessage"], format!("the environment variable {name} is not set"));
        assert!(!function.succeeded());
    }
    let wrong: Vec<_> = all.into_iter().chain([("WEIR_COUNTER_SHARDS", "0")]).collect();
    let mut function = Function::start(PROGRAM, &wrong);
    let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
    let message = told["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("the environment variable WEIR_COUNTER_SHARDS is not valid: "), "{message}");
}

#[test]
fn clicks_come_in_by_both_formats_with_and_without_a_stage_in_the_path() {
    let Setup { mut function, aws, .. } = setup();
    for event in [
        v2("$default", "POST", "/button/click", Some(CLICK)),
        v2("prod", "POST", "/prod/button/click", Some(CLICK)),
        v2("button", "POST", "/button/button/click", Some(CLICK)),
        v1("POST", "/button/click", Some(CLICK)),
        // A slash too many.
        v2("$default", "POST", "/button/click/", Some(CLICK)),
        v2("prod", "POST", "/prod//button/click", Some(CLICK)),
        v1("POST", "//button/click/", Some(CLICK)),
    ] {
        assert_eq!(told(&function.answer(event)), received());
    }
    let lines = lines(&aws);
    assert_eq!(lines.len(), 7);
    for line in lines {
        assert_eq!((&line["username"], &line["button_id"]), (&json!("ethan"), &json!("abc")));
    }
    // A request costs the stream one call, and the counts one for each counter.
    assert_eq!(aws.calls().len(), 7 * 3);
}

#[test]
fn a_key_where_no_authorizer_looks_is_checked_by_the_collector_and_cached() {
    let Setup { mut function, aws, .. } = setup();
    let [write, both] = [Scope::Write, Scope::Both].map(|scope| access_key(scope).1);
    let mut send = |path: &str, header: Option<&str>, key: Option<&str>| {
        let body = json!({"type": "track", "event": "a", "writeKey": key}).to_string();
        let mut event = v2("$default", "POST", path, Some(&body));
        event["requestContext"].as_object_mut().unwrap().remove("authorizer");
        let headers = event["headers"].as_object_mut().unwrap();
        headers.remove("authorization");
        if let Some(header) = header {
            headers
                .insert("authorization".into(), json!(format!("Basic {}", BASE64_STANDARD.encode(header))));
        }
        function.answer(event)["statusCode"].as_u64().unwrap()
    };
    assert_eq!(send("/v1/t", None, Some(&write)), 200);
    assert_eq!(send("/v1/t", Some(&format!("{write}:")), None), 200);
    assert_eq!(send(&format!("/k/{write}/v1/t"), None, None), 200);
    assert_eq!(send("/v1/t", Some(&format!("{both}:")), None), 200);
    assert_eq!(send("/v1/t", None, Some(&both)), 403);
    assert_eq!(send("/v1/t", None, Some("ethan:weir_wrong")), 401);
    assert_eq!(send("/v1/t", Some("ethan:a chosen password"), None), 401);
    assert_eq!(send("/v1/t", None, None), 401);
    // Where an authorizer stands before the collector, a header without its verdict is worth nothing.
    assert_eq!(send("/button/click", Some(&write), None), 401);
    let asked = aws.calls().iter().filter(|call| call.json()["TableName"] == "weir-users").count();
    assert_eq!(asked, 3, "once for each secret");
    assert_eq!(lines(&aws).len(), 4);
    for secret in [&write, &both].map(|key| key.split_once(':').unwrap().1) {
        assert!(!function.told().contains(secret));
        assert!(!lines(&aws).iter().any(|line| line.to_string().contains(secret)));
    }
}

#[test]
fn an_id_of_the_clients_is_claimed_before_its_event_is_stored_and_marked_before_it_is_counted() {
    let Setup { mut function, aws, .. } = setup();
    for id in ["first", "mine"] {
        let click = format!(r#"{{"event_id":"{id}","session_id":"s1","button_id":"abc"}}"#);
        assert_eq!(told(&function.answer(v2("$default", "POST", "/button/click", Some(&click)))), received());
    }
    let calls: Vec<(String, String)> = aws
        .calls()
        .iter()
        .map(|call| {
            let operation = call.target.rsplit('.').next().unwrap().to_owned();
            let json = if operation.is_empty() { Value::Null } else { call.json() };
            (operation, json["TableName"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let calls: Vec<(&str, &str)> = calls.iter().map(|(operation, on)| (&operation[..], &on[..])).collect();
    let (ids, counts) = ("weir-recent-ids", "weir-counts");
    let each = [
        ("PutItem", ids),
        ("PutRecordBatch", ""),
        ("UpdateItem", ids),
        ("UpdateItem", counts),
        ("UpdateItem", counts),
    ];
    // The first request of a process asks what was forgotten, which the next ones believe, and for the time that claims go by.
    assert_eq!(calls, [&[("", ""), ("GetItem", ids)], &each[..], &each[..]].concat());
    assert_eq!(aws.calls()[0].path, "/weir-lake/forgotten/current");
}

#[test]
fn a_value_too_long_to_count_by_is_counted_under_a_key_that_the_table_takes() {
    let Setup { mut function, aws, .. } = setup();
    let click = json!({"session_id": "s1", "button_id": "漢".repeat(5000)}).to_string();
    for event in
        [v2("$default", "POST", "/button/click", Some(&click)), v1("POST", "/button/click", Some(&click))]
    {
        assert_eq!(told(&function.answer(event)), received());
    }
    let keys: Vec<Value> = aws.calls().iter().map(|call| call.json()["Key"]["sk"]["S"].clone()).collect();
    let keys: Vec<&str> =
        keys.iter().filter_map(Value::as_str).filter(|key| key.starts_with("key#")).collect();
    // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].len() <= 1024, "{keys:?}");
}

#[test]
fn a_rejected_event_is_noted_in_one_call_beside_its_count_and_ends_after_a_week() {
    let Setup { mut function, aws, .. } = setup();
    let body = r#"[{"event_type":"button_click","n":1},{"event_type":"button_click","n":2}]"#;
    let answer = function.answer(v2("$default", "POST", "/events", Some(body)));
    assert_eq!(answer["statusCode"], 422);
    let calls = aws.calls();
    let update = |of: &str| -> Value {
        let of = |call: &&Call| call.json()["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk == of);
        calls.iter().find(of).unwrap_or_else(|| panic!("{calls:?}")).json()
    };
    assert_eq!(calls.len(), 3, "the stream, the count, the list");
    assert_eq!(update("live#ethan#0")["ExpressionAttributeValues"][":by"]["N"], "2");
    let noted = update("rejected#ethan");
    let (values, newest) = (&noted["ExpressionAttributeValues"], &noted["Key"]["sk"]["S"]);
    let events: Value = serde_json::from_str(values[":events"]["S"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&events[0]["event_id"], &events[1]["event"]),
        (newest, &json!(r#"{"event_type":"button_click","n":1}"#))
    );
    let received = events[0]["received_at"].as_u64().unwrap() / 1000;
    assert_eq!(values[":expires"]["N"], (received + 7 * 24 * 3600).to_string());
}

#[test]
fn a_body_in_base64_is_read_and_one_that_is_not_is_refused_without_harm() {
    let Setup { mut function, aws, .. } = setup();
    let event = |body: &str| {
        let mut event = v2("$default", "POST", "/button/click", Some(body));
        event["isBase64Encoded"] = json!(true);
        event
    };
    assert_eq!(told(&function.answer(event(&BASE64_STANDARD.encode(CLICK)))), received());
    for broken in ["!", "eyJ", CLICK] {
        let answer = function.answer(event(broken));
        assert_eq!(problem(&answer, "headers"), (400, "urn:weir:problem:incomplete-body".to_owned()));
    }
    assert_eq!(told(&function.answer(event(&BASE64_STANDARD.encode(CLICK)))), received());
    assert_eq!(lines(&aws).len(), 2);
}

#[test]
fn one_broken_element_of_an_array_costs_itself_only_behind_api_gateway_too() {
    let Setup { mut function, aws, .. } = setup();
    let click = br#"{"event_type":"button_click","session_id":"s1","button_id":"abc"}"#;
    let bad = b"{\"event_type\":\"button_click\",\"session_id\":\"s1\",\"button_id\":\"caf\xe9\"}";
    let array = [b"[", &[&click[..], bad, click].join(&b',')[..], b"]"].concat();
    for mut event in [v2("$default", "POST", "/events", None), v1("POST", "/events", None)] {
        event["body"] = BASE64_STANDARD.encode(&array).into();
        event["isBase64Encoded"] = json!(true);
        let (status, answer) = told(&function.answer(event));
        let statuses: Value =
            answer["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["status"].clone()).collect();
        assert_eq!((status, statuses), (207, json!(["stored", "rejected", "stored"])));
    }
    let types: Vec<Value> = lines(&aws).iter().map(|line| line["event_type"].clone()).collect();
    assert_eq!(types.iter().filter(|of| **of == "rejected").count(), 2);
    assert_eq!(types.len(), 6);
    let utf16: Vec<u8> = CLICK.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut event = v2("$default", "POST", "/button/click", Some(&BASE64_STANDARD.encode(&utf16)));
    event["isBase64Encoded"] = json!(true);
    let (status, answer) = told(&function.answer(event));
    assert!(status == 422 && answer["detail"].as_str().unwrap().contains("looks like UTF-16"), "{answer}");
}

#[test]
fn without_the_authorizers_word_no_request_comes_in() {
    let Setup { mut function, aws, .. } = setup();
    let mut event = v2("$default", "POST", "/button/click", Some(CLICK));
    for authorizer in
        [json!(null), json!({}), json!({"lambda": null}), json!({"lambda": {"username": "ethan"}})]
    {
        event["requestContext"]["authorizer"] = authorizer;
        let answer = function.answer(event.clone());
        assert_eq!(problem(&answer, "headers"), (401, "urn:weir:problem:unauthorized".to_owned()));
    }
    event["requestContext"]["authorizer"] = json!({"lambda": {"username": "ethan", "scope": "read"}});
    assert_eq!(problem(&function.answer(event), "headers").0, 403);
    assert!(aws.calls().is_empty());
}

#[test]
fn a_page_of_an_origin_that_is_not_allowed_posts_nothing_in_either_format() {
    let aws = StubAws::start(|_: &Call| {
        let answer = json!({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]});
        (200, answer.to_string().into_bytes())
    });
    let url = aws.url();
    let mut set = variables(&url).to_vec();
    set.push(("WEIR_ALLOW_ORIGINS", "https://a.example, https://b.example"));
    let mut function = Function::start(PROGRAM, &set);
    for (origin, status) in
        [("https://a.example", 200), ("https://b.example", 200), ("https://evil.example", 403), ("null", 403)]
    {
        let mut second = v2("$default", "POST", "/button/click", Some(CLICK));
        second["headers"]["origin"] = json!(origin);
        let mut first = v1("POST", "/button/click", Some(CLICK));
        first["multiValueHeaders"]["Origin"] = json!([origin]);
        for event in [second, first] {
            assert_eq!(told(&function.answer(event)).0, status, "{origin}");
        }
    }
    assert_eq!(lines(&aws).len(), 4);
}

#[test]
fn errors_are_problems_in_both_formats() {
    let Setup { mut function, aws: _aws, .. } = setup();
    for (method, path, status) in [("GET", "/no/such", 404), ("DELETE", "/events", 405)] {
        assert_eq!(problem(&function.answer(v2("$default", method, path, None)), "headers").0, status);
        let answer = function.answer(v1(method, path, None));
        assert_eq!(problem(&answer, "multiValueHeaders").0, status);
        if status == 405 {
            assert_eq!(answer["multiValueHeaders"]["allow"], json!(["POST,GET,HEAD"]));
        }
    }
}

#[test]
fn what_is_no_request_fails_its_invocation_only() {
    let Setup { mut function, aws: _aws, .. } = setup();
    for event in [json!({"Records": []}), json!("x"), json!({"httpMethod": "", "path": "/"})] {
        assert!(matches!(function.invoke(event), Outcome::Error(_)));
    }
    assert_eq!(told(&function.answer(v1("POST", "/button/click", Some(CLICK)))), received());
}

#[test]
fn what_becomes_of_events_is_measured_and_no_events_are_logged() {
    let Setup { mut function, aws: _aws, stream_fails, counting } = setup();
    let body = format!(
        r#"[{{"event_type":"button_click","session_id":"s1","button_id":"of-theirs"}},{{"event_type":"{}"}}]"#,
        "unheard_of"
    );
    stream_fails.store(2, Ordering::SeqCst);
    counting.store(400, Ordering::SeqCst);
    let answer = function.answer(v2("$default", "POST", "/events", Some(&body)));
    assert_eq!(answer["statusCode"], 207, "{answer}");

    let line = function.measured(|line| line["EventsAccepted"] == 1);
    let metrics = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&metrics["Namespace"], &metrics["Dimensions"]), (&json!("Weir"), &json!([["Function"]])));
    assert_eq!((&line["Function"], &line["EventsRejected"]), (&json!("function-under-test"), &json!(1)));
    assert_eq!((&line["StreamRetries"], &line["EventsNotStored"]), (&json!(2), &Value::Null));
    assert!(line["CountFailures"].as_u64().unwrap() >= 2, "{line}");
    let warning = function.logged(|line| line["level"] == "WARN");
    assert_eq!(warning["spans"][0]["request_id"], "request-1");
    for private in ["ethan", "of-theirs", "unheard_of", "c2VjcmV0"] {
        assert!(!function.told().contains(private), "{private} is logged: {}", function.told());
    }
}

#[test]
fn how_far_live_and_settled_counts_are_apart_is_measured_when_they_are_read() {
    let Setup { mut function, aws: _aws, .. } = setup();
    let answer = function.answer(v2("$default", "GET", "/counts", None));
    let (status, counts) = told(&answer);
    assert_eq!((status, &counts["counts"][0]["total"]), (200, &json!(7)), "{counts}");
    let line = function.measured(|line| line["CountsUnderWay"] == 2);
    assert_eq!(
        (&line["CountsMissing"], &line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]),
        (&json!(3), &json!([["Function"]]))
    );
    assert!(!line.to_string().contains("ethan"), "a user is in the metrics: {line}");
}

#[test]
fn events_that_the_stream_does_not_take_are_not_acknowledged() {
    let Setup { mut function, aws: _aws, stream_fails, .. } = setup();
    stream_fails.store(NEVER_AGAIN, Ordering::SeqCst);
    let answer = function.answer(v2("$default", "POST", "/button/click", Some(CLICK)));
    assert_eq!(problem(&answer, "headers"), (503, "urn:weir:problem:not-stored".to_owned()));
    assert_eq!(answer["headers"]["retry-after"], "1");
    assert_eq!(function.measured(|_| true)["EventsNotStored"], 1);
}

#[test]
fn the_dashboard_is_served_without_credentials() {
    let mut setup = setup();
    let mut event = v2("prod", "GET", "/prod/", None);
    event["headers"] = json!({});
    event["requestContext"].as_object_mut().unwrap().remove("authorizer");
    let answer = setup.function.answer(event.clone());
    assert_eq!(answer["statusCode"], 200);
    assert_eq!(answer["isBase64Encoded"], false);
    assert_eq!(answer["headers"]["content-type"], "text/html; charset=utf-8");
    assert!(
        answer["headers"]["content-security-policy"].as_str().unwrap().starts_with("default-src 'none'; ")
    );
    assert!(answer["body"].as_str().unwrap().starts_with("<!doctype html>"));
    event["headers"] = json!({"if-none-match": answer["headers"]["etag"]});
    assert_eq!(setup.function.answer(event.clone())["statusCode"], 304);
}

#[test]
fn one_invocation_at_a_time_shares_nothing_and_says_nothing_of_it() {
    let Setup { mut function, aws: _aws, .. } = setup();
    assert_eq!(told(&function.answer(v2("$default", "POST", "/button/click", Some(CLICK)))), received());
    function.measured(|line| line["EventsAccepted"] == 1);
    assert_eq!(told(&function.answer(v2("$default", "POST", "/button/click", Some(CLICK)))), received());
    assert!(!function.told().contains("AppendRequests"), "{}", function.told());
}
