//! What a user can make Athena and the collector do by queries is bounded.

use std::{fs, thread};

use serde_json::{Value, json};
use weir_core::{Clock, SystemClock};
use weir_lambda::testing::{Call, Function, StubAws};

use super::{PROGRAM, WORKGROUP, Weir, body, event, is_problem, variables};

/// It takes longer than the test, which stops it.
const SLOW: &str = "SELECT count(*) AS n FROM UNNEST(sequence(1, 500000)) a (x), UNNEST(sequence(1, 1000000)) b (y) WHERE x * y % 7 = 3";

/// The id of a query of the stub's.
fn id(of: u32) -> String {
    format!("{of:08}-0000-0000-0000-000000000000")
}

#[test]
fn a_user_has_five_queries_at_once_and_one_that_ended_leaves_its_place() {
    let mut weir = Weir::start();
    let mut slow: Vec<String> = (0..5).map(|_| weir.start_query("ann", "/query", SLOW).unwrap()).collect();
    let refused = weir.start_query("ann", "/query", "SELECT 1 AS n").unwrap_err();
    let problem = is_problem(&refused, 429, "too-many-queries");
    assert!(problem["detail"].as_str().unwrap().starts_with("5 queries of yours are under way"), "{problem}");
    assert!(refused["headers"]["retry-after"].as_str().unwrap().parse::<u32>().unwrap() > 0, "{refused}");
    // Others have places of their own.
    let of_eve = weir.start_query("eve", "/query", "SELECT 1 AS n").unwrap();
    // One that was stopped leaves its place, once.
    let stopped = slow.pop().unwrap();
    assert_eq!(weir.ask("ann", "DELETE", &stopped, "*/*", "")["statusCode"], 204);
    slow.push(weir.start_query("ann", "/query", SLOW).unwrap());
    is_problem(&weir.start_query("ann", "/query", "SELECT 1").unwrap_err(), 429, "too-many-queries");
    for path in slow.iter().rev() {
        assert_eq!(weir.ask("ann", "DELETE", path, "*/*", "")["statusCode"], 204);
    }
    assert_eq!(body(&weir.wait("eve", &of_eve, "*/*")), json!([{"n": 1}]));
    // So does one that was answered, and one that Athena refuses never keeps one.
    for n in 0..12 {
        assert_eq!(weir.rows("ann", &format!("SELECT {n} AS n")), json!([{"n": n}]));
    }
    assert!(!weir.function.told().contains("ERROR"), "{}", weir.function.told());
}

#[test]
fn no_race_of_several_functions_gives_a_user_more_queries_at_once() {
    let weir = Weir::start();
    let start = || {
        let mut function = Function::start(PROGRAM, &variables(&weir.athena.endpoint));
        let ask = |_| function.answer(event("ann", "read", "POST", "/query", "*/*", SLOW));
        (0..4).map(ask).collect::<Vec<Value>>()
    };
    let answers: Vec<Value> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let started: Vec<&Value> = answers.iter().filter(|answer| answer["statusCode"] == 202).collect();
    let refused = answers.iter().filter(|answer| answer["statusCode"] == 429).count();
    assert_eq!((started.len(), refused), (5, 11), "{answers:?}");
    let mut weir = weir;
    for answer in started.into_iter().rev() {
        let path = body(answer)["answer"].as_str().unwrap().to_owned();
        assert_eq!(weir.ask("ann", "DELETE", &path, "*/*", "")["statusCode"], 204);
    }
}

#[test]
fn a_query_that_had_its_time_leaves_its_place_and_no_reading_writes_anything() {
    let aws = StubAws::start(|call: &Call| {
        let now = SystemClock.now().millis();
        let asked = || call.json();
        let answer = match call.target.as_str() {
            // Ann has all places, one of them for a query that another request is about to start. Bob's were left.
            "DynamoDB_20120810.GetItem" if call.json().to_string().contains("ann/~queries") => {
                let place =
                    |n: u32| json!({"S": if n == 0 { format!("token@{}", now - 50_000) } else { id(n) }});
                json!({"Item": {"id": {"S": "ann/~queries"}, "place_0": place(0), "place_1": place(1), "place_2": place(2),
                    "place_3": place(3), "place_4": place(4)}})
            }
            "DynamoDB_20120810.GetItem" => {
                json!({"Item": {"id": {"S": "bob/~queries"}, "place_0": {"S": format!("token@{}", now - 61_000)}}})
            }
            "AmazonAthena.GetQueryExecution" => {
                let runs = if asked()["QueryExecutionId"] == id(3) { 301 } else { 200 };
                json!({"QueryExecution": {
                    "Query": "WITH \"~ owner\" AS (SELECT 'ann' AS username),\nx", "WorkGroup": WORKGROUP,
                    "Status": {"State": "RUNNING", "SubmissionDateTime": now / 1000 - runs},
                }})
            }
            "AmazonAthena.StartQueryExecution" if asked()["QueryString"].to_string().contains("wrong") => {
                return (
                    400,
                    json!({"__type": "InvalidRequestException", "Message": "no"}).to_string().into_bytes(),
                );
            }
            "AmazonAthena.StartQueryExecution" => json!({"QueryExecutionId": id(9)}),
            _ => json!({}),
        };
        (200, answer.to_string().into_bytes())
    });
    let mut function = Function::start(PROGRAM, &variables(&aws.url()));
    let mut ask = |user: &str, method: &str, path: &str, sql: &str| {
        function.answer(event(user, "read", method, path, "*/*", sql))
    };
    assert_eq!(ask("ann", "GET", &format!("/query/{}", id(1)), "")["statusCode"], 202);
    assert!(aws.calls().iter().all(|call| call.target == "AmazonAthena.GetQueryExecution"));

    let started = ask("ann", "POST", "/query", "SELECT 1");
    assert_eq!(body(&started)["query"], id(9));
    let changes = |aws: &StubAws| -> Vec<[Value; 3]> {
        let calls = aws.calls();
        let changes = calls.iter().filter(|call| call.target.ends_with(".UpdateItem")).map(Call::json);
        changes
            .map(|change| {
                let values = &change["ExpressionAttributeValues"];
                [&change["ExpressionAttributeNames"]["#place"], &values[":from"]["S"], &values[":to"]["S"]]
                    .map(Value::clone)
            })
            .collect()
    };
    let stopped: Vec<Value> = aws
        .calls()
        .iter()
        .filter(|call| call.target.ends_with(".StopQueryExecution"))
        .map(Call::json)
        .collect();
    assert_eq!(stopped, [json!({"QueryExecutionId": id(3)})]);
    let of_ann = changes(&aws);
    let token = &of_ann[0][2];
    assert_eq!(of_ann[0], [json!("place_3"), json!(id(3)), token.clone()]);
    assert!(token.as_str().unwrap().contains('@'), "{token}");
    assert_eq!(of_ann[1..], [[json!("place_3"), token.clone(), json!(id(9))]]);

    // A request that never ended holds its place for a minute, and a query that was not started for no time.
    is_problem(&ask("bob", "POST", "/query", "SELECT 'wrong'"), 400, "sql-error");
    let of_bob = &changes(&aws)[2..];
    assert_eq!((&of_bob[0][0], of_bob.len()), (&json!("place_0"), 2));
    assert_eq!(of_bob[1], [json!("place_0"), of_bob[0][2].clone(), json!("free")]);
}

/// The columns and rows of a wide answer: a million values.
const COLUMNS: usize = 3000;
const ROWS: usize = 300;

/// The most memory that the collector may have taken, in KiB. It has some 20 MB without any answer.
const MOST_MEMORY: u64 = 80 << 10;

#[test]
fn a_wide_answer_is_read_in_bounded_memory_and_one_that_is_too_large_is_not_read() {
    let aws = StubAws::start(|call: &Call| {
        let asked = || call.json();
        let answer = match call.target.as_str() {
            "" if call.method == "HEAD" => {
                let known = [(1, 4 * COLUMNS * ROWS), (2, 13 << 20)].into_iter();
                let size = known
                    .clone()
                    .find(|(n, _)| call.path == format!("/weir-raw/athena-results/queries/{}.csv", id(*n)));
                return size.map_or((404, Vec::new()), |(_, size)| (200, vec![b'x'; size]));
            }
            "AmazonAthena.GetQueryExecution" => json!({"QueryExecution": {
                "Query": "WITH \"~ owner\" AS (SELECT 'ann' AS username),\nx", "WorkGroup": WORKGROUP,
                "Status": {"State": "SUCCEEDED", "SubmissionDateTime": 1},
                "ResultConfiguration": {
                    "OutputLocation": format!("s3://weir-raw/athena-results/queries/{}.csv", asked()["QueryExecutionId"].as_str().unwrap()),
                },
            }}),
            "AmazonAthena.GetQueryResults" if asked()["QueryExecutionId"] == id(3) => {
                return (
                    400,
                    json!({"__type": "InvalidRequestException", "Message": "no file"})
                        .to_string()
                        .into_bytes(),
                );
            }
            "AmazonAthena.GetQueryResults" => {
                let first: usize = asked()["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
                let most = usize::try_from(asked()["MaxResults"].as_u64().unwrap()).unwrap();
                let row = |n: usize| {
                    let cell = |column: usize| json!({"VarCharValue": if n == 0 { format!("c{column}") } else { "7".to_owned() }});
                    json!({"Data": (0..COLUMNS).map(cell).collect::<Value>()})
                };
                let last = (first + most).min(ROWS + 1);
                let info = |column: usize| json!({"Name": format!("c{column}"), "Type": "bigint", "CatalogName": "hive", "Precision": 19});
                let mut answer = json!({"ResultSet": {
                    "Rows": (first..last).map(row).collect::<Value>(),
                    "ResultSetMetadata": {"ColumnInfo": (0..COLUMNS).map(info).collect::<Value>()},
                }});
                if last <= ROWS {
                    answer["NextToken"] = last.to_string().into();
                }
                answer
            }
            _ => json!({}),
        };
        (200, answer.to_string().into_bytes())
    });
    let mut function = Function::start(PROGRAM, &variables(&aws.url()));
    let mut get =
        |n: u32| function.answer(event("ann", "read", "GET", &format!("/query/{}", id(n)), "text/csv", ""));
    let answer = get(1);
    assert_eq!(answer["statusCode"], 200, "{}", answer.to_string().chars().take(500).collect::<String>());
    let csv = answer["body"].as_str().unwrap();
    assert_eq!(csv.lines().count(), ROWS + 1);
    assert!(csv.lines().skip(1).all(|line| line == "7,".repeat(COLUMNS).trim_end_matches(',')));
    let pages =
        |aws: &StubAws| aws.calls().iter().filter(|call| call.target.ends_with(".GetQueryResults")).count();
    let read = pages(&aws);
    // It is refused with what to do, before any of it is read; and after a week there is nothing to read.
    let refused = is_problem(&get(2), 413, "answer-too-large");
    assert!(refused["detail"].as_str().unwrap().contains("name fewer columns"), "{refused}");
    assert_eq!(pages(&aws), read);
    is_problem(&get(3), 404, "no-such-query");
    let peak = peak(&function);
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}

/// The most memory that a function has taken, in KiB.
fn peak(function: &Function) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", function.process())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn sql_that_is_long_or_deep_is_answered_in_bounded_memory() {
    let aws = StubAws::start(|_: &Call| (200, json!({"QueryExecutionId": id(9)}).to_string().into_bytes()));
    let mut function = Function::start(PROGRAM, &variables(&aws.url()));
    let mut ask = |sql: &str| function.answer(event("ann", "read", "POST", "/query", "*/*", sql));
    for part in ["(", "SELECT (", "a, ", "'", "/*", "0x_0", "events, "] {
        for before in ["", "SELECT ", "SELECT 1 FROM "] {
            let sql = |bytes: usize| format!("{before}{}", part.repeat((bytes - before.len()) / part.len()));
            is_problem(&ask(&sql(1 << 20)), 413, "body-too-large");
            // A list without tables is Athena's to refuse.
            let status = &ask(&sql(64 << 10))["statusCode"];
            assert!(*status == 400 || *status == 202 && part.ends_with(", "), "{before}{part}: {status}");
        }
    }
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let problem = is_problem(&ask(&deep), 400, "sql-error");
    assert_eq!(problem["detail"], "The SQL has too many queries and parentheses in each other.");
    assert_eq!(ask("SELECT 1")["statusCode"], 202);
    let peak = peak(&function);
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}
