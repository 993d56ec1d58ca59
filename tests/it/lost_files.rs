//! Files that are moved, replaced, removed or cut beneath a running server: no event is acknowledged that the next start
//! would not find.

use std::{fs, path::Path};

use crate::harness::{Weir, click, eventually};

/// What is done to a data folder, and what the log says of it.
type Deed = (&'static str, fn(&Path), &'static str);

/// Removes files of the store.
fn remove(data: &Path, names: &[&str]) {
    for name in names {
        fs::remove_file(data.join(name)).unwrap();
    }
}

/// Moves the folder away.
fn move_away(data: &Path) {
    fs::rename(data, data.with_file_name("moved")).unwrap();
}

/// Puts a copy of the folder in its place.
fn replace(data: &Path) {
    move_away(data);
    fs::create_dir(data).unwrap();
    for name in ["events.db", "events.db-wal"] {
        fs::copy(data.with_file_name("moved").join(name), data.join(name)).unwrap();
    }
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

const DEEDS: &[Deed] = &[
    ("rm -rf data", |data| fs::remove_dir_all(data).unwrap(), "is gone"),
    ("mv data moved", move_away, "is gone"),
    ("a copy in its place", replace, "is not what the server opened under this name"),
    ("rm events.db*", |data| remove(data, &["events.db", "events.db-wal", "events.db-shm"]), "is gone"),
    ("rm events.db-wal", |data| remove(data, &["events.db-wal"]), "is gone"),
    (
        "truncate events.db-wal",
        |data| cut(&data.join("events.db-wal"), 0),
        "is shorter than the server left it",
    ),
    ("truncate events.db", |data| cut(&data.join("events.db"), 0), "is shorter than the server left it"),
];

#[test]
fn no_event_is_acknowledged_once_the_data_folder_is_moved_replaced_removed_or_cut() {
    for (deed, does, said) in DEEDS {
        let weir = Weir::start_with(&["--flush-every", "1h"]);
        let post = || weir.post("/button/click", click("s", "b"));
        assert_eq!(post().status, 200, "{deed}");
        assert_eq!(weir.get("/health").status, 200, "{deed}");
        does(&weir.data());
        for _ in 0..3 {
            // The access key is known from before.
            post().problem(503, "not-stored");
        }
        eventually("the server says that it is not well", || weir.get("/health").status == 503);
        eventually("it is reported", || weir.log().contains("no event is acknowledged from now on"));
        for problem in [post().problem(503, "not-stored"), weir.get("/health").problem(503, "unavailable")] {
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("removed, moved or replaced"), "{deed}: {detail}");
        }
        let log = weir.log();
        let told = log.lines().filter(|line| line.contains("no event is acknowledged from now on")).count();
        assert_eq!(told, 1, "{deed}: {log}");
        assert!(log.contains(said), "{deed}: {log}");
    }
}

#[test]
fn what_was_acknowledged_before_the_store_was_removed_gets_into_raw_and_is_filed_by_the_next_start() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    remove(&weir.data(), &["events.db", "events.db-wal", "events.db-shm"]);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 503);
    weir.stop("-TERM");
    weir.restart();
    eventually("it is filed", || weir.lines("lake").len() == 1);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
}
