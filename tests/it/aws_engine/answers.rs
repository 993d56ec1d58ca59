//! `weir publish --engine aws`: Athena computes answers, and they are read from S3.
//!
//! The local AWS answers with DuckDB, so these answers are in SQL that both take; what `weir` asks for is compared with
//! Trino's rules in `functions/publisher/src/question.rs`.

use std::{
    fs,
    process::{Output, Stdio},
};

use super::{
    emulator::LAKE,
    on_aws::{OnAws, ended, said, signal},
};
use crate::harness::{Value, click, eventually, json};

#[test]
fn answers_are_computed_by_athena_and_read_from_s3_as_on_one_machine() {
    let aws = OnAws::start();
    let (ann, server) = (aws.user("ann"), aws.serve(&[]));
    let odd = ["ü", "a/b", "..", "%2F", "", "a b&c=d", "it's \"so\"", &"x".repeat(2000)];
    for button in odd {
        assert_eq!(server.post(&ann, "/button/click", click("s", button)).status, 200);
    }
    aws.output(&["replay"]);
    aws.make_button_clicks_of("ann");
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, sql: &str| fs::write(files.path().join(name), sql).unwrap();
    let publish = |name: &[&str]| -> Output {
        let folder = files.path().to_str().unwrap();
        aws.run(&[&["publish", "--answers", folder], name].concat())
    };
    write(
        "mine.sql",
        "-- slot: button_id\nSELECT username, button_id, count(*) AS clicks, NULL AS nothing, 0.5::DOUBLE AS half
         FROM button_click GROUP BY 1, 2;\n-- The end.",
    );
    write("by_button.sql", "-- path: button_id\nSELECT username, button_id, 1 AS n FROM button_click");
    // More rows than Athena gives at once, and more bytes than a reader keeps.
    write(
        "wide.sql",
        "-- public: true\n-- path: thousand\n-- slot: n\n-- every: 1 hour
         SELECT range // 1000 AS thousand, range AS n, repeat('ü', 50) AS text FROM range(2500)",
    );
    write("twice.sql", "-- slot: n\n-- public: true\nSELECT 1 AS n FROM range(2)");
    write("large.sql", "-- public: true\nSELECT repeat('x', 1000) AS x FROM range(3000)");
    write("nan.sql", "-- public: true\nSELECT 'NaN'::DOUBLE AS n");
    let done = publish(&[]);
    assert_eq!(done.status.code(), Some(1));
    let told = String::from_utf8(done.stdout.clone()).unwrap();
    let names: Vec<&str> = told.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(names, ["by_button: 7 rows", "mine: 8 rows", "wide: 2500 rows"]);
    assert!(told.contains("; 1 row was left out"), "{told}");
    for expected in [
        "weir: Athena scanned ",
        "weir: large: the rows below one path have 3027000 bytes: on AWS it is 3000000 at the most",
        "weir: nan: the column n holds a number that JSON cannot write, ",
        "weir: twice: two rows have the same address, n = \"1\": slot must name one",
    ] {
        assert!(said(&done).contains(expected), "{}", said(&done));
    }

    let row = |button: &str| json!({"username": "ann", "button_id": button, "clicks": 1, "nothing": null, "half": 0.5});
    let encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    for button in odd {
        let path = format!("/answers/mine?button_id={}", encoded(button));
        assert_eq!(server.get(&ann, &path).json(), row(button), "{button}");
        if !button.is_empty() {
            let below = server.get(&ann, &format!("/answers/by_button/{}", encoded(button)));
            assert_eq!(below.json(), json!([{"username": "ann", "button_id": button, "n": 1}]));
        }
    }
    assert_eq!(server.get(&ann, "/answers/mine").json().as_array().unwrap().len(), odd.len());
    let bob = aws.user("bob");
    assert_eq!(server.get(&bob, "/answers/mine").json(), json!([]));
    for absent in ["/answers/mine?button_id=none", "/answers/none", "/answers/twice", "/answers/mine/x"] {
        server.get(&ann, absent).problem(404, "no-such-answer");
    }
    server.request("GET", None, "/answers/mine", &[], b"").problem(401, "unauthorized");
    let open = |path: &str| server.request("GET", None, path, &[], b"");
    let slot = open("/answers/wide/2?n=2499");
    assert_eq!(slot.json(), json!({"thousand": 2, "n": 2499, "text": "ü".repeat(50)}));
    assert!(slot.header("cache-control").unwrap().starts_with("public, max-age="));
    assert_eq!(open("/answers/public/wide/2?n=2499").json(), slot.json());
    for hidden in ["/answers/public/mine", "/answers/public/by_button/x", "/answers/public/none"] {
        open(hidden).problem(404, "no-such-answer");
    }
    for (path, number) in [("0", 1000), ("1", 1000), ("2", 500)] {
        let rows = open(&format!("/answers/wide/{path}")).json();
        assert_eq!(rows.as_array().unwrap().len(), number);
    }
    let listed = server.get(&ann, "/answers").json()["answers"].clone();
    let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|answer| &answer["name"]).collect();
    assert_eq!(names, ["by_button", "mine", "wide"]);
}

#[test]
fn what_is_published_gives_way_to_what_is_computed_later_and_to_nothing_else() {
    let aws = OnAws::start();
    let server = aws.serve(&[]);
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, sql: &str| fs::write(files.path().join(name), sql).unwrap();
    let publish = |name: &[&str]| -> Output {
        let folder = files.path().to_str().unwrap();
        aws.run(&[&["publish", "--answers", folder], name].concat())
    };
    let open = |path: &str| server.request("GET", None, path, &[], b"");
    write("wide.sql", "-- public: true\n-- path: n\nSELECT 6 AS n");
    assert!(publish(&["wide"]).status.success());
    assert_eq!(open("/answers/wide/6").json(), json!([{"n": 6}]));
    // The next one takes its place; then none, as the published one is of a later time.
    write("wide.sql", "-- public: true\nSELECT 7 AS n");
    assert!(publish(&["wide"]).status.success());
    assert_eq!(open("/answers/wide").json(), json!([{"n": 7}]));
    open("/answers/wide/6").problem(404, "no-such-answer");
    let pointer = &aws.objects(LAKE, "answers/wide/current")["answers/wide/current"];
    let mut pointer: Value = serde_json::from_slice(pointer).unwrap();
    let at = pointer["published"]["published_at"].as_u64().unwrap();
    pointer["published"]["published_at"] = json!(at + 3_600_000);
    aws.put(LAKE, "answers/wide/current", pointer.to_string().as_bytes());
    write("wide.sql", "-- public: true\nSELECT 8 AS n");
    let late = publish(&["wide"]);
    assert!(!late.status.success() && said(&late).contains("weir: wide: not published: "), "{}", said(&late));
    assert_eq!(open("/answers/wide").json(), json!([{"n": 7}]));

    let waiting = publish(&["wide", "--wait", "1s"]);
    assert!(said(&waiting).contains("--wait means nothing on AWS"), "{}", said(&waiting));
    let changing = aws.queries().len();
    write("wide.sql", "DROP TABLE button_click");
    assert!(said(&publish(&["wide"])).contains("the lake is read-only"));
    assert_eq!(aws.queries().len(), changing, "Athena was asked");

    // Ctrl-C stops the query, and what is published stays.
    write("wide.sql", "-- public: true\nSELECT sum(range % 7) AS n FROM range(1000000000000000)");
    let mut child = aws.command(&["publish", "wide", "--answers", files.path().to_str().unwrap()]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the query runs", || aws.queries().iter().any(|(_, state)| state == "RUNNING"));
    signal(&child, "-INT");
    assert_eq!(ended(child).status.code(), Some(130));
    assert!(aws.queries().iter().any(|(_, state)| state == "CANCELLED"), "{:?}", aws.queries());
    assert_eq!(open("/answers/wide").json(), json!([{"n": 7}]));
}
