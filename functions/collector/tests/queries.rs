//! Queries over HTTP on AWS: the real program on a Runtime API, with a local AWS and a stand-in for Athena.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "queries/accepted.rs"]
mod accepted;
#[path = "../../../crates/aws/tests/athena/mod.rs"]
mod athena;
#[path = "queries/bounds.rs"]
mod bounds;
#[path = "../../../crates/aws/tests/emulator/process.rs"]
mod emulator;

use std::{io::Write, thread, time::Duration};

use athena::StandIn;
use emulator::{COUNTS, IDS, LAKE, LATEST, Process, RAW, STREAM, USERS};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_core::{BatchKey, Clock, Hour, Partition, SystemClock};
use weir_lambda::testing::{Call, Function, Outcome, StubAws};

const PROGRAM: &str = env!("CARGO_BIN_EXE_collector");

const WORKGROUP: &str = "weir-queries";

/// The variables of a collector with queries, whose calls go to an endpoint.
fn variables(endpoint: &str) -> [(&str, &str); 11] {
    [
        ("WEIR_STREAM", STREAM),
        ("WEIR_COUNTS_TABLE", COUNTS),
        ("WEIR_IDS_TABLE", IDS),
        ("WEIR_LATEST_TABLE", LATEST),
        ("WEIR_USERS_TABLE", USERS),
        ("WEIR_RAW_BUCKET", RAW),
        ("WEIR_LAKE_BUCKET", LAKE),
        ("WEIR_QUERY_WORKGROUP", WORKGROUP),
        ("WEIR_GLUE_DATABASE", "weir"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("WEIR_LOG", "info"),
    ]
}

/// A request as API Gateway sends it.
fn event(user: &str, scope: &str, method: &str, path: &str, accept: &str, body: &str) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {"content-type": "text/plain", "accept": accept, "authorization": "Basic c2VjcmV0OnNlY3JldA=="},
        "requestContext": {
            "accountId": "123456789012", "stage": "$default",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "authorizer": {"lambda": {"username": user, "scope": scope, "access_key": "desk"}},
        },
        "body": body, "isBase64Encoded": false,
    })
}

/// What must never reach another user: a text in each of eve's events.
const OF_EVE: &str = "eves-own-words";

struct Weir {
    function: Function,
    aws: Process,
    athena: StandIn,
}

impl Weir {
    fn start() -> Self {
        let aws = Process::start();
        let athena = StandIn::start(&aws.endpoint, LAKE);
        let function = Function::start(PROGRAM, &variables(&athena.endpoint));
        Self { function, aws, athena }
    }

    /// Puts an event into the lake, as the fan-out does.
    fn file(&self, user: &str, event_type: &str, hour: Hour, more: &Value) {
        self.file_all(user, event_type, hour, std::slice::from_ref(more));
    }

    /// Puts events into the lake, as one object.
    fn file_all(&self, user: &str, event_type: &str, hour: Hour, events: &[Value]) {
        let [username, event_type] = [user, event_type];
        let partition =
            Partition { username: username.parse().unwrap(), event_type: event_type.parse().unwrap(), hour };
        let millis = hour.start().millis();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for more in events {
            let mut event = json!({"username": user, "event_type": event_type, "event_id": "e1", "received_at": millis, "time": millis + 7});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            writeln!(gzip, "{event}").unwrap();
        }
        let object = partition.object(&BatchKey::new("raw/a.json.gz").id()).replace('=', "%3D");
        ureq::put(format!("{}/{LAKE}/{object}", self.aws.endpoint))
            .send(&gzip.finish().unwrap()[..])
            .unwrap();
    }

    /// Asks as API Gateway does.
    fn ask(&mut self, user: &str, method: &str, path: &str, accept: &str, body: &str) -> Value {
        match self.function.invoke(event(user, "read", method, path, accept, body)) {
            Outcome::Answer(answer) => answer,
            other => panic!("{other:?}: {}", self.function.told()),
        }
    }

    /// Starts a query, and returns the path of its answer; or the problem.
    fn start_query(&mut self, user: &str, path: &str, sql: &str) -> Result<String, Value> {
        let answer = self.ask(user, "POST", path, "*/*", sql);
        if answer["statusCode"] == 202 {
            let (body, headers) = (body(&answer), &answer["headers"]);
            assert_eq!((&headers["location"], &headers["retry-after"]), (&body["answer"], &json!("1")));
            return Ok(body["answer"].as_str().unwrap().to_owned());
        }
        Err(answer)
    }

    /// Waits until a query has ended.
    fn wait(&mut self, user: &str, path: &str, accept: &str) -> Value {
        for _ in 0..3000 {
            let answer = self.ask(user, "GET", path, accept, "");
            if answer["statusCode"] != 202 {
                return answer;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the query does not end");
    }

    fn answer(&mut self, user: &str, path: &str, sql: &str, accept: &str) -> Value {
        match self.start_query(user, path, sql) {
            Ok(path) => self.wait(user, &path, accept),
            Err(answer) => answer,
        }
    }

    /// The rows of a query that must be answered.
    fn rows(&mut self, user: &str, sql: &str) -> Value {
        let answer = self.answer(user, "/query", sql, "application/json");
        assert_eq!(answer["statusCode"], 200, "{sql}: {answer}");
        body(&answer)
    }
}

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

fn is_problem(answer: &Value, status: u16, kind: &str) -> Value {
    let body = body(answer);
    assert_eq!(
        (&answer["statusCode"], &body["type"]),
        (&json!(status), &json!(format!("urn:weir:problem:{kind}"))),
        "{answer}"
    );
    body
}

/// Two users' events of this hour and of 40 days ago, one of them a rejected one.
fn with_events() -> (Weir, Hour) {
    let weir = Weir::start();
    let now = SystemClock.now().hour();
    for (user, words) in [("ann", "anns-words"), ("eve", OF_EVE)] {
        for (session, hour) in [("new", now), ("old", now.minus(40 * 24))] {
            let click = json!({"session_id": session, "button_id": words});
            weir.file(user, "button_click", hour, &click);
        }
        let rejected = json!({"claimed_type": "x", "errors": ["no"], "body": words});
        weir.file(user, "rejected", now, &rejected);
    }
    (weir, now)
}

#[test]
fn a_query_is_answered_later_over_the_rows_of_its_user_and_of_its_range() {
    let (mut weir, now) = with_events();
    for (user, words) in [("ann", "anns-words"), ("eve", OF_EVE)] {
        let sql = "SELECT username, button_id, session_id FROM Button_Click ORDER BY session_id";
        let row = |session: &str| json!({"username": user, "button_id": words, "session_id": session});
        assert_eq!(weir.rows(user, sql), json!([row("new")]));
        let range = format!("/query?from={}", now.minus(40 * 24));
        let answer = weir.answer(user, &range, sql, "*/*");
        assert_eq!(body(&answer), json!([row("new"), row("old")]));
        let range = format!("{range}&to={}", now.minus(1));
        assert_eq!(body(&weir.answer(user, &range, sql, "*/*")), json!([row("old")]));
        let sql = "SELECT event_type, count(*) AS n, min(body) AS least FROM (SELECT event_type, NULL AS body FROM events UNION ALL \
                   SELECT 'body', body FROM rejected) GROUP BY event_type ORDER BY event_type";
        let row = |of: &str, least: Value| json!({"event_type": of, "n": 1, "least": least});
        let expected = json!([
            row("body", words.into()),
            row("button_click", Value::Null),
            row("rejected", Value::Null)
        ]);
        assert_eq!(weir.rows(user, sql), expected);
    }
    // Times are those of one machine's tables, and numbers are numbers.
    let times = weir.rows(
        "ann",
        "SELECT time, \"timestamp\" - date AS a, hour, 'nan' AS b, 0.5e0 AS c FROM button_click LIMIT 1",
    );
    assert_eq!((&times[0]["time"], &times[0]["c"]), (&json!(now.start().millis() + 7), &json!(0.5)));
    let date = weir.rows("ann", "SELECT date, date(\"timestamp\") = date AS same FROM button_click");
    assert_eq!(date[0], json!({"date": now.start().to_string()[..10], "same": true}));
    let csv = weir.answer("ann", "/query", "SELECT 'a\"b' AS \"x,y\", NULL AS n", "text/csv");
    assert_eq!(csv["body"], "\"x,y\",n\n\"a\"\"b\",\n");
    assert_eq!(
        (&csv["headers"]["content-type"], &csv["headers"]["cache-control"]),
        (&json!("text/csv; charset=utf-8"), &json!("no-store"))
    );
    // What many pages have is read whole, in its order.
    let many = weir.rows("ann", "SELECT n FROM UNNEST(sequence(1, 2500)) AS t (n) ORDER BY n");
    let numbers: Vec<u64> = many.as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=2500).collect::<Vec<u64>>());
    assert!(!weir.function.told().contains("ERROR"), "{}", weir.function.told());
}

#[test]
fn a_query_without_bounds_reads_as_many_hours_as_its_tables_allow_and_says_how_many() {
    let weir = &mut Weir::start();
    let now = SystemClock.now().hour();
    let mut start = |path: &str, sql: &str| {
        let answer = weir.ask("ann", "POST", path, "*/*", sql);
        assert_eq!(answer["statusCode"], 202, "{answer}");
        body(&answer)
    };
    let one = start("/query", "SELECT count(*) AS n FROM events");
    assert_eq!((&one["from"], &one["warnings"]), (&json!(now.minus(743).to_string()), &Value::Null));
    // All types and rejected events, twice: 22 tables.
    let sql = "SELECT count(*) AS n FROM events a, events b";
    let two = start("/query", sql);
    assert_eq!((&two["from"], &two["to"]), (&json!(now.minus(453).to_string()), &json!(now.to_string())));
    let warning = two["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("The range has the last 454 hours, instead of 744"), "{warning}");
    let until = start(&format!("/query?to={}", now.minus(10)), sql);
    assert_eq!(until["from"], now.minus(463).to_string());
    let path = format!("/query?from={}", now.minus(743));
    let wrong = weir.ask("ann", "POST", &path, "*/*", sql);
    assert!(is_problem(&wrong, 400, "sql-error")["detail"].as_str().unwrap().contains("16368 hours"));
    // The rows are those of the hours that it says.
    for (id, hour) in [("in", now.minus(453)), ("out", now.minus(454))] {
        weir.file("ann", "outcome", hour, &json!({"event_id": id}));
    }
    assert_eq!(
        weir.rows("ann", "SELECT a.event_id AS a, b.event_id AS b FROM events a, events b"),
        json!([{"a": "in", "b": "in"}])
    );
    assert_eq!(weir.rows("ann", "SELECT count(*) AS n FROM events"), json!([{"n": 2}]));
}

#[test]
fn only_its_user_reads_or_stops_a_query_and_only_one_of_the_workgroup() {
    let (mut weir, _) = with_events();
    let path = weir.start_query("ann", "/query", "SELECT button_id FROM button_click").unwrap();
    for user in ["eve", "an", "anna"] {
        for method in ["GET", "DELETE"] {
            is_problem(&weir.ask(user, method, &path, "*/*", ""), 404, "no-such-query");
        }
    }
    assert_eq!(body(&weir.wait("ann", &path, "*/*")), json!([{"button_id": "anns-words"}]));
    assert_eq!(weir.ask("ann", "DELETE", &path, "*/*", "")["statusCode"], 204);
    assert_eq!(body(&weir.wait("ann", &path, "*/*")), json!([{"button_id": "anns-words"}]));
    is_problem(&weir.ask("ann", "GET", &path, "image/png", ""), 406, "not-acceptable");

    // A query of the operator's, even with the beginning of one of the user's.
    let question =
        "WITH \"~ owner\" AS (SELECT 'ann' AS username),\n\"a\" AS (SELECT 1 AS b)\nSELECT * FROM a";
    let start = json!({"QueryString": question, "WorkGroup": "weir", "ClientRequestToken": "x"});
    let started = ureq::post(weir.function_endpoint())
        .header("x-amz-target", "AmazonAthena.StartQueryExecution")
        .send(start.to_string())
        .unwrap();
    let started: Value = serde_json::from_slice(&started.into_body().read_to_vec().unwrap()).unwrap();
    let of_operator = started["QueryExecutionId"].as_str().unwrap();
    for id in
        [of_operator, "00000000-0000-0000-0000-000000000000", "x", "..%2Fcounts", "%00", &"a".repeat(5000)]
    {
        is_problem(&weir.ask("ann", "GET", &format!("/query/{id}"), "*/*", ""), 404, "no-such-query");
        is_problem(&weir.ask("ann", "DELETE", &format!("/query/{id}"), "*/*", ""), 404, "no-such-query");
    }

    // It takes some seconds, and ends by itself if it is not stopped.
    let slow = "SELECT count(*) AS n FROM UNNEST(sequence(1, 50000)) a (x), UNNEST(sequence(1, 100000)) b (y) WHERE x * y % 7 = 3";
    let path = weir.start_query("ann", "/query", slow).unwrap();
    assert_eq!(weir.ask("ann", "GET", &path, "*/*", "")["statusCode"], 202);
    assert_eq!(weir.ask("ann", "DELETE", &path, "*/*", "")["statusCode"], 204);
    is_problem(&weir.ask("ann", "GET", &path, "*/*", ""), 409, "query-stopped");
}

#[test]
fn what_is_wrong_with_a_query_is_said_with_its_reason() {
    let (mut weir, now) = with_events();
    let detail = |problem: &Value| problem["detail"].as_str().unwrap().to_owned();
    let wrong = weir.answer("ann", "/query", "SELECT 1 FROM buton_click", "*/*");
    assert!(detail(&is_problem(&wrong, 400, "sql-error")).ends_with("Did you mean button_click?"));
    let wrong = weir.answer("ann", "/query", "SELECT buton_id FROM button_click", "*/*");
    let said = detail(&is_problem(&wrong, 400, "sql-error"));
    assert!(said.contains("buton_id") && !said.contains("s3://"), "{said}");
    is_problem(&weir.answer("ann", "/query", " ", "*/*"), 400, "sql-error");
    for range in [
        "from=yesterday",
        &format!("from={}&to={}", now, now.minus(1)),
        &format!("from={}", now.minus(9000)),
        "form=x",
    ] {
        is_problem(&weir.answer("ann", &format!("/query?{range}"), "SELECT 1", "*/*"), 422, "invalid-query");
    }
    let year = format!("/query?from={}", now.minus(8000));
    let wrong = weir.answer("ann", &year, "SELECT 1 FROM button_click, page_view", "*/*");
    assert!(detail(&is_problem(&wrong, 400, "sql-error")).contains("16002 hours"));
    let long = "SELECT n FROM UNNEST(sequence(1, 10000)) AS t (n) UNION ALL SELECT 1";
    is_problem(&weir.answer("ann", "/query", long, "*/*"), 413, "answer-too-large");
    let wide = "SELECT rpad('x', 1000000, 'y') AS a FROM UNNEST(sequence(1, 9)) AS t (n)";
    is_problem(&weir.answer("ann", "/query", wide, "*/*"), 413, "answer-too-large");
    is_problem(&weir.ask("ann", "GET", "/counts/button_click/keys", "*/*", ""), 404, "no-queries-here");
    assert!(!weir.function.told().contains("ERROR"), "{}", weir.function.told());
}

#[test]
fn each_end_of_a_query_has_its_answer_and_one_that_takes_too_long_is_stopped() {
    // Its id says how the query is doing.
    let id = |of: &str| format!("{of}-{}", "0".repeat(35 - of.len()));
    let aws = StubAws::start(|call: &Call| {
        let asked = call.json();
        let of = asked["QueryExecutionId"].as_str().unwrap_or_default().split('-').next().unwrap_or_default();
        let error = |kind: &str| {
            (400, json!({"__type": kind, "Message": "User: x, table s3://y"}).to_string().into_bytes())
        };
        let (state, reason) = match (call.target.as_str(), of) {
            ("AmazonAthena.StartQueryExecution", _) if asked["QueryString"].to_string().contains("many") => {
                return error("TooManyRequestsException");
            }
            ("AmazonAthena.StartQueryExecution", _) => return error("InvalidRequestException"),
            ("AmazonAthena.GetQueryExecution", "dead") => {
                return error("com.amazonaws#AccessDeniedException");
            }
            ("AmazonAthena.GetQueryExecution", "a" | "b") => ("RUNNING", ""),
            ("AmazonAthena.GetQueryExecution", "c") => {
                ("CANCELLED", "Query cancelled! : Bytes scanned limit was exceeded")
            }
            ("AmazonAthena.GetQueryExecution", "d") => {
                ("FAILED", "DIVISION_BY_ZERO: Division by zero\nThis query ran against")
            }
            ("AmazonAthena.GetQueryExecution", _) => {
                ("FAILED", "Access Denied (Service: Amazon S3; s3://weir/username=ann)")
            }
            _ => return (200, b"{}".to_vec()),
        };
        let at = SystemClock.now().millis() / 1000 - if of == "a" { 301 } else { 200 };
        let execution = json!({"QueryExecution": {
            "Query": "WITH \"~ owner\" AS (SELECT 'ann' AS username),\nx", "WorkGroup": WORKGROUP,
            "Status": {"State": state, "StateChangeReason": reason, "SubmissionDateTime": at},
        }});
        (200, execution.to_string().into_bytes())
    });
    let mut function = Function::start(PROGRAM, &variables(&aws.url()));
    let mut ask =
        |method: &str, path: &str, sql: &str| function.answer(event("ann", "read", method, path, "*/*", sql));
    let mut get = |of: &str| ask("GET", &format!("/query/{}", id(of)), "");
    assert_eq!(get("b")["statusCode"], 202);
    is_problem(&get("a"), 409, "query-stopped");
    let stopped: Vec<Value> = aws
        .calls()
        .iter()
        .filter(|call| call.target.ends_with("StopQueryExecution"))
        .map(Call::json)
        .collect();
    assert_eq!(stopped, [json!({"QueryExecutionId": id("a")})]);
    is_problem(&get("c"), 413, "too-many-rows");
    assert_eq!(is_problem(&get("d"), 400, "sql-error")["detail"], "DIVISION_BY_ZERO: Division by zero");
    is_problem(&get("dead"), 404, "no-such-query");
    let refused = is_problem(&ask("POST", "/query", "SELECT 1"), 400, "sql-error");
    assert_eq!(refused["detail"], "User: x, table");
    is_problem(&ask("POST", "/query", "SELECT 'many'"), 429, "too-many-queries");
    // A fault that the operator has to mend is logged, and the client gets no detail of it.
    let missing = ask("GET", &format!("/query/{}", id("e")), "");
    assert!(!is_problem(&missing, 503, "unavailable").to_string().contains("s3://"), "{missing}");
    let write = function.answer(event("ann", "write", "POST", "/query", "*/*", "SELECT 1"));
    is_problem(&write, 403, "out-of-scope");
    let error = function.logged(|line| line["message"] == "the engine failed");
    assert!(error["error"].as_str().unwrap().contains("Access Denied"), "{error}");
}

#[test]
fn without_a_workgroup_no_query_is_answered_and_a_missing_database_is_named() {
    let mut all = variables("http://127.0.0.1:9");
    let without_database: Vec<_> =
        all.into_iter().filter(|(name, _)| *name != "WEIR_GLUE_DATABASE").collect();
    let mut function = Function::start(PROGRAM, &without_database);
    let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
    assert_eq!(told["errorMessage"], "the environment variable WEIR_GLUE_DATABASE is not set");
    all[7].1 = "";
    let mut function = Function::start(PROGRAM, &all);
    let id = "2f1c9a52-7f0e-4f0a-9c1b-5f0e6a2d4b88";
    for (method, path) in
        [("POST", "/query"), ("GET", &format!("/query/{id}")), ("DELETE", &format!("/query/{id}"))]
    {
        let answer = function.answer(event("ann", "read", method, path, "*/*", "SELECT 1"));
        is_problem(&answer, 404, "no-queries-here");
    }
}

/// Over what a hostile user has to send to make the database itself answer with another's rows: each text comes as it is, within a
/// query that is accepted, or is refused.
#[test]
fn no_query_reads_anything_but_its_own_users_rows_whatever_the_sql_says() {
    let (mut weir, _) = with_events();
    let of_eve = "SELECT * FROM \"weir\".\"button_click\" WHERE username = 'eve'";
    // Those that are answered have ann's rows only, or none.
    for sql in [
        "SELECT * FROM button_click WHERE username = 'eve'".to_owned(),
        "SELECT * FROM button_click WHERE username = 'eve' OR true OR button_id = 'eves'".to_owned(),
        "SELECT * FROM events WHERE username IN ('ann', 'eve')".to_owned(),
        "SELECT * FROM rejected, button_click".to_owned(),
        "WITH button_click AS (SELECT * FROM button_click WHERE username = 'eve' OR true) SELECT * FROM button_click".to_owned(),
        "WITH a AS (TABLE button_click), b AS (TABLE a) SELECT * FROM b UNION ALL SELECT * FROM a".to_owned(),
        "SELECT b.* FROM button_click b JOIN (SELECT 'eve' AS username) e ON b.username <> e.username".to_owned(),
        "SELECT (SELECT max(button_id) FROM button_click WHERE username = 'eve') AS a, count(*) AS b FROM button_click".to_owned(),
        format!("SELECT '\\' AS a, ' UNION {} --' AS b", of_eve.replace('\'', "''")),
        format!("SELECT 'a' AS a /* ' */ -- ' {of_eve}\n, 'b' AS b"),
        format!("SELECT 1 AS \"a\"\" FROM (\" -- \" {of_eve}"),
        format!("SELECT '{}' AS a", of_eve.replace('\'', "''")),
        "SELECT max(username) AS a FROM \"BUTTON_CLICK\" AS \"weir\" WHERE \"weir\".\"username\" = 'eve'".to_owned(),
        "SELECT weir.button_id FROM button_click AS weir".to_owned(),
    ] {
        let rows = weir.rows("ann", &sql);
        let rows = rows.to_string().replace(of_eve, "").replace("= 'eve'", "");
        assert!(!rows.contains(OF_EVE) && !rows.contains("\"eve\""), "{sql}: {rows}");
    }
    // Athena's tables have hidden columns, and the user's rows have none of them.
    for sql in [
        "SELECT \"$path\" FROM button_click",
        "SELECT \"button_click\".\"$path\" FROM button_click",
        "SELECT max(\"$path\") FROM events",
    ] {
        let answer = weir.answer("ann", "/query", sql, "*/*");
        is_problem(&answer, 400, "sql-error");
        assert!(!answer.to_string().contains("s3://"), "{sql}: {answer}");
    }
    // Each attempt to name the table of all users itself, where a name can stand.
    let name = "\"weir\".\"button_click\"";
    for place in [
        "SELECT * FROM {}",
        "TABLE {}",
        "SELECT * FROM button_click, {}",
        "SELECT * FROM button_click JOIN {} ON true",
        "SELECT * FROM button_click JOIN page_view ON true, {}",
        "SELECT * FROM (SELECT 1) offset, {}",
        "SELECT * FROM (SELECT 1) limit, {}",
        "SELECT * FROM (SELECT 1) window, {}",
        "SELECT * FROM ((SELECT 1) CROSS JOIN {})",
        "SELECT (SELECT max(button_id) FROM {})",
        "SELECT 1 WHERE 'a' IN (TABLE {})",
        "SELECT 1 UNION SELECT 1 FROM {}",
        "WITH a AS (TABLE {}) SELECT * FROM a",
        "WITH weir AS (SELECT 1) SELECT * FROM {}",
        "VALUES ((SELECT max(button_id) FROM {}))",
        "SELECT 1 FROM UNNEST(ARRAY[(SELECT max(button_id) FROM {})])",
        "SELECT * FROM button_click, LATERAL (SELECT * FROM {})",
        "SELECT 1; SELECT * FROM {}",
        "SELECT 1 FROM button_click WHERE username = 'ann') SELECT * FROM {} --",
        "SELECT 1) UNION ALL (SELECT 1 FROM {}",
    ] {
        for with_user in ["{} WHERE username = 'eve'", "{}"] {
            let sql = place.replace("{}", &with_user.replace("{}", name));
            let answer = weir.answer("ann", "/query", &sql, "*/*");
            is_problem(&answer, 400, "sql-error");
            assert!(!answer.to_string().contains(OF_EVE), "{sql}: {answer}");
        }
    }
    assert!(!weir.function.told().contains("ERROR"), "{}", weir.function.told());
}

impl Weir {
    /// Where calls of Athena go.
    fn function_endpoint(&self) -> String {
        self.athena.endpoint.clone()
    }
}
