//! Traces reach an OpenTelemetry collector where its variables say so, and tell it nothing of users, secrets and events.

use std::net::TcpListener;

use crate::harness::{self, Value, Weir, click, eventually};
use weir_lambda::testing::{Call, StubAws};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes what is sent to it.
fn collector() -> StubAws {
    StubAws::start(|_| (200, b"{}".to_vec()))
}

/// A server with these variables, which sends spans soon after they end.
fn weir(variables: &[(&str, &str)]) -> Weir {
    let mut weir = Weir::start();
    weir.stop("-TERM");
    let set = variables.iter().chain(&[("OTEL_BSP_SCHEDULE_DELAY", "50")]);
    weir.run_by = vec!["env".to_owned()];
    weir.run_by.extend(set.map(|(name, value)| format!("{name}={value}")));
    weir.restart();
    weir
}

fn spans(calls: &[Call]) -> Vec<Value> {
    let of_call = |call: &Call| {
        let of_resources = call.json()["resourceSpans"].as_array().unwrap().clone();
        let scopes = of_resources.into_iter().flat_map(|r| r["scopeSpans"].as_array().unwrap().clone());
        scopes.flat_map(|scope| scope["spans"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    calls.iter().flat_map(of_call).collect()
}

/// Waits for a span of this name, in this trace if one is named.
fn span(collector: &StubAws, name: &str, trace: Option<&str>) -> Value {
    let find = || {
        let of_trace = |span: &Value| trace.is_none_or(|trace| span["traceId"] == trace);
        spans(&collector.calls()).into_iter().find(|span| span["name"] == name && of_trace(span))
    };
    eventually(name, || find().is_some());
    find().unwrap()
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("no {key} in {span}"))["value"];
    value.as_object().unwrap().values().next().unwrap().clone()
}

#[test]
fn a_request_is_traced_in_the_trace_of_its_caller_and_nothing_private_is_told() {
    let collector = collector();
    let weir = weir(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k%201"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
    ]);
    let traceparent = ("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let answer = weir.post_with(
        "/button/click?private=query",
        click("private-session", "private-button"),
        &[(traceparent.0, &traceparent.1), ("x-private", "private-header")],
    );
    assert_eq!(answer.status, 200);

    let request = span(&collector, "request", Some(TRACE));
    assert_eq!((&request["parentSpanId"], &request["kind"]), (&CALLER.into(), &2.into()));
    assert_eq!(request["status"]["code"], 0);
    assert_eq!(attribute(&request, "http.route"), "/button/click");
    assert_eq!(attribute(&request, "http.request.method"), "POST");
    assert_eq!(attribute(&request, "http.response.status_code"), "200");
    assert_eq!(attribute(&request, "weir.request_id"), answer.header("x-request-id").unwrap());
    let time = |span: &Value, end: &str| span[end].as_str().unwrap().parse::<u128>().unwrap();
    for name in ["authenticate", "store"] {
        let inner = span(&collector, name, Some(TRACE));
        assert_eq!(inner["parentSpanId"], request["spanId"], "{name}");
        assert!(time(&inner, "startTimeUnixNano") >= time(&request, "startTimeUnixNano"), "{name}");
        assert!(time(&inner, "endTimeUnixNano") <= time(&request, "endTimeUnixNano"), "{name}");
    }
    // What is filed later is no part of that request.
    let batch = span(&collector, "batch", None);
    let partition = span(&collector, "partition", None);
    assert_ne!(batch["traceId"], TRACE);
    assert_eq!((&partition["traceId"], &partition["parentSpanId"]), (&batch["traceId"], &batch["spanId"]));
    assert_eq!(attribute(&batch, "weir.events"), "1");

    let calls = collector.calls();
    let secret = weir.credentials.split_once(':').unwrap().1;
    for call in &calls {
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(call.headers["content-type"], "application/json");
        assert_eq!(call.headers["api-key"], "k 1");
        let text = String::from_utf8_lossy(&call.body);
        assert!(text.contains(r#"{"key":"service.name","value":{"stringValue":"weir"}}"#), "{text}");
        assert!(text.contains(r#"{"key":"deployment.environment","value":{"stringValue":"test"}}"#));
        for private in ["private", "demo", secret, &harness::basic(&weir.credentials)] {
            assert!(!text.contains(private), "{private} is told: {text}");
        }
    }
}

#[test]
fn a_request_that_fails_is_told_apart_and_one_without_a_caller_begins_a_trace() {
    let collector = collector();
    let mut weir = weir(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/own", collector.url())),
        ("OTEL_SERVICE_NAME", "mine"),
    ]);
    weir.request("GET", None, "/no/such", &[("traceparent", "made up")], b"");
    let request = span(&collector, "request", None);
    assert_eq!((&request["parentSpanId"], &request["status"]["code"]), (&Value::Null, &0.into()));
    assert_eq!(attribute(&request, "http.response.status_code"), "404");
    assert!(collector.calls().iter().all(|call| call.path == "/own"));
    assert!(String::from_utf8_lossy(&collector.calls()[0].body).contains(r#""stringValue":"mine""#));

    weir.stop("-TERM");
    weir.options = vec!["--keep-free".to_owned(), "1000PiB".to_owned()];
    weir.restart();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let answer = weir.post_with("/button/click", click("s", "b"), &[("traceparent", &traceparent)]);
    assert_eq!(answer.status, 503);
    assert_eq!(span(&collector, "request", Some(TRACE))["status"]["code"], 2);
}

#[test]
fn a_caller_who_traces_nothing_is_not_traced() {
    let collector = collector();
    let weir = weir(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]);
    for (trace, flags) in [("11111111111111111111111111111111", "00"), (TRACE, "01")] {
        let traceparent = format!("00-{trace}-{CALLER}-{flags}");
        weir.post_with("/button/click", click("s", "b"), &[("traceparent", &traceparent)]);
    }
    span(&collector, "request", Some(TRACE));
    assert!(spans(&collector.calls()).iter().all(|span| span["traceId"] != "1".repeat(32)));
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let collector = collector();
    let url = collector.url();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    for variables in [
        &[("OTEL_SERVICE_NAME", "weir")][..],
        &[endpoint, ("OTEL_SDK_DISABLED", "true")],
        &[endpoint, ("OTEL_TRACES_SAMPLER", "always_off")],
        &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        let mut weir = weir(variables);
        assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
        weir.wait_until_filed();
        // What there is to be sent is sent before the end.
        weir.stop("-TERM");
        assert_eq!(collector.calls().len(), 0, "{variables:?}");
        assert!(!weir.log().contains("traces"), "{}", weir.log());
    }
}

#[test]
fn a_collector_that_takes_nothing_holds_up_nobody_and_is_told_of_once() {
    // It accepts connections, as the system does for it, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let failing = StubAws::start(|_| (503, Vec::new()));
    for endpoint in ["http://127.0.0.1:1", &silent, &failing.url()] {
        let mut weir =
            weir(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]);
        let told = |weir: &Weir| weir.log().matches("traces are dropped").count();
        eventually("it is told", || {
            assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
            told(&weir) == 1
        });
        for _ in 0..50 {
            assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
        }
        assert_eq!(weir.stop("-TERM"), Some(0));
        assert_eq!(told(&weir), 1, "{}", weir.log());
    }
}

#[test]
fn variables_that_cannot_be_used_are_told_and_the_server_runs_without_traces() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense"),
    ] {
        let weir = weir(&[(name, value)]);
        assert_eq!(weir.get("/health").status, 200);
        eventually("it is told", || weir.log().contains("there are no traces"));
        let log = weir.log();
        assert_eq!(log.matches("there are no traces").count(), 1, "{log}");
        assert!(log.contains(name), "{log}");
    }
}
