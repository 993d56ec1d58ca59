//! `weir tail --engine aws`: new batches in the raw bucket, as the stream puts them there.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
};

use super::{
    emulator::RAW,
    on_aws::{OnAws, said},
};
use crate::harness::{PATIENCE, Value, gzip, json};

/// A key in the folder of this hour, as the stream makes them.
fn key(name: &str) -> String {
    let now = weir_core::Clock::now(&weir_core::SystemClock);
    let [year, month, day, hour] = now.hour().parts();
    format!("raw/{year}/{month:02}/{day:02}/{hour:02}/{name}")
}

fn line(id: &str, user: &str, event_type: &str) -> String {
    json!({"event_id": id, "username": user, "event_type": event_type, "received_at": 1}).to_string() + "\n"
}

#[test]
fn new_batches_are_shown_compressed_or_not_and_old_ones_where_they_are_asked_for() {
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let old: String = (0..5).map(|n| line(&format!("old-{n}"), "ann", "page_view")).collect();
    aws.put(RAW, &key("weir-1"), &gzip(old.as_bytes()));
    aws.put(RAW, "raw/2026/01/01/00/weir-0", line("ancient", "ann", "page_view").as_bytes());
    let mut child = aws
        .command(&["tail", "--format", "json", "--last", "2", "--user", "ann"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (send, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = send.send(serde_json::from_str::<Value>(&line).unwrap()["event_id"].clone());
        }
    });
    let next = || lines.recv_timeout(PATIENCE).unwrap();
    assert_eq!([next(), next()], ["old-3", "old-4"]);
    let ended = aws.command(&["tail", "--format", "json", "--no-follow"]).output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stdout).lines().count()), (Some(0), 5));

    let mut members =
        gzip((line("new-1", "ann", "page_view") + &line("new-2", "bob", "page_view")).as_bytes());
    members.extend(gzip(line("new-3", "ann", "rejected").as_bytes()));
    aws.put(RAW, &key("weir-2"), &members);
    assert_eq!([next(), next()], ["new-1", "new-3"]);
    // One that comes late, before others in order, is seen as well.
    aws.put(RAW, &key("weir-0"), line("late", "ann", "page_view").as_bytes());
    assert_eq!(next(), "late");

    // The whole way.
    let server = aws.serve(&[]);
    let event = json!({"event_id": "posted", "session_id": "s", "button_id": "b"});
    assert_eq!(server.post(&ann, "/button/click", event.to_string()).status, 200);
    assert_eq!(next(), "posted");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lines.try_recv().is_err());

    for (option, name, meant) in [("--user", "anm", "ann"), ("--type", "page_vew", "page_view")] {
        let output = aws.command(&["tail", option, name]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(&format!("did you mean {meant}?")), "{}", said(&output));
    }
    let output = aws.command(&["tail"]).env("WEIR_RAW_BUCKET", "no-such-bucket").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no-such-bucket was not found"), "{}", said(&output));
}
