//! `POST /query`: SQL over the caller's own rows, whatever the SQL says, within limits.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use weir_core::{Clock, Day, SystemClock};

use crate::harness::{Answer, Value, Weir, basic, click, eventually, json};

/// What must never reach another user: a text in each of eve's events, and one in the server's environment.
const OF_EVE: &str = "eves-own-words";

fn ask(weir: &Weir, who: &str, sql: &str) -> Answer {
    weir.post_as(who, "/query", sql, &[("content-type", "text/plain")])
}

/// The rows of a query that must be answered.
fn rows(weir: &Weir, who: &str, sql: &str) -> Value {
    let answer = ask(weir, who, sql);
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer.json()
}

/// A server with events of two users, of a sealed day and of today.
fn start() -> (Weir, String) {
    let weir = Weir::start_with(&["--queries", "2", "--flush-every", "100ms", "--seal-after", "never"]);
    let eve = weir.user("eve");
    let day = Day::of(SystemClock.now().hour()).minus(5).first_hour().start().millis();
    for (who, words) in [(&weir.credentials, "demos-words"), (&eve, OF_EVE)] {
        let old = json!({"event_type": "button_click", "session_id": "old", "button_id": words, "occurred_at": day});
        assert_eq!(weir.post_as(who, "/events", old.to_string(), &[]).status, 200);
        assert_eq!(weir.post_as(who, "/button/click", click("new", words), &[]).status, 200);
        let unknown = json!({"event_type": "unknown", "text": words}).to_string();
        assert_eq!(weir.post_as(who, "/events", unknown, &[]).status, 422);
    }
    weir.wait_until_filed();
    weir.output(&["seal"]);
    assert!(weir.files("sealed").iter().any(|file| file.ends_with(".parquet")));
    (weir, eve)
}

#[test]
fn no_query_reads_anything_but_its_own_users_rows_whatever_the_sql_says() {
    let (weir, eve) = start();
    let demo = weir.credentials.clone();
    let data = weir.data().canonicalize().unwrap();
    let data = data.to_str().unwrap();

    // Each user's own rows are read, of sealed days and of today, in each table, and no other's.
    for (who, name, words) in [(&demo, "demo", "demos-words"), (&eve, "eve", OF_EVE)] {
        let sql = "SELECT username, button_id, session_id FROM button_click ORDER BY session_id";
        let row = |session: &str| json!({"username": name, "button_id": words, "session_id": session});
        assert_eq!(rows(&weir, who, sql), json!([row("new"), row("old")]));
        let sql = "SELECT DISTINCT username, count(*) AS n FROM events GROUP BY ALL";
        assert_eq!(rows(&weir, who, sql), json!([{"username": name, "n": 3}]));
        let sql = format!("SELECT count(*) AS n FROM rejected WHERE body LIKE '%{words}%'");
        assert_eq!(rows(&weir, who, &sql), json!([{"n": 1}]));
    }

    let files =
        weir.files("lake").into_iter().find(|file| file.starts_with("username=eve/button_click")).unwrap();
    let parquet = weir.files("sealed").into_iter().find(|file| file.ends_with(".parquet")).unwrap();
    let attempts = [
        // Another user's rows.
        "SELECT * FROM read_json('../../lake/username=eve/**/*.json.gz')".to_owned(),
        format!("SELECT * FROM read_ndjson_objects('{data}/lake/{files}')"),
        format!("SELECT * FROM read_json_auto('{data}/lake/**')"),
        format!("SELECT * FROM '{data}/lake/{files}'"),
        format!("SELECT * FROM read_parquet('{data}/sealed/{parquet}')"),
        format!("SELECT * FROM parquet_scan('{data}/sealed/{parquet}')"),
        format!("SELECT * FROM \"{data}/sealed/{parquet}\""),
        format!("FROM parquet_metadata('{data}/sealed/{parquet}')"),
        format!("FROM parquet_full_metadata('{data}/sealed/{parquet}')"),
        format!("FROM parquet_bloom_probe('{data}/sealed/{parquet}', 'username', 'eve')"),
        format!("WITH \"{data}/sealed/{parquet}\" AS (SELECT 1) SELECT (FROM \"{data}/sealed/{parquet}\") UNION ALL FROM (SELECT username FROM '{data}/sealed/{parquet}')"),
        "SELECT * REPLACE (1 AS \"../../sealed/manifest.json\") FROM '../../sealed/manifest.json'".to_owned(),
        "FROM eve.button_click".to_owned(),
        "FROM weir_rows.main.button_click".to_owned(),
        "FROM rows.main.button_click".to_owned(),
        "FROM 'rows.duckdb'".to_owned(),
        "FROM read_duckdb('rows.duckdb', table_name = 'button_click')".to_owned(),
        format!("SELECT * FROM sqlite_scan('{data}/events.db', 'users')"),
        // Files.
        "SELECT * FROM read_text('/etc/passwd')".to_owned(),
        "SELECT * FROM read_blob('/etc/passwd')".to_owned(),
        "SELECT * FROM read_csv('/etc/passwd')".to_owned(),
        "SELECT * FROM read_csv_auto('/etc/passwd')".to_owned(),
        "SELECT * FROM sniff_csv('/etc/passwd')".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "WITH \"/etc/passwd\" AS (SELECT 1) SELECT (SELECT count(*) FROM \"/etc/passwd\"), * FROM glob('/etc/*')".to_owned(),
        format!("SELECT * FROM read_text('{data}/users.db')"),
        "SELECT * FROM glob('/**')".to_owned(),
        "SELECT * FROM glob(['/etc/*', '/home/*'])".to_owned(),
        "SELECT * FROM READ_TEXT('script.sql')".to_owned(),
        "SELECT * FROM main.read_text('/proc/self/environ')".to_owned(),
        "SELECT (SELECT content FROM read_text('/etc/hostname'))".to_owned(),
        "SELECT 1 WHERE EXISTS (FROM read_text('/etc/hostname'))".to_owned(),
        "SELECT * FROM range(1), LATERAL (FROM read_text('/etc/hostname'))".to_owned(),
        "PIVOT (FROM read_text('/etc/hostname')) ON filename USING count(*)".to_owned(),
        "DESCRIBE (FROM read_text('/etc/hostname'))".to_owned(),
        "SUMMARIZE FROM read_csv('/etc/passwd')".to_owned(),
        "COPY (SELECT 1) TO '/tmp/weir-stolen.csv'".to_owned(),
        "COPY button_click FROM '/etc/passwd'".to_owned(),
        "EXPORT DATABASE '/tmp/weir-stolen'".to_owned(),
        "ATTACH '/tmp/weir-stolen.db'".to_owned(),
        "SELECT 1; ATTACH '/tmp/weir-stolen.db'".to_owned(),
        // SQL out of texts.
        "FROM query('FROM read_text(''/etc/passwd'')')".to_owned(),
        "FROM query_table('/etc/passwd')".to_owned(),
        "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''/etc/passwd'')'))".to_owned(),
        "FROM json_execute_serialized_sql(getvariable('weir_sql'))".to_owned(),
        "PREPARE x AS FROM read_text('/etc/passwd')".to_owned(),
        "CREATE MACRO x() AS TABLE FROM read_text('/etc/passwd')".to_owned(),
        // The environment, the machine and its memory.
        "SELECT getenv('WEIR_TEST_SECRET')".to_owned(),
        "SELECT GETENV('PATH')".to_owned(),
        "SELECT current_setting('allowed_paths')".to_owned(),
        "SELECT getvariable('weir_sql')".to_owned(),
        "FROM duckdb_settings()".to_owned(),
        "FROM duckdb_databases".to_owned(),
        "WITH duckdb_databases AS (SELECT 1) SELECT (FROM duckdb_databases), * FROM duckdb_databases()".to_owned(),
        "FROM pragma_database_list".to_owned(),
        "FROM pg_catalog.pg_settings".to_owned(),
        "FROM duckdb_secrets()".to_owned(),
        "FROM duckdb_temporary_files()".to_owned(),
        "FROM duckdb_logs".to_owned(),
        "FROM duckdb_external_file_cache()".to_owned(),
        "FROM which_secret('s3://a/b', 's3')".to_owned(),
        "FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)".to_owned(),
        "FROM seq_scan()".to_owned(),
        "SELECT write_log('x')".to_owned(),
        "FROM enable_logging(storage = 'file', storage_path = '/tmp/weir-stolen')".to_owned(),
        "FROM enable_profiling(format = 'json', save_location = '/tmp/weir-stolen.json')".to_owned(),
        // The network.
        "SELECT * FROM 'https://127.0.0.1:1/x.csv'".to_owned(),
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')".to_owned(),
        "SELECT * FROM read_parquet('s3://bucket/key')".to_owned(),
        "INSTALL httpfs".to_owned(),
        "LOAD httpfs".to_owned(),
        "LOAD '/tmp/x.duckdb_extension'".to_owned(),
        // Settings, and other statements.
        "SET enable_external_access = true".to_owned(),
        "RESET lock_configuration".to_owned(),
        "PRAGMA database_list".to_owned(),
        "CALL pragma_version()".to_owned(),
        "SELECT set_config('a', 'b', false)".to_owned(),
        "DROP TABLE button_click".to_owned(),
        "INSERT INTO button_click SELECT * FROM button_click".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "WITH x AS (DELETE FROM button_click RETURNING *) FROM x".to_owned(),
        // The shell around DuckDB.
        ".shell id > /tmp/weir-stolen".to_owned(),
        "SELECT 1;\n.shell id > /tmp/weir-stolen".to_owned(),
        "SELECT 1\n;\n.read /etc/passwd\n".to_owned(),
        ".system id".to_owned(),
        "'));\n.shell id > /tmp/weir-stolen\nSELECT (('".to_owned(),
        "') FROM read_text('/etc/passwd') --".to_owned(),
        "\0.shell id".to_owned(),
    ];
    assert!(attempts.len() >= 80);
    let shown = |text: &str| {
        [OF_EVE, "root:", data, "/usr/", "weir_sql"].into_iter().find(|secret| text.contains(secret))
    };
    // Two users beside each other, as each has one query at once.
    let ann = weir.user("ann");
    let attempt = |who: &str, sql: &String| {
        let answer = ask(&weir, who, sql);
        let text = answer.text();
        assert_eq!(answer.status, 400, "{sql}: {text}");
        let problem = answer.problem(400, "sql-error");
        // The client's own words may come back.
        let detail = problem["detail"].as_str().unwrap();
        if !sql.contains(data) && !sql.contains("weir_sql") {
            assert_eq!(shown(&text), None, "{sql}: {text}");
        }
        assert!(!detail.is_empty() && !text.contains(OF_EVE), "{sql}: {text}");
    };
    let (some, others) = attempts.split_at(attempts.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| others.iter().for_each(|sql| attempt(&ann, sql)));
        for sql in some {
            attempt(&demo, sql);
        }
    });
    // What is answered has the user's own rows.
    for sql in [
        "SELECT * FROM button_click WHERE username = 'eve'",
        "SELECT * FROM button_click WHERE username = 'eve' OR true OR button_id = 'eves'",
        "SELECT * FROM events",
        "SELECT * FROM information_schema.tables JOIN information_schema.columns USING (table_name)",
        "DESCRIBE button_click",
        "SUMMARIZE button_click",
        "FROM (SELECT list(b) FROM button_click b)",
        "SELECT version() AS v, current_database(), current_schema(), current_user",
        "SELECT * FROM button_click AT (VERSION => 1)",
    ] {
        let answer = ask(&weir, &demo, sql);
        assert_eq!(shown(&answer.text()), None, "{sql}: {}", answer.text());
    }
    let stolen = std::fs::read_dir("/tmp").unwrap();
    let stolen: Vec<_> = stolen.map(|file| file.unwrap().file_name()).collect();
    assert!(!stolen.iter().any(|file| file.to_string_lossy().starts_with("weir-stolen")), "{stolen:?}");
    assert_eq!(weir.files("queries"), Vec::<String>::new());
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());
}

#[test]
fn a_query_is_answered_as_the_client_asks_within_limits_and_ends_with_its_client() {
    let (weir, eve) = start();
    let demo = weir.credentials.clone();
    let accept = |accept: &str, sql: &str| weir.post_as(&demo, "/query", sql, &[("accept", accept)]);
    let sql =
        "SELECT date = timestamp::DATE AS same, button_id AS \"a,b\", NULL AS n FROM button_click LIMIT 1";
    let csv = accept("text/csv", sql);
    assert_eq!(
        (csv.status, csv.text().replace('\r', "")),
        (200, "same,\"a,b\",n\ntrue,demos-words,\n".to_owned())
    );
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.header("cache-control"), Some("no-store"));
    let odd =
        rows(&weir, &demo, "-- a comment\nSELECT 'nan'::DOUBLE AS a, [-'inf'::DOUBLE] AS b, 'NaN' AS c");
    assert_eq!(odd, json!([{"a": null, "b": [null], "c": "NaN"}]));
    assert_eq!(
        rows(&weir, &demo, "WITH own AS (FROM button_click) SELECT 1 AS a FROM own WHERE false"),
        json!([])
    );
    accept("application/vnd.apache.arrow.stream", sql).problem(406, "not-acceptable");

    // The SQL's errors are DuckDB's, and near misses are named.
    let wrong = ask(&weir, &demo, "SELECT buton_id FROM button_click").problem(400, "sql-error");
    assert!(wrong["detail"].as_str().unwrap().contains("\"button_id\""), "{wrong}");
    let wrong = ask(&weir, &demo, "SELECT 1 FROM buton_click").problem(400, "sql-error");
    assert!(wrong["detail"].as_str().unwrap().ends_with("Did you mean button_click?"), "{wrong}");
    let wrong = ask(&weir, &demo, "SHOW TABLES").problem(400, "sql-error");
    assert!(wrong["detail"].as_str().unwrap().contains("The tables are button_click, outcome, "), "{wrong}");
    for empty in ["", " \n"] {
        ask(&weir, &demo, empty).problem(400, "sql-error");
    }
    weir.post_as(&demo, "/query", b"SELECT '\xff'", &[]).problem(400, "sql-error");
    ask(&weir, &demo, &format!("SELECT '{}'", "x".repeat(64 << 10))).problem(413, "body-too-large");
    let writes = weir.output(&["user", "add", "ann", "--scope", "write"]).trim_end().to_owned();
    ask(&weir, &writes, "SELECT 1").problem(403, "out-of-scope");

    // Answers and memory are bounded.
    ask(&weir, &demo, "SELECT repeat('x', 1000) AS x FROM range(100000)").problem(413, "answer-too-large");
    let cross = "SELECT list(a.range + b.range) FROM range(1000000) a, range(1000000) b";
    ask(&weir, &demo, cross).problem(400, "sql-error");
    ask(&weir, &demo, "SELECT length(repeat('x', 4000000000))").problem(400, "sql-error");

    // A user has one query at once; it ends with its client, and makes room at once.
    let endless =
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range % 7 = 3";
    let mut client = TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /query HTTP/1.1\r\nhost: weir\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{endless}",
        basic(&demo),
        endless.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    // Asked for meanwhile, another query would take its place.
    eventually("the query runs", || !weir.files("queries").is_empty());
    let busy = ask(&weir, &demo, "SELECT 1");
    busy.problem(429, "too-many-queries");
    assert_eq!(busy.header("retry-after"), Some("5"));
    assert_eq!(rows(&weir, &eve, "SELECT 1 AS one"), json!([{"one": 1}]));
    client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(client.read(&mut [0]).is_err(), "it is not answered yet");
    drop(client);
    eventually("the query has ended", || ask(&weir, &demo, "SELECT 1").status == 200);
    assert_eq!(weir.files("queries"), Vec::<String>::new());
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());
}

#[test]
fn where_queries_are_not_turned_on_none_is_answered() {
    let weir = Weir::start();
    let problem = ask(&weir, &weir.credentials, "SELECT 1").problem(404, "no-queries-here");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("--queries") && detail.contains("WithQueries"), "{detail}");
}

#[test]
fn a_body_that_is_json_and_a_list_of_tables_are_refused_with_what_to_do() {
    let weir = Weir::start_with(&["--queries", "1", "--seal-after", "never"]);
    for body in [r#"{"sql": "SELECT 1"}"#, r#"["SELECT 1"]"#, r#""SELECT 1""#] {
        let refused = ask(&weir, &weir.credentials, body).json();
        assert_eq!(refused["detail"], "The body is JSON: it should be the SQL itself, as text.", "{refused}");
    }
    let refused = ask(&weir, &weir.credentials, "SHOW TABLES").json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with(r#"There is no table "tables". The tables are "#), "{refused}");
}
