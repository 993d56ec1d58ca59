//! What docs/CLIENTS.md tells clients to do works as it is printed: on a command line, in Python, and in a browser, on
//! a page of another origin, with an access key that may only write.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failed unwrap is a failed test, and modules are shared"
)]

#[path = "dashboard/browser.rs"]
#[allow(dead_code, unreachable_pub, reason = "these tests use a part of it")]
mod browser;
#[path = "clients/forgetful.rs"]
mod forgetful;
mod harness;
#[path = "clients/site.rs"]
mod site;

use std::{fs, path::Path, process::Command};

use browser::Browser;
use forgetful::Forgetful;
use harness::{Weir, eventually, json, path_with_venv};
use site::Site;

/// What the page shows in a language, for a Weir at this address, which the user `ethan` has this key of.
fn snippets(language: &str, url: &str, key: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLIENTS.md")).unwrap();
    let secret = key.strip_prefix("ethan:").unwrap();
    let begin = format!("```{language}\n");
    let blocks: Vec<String> = page
        .split(&begin)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .map(|block| block.replace("http://localhost:8080", url).replace("SECRET", secret))
        .collect();
    assert!(!blocks.is_empty());
    blocks
}

/// A Weir, with a key of `ethan` that may only write, and one that may read.
fn weir() -> (Weir, String, String) {
    let weir = Weir::start();
    let key = |arguments: &[&str]| {
        let said = weir.output(&[&["user", "add", "ethan"], arguments].concat());
        said.split_whitespace().find(|word| word.starts_with("ethan:")).unwrap().to_owned()
    };
    let write = key(&["--label", "browser", "--scope", "write"]);
    let read = key(&["--label", "desk", "--scope", "read"]);
    (weir, write, read)
}

fn clicks(weir: &Weir, reader: &str) -> u64 {
    weir.get_as(reader, "/button/click/count?button_id=abc").json()["count"].as_u64().unwrap()
}

#[test]
fn the_command_lines_send_one_event_and_many_and_count_none_twice() {
    let (weir, write, read) = weir();
    let folder = tempfile::tempdir().unwrap();
    let run = |block: &str| {
        let output = Command::new("sh").args(["-euc", block]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let blocks = snippets("sh", &weir.url(), &write);
    let [one, many] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(run(one), r#"{"message":"Received"}"#);
    for wanted in ["stored", "duplicates"] {
        let answer: harness::Value = serde_json::from_str(&run(many)).unwrap();
        assert_eq!(answer[wanted], 2, "{answer}");
    }
    assert_eq!(clicks(&weir, &read), 2);
}

#[test]
fn the_python_program_sends_until_all_is_stored_and_tells_what_was_rejected() {
    let (weir, write, read) = weir();
    // The first answers get lost on their way.
    let between = Forgetful::start(&weir.url(), 2);
    for program in snippets("python", &between.url(), &write) {
        let output =
            Command::new("python3").args(["-c", &program]).env("PATH", path_with_venv()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(printed.lines().count(), 1, "{printed}");
        assert!(printed.contains("button_id") && printed.contains("required"), "{printed}");
    }
    assert_eq!(between.forgotten(), 2);
    assert_eq!(clicks(&weir, &read), 1);
}

#[test]
fn the_browsers_own_fetch_sends_an_event_from_another_origin() {
    let (weir, write, read) = weir();
    let site = Site::start("<!doctype html><title>A page</title>".to_owned());
    let browser = Browser::start();
    browser.open(&site.url());
    for script in snippets("js", &weir.url(), &write) {
        browser.run(&script, &json!([]));
    }
    eventually("the event is counted", || clicks(&weir, &read) == 1);
    // The key can be read by all who see the page, and reads nothing itself.
    weir.get_as(&write, "/counts").problem(403, "out-of-scope");
}

#[test]
fn the_page_in_the_readme_is_the_one_that_is_tried_here() {
    let file = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let html = |text: String| text.split("```html\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    assert_eq!(html(file("README.md")), html(file("docs/CLIENTS.md")));
}

#[test]
fn the_script_sends_what_is_clicked_and_what_was_left_when_the_page_is() {
    let (weir, write, read) = weir();
    let site = Site::start(format!("<!doctype html>{}", snippets("html", &weir.url(), &write)[0]));
    let browser = Browser::start();
    browser.open(&site.url());
    browser.click("button");
    eventually("the click is counted", || clicks(&weir, &read) == 1);
    // Left at once, long before the script would have sent them by itself.
    browser.run(
        "for (let n = 0; n < 100; n++) weir.track('button_click', { session_id: 's1', button_id: 'abc', n });\
         location.href = 'about:blank';",
        &json!([]),
    );
    eventually("the last ones are counted", || clicks(&weir, &read) == 101);
}

#[test]
fn the_script_sends_again_what_got_no_answer_and_it_counts_once() {
    let (weir, write, read) = weir();
    let between = Forgetful::start(&weir.url(), 3);
    let site = Site::start(format!("<!doctype html>{}", snippets("html", &between.url(), &write)[0]));
    let browser = Browser::start();
    browser.open(&site.url());
    browser.run(
        "for (let n = 0; n < 50; n++) weir.track('button_click', { session_id: 's1', button_id: 'abc', n });",
        &json!([]),
    );
    eventually("three answers were lost", || between.forgotten() == 3);
    // What comes after them is sent behind them.
    browser.click("button");
    eventually("all are counted", || clicks(&weir, &read) >= 51);
    assert_eq!(clicks(&weir, &read), 51);
    weir.wait_until_filed();
    let filed = weir.query("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM button_click");
    assert_eq!((&filed[0]["n"], &filed[0]["ids"]), (&json!(51), &json!(51)));
}

#[test]
fn the_script_says_once_in_the_console_that_it_cannot_send_and_goes_on_when_it_can() {
    const WARNING: &str = "weir cannot send events to";
    let (weir, write, read) = weir();
    let site = Site::start(format!("<!doctype html>{}", snippets("html", &weir.url(), &write)[0]));
    let browser = Browser::start();
    browser.open(&site.url());
    browser.chromium("Network.enable", &json!({}));
    let network = |offline: bool| {
        let conditions =
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        browser.chromium("Network.emulateNetworkConditions", &conditions);
    };
    network(true);
    browser.run(
        "window.attempts = 0;\
         const sends = fetch;\
         window.fetch = (...all) => { window.attempts++; return sends(...all); };\
         weir.track('button_click', { session_id: 's1', button_id: 'abc' });",
        &json!([]),
    );
    eventually("it was tried three times", || browser.run("return attempts >= 3", &json!([])) == true);
    let said = || browser.log("browser").iter().map(ToString::to_string).collect::<String>();
    assert_eq!(said().matches(WARNING).count(), 1);
    network(false);
    eventually("the click is counted", || clicks(&weir, &read) == 1);
    assert_eq!(said().matches(WARNING).count(), 0);
}

#[test]
fn the_script_says_in_the_console_what_was_rejected_beside_what_was_stored() {
    let (weir, write, read) = weir();
    let site = Site::start(format!("<!doctype html>{}", snippets("html", &weir.url(), &write)[0]));
    let browser = Browser::start();
    browser.open(&site.url());
    browser.run(
        "weir.track('button_click', { session_id: 's1', button_id: 'abc' });\
         weir.track('button_click', { session_id: 's1' });",
        &json!([]),
    );
    eventually("the good one is counted", || clicks(&weir, &read) == 1);
    let mut said = String::new();
    eventually("the other one is told of", || {
        said.extend(browser.log("browser").iter().map(ToString::to_string));
        // The event, as it was sent.
        said.contains("WARNING") && said.contains("event_id")
    });
}
