//! `weir backup` and `weir restore`: a copy that is taken under load has every event that was acknowledged before, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::harness::{Value, Weir, click, eventually, json, try_request};

/// Batches of a few events, cut all the time: every step of their way is under way at some backup.
const QUICK: &[&str] = &["--flush-every", "20ms", "--flush-size", "2000"];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// Events of clients, by a number that is in each as `n`.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
}

impl Ledger {
    fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Sends events, one at a time, until it is stopped; every second one has an id.
    fn send(&self, url: &str, who: &str, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            let answer = try_request(url, "POST", Some(who), "/button/click", &[], event(n).as_bytes());
            assert_eq!(answer.unwrap().status, 200);
            self.acknowledged.lock().unwrap().insert(n);
        }
    }
}

fn event(n: u64) -> String {
    let mut event = json!({"session_id": "s", "button_id": format!("b{}", n % 5), "n": n});
    if n.is_multiple_of(2) {
        event["event_id"] = json!(format!("e-{n}"));
    }
    event.to_string()
}

fn occurrences(weir: &Weir, below: &str) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for line in weir.lines(below) {
        *found.entry(line["n"].as_u64().unwrap()).or_default() += 1;
    }
    found
}

/// Starts a server on a restored folder, and holds it to what was acknowledged before its backup began and after it ended.
fn check(restored: tempfile::TempDir, who: &str, before: &BTreeSet<u64>, sent: u64) {
    let mut weir = Weir::start_on(restored, who, QUICK);
    weir.wait_until_filed();
    let lake = occurrences(&weir, "lake");
    assert_eq!(occurrences(&weir, "raw"), lake);
    let lost: Vec<_> = before.iter().filter(|n| !lake.contains_key(n)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let wrong: Vec<_> = lake.iter().filter(|(n, times)| **times != 1 || **n >= sent).collect();
    assert!(wrong.is_empty(), "repeated or invented: {wrong:?}");
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": lake.len()}));
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());

    // Clients that send everything with an id again store what is missing, and nothing else.
    let with_id: BTreeSet<u64> = (0..sent).filter(|n| n.is_multiple_of(2)).collect();
    let body: String = with_id.iter().map(|n| event(*n) + "\n").collect();
    let headers = [("content-type", "application/x-ndjson")];
    let lines: String =
        body.lines().map(|line| format!("{{\"event_type\":\"button_click\",{}\n", &line[1..])).collect();
    let answer = weir.post_with("/events", lines, &headers).json();
    assert_eq!(answer["stored"], json!(with_id.iter().filter(|n| !lake.contains_key(n)).count()), "{answer}");
    weir.wait_until_filed();
    let lake = occurrences(&weir, "lake");
    let missing: Vec<_> = with_id.iter().filter(|n| !lake.contains_key(n)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    let repeated: Vec<_> = lake.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "repeated: {repeated:?}");
    assert_eq!(weir.stop("-TERM"), Some(0));
    let audit = weir.run(&["audit"]);
    assert_eq!(audit.status.code(), Some(0), "{}", said(&audit));
}

#[test]
fn backups_under_load_have_every_event_acknowledged_before_once_and_their_counts_are_right() {
    let weir = Weir::start_with(QUICK);
    let (ledger, stop) = (Ledger::default(), AtomicBool::new(false));
    let place = tempfile::tempdir().unwrap();
    let mut backups = Vec::new();
    let url = weir.url();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ledger.send(&url, &weir.credentials, &stop));
        }
        for backup in 0..8 {
            let some = ledger.acknowledged().len() + 20;
            eventually("events come in", || ledger.acknowledged().len() >= some);
            let before = ledger.acknowledged();
            let to = place.path().join(backup.to_string());
            weir.output(&["backup", to.to_str().unwrap()]);
            backups.push((to, before, ledger.next.load(Ordering::SeqCst)));
        }
        stop.store(true, Ordering::SeqCst);
    });
    for (backup, before, sent) in backups {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let restore = ["restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()];
        weir.output(&restore);
        // Nothing is repaired: it is right before a server was on it, too.
        let audit = weir.run(&["audit", "--data", data.to_str().unwrap()]);
        assert_eq!(audit.status.code(), Some(0), "{}", said(&audit));
        assert!(said(&weir.run(&restore)).contains("exists and is not empty"));
        check(folder, &weir.credentials, &before, sent);
    }
}

fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    for entry in fs::read_dir(path).into_iter().flatten() {
        assert_private(&entry.unwrap().path());
    }
}

#[test]
fn a_backup_and_what_is_restored_from_it_can_be_read_by_their_owner_only() {
    let mut weir = Weir::start_with(QUICK);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let place = tempfile::tempdir().unwrap();
    let (backup, data) = (place.path().join("backup"), place.path().join("data"));
    weir.output(&["backup", backup.to_str().unwrap()]);
    weir.output(&["restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_private(&backup);
    assert_private(&data);
    // Nothing lies beside them.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn a_backup_goes_to_a_new_place_and_a_restore_to_an_empty_one_or_both_are_refused() {
    let weir = Weir::start_with(QUICK);
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let refused = |arguments: &[&str], reason: &str| {
        let output = weir.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said(&output).contains(reason), "{arguments:?}: {}", said(&output));
    };
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/file"), "").unwrap();
    refused(&["backup", &path("full")], "exists and is not empty");
    refused(&["backup", weir.data().join("below/it").to_str().unwrap()], "lies in the data folder");
    refused(&["backup", &path("new"), "--data", &path("none")], "there are no data in");
    refused(&["backup", &path("new"), "--engine", "aws"], "point-in-time recovery");
    refused(&["restore", &path("new"), "--engine", "aws"], "point-in-time recovery");
    weir.output(&["backup", &path("backup")]);
    refused(&["restore", &path("backup")], "exists and is not empty");
    refused(&["restore", &path("full"), "--data", &path("new")], "is no backup");
    assert!(!Path::new(&path("new")).exists());
    assert_eq!(fs::read_to_string(path("full/file")).unwrap(), "");
}

#[test]
fn a_backup_of_which_files_are_missing_is_refused_and_leaves_nothing_behind() {
    let mut weir = Weir::start_with(QUICK);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let place = tempfile::tempdir().unwrap();
    let (backup, data) = (place.path().join("backup"), place.path().join("data"));
    weir.output(&["backup", backup.to_str().unwrap()]);
    let batch = backup.join("raw").join(&weir.files("raw")[0]);
    fs::rename(&batch, place.path().join("aside")).unwrap();
    let restore = ["restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let output = weir.run(&restore);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("is not what it was when it was made: files in raw were 1 with"),
        "{}",
        said(&output)
    );
    fs::rename(place.path().join("aside"), &batch).unwrap();
    weir.output(&restore);
}

#[test]
fn functions_are_in_a_backup_and_a_backup_of_before_there_were_functions_is_restored() {
    let weir = Weir::start_with(QUICK);
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    weir.output(&["backup", &path("without")]);
    // As an earlier version wrote it.
    let manifest = place.path().join("without/backup.json");
    let mut earlier: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    earlier.as_object_mut().unwrap().remove("functions").unwrap();
    fs::write(&manifest, earlier.to_string()).unwrap();
    fs::remove_dir(place.path().join("without/functions")).unwrap();
    weir.output(&["restore", &path("without"), "--data", &path("old")]);

    weir.output(&["function", "add", "count", "--time-limit", "2m", "--", "wc", "-l"]);
    let listed = weir.output(&["function", "list"]);
    weir.output(&["backup", &path("with")]);
    weir.output(&["restore", &path("with"), "--data", &path("new")]);
    assert_eq!(weir.output(&["function", "list", "--data", &path("new")]), listed);
    fs::remove_file(place.path().join("with/functions/count.json")).unwrap();
    let refused = weir.run(&["restore", &path("with"), "--data", &path("other")]);
    assert!(said(&refused).contains("files in functions were 1 with"), "{}", said(&refused));
}

#[test]
fn a_folder_into_which_a_restore_broke_off_is_used_by_no_command() {
    let weir = Weir::start_with(QUICK);
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fs::create_dir_all(data.join("restoring/raw")).unwrap();
    let commands =
        [&["serve", "--listen", "127.0.0.1:0"][..], &["user", "add", "ann"], &["counts"], &["replay"]];
    for arguments in commands {
        let output = weir.command().args(arguments).env("WEIR_DATA", &data).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("a restore into it is under way, or broke off"), "{}", said(&output));
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
}

/// A store from a copy, and raw from another moment: the file of a batch is missing, and that of a later one is there.
#[test]
fn events_in_the_journal_before_a_batch_that_the_store_does_not_know_are_filed_too() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    let post = |weir: &Weir, numbers: std::ops::Range<u64>| {
        for n in numbers {
            assert_eq!(weir.post("/button/click", event(n)).status, 200);
        }
    };
    post(&weir, 0..10);
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    weir.output(&["backup", backup.to_str().unwrap()]);
    // Two batches: one of what is in the copied journal, and one of what came later.
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.restart();
    post(&weir, 10..15);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let batches = weir.files("raw");
    assert_eq!(batches.len(), 2);

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    weir.output(&["restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    let later = data.join("raw").join(&batches[1]);
    fs::create_dir_all(later.parent().unwrap()).unwrap();
    fs::copy(weir.data().join("raw").join(&batches[1]), later).unwrap();
    let mut restored = Weir::start_on(folder, &weir.credentials, QUICK);
    restored.wait_until_filed();
    assert_eq!(occurrences(&restored, "lake"), (0..15).map(|n| (n, 1)).collect());
    assert_eq!(restored.stop("-TERM"), Some(0));
    restored.output(&["audit", "--repair"]);
    restored.output(&["audit"]);
}
