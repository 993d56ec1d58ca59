//! The largest keys of a range of hours: `GET /counts/{event_type}/keys`, a query over the lake.

use weir_core::{Clock, Day, Hour, SystemClock};

use crate::harness::{Value, Weir, json};

const HOUR: u64 = 3_600_000;

fn keys(weir: &Weir, who: &str, query: &str) -> Value {
    let answer = weir.get_as(who, &format!("/counts/button_click/keys?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

fn counted(answer: &Value) -> Vec<(&str, u64)> {
    let keys = answer["keys"].as_array().unwrap().iter();
    keys.map(|one| (one["key"].as_str().unwrap(), one["count"].as_u64().unwrap())).collect()
}

/// Two users have events of today, of a sealed day, and late ones of the sealed day.
#[test]
fn the_keys_of_a_range_are_those_of_the_users_filed_events_in_it_sealed_or_not() {
    let weir = Weir::start_with(&["--queries", "1", "--flush-every", "100ms", "--seal-after", "never"]);
    let other = weir.user("other");
    let now = SystemClock.now();
    let day = Day::of(now.hour()).minus(5).first_hour();
    let at = |hour: Hour| hour.start().millis() + 1_800_000;
    let send = |who: &str, button: &str, time: u64, times: usize| {
        let event = json!({"event_type": "button_click", "session_id": "s", "button_id": button, "occurred_at": time});
        let events: Vec<&Value> = std::iter::repeat_n(&event, times).collect();
        assert_eq!(weir.post_as(who, "/events", json!(events).to_string(), &[]).json()["stored"], times);
    };
    let demo = &weir.credentials;
    let long = "x".repeat(600);
    send(demo, "a", at(day), 3);
    send(demo, "it's \"b\"", at(day.plus(1)), 2);
    send(demo, &long, at(day.plus(1)), 1);
    send(&other, "a", at(day), 7);
    weir.wait_until_filed();
    weir.output(&["seal"]);
    assert!(weir.files("sealed").iter().any(|file| file.ends_with(".parquet")));
    send(demo, "a", at(day.plus(1)), 1);
    send(demo, "c", now.millis() - HOUR, 4);
    send(demo, "", now.millis() - HOUR, 1);
    weir.wait_until_filed();

    let of_day = format!("from={day}&to={}", day.plus(23));
    let answer = keys(&weir, demo, &of_day);
    let live = weir.get("/counts/button_click").json();
    let shortened = counted(&live).into_iter().find(|(key, _)| key.starts_with("xxx")).unwrap().0.to_owned();
    assert_eq!(counted(&answer), [("a", 4), ("it's \"b\"", 2), (shortened.as_str(), 1)]);
    assert_eq!(
        (&answer["events"], &answer["more"], &answer["count_by"]),
        (&json!(7), &json!(false), &json!("button_id"))
    );
    assert_eq!(counted(&keys(&weir, demo, &format!("from={day}&to={day}"))), [("a", 3)]);
    assert_eq!(counted(&keys(&weir, &other, &of_day)), [("a", 7)]);
    // Without bounds, the last two days; and with a limit, the largest.
    assert_eq!(counted(&keys(&weir, demo, "")), [("c", 4), ("", 1)]);
    let all = format!("from={day}&limit=1");
    let answer = keys(&weir, demo, &all);
    assert_eq!(
        (counted(&answer), &answer["more"], &answer["events"]),
        (vec![("a", 4)], &json!(true), &json!(12))
    );
    // Over all time, the keys' counts are the live counts.
    assert_eq!(counted(&keys(&weir, demo, &format!("from={day}"))), counted(&live));
    assert_eq!(counted(&keys(&weir, demo, "from=2026-01-01T00&to=2026-01-01T05")), []);

    for query in
        ["from=x", "limit=0", "limit=1001", "form=2026-01-01T00", "from=2026-01-02T00&to=2026-01-01T00"]
    {
        weir.get(&format!("/counts/button_click/keys?{query}")).problem(422, "invalid-query");
    }
    weir.get("/counts/rejected/keys").problem(422, "invalid-query");
    weir.get("/counts/nope/keys").problem(404, "unknown-event-type");
    assert_eq!(weir.get("/counts").json()["offers"], json!(["stream", "minutes", "keys"]));
}

#[test]
fn where_queries_are_not_turned_on_no_keys_of_a_range_are_counted() {
    let weir = Weir::start();
    weir.get("/counts/button_click/keys").problem(404, "no-queries-here");
    assert_eq!(weir.get("/counts").json()["offers"], json!(["stream", "minutes"]));
}
