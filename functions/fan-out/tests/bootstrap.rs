//! The real program on a Runtime API, with buckets and a table that answer as the test says.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_lambda::testing::{Call, Function, Outcome, StubAws};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fan-out");

const VARIABLES: [(&str, &str); 4] = [
    ("WEIR_RAW_BUCKET", "weir-raw"),
    ("WEIR_LAKE_BUCKET", "weir-lake"),
    ("WEIR_COUNTS_TABLE", "weir-counts"),
    ("WEIR_LOG", "trace"),
];

/// A batch of two users' events and a line that is not an event.
fn batch() -> Vec<u8> {
    let line = |user: &str, id: &str| {
        format!(
            r#"{{"username":"{user}","event_type":"button_click","event_id":"{id}","received_at":1795179605007,"button_id":"b"}}"#
        )
    };
    let text = format!("{}\n{}\n{}\nbroken\n", line("ethan", "1"), line("ada", "2"), line("ethan", "3"));
    zipped(&text)
}

fn zipped(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// S3's answer for a missing object, such as `sealed/noted_until` where no day was ever sealed.
fn no_such_key() -> (u16, Vec<u8>) {
    let text = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>";
    (404, text.to_vec())
}

/// An AWS whose raw bucket holds the batch under two names, one of which has to be decoded; no other can be read.
fn aws() -> StubAws {
    StubAws::start(|call: &Call| match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/weir-raw/raw/a.gz" | "/weir-raw/raw/a%20b%2Bc.gz") => (200, batch()),
        ("GET", _) => no_such_key(),
        ("PUT", _) => (200, Vec::new()),
        _ => (200, b"{}".to_vec()),
    })
}

fn function(aws: &StubAws) -> Function {
    let url = aws.url();
    let variables: Vec<_> = VARIABLES.into_iter().chain([("AWS_ENDPOINT_URL", url.as_str())]).collect();
    Function::start(PROGRAM, &variables)
}

fn s3(keys: &[&str]) -> Value {
    let record = |key: &&str| {
        json!({
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "weir-raw"}, "object": {"key": key, "size": 100}},
        })
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
}

fn sqs(bodies: &[(&str, Value)]) -> Value {
    let record = |(id, body): &(&str, Value)| json!({"messageId": id, "eventSource": "aws:sqs", "body": body.to_string()});
    json!({"Records": bodies.iter().map(record).collect::<Vec<_>>()})
}

fn test_event() -> Value {
    json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "weir-raw"})
}

fn puts(aws: &StubAws) -> Vec<String> {
    let mut puts: Vec<_> =
        aws.calls().into_iter().filter(|call| call.method == "PUT").map(|call| call.path).collect();
    puts.sort();
    puts
}

#[test]
fn a_missing_variable_is_named() {
    for name in ["WEIR_RAW_BUCKET", "WEIR_LAKE_BUCKET", "WEIR_COUNTS_TABLE"] {
        let others: Vec<_> = VARIABLES.into_iter().filter(|(other, _)| *other != name).collect();
        let mut function = Function::start(PROGRAM, &others);
        let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
        assert_eq!(told["errorMessage"], format!("the environment variable {name} is not set"));
        assert!(!function.succeeded());
    }
}

#[test]
fn a_batch_is_filed_and_measured() {
    let aws = aws();
    let mut function = function(&aws);
    assert_eq!(function.answer(sqs(&[("one", s3(&["raw/a.gz"]))])), json!({"batchItemFailures": []}));
    let puts = puts(&aws);
    let folder = "button_click/year=2026/month=11/day=20/hour=13/a-";
    assert_eq!(puts.len(), 3, "{puts:?}");
    assert!(
        puts[0].starts_with(&format!("/weir-lake/username%3Dada/{}", folder.replace('=', "%3D"))),
        "{puts:?}"
    );
    assert!(
        puts[1].starts_with(&format!("/weir-lake/username%3Dethan/{}", folder.replace('=', "%3D"))),
        "{puts:?}"
    );
    assert!(puts[2].starts_with("/weir-raw/quarantine/a-"), "{puts:?}");
    assert!(aws.calls().iter().any(|call| call.target == "DynamoDB_20120810.TransactWriteItems"));

    let line = function.measured(|_| true);
    for (name, count) in [
        ("BatchesFiled", 1),
        ("EventsFiled", 3),
        ("PartitionsWritten", 2),
        ("BatchesQuarantined", 1),
        ("LinesQuarantined", 1),
    ] {
        assert_eq!(line[name], count, "{line}");
    }
    let error = function.logged(|line| line["level"] == "ERROR");
    assert_eq!((&error["batch"], &error["lines"]), (&json!("raw/a.gz"), &json!(1)));
    assert_eq!(error["span"]["request_id"], "request-1");
    assert!(!function.told().contains("ethan"), "{}", function.told());
}

#[test]
fn each_message_of_a_queue_is_answered_for() {
    let aws = aws();
    let mut function = function(&aws);
    let answer = function.answer(sqs(&[
        ("good", s3(&["raw/a.gz"])),
        ("gone", s3(&["raw/no-such.gz"])),
        ("half", s3(&["raw/no-such.gz", "raw/a+b%2Bc.gz"])),
        ("test", test_event()),
        ("nonsense", json!({"hello": "world"})),
        ("elsewhere", s3(&["errors/a.gz"])),
    ]));
    let failed = |id: &str| json!({"itemIdentifier": id});
    assert_eq!(answer, json!({"batchItemFailures": [failed("gone"), failed("half"), failed("nonsense")]}));
    assert_eq!(puts(&aws).len(), 6, "two batches were filed");
    assert_eq!(function.measured(|_| true)["BatchesFailed"], 3);
    function.logged(|line| line["level"] == "ERROR" && line["batch"] == "raw/no-such.gz");
    function.logged(|line| line["level"] == "ERROR" && line["message"] == "a notification is not understood");
    function.logged(|line| line["level"] == "WARN" && line["key"] == "errors/a.gz");
}

#[test]
fn a_users_bucket_that_is_a_strangers_or_elsewhere_stops_nothing_and_their_events_go_into_the_lake() {
    for (status, code) in [(404, "NoSuchBucket"), (403, "AccessDenied"), (301, "PermanentRedirect")] {
        let aws = StubAws::start(move |call: &Call| match (call.method.as_str(), call.path.as_str()) {
            ("GET", path) if path.starts_with("/weir-raw/") => (200, batch()),
            ("GET", _) => no_such_key(),
            ("PUT", path) if path.starts_with("/ethan-raw-events/") => {
                (status, format!("<Error><Code>{code}</Code><Message>No.</Message></Error>").into_bytes())
            }
            _ => (200, b"{}".to_vec()),
        });
        let url = aws.url();
        let per_user = [("AWS_ENDPOINT_URL", url.as_str()), ("WEIR_BUCKET_PER_USER", "true")];
        let variables: Vec<_> = VARIABLES.into_iter().chain(per_user).collect();
        let mut function = Function::start(PROGRAM, &variables);
        let answer = function.answer(sqs(&[("one", s3(&["raw/a.gz"]))]));
        assert_eq!(answer, json!({"batchItemFailures": []}), "{code}");
        let puts = puts(&aws);
        for bucket in ["/ada-raw-events/", "/weir-lake/username%3Dethan/"] {
            assert_eq!(puts.iter().filter(|put| put.starts_with(bucket)).count(), 1, "{code}: {puts:?}");
        }
        let error = function.logged(|line| line["level"] == "ERROR" && line["bucket"] == "ethan-raw-events");
        assert_eq!((&error["code"], &error["instead"]), (&json!(code), &json!("weir-lake")));
    }
}

/// As on AWS, where a put takes about 100 ms however small it is. `WEIR_PARTITIONS=20000` is the size that docs/SCALE.md speaks of.
#[test]
fn a_batch_of_thousands_of_users_is_filed_in_a_part_of_the_functions_time() {
    let partitions = std::env::var("WEIR_PARTITIONS").map_or(2_000, |number| number.parse().unwrap());
    let line = |user: usize| {
        format!(
            r#"{{"username":"user{user}","event_type":"button_click","event_id":"{user}","received_at":1795179605007,"button_id":"b"}}"#
        ) + "\n"
    };
    let object = zipped(&(0..partitions).map(line).collect::<String>());
    let wait = |call: &Call| Duration::from_millis(if call.method == "PUT" { 100 } else { 20 });
    let aws = StubAws::start_after(wait, move |call: &Call| match call.method.as_str() {
        "GET" if call.path.starts_with("/weir-raw/") => (200, object.clone()),
        "GET" => no_such_key(),
        _ => (200, b"{}".to_vec()),
    });
    let mut function = function(&aws);
    assert_eq!(function.answer(sqs(&[("one", s3(&["raw/a.gz"]))])), json!({"batchItemFailures": []}));
    assert_eq!(function.measured(|_| true)["PartitionsWritten"], partitions);
    assert_eq!(puts(&aws).len(), partitions);
}

#[test]
fn a_damaged_batch_is_quarantined_alarms_and_is_not_tried_again() {
    let aws = StubAws::start(|call: &Call| match call.method.as_str() {
        "GET" if call.path.starts_with("/weir-raw/") => (200, batch()[..100].to_vec()),
        "GET" => no_such_key(),
        _ => (200, b"{}".to_vec()),
    });
    let mut function = function(&aws);
    let answer = function.answer(sqs(&[("one", s3(&["raw/a.gz"]))]));
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let puts = puts(&aws);
    assert!(puts.len() == 1 && puts[0].starts_with("/weir-raw/quarantine/a-"), "{puts:?}");
    assert!(aws.calls().iter().all(|call| call.target.is_empty()), "nothing is settled");
    assert_eq!(function.measured(|_| true)["BatchesQuarantined"], 1);
    let error = function.logged(|line| line["level"] == "ERROR");
    assert_eq!(error["message"], "a batch is damaged: nothing of it is filed");
    assert_eq!((&error["batch"], error["damage"].is_string()), (&json!("raw/a.gz"), true));
}

#[test]
fn a_function_whose_time_is_over_ends_by_itself_and_the_message_comes_again_and_is_filed() {
    let line = |user: usize| {
        format!(
            r#"{{"username":"user{user}","event_type":"button_click","event_id":"{user}","received_at":1795179605007,"button_id":"b"}}"#
        ) + "\n"
    };
    let object = zipped(&(0..300).map(line).collect::<String>());
    // No put is answered in the first invocation.
    let is_first = Arc::new(AtomicBool::new(true));
    let hangs = is_first.clone();
    let wait = move |call: &Call| match call.method.as_str() {
        "PUT" if hangs.load(Ordering::SeqCst) => Duration::from_mins(1),
        _ => Duration::ZERO,
    };
    let aws = StubAws::start_after(wait, move |call: &Call| match call.method.as_str() {
        "GET" if call.path.starts_with("/weir-raw/") => (200, object.clone()),
        "GET" => no_such_key(),
        _ => (200, b"{}".to_vec()),
    });
    let mut function = function(&aws);
    let event = sqs(&[("one", s3(&["raw/a.gz"])), ("two", s3(&["raw/b.gz"]))]);
    let failed = json!({"batchItemFailures": [{"itemIdentifier": "one"}, {"itemIdentifier": "two"}]});
    assert_eq!(function.invoke_within(event.clone(), Duration::from_secs(6)), Outcome::Answer(failed));
    let error = function.logged(|line| line["level"] == "ERROR");
    assert_eq!(error["message"], "a batch cannot be filed");
    assert_eq!(error["error"], "the time of the invocation was over before it was filed");
    assert_eq!(function.measured(|_| true)["BatchesFailed"], 2);
    assert!(aws.calls().iter().all(|call| call.target.is_empty()), "nothing is settled");

    is_first.store(false, Ordering::SeqCst);
    let before = puts(&aws).len();
    let done = json!({"batchItemFailures": []});
    assert_eq!(function.invoke_within(event, Duration::from_secs(30)), Outcome::Answer(done));
    assert_eq!(puts(&aws).len() - before, 600);
}

#[test]
fn an_event_that_is_not_of_a_queue_is_an_error() {
    let aws = aws();
    let mut function = function(&aws);
    for event in [s3(&["raw/a.gz"]), test_event(), json!("hello")] {
        let Outcome::Error(error) = function.invoke(event) else { panic!() };
        assert_eq!(error["errorMessage"], "the event is not one of an SQS queue");
    }
    assert!(aws.calls().is_empty());
    function.logged(|line| line["level"] == "ERROR" && line["message"] == "a notification is not understood");
}
