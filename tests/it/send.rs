//! `weir send` imports files whole, each event once, whatever happens meanwhile, and says what became of each line.

mod csv;
mod forms;
mod forwarder;
mod parquet;
mod scripted;
mod went_wrong;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use weir_core::{Clock, Day, SystemClock, Timestamp};

use crate::harness::{self, Value, Weir, eventually, gzip, json};

/// A folder with files to be sent.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What there is, by name.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The lines of a file of rejected lines.
    fn rejected(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// `weir send` in a folder.
fn command(files: &Files, url: &str, credentials: &str, arguments: &[&str]) -> Command {
    let mut command = harness::with_default_signals(env!("CARGO_BIN_EXE_weir"));
    command.arg("send").args(arguments).current_dir(files.0.path()).env("WEIR_URL", url);
    command.env("WEIR_CREDENTIALS", credentials).env_remove("WEIR_CATALOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn send(weir: &Weir, files: &Files, arguments: &[&str]) -> Output {
    command(files, &weir.url(), &weir.credentials, arguments).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts how it ended and how its summary begins; and that a pipe gets nothing but that.
fn assert_ended(output: &Output, code: i32, summary: &str) {
    assert_eq!(output.status.code(), Some(code), "{}{}", printed(output), said(output));
    assert!(printed(output).starts_with(summary), "{}", printed(output));
    assert_eq!((said(output).as_str(), printed(output).lines().count()), ("", 1));
}

/// Clicks that say which they are.
fn clicks(numbers: std::ops::Range<u32>) -> String {
    let click = |n| json!({"event_type": "button_click", "session_id": "s", "button_id": "b", "n": n});
    numbers.map(|n| click(n).to_string() + "\n").collect()
}

/// How often each click lies in raw, by its number.
fn stored(weir: &Weir) -> BTreeMap<u64, usize> {
    weir.wait_until_filed();
    let mut found = BTreeMap::new();
    for line in weir.lines("raw").iter().filter(|line| line["event_type"] == "button_click") {
        *found.entry(line["n"].as_u64().unwrap()).or_default() += 1;
    }
    found
}

fn once(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, usize> {
    numbers.into_iter().map(|n| (n, 1)).collect()
}

fn count(weir: &Weir) -> Value {
    weir.get("/button/click/count").json()["count"].clone()
}

#[test]
fn files_that_begin_alike_are_stored_whole_and_a_renamed_one_is_no_other() {
    let (weir, files) = (Weir::start(), Files::new());
    // More than a hundred KiB, and only the last line differs.
    let (beginning, lines) = (clicks(0..1500), 1501);
    assert!(beginning.len() > 100 << 10);
    files.write("one.ndjson", beginning.clone() + &clicks(1500..1501));
    files.write("two.ndjson", beginning + &clicks(1501..1502));
    for name in ["one.ndjson", "two.ndjson"] {
        assert_eq!(send(&weir, &files, &[name]).status.code(), Some(0));
    }
    assert_eq!(count(&weir), json!(2 * lines));
    fs::rename(files.path("one.ndjson"), files.path("three.ndjson")).unwrap();
    assert_eq!(send(&weir, &files, &["three.ndjson"]).status.code(), Some(0));
    // Each line names its type, so that the option changes nothing.
    assert_eq!(send(&weir, &files, &["three.ndjson", "--type", "page_view"]).status.code(), Some(0));
    assert_eq!(count(&weir), json!(2 * lines));
}

#[test]
fn a_file_that_is_sent_again_counts_once_and_equal_lines_of_it_are_two_events() {
    let (weir, files) = (Weir::start(), Files::new());
    let own = r#"{"event_type":"button_click","event_id":"own","session_id":"s","button_id":"b","n":9}"#;
    let text = [&clicks(0..1), &clicks(0..1), "\n \r\n", own, "\n", &clicks(1..2)].concat();
    files.write("clicks.ndjson", &text);
    assert_ended(
        &send(&weir, &files, &["clicks.ndjson"]),
        0,
        "clicks.ndjson: 4 sent, 0 duplicates, 0 rejected in ",
    );
    assert_eq!(count(&weir), 4);
    let again = "clicks.ndjson: 0 sent, 4 duplicates, 0 rejected in ";
    assert_ended(&send(&weir, &files, &["--batch", "1", "clicks.ndjson"]), 0, again);
    // Wherever it lies, and compressed.
    files.write("moved.gz", gzip(text.as_bytes()));
    assert_ended(&send(&weir, &files, &["moved.gz"]), 0, "moved.gz: 0 sent, 4 duplicates");
    assert_eq!(count(&weir), 4);
    // Another file is another file, though it has lines in common.
    files.write("other", clicks(0..3));
    assert_ended(&send(&weir, &files, &["other"]), 0, "other: 3 sent, 0 duplicates");
    assert_eq!(stored(&weir), BTreeMap::from([(0, 3), (1, 2), (2, 1), (9, 1)]));
    assert_eq!(files.names(), ["clicks.ndjson", "moved.gz", "other"]);
}

/// Options of how a file is sent, and a type that no line needs, are part of no id.
#[test]
fn options_that_change_no_event_of_a_file_store_none_of_it_twice() {
    let (weir, files) = (Weir::start(), Files::new());
    let clicks = clicks(0..3);
    files.write("all.ndjson", &clicks);
    files.write("rows.csv", "event_type,session_id,button_id,n\nbutton_click,s,b,7\nbutton_click,s,b,8\n");
    fs::create_dir(files.path("catalog")).unwrap();
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"x-weir":{"route":"/b"}}"#;
    files.write("catalog/button_click.json", schema);
    let options: &[&[&str]] = &[
        &[],
        &["--type", "page_view"],
        &["--type", "button_click", "--batch", "1", "--concurrency", "1"],
        &["--format", "ndjson", "--rejected", "elsewhere"],
    ];
    for (at, options) in options.iter().enumerate() {
        let sent = send(&weir, &files, &[options, &["all.ndjson"][..]].concat());
        let summary = if at == 0 { "all.ndjson: 3 sent" } else { "all.ndjson: 0 sent, 3 duplicates" };
        assert_ended(&sent, 0, summary);
    }
    let options: &[&[&str]] = &[&[], &["--type", "page_view"], &["--format", "csv", "--catalog", "catalog"]];
    for (at, options) in options.iter().enumerate() {
        let sent = send(&weir, &files, &[options, &["rows.csv"][..]].concat());
        let summary = if at == 0 { "rows.csv: 2 sent" } else { "rows.csv: 0 sent, 2 duplicates" };
        assert_ended(&sent, 0, summary);
    }
    assert_eq!(count(&weir), 5);
}

#[test]
fn a_named_source_may_grow_and_be_corrected() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("log.ndjson", clicks(0..3));
    let arguments = ["--source", "log of today", "log.ndjson"];
    assert_ended(&send(&weir, &files, &arguments), 0, "log.ndjson: 3 sent");
    files.write("log.ndjson", clicks(0..1) + &clicks(7..8) + &clicks(2..5));
    assert_ended(&send(&weir, &files, &arguments), 0, "log.ndjson: 3 sent, 2 duplicates");
    assert_eq!(stored(&weir), once([0, 1, 2, 3, 4, 7]));
}

#[test]
fn an_export_of_last_year_is_in_last_years_days_and_what_is_too_old_for_that_is_reported() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let (weir, files) = (Weir::start(), Files::new());
    let now = SystemClock.now().millis();
    let row = |number: u64, days: u64| format!("s,b{number},{}\n", now - days * DAY);
    let rows: String = (0..200).map(|number| row(number, 100 + number)).collect();
    let ahead = format!("s,b202,{}\n", now + DAY);
    let text = format!("session_id,button_id,occurred_at\n{rows}{}{}{ahead}", row(200, 401), row(201, 1000));
    files.write("year.csv", text);
    let sent = send(&weir, &files, &["--type", "button_click", "year.csv"]);
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    assert!(
        printed(&sent).starts_with("year.csv: 203 sent, 0 duplicates, 0 rejected in "),
        "{}",
        printed(&sent)
    );
    let told =
        "weir: year.csv: 2 events stored with a warning, first line 202: occurred_at is more than 400 days";
    assert!(said(&sent).contains(told), "{}", said(&sent));
    // Each warning has its own line.
    let ahead =
        "weir: year.csv: 1 event stored with a warning, first line 204: occurred_at is more than 10 minutes";
    assert!(said(&sent).contains(ahead), "{}", said(&sent));
    weir.wait_until_filed();
    let day = |days: u64| Day::of(Timestamp::saturating(now - days * DAY).hour());
    let days = weir.get(&format!("/counts/button_click/days?from={}&to={}", day(299), day(100))).json();
    let days = days["days"].as_array().unwrap();
    assert_eq!(days.len(), 200);
    assert!(days.iter().all(|day| day["count"] == 1));
}

#[test]
fn a_csv_file_has_the_types_of_the_servers_catalog() {
    let (weir, files) = (Weir::start(), Files::new());
    let rows = "prediction_id,model,label,score,features,note,occurred_at\r\n\
        p1,m,stays,0.5,\"{\"\"a\"\":[1]}\",7,2026-11-20T12:00:00Z\r\n\
        p2,m,\"goes, \"\"far\"\"\nover lines\",,,,\r\n\
        p3,m,x,high,,,\r\n\
        p4,m\r\n\
        p5,007,true,1,,,1795176000000\r\n";
    files.write("predictions.csv", rows);
    let sent = send(&weir, &files, &["--type", "prediction", "predictions.csv"]);
    assert_ended(
        &sent,
        3,
        "predictions.csv: 3 sent, 0 duplicates, 2 rejected (see predictions.csv.rejected.ndjson) in ",
    );
    weir.wait_until_filed();
    let mut events = weir.lines("lake/username=demo/prediction");
    events.sort_by_key(|event| event["prediction_id"].to_string());
    for event in &mut events {
        for stamped in ["time", "event_id", "received_at", "username", "event_type"] {
            assert!(event.as_object_mut().unwrap().remove(stamped).is_some());
        }
    }
    let noon = 1_795_176_000_000_u64;
    assert_eq!(
        events,
        [
            json!({"prediction_id": "p1", "model": "m", "label": "stays", "score": 0.5, "features": {"a": [1]},
                "note": "7", "occurred_at": noon}),
            json!({"prediction_id": "p2", "model": "m", "label": "goes, \"far\"\nover lines"}),
            json!({"prediction_id": "p5", "model": "007", "label": "true", "score": 1, "occurred_at": noon}),
        ]
    );
    let rejected = files.rejected("predictions.csv.rejected.ndjson");
    let short: Vec<_> = rejected.iter().map(|line| (line["line"].clone(), line["body"].clone())).collect();
    assert_eq!(short, [(json!(5), json!("p3,m,x,high,,,")), (json!(6), json!("p4,m"))]);
    assert_eq!(rejected[0]["errors"][0]["path"], "/score");
    assert!(rejected[1]["errors"][0]["message"].as_str().unwrap().contains("2 cells"), "{rejected:?}");

    // A column may name the type; a catalog that is named goes before the server's.
    files.write("mixed.csv", "event_type,session_id,button_id,n\nbutton_click,s,b,1\n,s,b,2\n");
    let sent = send(&weir, &files, &["--rejected", "r", "mixed.csv"]);
    assert_ended(&sent, 3, "mixed.csv: 1 sent, 0 duplicates, 1 rejected (see r) in ");
    files.write(
        "button_click.json",
        r#"{"type":"object","properties":{"n":{"type":"integer"}},"x-weir":{"route":"/b"}}"#,
    );
    let sent = send(&weir, &files, &["--catalog", ".", "--source", "2", "mixed.csv"]);
    assert_ended(&sent, 3, "mixed.csv: 1 sent, 0 duplicates, 1 rejected");
    weir.wait_until_filed();
    let numbers: Vec<Value> =
        weir.lines("lake/username=demo/button_click").iter().map(|event| event["n"].clone()).collect();
    assert_eq!(numbers, [json!("1"), json!(1)]);
}

#[test]
fn of_a_hundred_thousand_lines_the_broken_ones_are_reported_and_all_others_stored_once() {
    let (weir, files) = (Weir::start_with(&["--flush-every", "1s"]), Files::new());
    let broken = |n: u32| n % 1000 == 500;
    let mut text = String::new();
    for n in 0..100_000 {
        match broken(n) {
            true if n % 2000 == 500 => text += &format!("{{\"broken\": {n}\n"),
            true => text += &format!("{{\"event_type\": \"button_click\", \"session_id\": {n}}}\n"),
            false => text += &clicks(n..n + 1),
        }
    }
    files.write("many.ndjson.gz", gzip(text.as_bytes()));
    let sent = send(&weir, &files, &["many.ndjson.gz"]);
    assert_ended(
        &sent,
        3,
        "many.ndjson.gz: 99900 sent, 0 duplicates, 100 rejected (see many.ndjson.gz.rejected.ndjson) in ",
    );
    assert_eq!(stored(&weir), once((0..100_000).filter(|n| !broken(*n)).map(u64::from)));
    let rejected = files.rejected("many.ndjson.gz.rejected.ndjson");
    let lines: Vec<u64> = rejected.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, (0..100_u64).map(|k| k * 1000 + 501).collect::<Vec<_>>());
    for line in &rejected {
        let number = usize::try_from(line["line"].as_u64().unwrap()).unwrap();
        assert_eq!(line["body"], text.lines().nth(number - 1).unwrap());
        // Both the wrong type and what is missing.
        let reasons = line["errors"].as_array().unwrap().len();
        assert_eq!(reasons, if line["body"].as_str().unwrap().contains("broken") { 1 } else { 2 }, "{line}");
    }
}

#[test]
fn standard_input_is_sent_as_it_comes() {
    let (weir, files) = (Weir::start(), Files::new());
    let mut child =
        command(&files, &weir.url(), &weir.credentials, &["-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(clicks(0..2).as_bytes()).unwrap();
    eventually("the first lines are there while the pipe is open", || count(&weir) == 2);
    pipe.write_all((clicks(2..3) + "oops").as_bytes()).unwrap();
    drop(pipe);
    let sent = child.wait_with_output().unwrap();
    assert_ended(
        &sent,
        3,
        "standard input: 3 sent, 0 duplicates, 1 rejected (see stdin.rejected.ndjson) in ",
    );
    assert_eq!(files.rejected("stdin.rejected.ndjson")[0]["body"], "oops");
    assert_eq!((stored(&weir), files.names()), (once(0..3), vec!["stdin.rejected.ndjson".to_owned()]));
}

#[test]
fn memory_is_bounded_whatever_the_lines() {
    let (weir, files) = (Weir::start(), Files::new());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for n in 0..40 {
        gzip.write_all(clicks(n..n + 1).as_bytes()).unwrap();
        gzip.write_all(&vec![b'x'; 16 << 20]).unwrap();
        gzip.write_all(b"\n").unwrap();
    }
    files.write("long.gz", gzip.finish().unwrap());
    let mut child =
        command(&files, &weir.url(), &weir.credentials, &["--format", "ndjson", "long.gz"]).spawn().unwrap();
    let mut peak = 0;
    eventually("it has ended", || {
        peak = peak_kib(&child).unwrap_or(peak);
        child.try_wait().unwrap().is_some()
    });
    let sent = child.wait_with_output().unwrap();
    assert_ended(&sent, 3, "long.gz: 40 sent, 0 duplicates, 40 rejected (see long.gz.rejected.ndjson) in ");
    assert!((1..100 << 10).contains(&peak), "{peak} KiB");
    let rejected = files.rejected("long.gz.rejected.ndjson");
    assert_eq!((&rejected[0]["line"], &rejected[0]["truncated"]), (&json!(2), &json!(true)));
    assert_eq!(rejected[0]["body"].as_str().unwrap().len(), 1 << 20);
}

/// How much memory a process had at the most, while it runs.
fn peak_kib(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
