//! The real program on a Runtime API tells which request it was, and sends its traces before its answer is final.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::{Value, json};
use weir_lambda::testing::{Call, Function, StubAws};

const PROGRAM: &str = env!("CARGO_BIN_EXE_collector");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
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
            "traceparent": format!("00-{TRACE}-{CALLER}-01"),
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

fn spans(collector: &StubAws) -> Vec<Value> {
    let of_call =
        |call: Call| call.json()["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
    collector.calls().into_iter().flat_map(of_call).collect()
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("no {key} in {span}"))["value"];
    value.as_object().unwrap().values().next().unwrap().clone()
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
fn spans_are_sent_before_the_answer_is_final_and_tell_nothing_private() {
    let (aws, collector) = (aws(true), StubAws::start(|_| (200, b"{}".to_vec())));
    let mut function = function(&aws, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    let answer = function.answer(event("/button/click"));
    assert_eq!(answer["statusCode"], 200, "{answer}");
    // Nothing is waited for: Lambda may freeze the process now.
    let spans = spans(&collector);
    let named = |name: &str| {
        spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let (invocation, request) = (named("invocation"), named("request"));
    assert!(spans.iter().all(|span| span["traceId"] == TRACE), "{spans:?}");
    assert_eq!(invocation["parentSpanId"], CALLER);
    assert_eq!(attribute(invocation, "faas.invocation_id"), "request-1");
    assert_eq!(attribute(invocation, "aws.xray.trace_header"), "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
    assert_eq!(request["parentSpanId"], invocation["spanId"]);
    assert_eq!(attribute(request, "http.route"), "/button/click");
    assert_eq!(attribute(request, "weir.request_id"), REQUEST);
    for inner in ["authenticate", "store", "count"] {
        assert_eq!(named(inner)["parentSpanId"], request["spanId"], "{inner}");
    }
    for call in collector.calls() {
        let text = String::from_utf8_lossy(&call.body).into_owned();
        assert!(text.contains(r#""stringValue":"function-under-test""#), "{text}");
        for private in ["ethan", "private", "c2VjcmV0", "their-own"] {
            assert!(!text.contains(private), "{private} is told: {text}");
        }
    }
}

#[test]
fn a_collector_that_is_not_there_fails_no_invocation_and_is_told_of_once() {
    let aws = aws(true);
    // It accepts connections, as the system does for it, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &silent] {
        let mut function = function(&aws, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        for _ in 0..20 {
            assert_eq!(function.answer(event("/button/click"))["statusCode"], 200);
        }
        function.logged(|line| line["level"] == "WARN");
        assert_eq!(function.told().matches("traces are dropped").count(), 1, "{}", function.told());
    }
}

#[test]
fn nothing_is_sent_where_it_is_not_asked_for() {
    let (aws, collector) = (aws(true), StubAws::start(|_| (200, b"{}".to_vec())));
    let url = collector.url();
    for variables in [
        &[("OTEL_SERVICE_NAME", "x")][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_SDK_DISABLED", "true")],
    ] {
        let mut function = function(&aws, variables);
        assert_eq!(function.answer(event("/button/click"))["statusCode"], 200);
        assert!(collector.calls().is_empty());
    }
}
