//! Traces reach an OpenTelemetry collector if its variables ask for that, and reveal no user, secret or event.

use std::{net::TcpListener, path::Path, sync::Arc, thread};

use crate::harness::{Weir, click, eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use weir_lambda::testing::{Call, StubAws};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes what is sent to it.
fn collector() -> StubAws {
    StubAws::start(|_| (200, Vec::new()))
}

/// A server with these variables, which sends spans soon after they end.
fn weir(variables: &[(&str, &str)]) -> Weir {
    let mut weir = Weir::start();
    weir.stop("-TERM");
    let set = [("OTEL_BSP_SCHEDULE_DELAY", "50")].iter().chain(variables);
    weir.run_by = vec!["env".to_owned()];
    weir.run_by.extend(set.map(|(name, value)| format!("{name}={value}")));
    weir.restart();
    weir
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request(call: &Call) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(&call.body[..]).unwrap()
}

fn spans(calls: &[Call]) -> Vec<Span> {
    let scopes = calls.iter().flat_map(|call| request(call).resource_spans).flat_map(|r| r.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// Waits for a span of this name, in this trace if one is named.
fn span(collector: &StubAws, name: &str, trace: Option<&str>) -> Span {
    let find = || {
        let of_trace = |span: &Span| trace.is_none_or(|trace| hex(&span.trace_id) == trace);
        spans(&collector.calls()).into_iter().find(|span| span.name == name && of_trace(span))
    };
    eventually(name, || find().is_some());
    find().unwrap()
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match value(attributes, key) {
        Some(Value::IntValue(number)) => number,
        other => panic!("{key} is {other:?}"),
    }
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// The value of `service.name` in a call.
fn service(call: &Call) -> String {
    text(&request(call).resource_spans[0].resource.as_ref().unwrap().attributes, "service.name")
}

#[test]
fn a_request_is_traced_in_the_trace_of_its_caller_and_nothing_private_is_sent() {
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

    let request_span = span(&collector, "request", Some(TRACE));
    assert_eq!(
        (hex(&request_span.parent_span_id), request_span.kind()),
        (CALLER.to_owned(), SpanKind::Server)
    );
    assert!(!failed(&request_span));
    let attributes = &request_span.attributes;
    assert_eq!(text(attributes, "http.route"), "/button/click");
    assert_eq!(text(attributes, "http.request.method"), "POST");
    assert_eq!(number(attributes, "http.response.status_code"), 200);
    assert_eq!(text(attributes, "weir.request_id"), answer.header("x-request-id").unwrap());
    assert_eq!(attributes.len(), 4, "{attributes:?}");
    for name in ["authenticate", "store"] {
        let inner = span(&collector, name, Some(TRACE));
        assert_eq!(inner.parent_span_id, request_span.span_id, "{name}");
        assert!(inner.start_time_unix_nano >= request_span.start_time_unix_nano, "{name}");
        assert!(inner.end_time_unix_nano <= request_span.end_time_unix_nano, "{name}");
    }
    // What is filed later is no part of that request.
    let batch = span(&collector, "batch", None);
    let partition = span(&collector, "partition", None);
    assert_ne!(hex(&batch.trace_id), TRACE);
    assert_eq!((&partition.trace_id, &partition.parent_span_id), (&batch.trace_id, &batch.span_id));
    let counted = ["weir.events", "weir.partitions", "weir.quarantined_lines"];
    assert_eq!(counted.map(|key| number(&batch.attributes, key)), [1, 1, 0]);
    assert_eq!(number(&partition.attributes, "weir.lines"), 1);

    let calls = collector.calls();
    let secret = weir.credentials.split_once(':').unwrap().1;
    for call in &calls {
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(call.headers["content-type"], "application/x-protobuf");
        assert_eq!(call.headers["api-key"], "k 1");
        assert_eq!(service(call), "weir");
        let of_program = request(call).resource_spans[0].resource.clone().unwrap().attributes;
        assert_eq!(text(&of_program, "deployment.environment"), "test");
        let text = String::from_utf8_lossy(&call.body);
        for private in ["private", "demo", secret, &crate::harness::basic(&weir.credentials)] {
            assert!(!text.contains(private), "{private} is sent: {text}");
        }
    }
}

#[test]
fn a_request_that_fails_is_marked_as_failed_and_one_without_a_caller_begins_a_trace() {
    let collector = collector();
    let mut weir = weir(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/own", collector.url())),
        ("OTEL_SERVICE_NAME", "mine"),
    ]);
    weir.request("GET", None, "/no/such", &[("traceparent", "made up")], b"");
    let request = span(&collector, "request", None);
    assert!(request.parent_span_id.is_empty() && !failed(&request), "{request:?}");
    assert_eq!(number(&request.attributes, "http.response.status_code"), 404);
    assert!(collector.calls().iter().all(|call| call.path == "/own"));
    assert_eq!(service(&collector.calls()[0]), "mine");

    weir.stop("-TERM");
    weir.options = vec!["--keep-free".to_owned(), "1000PiB".to_owned()];
    weir.restart();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let answer = weir.post_with("/button/click", click("s", "b"), &[("traceparent", &traceparent)]);
    assert_eq!(answer.status, 503);
    assert!(failed(&span(&collector, "request", Some(TRACE))));
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
    assert!(spans(&collector.calls()).iter().all(|span| hex(&span.trace_id) != "1".repeat(32)));
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
fn a_collector_that_takes_nothing_holds_up_no_request_and_is_reported_once() {
    // It accepts connections, as the system does for it, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let failing = StubAws::start(|_| (503, Vec::new()));
    for endpoint in ["http://127.0.0.1:1", &silent, &failing.url()] {
        let mut weir =
            weir(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]);
        let told = |weir: &Weir| weir.log().matches("traces are dropped").count();
        eventually("it is reported", || {
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
fn variables_that_cannot_be_used_are_reported_and_the_server_runs_without_traces() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://secret@collector"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5s"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such"),
    ] {
        let usable = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            (name, value),
        ];
        let weir = weir(&usable);
        assert_eq!(weir.get("/health").status, 200);
        eventually("it is reported", || weir.log().contains("there are no traces"));
        let log = weir.log();
        assert_eq!(log.matches("there are no traces").count(), 1, "{log}");
        assert!(log.contains(name.trim_end_matches("_ARG")) && !log.contains("secret"), "{log}");
    }
}

#[test]
fn a_share_of_the_traces_is_kept_where_the_sampler_says_so() {
    let collector = collector();
    let mut weir = weir(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
    ]);
    // The last half of a trace's id decides: below the ratio, or above it.
    for (trace, flags) in
        [("00000000000000010000000000000001", "00"), ("0000000000000001ffffffffffffffff", "01")]
    {
        let traceparent = format!("00-{trace}-{CALLER}-{flags}");
        weir.post_with("/button/click", click("s", "b"), &[("traceparent", &traceparent)]);
    }
    weir.stop("-TERM");
    let kept: Vec<String> = spans(&collector.calls())
        .into_iter()
        .filter(|span| span.name == "request" && hex(&span.parent_span_id) == CALLER)
        .map(|span| hex(&span.trace_id))
        .collect();
    assert_eq!(kept, ["00000000000000010000000000000001"]);
}

#[test]
fn headers_that_cannot_be_used_are_not_revealed() {
    let collector = collector();
    let mut weir = weir(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret,a b=secret,api-key=k1"),
    ]);
    weir.post("/button/click", click("s", "b"));
    span(&collector, "request", None);
    assert_eq!(collector.calls()[0].headers["api-key"], "k1");
    weir.stop("-TERM");
    assert!(!weir.log().contains("secret"), "{}", weir.log());
}

/// Puts TLS in front of a collector, with a certificate of a new authority, whose own is written to this file.
fn with_tls(collector: &StubAws, authority: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut of_authority = rcgen::CertificateParams::new([]).unwrap();
    of_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(authority, of_authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(of_authority, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let own =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let behind = collector.url().trim_start_matches("http://").to_owned();
    thread::spawn(move || {
        let serve = async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (outside, _) = listener.accept().await.unwrap();
                let (tls, behind) = (tls.clone(), behind.clone());
                tokio::spawn(async move {
                    // A client that does not trust this certificate breaks off.
                    let Ok(mut outside) = tls.accept(outside).await else { return };
                    let mut inside = tokio::net::TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
    });
    url
}

#[test]
fn a_collector_with_tls_is_reached_by_its_own_authority_and_never_without_trust() {
    let collector = collector();
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own.pem"), folder.path().join("other.pem"));
    with_tls(&collector, &other);
    let url = with_tls(&collector, &own);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let (own, other) = (own.to_str().unwrap(), other.to_str().unwrap());

    for untrusted in [("OTEL_EXPORTER_OTLP_CERTIFICATE", other), ("SSL_CERT_FILE", other)] {
        let mut weir = weir(&[endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"), untrusted]);
        assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
        eventually("it is logged", || weir.log().contains("traces are dropped"));
        assert!(weir.log().contains("certificate"), "{}", weir.log());
        assert_eq!(weir.stop("-TERM"), Some(0));
        assert_eq!(collector.calls().len(), 0, "{untrusted:?}");
    }
    for (trace, trusted) in [
        (TRACE, ("OTEL_EXPORTER_OTLP_CERTIFICATE", own)),
        ("11111111111111111111111111111111", ("SSL_CERT_FILE", own)),
    ] {
        let weir = weir(&[endpoint, trusted]);
        let traceparent = format!("00-{trace}-{CALLER}-01");
        weir.post_with("/button/click", click("s", "b"), &[("traceparent", &traceparent)]);
        span(&collector, "request", Some(trace));
    }
}
