//! Folders that cannot be used: a command on one says which file it is and why, and no file changes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Output};

use super::{ends, place::Place, without_logs};
use crate::harness::{Weir, click, eventually, json};

const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0"];
const REPLAY: &[&str] = &["replay"];
const AUDIT: &[&str] = &["audit"];
const REPAIR: &[&str] = &["audit", "--repair"];

/// A stopped server with three filed events.
fn filed() -> Weir {
    let mut weir = Weir::start_with(&["--flush-every", "100ms", "--keep-free", "0"]);
    for n in 0..3 {
        assert_eq!(weir.post("/button/click", click("s", &format!("b{n}"))).status, 200);
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
    without_logs(&weir);
    weir
}

/// Asserts that a command ends with an error of one line that names all of these, and gives it.
fn refused(weir: &Weir, command: &[&str], named: &[&str]) -> String {
    let Output { status, stdout, stderr } = ends(weir.command().args(command));
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{command:?}: {said} {}", String::from_utf8_lossy(&stdout));
    for name in named {
        assert!(said.contains(name), "{command:?} does not say {name}: {said}");
    }
    let told = said.lines().filter(|line| line.starts_with("weir: ")).count();
    assert_eq!(told, 1, "{command:?}: {said}");
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    said
}

/// Everything is there, and the server takes events.
fn assert_all_is_well(mut weir: Weir) {
    weir.restart();
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    eventually("it is filed", || weir.get("/counts/button_click").json()["settled"] == json!(4));
    weir.output(AUDIT);
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_with_the_file_and_the_reason() {
    let mut weir = filed();
    // Permissions do not stop root, unless it is root without that privilege.
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        weir.run_by = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"].map(str::to_owned).into();
    }
    let data = weir.data();
    allow(&data, 0o500);
    for command in [SERVE, REPLAY, REPAIR] {
        refused(&weir, command, &["events.db", "cannot use"]);
    }
    allow(&data.join("lock"), 0o400);
    for command in [SERVE, REPLAY, REPAIR] {
        refused(&weir, command, &["lock: Permission denied"]);
    }
    allow(&data, 0o000);
    refused(&weir, SERVE, &["cannot use the data folder", "Permission denied"]);
    allow(&data, 0o700);
    allow(&data.join("lock"), 0o600);
    assert_all_is_well(weir);
}

#[test]
fn a_disk_that_is_read_only_is_refused_and_used_again_once_it_is_not() {
    let mut weir = filed();
    let Some(_place) = Place::mount(&mut weir, 32, 1) else {
        // No file system can be mounted here; one that is read-only everywhere.
        weir.data_from_here = None;
        let output = weir.command().args(SERVE).env("WEIR_DATA", "/proc/weir").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("cannot use the data folder /proc/weir: "), "{said}");
        return;
    };
    Place::read_only(&weir, true);
    for command in [SERVE, REPLAY, REPAIR] {
        refused(&weir, command, &["Read-only file system", "data"]);
    }
    Place::read_only(&weir, false);
    assert_all_is_well(weir);
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let mut weir = filed();
    let data = weir.data();
    let (aside, raw) = (data.with_file_name("aside"), data.join("raw"));
    fs::rename(&data, &aside).unwrap();
    fs::write(&data, "").unwrap();
    refused(&weir, SERVE, &["cannot use the data folder", "data: "]);
    fs::remove_file(&data).unwrap();
    fs::rename(&aside, &data).unwrap();

    for (name, command) in
        [("events.db", SERVE), ("events.db", AUDIT), ("users.db", SERVE), ("users.db", &["user", "list"])]
    {
        fs::rename(data.join(name), &aside).unwrap();
        fs::create_dir(data.join(name)).unwrap();
        refused(&weir, command, &["cannot use", name]);
        fs::remove_dir(data.join(name)).unwrap();
        fs::rename(&aside, data.join(name)).unwrap();
    }

    fs::rename(&raw, &aside).unwrap();
    fs::write(&raw, "").unwrap();
    refused(&weir, SERVE, &["raw: ", "ot a directory"]);
    fs::remove_file(&raw).unwrap();
    fs::rename(&aside, &raw).unwrap();

    // Beneath a running server: events are taken, and filed once it was put right.
    let lake = data.join("lake");
    fs::rename(&lake, &aside).unwrap();
    fs::write(&lake, "").unwrap();
    refused(&weir, AUDIT, &["listing the lake", lake.to_str().unwrap(), "Not a directory"]);
    weir.restart();
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    eventually("it says so", || weir.log().contains("could not be put into"));
    assert_eq!(weir.get("/counts/button_click").json()["settled"], 3);
    fs::remove_file(&lake).unwrap();
    fs::rename(&aside, &lake).unwrap();
    eventually("it is filed", || weir.get("/counts/button_click").json()["settled"] == json!(4));
    weir.output(AUDIT);
}

#[test]
fn a_folder_that_is_served_is_left_alone_by_other_commands_that_write_which_say_to_stop_the_server() {
    let mut weir = filed();
    weir.restart();
    for (command, to_do) in [
        (SERVE, "stop it first, or name another folder with --data"),
        (REPLAY, "stop it first"),
        (REPAIR, "stop the server, then --repair"),
    ] {
        refused(&weir, command, &["is in use by another weir process", to_do]);
    }
    assert_eq!(weir.get("/counts/button_click").json()["settled"], 3);
    weir.kill();
    assert_all_is_well(weir);
}

#[test]
fn a_folder_of_a_later_version_is_refused_as_such_and_not_changed() {
    let weir = filed();
    let set = |name: &str, format: u32| {
        let db = rusqlite::Connection::open(weir.data().join(name)).unwrap();
        let before: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        db.pragma_update(None, "user_version", format).unwrap();
        before
    };
    let format = set("events.db", 99);
    for command in [SERVE, REPLAY, AUDIT, REPAIR] {
        refused(&weir, command, &["events.db was made by a later version of weir", "99"]);
    }
    assert_eq!(set("events.db", format), 99);
    let format = set("users.db", 99);
    for command in [SERVE, &["user", "list"][..]] {
        refused(&weir, command, &["users.db was made by a later version of weir", "99"]);
    }
    assert_eq!(set("users.db", format), 99);
    assert_all_is_well(weir);
}
