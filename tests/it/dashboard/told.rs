//! What the page tells: numbers, the status, keys, reasons, times and its title.

use std::process::Command;

use weir_core::{Clock, SystemClock};

use super::visit::{EVENT_REFUSED, no_errors_but, signed_in, visit};
use crate::harness::{Weir, browser::Browser, click, json};

const HOUR: u64 = 60 * 60 * 1000;

fn clicks(weir: &Weir, count: u64, ago: u64) {
    let at = SystemClock.now().millis() - ago;
    let event = json!({"event_type": "button_click", "session_id": "s", "button_id": "b", "occurred_at": at});
    let events = vec![event.to_string(); usize::try_from(count).unwrap()].join("\n");
    assert_eq!(weir.post("/events", events).status, 200);
}

fn classes(browser: &Browser, css: &str) -> String {
    let classes = "return document.querySelector(arguments[0]).className";
    browser.run(classes, &json!([css])).as_str().unwrap().to_owned()
}

#[test]
fn today_is_compared_with_yesterday_and_what_was_rejected_is_red_from_one_percent_on() {
    let weir = Weir::start();
    clicks(&weir, 30, 0);
    // Yesterday at this time, which is as far from midnight as now.
    clicks(&weir, 7, 24 * HOUR);
    weir.wait_until_filed();
    let browser = signed_in(&weir);
    browser.until_is("#today", "30");
    browser.until_contains("#today-note", "7 in all");
    browser.until_is("#rate", "0%");
    browser.until_contains("#status", "All events are in the lake.");
    assert!(!classes(&browser, "#rate-box").contains("bad"));
    assert_eq!(weir.post("/button/click", "{}").status, 422);
    browser.until_is("#rate", "3.2%");
    browser.until_is("#rate-note", "1 of 31 today");
    assert!(classes(&browser, "#rate-box").contains("bad"));
    browser.click("#rate-why");
    clicks(&weir, 200, 0);
    browser.until_is("#rate", "0.4%");
    assert!(!classes(&browser, "#rate-box").contains("bad"));
    no_errors_but(&browser, &[]);
}

#[test]
fn events_that_are_not_filed_yet_are_in_the_numbers_and_the_chart_and_the_status_says_so() {
    let weir = Weir::start_with(&["--flush-every", "1h"]);
    let browser = signed_in(&weir);
    browser.until_contains("#status", "No events so far.");
    clicks(&weir, 3, 0);
    browser.until_contains("#status", "3 events on the way to the lake.");
    browser.until_is("#today", "3");
    browser.until_is("#readout", "Last 24 hours: 3 events");
    let words = browser
        .run("return document.documentElement.outerHTML.replace(/<script[^]*<.script>/, '')", &json!([]));
    for word in ["overlay", "settled", "journal"] {
        assert!(!words.as_str().unwrap().to_lowercase().contains(word), "{word}");
    }
    no_errors_but(&browser, &[]);
}

#[test]
fn rejected_events_are_grouped_by_reason_with_the_last_one_of_each() {
    let weir = Weir::start();
    for n in 0..3 {
        assert_eq!(weir.post("/button/click", json!({"button_id": format!("b{n}")}).to_string()).status, 422);
    }
    assert_eq!(weir.post("/button/click", "no JSON").status, 422);
    let browser = signed_in(&weir);
    browser.until_contains("#rejects-note", "The latest 4, by reason.");
    let first = "#rejects-list li:first-child";
    browser.until_contains(first, "3× Button click");
    browser.click(&format!("{first} summary"));
    browser.until_is(&format!("{first} pre"), r#"{"button_id":"b2"}"#);
    // A group that is open stays open, with the newest.
    assert_eq!(weir.post("/button/click", r#"{"button_id":"b3"}"#).status, 422);
    browser.until_contains(first, "4× Button click");
    browser.until_is(&format!("{first} pre"), r#"{"button_id":"b3"}"#);
    no_errors_but(&browser, &[]);
}

/// Clicks, and gives the text of the file that the user gets.
fn saved(browser: &Browser, button: &str) -> String {
    let caught = "window.saved = undefined; URL.createObjectURL = (blob) => { window.saved = blob.text(); return '#'; }";
    browser.run(caught, &json!([]));
    browser.click(button);
    let text =
        "while (!window.saved) await new Promise((next) => setTimeout(next, 20)); return await window.saved";
    browser.run_to_its_end(text, &json!([])).as_str().unwrap().to_owned()
}

#[test]
fn keys_are_searched_and_saved_and_so_is_the_chart() {
    let weir = Weir::start();
    let keys = ["=1+1", "Größe, \"XL\"", "plain"];
    for key in keys {
        assert_eq!(weir.post("/button/click", click("s1", key)).status, 200);
    }
    let many: Vec<String> = (0..1200)
        .map(|n| json!({"event_type": "button_click", "session_id": "s", "button_id": format!("many{:04}", n % 1100)}))
        .map(|event| event.to_string())
        .collect();
    assert_eq!(weir.post("/events", many.join("\n")).status, 200);
    let browser = signed_in(&weir);
    browser.until_is("#keys-title", "Top buttons");
    // Rare ones are found by a part among the largest, and by their whole text beyond these.
    browser.fill("#keys-search", "MANY00");
    browser.until_is("#keys-note", "100 found, among the 1,000 largest.");
    browser.fill("#keys-search", "plain");
    browser.until_contains("#keys-list", "plain\n1");
    browser.fill("#keys-search", "nothing");
    browser.until_contains("#keys-note", "Nothing has “nothing”");
    let csv = saved(&browser, "#chart-csv");
    assert!(csv.starts_with("from,button_click\r\n"), "{csv}");
    assert!(csv.ends_with(":00:00.000Z,1203\r\n"), "{csv}");
    let csv = saved(&browser, "#keys-csv");
    assert!(csv.starts_with("button_id,count\r\nmany"), "{csv}");
    let few = Weir::start();
    for key in keys {
        assert_eq!(few.post("/button/click", click("s1", key)).status, 200);
    }
    let browser_of_few = signed_in(&few);
    browser_of_few.until_contains("#keys-list", "plain");
    let text = saved(&browser_of_few, "#keys-csv");
    // A spreadsheet takes none of it for a formula.
    for row in ["'=1+1,1\r\n", "\"Größe, \"\"XL\"\"\",1\r\n", "plain,1\r\n"] {
        assert!(text.contains(row), "{row} is not in {text}");
    }
}

#[test]
fn times_are_the_visitors_own_or_utc_which_is_said_and_kept_over_a_reload() {
    let weir = Weir::start();
    clicks(&weir, 2, 0);
    weir.wait_until_filed();
    let browser = visit(&weir);
    browser.chromium("Emulation.setTimezoneOverride", &json!({"timezoneId": "Asia/Tokyo"}));
    browser.open(&format!("{}/", weir.url()));
    super::visit::sign_in(&browser, &weir.credentials);
    browser.until_contains("#zone", "Local time (Asia/Tokyo)");
    browser.until_is("#readout", "Last 24 hours: 2 events");
    let newest = || {
        browser.run("document.querySelector('#bars').focus()", &json!([]));
        browser.until("#readout", "it has this hour", |text| text.contains('–'))
    };
    let hour = |text: &str| text.split_once(", ").unwrap().1[..2].parse::<u64>().unwrap();
    let own = hour(&newest());
    browser.choose("#zone", "utc");
    let utc = hour(&newest());
    assert_eq!(own, (utc + 9) % 24, "Tokyo is nine hours ahead");
    browser.open(&format!("{}/", weir.url()));
    browser.until_is("#readout", "Last 24 hours: 2 events");
    assert_eq!(browser.run("return document.querySelector('#zone').value", &json!([])), "utc");
    assert_eq!(hour(&newest()), utc);
    no_errors_but(&browser, &[]);
}

#[test]
fn the_title_tells_how_many_were_rejected_since_the_page_was_looked_at() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", "{}").status, 422);
    let browser = signed_in(&weir);
    browser.until_is("#rejected", "1");
    let title = || browser.run("return document.title", &json!([])).as_str().unwrap().to_owned();
    assert_eq!(title(), "Weir");
    browser.run("document.hasFocus = () => false", &json!([]));
    assert_eq!(weir.post("/events", "{}\n{}").status, 422);
    browser.until_is("#rejected", "3");
    assert_eq!(title(), "(2 rejected) Weir");
    browser.run("dispatchEvent(new Event('focus'))", &json!([]));
    assert_eq!(title(), "Weir");
    no_errors_but(&browser, &[]);
}

#[test]
fn the_form_shows_the_command_that_sends_the_same_and_it_does() {
    let weir = Weir::start();
    let browser = signed_in(&weir);
    // There are no events: the form is open.
    browser.fill("#try-field-1", "it's $HOME `here`");
    let command = browser.text("#try-curl");
    assert!(command.starts_with("curl -u demo -d '"), "{command}");
    let (_, secret) = weir.credentials.split_once(':').unwrap();
    assert!(!command.contains(secret));
    // Asked for by curl, it is typed.
    let typed = command.replace("-u demo", &format!("-sS -u {}", weir.credentials));
    let output = Command::new("sh").args(["-c", &typed]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), r#"{"message":"Received"}"#, "{typed}");
    browser.until_contains("#keys-list", "it's $HOME `here`");
    browser.click("#try-close");
    assert_eq!(browser.run("return document.activeElement.id", &json!([])), "try-open");
    // With events, it is closed at first.
    browser.open(&format!("{}/", weir.url()));
    browser.until_is("#accepted", "1");
    assert_eq!(browser.run("return document.querySelector('#try').hidden", &json!([])), true);
    no_errors_but(&browser, &[EVENT_REFUSED]);
}

#[test]
fn the_list_of_events_grows_by_itself_and_is_paused_filtered_and_opened() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s1", "first")).status, 200);
    assert_eq!(weir.post("/button/click", r#"{"button_id": "bad"}"#).status, 422);
    let browser = signed_in(&weir);
    browser.until_contains("#live-list li:first-child", "rejected");
    browser.until_contains("#live-list li:nth-child(2)", "button_id: first");
    browser.click("#live-list li:first-child summary");
    browser.until_contains("#live-list li:first-child .reasons", "/session_id");
    browser.until_is("#live-list li:first-child pre", r#"{"button_id": "bad"}"#);
    // One that is open stays open when another comes.
    assert_eq!(weir.post("/button/click", click("s1", "second")).status, 200);
    browser.until_contains("#live-list li:first-child", "button_id: second");
    browser.until_is("#live-list li:nth-child(2) pre", r#"{"button_id": "bad"}"#);
    browser.fill("#live-text", "FIRST");
    browser.until_is("#live-note", "1 of 3 shown.");
    browser.fill("#live-text", " ");
    browser.choose("#live-status", "rejected");
    browser.until_is("#live-note", "1 of 3 shown.");
    browser.choose("#live-status", "");
    browser.choose("#live-type", "page_view");
    browser.until_is("#live-note", "Nothing so far.");
    browser.choose("#live-type", "button_click");
    browser.until_contains("#live-list", "button_id: second");
    browser.click("#live-pause");
    assert_eq!(weir.post("/button/click", click("s1", "third")).status, 200);
    browser.until_is("#accepted", "3");
    browser.until_is("#live-note", "Paused.");
    assert!(!browser.text("#live-list").contains("third"));
    browser.click("#live-pause");
    browser.until_contains("#live-list li:first-child", "button_id: third");
    no_errors_but(&browser, &[]);
}
