//! A visitor of a server's dashboard.

use crate::harness::{Value, Weir, browser::Browser, json};

/// A refused request stands in a browser's console, whatever the page does about it.
pub const EVENT_REFUSED: &str = "responded with a status of 422";
pub const NOT_SIGNED_IN: &str = "responded with a status of 401";
pub const NOT_ALLOWED: &str = "responded with a status of 403";
pub const TOO_MANY: &str = "responded with a status of 429";

/// A browser on the page of a server, before a user has signed in.
pub fn visit(weir: &Weir) -> Browser {
    let browser = Browser::start();
    browser.size(1280, 900);
    browser.open(&format!("{}/", weir.url()));
    browser
}

/// A browser on the page of a server, signed in.
pub fn signed_in(weir: &Weir) -> Browser {
    let browser = visit(weir);
    sign_in(&browser, &weir.credentials);
    browser.until("#accepted", "the counts are there", |text| !text.is_empty());
    browser
}

/// Fills in the form, and sends it by the keyboard.
pub fn sign_in(browser: &Browser, credentials: &str) {
    let (username, secret) = credentials.split_once(':').unwrap();
    browser.fill("#username", username);
    // What follows is the key Enter.
    browser.fill("#secret", &format!("{secret}\u{e007}"));
}

/// A tile's number, by its place.
pub fn tile(place: usize) -> String {
    format!("#tile-{place} .count")
}

/// Asserts that the console has no error but network's report of these.
pub fn no_errors_but(browser: &Browser, expected: &[&str]) {
    let is_expected = |entry: &Value| {
        let message = entry["message"].as_str().unwrap();
        entry["source"] == "network" && expected.iter().any(|expected| message.contains(expected))
    };
    let log = browser.log("browser");
    let errors: Vec<&Value> =
        log.iter().filter(|entry| entry["level"] == "SEVERE" && !is_expected(entry)).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// All that the page has of texts: what is shown, what is not, attributes and what fields hold.
pub fn everything(browser: &Browser) -> String {
    let script = "return document.documentElement.outerHTML \
        + [...document.querySelectorAll('input, textarea, select')].map((field) => field.value).join(' ')";
    browser.run(script, &json!([])).as_str().unwrap().to_owned()
}
