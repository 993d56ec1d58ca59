//! Who is signed in: over a reload, in one tab, until they sign out; and what is said where signing in fails.

use super::visit::{
    NOT_ALLOWED, NOT_SIGNED_IN, TOO_MANY, everything, no_errors_but, sign_in, signed_in, visit,
};
use crate::harness::{Weir, basic, click, json};

#[test]
fn a_reload_stays_signed_in_and_another_tab_or_the_next_after_closing_does_not() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    let browser = signed_in(&weir);
    let page = format!("{}/", weir.url());
    browser.open(&page);
    browser.until_is("#session .who", "demo");
    browser.until_is("#accepted", "1");
    let first = browser.new_tab();
    browser.open(&page);
    browser.until_contains("#sign-in-title", "See your events arrive");
    sign_in(&browser, &weir.credentials);
    browser.until_is("#accepted", "1");
    // The tab is closed, and the next one asks again. The first one is still signed in.
    browser.close_tab(&first);
    browser.open(&page);
    browser.until_is("#accepted", "1");
    let second = browser.new_tab();
    browser.open(&page);
    browser.until_contains("#sign-in-title", "See your events arrive");
    browser.close_tab(&second);
    // What was kept for too long is forgotten.
    let old = "const kept = JSON.parse(sessionStorage['weir-dashboard']); \
        sessionStorage['weir-dashboard'] = JSON.stringify({ ...kept, until: Date.now() - 1 }); \
        return kept.until - Date.now() <= 12 * 3600 * 1000";
    assert_eq!(browser.run(old, &json!([])), true);
    browser.open(&page);
    browser.until_contains("#sign-in-title", "See your events arrive");
    assert_eq!(browser.run("return sessionStorage.length", &json!([])), 0);
    no_errors_but(&browser, &[]);
}

#[test]
fn a_reload_with_a_key_that_was_removed_meanwhile_signs_out_and_forgets_it() {
    let weir = Weir::start();
    let second = weir.output(&["user", "add", "demo", "--label", "second", "--scope", "read"]);
    let browser = visit(&weir);
    sign_in(&browser, second.trim());
    browser.until_is("#accepted", "0");
    browser.open("about:blank");
    weir.output(&["user", "remove", "demo", "--label", "second"]);
    browser.open(&format!("{}/", weir.url()));
    browser.until_contains("#sign-in-problem", "The username or the secret is wrong.");
    assert_eq!(browser.run("return sessionStorage.length", &json!([])), 0);
    no_errors_but(&browser, &[NOT_SIGNED_IN]);
}

#[test]
fn signing_out_leaves_nothing_of_the_data_in_the_page() {
    let weir = Weir::start();
    let (_, secret) = weir.credentials.split_once(':').unwrap();
    assert_eq!(weir.post("/button/click", click("session-qvist", "button-qvist")).status, 200);
    assert_eq!(weir.post("/button/click", r#"{"button_id": "rejected-qvist"}"#).status, 422);
    let browser = signed_in(&weir);
    browser.until_contains("#keys-list", "button-qvist");
    browser.click("#try-open");
    browser.fill("#try-field-1", "typed-qvist");
    browser.until_contains("#rejects-list", "is required");
    let shown = everything(&browser);
    for part in ["typed-qvist", "rejected-qvist", "demo"] {
        assert!(shown.contains(part), "{part} is missing: {shown}");
    }
    assert!(!shown.contains(secret), "the secret is nowhere on the page");

    let kept = "return [localStorage.length, sessionStorage.length, document.cookie, \
        (await indexedDB.databases()).length, (await caches.keys()).length]";
    // The tab keeps who is signed in, and nothing else does.
    assert_eq!(browser.run_to_its_end(kept, &json!([])), json!([0, 1, "", 0, 0]));
    browser.click("#sign-out");
    browser.until_contains("#sign-in-title", "See your events arrive");
    let shown = everything(&browser);
    for mark in ["qvist", "demo", secret, &basic(&weir.credentials)[6..]] {
        assert!(!shown.contains(mark), "{mark}: {shown}");
    }
    assert_eq!(browser.run_to_its_end(kept, &json!([])), json!([0, 0, "", 0, 0]));
    // The browser's cache has no answer either.
    let cached = "return await fetch('counts', { cache: 'only-if-cached', mode: 'same-origin' }) \
        .then(({ status }) => status, () => 'none')";
    assert_eq!(browser.run_to_its_end(cached, &json!([])), "none");

    // A page that is loaded again after that has no user.
    browser.open(&format!("{}/", weir.url()));
    browser.until_contains("#sign-in-title", "See your events arrive");
    no_errors_but(&browser, &["net::ERR_CACHE_MISS"]);
}

#[test]
fn a_failed_sign_in_shows_the_reason() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--failed-sign-ins", "1"]);
    let writer = weir.output(&["user", "add", "demo", "--label", "page", "--scope", "write"]);
    let browser = visit(&weir);
    sign_in(&browser, writer.trim());
    browser.until_contains("#sign-in-problem", "This access key may send events, and may not read.");
    sign_in(&browser, "demo:wrong");
    browser.until_contains("#sign-in-problem", "The username or the secret is wrong.");
    assert_eq!(browser.run("return document.querySelector('#secret').value", &json!([])), "");
    sign_in(&browser, "demo:wrong");
    browser.until_contains("#sign-in-problem", "Too many failed sign-ins. Try again in ");
    sign_in(&browser, &weir.credentials);
    browser.until_is("#accepted", "0");
    no_errors_but(&browser, &[NOT_SIGNED_IN, NOT_ALLOWED, TOO_MANY]);
}

#[test]
fn a_user_whose_access_key_is_removed_is_signed_out_and_the_page_says_so() {
    let weir = Weir::start();
    let second = weir.output(&["user", "add", "demo", "--label", "second", "--scope", "read"]);
    assert_eq!(weir.post("/button/click", click("s1", "button-qvist")).status, 200);
    let browser = visit(&weir);
    sign_in(&browser, second.trim());
    browser.until_contains("#keys-list", "button-qvist");
    // It may read, and sending is refused.
    browser.click("#try-open");
    browser.click("#try-send");
    browser.until_contains("#try-answer", "Not stored\nThis needs an access key with the scope write.");
    weir.output(&["user", "remove", "demo", "--label", "second"]);
    browser.until_contains("#sign-in-problem", "You were signed out. The username or the secret is wrong.");
    assert!(!everything(&browser).contains("qvist"));
    no_errors_but(&browser, &[NOT_SIGNED_IN, NOT_ALLOWED]);
}
