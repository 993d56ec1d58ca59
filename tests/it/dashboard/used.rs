//! A user's steps on the page: sign in, look, send events, sign out.

use weir_core::{Clock, SystemClock};

use super::visit::{EVENT_REFUSED, TOO_MANY, no_errors_but, sign_in, signed_in, tile, visit};
use crate::harness::{Value, Weir, click, eventually, json};

#[test]
fn a_user_who_signs_in_and_clicks_the_button_sees_the_count_go_up_by_one() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    let browser = signed_in(&weir);
    browser.until_is("#session .who", "demo");
    browser.until_is("#accepted", "1");
    browser.click("#try-open");
    for clicks in 1..=3 {
        browser.click("#try-send");
        browser
            .until_contains("#try-answer", &format!("Stored: Button click. {clicks} since you signed in."));
        browser.until_is("#accepted", &(1 + clicks).to_string());
        browser.until_is(&tile(0), &(1 + clicks).to_string());
    }
    browser.until_contains("#keys-list", "abc\n4");
    assert_eq!(weir.get("/button/click/count?button_id=abc").json(), json!({"count": 4}));
    // A browser without a window says so in its user agent.
    browser.until_contains("#tile-0", "3 of bots in all");
    // What was just sent is selected.
    browser.until_is("[aria-selected=true] .title", "Button click");
    browser.until_contains("#status", "All events are in the lake.");
    no_errors_but(&browser, &[]);
}

#[test]
fn credentials_that_are_pasted_as_weir_prints_them_sign_in() {
    let weir = Weir::start();
    let browser = visit(&weir);
    browser.fill("#username", &format!("{}\u{e007}", weir.credentials));
    browser.until_is("#session .who", "demo");
    no_errors_but(&browser, &[]);
}

#[test]
fn what_others_send_moves_the_numbers_without_a_reload() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    browser.until_is("#accepted", "0");
    browser.run("window.stillHere = true", &json!([]));
    let events = [click("s1", "abc"), click("s2", "abc"), click("s3", "def")].join("\n");
    assert_eq!(weir.post("/button/click", &events).status, 422);
    assert_eq!(weir.post("/events", events.replace('{', "{\"event_type\": \"button_click\", ")).status, 200);
    browser.until_is("#accepted", "3");
    browser.until_is("#rejected", "1");
    browser.until_is("#keys-list", "abc\n2\n67%\ndef\n1\n33%");
    browser.until("#filed time", "it says when something was filed", |text| {
        text == "just now" || text.ends_with(" ago")
    });
    browser.until_is("#readout", "Last 24 hours: 4 events");
    browser.until_is("#today", "3");
    browser.until_is("#hour", "3");
    assert_eq!(browser.run("return window.stillHere", &json!([])), true);
    no_errors_but(&browser, &[]);
}

#[test]
fn the_latest_values_of_a_type_that_keeps_them_are_shown_and_change() {
    let catalog = crate::latest::catalog();
    let weir = Weir::start_with(&["--catalog", catalog.path().to_str().unwrap(), "--flush-every", "100ms"]);
    let reading = |sensor: &str, celsius: f64| {
        let reading = json!({"sensor_id": sensor, "celsius": celsius}).to_string();
        assert_eq!(weir.post("/sensor/reading", reading).status, 200);
    };
    reading("kitchen", 21.5);
    let browser = signed_in(&weir);
    browser.until_contains("#newest-list", "celsius: 21.5");
    reading("kitchen", 22.0);
    reading("<b>cellar", 12.25);
    browser.until_contains("#newest-list", "celsius: 12.25");
    let shown = browser.run("return document.querySelector('#newest').innerText", &json!([])).to_string();
    assert!(
        shown.contains("<b>cellar") && shown.contains("By sensor_id.") && !shown.contains("21.5"),
        "{shown}"
    );
    no_errors_but(&browser, &[]);
}

#[test]
fn events_of_last_year_are_in_the_range_that_reaches_back_to_them() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let weir = Weir::start();
    let browser = signed_in(&weir);
    browser.until_is("#accepted", "0");
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    browser.until_is("#readout", "Last 24 hours: 1 event");
    let now = SystemClock.now().millis();
    let event = |days: u64| json!({"session_id": "s", "button_id": "b", "occurred_at": now - days * DAY});
    for days in [3, 20, 89, 120, 120, 395] {
        assert_eq!(weir.post("/button/click", event(days).to_string()).status, 200);
    }
    for (range, readout) in [
        ("hour", "Last 60 minutes: 1 event"),
        ("day", "Last 24 hours: 1 event"),
        ("week", "Last 7 days: 2 events"),
        ("month", "Last 30 days: 3 events"),
        ("quarter", "Last 90 days: 4 events"),
        ("year", "Last 14 months: 7 events"),
    ] {
        browser.click(&format!("#range-{range} + label"));
        browser.until_is("#readout", readout);
        browser.until_is(&tile(0), readout.split(' ').rev().nth(1).unwrap());
    }
    let bars = "return document.querySelectorAll('#bars > span').length";
    assert_eq!(browser.run(bars, &json!([])), 14);
    no_errors_but(&browser, &[]);
}

#[test]
fn the_last_hour_is_shown_by_minute_as_soon_as_events_come() {
    const MINUTE: u64 = 60_000;
    let weir = Weir::start_with(&["--flush-every", "1h"]);
    let browser = signed_in(&weir);
    browser.click("#range-hour + label");
    browser.until_is("#readout", "Last 60 minutes: 0 events");
    let now = SystemClock.now().millis();
    for minutes in [0, 5, 5, 30, 70] {
        let event = json!({"session_id": "s", "button_id": "b", "occurred_at": now - minutes * MINUTE});
        assert_eq!(weir.post("/button/click", event.to_string()).status, 200);
    }
    assert_eq!(weir.post("/button/click", "{}").status, 422);
    browser.until_is("#readout", "Last 60 minutes: 5 events");
    let bars = "return [...document.querySelectorAll('#bars > span')].map((bar) => bar.childElementCount)";
    let bars = browser.run(bars, &json!([]));
    let filled = bars.as_array().unwrap().iter().filter(|parts| **parts != json!(0)).count();
    assert_eq!((bars.as_array().unwrap().len(), filled), (60, 3), "{bars}");
    browser.keys("#bars", "\u{e010}");
    browser.until("#readout", "it has this minute", |text| {
        text.ends_with(": 2 events") || text.ends_with(": 0 events")
    });
    no_errors_but(&browser, &[EVENT_REFUSED]);
}

#[test]
fn the_top_keys_are_those_of_the_chosen_range_where_queries_are_answered() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let weir = Weir::start_with(&["--flush-every", "100ms", "--queries", "1"]);
    let now = SystemClock.now().millis();
    for (button, days) in [("old", 20), ("old", 21), ("old", 22), ("new", 0), ("week", 4), ("week", 4)] {
        let event = json!({"session_id": "s", "button_id": button, "occurred_at": now - days * DAY});
        assert_eq!(weir.post("/button/click", event.to_string()).status, 200);
    }
    weir.wait_until_filed();
    let browser = signed_in(&weir);
    browser.until_is("#keys-list", "new\n1\n100%");
    browser.until_contains("#keys-note", ", of filed events.");
    browser.click("#range-week + label");
    browser.until_is("#keys-list", "week\n2\n67%\nnew\n1\n33%");
    browser.click("#range-month + label");
    browser.until_is("#keys-list", "old\n3\n50%\nweek\n2\n33%\nnew\n1\n17%");
    browser.fill("#keys-search", "ee");
    browser.until_is("#keys-list", "week\n2\n33%");
    no_errors_but(&browser, &[]);
}

/// The stream brings each event, and the page reads no list for it.
#[test]
fn new_events_come_to_the_top_of_the_list_by_a_stream_and_go_on_after_a_pause() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("before", "b0")).status, 200);
    let browser = signed_in(&weir);
    browser.until_contains("#live-list", "b0");
    let streams = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('/events?')).length";
    // Once the page follows the stream, it does not read the list.
    eventually("the list was read for what was before the stream", || {
        weir.metric("weir_event_streams") == 1 && browser.run(streams, &json!([])).as_u64() > Some(0)
    });
    assert_eq!(weir.post("/button/click", click("s", "b1")).status, 200);
    browser.until_contains("#live-list", "b1");
    let read = browser.run(streams, &json!([]));
    for number in 2..5 {
        assert_eq!(weir.post("/button/click", click("s", &format!("b{number}"))).status, 200);
        browser.until_contains("#live-list", &format!("b{number}"));
    }
    assert_eq!(browser.run(streams, &json!([])), read);
    let order = "return [...document.querySelectorAll('#live-list .brief')].map((line) => line.textContent.match(/button_id: (b.)/)?.[1]).join(' ')";
    assert_eq!(browser.run(order, &json!([])), "b4 b3 b2 b1 b0");

    browser.click("#live-pause");
    eventually("a paused list is not followed", || weir.metric("weir_event_streams") == 0);
    assert_eq!(weir.post("/button/click", click("s", "b5")).status, 200);
    browser.until_is("#accepted", "6");
    assert_eq!(browser.run(order, &json!([])), "b4 b3 b2 b1 b0");
    browser.click("#live-pause");
    browser.until_contains("#live-list", "b5");
    browser.choose("#live-type", "page_view");
    browser.until_is("#live-note", "Nothing so far.");
    let view = json!({"session_id": "s", "url": "https://a.example/v1"}).to_string();
    assert_eq!(weir.post("/button/click", click("s", "b6")).status, 200);
    assert_eq!(weir.post("/web/page_view", view).status, 200);
    browser.until_contains("#live-list", "v1");
    assert_eq!(browser.run("return document.querySelectorAll('#live-list > li').length", &json!([])), 1);
    no_errors_but(&browser, &[]);
}

#[test]
fn of_more_events_than_can_be_followed_the_newest_are_read() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    eventually("the list is followed", || weir.metric("weir_event_streams") == 1);
    let event = |number: usize| json!({"event_type": "button_click", "session_id": "s", "button_id": format!("b{number}")});
    let events: Vec<Value> = (0..1000).map(event).collect();
    assert_eq!(weir.post("/events", json!(events).to_string()).json()["stored"], 1000);
    browser.until_contains("#live-list", "b999");
    eventually("the list is not followed for a while", || weir.metric("weir_event_streams") == 0);
    assert_eq!(weir.post("/button/click", click("s", "later")).status, 200);
    browser.until_contains("#live-list", "later");
    no_errors_but(&browser, &[]);
}

#[test]
fn an_invalid_event_from_the_form_is_answered_with_its_reason_and_is_among_the_latest_rejected() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    browser.until_contains("#rejects-none", "Nothing was rejected");
    browser.fill("#try-field-1", "");
    browser.click("#try-send");
    browser.until_is("#try-answer", "Rejected\n/button_id is required");
    browser.until_is("#rejected", "1");
    browser.until_contains("#rejects-list", "1× Button click just now\n/button_id is required");
    browser.until_is("[aria-selected=true] .title", "Rejected");
    browser.click("#rejects-list summary");
    browser.until_is("#rejects-list pre", r#"{"session_id": "s1"}"#);

    // A text in a number's field is sent as it was typed.
    browser.choose("#try-type", "prediction");
    browser.until_contains("#try-curl", "/ml/prediction");
    for (field, value) in [("score", "high"), ("features", "{\"visits\": 12}")] {
        let found = format!(
            "return [...document.querySelectorAll('#try-fields label')].find((label) => \
            label.textContent.startsWith('{field}')).htmlFor"
        );
        let id = browser.run(&found, &json!([]));
        browser.fill(&format!("#{}", id.as_str().unwrap()), value);
    }
    browser.click("#try-send");
    browser.until_contains("#try-answer", "/score");
    browser.until_contains("#rejects-list", "Prediction");

    // And anything at all as JSON, which begins with what the form has.
    browser.click("#try-raw");
    let raw = browser.run("return document.querySelector('#try-json').value", &json!([]));
    let raw: Value = serde_json::from_str(raw.as_str().unwrap()).unwrap();
    assert_eq!(raw["score"], "high");
    assert_eq!(raw["features"], json!({"visits": 12}));
    browser.fill("#try-json", "no JSON");
    browser.click("#try-send");
    browser.until_contains("#try-answer", "not valid JSON");
    browser.until_is("#rejected", "3");
    no_errors_but(&browser, &[EVENT_REFUSED]);
}

#[test]
fn every_type_of_the_catalog_can_be_sent_as_its_example_is() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    for (place, event_type) in ["button_click", "outcome", "page_view", "prediction"].iter().enumerate() {
        browser.choose("#try-type", event_type);
        browser.click("#try-send");
        browser.until_contains("#try-answer", "Stored");
        browser.until_is(&tile(place), "1");
    }
    weir.wait_until_filed();
    let score = weir.query("SELECT score FROM prediction");
    assert_eq!(score, [json!({"score": 0.93})]);
    no_errors_but(&browser, &[]);
}

#[test]
fn another_type_shows_its_own_numbers_by_mouse_and_by_keyboard() {
    let weir = Weir::start();
    let view = |url: &str| json!({"event_type": "page_view", "session_id": "s1", "url": url}).to_string();
    let events =
        [view("https://a.example/"), view("https://a.example/"), view("https://b.example/")].join("\n");
    assert_eq!(weir.post("/events", events).status, 200);
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    weir.wait_until_filed();
    let browser = signed_in(&weir);
    // Of all types, the one with the most events.
    browser.until_contains("#keys-list", "https://a.example/");
    browser.click("#tile-0");
    browser.until_contains("#keys-list", "abc\n1");
    browser.click("#tile-2");
    browser.until_is("#keys-list", "https://a.example/\n2\n67%\nhttps://b.example/\n1\n33%");
    browser.until_is("#keys-title", "Top pages");
    browser.until_is("#readout", "Last 24 hours: 3 events");
    assert_eq!(browser.run("return document.querySelector('[aria-selected=true]').id", &json!([])), "tile-2");

    // Two to the left, and from the first on to the last.
    browser.keys("#tile-2", "\u{e012}");
    browser.keys("#tile-1", "\u{e012}");
    browser.until_contains("#keys-list", "abc\n1");
    browser.keys("#tile-0", "\u{e012}");
    browser.until_is("#readout", "Last 24 hours: 4 events");
    browser.keys("#tile-all", "\u{e012}");
    browser.until_contains("#keys-note", "not counted by key");
    assert_eq!(browser.run("return document.activeElement.id", &json!([])), "tile-4");

    // The newest hour has the focus first, and the arrows go on from there. The types say what they have in it.
    browser.keys("#tile-4", "\u{e011}");
    browser.keys("#tile-all", "\u{e015}");
    browser.until_contains("#keys-list", "abc\n1");
    browser.keys("#bars", "\u{e010}");
    browser.until("#readout", "it has this hour", |text| text.contains('–') && text.ends_with(": 1 event"));
    browser.until_is(&tile(0), "1");
    browser.keys("#bars", "\u{e011}");
    browser.until_contains("#readout", ": 0 events");
    browser.until_is(&tile(0), "0");
    let said =
        browser.run("return document.querySelector('#bars').getAttribute('aria-valuetext')", &json!([]));
    assert!(said.as_str().unwrap().ends_with(": 0 events"), "{said}");
    no_errors_but(&browser, &[]);
}

#[test]
fn a_page_that_is_cut_off_says_so_and_goes_on_by_itself() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    browser.until_is("#accepted", "0");
    let connected = |connected: bool| {
        let conditions =
            json!({"offline": !connected, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        browser.chromium("Network.emulateNetworkConditions", &conditions);
    };
    connected(false);
    browser.until_contains("#status", "Weir cannot be reached.");
    browser.click("#try-send");
    browser.until_is("#try-answer", "Not stored\nWeir cannot be reached.");
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    connected(true);
    browser.until_is("#accepted", "1");
    browser.until_contains("#status", "All events are in the lake.");
    no_errors_but(&browser, &["net::ERR_INTERNET_DISCONNECTED"]);
}

#[test]
fn a_page_that_sends_while_nothing_can_be_stored_says_when_to_try_again() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--keep-free", "8EiB"]);
    let browser = signed_in(&weir);
    browser.click("#try-send");
    browser.until_is("#try-answer", "Not stored\nWeir cannot answer now. Try again in 1 second.");
    browser.until_is("#accepted", "0");
    no_errors_but(&browser, &["responded with a status of 503"]);
}

#[test]
fn a_page_that_reads_more_often_than_allowed_says_so() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--requests-per-second", "1"]);
    let browser = visit(&weir);
    sign_in(&browser, &weir.credentials);
    // The page asks for several things at once, and begins anew after the time that the answer says.
    browser.until_contains("body", "Too many requests. Try again in 1 second.");
    no_errors_but(&browser, &[TOO_MANY]);
}

#[test]
fn a_hidden_page_asks_nothing_until_it_is_visible() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    browser.until_is("#accepted", "0");
    let look = |hidden: bool| {
        let script = "Object.defineProperty(document, 'hidden', { configurable: true, value: arguments[0] }); \
            document.dispatchEvent(new Event('visibilitychange'))";
        browser.run(script, &json!([hidden]));
    };
    look(true);
    // What was under way may come to its end; after that, nothing is asked for longer than it takes otherwise.
    let asked = "const before = performance.getEntriesByType('resource').length; \
        await new Promise((done) => setTimeout(done, 2500)); \
        return performance.getEntriesByType('resource').length - before";
    eventually("nothing is asked", || browser.run_to_its_end(asked, &json!([])) == json!(0));
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    look(false);
    browser.until_is("#accepted", "1");
    no_errors_but(&browser, &[]);
}
