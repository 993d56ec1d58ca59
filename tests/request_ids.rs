//! Every request has an id: its answer, its error and its log lines tell which one, and no client chooses it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use harness::{Answer, Weir, click, eventually, json};

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
fn who_is_turned_away_from_a_full_server_is_told_an_id_too() {
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
