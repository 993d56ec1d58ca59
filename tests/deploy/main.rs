//! The repository's own template, built and deployed to a local AWS with the commands of `docs/DEPLOY.md`, keeps what
//! Weir promises.
//!
//! The local AWS runs the built programs and speaks the services' protocols. Where it does less than AWS, or something
//! else, the place that has to do with it says so. It knows nothing of permissions, limits, alarms and costs: what is
//! promised of them is read from the template, in `tests/it/template.rs`.
#![cfg(feature = "aws")]
#![allow(unreachable_pub, reason = "modules of one test")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod answers;
mod first_time;
#[path = "../harness/mod.rs"]
mod harness;
mod in_browser;
mod latest;
mod local_aws;
mod map;
mod mended;
#[path = "../../crates/aws/tests/emulator/port.rs"]
mod port;
mod queries;
mod sam;
mod scheduled;
mod sealing;
mod stack;
mod vendors;

use harness::{Value, click, gunzip, gzip, json};
use stack::{Stack, text};

#[test]
fn the_template_is_well_made() {
    sam::validate();
}

#[test]
fn no_functions_package_is_large() {
    let weir = Stack::shared();
    for (function, most) in [
        ("authorizer", 2_000_000),
        ("collector", 4_450_000),
        ("fan-out", 3_000_000),
        ("publisher", 4_400_000),
    ] {
        let path = format!("/2015-03-31/functions/weir-{function}");
        let deployed = weir.aws.request("lambda", "GET", &path, &Value::Null);
        let size = deployed["Configuration"]["CodeSize"].as_u64().unwrap();
        eprintln!("{function}: {size} bytes");
        assert!(size <= most, "{function} has {size} bytes, packed");
    }
}

#[test]
fn deploying_again_changes_nothing() {
    let weir = Stack::shared();
    let said = sam::deploy(&weir.aws);
    assert!(said.contains("No changes to deploy"), "{said}");
}

// ---- Who may call ----

#[test]
fn no_request_gets_in_without_the_right_credentials() {
    let weir = Stack::shared();
    let ann = weir.user("door-ann");
    let secret = ann.split_once(':').unwrap().1;
    for (method, path, body) in
        [("POST", "/button/click", click("s", "b")), ("GET", "/counts", String::new())]
    {
        let status = |who: Option<&str>| weir.request(method, who, path, &[], body.as_bytes()).status;
        assert_eq!(status(None), 401, "no credentials");
        assert_eq!(status(Some("door-ann:wrong")), 403, "a wrong secret");
        assert_eq!(status(Some(&format!("door-bob:{secret}"))), 403, "the name of no user");
        assert_eq!(status(Some(&ann)), 200);
    }
    for path in ["/health", "/openapi.json"] {
        assert_eq!(weir.request("GET", None, path, &[], b"").status, 200, "{path} is open to all");
    }
}

#[test]
fn an_access_key_allows_what_its_scope_says() {
    let weir = Stack::shared();
    let browser = weir.user("scope-ann --label browser --scope write");
    assert_eq!(weir.post(&browser, "/button/click", click("s", "b")).status, 200);
    weir.get(&browser, "/counts").problem(403, "out-of-scope");
}

#[test]
fn a_page_may_call_it_from_a_browser() {
    let weir = Stack::shared();
    let ann = weir.user("page-ann");
    let page = ("origin", "https://page.example");
    let asks = [
        page,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    // Browsers send no credentials with it.
    let preflight = weir.request("OPTIONS", None, "/button/click", &asks, b"");
    assert!(matches!(preflight.status, 200 | 204), "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("authorization"));

    // AWS adds the headers to what the authorizer refuses, too. Here 401 and 403 have none.
    let answers = [
        (200, weir.request("POST", Some(&ann), "/button/click", &[page], click("s", "b").as_bytes())),
        (422, weir.request("POST", Some(&ann), "/button/click", &[page], b"{}")),
        (404, weir.request("GET", Some(&ann), "/nowhere", &[page], b"")),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{status}");
        let readable = answer.header("access-control-expose-headers").unwrap();
        assert!(readable.contains("retry-after"), "{status}: {readable}");
    }
}

// ---- The way of an event ----

#[test]
fn an_event_is_counted_stored_and_filed_once_and_unchanged() {
    let weir = Stack::shared();
    let ann = weir.user("way-ann");
    let sent = r#"{"event_id":"e-1","session_id":"s1","button_id":"abc","price":1.50,"note":"Grüße, 世界"}"#;
    let answer = weir.post(&ann, "/button/click", sent);
    assert_eq!((answer.status, answer.json()), (200, json!({"message": "Received"})));

    // Counted, at once.
    let count = weir.get(&ann, "/button/click/count?button_id=abc").json();
    assert_eq!(count, json!({"count": 1}));
    assert_eq!(weir.counted("live#way-ann#0", "type#button_click").as_deref(), Some("1"));
    assert_eq!(weir.counted("key#way-ann#button_click#0", "key#abc").as_deref(), Some("1"));

    // Stored: in raw, as it was sent, behind what Weir knows of it.
    let lake = weir.filed("way-ann", 1);
    let batches = weir.batches("way-ann");
    let (batch, stored) = batches.first_key_value().unwrap();
    let line = text(stored);
    let received_at = serde_json::from_str::<Value>(&line).unwrap()["received_at"].as_i64().unwrap();
    let expected = sent.replacen('{', &format!(r#"{{"time":{received_at},"#), 1).replace(
        r#""session_id""#,
        &format!(
            r#""username":"way-ann","event_type":"button_click","received_at":{received_at},"session_id""#
        ),
    );
    assert_eq!((batches.len(), line.as_str()), (1, format!("{expected}\n").as_str()));

    // Filed: the same line, in the folder of its user, type and hour.
    let (key, filed) = lake.first_key_value().unwrap();
    assert_eq!((lake.len(), gunzip(filed)), (1, line));
    let time = jiff::Timestamp::from_millisecond(received_at).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    let (year, month, day, hour) = (time.year(), time.month(), time.day(), time.hour());
    let folder = format!("username=way-ann/button_click/year={year}/month={month}/day={day}/hour={hour}/");
    let name = key.strip_prefix(&folder).unwrap_or_else(|| panic!("{key} is not in {folder}"));
    let batch_name = batch.rsplit('/').next().unwrap().strip_suffix(".json.gz").unwrap();
    assert!(name.starts_with(batch_name) && name.ends_with(".json.gz"), "{name} is not from {batch}");

    // And settled.
    assert_eq!(weir.counts(&ann, "button_click"), (json!(1), json!(1)));
    assert_eq!(weir.counted("settled#way-ann", "type#button_click").as_deref(), Some("1"));
    let hours = format!("hour#{:010}", received_at / 3_600_000);
    assert_eq!(weir.counted("settled#way-ann#button_click", &hours).as_deref(), Some("1"));
}

#[test]
fn events_are_filed_by_user_and_type_and_no_user_sees_anothers() {
    let weir = Stack::shared();
    let (ann, bob) = (weir.user("types-ann"), weir.user("types-bob"));
    let events = json!([
        {"event_type": "button_click", "session_id": "s", "button_id": "b"},
        {"event_type": "page_view", "session_id": "s", "url": "https://page.example/"},
        {"event_type": "prediction", "prediction_id": "p", "model": "m", "label": "cat", "score": 0.5},
        {"event_type": "outcome", "prediction_id": "p", "label": "cat"},
        {"event_type": "page_view", "session_id": "s", "url": "https://page.example/2"},
    ]);
    let answer = weir.post(&ann, "/events", events.to_string());
    assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(5)), "{}", answer.text());
    assert_eq!(weir.post(&bob, "/web/page_view", r#"{"session_id":"s","url":"u"}"#).status, 200);

    let lake = weir.filed("types-ann", 5);
    for (event_type, events) in [("button_click", 1), ("page_view", 2), ("prediction", 1), ("outcome", 1)] {
        let folder = format!("username=types-ann/{event_type}/");
        let of_type = lake.iter().filter(|(key, _)| key.starts_with(&folder));
        let lines: usize = of_type.map(|(_, bytes)| gunzip(bytes).lines().count()).sum();
        assert_eq!(lines, events, "{event_type}");
        assert_eq!(weir.counts(&ann, event_type), (json!(events), json!(events)), "{event_type}");
    }
    weir.filed("types-bob", 1);
    assert_eq!(weir.counts(&bob, "page_view"), (json!(1), json!(1)));
    assert_eq!(weir.counts(&bob, "button_click"), (json!(0), json!(0)));
}

#[test]
fn a_rejected_event_is_answered_with_the_reason_and_kept() {
    let weir = Stack::shared();
    let ann = weir.user("rejected-ann");
    let sent = r#"{ "session_id": "s1" }"#;
    let problem = weir.post(&ann, "/button/click", sent).problem(422, "invalid-event");
    let lake = weir.filed("rejected-ann", 1);
    let (key, kept) = lake.first_key_value().unwrap();
    assert!(key.starts_with("username=rejected-ann/rejected/year="), "{key}");
    let kept: Value = serde_json::from_str(&gunzip(kept)).unwrap();
    assert_eq!((&kept["body"], &kept["claimed_type"]), (&json!(sent), &json!("button_click")));
    assert_eq!(kept["errors"], problem["errors"]);
    assert_eq!(weir.counts(&ann, "button_click"), (json!(0), json!(0)));
    assert_eq!(weir.counts(&ann, "rejected"), (json!(1), json!(1)));
}

#[test]
fn bodies_may_be_compressed_and_of_any_content_type() {
    let weir = Stack::shared();
    let ann = weir.user("bodies-ann");
    let post = |body: &[u8], headers: &[(&str, &str)]| {
        let answer = weir.request("POST", Some(&ann), "/button/click", headers, body);
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    };
    let zstd = |text: String| zstd::encode_all(text.as_bytes(), 3).unwrap();
    // What is not a text's content type reaches the collector in base64.
    let octets = ("content-type", "application/octet-stream");
    post(click("s", "plain").as_bytes(), &[octets]);
    post(&gzip(click("s", "gzip").as_bytes()), &[octets, ("content-encoding", "gzip")]);
    post(&zstd(click("s", "zstd")), &[octets, ("content-encoding", "zstd")]);
    // As `curl -d` sends it.
    post(click("s", "form").as_bytes(), &[("content-type", "application/x-www-form-urlencoded")]);
    let lake = weir.filed("bodies-ann", 4);
    let lines: String = lake.values().map(|bytes| gunzip(bytes)).collect();
    for button in ["plain", "gzip", "zstd", "form"] {
        assert!(lines.contains(&format!(r#""button_id":"{button}""#)), "{lines}");
    }
}

// ---- Filing ----

#[test]
fn a_batch_that_is_announced_again_is_filed_again_and_changes_nothing() {
    let weir = Stack::shared();
    let ann = weir.user("again-ann");
    let events = json!([
        {"event_type": "button_click", "session_id": "s", "button_id": "b"},
        {"event_type": "page_view", "session_id": "s", "url": "u"},
        {"event_type": "button_click", "session_id": "s", "button_id": "c"},
    ]);
    assert_eq!(weir.post(&ann, "/events", events.to_string()).status, 200);
    let lake = weir.filed("again-ann", 3);
    let counts = weir.get(&ann, "/counts").json();
    let batches = weir.batches("again-ann");
    let batch = batches.keys().next().unwrap();
    assert_eq!((batches.len(), weir.filings(batch)), (1, (1, 0)));

    // S3 may send a notification twice.
    let object = json!({"bucket": {"name": weir.output("RawBucket")}, "object": {"key": batch}});
    let record = json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": object});
    let notification = json!({"Records": [record]}).to_string();
    let message = json!({"QueueUrl": weir.output("RawQueue"), "MessageBody": notification});
    weir.aws.call("AmazonSQS.SendMessage", &message);
    weir.aws.eventually("the batch is filed again", || {
        (weir.queue_is_empty() && weir.filings(batch) == (1, 1)).then_some(())
    });
    assert_eq!(weir.lake("again-ann"), lake);
    assert_eq!(weir.get(&ann, "/counts").json(), counts);

    // And an operator may file it again.
    let next = format!("{batch}~");
    weir.weir(&format!("replay --engine aws --from '{batch}' --to '{next}'"));
    assert_eq!(weir.lake("again-ann"), lake);
    assert_eq!(weir.get(&ann, "/counts").json(), counts);
}

#[test]
fn a_batch_as_the_stream_writes_it_on_aws_is_filed() {
    let weir = Stack::shared();
    let ann = weir.user("stream-ann");
    // On AWS the stream gathers what comes in a while, of all users, into one compressed object, of several members
    // perhaps. Here it delivers each record at once and as it is, so this one is made by hand.
    let line = |username: &str, n: u64| {
        let received_at = 1_795_000_000_000 + n % 4 * 1_800_000;
        let event = json!({"event_id": format!("e-{n}"), "username": username, "event_type": "button_click",
            "received_at": received_at, "session_id": "s", "button_id": "b"});
        format!("{event}\n")
    };
    let half = |from: u64| {
        let whose = |n: u64| if n.is_multiple_of(5) { "stream-bob" } else { "stream-ann" };
        let lines = (from..from + 500).map(|n| line(whose(n), n));
        gzip(lines.collect::<String>().as_bytes())
    };
    let bytes = [half(0), half(500)].concat();
    weir.aws.put_object(weir.output("RawBucket"), "raw/2026/11/18/13/made-by-hand.json.gz", &bytes);
    let lake = weir.filed("stream-ann", 800);
    let mut folders: Vec<&str> = lake.keys().map(|key| key.rsplit_once('/').unwrap().0).collect();
    folders.dedup();
    assert_eq!(folders.len(), 2, "four half hours: {folders:?}");
    assert_eq!(weir.counts(&ann, "button_click").1, 800);
}

// ---- SQL ----

#[test]
fn athena_answers_with_the_events() {
    let weir = Stack::shared();
    let _lake = Stack::whole_lake();
    let ann = weir.user("sql-ann");
    for button in ["b", "a", "b"] {
        assert_eq!(weir.post(&ann, "/button/click", click("s", button)).status, 200);
    }
    let view = r#"{"session_id":"s","url":"https://page.example/"}"#;
    assert_eq!(weir.post(&ann, "/web/page_view", view).status, 200);
    let lake = weir.filed("sql-ann", 4);
    let folders: Vec<&str> = lake.keys().next().unwrap().split('/').collect();
    let number = |folder: &str| folder.split_once('=').unwrap().1.to_owned();
    let (year, month) = (number(folders[2]), number(folders[3]));
    // AWS looks into the folders of the table's own type only. Here a table sees the whole lake, of which the last
    // condition leaves what is meant.
    let rows = weir.query(&format!(
        "SELECT button_id, count(*) AS clicks FROM button_click
         WHERE username = 'sql-ann' AND year = {year} AND month = {month} AND button_id IS NOT NULL
         GROUP BY button_id ORDER BY button_id"
    ));
    assert_eq!(rows, [["a", "1"], ["b", "2"]]);
    let rows = weir.query(&format!(
        "SELECT url, count(*) FROM page_view
         WHERE username = 'sql-ann' AND year = {year} AND month = {month} AND url IS NOT NULL GROUP BY url"
    ));
    assert_eq!(rows, [["https://page.example/", "1"]]);
}
