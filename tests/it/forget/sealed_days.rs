//! Events of sealed days are forgotten, also where a sealed day is their only copy: of all files, only those of such days change.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{HOSTILE, MARK, OTHER, SIGNUP, copy, days_ago, holding, value};
use crate::harness::{Value, Weir, eventually, json, path_with_venv};

const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const VISIT: &str =
    r#"{"type": "object", "properties": {"email": {"type": "string"}}, "x-weir": {"route": "/shop/visit"}}"#;

/// The days with events, as days ago. JSON of the first two is gone; a person who is to be forgotten is in the first of each two.
const DAYS: [u64; 4] = [12, 11, 5, 4];
const MARKED: [u64; 2] = [12, 5];

fn day_of(days: u64) -> String {
    let at = weir_core::Timestamp::saturating(days_ago(days));
    weir_core::Day::of(at.hour()).to_string()
}

fn event(event_type: &str, of: &str, days: u64, id: &str) -> Value {
    json!({"event_type": event_type, "email": value(of, HOSTILE[0]), "occurred_at": days_ago(days), "event_id": id})
}

fn post(weir: &Weir, who: &str, event: &Value, agent: &[(&str, &str)]) {
    assert_eq!(weir.post_as(who, "/events", event.to_string(), agent).status, 200);
}

/// As if the server had forgotten ids, which it does after two days.
fn lose_ids(weir: &mut Weir) {
    weir.stop("-TERM");
    let store = rusqlite::Connection::open(weir.data().join("events.db")).unwrap();
    store.execute_batch("DELETE FROM fresh_ids; DELETE FROM id_runs").unwrap();
    drop(store);
    weir.restart();
}

/// Lets JSON of sealed days expire, as if these had been sealed a day earlier.
pub(crate) fn expire_json(weir: &Weir, sealed: &[u64], keep: &str) {
    let manifest = weir.data().join("sealed/manifest.json");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
    for days in sealed {
        let sealed_at = &mut text["days"][day_of(*days)]["sealed_at"];
        *sealed_at = json!(sealed_at.as_u64().unwrap() - 25 * 3_600_000);
    }
    fs::write(&manifest, text.to_string()).unwrap();
    let said = weir.output(&["seal", "--keep-json", keep]);
    assert!(said.contains("the JSON of "), "{said}");
}

/// A data folder with sealed days of two users and two types, repeats, and late events of a day of which JSON is gone.
fn prepared(catalog: &Path) -> Weir {
    fs::write(catalog.join("signup.json"), SIGNUP).unwrap();
    fs::write(catalog.join("visit.json"), VISIT).unwrap();
    let catalog = catalog.to_str().unwrap();
    let mut weir =
        Weir::start_with(&["--catalog", catalog, "--flush-every", "100ms", "--seal-after", "never"]);
    let (demo, ann) = (weir.credentials.clone(), weir.user("ann"));
    for days in DAYS {
        for event_type in ["signup", "visit"] {
            for who in [&demo, &ann] {
                post(&weir, who, &event(event_type, OTHER, days, &format!("o-{event_type}-{days}")), &[]);
            }
            if MARKED.contains(&days) {
                let marked = event(event_type, MARK, days, &format!("m-{event_type}-{days}"));
                post(&weir, &demo, &marked, &[("user-agent", BOT)]);
                post(&weir, &demo, &event(event_type, MARK, days, &format!("same-{event_type}-{days}")), &[]);
            }
        }
    }
    weir.wait_until_filed();
    lose_ids(&mut weir);
    // Of a marked event, a repeat; and under the id of another one, an event of the other person, which it hides.
    for days in MARKED {
        post(&weir, &demo, &event("signup", MARK, days, &format!("m-signup-{days}")), &[]);
        post(&weir, &demo, &event("visit", OTHER, days, &format!("same-visit-{days}")), &[]);
    }
    weir.wait_until_filed();
    weir.output(&["seal"]);
    expire_json(&weir, &DAYS, "240h");
    for of in [MARK, OTHER] {
        post(&weir, &demo, &event("signup", of, 12, &format!("late-{of}")), &[]);
    }
    weir.wait_until_filed();
    weir.stop("-TERM");
    weir
}

/// The files of Parquet, and what DuckDB finds in them: they are compressed.
pub(crate) fn parquet(data: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![data.join("sealed")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "parquet") {
                let sql =
                    format!("SELECT * FROM read_parquet('{}', hive_partitioning = false)", path.display());
                let mut duckdb = Command::new("duckdb");
                let printed =
                    duckdb.env("PATH", path_with_venv()).args(["-csv", "-c", &sql]).output().unwrap();
                assert!(printed.status.success(), "{printed:?}");
                let name = path.strip_prefix(data.join("sealed")).unwrap().to_str().unwrap().to_owned();
                found.insert(name, String::from_utf8(printed.stdout).unwrap());
            }
        }
    }
    found
}

/// What must stay: how often each event that is not marked is seen.
fn others(weir: &Weir, data: &Path) -> Vec<Value> {
    let sql = format!(
        "SELECT event_type, username, day, event ->> 'event_id' AS id, count(*) AS n FROM events \
         WHERE event ->> 'email' LIKE '{OTHER}%' GROUP BY ALL ORDER BY ALL"
    );
    let asked =
        weir.command().env("WEIR_DATA", data).args(["query", "--format", "json", &sql]).output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
    serde_json::from_slice(&asked.stdout).unwrap()
}

fn forget(email: &str) -> [&str; 5] {
    ["forget", "--user", "demo", "--where", email]
}

/// Nothing of the forgotten person is left, and everything of the other one, by all accounts.
fn only_the_other_is_left(weir: &Weir, data: &Path, all: &[Value]) {
    assert_eq!(holding(data), Vec::<PathBuf>::new());
    let marked: Vec<String> =
        parquet(data).into_iter().filter(|(_, text)| text.contains(MARK)).map(|(file, _)| file).collect();
    assert_eq!(marked, Vec::<String>::new());
    assert_eq!(others(weir, data), all);
    let audited = weir.command().env("WEIR_DATA", data).arg("audit").output().unwrap();
    assert_eq!(audited.status.code(), Some(0), "{audited:?}");
}

#[test]
fn only_the_sealed_days_with_a_forgotten_event_change_whether_their_json_is_there_or_not() {
    let catalog = tempfile::tempdir().unwrap();
    let mut weir = prepared(catalog.path());
    let data = weir.data();
    let before = parquet(&data);
    assert!(before.keys().any(|file| file.contains(".repeats/")), "{before:?}");
    let hidden = MARKED.map(|days| format!("same-visit-{days}"));
    let seen = others(&weir, &data);
    assert!(!seen.iter().any(|it| hidden.contains(&it["id"].as_str().unwrap().to_owned())));

    let email = format!("email={}", value(MARK, HOSTILE[0]));
    let said = weir.output(&forget(&email));
    assert!(said.starts_with("forgotten: 11 events of demo (7 signup, 4 visit)"), "{said}");
    assert!(said.contains("sealed      2 days"), "{said}");
    // What a marked event hid as its repeat is the event now.
    let all = others(&weir, &data);
    assert_eq!(all.iter().filter(|it| hidden.contains(&it["id"].as_str().unwrap().to_owned())).count(), 2);
    assert_eq!(all.len(), seen.len() + 2);
    only_the_other_is_left(&weir, &data, &all);
    // Days without such an event have the files that they had; of the others, none is left.
    let after = parquet(&data);
    for (file, text) in &before {
        let is_marked = MARKED.iter().any(|days| file.starts_with(&day_of(*days)));
        assert_eq!(after.get(file), (!is_marked).then_some(text), "{file}");
    }
    let of_day = |days: u64| after.keys().filter(|file| file.starts_with(&day_of(days))).count();
    assert_eq!((of_day(12), of_day(5)), (2, 0), "{:?}", after.keys());

    // The day that has JSON is sealed again, late events are taken in, and all stay away.
    weir.output(&["seal"]);
    assert!(parquet(&data).keys().any(|file| file.starts_with(&day_of(5))));
    only_the_other_is_left(&weir, &data, &all);
    weir.output(&["replay"]);
    only_the_other_is_left(&weir, &data, &all);
    weir.restart();
    post(&weir, &weir.credentials.clone(), &event("signup", MARK, 12, "m-signup-12"), &[]);
    weir.stop("-TERM");
    only_the_other_is_left(&weir, &data, &all);

    // All of a user's, where sealed days are the only copy: no other user loses an event.
    let said = weir.output(&["forget", "--user", "ann", "--all"]);
    assert!(said.starts_with("forgotten: 8 events of ann (4 signup, 4 visit)"), "{said}");
    let all: Vec<Value> = all.into_iter().filter(|it| it["username"] == "demo").collect();
    only_the_other_is_left(&weir, &data, &all);
    assert!(parquet(&data).values().all(|text| !text.contains(",ann,")));
}

#[test]
fn forgetting_in_days_without_json_that_is_killed_anywhere_is_finished_by_the_next_command() {
    let catalog = tempfile::tempdir().unwrap();
    let weir = prepared(catalog.path());
    let email = format!("email={}", value(MARK, HOSTILE[0]));
    let (whole, wanted) = (tempfile::tempdir().unwrap(), weir.data());
    copy(&wanted, &whole.path().join("data"));
    let in_folder = |data: &Path| {
        let mut command = weir.command();
        command.env("WEIR_DATA", data).args(forget(&email)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(in_folder(&whole.path().join("data")).status().unwrap().success());
    let all = others(&weir, &whole.path().join("data"));
    only_the_other_is_left(&weir, &whole.path().join("data"), &all);
    let mut killed = 0;
    for nth in [1, 3, 5, 7, 9, 11] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        copy(&wanted, &data);
        let mut forgetting = in_folder(&data).spawn().unwrap();
        let (mut files, mut changes) = (crate::sealing::entries_below(&data.join("sealed")), 0);
        let ended = loop {
            let now = crate::sealing::entries_below(&data.join("sealed"));
            changes += usize::from(now != files);
            files = now;
            if let Some(status) = forgetting.try_wait().unwrap() {
                break Some(status);
            }
            if changes == nth {
                forgetting.kill().unwrap();
                forgetting.wait().unwrap();
                break None;
            }
            std::thread::yield_now();
        };
        killed += usize::from(ended.is_none());
        // A server finishes what was decided; its DuckDB waits for that of the killed one.
        if nth % 4 == 1 {
            eventually("the server starts", || {
                let served = weir.command().env("WEIR_DATA", &data).args(["replay"]).output().unwrap();
                served.status.success()
            });
        }
        eventually("it is forgotten", || in_folder(&data).status().unwrap().success());
        only_the_other_is_left(&weir, &data, &all);
    }
    assert!(killed > 0, "each came to its end first");
}
