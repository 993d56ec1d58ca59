//! `weir query --engine aws`: Athena answers.
//!
//! The local AWS answers with DuckDB, so this is about what `weir` does with questions and answers, and not about
//! Trino's SQL. It reads all of a table's location and knows neither partition projection nor the template's
//! `storage.location.template`; what it says to have scanned is the length of the answer; and it has no limits. What it
//! never does, an Athena by script does: see `scripted.rs`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Output, Stdio},
};

use super::{
    emulator::port::Port,
    on_aws::{OnAws, ended, on_a_terminal, run, said, signal, weir},
    scripted::{Athena, Scripted, execution, page, refusal, started},
};
use crate::harness::{Value, Weir, click, eventually, json};

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn what_was_filed_is_answered_and_what_was_scanned_is_said() {
    let aws = OnAws::start();
    let (ann, server) = (aws.user("ann"), aws.serve(&[]));
    for button in ["abc", "abc", "x,\"y\""] {
        assert_eq!(server.post(&ann, "/button/click", click("s", button)).status, 200);
    }
    aws.output(&["replay"]);
    aws.make_button_clicks_of("ann");

    let sql = "SELECT button_id, count(*) AS clicks FROM button_click WHERE username = 'ann' AND year > 2000
               GROUP BY 1 ORDER BY 2 DESC";
    let table = aws.run(&["query", sql]);
    assert_eq!(
        printed(&table),
        "\
┌───────────┬────────┐
│ button_id │ clicks │
├───────────┼────────┤
│ abc       │ 2      │
│ x,\"y\"     │ 1      │
└───────────┴────────┘
"
    );
    // On no terminal, nothing else is said.
    let said = said(&table);
    assert!(
        said.starts_with("weir: Athena scanned ") && said.ends_with(" B: less than a cent, at $5 a TB\n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let json = printed(&aws.run(&["query", "--format", "json", sql]));
    assert_eq!(
        json,
        "[{\"button_id\":\"abc\",\"clicks\":2},\n{\"button_id\":\"x,\\\"y\\\"\",\"clicks\":1}]\n"
    );

    let mut child = aws.command(&["query", "--format", "csv", "-"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let csv = ended(child);
    assert_eq!(String::from_utf8(csv.stdout).unwrap(), "button_id,clicks\nabc,2\n\"x,\"\"y\"\"\",1\n");
}

#[test]
fn both_engines_print_an_answer_alike() {
    let (aws, here) = (OnAws::start(), Weir::start());
    let rows = "VALUES (1, 'plain', 2.5::DOUBLE, true, 'x'), (-20, 'with, \"quotes\" and ''these''', -0.5::DOUBLE, false, NULL),
        (9007199254740993, E'two\\nlines and\\ta tab', NULL, NULL, ''), (NULL, 'é; a\\b', 7::DOUBLE, true, 'null')";
    for sql in [
        format!("SELECT * FROM ({rows}) AS t(n, \"a name\", double, truth, s) ORDER BY s"),
        format!("SELECT * FROM ({rows}) AS t(n, \"a name\", double, truth, s) WHERE false"),
    ] {
        for format in ["json", "csv", "table"] {
            let (aws, here) = (
                aws.run(&["query", "--format", format, &sql]),
                here.run(&["query", "--format", format, &sql]),
            );
            assert_eq!(printed(&aws), printed(&here), "{format}: {sql}");
        }
    }
}

#[test]
fn a_long_answer_is_printed_whole_and_in_order() {
    let aws = OnAws::start();
    let sql = "SELECT range AS n, repeat('wide ', 200) AS s FROM range(2500)";
    let csv = printed(&aws.run(&["query", "--format", "csv", sql]));
    let numbers: Vec<&str> = csv.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(numbers[0], "n");
    assert!(numbers[1..].iter().copied().eq((0..2500).map(|n| n.to_string()).collect::<Vec<_>>().iter()));
    let rows: Vec<Value> =
        serde_json::from_str(&printed(&aws.run(&["query", "--format", "json", sql]))).unwrap();
    assert_eq!(rows.len(), 2500);
    assert_eq!(rows[2499]["n"], 2499);
    assert_eq!(rows[2499]["s"], "wide ".repeat(200));
    let table = printed(&aws.run(&["query", sql]));
    assert_eq!(table.lines().count(), 2504);
    assert!(table.lines().all(|line| line.chars().count() == table.lines().next().unwrap().chars().count()));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_query_without_an_error() {
    let aws = OnAws::start();
    let mut child = aws.command(&["query", "--format", "csv", "SELECT range AS n FROM range(100000)"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "n\n");
    let output = ended(child);
    assert!(
        output.status.success() && said(&output).starts_with("weir: Athena scanned"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_query_can_only_read() {
    let aws = OnAws::start();
    for sql in [
        "DROP TABLE button_click",
        "CREATE TABLE t AS SELECT 1",
        "/* SELECT */ INSERT INTO t SELECT 1",
        "SELEC 1",
    ] {
        let output = aws.run(&["query", sql]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(said(&output), "weir: the lake is read-only: a query is a SELECT\n");
    }
    assert_eq!(said(&aws.run(&["query", " "])), "weir: the query is empty\n");
    let waiting = aws.run(&["query", "--wait", "5s", "SELECT 1"]);
    assert!(
        !waiting.status.success() && said(&waiting).contains("--wait means nothing on AWS"),
        "{}",
        said(&waiting)
    );
    assert!(aws.queries().is_empty(), "Athena was asked");
}

#[test]
fn a_query_that_fails_says_what_athena_says() {
    let aws = OnAws::start();
    let output = aws.run(&["query", "SELECT no_such_column FROM (SELECT 1 AS n)"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    let said = said(&output);
    assert!(said.starts_with("weir: the query failed: ") && said.contains("no_such_column"), "{said}");
    // A workgroup that is not there, in the words of the local Athena.
    let output = run(aws.command(&["query", "SELECT 1"]).env("WEIR_WORKGROUP", "no-such"));
    assert_eq!(output.status.code(), Some(1));
    let said = super::said(&output);
    assert!(said.starts_with("weir: Athena does not take the query: InvalidRequestException: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn ctrl_c_stops_the_query_in_athena_too() {
    let aws = OnAws::start();
    for (by, code) in [("-INT", 130), ("-TERM", 143)] {
        let before = aws.queries().len();
        // Its end is too far off to come.
        let mut child = aws.command(&["query", "SELECT sum(range % 7) FROM range(1000000000000000)"]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the query runs", || {
            let queries = aws.queries();
            queries.len() > before && queries.iter().any(|(_, state)| state == "RUNNING")
        });
        signal(&child, by);
        let output = ended(child);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]));
        assert_eq!(
            said(&output),
            "weir: the query was stopped\nweir: Athena had scanned 0 B: less than a cent, at $5 a TB\n"
        );
        assert!(aws.queries().iter().all(|(_, state)| state == "CANCELLED"), "{:?}", aws.queries());
    }
}

/// The columns' names, which are the first row of the first page.
const HEADER: [Option<&str>; 2] = [Some("n"), Some("s")];

#[test]
fn every_page_is_printed_and_only_the_first_has_a_header() {
    let athena = Athena::start(|operation, nth| match (operation, nth) {
        ("StartQueryExecution", _) => started(),
        ("GetQueryExecution", 0) => execution("QUEUED", "", 0),
        ("GetQueryExecution", 1) => execution("RUNNING", "", 0),
        ("GetQueryExecution", _) => execution("SUCCEEDED", "", 12_300_000_000),
        ("GetQueryResults", 0) => page(&[HEADER, [Some("1"), None]], Some("second")),
        // It looks like a header and is a row.
        ("GetQueryResults", 1) => page(&[HEADER], Some("third")),
        ("GetQueryResults", 2) => page(&[], Some("fourth")),
        ("GetQueryResults", 3) => page(&[[None, Some("last")]], None),
        _ => panic!("{operation}"),
    });
    let output = run(&mut weir(&athena.endpoint, &["query", "--format", "json", "SELECT n, s FROM t"]));
    assert_eq!(
        printed(&output),
        "[{\"n\":1,\"s\":null},\n{\"n\":\"n\",\"s\":\"s\"},\n{\"n\":null,\"s\":\"last\"}]\n"
    );
    assert_eq!(said(&output), "weir: Athena scanned 12.3 GB: about 6 cents, at $5 a TB\n");

    let start = &athena.calls("StartQueryExecution")[0];
    assert_eq!((&start["WorkGroup"], &start["QueryString"]), (&json!("weir"), &json!("SELECT n, s FROM t")));
    assert_eq!(start["QueryExecutionContext"], json!({"Database": "weir"}));
    let tokens: Vec<Value> =
        athena.calls("GetQueryResults").iter().map(|call| call["NextToken"].clone()).collect();
    assert_eq!(tokens, [json!(null), json!("second"), json!("third"), json!("fourth")]);
    assert!(athena.calls("StopQueryExecution").is_empty());
}

#[test]
fn an_answer_without_rows_is_an_answer() {
    let athena = Athena::start(|operation, _| match operation {
        "StartQueryExecution" => started(),
        "GetQueryExecution" => execution("SUCCEEDED", "", 0),
        _ => page(&[HEADER], None),
    });
    for (format, expected) in
        [("json", "[]\n"), ("csv", "n,s\n"), ("table", "┌───┬───┐\n│ n │ s │\n├───┼───┤\n└───┴───┘\n")]
    {
        let output = run(&mut weir(&athena.endpoint, &["query", "--format", format, "SELECT 1"]));
        assert_eq!(printed(&output), expected);
    }
}

#[test]
fn an_end_without_an_answer_says_why_and_what_was_scanned() {
    let limit = "Query cancelled! : Bytes scanned limit was exceeded";
    for (state, reason, expected) in [
        (
            "CANCELLED",
            limit,
            "the query would scan more than the workgroup weir lets one query scan: name the user, year, month and day \
             in WHERE, or raise the stack's ScanLimitMB",
        ),
        ("CANCELLED", "Query was cancelled by user", "the query was cancelled: Query was cancelled by user"),
        ("CANCELLED", "", "the query was cancelled"),
        (
            "FAILED",
            "SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved",
            "the query failed: SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved",
        ),
        ("FAILED", "", "the query failed, and Athena does not say why"),
    ] {
        let athena = Athena::start(move |operation, _| match operation {
            "StartQueryExecution" => started(),
            _ => execution(state, reason, 10_000_000_000),
        });
        let output = run(&mut weir(&athena.endpoint, &["query", "SELECT 1"]));
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
        let expected = format!("weir: Athena scanned 10.0 GB: about 5 cents, at $5 a TB\nweir: {expected}\n");
        assert_eq!(said(&output), expected);
        assert_eq!(athena.calls("GetQueryResults"), Vec::<Value>::new());
        assert_eq!(athena.calls("StopQueryExecution"), Vec::<Value>::new());
    }
}

#[test]
fn a_query_is_started_once_however_often_athena_is_asked() {
    let athena = Athena::start(|operation, nth| match (operation, nth) {
        (_, 0) if operation != "GetQueryResults" => refusal(500, "InternalServerException", "on purpose"),
        ("StartQueryExecution", 1) => refusal(400, "TooManyRequestsException", "on purpose"),
        ("StartQueryExecution", _) => started(),
        ("GetQueryExecution", _) => execution("SUCCEEDED", "", 0),
        _ => page(&[HEADER, [Some("1"), Some("a")]], None),
    });
    let output = run(&mut weir(&athena.endpoint, &["query", "--format", "csv", "SELECT 1"]));
    assert_eq!(printed(&output), "n,s\n1,a\n");
    let tokens: Vec<Value> =
        athena.calls("StartQueryExecution").iter().map(|call| call["ClientRequestToken"].clone()).collect();
    assert!(
        tokens.len() == 3 && tokens[0].is_string() && tokens.iter().all(|token| *token == tokens[0]),
        "{tokens:?}"
    );
}

#[test]
fn a_query_that_is_not_taken_costs_nothing_and_says_why() {
    let athena = Athena::start(|_, _| refusal(400, "TooManyRequestsException", "too many queries at once"));
    let output = run(&mut weir(&athena.endpoint, &["query", "SELECT 1"]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        "weir: Athena does not take the query: TooManyRequestsException: too many queries at once\n"
    );
    let silent = Port::free();
    let output = run(&mut weir(&format!("http://127.0.0.1:{}", silent.number), &["query", "SELECT 1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("Athena does not take the query: dispatch failure"), "{}", said(&output));
    assert!(
        said(&output).contains("onnection refused") && said(&output).lines().count() == 1,
        "{}",
        said(&output)
    );
}

#[test]
fn a_query_whose_state_cannot_be_read_is_stopped() {
    let athena = Athena::start(|operation, _| match operation {
        "StartQueryExecution" => started(),
        "GetQueryExecution" => refusal(400, "AccessDeniedException", "you may not ask"),
        "StopQueryExecution" => Scripted::Answer(200, json!({})),
        _ => panic!("{operation}"),
    });
    let output = run(&mut weir(&athena.endpoint, &["query", "SELECT 1"]));
    assert_eq!(output.status.code(), Some(1));
    let expected = "weir: the query was stopped\n\
                    weir: Athena does not say how the query is doing: AccessDeniedException: you may not ask\n";
    assert_eq!(said(&output), expected);
    assert_eq!(athena.calls("StopQueryExecution"), [json!({"QueryExecutionId": "the-query"})]);
}

#[test]
fn ctrl_c_says_which_query_goes_on_where_it_cannot_be_stopped_and_twice_does_not_wait() {
    for (answers, told) in [
        (true, "weir: the query the-query may go on in Athena: AccessDeniedException: not you\n"),
        (false, ""),
    ] {
        let athena = Athena::start(move |operation, _| match operation {
            "StartQueryExecution" => started(),
            "GetQueryExecution" => execution("RUNNING", "", 5_000_000_000),
            "StopQueryExecution" if answers => refusal(400, "AccessDeniedException", "not you"),
            "StopQueryExecution" => Scripted::Silence,
            _ => panic!("{operation}"),
        });
        let mut child = weir(&athena.endpoint, &["query", "SELECT 1"]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("it is followed", || athena.calls("GetQueryExecution").len() > 1);
        signal(&child, "-INT");
        eventually("it is to be stopped", || !athena.calls("StopQueryExecution").is_empty());
        if !answers {
            signal(&child, "-INT");
        }
        let output = ended(child);
        assert_eq!(output.status.code(), Some(130));
        assert!(said(&output).contains(told), "{}", said(&output));
        assert_eq!(said(&output).contains("may go on"), answers, "{}", said(&output));
        assert!(said(&output).contains("Athena had scanned 5.0 GB: about 3 cents"), "{}", said(&output));
    }
}

#[test]
fn on_a_terminal_it_shows_how_the_query_is_doing() {
    let athena = Athena::start(|operation, nth| match (operation, nth) {
        ("StartQueryExecution", _) => started(),
        ("GetQueryExecution", 0..3) => execution("QUEUED", "", 0),
        ("GetQueryExecution", 3..6) => execution("RUNNING", "", 12_300_000),
        ("GetQueryExecution", _) => execution("SUCCEEDED", "", 45_600_000),
        _ => page(&[HEADER, [Some("1"), Some("a")]], None),
    });
    let shown = run(&mut on_a_terminal(&weir(&athena.endpoint, &["query", "SELECT 1"])));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in [
        ": waiting for its turn, 0 B scanned",
        ": running, 12.3 MB scanned",
        "│ 1 │ a │",
        "weir: Athena scanned 45.6 MB: less than a cent",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    // It is wiped off before the answer, and does not come back.
    let (before, rest) = shown.split_once('┌').unwrap();
    assert!(before.ends_with("\r\u{1b}[2K") && !rest.contains("Athena, "), "{shown:?}");
}
