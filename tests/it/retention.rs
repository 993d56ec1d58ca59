//! Retention: events that are older than their type is kept are gone from everywhere but the counts, and stay away.

use std::{collections::BTreeSet, fs, path::Path};

use weir_core::{Clock, Day, SystemClock};

use crate::{
    forget::{
        copy,
        sealed_days::{expire_json, parquet},
    },
    harness::{Value, Weir, eventually, files_that_hold, json},
};

/// What old events hold, and no others.
const OLD: &str = "OLDvalue";
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// JSON of the first of these days, as days ago, has expired.
const OLD_DAYS: [u64; 2] = [20, 15];
const NEW: u64 = 4;

fn at(days: u64) -> u64 {
    Day::of(SystemClock.now().hour()).minus(days).first_hour().start().millis()
}

fn define(catalog: &Path, name: &str, own: &Value) {
    let mut own = own.clone();
    own["route"] = json!(format!("/shop/{name}"));
    let schema = json!({"type": "object", "properties": {"email": {"type": "string"}, "place": {"type": "string"}},
        "x-weir": own});
    fs::write(catalog.join(format!("{name}.json")), schema.to_string()).unwrap();
}

fn post(weir: &Weir, event_type: &str, email: &str, days: u64) {
    let event =
        json!({"event_type": event_type, "email": email, "place": "kitchen", "occurred_at": at(days)});
    assert_eq!(weir.post_with("/events", event.to_string(), &[("user-agent", BOT)]).status, 200);
}

fn emails(weir: &Weir, event_type: &str) -> Vec<String> {
    let rows = weir.query(&format!("SELECT email FROM {event_type} ORDER BY ALL"));
    rows.iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect()
}

/// Returns the files that hold an old value, of batches, the lake, quarantine and sealed days.
fn with_old(weir: &Weir) -> BTreeSet<String> {
    let data = weir.data();
    let places = ["raw", "lake", "quarantine", "sealed"].map(|name| data.join(name));
    let files =
        places.iter().filter(|place| place.exists()).flat_map(|place| files_that_hold(place, OLD.as_bytes()));
    let mut found: BTreeSet<String> = files.map(|path| path.display().to_string()).collect();
    found.extend(parquet(&data).into_iter().filter(|(_, text)| text.contains(OLD)).map(|(file, _)| file));
    found
}

fn audited(weir: &Weir) -> String {
    let audit = weir.run(&["audit"]);
    assert_eq!(audit.status.code(), Some(0), "{audit:?}");
    String::from_utf8(audit.stderr).unwrap()
}

#[test]
fn an_event_that_is_older_than_its_type_is_kept_is_stored_with_a_warning() {
    let catalog = tempfile::tempdir().unwrap();
    define(catalog.path(), "signup", &json!({"keep_days": 10}));
    define(catalog.path(), "visit", &json!({}));
    let folder = catalog.path().to_str().unwrap();
    let warned = |weir: &Weir, event_type: &str, days: u64| {
        let event = json!({"event_type": event_type, "email": "a", "occurred_at": at(days)});
        let answer = weir.post("/events", event.to_string());
        assert_eq!(answer.status, 200);
        let warning = answer.json()["outcomes"][0]["warnings"][0].clone();
        let is_of_age =
            warning.as_str().is_some_and(|text| text.contains("older than events of its type are kept"));
        assert!(is_of_age || warning.is_null(), "{warning}");
        is_of_age
    };
    for (options, of_visits) in [(&[][..], None), (&["--keep-days", "5"], Some(5))] {
        let weir = Weir::start_with(&[&["--catalog", folder, "--seal-after", "never"], options].concat());
        for days in [4, 5, 6, 9, 10, 11, 300] {
            assert_eq!(warned(&weir, "signup", days), days > 10, "{days}");
            assert_eq!(warned(&weir, "visit", days), of_visits.is_some_and(|kept| days > kept), "{days}");
        }
    }
}

#[test]
fn events_that_are_older_than_their_type_is_kept_are_in_no_file_and_stay_in_the_counts() {
    let catalog = tempfile::tempdir().unwrap();
    let by_both = json!({"count_by": "email", "latest_by": "place"});
    define(catalog.path(), "signup", &by_both);
    define(catalog.path(), "visit", &json!({}));
    let folder = catalog.path().to_str().unwrap();
    let options = ["--catalog", folder, "--flush-every", "100ms", "--seal-after", "never"];
    let mut weir = Weir::start_with(&options);
    for days in OLD_DAYS {
        post(&weir, "signup", OLD, days);
        post(&weir, "visit", "other", days);
    }
    weir.wait_until_filed();
    weir.output(&["seal"]);
    expire_json(&weir, &OLD_DAYS, "456h");
    // Late ones of a day of which JSON is gone, and others.
    post(&weir, "signup", OLD, OLD_DAYS[0]);
    post(&weir, "visit", "new", NEW);
    weir.wait_until_filed();
    let places: BTreeSet<String> = with_old(&weir);
    for place in ["/raw/", "/lake/", "signup/data_0.parquet"] {
        assert!(places.iter().any(|file| file.contains(place)), "{place}: {places:?}");
    }
    let raw = tempfile::tempdir().unwrap();
    copy(&weir.data().join("raw"), raw.path());
    let counts = || weir.get("/counts/signup").json();
    let counted = counts();
    assert_eq!((&counted["total"], &counted["settled"]), (&json!(3), &json!(3)));
    assert!(!audited(&weir).contains("kept"));

    // From now on they are kept for ten days: beside the server, which goes on.
    define(catalog.path(), "signup", &json!({"count_by": "email", "latest_by": "place", "keep_days": 10}));
    let said = weir.output(&["seal", "--catalog", folder]);
    assert!(said.contains("events of 2 days were removed"), "{said}");
    let gone = |weir: &Weir| {
        assert_eq!(with_old(weir), BTreeSet::new());
        assert_eq!(emails(weir, "signup"), Vec::<String>::new());
        assert_eq!(emails(weir, "visit"), ["new", "other", "other"]);
    };
    gone(&weir);
    assert_eq!(counts(), counted, "what was counted stays counted");
    assert_eq!(weir.get("/shop/signup/latest").json()["latest"], json!([]));
    assert!(audited(&weir).contains("3 events were removed, as their types are not kept for longer"));
    let said = weir.output(&["seal", "--catalog", folder]);
    assert!(!said.contains("were removed"), "{said}");

    // A late one is taken and counted; no query reads it, and the next sealing removes it.
    post(&weir, "signup", OLD, OLD_DAYS[1]);
    weir.wait_until_filed();
    assert_eq!(weir.get("/counts/signup").json()["settled"], 4);
    assert_eq!(emails(&weir, "signup"), Vec::<String>::new());
    assert!(audited(&weir).contains("4 events were removed"));
    weir.output(&["seal", "--catalog", folder]);
    gone(&weir);
    audited(&weir);

    // A replay has nothing to bring back, unless batches were put back; then they are not read, and removed.
    weir.stop("-TERM");
    weir.output(&["replay"]);
    gone(&weir);
    copy(raw.path(), &weir.data().join("raw"));
    weir.output(&["replay"]);
    assert_eq!(emails(&weir, "signup"), Vec::<String>::new());
    audited(&weir);
    weir.output(&["seal", "--catalog", folder]);
    gone(&weir);

    // For all types, by the server itself.
    weir.options =
        ["--flush-every", "100ms", "--seal-after", "1s", "--keep-days", "2"].map(str::to_owned).to_vec();
    weir.options.extend(["--catalog".to_owned(), folder.to_owned()]);
    weir.restart();
    eventually("the server removes them", || {
        // A query that begins before may fail.
        let read = weir.run(&["query", "--format", "json", "SELECT email FROM visit"]);
        read.status.success() && read.stdout.trim_ascii() == b"[]"
    });
    eventually("the sealing has ended", || weir.log().contains("are sealed"));
    assert!(parquet(&weir.data()).is_empty());
    assert_eq!(weir.get("/counts/visit").json()["settled"], 3);
    audited(&weir);
}
