//! `weir counts` says what the server says, of all users, while it runs and when it does not.

use crate::harness::{Value, Weir, click, json};

fn counts(weir: &Weir, arguments: &[&str]) -> Vec<Value> {
    let output = weir.output(&[&["counts", "--format", "json"], arguments].concat());
    serde_json::from_str(&output).unwrap()
}

/// Clicks of two users: of demo's on a, b and c; and one rejected event.
fn with_clicks(options: &[&str]) -> Weir {
    let weir = Weir::start_with(options);
    let ann = weir.user("ann");
    for button in ["a", "b", "a", "c", "b", "a"] {
        assert_eq!(weir.post("/button/click", click("s", button)).status, 200);
    }
    assert_eq!(weir.post_as(&ann, "/button/click", click("s", "\u{1b}[2J"), &[]).status, 200);
    assert_eq!(weir.post_as(&ann, "/button/click", "{}", &[]).status, 422);
    weir
}

fn row(user: &str, event_type: &str, live: u64, settled: u64) -> Value {
    json!({"username": user, "event_type": event_type, "live": live, "settled": settled})
}

#[test]
fn live_counts_are_there_at_once_and_settled_ones_once_they_are_filed() {
    let mut weir = with_clicks(&["--flush-every", "1h"]);
    let expected = |filed: u64| {
        [
            row("ann", "button_click", 1, filed),
            row("ann", "rejected", 1, filed),
            row("demo", "button_click", 6, 6 * filed),
        ]
    };
    assert_eq!(counts(&weir, &[]), expected(0));
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert_eq!(counts(&weir, &[]), expected(1));
    weir.restart();
    assert_eq!(weir.post("/button/click", click("s", "a")).status, 200);
    assert_eq!(counts(&weir, &["--user", "demo"]), [row("demo", "button_click", 7, 6)]);
    assert_eq!(weir.get("/counts/button_click").json()["total"], 7);
}

#[test]
fn users_types_and_the_largest_keys_can_be_asked_for() {
    let weir = with_clicks(&["--flush-every", "50ms"]);
    weir.wait_until_filed();
    assert_eq!(counts(&weir, &["--type", "rejected"]), [row("ann", "rejected", 1, 1)]);
    let keyed = counts(&weir, &["--user", "demo", "--keys", "2"]);
    let key = |key: &str, live: u64| json!({"username": "demo", "event_type": "button_click", "key": key, "live": live, "settled": null});
    let mut total = row("demo", "button_click", 6, 6);
    total["key"] = Value::Null;
    assert_eq!(keyed, [total, key("a", 3), key("b", 2)]);
    let csv = weir.output(&["counts", "--format", "csv", "--user", "demo", "--keys", "9"]);
    assert_eq!(
        csv,
        "username,event_type,key,live,settled\ndemo,button_click,,6,6\ndemo,button_click,a,3,\n\
         demo,button_click,b,2,\ndemo,button_click,c,1,\n"
    );
    let table = weir.output(&["counts", "--keys", "1"]);
    assert!(table.contains("│ ann      │ button_click │ \\u{1b}[2J │    1 │         │"), "{table}");
    assert!(!weir.output(&["counts"]).contains("key"));
    assert_eq!(weir.post("/button/click", click("s", "")).status, 200);
    let table = weir.output(&["counts", "--user", "demo", "--keys", "9"]);
    assert!(table.contains("│ demo     │ button_click │ \"\"  │"), "{table}");
}

#[test]
fn a_value_too_long_to_count_by_is_stored_and_counted_by_one_shortened_key() {
    let weir = Weir::start();
    // Click ids and percent-encoded words make such addresses.
    let url = format!("https://example.com/?q={}&gclid=1", "%E6%BC%A2".repeat(60));
    assert_eq!(url.len(), 571);
    let view = |url: &str| json!({"event_type": "page_view", "session_id": "s", "url": url}).to_string();
    let other = url.clone() + "2";
    assert_eq!(weir.post("/web/page_view", view(&url)).status, 200);
    assert_eq!(weir.post("/events", format!("[{},{}]", view(&url), view(&other))).status, 200);
    assert_eq!(weir.post("/events", format!("{}\n{}", view(&url), view("short"))).status, 200);
    let huge = "x".repeat(200_000);
    assert_eq!(weir.post("/button/click", click("s", &huge)).status, 200);

    let listed = weir.get("/counts/page_view").json();
    assert_eq!((&listed["total"], listed["keys"].as_array().unwrap().len()), (&json!(5), 3));
    let (key, count) = (listed["keys"][0]["key"].as_str().unwrap(), &listed["keys"][0]["count"]);
    assert!(key.len() <= 512 && key.starts_with(&url[..400]) && count == 3, "{listed}");
    let count_of = |value: &str| {
        let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        weir.get(&format!("/web/page_view/count?url={value}")).json()["count"].clone()
    };
    assert_eq!([&url, &other, key, "short"].map(count_of), [3, 1, 3, 1], "by the whole value or by its key");
    weir.wait_until_filed();
    weir.output(&["audit"]);
    let stored = weir.query("SELECT DISTINCT length(url) AS n FROM page_view ORDER BY n");
    assert_eq!(stored, [json!({"n": 5}), json!({"n": 571}), json!({"n": 572})]);
}

#[test]
fn a_folder_without_data_is_reported() {
    let weir = Weir::start();
    let empty = tempfile::tempdir().unwrap();
    let output = weir.command().arg("counts").env("WEIR_DATA", empty.path()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are no data in"));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

/// A mistyped name looks like a name without events, and `weir tail` would wait for them for ever.
#[test]
fn a_user_or_a_type_that_there_is_not_is_an_error_which_names_the_nearest() {
    let weir = with_clicks(&["--flush-every", "50ms"]);
    weir.wait_until_filed();
    let types = "there are alias, button_click, group, identify, outcome, page, page_view, prediction, rejected, \
        screen and track: did you mean page_view?";
    let catalog = tempfile::tempdir().unwrap();
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"x-weir":{"route":"/signup"}}"#;
    std::fs::write(catalog.path().join("signup.json"), schema).unwrap();
    let refused: &[(&[&str], &str)] = &[
        (&["counts", "--user", "nobody"], "there is no user nobody; there are ann and demo"),
        (&["counts", "--user", "demos"], "did you mean demo?"),
        (&["tail", "--user", "an"], "did you mean ann?"),
        (&["audit", "--user", "dmeo"], "did you mean demo?"),
        (&["user", "remove", "anm"], "did you mean ann?"),
        (&["user", "rotate", "dem"], "did you mean demo?"),
        (&["counts", "--type", "page_vew"], types),
        (&["tail", "--type", "page_vew"], types),
        (&["audit", "--type", "page_vew"], types),
        (&["tail", "--type", "signup"], "there is no event type signup; there are alias"),
    ];
    for (arguments, said) in refused {
        let output = weir.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    // An account without events, events without an account, a type without events, and one of another catalog.
    weir.user("new");
    weir.output(&["user", "remove", "ann"]);
    assert_eq!(counts(&weir, &["--user", "new"]), [Value::Null; 0]);
    assert_eq!(counts(&weir, &["--user", "ann"]).len(), 2);
    assert_eq!(counts(&weir, &["--type", "page_view"]), [Value::Null; 0]);
    let folder = catalog.path().to_str().unwrap();
    assert_eq!(counts(&weir, &["--type", "signup", "--catalog", folder]), [Value::Null; 0]);
    assert_eq!(counts(&weir, &["--type", "button_click", "--catalog", folder]).len(), 2);
    weir.output(&["audit", "--user", "new"]);
}
