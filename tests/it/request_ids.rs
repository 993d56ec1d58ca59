//! Every request has an id: its answer, its error and its log lines tell which one, and no client chooses it.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use crate::harness::{
    self, Answer, Value, Weir, click, eventually, json,
    wire::{Wire, head},
};

/// The id of an answer, which is a UUIDv7.
fn id(answer: &Answer) -> String {
    let id = answer.header("x-request-id").unwrap_or_else(|| panic!("no id: {answer:?}")).to_owned();
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
    assert!(parts[2].starts_with('7'), "{id}");
    id
}

/// Also asserts that a page in a browser may read it.
fn shown(answer: &Answer) -> String {
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
    assert!(exposed.split(',').any(|name| name.trim() == "x-request-id"), "{answer:?}");
    id(answer)
}

#[test]
fn every_answer_has_an_id_of_its_own() {
    let weir = Weir::start();
    let page = [("origin", "https://page.example")];
    let preflight = [page[0], ("access-control-request-method", "POST")];
    let answers = [
        weir.post_with("/button/click", click("s1", "abc"), &page),
        weir.post_with("/button/click", click("s1", "abc"), &page),
        weir.post_with("/events", "{", &page),
        weir.request("GET", Some(&weir.credentials), "/counts", &page, b""),
        weir.request("GET", None, "/counts", &page, b""),
        weir.request("GET", None, "/health", &page, b""),
        weir.request("GET", None, "/openapi.json", &page, b""),
        weir.request("GET", None, "/no/such", &page, b""),
        weir.request("DELETE", None, "/events", &page, b""),
    ];
    let mut ids: BTreeSet<String> = answers.iter().map(shown).collect();
    ids.insert(id(&weir.request("OPTIONS", None, "/events", &preflight, b"")));
    ids.insert(id(&weir.request("HEAD", None, "/health", &[], b"")));
    assert_eq!(ids.len(), answers.len() + 2, "{ids:?}");
}

#[test]
fn an_error_says_in_its_details_which_request_it_was() {
    let weir = Weir::start();
    let errors = [
        weir.post("/button/click", "{}"),
        weir.post("/events", "[]"),
        weir.request("GET", None, "/counts", &[], b""),
        weir.get("/counts/none"),
        weir.get("/no/such"),
        weir.request("PUT", None, "/events", &[], b""),
    ];
    let mut refused = 0;
    for answer in errors.iter().filter(|answer| answer.status >= 400) {
        let expected = format!("urn:weir:request:{}", id(answer));
        assert_eq!(answer.json()["instance"], expected, "{}", answer.text());
        refused += 1;
    }
    assert!(refused >= 5, "{errors:?}");
}

#[test]
fn no_client_chooses_the_id() {
    let weir = Weir::start();
    let theirs = "01910000-0000-7000-8000-000000000001";
    let instance = format!("urn:weir:request:{theirs}");
    for name in ["x-request-id", "x-amzn-requestid", "request-id", "x-correlation-id"] {
        let answer = weir.post_with("/events", json!({"instance": instance}).to_string(), &[(name, theirs)]);
        assert_ne!(id(&answer), theirs, "{name}");
        assert!(!answer.text().contains(theirs), "{}", answer.text());
    }
    assert!(!weir.log().contains(theirs));
}

#[test]
fn a_line_of_the_log_has_the_id_of_its_request() {
    // Nothing is ever free enough: events are refused, and that is logged.
    let weir = Weir::start_with(&["--keep-free", "1000PiB"]);
    let answer = weir.post("/button/click", click("s1", "abc"));
    answer.problem(503, "not-stored");
    let id = id(&answer);
    eventually("the refusal is logged", || weir.log().contains("events were not stored"));
    let log = weir.log();
    let line = log.lines().find(|line| line.contains("events were not stored")).unwrap();
    assert!(line.contains(&format!("request_id=\"{id}\"")), "{line}");
    // What happens on other threads for a request is of that request, too.
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("request_id")).collect();
    assert!(lines.iter().all(|line| line.contains(&id)), "{lines:?}");
}

#[test]
fn a_client_turned_away_from_a_full_server_gets_an_id_too() {
    let weir = Weir::start_with(&["--connections", "1"]);
    let connect = || TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
    // A request that is under way: its body does not end.
    let mut busy = connect();
    let head = format!(
        "POST /events HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
        harness::basic(&weir.credentials)
    );
    busy.write_all(head.as_bytes()).unwrap();
    // The server asks for the body: the request is under way.
    let mut asked = [0; 12];
    busy.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");
    let answer = harness::try_request(&weir.url(), "GET", None, "/health", &[], b"").unwrap();
    let problem = answer.problem(503, "busy");
    assert_eq!(problem["instance"], format!("urn:weir:request:{}", id(&answer)));
}

/// Whether the description has this status for the operation, or for what is no operation.
fn describes(document: &Value, method: &str, path: &str, status: u16) -> bool {
    let operation = &document["paths"][path][method.to_lowercase()];
    let responses =
        if operation.is_object() { &operation["responses"] } else { &document["components"]["responses"] };
    responses.as_object().unwrap().iter().any(|(name, response)| {
        let shared =
            response["$ref"].as_str().and_then(|reference| document.pointer(reference.strip_prefix('#')?));
        let response = shared.unwrap_or(response);
        assert!(response["headers"]["X-Request-Id"].is_object(), "{method} {path} {name}");
        let examples = response["content"]["application/problem+json"]["examples"].as_object();
        let mut examples =
            examples.into_iter().flatten().map(|(_, example)| example["value"]["status"].as_u64());
        *name == status.to_string() || examples.any(|example| example == Some(status.into()))
    })
}

#[test]
fn every_refusal_of_a_malformed_request_is_described_and_has_an_id_in_answer_and_log() {
    const CLICKS: &str = "/button/click";
    let mut weir = Weir::start();
    weir.stop("-TERM");
    weir.run_by = ["env", "WEIR_LOG=debug"].map(str::to_owned).into();
    weir.restart();
    let document = weir.request("GET", None, "/openapi.json", &[], b"").json();
    let post = |headers: &str, body: &str| format!("{}{body}", head(&weir, "POST", headers));
    let filler = "x".repeat(200_000);
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases: Vec<(&str, &str, String, u16)> = vec![
        // Bytes that are no request at all.
        ("GET", "/nothing", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        ("GET", "/health", "GET /health\r\n\r\n".to_owned(), 400),
        ("GET", "/health", "GET /health HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET", "/health", "GET  /health HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET", "/health", "GET /health HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        ("GET", "/health", "GET /health HTTP/1.1\r\na: b\u{0}c\r\n\r\n".to_owned(), 400),
        ("POST", CLICKS, post("content-length: x\r\n", ""), 400),
        ("POST", CLICKS, post("content-length: 1\r\ncontent-length: 2\r\n", "a"), 400),
        ("POST", CLICKS, post("transfer-encoding: rot13\r\n", "a"), 400),
        // Heads that are too large.
        ("GET", "/health", format!("GET /health HTTP/1.1\r\na: {filler}\r\n\r\n"), 431),
        ("GET", "/health", format!("GET /health?{filler} HTTP/1.1\r\n\r\n"), 431),
        ("GET", "/health", format!("GET /health HTTP/1.1\r\n{many}\r\n"), 431),
        ("GET", "/health", format!("GET /health HTTP/1.1\r\na: {}\r\n\r\n", filler.repeat(10)), 431),
        // Requests that the routes refuse.
        ("GET", "/no/such", "GET /no/such HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 404),
        ("PUT", "/events", "PUT /events HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(), 405),
        ("BREW", "/health", "BREW /health HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405),
        ("POST", CLICKS, post("transfer-encoding: chunked\r\n", "zz\r\n"), 400),
        ("POST", CLICKS, post("content-length: 99\r\n", "cut"), 400),
        ("POST", CLICKS, post("transfer-encoding: chunked\r\n", "5\r\ncut"), 400),
        ("POST", CLICKS, post(&format!("content-length: {}\r\n", 100 << 20), ""), 413),
        ("POST", CLICKS, post("content-encoding: br\r\ncontent-length: 1\r\n", "a"), 415),
        ("POST", CLICKS, post("content-encoding: gzip\r\ncontent-length: 1\r\n", "a"), 422),
        ("POST", "/events", "POST /events HTTP/1.1\r\ncontent-length: 2\r\n\r\n[]".to_owned(), 401),
    ];
    let mut ids = BTreeSet::new();
    for (method, path, sent, status) in &cases {
        let start = sent.get(..60).unwrap_or(sent);
        let mut wire = Wire::to(&weir);
        // The server may have refused it before all of it is sent.
        wire.takes(sent);
        wire.end_sending();
        let answer = wire.answer();
        assert_eq!(answer.status, *status, "{start:?} {}", answer.text());
        assert!(describes(&document, method, path, *status), "{method} {path} {status} is not described");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{start:?}");
        assert!(answer.header("date").is_some(), "{start:?}");
        assert_eq!(answer.json()["status"], *status);
        assert_eq!(answer.json()["instance"], format!("urn:weir:request:{}", shown(&answer)), "{start:?}");
        assert!(ids.insert(id(&answer)), "{start:?}");
        if *status == 431 || sent.starts_with('\u{1}') {
            eventually("the refusal is logged", || {
                let log = weir.log();
                let mut lines = log.lines().filter(|line| line.contains(&id(&answer)));
                lines.any(|line| line.contains("a request that cannot be read was refused"))
            });
        }
    }
    // A request that cannot be read may follow one that can, on the same connection.
    let mut wire = Wire::to(&weir);
    wire.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n\u{1}\r\n\r\n");
    assert_eq!(wire.answer().status, 200);
    assert!(ids.insert(id(&wire.answer())));
    assert_eq!(weir.request("GET", None, "/health", &[], b"").status, 200);
}
