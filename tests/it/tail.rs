//! `weir tail` shows every event once and in its order, as it is stored, from outside the server.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use crate::harness::{self, Value, Weir, click, eventually, json, try_request};

/// A running `weir tail`, and what it has printed.
struct Tail {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tail {
    fn start(weir: &Weir, arguments: &[&str]) -> Self {
        let mut child = weir.command().arg("tail").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (printed, mut out) = (Arc::default(), child.stdout.take().unwrap());
        let text: Arc<Mutex<Vec<u8>>> = Arc::clone(&printed);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 1 << 13];
            while let Ok(length @ 1..) = out.read(&mut piece) {
                text.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { child, printed, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.printed.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Posts clicks on `ready` until one of them is seen: from here on nothing is missed.
    fn wait_until_ready(&self, weir: &Weir) {
        eventually("the tail follows", || {
            assert_eq!(weir.post("/button/click", click("s", "ready")).status, 200);
            !self.lines().is_empty()
        });
    }

    /// Ends it as Ctrl-C does, and gives all that it printed.
    fn stop(mut self) -> Vec<String> {
        assert!(
            Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success()
        );
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
        self.reader.take().unwrap().join().unwrap();
        self.lines()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All lines in raw, in the order in which their events were stored.
fn in_raw(weir: &Weir) -> Vec<String> {
    weir.wait_until_filed();
    let mut lines = Vec::new();
    for name in weir.files("raw") {
        let text = harness::gunzip(&std::fs::read(weir.data().join("raw").join(name)).unwrap());
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[test]
fn every_event_comes_once_and_in_order_while_thousands_are_stored_and_batches_cut() {
    let weir = Weir::start_with(&["--flush-every", "50ms"]);
    // Before it starts: these do not come.
    assert_eq!(weir.post("/button/click", click("s", "before")).status, 200);
    let tail = Tail::start(&weir, &["--format", "json"]);
    tail.wait_until_ready(&weir);
    let (url, who) = (weir.url(), weir.credentials.clone());
    std::thread::scope(|scope| {
        for session in 0..3 {
            let (url, who) = (&url, &who);
            scope.spawn(move || {
                for n in 0..100 {
                    let event = |k: u32| json!({"event_type": "button_click", "session_id": session.to_string(), "button_id": "b", "n": n * 10 + k});
                    let mut events: Vec<Value> = (0..9).map(event).collect();
                    events.push(json!({"event_type": "button_click", "broken": n}));
                    let body = Value::from(events).to_string();
                    let answer = try_request(url, "POST", Some(who), "/events", &[], body.as_bytes());
                    assert_eq!(answer.unwrap().status, 207);
                }
            });
        }
    });
    assert_eq!(weir.post("/button/click", click("s", "last")).status, 200);
    eventually("the last event is seen", || {
        tail.lines().last().is_some_and(|line| line.contains("\"last\""))
    });
    let seen = tail.stop();
    let stored = in_raw(&weir);
    assert!(weir.files("raw").len() > 3, "too few batches to tell anything: {:?}", weir.files("raw"));
    let begin = stored.iter().position(|line| *line == seen[0]).unwrap();
    assert!(
        begin > 0 && seen.len() > 3000 && stored[begin..] == seen,
        "{} of {}",
        seen.len(),
        stored.len() - begin
    );
}

#[test]
fn events_are_seen_before_they_are_in_a_batch() {
    let weir = Weir::start_with(&["--flush-every", "1h"]);
    let tail = Tail::start(&weir, &[]);
    tail.wait_until_ready(&weir);
    assert!(weir.files("raw").is_empty());
    let line = tail.lines().remove(0);
    assert!(
        line.contains(" demo button_click ") && line.ends_with(" session_id=s button_id=ready")
            || line.ends_with(" button_id=ready session_id=s"),
        "{line}"
    );
}

/// Accepted and rejected events of two users.
fn with_events() -> Weir {
    let weir = Weir::start_with(&["--flush-every", "50ms"]);
    let ann = weir.user("ann");
    for (n, who) in [&ann, &weir.credentials, &ann, &weir.credentials].into_iter().enumerate() {
        assert_eq!(weir.post_as(who, "/button/click", click("s", &n.to_string()), &[]).status, 200);
        assert_eq!(
            weir.post_as(who, "/web/page_view", format!("{{\"n\": \"{n}\\u001b[2J\"}}"), &[]).status,
            422
        );
    }
    weir
}

/// What is shown of the last 50 events; so many of them are wanted.
fn shown(weir: &Weir, arguments: &[&str], count: usize) -> Vec<String> {
    let tail = Tail::start(weir, &[&["--last", "50"], arguments].concat());
    eventually("they are shown", || tail.lines().len() >= count);
    let lines = tail.stop();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

#[test]
fn the_last_events_and_the_wanted_ones_are_shown_of_a_server_that_is_stopped_too() {
    let mut weir = with_events();
    weir.kill();
    shown(&weir, &[], 8);
    assert!(shown(&weir, &["--user", "ann"], 4).iter().all(|line| line.contains(" ann ")));
    assert!(shown(&weir, &["--type", "button_click"], 4).iter().all(|line| line.contains(" button_click ")));
    let rejected = shown(&weir, &["--rejected", "--user", "ann"], 2);
    assert!(
        rejected[0].contains(" ann rejected ") && rejected[0].contains("/url is required"),
        "{rejected:?}"
    );
    assert!(!rejected.concat().contains('\u{1b}'));
    shown(&weir, &["--rejected", "--type", "page_view"], 4);
    let json: Value =
        serde_json::from_str(&shown(&weir, &["--format", "json", "--rejected", "--user", "demo"], 2)[1])
            .unwrap();
    assert_eq!((&json["event_type"], &json["claimed_type"]), (&json!("rejected"), &json!("page_view")));
    let coloured = shown(&weir, &["--color", "always", "--rejected", "--user", "ann"], 2);
    assert!(coloured[0].contains("\u{1b}[31m") && !coloured[0].contains("\u{1b}[2J"), "{coloured:?}");

    let last = Tail::start(&weir, &["--last", "2", "--user", "ann", "--type", "button_click"]);
    eventually("they are shown", || last.lines().len() == 2);
    let lines = last.lines();
    assert!(lines[0].contains("button_id=0"), "{lines:?}");
    assert!(lines[1].contains("button_id=2"), "{lines:?}");
    drop(last);
    let ended =
        |arguments: &[&str]| weir.output(&[&["tail", "--no-follow"], arguments].concat()).lines().count();
    assert_eq!((ended(&[]), ended(&["--last", "3"]), ended(&["--last", "9", "--user", "ann"])), (8, 3, 4));
    weir.restart();
    in_raw(&weir);
    shown(&weir, &[], 8);
}

#[test]
fn it_ends_quietly_where_its_reader_has_gone_and_says_where_there_are_no_data() {
    let weir = with_events();
    let mut child = weir
        .command()
        .args(["tail", "--last", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Although no event comes any more.
    drop(child.stdout.take());
    eventually("it has ended", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));

    let empty = tempfile::tempdir().unwrap();
    let output = weir.command().arg("tail").env("WEIR_DATA", empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are no data in"));
}
