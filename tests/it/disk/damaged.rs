//! Files that are not what they were when they were written: what can be mended mends itself, what cannot is reported, with
//! the file and what to do.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{ends, without_logs};
use crate::harness::{Weir, click, eventually, json};

const QUICK: &[&str] = &["--flush-every", "20ms", "--flush-size", "500"];

/// Posts events with the numbers of a range, each in a request of its own.
fn post(weir: &Weir, numbers: std::ops::Range<u64>) {
    for n in numbers {
        assert_eq!(weir.post("/button/click", click("s", &format!("b{n}"))).status, 200);
    }
}

fn wait_until_settled(weir: &Weir, events: usize) {
    eventually("everything is filed", || weir.get("/counts/button_click").json()["settled"] == json!(events));
}

/// How often each button is in a part of the folder.
fn buttons(weir: &Weir, below: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in weir.lines(below) {
        *found.entry(line["button_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

fn once(numbers: std::ops::Range<u64>) -> BTreeMap<String, usize> {
    numbers.map(|n| (format!("b{n}"), 1)).collect()
}

fn cut(file: &Path, keep: impl FnOnce(u64) -> u64) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_len(keep(file.metadata().unwrap().len())).unwrap();
}

/// What a start says that fails.
fn failed_start(weir: &Weir) -> String {
    let output = ends(weir.command().args(["serve", "--listen", "127.0.0.1:0"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn audit(weir: &Weir) -> Option<i32> {
    weir.run(&["audit"]).status.code()
}

/// After the store forgot what it knew: all of so many events are filed again, once, and a repair makes the counts right.
fn assert_everything_is_found_again(mut weir: Weir, events: u64) {
    wait_until_settled(&weir, usize::try_from(events).unwrap());
    // New events get no number and no name that was given before.
    post(&weir, events..events + 10);
    wait_until_settled(&weir, usize::try_from(events).unwrap() + 10);
    for _ in 0..2 {
        assert_eq!(buttons(&weir, "raw"), once(0..events + 10));
        assert_eq!(buttons(&weir, "lake"), once(0..events + 10));
        assert_eq!(weir.stop("-TERM"), Some(0));
        weir.restart();
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.output(&["audit", "--repair"]);
    weir.restart();
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": events + 10}));
    weir.output(&["audit"]);
}

#[test]
fn a_log_with_half_a_write_at_its_end_loses_nothing() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    post(&weir, 0..20);
    weir.kill();
    let log = weir.data().join("events.db-wal");
    let bytes = fs::read(&log).unwrap();
    // Half a frame of this round of the log.
    fs::write(&log, [&bytes[..], &bytes[32..2000]].concat()).unwrap();
    weir.restart();
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": 20}));
    weir.kill();
    weir.restart();
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert_eq!(buttons(&weir, "lake"), once(0..20));
    assert_eq!(audit(&weir), Some(0));
}

#[test]
fn of_a_log_that_was_cut_what_is_in_raw_is_filed_once_all_the_same() {
    for part in [2, 3, 10] {
        let mut weir = Weir::start_with(QUICK);
        // The log has two equal halves, of the way of these events and of those.
        post(&weir, 0..20);
        wait_until_settled(&weir, 20);
        post(&weir, 20..40);
        wait_until_settled(&weir, 40);
        weir.kill();
        cut(&weir.data().join("events.db-wal"), |length| length / part * (part - 1) - 7);
        weir.restart();
        if part == 2 {
            // Less may be of the batches' way into the lake only.
            eventually("more is reported", || {
                weir.log().contains("raw has batches that events.db does not know")
            });
        }
        assert_everything_is_found_again(weir, 40);
    }
}

#[test]
fn a_database_that_was_cut_says_what_to_do_and_doing_it_brings_everything_back() {
    let mut weir = Weir::start_with(QUICK);
    post(&weir, 0..40);
    wait_until_settled(&weir, 40);
    assert_eq!(weir.stop("-TERM"), Some(0));
    without_logs(&weir);
    let database = weir.data().join("events.db");
    cut(&database, |length| length / 8192 * 4096);
    let said = failed_start(&weir);
    assert!(said.contains("events.db is damaged: ") && said.contains("move events.db, "), "{said}");
    assert_eq!(weir.run(&["replay"]).status.code(), Some(1));
    assert_eq!(audit(&weir), Some(1));
    fs::remove_file(&database).unwrap();
    weir.restart();
    assert_everything_is_found_again(weir, 40);
}

#[test]
fn damaged_users_say_what_to_do_and_the_events_stay() {
    let mut weir = Weir::start_with(QUICK);
    post(&weir, 0..10);
    wait_until_settled(&weir, 10);
    assert_eq!(weir.stop("-TERM"), Some(0));
    without_logs(&weir);
    let users = weir.data().join("users.db");
    let whole = fs::read(&users).unwrap();
    let changed = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        [&whole[..at], to.as_bytes(), &whole[at + to.len()..]].concat()
    };
    for (damage, bytes) in [
        ("cut", whole[..whole.len() - 4096].to_vec()),
        ("text", b"this is no database, it is a text of some length".to_vec()),
        // A page in the middle, which SQLite reads when a user signs in and not before.
        ("page", [&whole[..4096], &[0xa5; 4096][..], &whole[8192..]].concat()),
        // Within a value, of which SQLite knows nothing.
        ("key", changed("\"hash\":", "\"hush\":")),
        ("name", changed("demo", "de\0o")),
    ] {
        fs::write(&users, bytes).unwrap();
        let said = failed_start(&weir);
        assert!(said.contains("users.db is damaged: ") && said.contains("weir user add"), "{damage}: {said}");
        assert_eq!(said.lines().count(), 1, "{damage}: {said}");
        let output = weir.run(&["user", "list"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("users.db is damaged: ") && output.status.code() == Some(1),
            "{damage}: {said}"
        );
    }
    fs::remove_file(&users).unwrap();
    let again = weir.user("demo");
    weir.restart();
    assert_eq!(weir.get_as(&again, "/button/click/count").json(), json!({"count": 10}));
}

#[test]
fn files_that_were_half_written_are_gone_after_the_next_start() {
    let mut weir = Weir::start_with(QUICK);
    post(&weir, 0..5);
    wait_until_settled(&weir, 5);
    weir.kill();
    fs::write(weir.data().join("tmp/.tmpAbCdEf"), "half a batch").unwrap();
    weir.restart();
    assert_eq!(weir.files("tmp"), Vec::<String>::new());
    assert_eq!(audit(&weir), Some(0));
}

/// A server that was killed with a batch of forty events in raw that is not filed, and the batch's file.
fn with_a_batch_in_raw() -> (Weir, PathBuf) {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    post(&weir, 0..40);
    // A file stands where the lake should be.
    fs::write(weir.data().join("lake"), "").unwrap();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &weir.process_id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    eventually("it cannot be filed", || weir.log().contains("could not be put into"));
    weir.kill();
    fs::remove_file(weir.data().join("lake")).unwrap();
    let batches = weir.files("raw");
    assert_eq!(batches.len(), 1);
    let batch = weir.data().join("raw").join(&batches[0]);
    (weir, batch)
}

#[test]
fn of_a_batch_that_was_cut_before_it_was_filed_nothing_is_filed_until_a_replay_of_its_repaired_file() {
    for keep in [0, 1, 20, 300] {
        let (mut weir, batch) = with_a_batch_in_raw();
        let whole = fs::read(&batch).unwrap();
        cut(&batch, |_| keep);
        weir.restart();
        weir.wait_until_filed();
        eventually("it is reported", || weir.log().contains("only a copy of its file has them"));
        assert!(weir.log().contains("missing=40") || keep == 1 && weir.log().contains("missing=39"));
        assert_eq!((weir.lines("lake").len(), weir.files("quarantine").len()), (0, usize::from(keep > 0)));
        assert_eq!(audit(&weir), Some(3));
        assert_eq!(weir.post("/button/click", click("s", "b40")).status, 200);
        assert_eq!(weir.stop("-TERM"), Some(0));

        fs::write(&batch, whole).unwrap();
        let said = weir.output(&["replay"]);
        assert!(said.contains("1 had not been settled before"), "{said}");
        assert_eq!(buttons(&weir, "lake"), once(0..41));
        assert_eq!(audit(&weir), Some(0));
    }
}

#[test]
fn a_batch_whose_file_is_gone_is_given_up_and_taken_up_again_when_it_is_back() {
    let (mut weir, batch) = with_a_batch_in_raw();
    let aside = weir.data().with_file_name("aside");
    fs::rename(&batch, &aside).unwrap();
    weir.restart();
    eventually("it is given up", || weir.log().contains("a batch is gone from raw and is given up"));
    weir.wait_until_filed();
    // The query does not wait for it.
    let output = weir.run(&["query", "--format", "csv", "SELECT count(*) AS n FROM button_click"]);
    let [answer, said] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!((answer.as_str(), said.as_str()), ("n\n0\n", ""));
    assert_eq!(audit(&weir), Some(3));
    weir.kill();
    weir.restart();
    eventually("it is reported", || weir.log().contains("a batch was given up; put its file back"));
    weir.kill();
    fs::rename(&aside, &batch).unwrap();
    weir.restart();
    wait_until_settled(&weir, 40);
    assert_eq!(buttons(&weir, "lake"), once(0..40));
    assert_eq!(audit(&weir), Some(0));
    weir.kill();
    let told = weir.log().matches("a batch was given up").count();
    weir.restart();
    assert_eq!(weir.log().matches("a batch was given up").count(), told);
}

#[test]
fn an_object_of_the_lake_that_was_cut_is_found_by_an_audit_and_mended_by_a_replay() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    post(&weir, 0..40);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let objects = weir.files("lake");
    let object = weir.data().join("lake").join(&objects[0]);
    let whole = fs::read(&object).unwrap();
    cut(&object, |length| length / 2);
    assert_eq!(audit(&weir), Some(3));
    weir.output(&["replay"]);
    assert_eq!(fs::read(&object).unwrap(), whole);
    assert_eq!(audit(&weir), Some(0));
}
