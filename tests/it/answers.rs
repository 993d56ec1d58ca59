//! Answers that were computed beforehand: each is read whole, by its path and slot, by those who may read it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Output,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use crate::harness::{PATIENCE, Weir, click, eventually, json};
use weir_core::{
    Clock, SystemClock, Timestamp,
    answers::{Published, layout::Writer},
    ports::AnswersAdmin,
};
use weir_embedded::AnswersFolder;

/// Answers in a folder.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).unwrap();
    }
    folder
}

fn publish(weir: &Weir, folder: &Path, name: &[&str]) -> Output {
    weir.command().arg("publish").args(name).arg("--answers").arg(folder).output().unwrap()
}

fn published(weir: &Weir, folder: &Path) -> String {
    let output = publish(weir, folder, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ask(weir: &Weir, who: Option<&str>, path: &str) -> crate::harness::Answer {
    weir.request("GET", who, path, &[], b"")
}

#[test]
fn an_answer_is_read_by_its_path_and_slot_and_by_whose_it_is() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    let odd = ["ü", "a/b", "..", "%2F", "", "a b&c=d", &"x".repeat(2000)];
    for button in odd {
        assert_eq!(weir.post("/button/click", click("s", button)).status, 200);
    }
    assert_eq!(weir.post_as(&ann, "/button/click", click("s", "ü"), &[]).status, 200);
    let count = "SELECT username, session_id, button_id, count(*) AS clicks FROM button_click GROUP BY ALL";
    let by_page = format!("-- path: button_id\n-- slot: session_id\n{count}");
    let files = folder(&[
        ("mine.sql", &format!("-- slot: button_id\n{count}")),
        ("by_button.sql", &by_page),
        ("named.sql", &format!("-- path: username, button_id\n{count}")),
        (
            "all.sql",
            "-- public: true\n-- every: 1 hour\nSELECT count(*) AS clicks FROM button_click;\n-- The end.",
        ),
    ]);
    let said = published(&weir, files.path());
    assert!(said.contains("by_button: 7 rows") && said.contains("1 row was left out"), "{said}");

    // Each user has the rows of their own, though no URL has their name.
    let row = |user: &str, button: &str| json!({"username": user, "session_id": "s", "button_id": button, "clicks": 1});
    assert_eq!(weir.get("/answers/mine").json().as_array().unwrap().len(), odd.len());
    assert_eq!(weir.get_as(&ann, "/answers/mine").json(), json!([row("ann", "ü")]));
    for button in odd {
        let encoded: String = button.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(weir.get(&format!("/answers/mine?button_id={encoded}")).json(), row("demo", button));
        if !button.is_empty() {
            let below = weir.get(&format!("/answers/by_button/{encoded}"));
            assert_eq!(below.json(), json!([row("demo", button)]));
            let one = weir.get(&format!("/answers/by_button/{encoded}?session_id=s"));
            assert_eq!(one.json(), row("demo", button));
            assert!(!one.text().ends_with(' '));
        }
    }
    weir.get_as(&ann, "/answers/mine?button_id=..").problem(404, "no-such-answer");
    assert_eq!(weir.get("/answers/named/demo/..").json(), json!([row("demo", "..")]));
    assert_eq!(weir.get_as(&ann, "/answers/named/ann/%C3%BC").json(), json!([row("ann", "ü")]));
    for path in ["/answers/named/demo/..", "/answers/named/demo/%C3%BC", "/answers/named/nobody/x"] {
        weir.get_as(&ann, path).problem(404, "no-such-answer");
    }

    for path in [
        "/answers/none",
        "/answers/mine/demo",
        "/answers/by_button",
        "/answers/by_button/a/b",
        "/answers/by_button/%25252F",
        "/answers/mine?button_id=absent",
        "/answers/..",
        "/answers/%2e%2e%2fevents.db",
        "/answers/mine/..%2f..%2fusers.db",
        "/answers/ü",
        &format!("/answers/{}", "a".repeat(49)),
    ] {
        weir.get(path).problem(404, "no-such-answer");
    }
    weir.get("/answers/by_button/%FF").problem(404, "not-found");
    weir.get("/answers/mine?buton_id=x").problem(422, "invalid-query");
    weir.get("/answers/mine?button_id=x&button_id=y").problem(422, "invalid-query");
    for path in ["/answers", "/answers/mine", "/answers/none", "/answers/named/demo/.."] {
        ask(&weir, None, path).problem(401, "unauthorized");
    }
    assert_eq!(weir.get("/answers/mine").header("cache-control"), Some("private, no-cache"));

    // Where no credentials are looked at, there are public ones only.
    let public = ask(&weir, None, "/answers/public/all");
    assert_eq!(public.json(), json!([{"clicks": 8}]));
    for path in ["mine", "mine?button_id=..", "named/demo/..", "none", "all/x", "public/all", "..", "a%2fb"] {
        let path = format!("/answers/public/{path}");
        ask(&weir, None, &path).problem(404, "no-such-answer");
        weir.get(&path).problem(404, "no-such-answer");
    }
    ask(&weir, None, "/answers/public").problem(401, "unauthorized");
    let all = ask(&weir, None, "/answers/all");
    for header in ["access-control-allow-origin", "etag"] {
        assert_eq!(public.header(header), all.header(header));
    }
    assert_eq!(all.json(), json!([{"clicks": 8}]));
    assert_eq!(all.header("access-control-allow-origin"), Some("*"));
    // What is left of the hour in which the answer holds: it differs between two requests by the time between them.
    for answer in [&public, &all] {
        let cached =
            answer.header("cache-control").and_then(|text| text.strip_prefix("public, max-age=")).unwrap();
        assert!((3000..=3600).contains(&cached.parse::<u32>().unwrap()), "{cached}");
    }
    let tag = all.header("etag").unwrap();
    let again = weir.request("GET", None, "/answers/all", &[("if-none-match", tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let listed = weir.get("/answers").json();
    let names: Vec<&str> =
        listed["answers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["all", "by_button", "mine", "named"]);

    // It is where nothing else is, and for its owner only.
    let strange: Vec<String> = weir.files("answers").into_iter().filter(|name| name.contains("..")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn a_public_answer_is_read_by_a_page_of_any_origin_whichever_may_call_the_api() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--allow-origins", "https://a.example"]);
    let files = folder(&[("all.sql", "-- public: true\nSELECT 1 AS one")]);
    assert_eq!(weir.post("/button/click", click("s", "a")).status, 200);
    published(&weir, files.path());
    for origin in ["https://a.example", "https://b.example"] {
        let page = [("origin", origin), ("sec-fetch-mode", "cors"), ("sec-fetch-site", "cross-site")];
        let answer = weir.request("GET", None, "/answers/all", &page, b"");
        let allowed = answer.header("access-control-allow-origin").unwrap();
        assert!(answer.status == 200 && (allowed == "*" || allowed == origin), "{allowed}");
        let counts = weir.request("GET", Some(&weir.credentials), "/counts", &page, b"");
        assert_eq!(counts.header("access-control-allow-origin").is_some(), origin == "https://a.example");
    }
}

#[test]
fn an_answer_that_is_wrong_is_refused_with_the_reason_and_the_one_before_stays() {
    let weir = Weir::start();
    for session in ["s1", "s2"] {
        assert_eq!(weir.post("/button/click", click(session, "a")).status, 200);
    }
    let good = "-- public: true\n-- slot: button_id\nSELECT DISTINCT button_id FROM button_click";
    let files = folder(&[("a.sql", good)]);
    published(&weir, files.path());
    let select = "SELECT username, button_id, session_id FROM button_click";
    for (sql, reason) in [
        (
            format!("-- slot: button_id\n{select}"),
            "a: two rows have the same address, username = \"demo\", button_id = \"a\": slot must name one",
        ),
        (
            format!("-- slot: buton_id\n{select}"),
            "a: the query has no column buton_id, which slot names; it has username, button_id, session_id",
        ),
        (format!("-- path: month\n{select}"), "a: the query has no column month, which path names"),
        ("SELECT 1 AS one".to_owned(), "a: the query has no column username"),
        (format!("-- every: often\n{select}"), "a.sql:1: every is like 10 minutes"),
        ("DROP VIEW button_click".to_owned(), "a: the lake is read-only: a query is a SELECT"),
        ("EXPLAIN SELECT 1".to_owned(), "a: the lake is read-only: a query is a SELECT"),
        ("SELECT 1; SELECT 2".to_owned(), "a: a query is one statement"),
        ("SELECT 1;\n.shell touch stolen".to_owned(), "a: the query is not valid SQL"),
        ("SELEC 1".to_owned(), "a: the query is not valid SQL"),
        ("SELECT * FROM no_such_table".to_owned(), "a: DuckDB cannot answer: "),
        (
            "-- public: true\nSELECT content FROM read_text('/etc/hostname')".to_owned(),
            "a: DuckDB cannot answer: ",
        ),
        ("-- public: true\nSELECT 'nan'::DOUBLE AS x".to_owned(), "holds a number that JSON cannot write"),
        ("-- public: true\nSELECT repeat('x', 70000) AS x".to_owned(), "bytes as JSON: 65536 at the most"),
        ("-- title: nothing".to_owned(), "a.sql:1: there is no query below the head"),
    ] {
        fs::write(files.path().join("a.sql"), &sql).unwrap();
        let output = publish(&weir, files.path(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(reason), "{sql}: {said}");
        assert_eq!(ask(&weir, None, "/answers/a?button_id=a").json(), json!({"button_id": "a"}), "{sql}");
    }
    assert!(!weir.data().join("lake/stolen").exists());
    // Another one is published all the same.
    fs::write(files.path().join("b.sql"), "-- public: true\nSELECT 1 AS one").unwrap();
    fs::write(files.path().join("a.sql"), "SELECT 1 AS one").unwrap();
    assert_eq!(publish(&weir, files.path(), &[]).status.code(), Some(1));
    assert_eq!(ask(&weir, None, "/answers/b").json(), json!([{"one": 1}]));
    let said = publish(&weir, files.path(), &["c"]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("there is no answer \"c\": there are a, b"));
    fs::write(files.path().join("É.sql"), "SELECT 1").unwrap();
    let said = publish(&weir, files.path(), &[]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("an answer's name must be 1 to 48 of a-z, 0-9 and _"));
    let drafts: Vec<String> = weir
        .files("answers")
        .into_iter()
        .filter(|name| !name.contains('/') || name.contains("draft"))
        .collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

#[test]
fn the_built_in_answers_have_events_by_day_and_how_right_each_model_was() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", "a")).status, 200);
    let mut lines = String::new();
    for (id, label, score) in
        [("p1", "yes", "0.95"), ("p2", "yes", "0.91"), ("p3", "no", "0.15"), ("p4", "no", "1")]
    {
        lines += &format!(
            r#"{{"event_type":"prediction","prediction_id":"{id}","model":"m","label":"{label}","score":{score}}}"#
        );
        lines.push('\n');
    }
    for (id, label) in [("p1", "yes"), ("p2", "no"), ("p3", "no"), ("of another", "no")] {
        lines +=
            &format!("{{\"event_type\":\"outcome\",\"prediction_id\":\"{id}\",\"label\":\"{label}\"}}\n");
    }
    // Of two outcomes the first one counts, by the event time.
    let later = SystemClock.now().millis() + 60_000;
    lines += &format!(
        "{{\"event_type\":\"outcome\",\"prediction_id\":\"p1\",\"label\":\"no\",\"occurred_at\":{later}}}\n"
    );
    assert_eq!(weir.post("/events", lines).status, 200);
    assert_eq!(weir.output(&["publish"]).lines().count(), 2);
    let counts = weir.get("/answers/daily_counts").json();
    let counts: BTreeSet<(String, u64)> = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["event_type"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap()))
        .collect();
    let expected =
        [("button_click", 1), ("outcome", 5), ("prediction", 4)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(counts, expected.into());
    let mut models = weir.get("/answers/model_accuracy").json();
    let day = models[0]["day"].take();
    assert_eq!(
        models,
        json!([{
            "username": "demo", "model": "m", "day": null, "predictions": 4, "outcomes": 3,
            "accuracy": 0.6667, "score": 0.7525, "calibration": [
                {"from": 0.1, "predictions": 1, "outcomes": 1, "score": 0.15, "accuracy": 1.0},
                {"from": 0.9, "predictions": 3, "outcomes": 2, "score": 0.9533, "accuracy": 0.5},
            ],
        }])
    );
    let day = day.as_str().unwrap();
    assert_eq!(weir.get(&format!("/answers/model_accuracy?model=m&day={day}")).json()["predictions"], 4);
    // Another user has none of it.
    let ann = weir.user("ann");
    assert_eq!(weir.get_as(&ann, "/answers/model_accuracy").json(), json!([]));
    weir.get_as(&ann, &format!("/answers/model_accuracy?model=m&day={day}")).problem(404, "no-such-answer");
}

#[test]
fn a_server_publishes_by_the_schedule_and_says_once_where_it_cannot() {
    let files = folder(&[(
        "clicks.sql",
        "-- public: true\n-- every: 1 second\nSELECT count(*) AS n FROM button_click",
    )]);
    let option = files.path().display().to_string();
    let mut weir = Weir::start_with(&["--flush-every", "100ms", "--answers", &option]);
    for number in 1..=2 {
        assert_eq!(weir.post("/button/click", click("s", "a")).status, 200);
        eventually("the answer has the click", || {
            let answer = ask(&weir, None, "/answers/clicks");
            answer.status == 200 && answer.json() == json!([{"n": number}])
        });
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert!(!weir.log().contains("ERROR") && !weir.log().contains("WARN"), "{}", weir.log());
    // What is published is served without DuckDB, too.
    weir.run_by = vec!["env".to_owned(), "PATH=/nowhere".to_owned()];
    weir.restart();
    assert_eq!(ask(&weir, None, "/answers/clicks").json(), json!([{"n": 2}]));
    assert_eq!(weir.stop("-TERM"), Some(0));
    let said = "answers are not computed: they need the DuckDB command line (pip install duckdb-cli)";
    assert_eq!(weir.log().matches(said).count(), 1, "{}", weir.log());
}

#[test]
fn a_thousand_publications_under_load_tear_no_answer_and_none_is_wrong() {
    const PUBLICATIONS: u64 = 1000;
    const SLOTS: u64 = 50;
    let weir = Weir::start();
    let answers = AnswersFolder::of(&weir.data());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Each generation has another width, and says in each slot which one it is.
    let json = |number: u64, slot: u64| {
        let padding = "ü".repeat(usize::try_from(number % 13).unwrap());
        format!("{{\"g\":{number},\"slot\":{slot},\"x\":\"{padding}\"}}")
    };
    let publish = |number: u64| {
        let mut writer = Writer::new(json(number, SLOTS).len(), SLOTS).unwrap();
        let mut bytes = Vec::new();
        (0..SLOTS).for_each(|slot| writer.row(&[], &[slot.to_string()], &json(number, slot), &mut bytes));
        let published = Published {
            name: "load".parse().unwrap(),
            generation: writer.finish(&mut bytes).unwrap(),
            // Ten seconds after the one before: those of more than an hour ago go.
            published_at: Timestamp::from_millis(1_795_179_605_007 + 10_000 * number).unwrap(),
            sql: "-- public: true\n-- slot: slot\nSELECT 1".to_owned(),
        };
        let length = bytes.len() as u64;
        let content = futures_util::stream::iter([Ok(bytes.into())]);
        runtime.block_on(answers.publish(&published, length, Box::pin(content))).unwrap();
    };
    // The rows of a generation, of which an answer says the number, without their padding.
    let number = |text: &str| -> u64 {
        text.trim_start_matches("[{\"g\":").split(',').next().unwrap().parse().unwrap()
    };
    let rows = |number: u64| {
        let rows: Vec<String> = (0..SLOTS).map(|slot| json(number, slot)).collect();
        format!("[{}]", rows.join(","))
    };
    publish(0);
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let read = |agent: &ureq::Agent, query: &str| -> String {
        let mut answer = agent.get(format!("{}/answers/load{query}", weir.url())).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    };
    let reader = || {
        let agent = ureq::Agent::new_with_defaults();
        let (mut last, began) = (0, Instant::now());
        // The last one is read in any case.
        while !done.load(Ordering::Relaxed) || last < PUBLICATIONS {
            assert!(began.elapsed() < PATIENCE);
            let all = read(&agent, "");
            let of_all = number(&all);
            assert_eq!(all.replace(' ', ""), rows(of_all));
            let slot = reads.fetch_add(1, Ordering::Relaxed) % SLOTS;
            let one = read(&agent, &format!("?slot={slot}"));
            let of_one = one["{\"g\":".len()..].split(',').next().unwrap().parse().unwrap();
            assert_eq!(one, json(of_one, slot));
            assert!(last <= of_all && of_all <= of_one, "{last}, {of_all}, {of_one}");
            last = of_one;
        }
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        (1..=PUBLICATIONS).for_each(publish);
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(reads.into_inner() > PUBLICATIONS / 2);
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());
    let left = weir.files("answers").len();
    assert!((360..=363).contains(&left), "{left} generations of the last hour");
}

/// Compares the rows of the built-in answer in DuckDB with those of what a parser of Athena's SQL reads in it, written as DuckDB's.
const COMPARE: &str = r#"
import subprocess, sys, sqlglot

sql = open("answers/model_accuracy.sql").read()
setup = """
CREATE TABLE prediction AS SELECT 'u' || (range % 3) AS username, 'p' || (range // 1.05)::BIGINT AS prediction_id,
  'm' || (range % 5) AS model, CASE WHEN hash(range) % 2 = 0 THEN 'yes' ELSE 'no' END AS label,
  CASE WHEN range % 11 > 0 THEN (hash(range + 1) % 1001) / 1000.0::DOUBLE END AS score,
  CASE WHEN range % 13 > 0 THEN (hash(range + 7) % 1000)::BIGINT END AS time, range AS received_at, 'e' || range AS event_id,
  2026::BIGINT AS year, 11::BIGINT AS month, (1 + range % 20)::BIGINT AS day FROM range(5000);
CREATE TABLE outcome AS SELECT username, prediction_id, CASE WHEN hash(event_id) % 3 = 0 THEN label ELSE 'yes' END AS label,
  time, received_at, event_id FROM prediction WHERE hash(prediction_id) % 4 > 0;
"""

def rows(text):
    query = f"SELECT to_json(r) FROM ({text}\n) AS r ORDER BY username, model, day;"
    found = subprocess.run([sys.argv[1], "-list", "-noheader"], input="SET threads = 1;" + setup + query, text=True, capture_output=True)
    assert found.returncode == 0, found.stderr
    return found.stdout

here = rows(sql)
assert here.count("\n") > 50, here
for dialect in ["athena", "trino"]:
    [other] = sqlglot.transpile(sql, read=dialect, write="duckdb", error_level=sqlglot.ErrorLevel.RAISE)
    assert rows(other) == here, f"{dialect}: {other}"
# What has no score is in no tenth of it.
import json
for row in map(json.loads, here.splitlines()):
    assert sum(tenth["predictions"] for tenth in row["calibration"]) <= row["predictions"]
assert any(sum(t["predictions"] for t in r["calibration"]) < r["predictions"] for r in map(json.loads, here.splitlines()))
"#;

#[test]
fn the_accuracy_of_models_means_the_same_to_athenas_grammar_as_to_duckdb() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/venv/bin");
    let compared = std::process::Command::new(tools.join("python"))
        .args(["-c", COMPARE])
        .arg(tools.join("duckdb"))
        .current_dir(root)
        .output()
        .unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
}
