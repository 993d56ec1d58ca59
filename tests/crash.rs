//! Whatever was acknowledged is stored exactly once, however the server ended.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use harness::{Value, Weir, json, try_request};

/// How often each event id is in a part of the data folder.
fn occurrences(weir: &Weir, below: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in weir.lines(below) {
        *found.entry(line["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

/// Posts batches from four clients until the server is gone; notes what was acknowledged.
fn load(url: &str, who: &str, next: &AtomicU64, acknowledged: &Mutex<BTreeSet<String>>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let first = next.fetch_add(10, Ordering::SeqCst);
        let events: Vec<Value> = (first..first + 1 + first / 10 % 10)
            .map(|n| {
                json!({"event_type": "button_click", "event_id": format!("e-{n}"),
                       "session_id": "s", "button_id": format!("b{}", n % 5)})
            })
            .collect();
        let body = Value::from(events).to_string();
        match try_request(url, "POST", Some(who), "/events", &[], body.as_bytes()) {
            Some(answer) if answer.status == 200 => {
                let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
                let ids =
                    outcomes.into_iter().map(|outcome| outcome["event_id"].as_str().unwrap().to_owned());
                acknowledged.lock().unwrap().extend(ids);
            }
            _ => return,
        }
    }
}

#[test]
fn twenty_kills_under_load_lose_nothing_and_repeat_nothing() {
    // Batches of a few events, cut all the time: every step of their way is under way at some kill.
    let mut weir = Weir::start_with(&["--flush-every", "20ms", "--flush-size", "2000"]);
    let (next, acknowledged) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    for round in 0..20_u64 {
        let (url, who, stop) = (weir.url(), weir.credentials.clone(), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| load(&url, &who, &next, &acknowledged, &stop));
            }
            // Any moment will do; these are spread over the first quarter of a second.
            thread::sleep(Duration::from_millis(10 + round * 7919 % 240));
            weir.kill();
            stop.store(true, Ordering::SeqCst);
        });
        weir.restart();
    }
    weir.wait_until_filed();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 200, "only {} events were acknowledged", acknowledged.len());

    let (raw, lake) = (occurrences(&weir, "raw"), occurrences(&weir, "lake"));
    let repeated: Vec<_> = raw.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "repeated in raw: {repeated:?}");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !raw.contains_key(*id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(raw, lake);
    assert!(weir.files("quarantine").is_empty());

    // Some events were stored whose acknowledgement the kill cut off: they count like all others.
    let counts = weir.get("/counts/button_click").json();
    assert_eq!((&counts["total"], &counts["settled"]), (&json!(lake.len()), &json!(lake.len())));
    let keys: u64 = counts["keys"].as_array().unwrap().iter().map(|key| key["count"].as_u64().unwrap()).sum();
    assert_eq!(keys, lake.len() as u64);
    let rows = weir.query("SELECT count(*) AS rows, count(DISTINCT event_id) AS ids FROM button_click");
    assert_eq!(rows, [json!({"rows": lake.len(), "ids": lake.len()})]);
}

#[test]
fn a_server_that_is_told_to_stop_files_everything_first() {
    for signal in ["-TERM", "-INT"] {
        let mut weir = Weir::start_with(&["--flush-every", "1h"]);
        for n in 0..50 {
            assert_eq!(weir.post("/button/click", harness::click("s", &format!("b{n}"))).status, 200);
        }
        assert_eq!(weir.files("lake").len(), 0);
        assert_eq!(weir.stop(signal), Some(0));
        assert_eq!(weir.lines("lake").len(), 50);
        weir.restart();
        let counts = weir.get("/counts/button_click").json();
        assert_eq!((&counts["total"], &counts["settled"]), (&json!(50), &json!(50)));
    }
}

#[test]
fn a_second_server_on_the_folder_is_refused_with_a_reason() {
    let weir = Weir::start();
    let output = weir.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is in use by another weir process"), "{said}");
}
