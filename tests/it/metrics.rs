//! `/metrics` reports the server's state to its operator only, and never a user.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use crate::harness::{self, Answer, Weir, click, eventually, json, path_with_venv, try_request};

/// The samples by name and labels, as they are written.
fn samples(answer: &Answer) -> BTreeMap<String, f64> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.text();
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn metrics(weir: &Weir) -> BTreeMap<String, f64> {
    samples(&weir.request("GET", None, "/metrics", &[], b""))
}

/// Returns one sample; 0 if it was never counted.
fn metric(weir: &Weir, name: &str) -> f64 {
    metrics(weir).get(name).copied().unwrap_or_default()
}

#[test]
fn events_are_counted_by_type_and_fate_and_never_by_user() {
    let weir = Weir::start();
    let credentials = weir.user("ethan");
    let post = |body: &str| weir.post_as(&credentials, "/events", body, &[]).status;
    let with_id = json!([
        {"event_type": "button_click", "session_id": "s1", "button_id": "abc", "event_id": "e1"},
        {"event_type": "button_click", "session_id": "s1", "button_id": "abc"},
    ]);
    assert_eq!(post(&with_id.to_string()), 200);
    assert_eq!(post(&with_id.to_string()), 200);
    assert_eq!(post(r#"{"event_type": "button_click", "session_id": 7}"#), 422);
    assert_eq!(post(r#"{"event_type": "of_their_own"}"#), 422);
    assert_eq!(post("{"), 422);

    let found = metrics(&weir);
    let events = |event_type: &str, outcome: &str| {
        found[&format!("weir_events_total{{event_type=\"{event_type}\",outcome=\"{outcome}\"}}")]
    };
    let clicks = ["accepted", "duplicate", "rejected", "not_stored"].map(|fate| events("button_click", fate));
    assert_eq!(clicks.map(|count| count.to_string()), ["3", "1", "1", "0"]);
    assert_eq!(events("", "rejected").to_string(), "2", "a type that a client made up is no label");
    let bytes = 2 * with_id.to_string().len();
    assert!(found["weir_body_bytes_total"] > f64::from(u32::try_from(bytes).unwrap()));
    let text = weir.request("GET", None, "/metrics", &[], b"").text();
    for private in ["ethan", "demo", "abc", "of_their_own", "s1", "e1"] {
        assert!(!text.contains(&format!("\"{private}\"")), "{private} is in the metrics: {text}");
    }
}

#[test]
fn metrics_are_in_the_format_that_is_asked_for_and_a_parser_of_each_finds_the_same() {
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let weir = Weir::start();
    weir.post("/button/click", click("s1", "abc"));
    weir.wait_until_filed();
    let ask = |accept: Option<&str>| {
        let headers: Vec<(&str, &str)> = accept.iter().map(|accept| ("accept", *accept)).collect();
        let answer = weir.request("GET", None, "/metrics", &headers, b"");
        (answer.header("content-type").unwrap().to_owned(), answer.text())
    };
    for (accept, expected) in [
        (None, TEXT),
        (Some("*/*"), TEXT),
        (Some("text/plain;version=0.0.4"), TEXT),
        (
            Some("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"),
            OPEN,
        ),
        (Some("application/openmetrics-text"), OPEN),
    ] {
        assert_eq!(ask(accept).0, expected, "{accept:?}");
    }
    // Prints each family and its samples, without numbers that change from one moment to the next.
    let parse = |parser: &str, text: &str| {
        let script = format!(
            "import sys\n\
             from {parser} import text_string_to_metric_families as parse\n\
             for family in parse(sys.stdin.read()):\n    \
                 assert family.documentation and family.type != 'unknown', family\n    \
                 for sample in family.samples: print(sample.name, sorted(sample.labels.items()))\n"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .env("PATH", path_with_venv())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{parser} refuses {text}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    // Asked once before, so that asking is counted in both.
    let open = parse("prometheus_client.openmetrics.parser", &ask(Some(OPEN)).1);
    let text = parse("prometheus_client.parser", &ask(Some(TEXT)).1);
    assert!(open.iter().any(|sample| sample.starts_with("weir_events_total ")), "{open:?}");
    assert!(open.iter().any(|sample| sample.starts_with("weir_build_info ")), "{open:?}");
    assert_eq!(open, text);
}

#[test]
fn requests_are_counted_by_route_and_timed() {
    let weir = Weir::start();
    weir.get("/counts/button_click");
    weir.get("/counts/page_view");
    weir.get("/counts/no_such");
    weir.get("/no/such/path");
    weir.request("BREW", None, "/counts", &[], b"");
    weir.post("/button/click", click("s1", "abc"));
    let found = metrics(&weir);
    let requests = |method: &str, route: &str, status: &str| {
        let name =
            format!("weir_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}");
        found.get(&name).map_or("none".to_owned(), ToString::to_string)
    };
    assert_eq!(requests("GET", "/counts/{event_type}", "2xx"), "2", "{found:#?}");
    assert_eq!(requests("GET", "/counts/{event_type}", "4xx"), "1");
    assert_eq!(requests("GET", "", "4xx"), "1");
    assert_eq!(requests("other", "/counts", "4xx"), "1");
    assert_eq!(requests("POST", "/button/click", "2xx"), "1");
    let timed = r#"weir_request_duration_seconds_count{route="/counts/{event_type}"}"#;
    assert_eq!(found[timed].to_string(), "3");
    let last = r#"weir_request_duration_seconds_bucket{le="+Inf",route="/counts/{event_type}"}"#;
    assert_eq!(found[last].to_string(), "3", "{found:#?}");
}

#[test]
fn filing_and_what_waits_for_it_can_be_watched() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    weir.post("/button/click", click("s1", "abc"));
    eventually("the event gets older", || metric(&weir, "weir_oldest_unfiled_event_age_seconds") > 0.2);
    assert_eq!(metric(&weir, "weir_batches_filed_total").to_string(), "0");
    let counts = weir.get("/counts").json();
    assert_eq!(counts["counts"][0]["settled"], 0, "{counts}");
    assert_eq!(metric(&weir, "weir_counts_under_way").to_string(), "1");

    // A start flushes what an earlier one left, at the latest after the time to flush.
    weir.stop("-TERM");
    weir.options = vec!["--flush-every".to_owned(), "50ms".to_owned()];
    weir.restart();
    weir.post("/button/click", click("s1", "abc"));
    eventually("the batch is filed", || metric(&weir, "weir_batches_filed_total") >= 1.0);
    eventually("nothing waits", || metric(&weir, "weir_oldest_unfiled_event_age_seconds") == 0.0);
    weir.get("/counts");
    let found = metrics(&weir);
    for zero in ["weir_counts_under_way", "weir_counts_missing", "weir_batches_failed_total"] {
        assert_eq!(found[zero].to_string(), "0", "{zero}");
    }
    assert_eq!(found["weir_quarantined_lines_total"].to_string(), "0");
    for some in ["weir_disk_free_bytes", "process_start_time_seconds", "process_resident_memory_bytes"] {
        assert!(found[some] > 0.0, "{some}");
    }
    assert!(found.keys().any(|name| name.starts_with("weir_build_info{version=")), "{found:#?}");
}

#[test]
fn a_batch_that_is_gone_is_counted_as_given_up() {
    let mut weir = Weir::start();
    weir.post("/button/click", click("s1", "abc"));
    weir.wait_until_filed();
    weir.stop("-TERM");
    // What the next start finds: a batch that was not noted as filed, and whose file is gone.
    let store = rusqlite::Connection::open(weir.data().join("events.db")).unwrap();
    let name = weir.files("raw").pop().unwrap();
    let last = "INSERT INTO batches (first, last, raw_key, written) VALUES (1, 1, ?1, 1)";
    store.execute(last, [&name]).unwrap();
    drop(store);
    std::fs::remove_file(weir.data().join("raw").join(name)).unwrap();
    weir.restart();
    eventually("it is given up", || metric(&weir, "weir_batches_given_up_total") >= 1.0);
}

#[test]
fn who_is_not_let_in_is_counted() {
    let weir = Weir::start_with(&["--requests-per-second", "1", "--failed-sign-ins", "1"]);
    let wrong = "demo:a-chosen-password";
    let guess = || weir.request("GET", Some(wrong), "/counts", &[], b"").status;
    assert_eq!(guess(), 401);
    eventually("guesses are put off", || guess() == 429);
    eventually("calls are put off", || weir.get("/counts").status == 429);
    let found = metrics(&weir);
    assert!(found["weir_sign_in_failures_total"] >= 1.0);
    for limit in ["failed_sign_ins", "requests_per_second"] {
        assert!(found[&format!("weir_rate_limited_total{{limit=\"{limit}\"}}")] >= 1.0, "{limit}");
    }
}

#[test]
fn connections_are_counted_and_those_that_find_no_room() {
    let weir = Weir::start_with(&["--connections", "1", "--metrics-listen", "127.0.0.1:0"]);
    let alone = own_address(&weir);
    let ask = || samples(&try_request(&alone, "GET", None, "/metrics", &[], b"").unwrap());
    let connect = || TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
    let idle = connect();
    eventually("it is counted", || ask()["weir_connections"].to_string() == "1");
    // The idle one makes room for one with a request under way; the next one finds none.
    let mut busy = connect();
    let head = format!(
        "POST /events HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
        harness::basic(&weir.credentials)
    );
    busy.write_all(head.as_bytes()).unwrap();
    busy.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(weir.request("GET", None, "/health", &[], b"").status, 503);
    let found = ask();
    let counted = ["weir_connections_closed_for_room_total", "weir_connections_refused_total"];
    assert_eq!(counted.map(|name| found[name].to_string()), ["1", "1"]);
    drop((idle, busy));
    eventually("they are gone", || ask()["weir_connections"].to_string() == "0");
}

/// Where a server has its metrics, if that is an address of their own.
fn own_address(weir: &Weir) -> String {
    eventually("it says where", || weir.log().contains("metrics are at "));
    let log = weir.log();
    let url = log.split("metrics are at ").nth(1).unwrap().split("/metrics").next().unwrap();
    url.to_owned()
}

#[test]
fn no_client_beyond_this_machine_reads_metrics() {
    let weir = Weir::start();
    assert_eq!(weir.request("GET", None, "/metrics", &[], b"").status, 200);
    for header in [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("via", "1.1 proxy"),
        ("true-client-ip", "127.0.0.1"),
        ("x-forwarded-port", "443"),
        ("cdn-loop", "cloudflare"),
        ("x-of-a-proxy-that-is-not-known-yet", "1"),
        ("cookie", "a=b"),
        ("origin", "http://127.0.0.1:8080"),
        ("host", "weir.example"),
    ] {
        // With good credentials, too: a key is for events, and not for the server's operator.
        let answer = weir.request("GET", Some(&weir.credentials), "/metrics", &[header], b"");
        assert_eq!(answer.problem(404, "not-found")["title"], "No such path", "{header:?}");
    }
    assert_eq!(weir.post("/metrics", "").status, 404);
    let from_here = weir.request("GET", None, "/metrics", &[], b"");
    assert_eq!(from_here.header("access-control-allow-origin"), None, "no page may read it");
}

#[test]
fn metrics_with_an_address_of_their_own_are_nowhere_else() {
    let weir = Weir::start_with(&["--metrics-listen", "127.0.0.1:0"]);
    let alone = own_address(&weir);
    weir.get("/metrics").problem(404, "not-found");
    let forwarded = [("x-forwarded-for", "192.0.2.1")];
    let answer = try_request(&alone, "GET", None, "/metrics", &forwarded, b"").unwrap();
    assert!(samples(&answer).contains_key("weir_connections"));
    for path in ["/events", "/health", "/counts"] {
        assert_eq!(try_request(&alone, "GET", None, path, &[], b"").unwrap().status, 404, "{path}");
    }
}

#[test]
fn health_can_be_asked_by_the_program_itself() {
    let mut weir = Weir::start();
    let url = weir.url();
    assert!(weir.run(&["health", "--to", &url]).status.success());
    weir.stop("-TERM");
    let unwell = weir.run(&["health", "--to", &url]);
    assert_eq!(unwell.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unwell.stderr).into_owned();
    assert!(said.contains("does the server run?"), "{said}");
    weir.options = vec!["--keep-free".to_owned(), "1000PiB".to_owned()];
    weir.restart();
    let unwell = weir.run(&["health", "--to", &weir.url()]);
    assert_eq!(unwell.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unwell.stderr).into_owned();
    assert!(said.contains("503") && said.contains("disk is almost full"), "{said}");
}
