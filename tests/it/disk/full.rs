//! A disk without space left.

use std::{collections::BTreeSet, process::Command};

use fastrand::Rng;

use super::{ends, place::Place, without_logs};
use crate::harness::{Answer, Weir, eventually, json};

/// A server that was started once, for its user, and stopped.
fn stopped(options: &[&str]) -> Weir {
    let mut weir = Weir::start_with(options);
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir
}

/// Posts an event with a number and some 100 kB of noise, which no compression makes small.
fn post(weir: &Weir, rng: &mut Rng, n: u64) -> Answer {
    let noise: String = (0..100_000).map(|_| rng.alphanumeric()).collect();
    let event =
        json!({"session_id": "s", "button_id": "b", "event_id": format!("e-{n}"), "n": n, "noise": noise});
    weir.post("/button/click", event.to_string())
}

/// Posts until an event is refused, as it must be; gives the numbers of those that were acknowledged.
fn post_until_refused(weir: &Weir, rng: &mut Rng, from: u64) -> BTreeSet<u64> {
    for n in from..from + 1000 {
        let answer = post(weir, rng, n);
        if answer.status != 200 {
            answer.problem(503, "not-stored");
            assert!(answer.header("retry-after").is_some());
            return (from..n).collect();
        }
    }
    panic!("the disk is not full after 100 MB");
}

/// Asserts that what was acknowledged lies in the lake, once, and is what is counted; other events may have been
/// stored whose acknowledgement was lost, but not here.
fn assert_all_is_well(weir: &Weir, acknowledged: &BTreeSet<u64>) {
    let count = json!(acknowledged.len());
    eventually("everything is filed", || {
        let counts = weir.get("/counts/button_click").json();
        assert_eq!(counts["total"], count);
        counts["settled"] == count
    });
    for below in ["raw", "lake"] {
        let mut found: Vec<u64> = weir.lines(below).iter().map(|line| line["n"].as_u64().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, acknowledged.iter().copied().collect::<Vec<_>>(), "in {below}");
    }
    weir.output(&["audit"]);
}

fn signal(weir: &Weir, signal: &str) {
    let process = weir.process_id().to_string();
    assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
}

/// The disk fills up, the server is stopped and started on the full disk, and room is made under a running one.
fn fill_up_and_go_on(mut weir: Weir, place: &Place) {
    let mut rng = Rng::with_seed(7);
    weir.restart();
    let mut acknowledged = post_until_refused(&weir, &mut rng, 0);
    assert!(acknowledged.len() > 3, "only {} were acknowledged", acknowledged.len());
    // Until now, smaller events would have fitted.
    place.fill(&weir);
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": acknowledged.len()}));

    // Filing the rest may be tried for half a minute; a second signal does not wait for that.
    signal(&weir, "-TERM");
    eventually("it is stopping", || weir.log().matches("stopping: filing").count() > 1);
    let code = weir.stop("-TERM");
    assert!(matches!(code, Some(0 | 143)), "{code:?}");
    weir.restart();
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": acknowledged.len()}));

    place.make_room(&mut weir);
    let next = 10_000;
    eventually("events are taken again", || post(&weir, &mut rng, next).status == 200);
    acknowledged.insert(next);
    assert_eq!(weir.get("/health").status, 200);
    assert_all_is_well(&weir, &acknowledged);
}

#[test]
fn on_a_full_disk_clients_are_asked_to_come_again_and_nothing_acknowledged_is_lost() {
    let mut weir = stopped(&["--flush-every", "50ms", "--keep-free", "0"]);
    let place = Place::small(&mut weir, 40, 32);
    fill_up_and_go_on(weir, &place);
}

#[test]
fn files_that_may_not_grow_are_met_like_a_full_disk() {
    let mut weir = stopped(&["--flush-every", "50ms", "--keep-free", "0"]);
    let place = Place::limit(&mut weir, 2048);
    fill_up_and_go_on(weir, &place);
}

#[test]
fn events_are_refused_while_there_is_still_room_to_file_what_was_acknowledged_and_to_end() {
    let mut rng = Rng::with_seed(7);
    let mut weir = stopped(&["--flush-every", "50ms", "--keep-free", "16MiB"]);
    let place = Place::mount(&mut weir, 64, 36);
    weir.restart();
    let mut acknowledged: BTreeSet<u64> = if place.is_some() {
        post_until_refused(&weir, &mut rng, 0)
    } else {
        // No file system can be mounted here: then more is kept free than there is.
        let acknowledged = (0..20).filter(|n| post(&weir, &mut rng, *n).status == 200).collect();
        weir.stop("-TERM");
        weir.options.splice(3.., ["1EiB".to_owned()]);
        weir.restart();
        post(&weir, &mut rng, 20).problem(503, "not-stored");
        acknowledged
    };
    assert!(acknowledged.len() > 3, "only {} were acknowledged", acknowledged.len());
    assert_eq!(weir.get("/health").status, 503);
    eventually("it is reported", || weir.log().contains("new events are refused until there is more space"));
    assert_all_is_well(&weir, &acknowledged);
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert!(!weir.log().contains("yet"), "everything could be filed");
    weir.restart();
    // Ending made a little room.
    acknowledged.extend(post_until_refused(&weir, &mut rng, 1000));
    if let Some(place) = &place {
        place.make_room(&mut weir);
    } else {
        weir.stop("-TERM");
        weir.options.splice(3.., ["0".to_owned()]);
        weir.restart();
    }
    eventually("events are taken again", || post(&weir, &mut rng, 5000).status == 200);
    acknowledged.insert(5000);
    assert_eq!(weir.get("/health").status, 200);
    assert_all_is_well(&weir, &acknowledged);
}

#[test]
fn a_disk_without_room_for_what_sqlite_keeps_beside_a_database_is_named_at_the_start() {
    let mut weir = stopped(&["--flush-every", "50ms", "--keep-free", "0"]);
    without_logs(&weir);
    let place = match Place::mount(&mut weir, 8, 1) {
        Some(mount) => mount,
        // SQLite's index of the log is longer.
        None => Place::limit(&mut weir, 16),
    };
    place.fill(&weir);
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["user", "list"]] {
        let output = ends(weir.command().args(command));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("weir: no space left for ") && said.contains("make room on the disk"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    match &place {
        Place::Mount { .. } => place.make_room(&mut weir),
        Place::Limit => weir.run_by.clear(),
    }
    weir.restart();
    assert_eq!(post(&weir, &mut Rng::with_seed(7), 1).status, 200);
}

#[test]
fn a_disk_that_is_too_full_is_the_reason_in_answers_and_a_warning_at_the_start() {
    let weir = Weir::start_with(&["--keep-free", "1000PiB"]);
    eventually("the start warns", || weir.log().contains("the disk has less space left than --keep-free"));
    let event = json!({"event_type": "button_click", "session_id": "s", "button_id": "b"}).to_string();
    for problem in [
        weir.post("/button/click", &event).problem(503, "not-stored"),
        weir.post("/events", &event).problem(503, "not-stored"),
        weir.get("/health").problem(503, "unavailable"),
    ] {
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("The server's disk is almost full"), "{detail}");
        // What the engine says has the folder and its numbers: that is for the log.
        assert!(!detail.contains(weir.data().to_str().unwrap()), "{detail}");
    }
    // What is there can be read.
    assert_eq!(weir.get("/counts").status, 200);
}
