//! The real program on a Runtime API says which request it answered, and leaves tracing to X-Ray, whose header goes on.

use serde_json::{Value, json};
use weir_lambda::testing::{Call, Function, StubAws};

const PROGRAM: &str = env!("CARGO_BIN_EXE_collector");
const REQUEST: &str = "JKJaXmPLvHcESHA=";

/// A stream and tables that do what they are asked; or a stream that is not there.
fn aws(stream: bool) -> StubAws {
    StubAws::start(move |call: &Call| match call.target.as_str() {
        "Firehose_20150804.PutRecordBatch" if !stream => {
            (400, br#"{"__type":"ResourceNotFoundException"}"#.to_vec())
        }
        "Firehose_20150804.PutRecordBatch" => {
            let answer = json!({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]});
            (200, answer.to_string().into_bytes())
        }
        _ => (200, b"{}".to_vec()),
    })
}

fn function(aws: &StubAws, variables: &[(&str, &str)]) -> Function {
    let url = aws.url();
    let mut all = vec![
        ("WEIR_STREAM", "weir-stream"),
        ("WEIR_COUNTS_TABLE", "weir-counts"),
        ("WEIR_IDS_TABLE", "weir-recent-ids"),
        ("WEIR_LATEST_TABLE", "weir-latest"),
        ("WEIR_USERS_TABLE", "weir-users"),
        ("WEIR_RAW_BUCKET", "weir-raw"),
        ("WEIR_LAKE_BUCKET", "weir-lake"),
        ("AWS_ENDPOINT_URL", url.as_str()),
    ];
    all.extend(variables);
    Function::start(PROGRAM, &all)
}

fn event(path: &str) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "private=query",
        "headers": {
            "authorization": "Basic c2VjcmV0OnNlY3JldA==",
            "x-request-id": "their-own",
        },
        "requestContext": {
            "stage": "$default",
            "requestId": REQUEST,
            "http": {"method": "POST", "path": path},
            "authorizer": {"lambda": {"username": "ethan", "scope": "both"}},
        },
        "body": r#"{"session_id":"private-session","button_id":"private-button"}"#,
    })
}

#[test]
fn the_id_of_api_gateway_is_in_the_answer_the_problem_and_the_log() {
    let aws = aws(false);
    let mut function = function(&aws, &[]);
    let answer = function.answer(event("/button/click"));
    assert_eq!((&answer["statusCode"], &answer["headers"]["x-request-id"]), (&json!(503), &json!(REQUEST)));
    let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(problem["instance"], format!("urn:weir:request:{REQUEST}"));
    let line = function.logged(|line| line["message"] == "events were not stored");
    assert_eq!(line["span"]["request_id"], REQUEST);
    // The invocation's own stands beside it.
    assert_eq!(line["spans"][0]["request_id"], "request-1", "{line}");

    // Without one that can be believed, Weir makes it.
    let mut odd = event("/no/such");
    odd["requestContext"]["requestId"] = json!("a b\r\n");
    let answer = function.answer(odd);
    assert_eq!(answer["headers"]["x-request-id"].as_str().unwrap().len(), 36, "{answer}");
}

#[test]
fn the_header_of_x_ray_goes_on_to_aws_and_nothing_else_is_traced() {
    let (aws, collector) = (aws(true), StubAws::start(|_| (200, Vec::new())));
    let mut function = function(&aws, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    let answer = function.answer(event("/button/click"));
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert!(!aws.calls().is_empty());
    for call in aws.calls() {
        assert_eq!(
            call.headers["x-amzn-trace-id"], "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "{}",
            call.target
        );
    }
    assert!(collector.calls().is_empty());
}
