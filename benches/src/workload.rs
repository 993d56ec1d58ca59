//! What each function is given to do, and what AWS answers it meanwhile.

use std::{io::Write, sync::Arc};

use anyhow::ensure;
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_core::{
    Clock, SeededRandom, SystemClock, Timestamp,
    users::{Scope, generate},
};
use weir_lambda::testing::Call;

/// 2026-11-20 13:00 UTC.
const NOW: u64 = 1_795_179_605_007;

/// The beginning of this hour, in milliseconds: events of today are filed without a check which days are sealed.
pub(crate) fn this_hour() -> u64 {
    SystemClock.now().hour().start().millis()
}

/// An invocation that is repeated.
pub(crate) struct Workload {
    /// The function, by its package.
    pub(crate) function: &'static str,
    /// Its name in the template.
    pub(crate) resource: &'static str,
    /// Its settings.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// The event.
    pub(crate) event: Value,
    /// What AWS answers.
    pub(crate) answer: Arc<Answer>,
    /// Whether the function answered well.
    pub(crate) check: fn(&Value) -> anyhow::Result<()>,
    /// Of how many invocations it does one.
    pub(crate) share: u32,
    /// Targets: zipped package in MB, CPU in ms and AWS calls an invocation, resident MB.
    pub(crate) package: f64,
    pub(crate) cpu: Option<f64>,
    pub(crate) calls: Option<f64>,
    pub(crate) resident: f64,
    /// What lies in S3 before it begins.
    pub(crate) batch_bytes: usize,
}

type Answer = dyn Fn(&Call) -> (u16, Vec<u8>) + Send + Sync;

/// One workload for each function.
pub(crate) fn all() -> [Workload; 3] {
    [authorizer(), collector(), fan_out()]
}

/// The same credentials again and again, which is what an authorizer meets: all but the first come from its cache.
pub(crate) fn authorizer() -> Workload {
    let (header, user) = user();
    Workload {
        function: "authorizer",
        resource: "Authorizer",
        variables: &[("WEIR_USERS_TABLE", "weir-users")],
        event: json!({
            "version": "2.0",
            "type": "REQUEST",
            "routeArn": "arn:aws:execute-api:us-east-1:123456789012:abcdef123/$default/POST/button/click",
            "identitySource": [header],
            "headers": {"authorization": header},
            "requestContext": {"stage": "$default"},
        }),
        answer: Arc::new(move |_| (200, user.to_string().into_bytes())),
        check: |answer| {
            ensure!(answer["isAuthorized"] == true, "not authorized");
            Ok(())
        },
        share: 1,
        package: 2.0,
        cpu: None,
        calls: Some(0.0),
        resident: 20.0,
        batch_bytes: 0,
    }
}

/// The credentials of a user, as a request has them, and what DynamoDB answers to a query for the user.
pub(crate) fn user() -> (String, Value) {
    let label = "web".parse().expect("a label");
    let (key, secret) = generate(label, Scope::Both, Timestamp::saturating(NOW), &SeededRandom::new(1));
    let header = format!("Basic {}", BASE64_STANDARD.encode(format!("ethan:{}", secret.reveal())));
    let keys = serde_json::to_string(&[key]).expect("access keys are JSON");
    let user =
        json!({"Item": {"username": {"S": "ethan"}, "version": {"N": "1"}, "access_keys": {"S": keys}}});
    (header, user)
}

/// A click: one event, stored and counted by its type and its button.
pub(crate) fn collector() -> Workload {
    Workload {
        function: "collector",
        resource: "Collector",
        variables: &[
            ("WEIR_STREAM", "weir-stream"),
            ("WEIR_COUNTS_TABLE", "weir-counts"),
            ("WEIR_IDS_TABLE", "weir-recent-ids"),
            ("WEIR_LATEST_TABLE", "weir-latest"),
            ("WEIR_USERS_TABLE", "weir-users"),
            ("WEIR_RAW_BUCKET", "weir-raw"),
            ("WEIR_LAKE_BUCKET", "weir-lake"),
        ],
        event: json!({
            "version": "2.0",
            "routeKey": "POST /{proxy+}",
            "rawPath": "/button/click",
            "rawQueryString": "",
            "headers": {
                "accept": "*/*",
                "content-type": "application/json",
                "host": "abcdef123.execute-api.us-east-1.amazonaws.com",
                "user-agent": "curl/8.14.1",
                "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
                "x-forwarded-for": "192.0.2.1",
                "x-forwarded-port": "443",
                "x-forwarded-proto": "https",
            },
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "abcdef123",
                "domainName": "abcdef123.execute-api.us-east-1.amazonaws.com",
                "requestId": "JKJaXmPLvHcESHA=",
                "stage": "$default",
                "time": "20/Nov/2026:13:00:05 +0000",
                "timeEpoch": NOW,
                "http": {
                    "method": "POST",
                    "path": "/button/click",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1",
                    "userAgent": "curl/8.14.1",
                },
                "authorizer": {"lambda": {"username": "ethan", "scope": "both", "access_key": "web"}},
            },
            "body": r#"{"session_id":"s1","button_id":"abc"}"#,
            "isBase64Encoded": false,
        }),
        answer: Arc::new(|call| {
            if call.method == "GET" {
                return nothing_forgotten();
            }
            let answer = if call.target.ends_with("PutRecordBatch") {
                let records = call.json()["Records"].as_array().map_or(0, Vec::len);
                json!({"FailedPutCount": 0, "RequestResponses": vec![json!({"RecordId": "1"}); records]})
            } else {
                json!({})
            };
            (200, answer.to_string().into_bytes())
        }),
        check: is_ok,
        share: 1,
        package: 4.0,
        cpu: Some(0.3),
        calls: Some(3.0),
        resident: 20.0,
        batch_bytes: 0,
    }
}

/// A small batch: 1,000 events of ten users.
pub(crate) fn fan_out() -> Workload {
    let now = this_hour();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for number in 0..1000 {
        let user = number % 10;
        let line = format!(
            "{{\"time\":{now},\"username\":\"user{user}\",\"event_type\":\"button_click\",\"event_id\":\"event-{number}\",\
             \"received_at\":{now},\"session_id\":\"session-{number}\",\"button_id\":\"b{user}\"}}\n"
        );
        gzip.write_all(line.as_bytes()).expect("memory takes it");
    }
    fan_out_of(gzip.finish().expect("memory takes it"))
}

/// A batch that is there already.
pub(crate) fn fan_out_of(batch: Vec<u8>) -> Workload {
    let batch_bytes = batch.len();
    let object = json!({"key": "raw/2026/11/20/13/batch.json.gz", "size": batch_bytes});
    let notification = json!({"Records": [{
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "weir-raw"}, "object": object},
    }]});
    Workload {
        function: "fan-out",
        resource: "FanOut",
        variables: &[
            ("WEIR_RAW_BUCKET", "weir-raw"),
            ("WEIR_LAKE_BUCKET", "weir-lake"),
            ("WEIR_COUNTS_TABLE", "weir-counts"),
        ],
        event: json!({"Records": [{
            "messageId": "1",
            "eventSource": "aws:sqs",
            "body": notification.to_string(),
        }]}),
        answer: Arc::new(move |call| match call.method.as_str() {
            "GET" if call.path.starts_with("/weir-raw/") => (200, batch.clone()),
            "GET" => nothing_forgotten(),
            "PUT" => (200, Vec::new()),
            _ => (200, b"{}".to_vec()),
        }),
        check: |answer| {
            ensure!(*answer == json!({"batchItemFailures": []}), "a message is to be tried again");
            Ok(())
        },
        share: 100,
        package: 3.0,
        cpu: None,
        calls: None,
        resident: 128.0,
        batch_bytes,
    }
}

/// Whether an answer of an API Gateway function has status 200.
pub(crate) fn is_ok(answer: &Value) -> anyhow::Result<()> {
    anyhow::ensure!(answer["statusCode"] == 200, "not status 200");
    Ok(())
}

/// S3's answer where nothing was ever forgotten: there is no such object.
fn nothing_forgotten() -> (u16, Vec<u8>) {
    (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec())
}
