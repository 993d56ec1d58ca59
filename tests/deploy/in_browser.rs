//! What a person sees works behind API Gateway as it does on one machine: the dashboard and the API's documentation, in a
//! browser.

use super::stack::Stack;
use crate::harness::{Value, browser::Browser, gunzip, json};

fn no_errors(browser: &Browser) {
    let severe: Vec<Value> =
        browser.log("browser").into_iter().filter(|entry| entry["level"] == "SEVERE").collect();
    assert!(severe.is_empty(), "{severe:?}");
}

#[test]
fn the_dashboard_signs_in_sends_an_event_and_shows_the_count_move() {
    let weir = Stack::shared();
    let ann = weir.user("dashboard-ann");
    let (name, secret) = ann.split_once(':').unwrap();
    let browser = Browser::start();
    browser.open(&format!("{}/", weir.url()));
    browser.fill("#username", name);
    // What follows is the key Enter.
    browser.fill("#secret", &format!("{secret}\u{e007}"));
    browser.until_is("#accepted", "0");
    browser.click("#try-send");
    browser.until_contains("#try-answer", "Stored: Button click.");
    browser.until_is("#accepted", "1");
    browser.until_contains("#keys-list", "abc");
    no_errors(&browser);
    assert_eq!(weir.get(&ann, "/button/click/count?button_id=abc").json(), json!({"count": 1}));
}

#[test]
fn the_documentation_lets_the_api_be_tried() {
    let weir = Stack::shared();
    let browser = Browser::start();
    browser.open(&format!("{}/docs", weir.url()));
    browser.until_contains("#docs .info", "Weir");
    browser.until_contains("#operations-Send-post_button_click", "/button/click");
    no_errors(&browser);
}

#[test]
fn what_pages_load_needs_no_credentials_and_comes_compressed_to_those_who_take_it() {
    let weir = Stack::shared();
    for file in ["/docs/swagger-ui.css", "/docs/start.js", "/weir.js"] {
        let get = |encoding| weir.request("GET", None, file, &[("accept-encoding", encoding)], b"");
        let (plain, packed) = (get("identity"), get("gzip"));
        assert_eq!((plain.status, packed.status), (200, 200), "{file}");
        // The client may have unpacked it already.
        let unpacked =
            if packed.body.starts_with(&[0x1f, 0x8b]) { gunzip(&packed.body) } else { packed.text() };
        assert_eq!(unpacked, plain.text(), "{file}");
        assert!(plain.text().len() > 100, "{file}");
    }
}
