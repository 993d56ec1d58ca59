//! The caller's own events as they are stored: `GET /events/stream`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    PATIENCE, Weir, basic, click,
    followed::{Followed, Item},
};

fn with_id(id: &str) -> Value {
    json!({"event_type": "button_click", "event_id": id, "session_id": "s", "button_id": "b"})
}

fn id(item: &Item) -> String {
    item.data["event_id"].as_str().unwrap_or_else(|| panic!("{item:?}")).to_owned()
}

/// The ids of all events of the list, the earliest first.
fn listed(weir: &Weir) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = weir.get(&format!("/events?limit=100{after}")).json();
        let events = page["events"].as_array().unwrap();
        found.extend(events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    found.reverse();
    found
}

/// The client closes the stream and reconnects again and again, and the server is killed in the middle.
#[test]
fn every_event_that_is_sent_after_a_stream_was_opened_comes_once_and_in_order_over_reconnects_too() {
    let mut weir = Weir::start_with(&["--flush-every", "100ms"]);
    weir.post("/events", with_id("before").to_string());
    let mut stream = Followed::open(&weir, &weir.credentials, "", None);
    let mut last = stream.item().unwrap().id;
    assert!(!last.is_empty(), "a client that is cut off before the first event has a position, too");
    let (mut came, mut sent): (Vec<String>, usize) = (Vec::new(), 1);
    for round in 0..2 {
        let end = format!("end-{round}");
        std::thread::scope(|scope| {
            let weir = &weir;
            let senders: Vec<_> = (0..3)
                .map(|sender| {
                    scope.spawn(move || {
                        for number in 0..60 {
                            let name = format!("{round}-{sender}-{number}");
                            let events = match number % 4 {
                                0 => json!([with_id(&name), with_id(&format!("{name}-too"))]),
                                // A rejected event, and a repeat, which does not come again.
                                1 => json!([{"event_type": "button_click", "n": number}, with_id(&format!("{round}-{sender}-0"))]),
                                _ => json!([with_id(&name)]),
                            };
                            let answer = weir.post("/events", events.to_string());
                            assert!([200, 207].contains(&answer.status), "{}", answer.text());
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                for sender in senders {
                    sender.join().unwrap();
                }
                weir.post("/events", with_id(&end).to_string());
            });
            for count in 1.. {
                let item = stream.next().unwrap();
                assert!(["accepted", "rejected"].contains(&item.name.as_str()), "{item:?}");
                last.clone_from(&item.id);
                came.push(id(&item));
                // The stream may begin with an event that was just acknowledged.
                came.retain(|id| id != "before");
                if came.last() == Some(&end) {
                    break;
                }
                if count % 37 == 0 {
                    std::mem::replace(&mut stream, Followed::open(weir, &weir.credentials, "", Some(&last)))
                        .close();
                }
            }
        });
        // Of each sender: 15 requests with two events, 30 with one, and 15 with a rejected event and a repeat. And the end.
        sent += 3 * (30 + 30 + 15) + 1;
        assert_eq!(came, listed(&weir)[1..]);
        if round == 0 {
            stream.close();
            weir.kill();
            weir.restart();
            stream = Followed::open(&weir, &weir.credentials, "", Some(&last));
        }
    }
    assert_eq!(came.len() + 1, sent);
    // From any position, all later events come, filed ones too.
    weir.wait_until_filed();
    stream = Followed::open(&weir, &weir.credentials, "", Some("1"));
    let again: Vec<String> = stream.until(|item| id(item) == "end-1").iter().map(id).collect();
    assert_eq!(again, came);
}

#[test]
fn a_stream_has_the_users_own_events_of_the_wanted_type_as_the_list_has_them() {
    let weir = Weir::start();
    let other = weir.user("other");
    let all = Followed::open(&weir, &weir.credentials, "", None);
    let views = Followed::open(&weir, &weir.credentials, "?event_type=page_view", None);
    let rejected = Followed::open(&weir, &weir.credentials, "?event_type=rejected", None);
    let of_other = Followed::open(&weir, &other, "", None);
    assert!([&all, &views, &rejected, &of_other].iter().all(|stream| stream.item().unwrap().name.is_empty()));
    let view = |id: &str| json!({"event_type": "page_view", "event_id": id, "session_id": "s", "url": "https://a.example/\r\n"});
    assert_eq!(weir.post("/web/page_view", r#"{"session_id": 1}"#).status, 422);
    let events = [view("view-1"), with_id("click-1"), view("view-2")].map(|event| event.to_string());
    assert_eq!(weir.post("/events", format!("[\r\n{}\r\n]", events.join(",\r\n"))).status, 200);
    assert_eq!(weir.post_as(&other, "/button/click", click("s", "b"), &[]).status, 200);

    let came = all.until(|item| id(item) == "view-2");
    let page = weir.get("/events").json();
    let newest_first: Vec<Value> = came.iter().rev().map(|item| item.data.clone()).collect();
    assert_eq!(page["events"], json!(newest_first));
    let names: Vec<&str> = came.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["rejected", "accepted", "accepted", "accepted"]);
    // An event's id on the stream is its position in the list.
    let older = weir.get(&format!("/events?after={}", came[2].id)).json();
    assert_eq!(older["events"], json!(newest_first[2..]));

    let views = views.until(|item| id(item) == "view-2");
    assert_eq!(views, [came[0].clone(), came[1].clone(), came[3].clone()]);
    assert_eq!(rejected.next(), Some(came[0].clone()));
    assert_eq!(of_other.next().unwrap().data["event"]["username"], "other");
    assert_eq!((all.come(), rejected.come(), of_other.come()), (vec![], vec![], vec![]));

    // The path is not the receipt of an event called `stream`, which is elsewhere.
    assert_eq!(weir.post("/events", with_id("stream").to_string()).status, 200);
    assert_eq!(weir.get("/events/%73tream").json()["event_id"], "stream");
    let mut command = weir.command();
    command.args(["receipt", "stream", "--to", &weir.url()]).env("WEIR_CREDENTIALS", &weir.credentials);
    let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(printed.contains("button_click"), "{printed}");

    // Only an access key that may read opens a stream.
    assert_eq!(weir.request("GET", None, "/events/stream", &[], b"").status, 401);
    let writer = weir.output(&["user", "add", "pages", "--scope", "write"]);
    weir.get_as(writer.trim_end(), "/events/stream").problem(403, "out-of-scope");
    weir.get("/events/stream?event_type=nope").problem(404, "unknown-event-type");
    weir.get("/events/stream?eventtype=page_view").problem(422, "invalid-query");
    let asked = |value: &str| {
        let headers = [("last-event-id", value)];
        weir.request("GET", Some(&weir.credentials), "/events/stream", &headers, b"")
    };
    for value in ["x", "-1", "1 2", "99999999999999999999"] {
        asked(value).problem(422, "invalid-query");
    }
    let head = weir.request("HEAD", Some(&weir.credentials), "/events/stream", &[], b"");
    assert_eq!((head.status, head.header("x-accel-buffering")), (200, Some("no")));
}

#[test]
fn a_stream_ends_with_the_reason_when_its_key_is_removed_and_when_the_server_stops() {
    let mut weir = Weir::start();
    let ann = weir.user("ann");
    let (hers, mine) =
        (Followed::open(&weir, &ann, "", None), Followed::open(&weir, &weir.credentials, "", None));
    weir.post_as(&ann, "/button/click", click("s", "b"), &[]);
    assert_eq!(hers.next().unwrap().name, "accepted");
    let removed = Instant::now();
    weir.output(&["user", "remove", "ann"]);
    let end = hers.next().unwrap();
    assert_eq!((end.name.as_str(), &end.data), ("end", &json!({"reason": "signed-out"})));
    assert_eq!(hers.next(), None);
    // The host caches the result of a check for five seconds.
    assert!(removed.elapsed() < PATIENCE);
    assert_eq!(mine.come(), []);

    assert_eq!(weir.stop("-TERM"), Some(0));
    let end = mine.next().unwrap();
    assert_eq!((end.name.as_str(), &end.data), ("end", &json!({"reason": "stopping"})));
    assert_eq!(mine.next(), None);
    assert!(!weir.log().contains("cut off"), "{}", weir.log());
}

#[test]
fn more_streams_than_a_user_may_have_are_503_until_one_of_them_ends() {
    let weir = Weir::start();
    let mut open: Vec<Followed> =
        (0..8).map(|_| Followed::open(&weir, &weir.credentials, "", None)).collect();
    let refused = weir.get("/events/stream");
    refused.problem(503, "too-many-streams");
    assert_eq!(refused.header("retry-after"), Some("5"));
    let other = weir.user("other");
    assert!(Followed::open(&weir, &other, "", None).item().is_some());
    open.pop().unwrap().close();
    // The server notices it at its next heartbeat.
    crate::harness::eventually("there is room again", || {
        weir.request("HEAD", Some(&weir.credentials), "/events/stream", &[], b"").status == 200
    });
}

/// Even if there are few connections, streams leave some to other requests.
#[test]
fn streams_take_a_part_of_the_connections_at_the_most() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--connections", "8"]);
    let _open: Vec<Followed> = (0..2).map(|_| Followed::open(&weir, &weir.credentials, "", None)).collect();
    weir.get("/events/stream").problem(503, "too-many-streams");
    assert_eq!(weir.get("/counts").status, 200);
}

fn peak_in_mib(weir: &Weir) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.process_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Clients open streams and read nothing while a hundred megabytes of events come in.
#[test]
fn clients_that_read_too_slowly_are_cut_off_cost_no_memory_and_go_on_after_what_they_have() {
    let weir = Weir::start_with(&["--flush-every", "1s", "--client-timeout", "5min"]);
    let open = || {
        let mut stream = TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
        let who = basic(&weir.credentials);
        write!(stream, "GET /events/stream HTTP/1.0\r\nhost: weir\r\nauthorization: {who}\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.0 200");
        stream
    };
    let large = |number: usize| json!({"event_type": "button_click", "event_id": format!("e-{number}"), "session_id": "x".repeat(200_000), "button_id": "b"});
    // Bodies in flight take memory, too. The peak before has it already.
    let post = |numbers: std::ops::Range<usize>| {
        let events: Vec<Value> = numbers.map(large).collect();
        assert_eq!(weir.post("/events", json!(events).to_string()).json()["stored"], events.len());
    };
    (0..10).for_each(|round| post(round * 10..round * 10 + 10));
    let before = peak_in_mib(&weir);
    let mut slow: Vec<TcpStream> = (0..6).map(|_| open()).collect();
    let begun = Instant::now();
    (10..60).for_each(|round| post(round * 10..round * 10 + 10));
    let more = peak_in_mib(&weir).saturating_sub(before);
    assert!(more < 100, "{more} MiB more for six streams that are a hundred MiB behind");
    // The client takes nothing for longer than the five seconds that the server waits. No event tells when they are over.
    std::thread::sleep(Duration::from_secs(6).saturating_sub(begun.elapsed()));
    let mut text = String::new();
    slow.pop().unwrap().read_to_string(&mut text).unwrap();
    assert!(
        text.ends_with("event: end\ndata: {\"reason\":\"too-slow\"}\n\n"),
        "{}",
        &text[text.len() - 200..]
    );
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let came = text.matches("event: accepted").count();
    assert!((1..500).contains(&came), "{came} came before the end");
    drop(slow);
    let rest = Followed::open(&weir, &weir.credentials, "", ids.last().copied());
    let rest = rest.until(|item| id(item) == "e-599");
    let expected: Vec<String> = (100 + came..600).map(|number| format!("e-{number}")).collect();
    assert_eq!(rest.iter().map(id).collect::<Vec<_>>(), expected);
}

/// A position is a number that counts from the first line of a batch.
#[test]
fn a_stream_goes_on_with_every_later_event_once_after_others_of_its_batch_were_forgotten() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    let person = |number: usize| if number % 3 == 1 { "stays" } else { "goes" };
    let event = |number: usize| json!({"event_type": "button_click", "event_id": format!("e-{number}"), "session_id": person(number), "button_id": "b"});
    let all: Vec<Value> = (0..12).map(event).collect();
    assert_eq!(weir.post("/events", json!(all).to_string()).status, 200);
    let stream = Followed::open(&weir, &weir.credentials, "", Some("0"));
    let came = stream.until(|item| id(item) == "e-11");
    stream.close();
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.output(&["forget", "--user", "demo", "--where", "session_id=goes"]);
    assert_eq!(weir.files("raw").len(), 1);
    weir.restart();
    weir.post("/events", with_id("end").to_string());
    let stay = |numbers: std::ops::Range<usize>| {
        numbers.filter(|number| person(*number) == "stays").map(|number| format!("e-{number}"))
    };
    for had in [0, 1, 5, 10, 11] {
        let stream = Followed::open(&weir, &weir.credentials, "", Some(&came[had].id));
        let rest = stream.until(|item| item.name != "accepted" || id(item) == "end");
        stream.close();
        let expected: Vec<String> = stay(had + 1..12).chain(["end".to_owned()]).collect();
        assert_eq!(rest.iter().map(id).collect::<Vec<_>>(), expected, "after e-{had}");
        let older = weir.get(&format!("/events?after={}", came[had].id)).json();
        let older: Vec<&Value> =
            older["events"].as_array().unwrap().iter().map(|event| &event["event_id"]).collect();
        assert_eq!(
            older,
            stay(0..had).collect::<Vec<_>>().iter().rev().collect::<Vec<_>>(),
            "before e-{had}"
        );
    }

    // Filed again without the store, the batch is not taken for a damaged one.
    assert_eq!(weir.stop("-TERM"), Some(0));
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        let _ = std::fs::remove_file(weir.data().join(name));
    }
    weir.restart();
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake").len(), 5);
    assert!(!weir.log().contains("damaged"), "{}", weir.log());
}
