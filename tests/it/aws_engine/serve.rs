//! `weir serve --engine aws`: the collector and the authorizer in a process of one's own. It files nothing: batches are
//! filed by the fan-out function, or by `weir replay`.

use std::{collections::BTreeMap, io::Write, net::TcpStream, thread, time::Duration};

use super::{
    emulator::{IDS, LAKE, RAW},
    on_aws::{OnAws, Server},
};
use crate::harness::{Value, basic, click, eventually, gunzip, json};

/// The lines of all batches, by event.
fn lines_in_raw(aws: &OnAws) -> BTreeMap<String, Value> {
    let mut lines = BTreeMap::new();
    for bytes in aws.objects(RAW, "raw/").values() {
        let text = if bytes.starts_with(&[0x1f, 0x8b]) {
            gunzip(bytes)
        } else {
            String::from_utf8_lossy(bytes).into()
        };
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let id = line["event_id"].as_str().unwrap().to_owned();
            assert!(lines.insert(id, line).is_none(), "an event is there twice");
        }
    }
    lines
}

#[test]
fn what_is_acknowledged_lies_in_raw_once_and_is_counted_at_once() {
    let aws = OnAws::start();
    let server = aws.serve(&[]);
    let (ann, bob) = (aws.user("ann"), aws.user("bob"));
    for n in 1..=3 {
        let posted = server.post(&ann, "/button/click", click("s", "abc"));
        assert_eq!((posted.status, posted.json()), (200, json!({"message": "Received"})));
        assert_eq!(server.get(&ann, "/button/click/count?button_id=abc").json(), json!({"count": n}));
    }
    // Its metrics are those of the embedded engine, but for filing, which is done elsewhere.
    let metrics = server.get(&ann, "/metrics").text();
    let accepted = r#"weir_events_total{event_type="button_click",outcome="accepted"} 3"#;
    assert!(metrics.contains(accepted) && !metrics.contains("weir_batches_filed"), "{metrics}");
    let event = |n: usize| match n % 2 {
        0 => {
            json!({"event_type": "button_click", "session_id": "s", "button_id": "abc", "event_id": format!("e-{n}")})
        }
        _ => json!({"event_type": "page_view", "session_id": "s", "url": "u", "event_id": format!("e-{n}")}),
    };
    let lines: String = (0..100).map(|n| event(n).to_string() + "\n").collect();
    let posted = server.post(&bob, "/events", &lines);
    assert_eq!(posted.status, 200, "{}", posted.text());
    // Sent again, they are what they were.
    let again = server.post(&bob, "/events", &lines);
    assert_eq!((again.status, &again.json()["duplicates"]), (200, &json!(100)));

    // Each sees what is theirs.
    assert_eq!(server.get(&bob, "/button/click/count?button_id=abc").json(), json!({"count": 50}));
    assert_eq!(server.get(&ann, "/web/page_view/count").json(), json!({"count": 0}));
    let keys = server.get(&ann, "/counts/button_click").json()["keys"].clone();
    assert_eq!(keys, json!([{"key": "abc", "count": 3}]));

    let lines = lines_in_raw(&aws);
    assert_eq!(lines.len(), 103);
    for n in 0..100 {
        let line = &lines[&format!("e-{n}")];
        assert_eq!((&line["username"], &line["event_type"]), (&json!("bob"), &event(n)["event_type"]));
    }
    assert_eq!(lines.values().filter(|line| line["username"] == "ann").count(), 3);
    assert!(aws.objects(LAKE, "").is_empty());
    let counts = server.get(&bob, "/counts/button_click").json();
    assert_eq!((&counts["total"], &counts["settled"]), (&json!(50), &json!(0)));
}

#[test]
fn an_access_key_does_what_it_allows_until_it_is_removed() {
    let aws = OnAws::start();
    let server = aws.serve(&[]);
    let ann = aws.user("ann");
    let key = |label, scope| {
        aws.output(&["user", "add", "ann", "--label", label, "--scope", scope]).trim().to_owned()
    };
    let (writer, reader) = (key("browser", "write"), key("board", "read"));
    let may = |who: &str| {
        let post = server.post(who, "/button/click", click("s", "b")).status;
        (post, server.get(who, "/counts").status)
    };
    assert_eq!((may(&ann), may(&writer), may(&reader)), ((200, 200), (200, 403), (403, 200)));
    server.get(&writer, "/counts").problem(403, "out-of-scope");

    for who in ["ann:wrong", "nobody:weir_x", "ann:", ":", "no colon"] {
        assert_eq!(may(who), (401, 401), "{who}");
    }
    let anonymous = server.request("GET", None, "/counts", &[], b"");
    anonymous.problem(401, "unauthorized");
    assert!(anonymous.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")));
    assert_eq!(server.request("GET", None, "/health", &[], b"").json(), json!({"status": "ok"}));

    aws.output(&["user", "remove", "ann", "--label", "browser"]);
    eventually("the access key is refused", || {
        server.post(&writer, "/button/click", click("s", "b")).status == 401
    });
    assert_eq!(may(&ann), (200, 200));
}

#[test]
fn what_is_refused_says_why_and_what_is_invalid_is_kept_as_it_was_sent() {
    let aws = OnAws::start();
    let server = aws.serve(&[]);
    let ann = aws.user("ann");
    server.get(&ann, "/nowhere").problem(404, "not-found");
    server.request("DELETE", Some(&ann), "/button/click", &[], b"").problem(405, "method-not-allowed");
    let encoded = [("content-encoding", "br")];
    server.request("POST", Some(&ann), "/button/click", &encoded, b"x").problem(415, "unsupported-encoding");
    assert!(lines_in_raw(&aws).is_empty());

    let sent = r#"{"session_id": "s", "button_id": 7 , "more":"é"}"#;
    let problem = server.post(&ann, "/button/click", sent).problem(422, "invalid-event");
    assert_eq!(problem["errors"][0]["path"], "/button_id");
    let lines = lines_in_raw(&aws);
    let [kept] = &lines.values().collect::<Vec<_>>()[..] else { panic!("{lines:?}") };
    assert_eq!((&kept["event_type"], &kept["username"]), (&json!("rejected"), &json!("ann")));
    assert_eq!((&kept["body"], &kept["claimed_type"]), (&json!(sent), &json!("button_click")));
    let counts = server.get(&ann, "/counts").json();
    assert_eq!(counts["rejected"]["total"], 1);
    assert_eq!(server.get(&ann, "/button/click/count").json(), json!({"count": 0}));
    let listed = server.get(&ann, "/rejected").json()["rejected"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["event"], &listed[0]["event_id"]), (&json!(sent), &kept["event_id"]));
    assert_eq!(server.get(&aws.user("bob"), "/rejected").json(), json!({"rejected": []}));
}

#[test]
fn a_client_that_goes_away_in_the_middle_can_send_again_and_counts_once() {
    let aws = OnAws::start();
    let server = aws.serve(&[]);
    let ann = aws.user("ann");
    // That they are known is so from here on.
    assert_eq!(server.get(&ann, "/button/click/count").json(), json!({"count": 0}));
    let is_left_in_the_middle = |id: &str| {
        let key =
            json!({"TableName": IDS, "ConsistentRead": true, "Key": {"id": {"S": format!("ann/{id}")}}});
        aws.emulator.call("DynamoDB_20120810.GetItem", &key)["Item"]["state"]["S"] == "claimed"
    };
    for n in 0..10 {
        let id = format!("e-{n}");
        let event = json!({"event_id": id, "session_id": "s", "button_id": "b"}).to_string();
        let mut connection = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
        let (who, length) = (basic(&ann), event.len());
        let request = format!(
            "POST /button/click HTTP/1.1\r\nhost: weir\r\nauthorization: {who}\r\ncontent-length: {length}\r\n\r\n{event}"
        );
        connection.write_all(request.as_bytes()).unwrap();
        // Any moment will do; these are spread over what a request takes.
        thread::sleep(Duration::from_millis(n * 2));
        drop(connection);
        // It would keep who sends it again waiting for half a minute.
        eventually("it is done", || !is_left_in_the_middle(&id));
        eventually("it is acknowledged", || server.post(&ann, "/button/click", &event).status == 200);
    }
    assert_eq!(server.get(&ann, "/button/click/count").json(), json!({"count": 10}));
    assert_eq!(lines_in_raw(&aws).len(), 10);
}

#[test]
fn no_log_holds_a_secret_or_what_a_client_sent() {
    const MARK: &str = "mark-of-a-stranger";
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[("WEIR_LOG", "trace")]);
    let event = json!({"event_id": MARK, "session_id": MARK, "button_id": MARK}).to_string();
    assert_eq!(server.post(&ann, "/button/click", event).status, 200);
    let count = server.get(&ann, &format!("/button/click/count?button_id={MARK}"));
    assert_eq!(count.json(), json!({"count": 1}));
    assert_eq!(server.get(&ann, "/counts/button_click").json()["total"], 1);
    for wrong in [format!("ann:{MARK}"), format!("ann:weir_{MARK}"), format!("{MARK}:weir_x")] {
        assert_eq!(server.get(&wrong, "/counts").status, 401);
    }
    let (_, log) = server.stop("-TERM");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "as much as may be is logged: {log}");
    let secret = ann.split_once(':').unwrap().1;
    for kept in [MARK, secret, &basic(&ann), "sha256$", "x-amz-"] {
        assert!(!log.contains(kept), "{kept}: {}", log.lines().find(|line| line.contains(kept)).unwrap());
    }
}

fn is_unhealthy(server: &Server) {
    let health = server.request("GET", None, "/health", &[], b"");
    health.problem(503, "unavailable");
    assert!(health.header("retry-after").is_some());
}

#[test]
fn nothing_is_acknowledged_that_the_stream_did_not_take() {
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[("WEIR_STREAM", "no-such-stream")]);
    let posted = server.post(&ann, "/button/click", click("s", "b"));
    posted.problem(503, "not-stored");
    assert!(posted.header("retry-after").is_some());
    assert_eq!(server.get(&ann, "/button/click/count").json(), json!({"count": 0}));
    is_unhealthy(&server);
}

#[test]
fn counts_that_cannot_be_raised_spoil_no_event() {
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[("WEIR_COUNTS_TABLE", "no-such-table")]);
    assert_eq!(server.post(&ann, "/button/click", click("s", "b")).json(), json!({"message": "Received"}));
    assert_eq!(lines_in_raw(&aws).len(), 1);
    assert!(server.get(&ann, "/button/click/count").status >= 500);
    is_unhealthy(&server);
}

#[test]
fn it_ends_on_a_signal_and_promises_no_filing() {
    let aws = OnAws::start();
    for signal in ["-TERM", "-INT"] {
        let (code, log) = aws.serve(&[]).stop(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopping") && !log.contains("filing"), "{log}");
    }
}

#[test]
fn requests_that_come_together_share_calls_and_each_gets_its_own_outcome() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 10;
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[]);
    let path = "/button/click/count?button_id=b";
    // How many of a kind were asked for, and how many calls that took.
    let asked = |kind: &str| -> [u64; 2] {
        let metrics = server.request("GET", None, "/metrics", &[], b"").text();
        ["requests", "calls"].map(|name| {
            let of = format!("weir_engine_{name}_total{{kind=\"{kind}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&of));
            line.unwrap_or_else(|| panic!("there is no {of} in {metrics}")).parse().unwrap()
        })
    };
    let mut rounds = 0;
    // What comes together is for chance to say.
    eventually("calls of each kind are shared", || {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (server, ann) = (&server, &ann);
                scope.spawn(move || {
                    for n in 1..=EACH {
                        let event = click(&format!("{rounds}-{writer}-{n}"), "b");
                        assert_eq!(server.post(ann, "/button/click", event).status, 200);
                        let count = server.get(ann, path).json()["count"].as_u64().unwrap();
                        assert!(
                            count >= rounds * WRITERS * EACH + n,
                            "{count}: what was acknowledged is counted"
                        );
                    }
                });
            }
        });
        rounds += 1;
        let events = rounds * WRITERS * EACH;
        ["append", "increment", "read"].into_iter().zip([events, 2 * events, events]).all(
            |(kind, expected)| {
                let [requests, calls] = asked(kind);
                assert!(
                    requests == expected && (1..=requests).contains(&calls),
                    "{kind}: {calls} for {requests}"
                );
                calls < requests
            },
        )
    });
    let events = rounds * WRITERS * EACH;
    assert_eq!(server.get(&ann, path).json(), json!({"count": events}));
    assert_eq!(server.get(&ann, "/counts").json()["counts"][0]["total"], events);
    assert_eq!(lines_in_raw(&aws).len() as u64, events);
    let guide = include_str!("../../../docs/OPERATE.md");
    assert!(guide.contains("`weir_engine_requests_total`"), "docs/OPERATE.md names the requests");
    assert!(guide.contains("`weir_engine_calls_total`"), "docs/OPERATE.md names the calls");
}
