//! The page is there for every user: on a phone, in the dark, by keyboard and by ear.

use std::{fs, path::Path};

use super::visit::{EVENT_REFUSED, no_errors_but, sign_in, signed_in, visit};
use crate::harness::{Value, Weir, browser::Browser, click, json};

/// Every kind of thing that the page can show, in awkward lengths.
fn weir_with_much_to_show() -> Weir {
    let weir = Weir::start();
    let long = "a-name-without-a-place-to-break-it".repeat(8);
    for button in ["buy", &long, "ein Knopf mit Wörtern und Lücken, der recht lang ist"] {
        assert_eq!(weir.post("/button/click", click("s1", button)).status, 200);
    }
    assert_eq!(weir.post("/button/click", json!({"button_id": 1, "more": long}).to_string()).status, 422);
    assert_eq!(weir.post("/web/page_view", json!({"session_id": [], "url": 1}).to_string()).status, 422);
    weir.wait_until_filed();
    weir
}

/// Shows all of that, opened, and an answer.
fn show_all(browser: &Browser) {
    browser.until_contains("#keys-list", "buy");
    browser.until_is("#readout", "Last 24 hours: 5 events");
    browser.until_contains("#rejects-list", "/session_id");
    browser.click("#try-open");
    browser.fill("#try-field-0", "");
    browser.click("#try-send");
    browser.until_contains("#try-answer", "/session_id");
    browser.until_contains("#rejects-note", "The latest 3");
    browser.run(
        "document.querySelectorAll('details').forEach((details) => { details.open = true; })",
        &json!([]),
    );
}

fn every_view(weir: &Weir, look: impl Fn(&Browser, &str)) {
    let browser = visit(weir);
    let views = [("light", 1280), ("light", 360), ("dark", 1280), ("dark", 360)];
    let in_every_view = |state: &str| {
        for (theme, width) in views {
            browser.theme(theme);
            browser.size(width, 800);
            look(&browser, &format!("{state}, {theme}, {width} px"));
        }
    };
    browser.until_contains("#sign-in-title", "See your events arrive");
    in_every_view("signed out");
    browser.size(1280, 900);
    sign_in(&browser, &weir.credentials);
    show_all(&browser);
    in_every_view("signed in");
    browser.size(1280, 900);
    browser.click("#try-raw");
    browser.click("#tile-4");
    browser.click("#range-quarter + label");
    browser.until_contains("#keys-note", "not counted by key");
    in_every_view("other parts");
    no_errors_but(&browser, &[EVENT_REFUSED]);
}

#[test]
fn in_both_themes_nothing_has_to_be_scrolled_sideways_on_a_phone_or_a_desktop() {
    every_view(&weir_with_much_to_show(), |browser, view| {
        let widths = "return [document.documentElement.scrollWidth, innerWidth]";
        let widths = browser.run(widths, &json!([]));
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{view}: {widths}");
        // Nor anything in it, which would hide what is too wide.
        let wide = "return [...document.querySelectorAll('main *')].filter((element) => \
            element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1 \
            && !['hidden', 'visible'].includes(getComputedStyle(element).overflowX)).map((element) => element.outerHTML)";
        assert_eq!(browser.run(wide, &json!([])), json!([]), "{view}");
    });
}

#[test]
fn both_themes_have_their_own_colours() {
    let browser = visit(&Weir::start());
    let colours = |theme: &str| {
        browser.theme(theme);
        let script = "const { color, backgroundColor } = getComputedStyle(document.body); return [color, backgroundColor]";
        browser.run(script, &json!([]))
    };
    assert_eq!(colours("light"), json!(["rgb(18, 36, 43)", "rgb(244, 247, 248)"]));
    assert_eq!(colours("dark"), json!(["rgb(228, 238, 241)", "rgb(13, 22, 26)"]));
}

/// axe-core finds what is wrong with a page for users by keyboard, by ear, or with weak eyes.
#[test]
fn nothing_keeps_out_who_reads_by_ear_or_uses_the_keyboard() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("./check installs axe-core");
    let looked = std::cell::Cell::new(0);
    every_view(&weir_with_much_to_show(), |browser, view| {
        browser.run(&axe, &json!([]));
        let found = browser.run_to_its_end(
            "const { violations, passes } = await axe.run(document, { resultTypes: ['violations'] }); \
             return [passes.length, violations.map(({ id, impact, nodes }) => \
                ({ id, impact, nodes: nodes.map(({ html, any }) => [html, any.map(({ message }) => message)]) }))]",
            &json!([]),
        );
        assert!(found[0].as_u64() > Some(10), "axe has looked at nothing: {found}");
        let violations: Vec<&Value> = found[1]
            .as_array()
            .unwrap()
            .iter()
            .filter(|found| found["impact"] == "serious" || found["impact"] == "critical")
            .collect();
        assert!(violations.is_empty(), "{view}: {violations:#?}");
        looked.set(looked.get() + 1);
    });
    assert_eq!(looked.get(), 12);
}

#[test]
fn the_keyboard_comes_to_everything_in_the_order_in_which_it_is_read() {
    let weir = weir_with_much_to_show();
    let browser = signed_in(&weir);
    browser.until_contains("#keys-list", "buy");
    browser.until_contains("#rejects-list", "/session_id");
    browser.run("document.activeElement.blur(); document.querySelector('h1').focus()", &json!([]));
    let mut order = Vec::new();
    while order.last().is_none_or(|last| last != "rejects-list") {
        browser.keys(":focus", "\u{e004}");
        let focused = "const at = document.activeElement; return at.id || at.closest('[id]').id";
        order.push(browser.run(focused, &json!([])).as_str().unwrap().to_owned());
        assert!(order.len() < 20, "{order:?}");
    }
    let expected =
        ["rate-why", "range-day", "tile-all", "bars", "chart-csv", "keys-search", "keys-csv", "rejects-list"];
    // The panel itself is no stop, as the chart in it is one; the zone is one where it can be chosen.
    order.retain(|id| id != "zone");
    assert_eq!(order, expected);
    // All that can be used has a name.
    let nameless = "return [...document.querySelectorAll('button, input, select, textarea, a, [role=slider], [role=region]')] \
        .filter((element) => element.checkVisibility() && !(element.labels?.length || element.getAttribute('aria-label') \
            || element.getAttribute('aria-labelledby') || element.textContent.trim())).map((element) => element.outerHTML)";
    assert_eq!(browser.run(nameless, &json!([])), json!([]));
    no_errors_but(&browser, &[]);
}
