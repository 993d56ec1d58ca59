//! Clients that take what they can (connections, memory, time, guesses) keep no other client from being served.

mod ends;
mod too_often;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::harness::{
    PATIENCE, Value, Weir, basic, click, eventually, json, try_request,
    wire::{Wire, head},
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Asserts that others are served.
fn others_are_served(weir: &Weir) {
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    assert_eq!(weir.get("/button/click/count").status, 200);
}

/// Whether a click is taken; it may be told to come again, or be cut off.
fn takes_a_click(weir: &Weir) -> bool {
    let (url, who, body) = (weir.url(), Some(weir.credentials.as_str()), click("s", "b"));
    let answer = try_request(&url, "POST", who, "/button/click", &[], body.as_bytes());
    answer.is_some_and(|answer| answer.status == 200)
}

/// A server that ends no connection because its client is slow, so that no test depends on how fast a machine is.
fn patient(options: &[&str]) -> Weir {
    Weir::start_with(&[options, &["--idle-timeout", "1h", "--client-timeout", "1h"]].concat())
}

/// A server that ends connections whose clients are slow; those that are not have some time all the same.
fn impatient() -> Weir {
    Weir::start_with(&["--idle-timeout", "1h", "--client-timeout", "3s"])
}

/// Does something again and again until it says that it is done, while others are served.
fn meanwhile(weir: &Weir, does: impl FnOnce() + Send) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let doing = scope.spawn(|| {
            does();
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) && !doing.is_finished() {
            others_are_served(weir);
        }
    });
}

/// How many files this process may have open, after asking for as many as it can get. More of them harm no test beside.
fn files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The most memory that the server has had, in MiB.
fn peak_memory(weir: &Weir) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", weir.process_id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    peak.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn ten_thousand_idle_connections_hold_up_no_other_client_and_take_little_memory() {
    let weir = patient(&["--connections", "12000"]);
    // Fewer where the system does not allow so many files.
    let many = files().saturating_sub(1024).min(10_000);
    if many < 10_000 {
        eprintln!("only {many} connections: the process may open no more files");
    }
    let before = peak_memory(&weir);
    let mut idle: Vec<Wire> = (0..many).map(|_| Wire::to(&weir)).collect();
    for _ in 0..20 {
        others_are_served(&weir);
    }
    assert!(idle.iter().all(Wire::is_open), "there is room for all of them");
    idle[0].send(head(&weir, "GET", ""));
    assert_eq!(idle[0].answer().status, 200);
    let (peak, bound) = (peak_memory(&weir), before + 150);
    eprintln!("{many} idle connections: {before} MiB before, {peak} MiB at the most");
    assert!(peak < bound, "{peak} MiB");
}

#[test]
fn at_the_limit_the_connection_that_was_idle_longest_makes_room() {
    let weir = patient(&["--connections", "8"]);
    let mut busy = Wire::begin(&weir, 4);
    let mut first = Wire::to(&weir);
    // Half a line is no request.
    first.send("GET /coun");
    let mut idle: Vec<Wire> = (0..5).map(|_| Wire::to(&weir)).collect();
    // Connections are taken in their order: once this one is answered, it is the eighth.
    let mut used = Wire::to(&weir);
    used.send(head(&weir, "GET", ""));
    assert_eq!(used.answer().status, 200);
    assert!(first.is_open());
    let mut one_more = Wire::to(&weir);
    one_more.send(head(&weir, "GET", ""));
    assert_eq!(one_more.answer().status, 200);
    first.wait_for_the_end();
    assert!(idle.iter().all(Wire::is_open));
    others_are_served(&weir);
    idle[0].wait_for_the_end();
    assert!(used.is_open(), "the one that was used before");
    assert!(one_more.is_open(), "the one more");
    assert!(busy.is_open(), "the one with a request under way");
    busy.send("nope");
    assert_eq!(busy.answer().status, 422, "a request under way is not cut off");
}

#[test]
fn a_flood_of_connections_pushes_itself_out() {
    let weir = patient(&["--connections", "100"]);
    let mut held = Vec::new();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            held.extend((0..3000).map(|_| Wire::to(&weir)));
            over.store(true, Ordering::SeqCst);
        });
        // One may be pushed out before it has sent its request, and try again.
        let (url, who) = (weir.url(), Some(weir.credentials.as_str()));
        let served =
            || try_request(&url, "GET", who, "/counts", &[], b"").is_some_and(|one| one.status == 200);
        while !over.load(Ordering::SeqCst) {
            eventually("others are served", served);
        }
    });
    others_are_served(&weir);
    held[0].wait_for_the_end();
}

#[test]
fn where_every_connection_has_a_request_under_way_new_ones_are_asked_to_come_again() {
    let weir = patient(&["--connections", "4"]);
    let body = click("s", "b");
    let mut busy: Vec<Wire> = (0..4).map(|_| Wire::begin(&weir, body.len())).collect();
    let (url, who, origin) = (weir.url(), Some(weir.credentials.as_str()), [("origin", "https://a.example")]);
    let mut told = None;
    // A client that is turned away gets the answer for two seconds, and is cut off then.
    eventually("one is turned away", || {
        told = try_request(&url, "POST", who, "/button/click", &origin, body.as_bytes());
        told.is_some()
    });
    let answer = told.unwrap();
    answer.problem(503, "busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    for one in &mut busy {
        one.send(&body);
        assert_eq!(one.answer().status, 200);
    }
    others_are_served(&weir);
}

#[test]
fn a_refused_client_that_goes_on_sending_keeps_no_other_out() {
    let weir = patient(&["--connections", "4"]);
    let refused: Vec<Wire> = (0..4)
        .map(|_| {
            let mut wire = Wire::to(&weir);
            let refused = "POST /button/click HTTP/1.1\r\nhost: weir\r\ncontent-length: 1000\r\n\r\n{";
            wire.send(head(&weir, "GET", "") + refused);
            // Once the first is answered, the second is begun.
            assert_eq!(wire.answer().status, 200);
            wire
        })
        .collect();
    eventually("others are served", || takes_a_click(&weir));
    // One made room, before its rest came or was given up: then it would have had its answer. Which one, depends on whose
    // request was looked at first.
    eventually("one made room", || refused.iter().any(|wire| !wire.is_open()));
}

/// Keeps the server from storing anything, until this is dropped.
fn stalled(weir: &Weir) -> rusqlite::Connection {
    let events = rusqlite::Connection::open(weir.data().join("events.db")).unwrap();
    events.busy_timeout(PATIENCE).unwrap();
    events.execute_batch("BEGIN IMMEDIATE").unwrap();
    events
}

/// Sends a whole request for `/events`, and does not wait for the answer.
fn send(weir: &Weir, body: &str) -> Wire {
    let (who, length) = (basic(&weir.credentials), body.len());
    let head = format!(
        "POST /events HTTP/1.1\r\nhost: weir\r\nauthorization: {who}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut wire = Wire::to(weir);
    // A client that finds no room is cut off, perhaps in the middle.
    wire.takes(head + body);
    wire
}

#[test]
fn who_sends_and_leaves_keeps_a_place_until_the_work_is_done() {
    let weir = patient(&["--connections", "4"]);
    let stalled = stalled(&weir);
    let (url, body) = (weir.url(), json!([click_of("")]).to_string());
    eventually("there is no place any more", || {
        drop(send(&weir, &body));
        try_request(&url, "GET", None, "/openapi.json", &[], b"").is_some_and(|answer| answer.status == 503)
    });
    drop(stalled);
    eventually("there is a place again", || takes_a_click(&weir));
}

/// Whether it has an answer by now, and was told that there is no room.
fn is_asked_to_come_again(wire: &mut Wire) -> bool {
    !wire.is_open() && wire.answer().json()["type"] == "urn:weir:problem:busy"
}

#[test]
fn bodies_of_who_sends_and_leaves_keep_their_room_until_they_are_stored() {
    let weir = patient(&["--flush-every", "1h"]);
    let stalled = stalled(&weir);
    let body = Value::from(vec![click_of(&"x".repeat(200_000)); 19]).to_string();
    // There is room for 64 of the largest.
    let mut all: Vec<Wire> = (0..75).map(|_| send(&weir, &body)).collect();
    eventually("there is no room any more", || all.iter_mut().any(is_asked_to_come_again));
    drop(all);
    let mut others: Vec<Wire> = (0..10).map(|_| send(&weir, &body)).collect();
    eventually("there is still none", || others.iter_mut().any(is_asked_to_come_again));
    drop(stalled);
    eventually("there is room again", || takes_a_click(&weir));
    let peak = peak_memory(&weir);
    assert!(peak < 700, "{peak} MiB");
}

/// A click with a text, for `/events`.
fn click_of(text: &str) -> Value {
    json!({"event_type": "button_click", "session_id": "s", "button_id": "b", "text": text})
}

#[test]
fn when_files_run_out_the_server_goes_on() {
    let weir = Weir::start();
    others_are_served(&weir);
    let id = weir.process_id();
    let open = fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as u64;
    let pid = Pid::from_raw(id.try_into().unwrap());
    let limit = Rlimit { current: Some(open + 8), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let held: Vec<Wire> = (0..100).map(|_| Wire::to(&weir)).collect();
    eventually("others are served", || takes_a_click(&weir));
    drop(held);
    // The server has its files back once it has noticed.
    eventually("others are served", || takes_a_click(&weir));
}

#[test]
fn a_head_that_comes_too_slowly_ends_its_connection_and_one_that_is_idle_does_not() {
    let weir = impatient();
    let mut idle = Wire::to(&weir);
    idle.send(head(&weir, "GET", ""));
    assert_eq!(idle.answer().status, 200);
    meanwhile(&weir, || {
        let mut stuck = Wire::to(&weir);
        stuck.send("GET /counts HTTP/1.1\r\nhost: we");
        stuck.wait_for_the_end();
        let mut dripping = Wire::to(&weir);
        eventually("a head that drips is cut off", || !dripping.takes("x"));
    });
    idle.send(head(&weir, "GET", ""));
    assert_eq!(idle.answer().status, 200);
}

#[test]
fn an_idle_connection_ends_after_its_time() {
    let weir = Weir::start_with(&["--idle-timeout", "3s"]);
    let (mut new, mut used) = (Wire::to(&weir), Wire::to(&weir));
    used.send(head(&weir, "GET", ""));
    assert_eq!(used.answer().status, 200);
    new.wait_for_the_end();
    used.wait_for_the_end();
}

#[test]
fn a_body_that_comes_too_slowly_is_408() {
    let weir = impatient();
    meanwhile(&weir, || {
        let mut stuck = Wire::to(&weir);
        stuck.send(head(&weir, "POST", "content-length: 1000\r\n") + "{\"session_id\"");
        let answer = stuck.answer();
        answer.problem(408, "body-too-slow");
        assert_eq!(answer.header("connection"), Some("close"));
        stuck.wait_for_the_end();

        let mut dripping = Wire::begin(&weir, 1000);
        eventually("a body that drips is cut off", || !dripping.takes(" "));
    });
    // A client that is refused before its body cannot send it slowly.
    let mut refused = Wire::to(&weir);
    refused.send("POST /button/click HTTP/1.1\r\nhost: weir\r\ncontent-length: 1000\r\n\r\n{");
    refused.answer().problem(401, "unauthorized");
}

#[test]
fn a_pause_is_no_standstill() {
    let weir = patient(&[]);
    let body = click("s", "b");
    let mut pausing = Wire::begin(&weir, body.len());
    for part in body.as_bytes().chunks(body.len() / 3 + 1) {
        others_are_served(&weir);
        pausing.send(part);
    }
    assert_eq!(pausing.answer().status, 200);
}

#[test]
fn a_client_that_does_not_read_the_answers_is_cut_off() {
    let weir = impatient();
    meanwhile(&weir, || {
        let mut deaf = Wire::to(&weir);
        let requests = "GET /openapi.json HTTP/1.1\r\nhost: weir\r\n\r\n".repeat(3000);
        eventually("it is cut off", || !deaf.takes(&requests));
    });
}

#[test]
fn while_large_bodies_are_refused_others_are_served() {
    let weir = patient(&[]);
    let large = vec![b' '; 5 << 20];
    meanwhile(&weir, || {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| weir.post("/events", &large).problem(413, "body-too-large"));
            }
        });
    });
}

#[test]
fn stopping_ends_idle_connections_and_answers_requests_that_are_under_way() {
    let mut weir = patient(&[]);
    let body = click("s", "b");
    let (mut busy, mut idle) = (Wire::begin(&weir, body.len()), Wire::to(&weir));
    let stopped = thread::scope(|scope| {
        let stopping = scope.spawn(|| weir.stop("-TERM"));
        idle.wait_for_the_end();
        busy.send(&body);
        assert_eq!(busy.answer().status, 200);
        busy.wait_for_the_end();
        stopping.join().unwrap()
    });
    assert_eq!(stopped, Some(0));
}

#[test]
fn the_api_describes_what_happens_to_those_who_ask_for_too_much() {
    let weir = Weir::start();
    let paths = weir.get("/openapi.json").json()["paths"].clone();
    for (path, method, statuses) in [
        ("/events", "post", &["408", "429", "503"][..]),
        ("/button/click", "post", &["408", "429", "503"]),
        ("/counts", "get", &["429", "503"]),
    ] {
        for status in statuses {
            let response = &paths[path][method]["responses"][status];
            let problem = json!({"$ref": "#/components/schemas/Problem"});
            assert_eq!(response["content"]["application/problem+json"]["schema"], problem, "{path} {status}");
        }
    }
}
