//! Days that are over are sealed: Parquet, without repeats, and each event is seen once, whatever is killed, and however late
//! it comes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    thread,
};

use weir_core::{Clock, Day, SystemClock};

use crate::harness::{Value, Weir, json};

const HOUR: u64 = 3_600_000;

/// The first hour of the day that was so many days ago.
fn days_ago(days: u64) -> (Day, u64) {
    let day = Day::of(SystemClock.now().hour()).minus(days);
    (day, day.first_hour().start().millis())
}

fn click(n: u64, at: u64) -> Value {
    json!({"event_type": "button_click", "event_id": format!("e-{n}"), "session_id": format!("s{}", n % 3),
        "button_id": format!("b{}", n % 5), "occurred_at": at, "n": n})
}

/// A server that leaves sealing to the test.
fn start() -> Weir {
    Weir::start_with(&["--flush-every", "100ms", "--seal-after", "never"])
}

fn send(weir: &Weir, events: &[Value]) {
    let answer = weir.post("/events", Value::from(events.to_vec()).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    weir.wait_until_filed();
}

fn one(weir: &Weir, sql: &str) -> Value {
    weir.query(sql)[0].clone()
}

/// What queries must find, before sealing and after it: nothing of the answers may depend on where they come from.
fn answers(weir: &Weir) -> Vec<Vec<Value>> {
    [
        "SELECT button_id, count(*) AS n, min(time) AS first, max(occurred_at) AS last FROM button_click GROUP BY ALL ORDER BY ALL",
        "SELECT event_id, time, session_id, username, year, month, day, hour FROM button_click ORDER BY time, event_id LIMIT 20",
        "SELECT bot, count(*) AS n FROM button_click GROUP BY ALL ORDER BY ALL",
        "SELECT event_type, count(*) AS n, sum((event ->> 'n')::INT) AS of_whole FROM events GROUP BY ALL ORDER BY ALL",
        "SELECT claimed_type, errors, body, truncated FROM rejected ORDER BY ALL",
        "SELECT typeof(time) AS t, typeof(errors) AS e, typeof(year) AS y FROM rejected",
        "SELECT DISTINCT typeof(timestamp) AS t, typeof(date) AS d, epoch_ms(timestamp) = time AS same, date = timestamp::DATE AS day FROM button_click",
        "SELECT date, max(timestamp) AS last, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL",
    ]
    .map(|sql| weir.query(sql))
    .to_vec()
}

fn parquet(weir: &Weir) -> Vec<String> {
    weir.files("sealed").into_iter().filter(|file| file.ends_with(".parquet")).collect()
}

#[test]
fn sealed_days_are_read_from_parquet_late_events_at_once_and_nothing_is_seen_twice() {
    let weir = start();
    let (older, at_older) = days_ago(9);
    let (newer, at_newer) = days_ago(5);
    let older_events: Vec<Value> = (0..60).map(|n| click(n, at_older + n * HOUR / 4)).collect();
    let newer_events: Vec<Value> = (100..140).map(|n| click(n, at_newer + (n - 100) * HOUR / 4)).collect();
    // Stored as a bot's, and a repeat below.
    let bot = [("user-agent", "Googlebot/2.1 (+http://www.google.com/bot.html)")];
    assert_eq!(weir.post_with("/events", older_events[0].to_string(), &bot).status, 200);
    send(&weir, &older_events);
    send(&weir, &newer_events);
    send(&weir, &[click(200, SystemClock.now().millis())]);
    assert_eq!(weir.post("/button/click", r#"{"session_id": 5}"#).status, 422);
    weir.wait_until_filed();
    let before = answers(&weir);

    let said = weir.output(&["seal", "--until", &newer.to_string()]);
    assert!(said.contains(&format!("{older}: 60 events")), "{said}");
    assert!(said.contains(&format!("all days before {newer} are sealed")), "{said}");
    assert_eq!(parquet(&weir).len(), 1);
    assert_eq!(answers(&weir), before);
    let said = weir.output(&["seal"]);
    assert!(said.contains(&format!("{newer}: 40 events")) && !said.contains(&older.to_string()), "{said}");
    assert_eq!(answers(&weir), before);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));

    // JSON of sealed days is not read: without it, the answers are the same.
    let hidden = weir.data().join("hidden");
    let [year, month, day, _] = older.first_hour().parts();
    let of_older = format!("lake/username=demo/button_click/year={year}/month={month}/day={day}");
    fs::rename(weir.data().join(&of_older), &hidden).unwrap();
    assert_eq!(answers(&weir), before);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
    fs::rename(&hidden, weir.data().join(&of_older)).unwrap();

    // Late events are seen at once, and once, also while the day is sealed again.
    send(&weir, &[click(60, at_older), click(61, at_older + HOUR)]);
    let count = "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM button_click";
    assert_eq!(one(&weir, count), json!({"n": 103, "ids": 103}));
    let late = answers(&weir);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
    let said = weir.output(&["seal"]);
    assert!(said.contains(&format!("{older}: 62 events")) && said.contains("generation 2"), "{said}");
    assert_eq!(answers(&weir), late);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
    // The generation before stays for a day.
    assert_eq!(parquet(&weir).iter().filter(|file| file.starts_with(&older.to_string())).count(), 2);

    // A backup has the sealed days, and its copy answers as the original.
    let place = tempfile::tempdir().unwrap();
    let (backup, copy) = (place.path().join("backup"), place.path().join("copy"));
    let (backup, copy) = (backup.to_str().unwrap(), copy.to_str().unwrap());
    weir.output(&["backup", backup]);
    assert!(weir.command().args(["restore", backup, "--data", copy]).output().unwrap().status.success());
    let audited = weir.command().args(["audit", "--data", copy]).output().unwrap();
    assert_eq!(audited.status.code(), Some(0), "{audited:?}");
    let asked = weir.command().args(["query", "--data", copy, "--format", "json", count]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&asked.stdout).unwrap(), json!([{"n": 103, "ids": 103}]));
}

#[test]
fn a_day_with_a_damaged_file_is_sealed_again_from_its_json_and_from_nothing_else() {
    let weir = start();
    let (day, at) = days_ago(5);
    let (other, at_other) = days_ago(4);
    send(&weir, &(0..30).map(|n| click(n, at + n * HOUR / 4)).collect::<Vec<_>>());
    send(&weir, &[click(100, at_other)]);
    weir.output(&["seal"]);
    let before = answers(&weir);
    let again = |day: Day| weir.run(&["seal", "--again", &day.to_string()]);
    let refused = again(day.minus(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not sealed"), "{refused:?}");

    for (generation, is_there) in [(1, true), (2, false)] {
        let file = weir.data().join(format!("sealed/{day}/{generation}/button_click/data_0.parquet"));
        let whole = fs::read(&file).unwrap();
        if is_there {
            fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        let failed = weir.run(&["query", "SELECT count(*) FROM button_click"]);
        assert!(!failed.status.success());
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(said.contains(&format!("`weir seal --again {day}` makes it anew")), "{said}");
        if !is_there {
            // Nothing is read of the old files, and not even their list.
            fs::remove_dir_all(weir.data().join(format!("sealed/{day}"))).unwrap();
        }
        let sealed = again(day);
        assert!(sealed.status.success(), "{sealed:?}");
        assert!(String::from_utf8_lossy(&sealed.stdout).contains(&format!("{day}: 30 events")), "{sealed:?}");
        assert_eq!(answers(&weir), before);
        assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
    }
    assert_eq!(
        parquet(&weir).iter().filter(|file| file.starts_with(&other.to_string())).count(),
        1,
        "another day stays as it is"
    );

    // Without all of its JSON, a day's Parquet is the only copy of its events.
    let [year, month, day_of_month, _] = day.first_hour().parts();
    let folder =
        format!("lake/username=demo/button_click/year={year}/month={month}/day={day_of_month}/hour=3");
    fs::remove_dir_all(weir.data().join(folder)).unwrap();
    let refused = again(day);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stay as they are"), "{refused:?}");
    assert_eq!(answers(&weir), before);
    // What it wrote goes with the next sealing.
    weir.output(&["seal"]);
    assert_eq!(answers(&weir), before);
    assert_eq!(parquet(&weir).iter().filter(|file| file.starts_with(&day.to_string())).count(), 1);
}

#[test]
fn a_server_seals_days_by_itself_and_its_json_expires_only_where_that_is_asked_for() {
    let mut weir = Weir::start_with(&["--flush-every", "100ms", "--seal-after", "1s"]);
    let (day, at) = days_ago(3);
    send(&weir, &[click(1, at), click(2, at)]);
    crate::harness::eventually("the day is sealed", || weir.log().contains("are sealed"));
    assert_eq!(parquet(&weir), [format!("{day}/1/button_click/data_0.parquet")]);
    let rows = json!({"n": 2});
    assert_eq!(one(&weir, "SELECT count(*) AS n FROM button_click"), rows);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let json = weir.files("lake");
    // It is kept for a day after it was sealed, in any case.
    weir.output(&["seal", "--keep-json", "24h"]);
    assert_eq!(weir.files("lake"), json);
    let manifest = weir.data().join("sealed/manifest.json");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
    text["days"][day.to_string()]["sealed_at"] = json!(SystemClock.now().millis() - 25 * HOUR);
    fs::write(&manifest, text.to_string()).unwrap();
    let said = weir.output(&["seal", "--keep-json", "24h"]);
    assert!(said.contains("the JSON of 1 day was removed"), "{said}");
    assert_eq!(weir.files("lake"), Vec::<String>::new());
    assert_eq!(one(&weir, "SELECT count(*) AS n FROM button_click"), rows);
    assert_eq!(one(&weir, "SELECT count(*) AS n FROM events"), rows);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
    // What comes later is filed as JSON, and sealed with what is only in Parquet.
    weir.options =
        vec!["--flush-every".to_owned(), "100ms".to_owned(), "--seal-after".to_owned(), "never".to_owned()];
    weir.restart();
    send(&weir, &[click(3, at)]);
    assert_eq!(one(&weir, "SELECT count(*) AS n FROM button_click"), json!({"n": 3}));
    weir.output(&["seal"]);
    assert_eq!(one(&weir, "SELECT count(*) AS n FROM button_click"), json!({"n": 3}));
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
}

#[test]
fn repeats_of_an_event_are_left_out_of_sealed_days_and_the_audit_counts_them() {
    let mut weir = start();
    let (day, at) = days_ago(6);
    send(&weir, &(0..10).map(|n| click(n, at + n)).collect::<Vec<_>>());
    // The server forgets ids after two days; here it loses them.
    weir.stop("-TERM");
    let store = rusqlite::Connection::open(weir.data().join("events.db")).unwrap();
    store.execute_batch("DELETE FROM fresh_ids; DELETE FROM id_runs").unwrap();
    drop(store);
    weir.restart();
    let other = json!({"event_type": "button_click", "session_id": "later", "button_id": "b0",
        "event_id": "e-0", "occurred_at": at});
    send(&weir, &[other, click(1, at + 1), click(10, at + 10)]);
    assert_eq!(one(&weir, "SELECT count(*) AS n FROM button_click"), json!({"n": 13}));
    let said = weir.output(&["seal"]);
    assert!(
        said.contains(&format!("{day}: 11 events")) && said.contains("2 repeats were left out"),
        "{said}"
    );
    // The first that was stored stays.
    let kept = "SELECT count(*) AS n, min(session_id) AS s FROM button_click WHERE event_id = 'e-0'";
    assert_eq!(one(&weir, kept), json!({"n": 1, "s": "s0"}));
    let audited = weir.run(&["audit"]);
    assert_eq!(audited.status.code(), Some(0), "{audited:?}");
    // One that comes again later is left out by the next sealing.
    weir.stop("-TERM");
    let store = rusqlite::Connection::open(weir.data().join("events.db")).unwrap();
    store.execute_batch("DELETE FROM fresh_ids; DELETE FROM id_runs").unwrap();
    drop(store);
    weir.restart();
    send(&weir, &[click(2, at + 2)]);
    let said = weir.output(&["seal"]);
    assert!(
        said.contains(&format!("{day}: 11 events")) && said.contains("3 repeats were left out"),
        "{said}"
    );
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
}

/// Lists all below a folder that is being written: what is gone meanwhile is left out.
pub(crate) fn entries_below(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| entries_below(&path).into_iter().chain([path])).collect()
}

/// Kills a sealing once it has changed the files of sealed days so often. Returns how often it did, and its status if it ended
/// before.
fn kill_at_change(weir: &Weir, mut sealing: Child, nth: usize) -> (usize, Option<ExitStatus>) {
    let folder = weir.data().join("sealed");
    let (mut files, mut changes) = (entries_below(&folder), 0);
    loop {
        if let Some(status) = sealing.try_wait().unwrap() {
            return (changes, Some(status));
        }
        let now = entries_below(&folder);
        if now != files {
            (files, changes) = (now, changes + 1);
        }
        if changes == nth {
            sealing.kill().unwrap();
            sealing.wait().unwrap();
            return (changes, None);
        }
        thread::yield_now();
    }
}

#[test]
fn a_sealing_that_is_killed_at_any_moment_changes_nothing_and_is_begun_again() {
    let weir = start();
    for days in [12, 11, 10] {
        let (_, at) = days_ago(days);
        send(&weir, &(0..30).map(|n| click(days * 1000 + n, at + n * HOUR / 2)).collect::<Vec<_>>());
    }
    let before = answers(&weir);
    let mut killed = 0;
    for nth in 1..=7 {
        // DuckDB may still write what the one before had it write, and holds the turn until then.
        crate::harness::eventually("a sealing comes to its next change", || {
            let mut sealing = weir.command();
            let sealing = sealing.arg("seal").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let (changes, ended) = kill_at_change(&weir, sealing, nth);
            killed += usize::from(ended.is_none());
            changes == nth || ended.is_some_and(|status| status.success())
        });
        assert_eq!(answers(&weir), before, "killed at change {nth} of its files");
    }
    assert!(killed > 0, "each sealing came to its end first");
    // DuckDB may still be writing, and holds the turn until then.
    crate::harness::eventually("the next sealing has its turn", || weir.run(&["seal"]).status.success());
    assert_eq!(answers(&weir), before);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
    let left =
        |file: &String| file.contains("work") || (file.contains(".draft") && !file.starts_with("notes/"));
    assert_eq!(weir.files("sealed").into_iter().filter(left).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn sealed_days_are_read_with_the_columns_of_the_catalog_of_now() {
    let catalog = tempfile::tempdir().unwrap();
    let define = |properties: &Value| {
        let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": properties, "x-weir": {"route": "/visit"}});
        fs::write(catalog.path().join("visit.json"), schema.to_string()).unwrap();
    };
    define(
        &json!({"page": {"type": "string"}, "weir_line": {"type": "integer"}, "size": {"type": "string"}}),
    );
    let folder = catalog.path().to_str().unwrap();
    let mut weir =
        Weir::start_with(&["--flush-every", "100ms", "--seal-after", "never", "--catalog", folder]);
    let (_, at) = days_ago(4);
    let visit = |n: u64, size: Value| json!({"event_type": "visit", "page": "/a", "weir_line": n, "size": size, "extra": {"a": n}, "occurred_at": at + n});
    send(&weir, &[visit(1, json!("17")), visit(2, json!("x"))]);
    weir.output(&["seal"]);
    assert_eq!(one(&weir, "SELECT sum(weir_line)::INT AS n FROM visit"), json!({"n": 3}));
    // A field is added, one has another type, and one is gone.
    weir.stop("-TERM");
    define(
        &json!({"weir_line": {"type": "integer"}, "size": {"type": "integer"}, "extra": {"type": "object"}}),
    );
    weir.restart();
    let sql = "SELECT weir_line AS n, size, extra ->> 'a' AS a, typeof(size) AS t FROM visit ORDER BY 1";
    let rows = |of: &[(u64, Value)]| -> Vec<Value> {
        let row = |(n, size): &(u64, Value)| json!({"n": n, "size": size, "a": n.to_string(), "t": "BIGINT"});
        of.iter().map(row).collect()
    };
    assert_eq!(weir.query(sql), rows(&[(1, json!(17)), (2, Value::Null)]));
    send(&weir, &[visit(3, json!(5))]);
    let all = rows(&[(1, json!(17)), (2, Value::Null), (3, json!(5))]);
    assert_eq!(weir.query(sql), all);
    weir.output(&["seal"]);
    assert_eq!(weir.query(sql), all);
}
