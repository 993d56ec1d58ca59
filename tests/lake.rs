//! What is acknowledged lies in the lake within the flush time, where it can be read with plain tools and with SQL.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::process::Command;

use harness::{Weir, click, json};

#[test]
fn an_event_is_filed_under_user_type_and_hour_and_zcat_reads_it() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    weir.wait_until_filed();
    let [file] = &weir.files("lake")[..] else { panic!() };
    let line = Command::new("zcat").arg(weir.data().join("lake").join(file)).output().unwrap();
    let line: harness::Value = serde_json::from_slice(&line.stdout).unwrap();
    let received = line["received_at"].as_u64().unwrap();
    let [year, month, day, hour] = weir_core::Timestamp::from_millis(received).unwrap().hour().parts();
    let folder = format!("username=demo/button_click/year={year}/month={month}/day={day}/hour={hour}/");
    assert!(file.starts_with(&folder), "{file} should be below {folder}");
    assert_eq!((&line["username"], &line["event_type"]), (&json!("demo"), &json!("button_click")));
    assert_eq!((&line["session_id"], &line["button_id"]), (&json!("s1"), &json!("abc")));
}

#[test]
fn a_query_counts_everything_that_was_acknowledged_before_it() {
    // The flush time is long enough for the query to be there first.
    let weir = Weir::start_with(&["--flush-every", "2s"]);
    for n in 0..20 {
        assert_eq!(weir.post("/button/click", click("s", &format!("b{}", n % 2))).status, 200);
    }
    let rows = weir.query("SELECT button_id, count(*) AS n FROM button_click GROUP BY 1 ORDER BY 1");
    assert_eq!(rows, [json!({"button_id": "b0", "n": 10}), json!({"button_id": "b1", "n": 10})]);
    assert_eq!(weir.get("/counts/button_click").json()["settled"], 20);
}

#[test]
fn every_type_is_a_table_with_its_partition_as_columns() {
    let weir = Weir::start();
    let prediction =
        r#"{"event_type":"prediction","prediction_id":"p1","model":"m","label":"yes","score":0.5}"#;
    let outcome = r#"{"event_type":"outcome","prediction_id":"p1","label":"no"}"#;
    assert_eq!(weir.post("/events", format!("{prediction}\n{outcome}")).status, 200);
    let rows = weir.query(
        "SELECT model, avg(CAST(p.label = o.label AS INTEGER)) AS accuracy, max(score) AS score
         FROM prediction p JOIN outcome o USING (prediction_id) GROUP BY model",
    );
    assert_eq!(rows, [json!({"model": "m", "accuracy": 0.0, "score": 0.5})]);
    let rows = weir.query("SELECT username, typeof(year) AS y, month BETWEEN 1 AND 12 AS m, day > 0 AS d, hour < 24 AS h FROM outcome");
    assert_eq!(rows, [json!({"username": "demo", "y": "BIGINT", "m": true, "d": true, "h": true})]);
    // A table of a type that nobody has sent is empty, not missing.
    assert_eq!(
        weir.query("SELECT count(*) AS n, any_value(url) AS url FROM page_view"),
        [json!({"n": 0, "url": null})]
    );
}

#[test]
fn a_query_prints_tables_json_and_csv() {
    let weir = Weir::start();
    weir.post("/button/click", click("s", "a,\"b\""));
    let sql = "SELECT button_id AS b, 1 AS n FROM button_click";
    assert_eq!(weir.output(&["query", "--format", "csv", sql]), "b,n\n\"a,\"\"b\"\"\",1\n");
    assert_eq!(weir.query(sql), [json!({"b": "a,\"b\"", "n": 1})]);
    assert!(weir.output(&["query", sql]).contains("│ a,\"b\" │ 1 │"));
    assert_eq!(weir.query("SELECT 1 AS n WHERE false"), Vec::<harness::Value>::new());
}

#[test]
fn a_query_can_only_read() {
    let weir = Weir::start();
    weir.post("/button/click", click("s", "b"));
    weir.wait_until_filed();
    let before = weir.files("");
    let target = weir.data().join("lake/stolen.csv");
    let copy = format!("COPY (SELECT 1) TO '{}'", target.display());
    for (sql, why) in [
        (copy.as_str(), "read-only"),
        ("DROP VIEW button_click", "read-only"),
        ("SELECT 1; CREATE TABLE t (a INT)", "read-only"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("INSTALL httpfs", "read-only"),
        (".shell touch stolen", "not valid SQL"),
        ("SELEC 1", "not valid SQL"),
        (" ", "the query is empty"),
        ("SELECT * FROM read_text('/etc/hostname')", "Permission"),
        ("SELECT * FROM no_such_table", "no_such_table"),
    ] {
        let output = weir.run(&["query", sql]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{sql}: {said}");
    }
    // DuckDB's own place for what does not fit into memory is nothing of the lake either.
    let here = tempfile::tempdir().unwrap();
    std::fs::create_dir(here.path().join(".tmp")).unwrap();
    std::fs::write(here.path().join(".tmp/x"), "hello").unwrap();
    for file in [".tmp/x".to_owned(), here.path().join(".tmp/x").display().to_string()] {
        let query = format!("SELECT content FROM read_text('{file}')");
        let output = weir.command().args(["query", &query]).current_dir(here.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("Permission"), "{file}: {said}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hello"));
    }
    let databases = |files: &[String]| files.iter().filter(|name| !name.contains("db-")).count();
    assert_eq!(databases(&weir.files("")), databases(&before));
}

#[test]
fn a_query_may_begin_with_a_comment() {
    let weir = Weir::start();
    assert_eq!(weir.query("-- how many\nSELECT 1 AS one"), [json!({"one": 1})]);
}

#[test]
fn without_duckdb_a_query_says_the_one_command_that_installs_it() {
    let weir = Weir::start();
    let output = weir.command().args(["query", "SELECT 1"]).env("PATH", "/nowhere").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("\n    pip install duckdb-cli\n"));
}

#[test]
fn a_value_that_fits_no_column_is_null_and_spoils_no_query() {
    let weir = Weir::start();
    let folder = tempfile::tempdir().unwrap();
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"x-weir":{"route":"/n"}}"#;
    std::fs::write(folder.path().join("numbers.json"), schema).unwrap();
    drop(weir);
    let catalog = folder.path().to_str().unwrap();
    let weir = Weir::start_with(&["--catalog", catalog, "--flush-every", "100ms"]);
    assert_eq!(weir.post("/n", r#"{"n": 123456789012345678901234567890}"#).status, 200);
    assert_eq!(weir.post("/n", r#"{"n": 7}"#).status, 200);
    let sql = "SELECT count(*) AS all, sum(n) AS sum FROM numbers".replace("all", "rows");
    let rows = weir.output(&["query", "--catalog", catalog, "--format", "csv", &sql]);
    assert_eq!(rows, "rows,sum\n2,7\n");
}
