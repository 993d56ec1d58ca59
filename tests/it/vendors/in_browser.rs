//! The clients that vendors have for pages, in a real browser, on a page of another origin.

use std::{collections::BTreeSet, fs, path::Path};

use super::{key, shared, stored};
use crate::{
    clients::site::Site,
    harness::{Value, browser::Browser, eventually},
};

/// A vendor's script, to be put into a page.
fn script(path: &str) -> String {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/node_modules");
    let text = fs::read_to_string(modules.join(path)).unwrap();
    assert!(!text.contains("</script"));
    format!("<script>{text}</script>")
}

#[test]
fn the_pages_of_posthog_and_snowplow_users_send_what_they_have_even_if_the_visitor_leaves() {
    let weir = shared();
    let (url, user) = (weir.url(), "pages-of-vendors");
    let key = key(&weir, user, "write");
    let site = Site::start(format!(
        "<!doctype html><meta charset=utf-8><title>Shop</title>{}{}<button>Buy</button><script>
        // Its client takes a browser that is driven for a bot.
        posthog.init('{key}', {{ api_host: '{url}', opt_out_useragent_filter: true }});
        snowplowBrowserTracking.newTracker('sp', '{url}/k/{key}', {{ appId: 'shop', credentials: 'omit' }});
        snowplowBrowserTracking.trackPageView();
        </script>",
        script("posthog-js/dist/array.js"),
        script("@snowplow/browser-tracker/dist/index.umd.min.js"),
    ));
    let browser = Browser::start();
    browser.open(&site.url());
    let names = |event_type: &str| -> Vec<(Value, Value)> {
        let events = stored(&weir, user, event_type);
        events.iter().map(|event| (event["event"].clone(), event["properties"].clone())).collect()
    };
    eventually("both pages are in the lake", || stored(&weir, user, "page").len() == 2);
    weir.wait_until_filed();
    for page in stored(&weir, user, "page") {
        assert_eq!(page["url"], site.url(), "{page}");
        assert!(page["anonymous_id"].is_string() && page["session_id"].is_string(), "{page}");
    }
    assert_eq!(stored(&weir, user, "page_view").len(), 2);
    browser.run(
        "posthog.identify('u1', { plan: 'free' });
         posthog.capture('Order Completed', { total: 25, by: 'posthog' });
         snowplowBrowserTracking.trackStructEvent({ category: 'shop', action: 'Order Completed', label: 'snowplow' });
         location.href = 'about:blank';",
        &crate::harness::json!([]),
    );
    eventually("what came last is in the lake", || {
        let tracks = names("track");
        let orders = tracks.iter().filter(|(event, _)| event == "Order Completed");
        let by: BTreeSet<&str> =
            orders.filter_map(|(_, said)| said["by"].as_str().or_else(|| said["label"].as_str())).collect();
        by.len() == 2 && tracks.iter().any(|(event, _)| event == "$pageleave")
    });
    weir.wait_until_filed();
    let all = weir.lines(&format!("lake/username={user}"));
    let ids: BTreeSet<&str> = all.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an event is stored twice");
    assert_eq!(stored(&weir, user, "identify")[0]["user_id"], "u1");
    assert!(stored(&weir, user, "rejected").is_empty());
    assert!(!weir.log().contains(key.split_once(':').unwrap().1));
}
