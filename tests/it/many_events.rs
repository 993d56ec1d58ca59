//! `POST /events` takes one event or many, in every form, and answers for each of them.

use weir_core::{Clock, SystemClock, Timestamp};

use crate::harness::{self, Value, Weir, gzip, json};

fn event(n: usize) -> Value {
    json!({"event_type": "button_click", "session_id": format!("s{n}"), "button_id": format!("b{}", n % 7), "n": n})
}

fn statuses(answer: &Value) -> Vec<&str> {
    answer["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["status"].as_str().unwrap()).collect()
}

#[test]
fn one_object_an_array_and_lines_are_all_stored() {
    let weir = Weir::start();
    let array: Vec<Value> = (0..500).map(event).collect();
    let lines: String = (0..30).map(|n| format!("{}\r\n", event(n))).collect();
    for (body, expected) in [(event(1).to_string(), 1), (Value::from(array).to_string(), 500), (lines, 30)] {
        let answer = weir.post("/events", body);
        assert_eq!(answer.status, 200);
        let answer = answer.json();
        assert_eq!((&answer["stored"], &answer["rejected"]), (&json!(expected), &json!(0)));
        assert_eq!(statuses(&answer), vec!["stored"; expected]);
    }
    assert_eq!(weir.get("/counts/button_click").json()["total"], 531);
}

#[test]
fn lines_after_a_broken_first_one_are_stored_each_with_its_own_outcome() {
    let weir = Weir::start();
    let firsts = ["{", r#"{"event_type":"button_click","session_id":"#, "[1]", "[INFO] starting", "oops"];
    for first in firsts {
        // Neither a content type nor a whole first line announces them.
        let answer = weir.post("/events", format!("{first}\n{}\n{}\n", event(1), event(2)));
        assert_eq!(answer.status, 207, "{first}");
        assert_eq!(statuses(&answer.json()), ["rejected", "stored", "stored"], "{first}");
    }
    assert_eq!(weir.get("/counts/button_click").json()["total"], 2 * firsts.len());
    // A single event over many lines has lines that are objects, too, and stays one event.
    let mut nested = event(3);
    nested["inner"] = json!([{"event_type": "button_click"}, {"a": 1}]);
    let answer = weir.post("/events", serde_json::to_string_pretty(&nested).unwrap());
    assert_eq!((answer.status, statuses(&answer.json())), (200, vec!["stored"]));
}

#[test]
fn one_broken_element_of_an_array_or_line_costs_itself_only() {
    let weir = Weir::start();
    let good = |n: usize| event(n).to_string().into_bytes();
    let bad: [&[u8]; 4] = [
        b"{\"event_type\":\"button_click\",\"session_id\":\"s\",\"button_id\":\"caf\xe9, [\"}",
        b"{\"event_type\":\"button_click\",\"session_id\":\"s\",\"button_id\":\"b\",\"n\":NaN}",
        b"{\"event_type\":\"button_click\",\"session_id\":\"s\",}",
        b"{\"event_type\":\"button_click\",\"session_id\":\"two\\qs\"}",
    ];
    let mut expected = vec!["stored"; 5000];
    expected.insert(2500, "rejected");
    for bad in bad {
        let mut events: Vec<Vec<u8>> = (0..5000).map(good).collect();
        events.insert(2500, bad.to_vec());
        let array = [b"[", &events.join(&b",\n "[..])[..], b"]"].concat();
        for body in [array, events.join(&b'\n')] {
            let answer = weir.post_with("/events", gzip(&body), &[("content-encoding", "gzip")]);
            assert_eq!(answer.status, 207, "{}", bad.escape_ascii());
            assert_eq!(statuses(&answer.json()), expected, "{}", bad.escape_ascii());
        }
        // Alone on the route of its type it is what it is in a list.
        weir.post("/button/click", bad).problem(422, "invalid-event");
    }
    let only = [bad[0], bad[0]].join(&b'\n');
    assert_eq!(
        statuses(&weir.post("/events", only).json()),
        ["rejected", "rejected"],
        "no whole line says so"
    );
    assert_eq!(weir.get("/counts/button_click").json()["total"], 2 * 4 * 5000);
}

#[test]
fn an_array_whose_elements_cannot_be_told_apart_is_kept_whole_and_the_answer_says_so() {
    let weir = Weir::start();
    let mut events: Vec<String> = (0..20_000).map(|n| event(n).to_string()).collect();
    events[7] = events[7].replace("s7\"", "s7 ünclosed");
    let body = format!("[{}]", events.join(","));
    assert!(body.len() > 1_000_000);
    let answer = weir.post("/events", &body);
    let problem = answer.problem(422, "no-valid-event");
    assert_eq!(problem["stored"], 0);
    let outcomes = problem["outcomes"].as_array().unwrap();
    for (number, outcome) in (1..).zip(outcomes) {
        let said = outcome["errors"].to_string();
        assert!(said.contains("is not certain, so none of them was stored, and the body is kept"), "{said}");
        assert!(said.contains(&format!("part {number} of {} of the body", outcomes.len())), "{said}");
    }
    weir.wait_until_filed();
    let mut parts = weir.lines("lake/username=demo/rejected");
    let number = |part: &Value| {
        let place = part["errors"][1]["message"].as_str().unwrap().to_owned();
        place.split(' ').nth(3).unwrap().parse::<usize>().unwrap()
    };
    parts.sort_by_key(number);
    let kept: String = parts.iter().map(|part| part["body"].as_str().unwrap()).collect();
    assert!(kept == body, "{} parts are not the body", parts.len());
    assert!(parts.iter().all(|part| part["truncated"].is_null()), "one of {} is cut", parts.len());
    assert_eq!(weir.get("/counts").json()["rejected"]["settled"], parts.len());
}

#[test]
fn the_answer_says_what_a_body_looks_like_that_is_not_json() {
    let weir = Weir::start();
    let text = event(1).to_string();
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
        mark.then_some(0xfeff).into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    let both = format!("{text}\n{text}\n");
    let utf16_lines: Vec<u8> = both.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: Vec<(Vec<u8>, &str)> = vec![
        (utf16(u16::to_le_bytes, true), "looks like UTF-16"),
        (utf16(u16::to_be_bytes, true), "looks like UTF-16"),
        (utf16(u16::to_le_bytes, false), "looks like UTF-16"),
        (utf16(u16::to_be_bytes, false), "looks like UTF-16"),
        (utf16_lines, "looks like UTF-16"),
        (
            gzip(text.as_bytes()),
            "looks like gzip; a body is compressed once, and its header Content-Encoding says with what",
        ),
        (zstd::encode_all(text.as_bytes(), 3).unwrap(), "looks like zstd"),
        (format!("\u{feff}\u{feff}{text}").into_bytes(), "begins with a byte order mark"),
        (format!("{text}{text}").into_bytes(), "one JSON value follows another"),
        (text.replace('"', "'").into_bytes(), "looks like Python's notation"),
        (text.replace("\"b1\"", "NaN").into_bytes(), "JSON has no NaN"),
        (b"session_id=s1&button_id=b1".to_vec(), "looks like a form"),
    ];
    for (body, said) in &bodies {
        for path in ["/events", "/button/click"] {
            let answer = weir.post(path, body);
            assert_eq!(answer.status, 422, "{said}: {}", answer.text());
            assert!(answer.text().contains(said), "{path}: {} should say {said}", answer.text());
        }
    }
    // A file that was put together of several, each with its mark.
    let joined = format!("\u{feff}{text}\n\u{feff}{text}\n");
    let answer = weir.post("/events", joined).json();
    assert_eq!(statuses(&answer), ["stored", "rejected"]);
    assert!(answer["outcomes"][1].to_string().contains("begins with a byte order mark"), "{answer}");
    let twice = gzip(&gzip(text.as_bytes()));
    let answer = weir.post_with("/events", twice, &[("content-encoding", "gzip")]);
    assert!(answer.text().contains("looks like gzip"), "{}", answer.text());
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake/username=demo/rejected").len(), 2 * bodies.len() + 2, "all are kept");
}

#[test]
fn compressed_bodies_are_stored() {
    let weir = Weir::start();
    let lines: String = (0..100).map(|n| format!("{}\n", event(n))).collect();
    let zstd = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    let members = [gzip(&lines.as_bytes()[..1000]), gzip(&lines.as_bytes()[1000..])].concat();
    for (body, encoding) in [(gzip(lines.as_bytes()), "gzip"), (zstd, "zstd"), (members, "GZIP")] {
        let answer = weir.post_with("/events", body, &[("content-encoding", encoding)]);
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(100)), "{encoding}");
    }
    let typed = gzip(br#"{"session_id":"s","button_id":"b"}"#);
    assert_eq!(weir.post_with("/button/click", typed, &[("content-encoding", "gzip")]).status, 200);
    assert_eq!(weir.get("/counts/button_click").json()["total"], 301);
}

#[test]
fn each_event_gets_its_own_outcome_in_order_with_every_reason() {
    let weir = Weir::start();
    let body = json!([
        event(0),
        {"event_type": "button_click", "button_id": 7},
        {"event_type": "nonsense"},
        {"session_id": "s"},
        "no object",
        {"event_type": "page_view", "url": "u", "session_id": "s", "event_id": "mine-1", "referral_url": null},
        {"event_type": "page_view", "url": "u", "session_id": "s", "username": "eve", "received_at": 1},
    ]);
    let answer = weir.post("/events", body.to_string());
    assert_eq!(answer.status, 207);
    let answer = answer.json();
    let rejected = "rejected";
    assert_eq!(statuses(&answer), ["stored", rejected, rejected, rejected, rejected, "stored", rejected]);
    assert_eq!(
        (&answer["stored"], &answer["rejected"], &answer["not_stored"]),
        (&json!(2), &json!(5), &json!(0))
    );
    let paths = |n: usize| -> Vec<&str> {
        answer["outcomes"][n]["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["path"].as_str().unwrap())
            .collect()
    };
    assert_eq!(paths(1), ["/session_id", "/button_id"]);
    assert_eq!(paths(2), ["/event_type"]);
    assert_eq!(paths(3), ["/event_type"]);
    assert_eq!(paths(4), [""]);
    assert_eq!(paths(6), ["/username", "/received_at"]);
    assert_eq!(answer["outcomes"][5]["event_id"], "mine-1");
    assert_eq!(answer["outcomes"][0]["event_id"].as_str().unwrap().len(), 36);
}

#[test]
fn rejected_events_are_kept_as_they_were_sent_in_their_own_partition_and_nowhere_else() {
    let weir = Weir::start();
    let bad = r#"{"event_type":"button_click",  "button_id":1.50}"#;
    let answer = weir.post("/events", format!("{}\n{bad}\nnot even JSON \u{e9}\n", event(0)));
    assert_eq!(answer.status, 207);
    assert_eq!(weir.post("/web/page_view", "{").status, 422);
    weir.wait_until_filed();

    let files = weir.files("lake/username=demo");
    let folders: std::collections::BTreeSet<&str> =
        files.iter().map(|path| path.split('/').next().unwrap()).collect();
    assert_eq!(folders.into_iter().collect::<Vec<_>>(), ["button_click", "rejected"]);
    assert_eq!(weir.lines("lake/username=demo/button_click").len(), 1);
    let mut kept = weir.lines("lake/username=demo/rejected");
    kept.sort_by_key(|line| line["received_at"].as_u64());
    let bodies: Vec<&str> = kept.iter().map(|line| line["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, [bad, "not even JSON \u{e9}", "{"]);
    assert_eq!(kept[0]["claimed_type"], "button_click");
    assert_eq!(kept[0]["errors"].as_array().unwrap().len(), 2);
    assert_eq!(kept[2]["claimed_type"], "page_view");
    let counts = weir.get("/counts").json();
    assert_eq!(counts["rejected"], json!({"event_type": "rejected", "total": 3, "settled": 3}));
    let asked = weir.query("SELECT claimed_type, body FROM rejected ORDER BY received_at");
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0]["body"], bad);
}

#[test]
fn an_empty_list_is_stored_in_full() {
    let weir = Weir::start();
    let answer = weir.post("/events", "[]");
    assert_eq!((answer.status, answer.json()["outcomes"].as_array().unwrap().len()), (200, 0));
}

#[test]
fn what_the_schema_does_not_name_is_kept_exactly() {
    let weir = Weir::start();
    let body = "{\"session_id\":\"s\",\n \"button_id\":\"b\", \"big\":123456789012345678901234567890, \"x\": {\"y\" : [1.10, \"\\u00e9\"]},\r\n \"occurred_at\":\"2026-11-20T13:00:05.007Z\"}";
    assert_eq!(weir.post("/button/click", body).status, 200);
    weir.wait_until_filed();
    let [file] = &weir.files("lake")[..] else { panic!() };
    let text = harness::gunzip(&std::fs::read(weir.data().join("lake").join(file)).unwrap());
    assert!(text.contains(r#","occurred_at":1795179605007,"#), "{text}");
    assert!(
        text.contains(r#","big":123456789012345678901234567890,"x":{"y" : [1.10, "\u00e9"]}}"#),
        "{text}"
    );
    let row = &weir.query("SELECT event ->> '$.x.y[0]' AS y, event ->> 'big' AS big FROM events")[0];
    assert_eq!((&row["y"], &row["big"]), (&json!("1.1"), &json!("123456789012345678901234567890")));
}

#[test]
fn of_occurred_at_milliseconds_in_utc_are_kept_and_what_cannot_be_a_time_of_them_is_refused() {
    let weir = Weir::start();
    let at = |time: &Value| {
        let mut event = event(1);
        event["occurred_at"] = time.clone();
        event
    };
    let kept = [
        (json!("2026-11-20T14:00:00.123456+01:00"), 1_795_179_600_123_u64),
        (json!(1_795_179_600_123_u64), 1_795_179_600_123),
        (json!(1_795_179_600_124.0), 1_795_179_600_124),
        (json!(0), 0),
        (json!(1_795_744_958), 1_795_744_958),
    ];
    let refused = [
        (json!("2026-11-20T13:00:60Z"), "RFC 3339"),
        (json!("2026-11-20T13:00:00+25:00"), "RFC 3339"),
        (json!("2026-11-20T24:00:00Z"), "RFC 3339"),
        (json!("2026-02-30T13:00:00Z"), "RFC 3339"),
        (json!(1_795_744_958.5), "this looks like seconds"),
        (json!(1_795_744_958_123_456_u64), "this looks like microseconds"),
        (json!(1_795_744_958_123_456_789_u64), "this looks like nanoseconds"),
    ];
    for (time, said) in &refused {
        let answer = weir.post("/button/click", at(time).to_string());
        let errors = answer.problem(422, "invalid-event")["errors"].clone();
        assert_eq!(errors[0]["path"], "/occurred_at", "{time}");
        assert!(errors[0]["message"].as_str().unwrap().contains(said), "{time}: {errors}");
    }
    let times = kept.iter().map(|(time, _)| time).chain(refused.iter().map(|(time, _)| time));
    let lines: String = times.map(|time| at(time).to_string() + "\n").collect();
    let answer = weir.post("/events", lines);
    let expected = [vec!["stored"; kept.len()], vec!["rejected"; refused.len()]].concat();
    assert_eq!(statuses(&answer.json()), expected);
    weir.wait_until_filed();
    let mut found: Vec<u64> = weir
        .lines("lake/username=demo/button_click")
        .iter()
        .map(|line| line["occurred_at"].as_u64().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, [0, 1_795_744_958, 1_795_179_600_123, 1_795_179_600_123, 1_795_179_600_124]);
}

#[test]
fn an_event_is_filed_and_settled_in_the_hour_in_which_it_happened_if_that_can_be() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let weir = Weir::start();
    let now = SystemClock.now().millis();
    let long_ago = now - 300 * DAY;
    // By their own time, and by their arrival; and what is said of the latter.
    let happened = [long_ago, now - 399 * DAY, now + 60_000];
    let arrived = [
        (Value::Null, None),
        (json!(now - 401 * DAY), Some("more than 400 days before")),
        (json!(now + 2 * DAY), Some("more than 10 minutes after")),
        (json!(now / 1000), Some("looks like seconds")),
    ];
    let at = |number: usize, time: &Value| {
        let mut event = event(number);
        event["occurred_at"] = time.clone();
        event
    };
    let times = happened.iter().map(|time| json!(time)).chain(arrived.iter().map(|(time, _)| time.clone()));
    let lines: String = times.enumerate().map(|(n, time)| at(n, &time).to_string() + "\n").collect();
    let answer = weir.post("/events", lines);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let outcomes = answer.json()["outcomes"].clone();
    for outcome in &outcomes.as_array().unwrap()[..=happened.len()] {
        assert_eq!(outcome.get("warnings"), None, "{outcome}");
    }
    for (outcome, (_, said)) in outcomes.as_array().unwrap()[happened.len()..].iter().zip(&arrived) {
        if let Some(said) = said {
            let warnings = outcome["warnings"].as_array().unwrap();
            assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains(said), "{outcome}");
        }
    }
    let typed = |time: u64| weir.post("/button/click", at(9, &json!(time)).to_string()).json();
    assert_eq!(typed(long_ago), json!({"message": "Received"}));
    let odd = typed(now / 1000);
    assert_eq!((&odd["message"], odd["warnings"].as_array().unwrap().len()), (&json!("Received"), 1));
    weir.wait_until_filed();

    let lines = weir.lines("lake/username=demo/button_click");
    let mut found: Vec<u64> = lines.iter().map(|line| line["time"].as_u64().unwrap()).collect();
    found.sort_unstable();
    assert_eq!((found[0], found[1], found[2]), (now - 399 * DAY, long_ago, long_ago));
    for line in &lines {
        let [time, received] = ["time", "received_at"].map(|name| line[name].as_u64().unwrap());
        assert!(happened.contains(&time) || time == received, "{line}");
    }
    let [year, month, day, hour] = Timestamp::saturating(long_ago).hour().parts();
    let folder = format!("lake/username=demo/button_click/year={year}/month={month}/day={day}/hour={hour}");
    assert_eq!(weir.lines(&folder).len(), 2);

    let hour = Timestamp::saturating(long_ago).hour();
    let path = format!("/counts/button_click/hours?from={hour}&to={hour}");
    assert_eq!(weir.get(&path).json()["hours"], json!([{"hour": hour.to_string(), "count": 2}]));
    let counts = weir.get("/counts/button_click").json();
    assert_eq!((&counts["total"], &counts["settled"]), (&json!(9), &json!(9)));
    let asked = format!("SELECT count(*) AS n FROM button_click WHERE year = {year} AND time = {long_ago}");
    assert_eq!(weir.query(&asked), [json!({"n": 2})]);
    assert_eq!(weir.run(&["audit"]).status.code(), Some(0));
}

#[test]
fn the_time_that_weir_stamps_cannot_be_sent_and_the_reason_names_what_can() {
    let weir = Weir::start();
    let answer =
        weir.post("/button/click", r#"{"session_id":"s","button_id":"b","time":"2026-11-20T13:00:00Z"}"#);
    let errors = answer.problem(422, "invalid-event")["errors"].clone();
    assert_eq!(errors[0]["path"], "/time");
    assert!(errors[0]["message"].as_str().unwrap().ends_with("as occurred_at"), "{errors}");
}
