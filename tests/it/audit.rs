//! `weir audit` finds what is wrong with the lake and the counts, finds nothing where nothing is, and mends live counts.

mod folders;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::harness::{self, Weir, click, json, try_request};
use folders::{Answer, append, assert_clean, audit, change, copy, filed, objects};
use weir_core::BatchKey;

#[test]
fn a_sound_folder_has_no_differences_served_or_not() {
    let mut weir = filed();
    assert_clean(&audit(&weir, &weir.data(), &[]));
    weir.restart();
    assert_clean(&audit(&weir, &weir.data(), &[]));
    let table = weir.run(&["audit"]);
    assert_eq!((table.status.code(), table.stdout.len()), (Some(0), 0));
    let csv = weir.output(&["audit", "--format", "csv"]);
    let columns =
        "finding,username,event_type,hour,key,object,lines,lake,settled,live,under_way,difference,detail\n";
    assert_eq!(csv, columns);
}

/// Breaks something in a data folder.
type Break<'a> = Box<dyn Fn(&Path) + 'a>;

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn what_is_broken_is_found_and_named() {
    let weir = filed();
    let data = weir.data();
    let hour_of = |object: &Path| {
        let folder = object.parent().unwrap().strip_prefix(data.join("lake")).unwrap().to_str().unwrap();
        folder.parse::<weir_core::Partition>().unwrap().hour
    };
    let of_ann = objects(&data, "ann", "button_click");
    assert_eq!(of_ann.len(), 3);
    let at = |hour: weir_core::Hour| hour.start().millis();
    let record = |user: &str, button: &str, millis: u64| {
        let mut line = json!({"event_id": "1", "username": user, "event_type": "button_click"});
        line["received_at"] = json!(millis);
        line["button_id"] = json!(button);
        line.to_string() + "\n"
    };
    let object = &of_ann[0];
    let hour = hour_of(object);
    let relative = object.strip_prefix(&data).unwrap().to_owned();

    let cases: Vec<(&str, Break<'_>, Vec<&str>)> = vec![
        (
            "a deleted object",
            Box::new(|data| fs::remove_file(data.join(&relative)).unwrap()),
            vec![
                "settled total ann/button_click/ 1",
                "live total ann/button_click/ 1",
                "settled hour ann/button_click/ 1",
                "live key ann/button_click/a 1",
            ],
        ),
        (
            "a line too many",
            Box::new(|data| append(&data.join(&relative), &record("ann", "b", at(hour)))),
            vec![
                "settled total ann/button_click/ -1",
                "live total ann/button_click/ -1",
                "settled hour ann/button_click/ -1",
                "live key ann/button_click/b -1",
            ],
        ),
        (
            "a line that is no record",
            Box::new(|data| append(&data.join(&relative), "{\"event_id\":\"1\"}\n")),
            vec!["not a record ann/button_click/"],
        ),
        (
            "lines of another user, type and hour",
            Box::new(|data| {
                let lines = [record("bob", "a", at(hour)), record("ann", "a", at(hour) - 1)].concat();
                append(&data.join(&relative), &lines);
            }),
            vec!["wrong partition ann/button_click/"],
        ),
        (
            "a flipped byte",
            Box::new(|data| {
                let path = data.join(&relative);
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            vec![
                "damaged object ann/button_click/",
                "settled total ann/button_click/ 1",
                "live total ann/button_click/ 1",
                "settled hour ann/button_click/ 1",
                "live key ann/button_click/a 1",
            ],
        ),
        (
            "an object in another user's folder",
            Box::new(|data| {
                let there = PathBuf::from(relative.to_str().unwrap().replace("username=ann", "username=bob"));
                fs::create_dir_all(data.join(&there).parent().unwrap()).unwrap();
                fs::rename(data.join(&relative), data.join(there)).unwrap();
            }),
            vec![
                "settled total ann/button_click/ 1",
                "live total ann/button_click/ 1",
                "settled hour ann/button_click/ 1",
                "live key ann/button_click/a 1",
                "wrong partition bob/button_click/",
            ],
        ),
        (
            "files that do not belong to the lake",
            Box::new(|data| {
                fs::write(data.join("lake/notes.txt"), "x").unwrap();
                fs::write(data.join("lake/username=ann/notes.txt"), "x").unwrap();
                fs::write(data.join("lake/username=ann/button_click/notes.txt"), "x").unwrap();
            }),
            vec!["stray object //", "stray object //", "stray object ann/button_click/"],
        ),
        (
            "a settled hour",
            Box::new(|data| {
                change(
                    data,
                    "UPDATE settled_hours SET count = count + 5 WHERE username = 'bob' AND event_type = 'page_view'",
                );
            }),
            vec!["settled hour bob/page_view/ 5"],
        ),
        (
            "a settled total",
            Box::new(|data| {
                change(
                    data,
                    "DELETE FROM settled_totals WHERE username = 'bob' AND event_type = 'page_view'",
                );
            }),
            vec!["settled total bob/page_view/ -1"],
        ),
        (
            "a live total",
            Box::new(|data| {
                change(
                    data,
                    "UPDATE live_totals SET count = 0 WHERE username = 'ann' AND event_type = 'rejected'",
                );
            }),
            vec!["live total ann/rejected/ -1"],
        ),
        (
            "live keys",
            Box::new(|data| change(data, "UPDATE live_keys SET key = key || '?' WHERE key = 'b'")),
            vec!["live key ann/button_click/b -1", "live key ann/button_click/b? 1"],
        ),
    ];
    for (what, break_it, expected) in cases {
        let broken = copy(&data);
        break_it(broken.path());
        let answer = audit(&weir, broken.path(), &[]);
        assert_eq!(
            (answer.code, answer.short()),
            (Some(3), expected.iter().map(|&it| it.to_owned()).collect()),
            "{what}: {answer:?}"
        );
    }
    // The original is as it was.
    assert_clean(&audit(&weir, &data, &[]));

    let broken = copy(&data);
    fs::remove_file(broken.path().join(&relative)).unwrap();
    let count = |options: &[&str]| audit(&weir, broken.path(), options).found.len();
    assert_eq!(
        (count(&["--user", "bob"]), count(&["--user", "ann"]), count(&["--type", "rejected"])),
        (0, 4, 0)
    );
    let [year, month, day, number] = hour.parts();
    let hour_text = format!("{year}-{month:02}-{day:02}T{number:02}");
    let answer = audit(&weir, broken.path(), &["--from", &hour_text]);
    assert_eq!(answer.short(), ["settled hour ann/button_click/ 1"]);
    assert_eq!(
        (&answer.found[0]["hour"], &answer.found[0]["lake"]),
        (&json!(hour_text), &json!(answer.found[0]["settled"].as_u64().unwrap() - 1))
    );
    assert!(
        answer.said.contains("only hours were compared") && answer.said.contains("weir replay"),
        "{}",
        answer.said
    );
    assert_eq!(count(&["--to", &hour_text]), 0);
    let table = weir.command().arg("audit").env("WEIR_DATA", broken.path()).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("settled hour") && table.contains(&hour_text) && !table.contains("detail"),
        "{table}"
    );
}

#[test]
fn what_is_not_filed_yet_is_no_difference() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    for button in ["a", "b", "a"] {
        assert_eq!(weir.post("/button/click", click("s", button)).status, 200);
    }
    assert_clean(&audit(&weir, &weir.data(), &[]));
    weir.kill();
    assert_clean(&audit(&weir, &weir.data(), &[]));
    change(&weir.data(), "INSERT INTO live_keys VALUES ('demo', 'button_click', 'a', 7)");
    assert_eq!(audit(&weir, &weir.data(), &[]).short(), ["live key demo/button_click/a 7"]);
    let repaired = audit(&weir, &weir.data(), &["--repair"]);
    assert_eq!((repaired.code, repaired.found.len()), (Some(0), 1), "{repaired:?}");
    assert_clean(&audit(&weir, &weir.data(), &[]));
    weir.restart();
    assert_eq!(weir.get("/button/click/count?button_id=a").json(), json!({"count": 2}));
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert_clean(&audit(&weir, &weir.data(), &[]));
}

#[test]
fn a_batch_between_raw_and_the_settled_counts_is_no_difference_in_the_lake_or_not() {
    let weir = filed();
    let data = weir.data();
    // As a process leaves it that was killed before it settled the batch.
    let raw = weir.files("raw").pop().unwrap();
    let batch = BatchKey::new(raw.clone()).id();
    let name = raw.rsplit('/').next().unwrap().split('.').next().unwrap();
    let (first, last) = name.split_once('-').unwrap();
    let objects: Vec<String> =
        weir.files("lake").into_iter().filter(|path| path.contains(batch.as_str())).collect();
    change(&data, &format!("DELETE FROM settled_batches WHERE batch = '{batch}'"));
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    change(&data, &format!("INSERT INTO batches VALUES ({first}, {last}, '{raw}', 1)"));
    for object in &objects {
        let bytes = fs::read(data.join("lake").join(object)).unwrap();
        let lines = harness::gunzip(&bytes).lines().count();
        let [user, event_type, ..] = object.split('/').collect::<Vec<_>>()[..] else { panic!("{object}") };
        let user = user.strip_prefix("username=").unwrap();
        for table in ["settled_totals", "settled_hours"] {
            change(
                &data,
                &format!(
                    "UPDATE {table} SET count = count - {lines} WHERE username = '{user}' AND event_type = '{event_type}'"
                ),
            );
        }
    }
    assert!(!objects.is_empty());
    assert_clean(&audit(&weir, &data, &[]));
    for object in objects {
        fs::remove_file(data.join("lake").join(object)).unwrap();
    }
    assert_clean(&audit(&weir, &data, &[]));

    // The events of a batch that cannot be read are unknown; then nothing is corrected.
    let path = data.join("raw").join(&raw);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let damaged = audit(&weir, &data, &["--repair"]);
    assert_eq!((damaged.code, &damaged.found[0]["finding"]), (Some(3), &json!("damaged object")));
    assert_eq!(damaged.found[0]["object"], format!("raw/{raw}"));
    assert!(damaged.found.len() > 1 && damaged.said.contains("were left as they are"), "{damaged:?}");
    fs::write(&path, &bytes).unwrap();
    assert_clean(&audit(&weir, &data, &[]));
}

#[test]
fn repair_makes_live_counts_what_lies_in_the_lake_and_leaves_everything_else() {
    let mut weir = filed();
    let data = weir.data();
    change(
        &data,
        "UPDATE live_totals SET count = count + 4 WHERE username = 'ann' AND event_type = 'button_click'",
    );
    change(&data, "DELETE FROM live_keys WHERE key = 'a'");
    change(&data, "INSERT INTO live_totals VALUES ('nobody', 'button_click', 9)");
    let found = audit(&weir, &data, &[]);
    let expected = [
        "live total ann/button_click/ 4",
        "live key ann/button_click/a -2",
        "live total nobody/button_click/ 9",
    ];
    assert_eq!((found.code, found.short()), (Some(3), expected.map(str::to_owned).to_vec()));
    assert!(found.said.contains("weir audit --repair"), "{}", found.said);
    let repaired = audit(&weir, &data, &["--repair"]);
    assert_eq!(
        (repaired.code, repaired.short()),
        (Some(0), expected.map(str::to_owned).to_vec()),
        "{repaired:?}"
    );
    assert!(repaired.said.contains("3 live counts were corrected"), "{}", repaired.said);
    assert_clean(&audit(&weir, &data, &[]));

    // Where the lake itself is in doubt, nothing is corrected by it; elsewhere it is.
    fs::remove_file(&objects(&data, "ann", "button_click")[0]).unwrap();
    change(&data, "UPDATE live_totals SET count = 77 WHERE username = 'bob' AND event_type = 'page_view'");
    let repaired = audit(&weir, &data, &["--repair"]);
    assert_eq!((repaired.code, repaired.found.len()), (Some(3), 5), "{repaired:?}");
    assert!(repaired.said.contains("were left as they are"), "{}", repaired.said);
    let left = audit(&weir, &data, &[]);
    assert_eq!(left.found.len(), 4, "{left:?}");
    assert!(left.found.iter().all(|it| it["username"] == "ann"), "{left:?}");

    // What it recommends helps.
    weir.output(&["replay"]);
    assert_clean(&audit(&weir, &data, &[]));

    weir.restart();
    let refused = audit(&weir, &data, &["--repair"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.said.contains("in use by another weir process") && refused.said.contains("stop the server"),
        "{}",
        refused.said
    );
    let senseless = audit(&weir, &data, &["--quiet-for", "1s"]);
    assert!(
        senseless.code == Some(1) && senseless.said.contains("means nothing on one machine"),
        "{senseless:?}"
    );
}

#[test]
fn nothing_is_found_while_events_come_in_and_are_filed() {
    let weir = Weir::start_with(&["--flush-every", "10ms"]);
    let (url, who) = (weir.url(), weir.credentials.clone());
    let (done, posted) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for session in ["one", "two"] {
            let (done, posted, url, who) = (&done, &posted, &url, &who);
            scope.spawn(move || {
                let mut n = 0;
                while !done.load(Ordering::Relaxed) {
                    n += 1;
                    let body = click(session, &format!("{}", n % 7));
                    let answer = try_request(url, "POST", Some(who), "/button/click", &[], body.as_bytes());
                    assert_eq!(answer.unwrap().status, 200);
                    posted.store(true, Ordering::Relaxed);
                }
            });
        }
        harness::eventually("an event is stored", || posted.load(Ordering::Relaxed));
        let answers: Vec<Answer> = (0..8).map(|_| audit(&weir, &weir.data(), &[])).collect();
        done.store(true, Ordering::Relaxed);
        for answer in &answers {
            assert_clean(answer);
        }
    });
    assert_clean(&audit(&weir, &weir.data(), &[]));
}

#[test]
fn a_folder_without_data_is_reported() {
    let weir = Weir::start();
    let empty = tempfile::tempdir().unwrap();
    for options in [&[][..], &["--repair"]] {
        let answer = audit(&weir, empty.path(), options);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.said.contains("there are no data in"), "{answer:?}");
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn another_field_to_count_by_is_made_good_by_repair() {
    let weir = filed();
    let catalog = tempfile::tempdir().unwrap();
    let file = r#"{"type": "object", "properties": {"session_id": {"type": "string"}},
        "x-weir": {"route": "/button/click", "count_by": "session_id"}}"#;
    fs::write(catalog.path().join("button_click.json"), file).unwrap();
    let options = ["--user", "ann", "--catalog", catalog.path().to_str().unwrap()];
    let found = audit(&weir, &weir.data(), &options);
    let expected =
        ["live key ann/button_click/a 2", "live key ann/button_click/b 1", "live key ann/button_click/s -3"];
    assert_eq!((found.code, found.short()), (Some(3), expected.map(str::to_owned).to_vec()));
    let repaired = audit(&weir, &weir.data(), &[&options[..], &["--repair"]].concat());
    assert_eq!(repaired.code, Some(0), "{}", repaired.said);
    assert_clean(&audit(&weir, &weir.data(), &options));
}
