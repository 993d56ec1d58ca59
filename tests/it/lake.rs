//! What is acknowledged lies in the lake within the flush time, where it can be read with plain tools and with SQL.

use std::process::Command;

use crate::harness::{self, Weir, click, json};
use weir_core::{Clock, SystemClock, Timestamp};

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
         FROM prediction p JOIN outcome o USING (username, prediction_id) GROUP BY model",
    );
    assert_eq!(rows, [json!({"model": "m", "accuracy": 0.0, "score": 0.5})]);
    // The event time, as people read it: in UTC, and in each table.
    let occurred = Timestamp::saturating(SystemClock.now().millis() / 1000 * 1000 - 3 * 86_400_000 + 7);
    let sent =
        json!({"event_type": "page_view", "url": "/", "session_id": "s", "occurred_at": occurred.millis()});
    assert_eq!(weir.post("/events", format!("{sent}\n{{\"event_type\":\"nope\"}}")).status, 207);
    let text = occurred.to_string();
    let (day, time) = text.trim_end_matches('Z').split_once('T').unwrap();
    let of_day = format!("WHERE date = '{day}' AND timestamp >= '{day} 00:00'");
    let expected = [json!({"timestamp": format!("{day} {time}"), "date": day})];
    for table in ["page_view", "events"] {
        assert_eq!(weir.query(&format!("SELECT timestamp, date FROM {table} {of_day}")), expected, "{table}");
    }
    for table in ["rejected", "outcome"] {
        let rows = weir.query(&format!(
            "SELECT timestamp = make_timestamp_ms(time) AS a, date = timestamp::DATE AS d FROM {table}"
        ));
        assert_eq!(rows, [json!({"a": true, "d": true})], "{table}");
    }
    let rows = weir.query("SELECT username, typeof(year) AS y, month BETWEEN 1 AND 12 AS m, day > 0 AS d, hour < 24 AS h FROM outcome");
    assert_eq!(rows, [json!({"username": "demo", "y": "BIGINT", "m": true, "d": true, "h": true})]);
    // A table of a type that was never sent is empty, not missing.
    assert_eq!(
        weir.query("SELECT count(*) AS n, any_value(timestamp) AS at FROM alias"),
        [json!({"n": 0, "at": null})]
    );
}

#[test]
fn a_query_that_does_not_spell_out_its_tables_has_all_of_them() {
    let weir = Weir::start();
    weir.post("/button/click", click("s", "b"));
    let rows = weir.query("SELECT count(*) AS n FROM query_table('button' || '_' || 'click')");
    assert_eq!(rows, [json!({"n": 1})]);
    for sql in [
        "SELECT count(*) AS n FROM information_schema.tables WHERE table_name LIKE 'outco%'",
        "SELECT count(*) AS n FROM (SHOW TABLES) WHERE name LIKE 'outco%'",
        "SELECT count(*) AS n FROM DUCKDB_VIEWS() WHERE view_name LIKE 'outco%'",
    ] {
        assert_eq!(weir.query(sql), [json!({"n": 1})], "{sql}");
    }
    // A misspelt name is compared with all tables, too, and the message comes once.
    let output = weir.run(&["query", "SELECT 1 FROM button_click, outcom"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("\"outcome\"") && said.matches("Error").count() == 1,
        "{said}"
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
    let not_of_json =
        "SELECT 'nan'::DOUBLE AS a, ['-inf'::DOUBLE, 1] AS b, 'NaN' AS c UNION ALL SELECT 1, [], 'x'";
    assert_eq!(
        weir.query(not_of_json),
        [json!({"a": null, "b": [null, 1.0], "c": "NaN"}), json!({"a": 1.0, "b": [], "c": "x"})]
    );
    for (sql, hint) in [
        ("SELECT 1 FROM events WHERE username = 'demo' AND event->>'button_id' = 'x'", "needs parentheses"),
        ("SELECT * FROM read_csv('/etc/passwd')", "a query reads the files of the lake"),
        ("SELECT * FROM read_csv('here.csv')", "a query reads the files of the lake"),
        ("-- nothing", "the query is empty"),
    ] {
        let output = weir.run(&["query", sql]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(hint), "{sql}: {said}");
    }
}

#[test]
fn a_query_can_only_read() {
    let weir = Weir::start();
    weir.post("/button/click", click("s", "b"));
    weir.wait_until_filed();
    let before = weir.files("");
    let target = weir.data().join("lake/stolen.csv");
    let copy = format!("COPY (SELECT 1) TO '{}'", target.display());
    let copy_explained = format!("EXPLAIN ANALYZE {copy}");
    for (sql, why) in [
        (copy.as_str(), "read-only"),
        ("DROP VIEW button_click", "read-only"),
        ("SELECT 1; CREATE TABLE t (a INT)", "read-only"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("EXPLAIN SELECT 1; CREATE TABLE t (a INT)", "read-only"),
        ("EXPLAIN SELECT 1; SELECT 2", "one statement"),
        ("EXPLAIN ANALYZE CREATE TABLE t (a INT)", "read-only"),
        (copy_explained.as_str(), "read-only"),
        // What DuckDB takes for a comment is not what another reader may take for one.
        ("/* /* */ EXPLAIN SELECT 1 -- */ COPY (SELECT 1) TO 'stolen.csv'", "read-only"),
        ("--\rCOPY (SELECT 1) TO 'stolen.csv';\nEXPLAIN SELECT 1", "read-only"),
        ("--\rSET threads = 3;\nEXPLAIN SELECT 1", "read-only"),
        ("EXPLAIN /* /* */ ANALYZE SELECT 1 -- */ ANALYZE COPY (SELECT 1) TO 'stolen.csv'", "read-only"),
        ("EXPLAIN --\rANALYZE COPY (SELECT 1) TO 'stolen.csv'", "read-only"),
        ("INSTALL httpfs", "read-only"),
        (".shell touch stolen", "DuckDB's shell"),
        (" .tables", "DuckDB's shell"),
        ("SELEC 1", "not valid SQL"),
        (" ", "the query is empty"),
        ("SELECT * FROM read_text('/etc/hostname')", "Permission"),
        ("SELECT * FROM no_such_table", "no_such_table"),
    ] {
        let output = weir.run(&["query", sql]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{sql}: {said}");
        assert_eq!(weir.files("").into_iter().find(|name| name.contains("stolen")), None, "{sql}");
    }
    // DuckDB's own place for what does not fit into memory is nothing of the lake either; relative paths are the lake's.
    let here = tempfile::tempdir().unwrap();
    std::fs::create_dir(here.path().join(".tmp")).unwrap();
    std::fs::write(here.path().join(".tmp/x"), "hello").unwrap();
    let (relative, absolute) = (".tmp/x".to_owned(), here.path().join(".tmp/x").display().to_string());
    for (file, is_outside) in [(relative, false), (absolute, true)] {
        let query = format!("SELECT content FROM read_text('{file}')");
        let output = weir.command().args(["query", &query]).current_dir(here.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(!output.status.success() && said.contains("Permission"), is_outside, "{file}: {said}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hello"));
    }
    let databases = |files: &[String]| files.iter().filter(|name| !name.contains("db-")).count();
    assert_eq!(databases(&weir.files("")), databases(&before));
}

#[test]
fn a_query_may_begin_with_a_comment() {
    let weir = Weir::start();
    assert_eq!(weir.query("-- how many\nSELECT 1 AS one"), [json!({"one": 1})]);
    assert_eq!(weir.output(&["query", "--how many\nSELECT 1 AS one", "--format=csv"]), "one\n1\n");
}

#[test]
fn an_option_that_a_query_does_not_have_is_named_as_one() {
    let weir = Weir::start();
    for (option, hint) in [("--csv", "--csv"), ("--fromat", "'--format'")] {
        let output = weir.run(&["query", option, "SELECT 1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("unexpected argument '{option}'")) && said.contains(hint), "{said}");
    }
}

#[test]
fn the_plan_of_a_query_is_printed() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    let plan = weir.output(&["query", "explain SELECT count(*) FROM button_click"]);
    assert!(plan.contains("Physical Plan") && plan.contains("READ_"), "{plan}");
    let profile = weir.output(&["query", "-- why\nEXPLAIN ANALYZE SELECT count(*) FROM button_click"]);
    assert!(profile.contains("Total Time"), "{profile}");
    let refused = weir.run(&["query", "--format", "json", "EXPLAIN SELECT 1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("a plan is a text for people"), "{said}");
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

/// A data folder at this path below a new folder.
fn at(path: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join(path);
    std::fs::create_dir_all(&data).unwrap();
    let data = data.to_str().unwrap().to_owned();
    (folder, data)
}

#[test]
fn partition_columns_come_from_the_lakes_own_folders_whatever_the_path_before_them_is() {
    for path in [
        "year=1999/username=eve/d",
        "hour=x/month=-1/username=/day=99",
        "a [b]*?{c,d}/e's \"f\" $HOME `g` ;h",
        "*/username=*",
        "\\back\\slash/é 漢",
    ] {
        let (_folder, data) = at(path);
        let weir = Weir::start_with(&["--data", &data, "--flush-every", "50ms"]);
        assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
        assert_eq!(weir.post("/button/click", "{}").status, 422);
        let sql = "SELECT username, year > 2000 AS y, month > 0 AND day > 0 AND hour >= 0 AS m, count(*) AS n FROM button_click
                   GROUP BY ALL UNION ALL SELECT username, year > 2000, month > 0, count(*) FROM events GROUP BY ALL
                   UNION ALL SELECT username, year > 2000, true, count(*) FROM rejected GROUP BY ALL ORDER BY n, username";
        let rows = weir.output(&["query", "--data", &data, "--format", "csv", sql]);
        assert_eq!(rows, "username,y,m,n\ndemo,true,true,1\ndemo,true,true,1\ndemo,true,true,2\n", "{path}");
        // What lies beside the lake is out of reach, by any path.
        let by_its_name = format!("{data}/users.db").replace('\'', "''");
        for file in ["../events.db", &by_its_name] {
            let output = weir.run(&["query", "--data", &data, &format!("SELECT * FROM read_blob('{file}')")]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("Permission"), "{path} {file}: {said}");
        }
    }
}

#[test]
fn a_duckdb_that_is_named_by_a_relative_path_is_found() {
    let weir = Weir::start();
    let venv = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    for (name, value) in [("WEIR_DUCKDB", "bin/duckdb"), ("PATH", "bin")] {
        let query = ["query", "--format", "csv", "SELECT count(*) AS n FROM events"];
        let output = weir.command().args(query).current_dir(&venv).env(name, value).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n0\n", "{name}: {output:?}");
    }
}

#[test]
fn an_emptied_partition_is_an_empty_table_and_the_other_tables_answer() {
    let weir = Weir::start();
    let lake = weir.data().join("lake");
    let emptied = [
        "username=demo/outcome/year=2026/month=8/day=1/hour=3",
        "username=demo/page_view/year=2026",
        "username=demo/rejected",
        "username=nobody",
        "username=demo/prediction/year=2026/month=8/day=1/hour=3/sub",
        "elsewhere/button_click/year=2026/month=8/day=1/hour=3",
    ];
    for folder in emptied {
        std::fs::create_dir_all(lake.join(folder)).unwrap();
    }
    std::fs::write(lake.join("username=demo/page_view/year=2026/x.json.gz"), "no partition").unwrap();
    let count = |table: &str| weir.query(&format!("SELECT count(*) AS n FROM {table}"))[0]["n"].clone();
    for table in ["outcome", "page_view", "rejected", "prediction", "button_click", "events"] {
        assert_eq!(count(table), 0, "{table}");
    }
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    for (table, expected) in [("button_click", 1), ("events", 1), ("outcome", 0), ("rejected", 0)] {
        assert_eq!(count(table), expected, "{table}");
    }
}

/// The statement of one of the template's saved queries, for DuckDB: one function has another name there, and today is a day
/// of the machine's time zone.
fn saved_query(logical: &str) -> String {
    let template = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml");
    let template = std::fs::read_to_string(template).unwrap();
    let text = template.split_once(&format!("\n  {logical}:\n")).unwrap().1;
    let text = text.split_once("QueryString: |\n").unwrap().1;
    let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with("        ")).collect();
    let sql = lines.join("\n").replace("from_unixtime(", "to_timestamp(");
    sql.replace("current_date", "(now() AT TIME ZONE 'UTC')::DATE")
}

/// The query of a page that begins so.
fn of_page(page: &str, begin: &str) -> String {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = std::fs::read_to_string(page).unwrap();
    let text = page.split_once(&format!("weir query \"{begin}")).unwrap().1.split_once('"').unwrap().0;
    format!("{begin}{text}")
}

#[test]
fn every_printed_query_is_right_for_several_users_and_for_what_was_sent_twice() {
    let weir = Weir::start_with(&["--flush-every", "50ms"]);
    let (ethan, eve) = (weir.user("ethan"), weir.user("eve"));
    let send = |who: &str, events: &[harness::Value]| {
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        let answer = weir.post_as(who, "/events", lines.join("\n"), &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        // The last outcome is the later one: the next request has to have another millisecond.
        let sent = SystemClock.now();
        harness::eventually("a millisecond has passed", || SystemClock.now() > sent);
    };
    let prediction = |id: &str, model: &str, label: &str| json!({"event_type": "prediction", "prediction_id": id, "model": model, "label": label});
    let outcome =
        |id: &str, label: &str| json!({"event_type": "outcome", "prediction_id": id, "label": label});
    let hostile = "p'; DROP VIEW outcome; --";
    // Both use p1, and one model of ethan's has the name of one of eve's.
    let of_ethan = [
        prediction("p1", "m", "yes"),
        prediction("p1", "m", "yes"),
        prediction("p2", "m", "no"),
        prediction(hostile, "m", "yes"),
        prediction("p1", "other", "no"),
        prediction("never", "m", "yes"),
    ];
    send(&ethan, &of_ethan);
    send(&eve, &[prediction("p1", "m", "no"), outcome("p1", "yes"), outcome("p2", "yes")]);
    send(&ethan, &[outcome("p1", "no"), outcome("p2", "yes"), outcome(hostile, "yes")]);
    // The last outcome is what really happened, however often it is sent.
    for _ in 0..2 {
        send(&ethan, &[outcome("p1", "yes")]);
    }
    let rows =
        weir.query(&format!("{} ORDER BY ALL", of_page("docs/EVENT_TYPES.md", "SELECT username, model, ")));
    let third = 2.0 / 3.0;
    assert_eq!(
        rows,
        [
            json!({"username": "ethan", "model": "m", "accuracy": third}),
            json!({"username": "ethan", "model": "other", "accuracy": 0.0}),
            json!({"username": "eve", "model": "m", "accuracy": 0.0}),
        ]
    );
    let rows = weir.query(&saved_query("AccuracyQuery"));
    assert_eq!(
        rows,
        [
            json!({"model": "m", "outcomes": 3, "accuracy": third}),
            json!({"model": "other", "outcomes": 1, "accuracy": 0.0}),
        ]
    );

    let clicks =
        |session: &str| json!({"event_type": "button_click", "session_id": session, "button_id": hostile});
    let view = json!({"event_type": "page_view", "url": "https://a/'", "session_id": "s"});
    for who in [&ethan, &eve] {
        send(who, &[clicks("s1"), clicks("s1"), clicks("s2"), view.clone()]);
        weir.post_as(who, "/events", r#"{"event_type":"nothing"}"#, &[]).problem(422, "no-valid-event");
    }
    assert_eq!(
        weir.query(&saved_query("ClicksQuery")),
        [json!({"button_id": hostile, "clicks": 3, "sessions": 2})]
    );
    let rows = weir.query(&saved_query("PagesQuery"));
    assert!(matches!(&rows[..], [row] if row["url"] == "https://a/'" && row["views"] == 1), "{rows:?}");
    let rows = weir.query(&saved_query("RejectedQuery"));
    assert!(matches!(&rows[..], [row] if row["claimed_type"] == "nothing"), "{rows:?}");
    let rows = weir.query(&of_page("docs/QUERIES.md", "SELECT event->>'button_id' AS button, "));
    assert!(rows.contains(&json!({"button": hostile, "count_star()": 3})), "{rows:?}");
}
