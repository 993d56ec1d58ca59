//! Web analytics in one tag: a page with `data-auto` sends its views and the clicks that are marked, by itself.

use super::{Site, snippets, weir};
use crate::harness::{Weir, browser::Browser, eventually, json};

/// The counts of a type by key, for keys below an address: the rest of each key, and its count.
fn below(weir: &Weir, reader: &str, event_type: &str, address: &str) -> Vec<(String, u64)> {
    let counts = weir.get_as(reader, &format!("/counts/{event_type}")).json();
    let keys = counts["keys"].as_array().unwrap().iter();
    let mut keys: Vec<(String, u64)> = keys
        .filter_map(|one| {
            Some((one["key"].as_str()?.strip_prefix(address)?.to_owned(), one["count"].as_u64()?))
        })
        .collect();
    keys.sort();
    keys
}

fn counted(keys: &[(&str, u64)]) -> Vec<(String, u64)> {
    keys.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

#[test]
fn one_tag_sends_the_views_of_pages_and_of_single_page_apps_by_path_without_cookies() {
    let (weir, write, read) = weir();
    let tag =
        snippets("html", &weir.url(), &write).into_iter().find(|tag| tag.contains("data-auto")).unwrap();
    let site = Site::start(format!("<!doctype html><body>{tag}</body>"));
    let browser = Browser::start();
    browser.open(&format!("{}shoes?utm_source=mail&size=42#top", site.url()));
    let views = || below(&weir, &read, "page_view", &site.url());
    eventually("the first view is counted", || views() == counted(&[("shoes", 1)]));
    // What changes the query alone is no other page; what changes the path is, forwards and back.
    browser.run(
        "history.replaceState(null, '', '/shoes?size=43'); history.pushState(null, '', '/hats?q=1'); \
         history.pushState(null, '', '/shoes?size=44'); history.back();",
        &json!([]),
    );
    eventually("so are the others", || views() == counted(&[("hats", 2), ("shoes", 2)]));
    assert_eq!(browser.run("return [document.cookie, localStorage.length]", &json!([])), json!(["", 0]));
    weir.wait_until_filed();
    let views = weir.query(
        "SELECT split_part(url, '/', 4) AS path, split_part(full_url, '/', 4) AS whole, \
         split_part(referral_url, '/', 4) AS came_from, session_id FROM page_view ORDER BY time, event_id",
    );
    assert!(views.iter().all(|view| view["session_id"] == views[0]["session_id"]), "{views:?}");
    let mut seen: Vec<String> = views
        .iter()
        .map(|view| format!("{} {} {}", view["path"], view["whole"], view["came_from"]))
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            r#""hats" "hats?q=1" "shoes?size=43""#,
            r#""hats" "hats?q=1" "shoes?size=44""#,
            r#""shoes" "shoes?size=44" "hats?q=1""#,
            r#""shoes" "shoes?utm_source=mail&size=42#top" null"#,
        ]
    );
}

#[test]
fn a_click_on_what_is_marked_is_sent_also_where_it_leads_away_and_no_other_is() {
    let (weir, write, read) = weir();
    let tag =
        snippets("html", &weir.url(), &write).into_iter().find(|tag| tag.contains("data-auto")).unwrap();
    let site = Site::start(format!("<!doctype html><body>{tag}<button id='other'>Other</button></body>"));
    let browser = Browser::start();
    browser.open(&site.url());
    browser.click("#other");
    // The mark of the page in docs/CLIENTS.md, which leads to another site.
    browser.click("[data-weir-click]");
    eventually("the click is counted", || {
        below(&weir, &read, "button_click", "") == counted(&[("partner", 1)])
    });
    weir.wait_until_filed();
    let clicks = weir.lines("lake/username=ethan/button_click");
    assert_eq!(clicks[0]["href"], "https://partner.example/");
    assert_eq!(clicks[0]["url"], site.url());
}
