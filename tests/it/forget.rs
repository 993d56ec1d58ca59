//! `weir forget`: afterwards the events are in no file, wherever it was killed, and they never come back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
    path::Path,
};

use weir_core::forgotten::{ForgetRequest, Which};
use weir_core::{
    Clock, Day, EventType, Partition, SeededRandom, SystemClock, Username,
    ports::PortError,
    sealing::{Generation, SealedRows, SealedType, ToWrite},
};
use weir_embedded::{Amounts, ForgetError, SealedFolder, SealingTurn};

use crate::harness::{Value, Weir, files_that_hold, gzip, json};

pub(crate) mod sealed_days;

/// What is looked for in all files: the values of a person hold it, and those of others do not.
const MARK: &str = "MARKann";
const OTHER: &str = "OTHERbob";

/// Has every place in which a value can be: counts by key, latest values, dedup, rejected events.
const SIGNUP: &str = r#"{"type": "object", "required": ["email"],
    "properties": {"email": {"type": "string"}, "place": {"type": "string"}, "n": {"type": "integer"}},
    "x-weir": {"route": "/shop/signup", "count_by": "email", "latest_by": "place"}}"#;

/// Values that meet JSON, SQL, paths and patterns.
const HOSTILE: [&str; 4] = ["@example.com", "'; DROP TABLE live_keys; --", "\"\\\n\u{202e}é{}", "%_*/../"];

fn value(of: &str, hostile: &str) -> String {
    format!("{of}{hostile}")
}

fn send(weir: &Weir, of: &str) {
    for (n, hostile) in HOSTILE.iter().enumerate() {
        let email = value(of, hostile);
        let event = json!({"email": email, "place": "kitchen", "n": n, "event_id": format!("{of}-{n}")});
        assert_eq!(weir.post("/shop/signup", event.to_string()).status, 200);
        // Without an id of its own, with the pair within another object, and rejected in three ways.
        let made = json!({"event_type": "signup", "email": email, "x": {"email": email}});
        assert_eq!(weir.post("/events", made.to_string()).status, 200);
        let rejected = json!({"email": email, "n": "no integer"});
        assert_eq!(weir.post("/shop/signup", rejected.to_string()).status, 422);
        assert_eq!(
            weir.post("/shop/signup", &rejected.to_string()[..rejected.to_string().len() - 1]).status,
            422
        );
        assert_eq!(weir.post("/shop/signup", format!("\u{0}email={email}")).status, 422);
    }
}

/// A data folder with events of two people that one user sent, some sealed, some filed, some in the journal; answers and a result
/// of a run.
fn prepared(catalog: &Path) -> Weir {
    let catalog = catalog.to_str().unwrap();
    let mut weir = Weir::start_with(&["--catalog", catalog, "--flush-every", "1h", "--seal-after", "never"]);
    for of in [OTHER, MARK] {
        send(&weir, of);
        let email = value(of, HOSTILE[0]);
        let old = json!({"email": email, "place": "kitchen", "event_id": format!("{of}-old"), "occurred_at": days_ago(5)});
        assert_eq!(weir.post("/shop/signup", old.to_string()).status, 200);
    }
    weir.stop("-TERM");
    weir.output(&["seal"]);
    // A line that is no event, as a damaged disk leaves it, in a batch that is filed with it.
    let broken = format!("{{\"username\":\"demo\",\"email\":\"{MARK}@example.com\",\"received_at\":\n");
    let strange = weir.data().join("raw/2026/11/20/13/strange.json.gz");
    fs::create_dir_all(strange.parent().unwrap()).unwrap();
    fs::write(&strange, gzip(broken.as_bytes())).unwrap();
    weir.output(&["replay"]);
    for (folder, name) in [("answers/of", "generation"), ("runs/demo", "1.result")] {
        let folder = weir.data().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), MARK).unwrap();
    }
    weir.restart();
    // These stay in the journal: the server is killed.
    let late = json!({"email": value(MARK, HOSTILE[0]), "place": "cellar", "event_id": "late"});
    assert_eq!(weir.post("/shop/signup", late.to_string()).status, 200);
    weir.kill();
    weir
}

/// The first moment of the day that was so many days ago.
fn days_ago(days: u64) -> u64 {
    Day::of(SystemClock.now().hour()).minus(days).first_hour().start().millis()
}

fn catalog() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("signup.json"), SIGNUP).unwrap();
    folder
}

fn request(hostile: &str) -> ForgetRequest {
    let which = Which::Where { field: "email".to_owned(), values: vec![value(MARK, hostile)] };
    let username: Username = "demo".parse().unwrap();
    ForgetRequest { username, event_type: None, which }
}

/// For a folder of which all JSON is there.
struct NoSealedDays;

impl SealedRows for NoSealedDays {
    fn each(
        &self,
        _: &[&Generation],
        _: &Username,
        _: &mut dyn FnMut(&Partition, &[u8]),
    ) -> Result<(), PortError> {
        unreachable!("all JSON is there")
    }

    fn write_without(
        &self,
        _: ToWrite<'_>,
        _: &Username,
        _: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<BTreeMap<EventType, SealedType>>, PortError> {
        unreachable!("all JSON is there")
    }
}

fn holding(folder: &Path) -> Vec<std::path::PathBuf> {
    files_that_hold(folder, MARK.as_bytes())
}

/// All that is left are the events of the other person, each once, and all counts say so.
fn only_the_other_is_left(weir: &mut Weir) {
    assert_eq!(holding(&weir.data()), Vec::<std::path::PathBuf>::new());
    let audit = weir.run(&["audit"]);
    let said = String::from_utf8_lossy(&audit.stderr).into_owned();
    assert!(
        audit.status.success() && said.contains("forgotten"),
        "{said}{}",
        String::from_utf8_lossy(&audit.stdout)
    );
    let found: BTreeSet<String> =
        weir.lines("lake").iter().map(|line| line["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((found.len(), weir.lines("lake").len()), (5 * HOSTILE.len() + 1, 5 * HOSTILE.len() + 1));
    assert!(weir.lines("lake").iter().all(|line| line.to_string().contains(OTHER)));
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn what_is_forgotten_is_in_no_file_is_counted_nowhere_and_never_comes_back() {
    let catalog = catalog();
    let mut weir = prepared(catalog.path());
    let places = ["events.db", "events.db-wal", "lake", "raw", "quarantine", "answers", "runs"];
    let before = holding(&weir.data());
    for place in places.iter().filter(|place| **place != "events.db") {
        assert!(before.iter().any(|path| path.starts_with(weir.data().join(place))), "{place}: {before:?}");
    }
    let marked = |line: &&Value| line.to_string().contains(MARK);
    let forgotten: Vec<String> = weir
        .lines("lake")
        .iter()
        .filter(marked)
        .map(|line| line["event_id"].as_str().unwrap().to_owned())
        .chain(["late".to_owned()])
        .collect();
    let raw = tempfile::tempdir().unwrap();
    copy(&weir.data().join("raw"), raw.path());
    let said =
        weir.output(&["forget", "--user", "demo", "--where", &format!("email={}", value(MARK, HOSTILE[0]))]);
    assert!(said.starts_with("forgotten: 7 events of demo (3 rejected, 4 signup)"), "{said}");
    for hostile in &HOSTILE[1..] {
        weir.output(&["forget", "--user", "demo", "--where", &format!("email={}", value(MARK, hostile))]);
    }
    only_the_other_is_left(&mut weir);

    // A replay of what raw had before, which an operator put back.
    copy(raw.path(), &weir.data().join("raw"));
    weir.output(&["replay"]);
    assert_eq!(weir.lines("lake").len(), 5 * HOSTILE.len() + 1);
    assert!(holding(&weir.data()).iter().all(|path| path.starts_with(weir.data().join("raw"))));
    let said =
        weir.output(&["forget", "--user", "demo", "--where", &format!("email={}", value(MARK, HOSTILE[0]))]);
    assert!(said.starts_with("forgotten: 0 events"), "{said}");
    only_the_other_is_left(&mut weir);

    // A retry of its client, as it was sent, is acknowledged and not stored.
    weir.restart();
    let retry = json!({"email": value(MARK, HOSTILE[0]), "place": "cellar", "event_id": "late"});
    let retries =
        json!([{"event_type": "signup", "email": value(MARK, ""), "event_id": format!("{MARK}-1")}]);
    assert_eq!(weir.post("/shop/signup", retry.to_string()).status, 200);
    assert_eq!(weir.post("/events", retries.to_string()).status, 200);
    let counts = weir.get("/counts/signup").json();
    assert_eq!(counts["total"], 2 * HOSTILE.len() + 1);
    assert_eq!(counts["settled"], 2 * HOSTILE.len() + 1);
    assert!(
        !weir.get("/counts/signup").text().contains(MARK) && !weir.get("/rejected").text().contains(MARK)
    );
    assert_eq!(forgotten.len(), 5 * HOSTILE.len() + 2);
    for id in &forgotten {
        assert_eq!(weir.get(&format!("/events/{id}")).json()["status"], "forgotten", "{id}");
    }
    let listed = weir.get("/events?limit=100");
    assert_eq!(listed.json()["events"].as_array().unwrap().len(), 5 * HOSTILE.len() + 1);
    assert!(!listed.text().contains(MARK));
    let latest = weir.get("/shop/signup/latest").json();
    let places: Vec<&Value> = latest["latest"].as_array().unwrap().iter().map(|it| &it["place"]).collect();
    assert_eq!(places, [&json!("kitchen")], "the newest event of the other person took its place");
    weir.stop("-TERM");
    only_the_other_is_left(&mut weir);

    // All of the user.
    let said = weir.output(&["forget", "--user", "demo", "--all"]);
    assert!(said.starts_with("forgotten: 21 events of demo (12 rejected, 9 signup)"), "{said}");
    assert_eq!(files_that_hold(&weir.data(), OTHER.as_bytes()), Vec::<std::path::PathBuf>::new());
    assert!(
        !weir.data().join("lake/username=demo").exists(),
        "folders tell of the types and hours of events"
    );
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
}

#[test]
fn forgetting_that_is_killed_anywhere_is_finished_by_the_next_command_and_repeating_it_changes_nothing() {
    let catalog = catalog();
    let weir = prepared(catalog.path());
    // All but one value, which is forgotten step by step; what is in the journal is filed by it.
    for hostile in &HOSTILE[1..] {
        weir.output(&["forget", "--user", "demo", "--where", &format!("email={}", value(MARK, hostile))]);
    }
    let forget = |data: &Path, stop_at: usize| -> (Result<Amounts, ForgetError>, Vec<String>) {
        let mut steps = Vec::new();
        let turn = SealedFolder::of(data).turn().unwrap().unwrap();
        let with: (&SealingTurn, &dyn SealedRows) = (&turn, &NoSealedDays);
        let done =
            weir_embedded::forget(data, &request(HOSTILE[0]), &SeededRandom::new(1), with, &mut |step| {
                steps.push(step.to_owned());
                if steps.len() > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        (done, steps)
    };
    let place = |n: usize| (tempfile::tempdir().unwrap(), n);
    let (whole, _) = place(0);
    copy(&weir.data(), &whole.path().join("data"));
    let (done, steps) = forget(&whole.path().join("data"), usize::MAX);
    done.unwrap();
    for step in
        ["plan", "commit", "rewrite", "sealed", "swap", "generations", "answers", "runs", "vacuum", "close"]
    {
        assert!(steps.iter().any(|it| it == step), "{step}: {steps:?}");
    }
    for stop_at in 0..steps.len() {
        let (folder, _) = place(stop_at);
        copy(&weir.data(), &folder.path().join("data"));
        let data = folder.path().join("data");
        let (stopped, _) = forget(&data, stop_at);
        assert!(matches!(stopped, Err(ForgetError::Stopped)), "{stopped:?}");
        let decided = steps[..stop_at].iter().any(|step| step == "commit");
        let mut weir =
            Weir::start_on(folder, &weir.credentials, &["--flush-every", "1h", "--seal-after", "never"]);
        weir.stop("-TERM");
        // The server finished what was decided, and nothing else.
        assert_eq!(holding(&data).is_empty(), decided, "stopped before {}", steps[stop_at]);
        let (done, _) = forget(&data, usize::MAX);
        let events: u64 = done.unwrap().events.iter().map(|(_, count)| count).sum();
        assert_eq!(events, if decided { 0 } else { 7 }, "stopped before {}", steps[stop_at]);
        only_the_other_is_left(&mut weir);
    }
}

#[test]
fn nothing_is_forgotten_beside_a_server_or_if_a_file_cannot_be_read() {
    let catalog = catalog();
    let mut weir = Weir::start_with(&["--catalog", catalog.path().to_str().unwrap(), "--flush-every", "1h"]);
    send(&weir, MARK);
    let forget = ["forget", "--user", "demo", "--all"];
    let refused = weir.run(&forget);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("stop it first"), "{said}");
    weir.stop("-TERM");
    let batch = weir.data().join("raw").join(&weir.files("raw")[0]);
    let whole = fs::read(&batch).unwrap();
    fs::write(&batch, &whole[..whole.len() - 9]).unwrap();
    let refused = weir.run(&forget);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("Nothing is forgotten"), "{said}");
    assert_eq!(weir.lines("lake").len(), 5 * HOSTILE.len());
    fs::write(&batch, whole).unwrap();
    let unknown = weir.run(&["forget", "--user", "demp", "--all"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("demo"));
    weir.output(&forget);
    assert_eq!(holding(&weir.data()), Vec::<std::path::PathBuf>::new());
}
