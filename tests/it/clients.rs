//! What docs/CLIENTS.md tells clients to do works as it is printed: on a command line, in Python, and in a browser, on
//! a page of another origin, with an access key that may only write.

mod auto;
mod forgetful;
pub mod site;

use std::{fs, path::Path, process::Command};

use crate::harness::{self, Weir, browser::Browser, eventually, json, path_with_venv};
use forgetful::Forgetful;
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
        assert_eq!(printed.lines().count(), 2, "{printed}");
        assert!(printed.contains("not JSON compliant"), "{printed}");
        assert!(printed.contains("button_id") && printed.contains("required"), "{printed}");
    }
    assert_eq!(between.forgotten(), 2);
    assert_eq!(clicks(&weir, &read), 1);
}

/// What gateways that stand before Weir do: they fail at what they do not like, and take no bodies above a limit.
fn moody<const LIMIT: usize>(body: &[u8]) -> Option<u16> {
    if body.windows(6).any(|word| word == b"poison") {
        Some(500)
    } else {
        (body.len() > LIMIT).then_some(413)
    }
}

#[test]
fn the_python_program_tries_again_only_what_can_pass_by_itself_and_no_event_holds_up_others() {
    let (weir, write, read) = weir();
    let between = Forgetful::start_with(&weir.url(), 1, moody::<1_000_000>);
    let program = snippets("python", &between.url(), &write).remove(0);
    let (program, _) = program.split_once("\nfor event, errors in send(").unwrap();
    let run = |calls: &str, url: &str, secret: &str| {
        let call = format!("{program}\nurl, who = '{url}', ('ethan', '{secret}')\n{calls}");
        let output =
            Command::new("python3").args(["-c", &call]).env("PATH", path_with_venv()).output().unwrap();
        let said = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), said(output.stdout), said(output.stderr))
    };
    let secret = write.strip_prefix("ethan:").unwrap();
    let calls = "click = {'event_type': 'button_click', 'session_id': 's1', 'button_id': 'abc'}\n\
        bad = [{**click, 'n': float('nan')}, {**click, 'n': {1}}, {**click, 'button_id': 7}, {**click, 'n': 'x' * 300_000},\n\
            {**click, 'n': 'y' * 2_000_000}, {**click, 'n': '\\ud800'}]\n\
        events = [event for one in bad for event in (click, one)] + [click] * 1000\n\
        for event, errors in send(events, url, who): print(errors)\n";
    let (done, printed, said) = run(calls, &between.url(), secret);
    assert!(done, "{said}");
    for expected in [
        "not JSON compliant",
        "not JSON serializable",
        "is not of type",
        "262144 bytes",
        "own words",
        "hex escape",
    ] {
        assert!(printed.contains(expected), "{expected} should be in {printed}");
    }
    assert_eq!((printed.lines().count(), clicks(&weir, &read), between.forgotten()), (6, 1006, 1));
    // What fails by itself for as long as it is tried ends in an error, and all others are stored.
    let calls = "click = {'event_type': 'button_click', 'session_id': 's1', 'button_id': 'abc'}\n\
        send([click] * 10 + [{**click, 'n': 'poison'}], url, who, patience=4)\n";
    let (done, _, said) = run(calls, &between.url(), secret);
    assert!(!done && said.contains("500 Server Error"), "{said}");
    assert_eq!(clicks(&weir, &read), 1016);
    // A wrong secret and a path that is not there never become right.
    let calls = "send([{'event_type': 'button_click', 'session_id': 's1', 'button_id': 'abc'}], url, who)\n";
    for (url, secret, expected) in [
        (weir.url(), "wrong", "401"),
        (weir.url() + "/nowhere", secret, "404"),
        ("nothing".to_owned(), secret, "MissingSchema"),
    ] {
        let (done, _, said) = run(calls, &url, secret);
        assert!(!done && said.contains(expected), "{expected}: {said}");
    }
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

/// A request with an `Authorization` of its own would need a preflight, which does not end while a page is left.
#[test]
fn what_the_script_has_of_a_visitor_who_leaves_at_once_on_a_first_visit_is_stored() {
    let (weir, write, read) = weir();
    let script = &snippets("html", &weir.url(), &write)[0];
    let browser = Browser::start();
    // The second browser's requests cannot outlive their page: it has beacons only.
    for (visits, before) in ["", "delete Request.prototype.keepalive;"].into_iter().enumerate() {
        let site = Site::start(format!(
            "<!doctype html>{script}<script>{before}\
             weir.page(); weir.track('button_click', {{ session_id: 's1', button_id: 'abc' }});\
             location.href = 'about:blank';</script>"
        ));
        browser.open(&site.url());
        eventually("the click is counted", || clicks(&weir, &read) == visits as u64 + 1);
        let views = weir.get_as(&read, "/counts/page_view").json();
        let keys = views["keys"].as_array().unwrap();
        assert!(keys.iter().any(|key| key["key"] == site.url() && key["count"] == 1), "{views}");
    }
    assert!(!weir.log().contains(write.split_once(':').unwrap().1));
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
    // What comes after them is sent after them.
    browser.click("button");
    eventually("all are counted", || clicks(&weir, &read) >= 51);
    assert_eq!(clicks(&weir, &read), 51);
    weir.wait_until_filed();
    let filed = weir.query("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM button_click");
    assert_eq!((&filed[0]["n"], &filed[0]["ids"]), (&json!(51), &json!(51)));
}

#[test]
fn the_script_says_once_in_the_console_that_it_cannot_send_and_goes_on_when_it_can() {
    const WARNING: &str = "cannot send";
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
    eventually("the other one is reported", || {
        said.extend(browser.log("browser").iter().map(ToString::to_string));
        // The event, as it was sent.
        said.contains("WARNING") && said.contains("event_id")
    });
}

#[test]
fn the_script_sends_what_can_be_sent_and_no_event_holds_up_others() {
    let (weir, write, read) = weir();
    let between = Forgetful::start_with(&weir.url(), 0, moody::<200_000>);
    let site = Site::start(format!("<!doctype html>{}", snippets("html", &between.url(), &write)[0]));
    let browser = Browser::start();
    browser.open(&site.url());
    // 66,000 bytes that are 22,000 UTF-16 units; several of 30,000 that a browser lets outlive a page one at a time; events
    // that Weir or a gateway refuses, that no request could hold, and that are no JSON.
    browser.run(
        "const click = (more) => weir.track('button_click', { session_id: 's1', button_id: 'abc', ...more });\
         const loop = {}; loop.loop = loop;\
         click({ note: 'poison' });\
         click({ note: '漢'.repeat(22000) });\
         for (let n = 0; n < 5; n++) click({ n, note: '漢'.repeat(10000) });\
         click({ n: NaN }); click({ loop }); click({ n: 1n }); click({ note: 'x'.repeat(300000) });\
         click({ button_id: 7 }); click({ note: 'y'.repeat(5e6) }); click({ note: 'z'.repeat(230000) });\
         click({ last: true });",
        &json!([]),
    );
    // The page is hidden: everything is sent at once.
    browser.run("dispatchEvent(new Event('pagehide'));", &json!([]));
    eventually("all others are counted", || clicks(&weir, &read) == 8);
    browser.click("button");
    eventually("so is what comes later", || clicks(&weir, &read) == 9);
    let mut said = String::new();
    eventually("what was never sent is reported", || {
        said.extend(browser.log("browser").iter().map(ToString::to_string));
        ["too large", "circular", "BigInt", "500", "413"].iter().all(|word| said.contains(word))
    });
    weir.wait_until_filed();
    let filed = weir.query("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM button_click");
    assert_eq!((&filed[0]["n"], &filed[0]["ids"]), (&json!(9), &json!(9)));
}

#[test]
fn the_script_sends_without_keepalive_what_the_browser_refuses_with_it() {
    let (weir, write, read) = weir();
    let site = Site::start(format!("<!doctype html>{}", snippets("html", &weir.url(), &write)[0]));
    let browser = Browser::start();
    browser.open(&site.url());
    // Another script of the page has used up what may outlive it.
    browser.run(
        "const real = fetch; window.asked = [];\
         window.fetch = (url, options) => {\
           window.asked.push(!!options.keepalive);\
           return options.keepalive ? Promise.reject(new TypeError('quota')) : real(url, options);\
         };\
         weir.track('button_click', { session_id: 's1', button_id: 'abc' });",
        &json!([]),
    );
    eventually("the event is counted", || clicks(&weir, &read) == 1);
    assert_eq!(browser.run("return window.asked;", &json!([])), json!([true, false]));
}
