//! The calls that latest values cost, and what becomes of them when DynamoDB says no.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::SystemTimeSource,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use weir_aws::{Aws, Batched, Batching, DynamoLatest};
use weir_core::{
    Event, EventType, LatestKey, Record, Stamp, SystemClock, SystemRandom, Timestamp, Username,
    latest::LatestValue,
    ports::{LatestValues, PortError, ReadLatest},
};
use weir_lambda::testing::{Call, StubAws};

fn ann() -> Username {
    "ann".parse().unwrap()
}

fn reading() -> EventType {
    "reading".parse().unwrap()
}

/// An event of a sensor, which arrived so many milliseconds after the first.
fn value(sensor: &str, later: u64, text: &str) -> LatestValue {
    let stamp = Stamp {
        username: ann(),
        event_id: "e-1".parse().unwrap(),
        received_at: Timestamp::saturating(1_795_179_605_007 + later),
    };
    let text = json!({"sensor_id": sensor, "text": text}).to_string();
    let record = Record::accepted(&Event::read(&text).unwrap(), &reading(), None, stamp);
    LatestValue::of(&record.latest_under(Some(LatestKey::of(sensor)))).unwrap()
}

fn latest(aws: &StubAws) -> DynamoLatest {
    let credentials = Credentials::new("test", "test", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws.url())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SystemTimeSource::new())
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .build();
    Aws::new(config, Arc::new(SystemRandom), Arc::new(SystemClock)).latest("weir-latest", "weir-lake")
}

/// What was asked for: `UpdateItem`, or `PUT /weir-lake/latest/…`.
fn operations(aws: &StubAws) -> Vec<String> {
    let operation = |call: &Call| match call.target.rsplit_once('.') {
        Some((_, operation)) => operation.to_owned(),
        None => format!("{} {}", call.method, call.path),
    };
    aws.calls().iter().map(operation).collect()
}

fn ok(answer: &Value) -> (u16, Vec<u8>) {
    (200, answer.to_string().into_bytes())
}

fn refused(code: &str) -> (u16, Vec<u8>) {
    (400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}")}).to_string().into_bytes())
}

#[tokio::test]
async fn a_call_costs_one_write_for_each_resource_and_one_read_for_a_hundred_keys() {
    let aws = StubAws::start(|_: &Call| ok(&json!({})));
    let latest = latest(&aws);
    assert!(latest.raise(&[]).await.is_empty());
    assert!(latest.read(&ann(), &reading(), &[]).await.unwrap().is_empty());
    assert!(aws.calls().is_empty());
    let values: Vec<_> = (0..100).map(|n| value(&format!("s-{}", n % 4), n, "")).collect();
    assert!(latest.raise(&values).await.into_iter().all(|raised| raised.is_ok()));
    assert_eq!(operations(&aws), ["UpdateItem"; 4]);
    for call in aws.calls() {
        let call = call.json();
        let time = call["ExpressionAttributeValues"][":time"]["N"].as_str().unwrap();
        let sensor = call["Key"]["sk"]["S"].as_str().unwrap().strip_prefix("key#s-").unwrap();
        let newest = 1_795_179_605_007 + 96 + sensor.parse::<u64>().unwrap();
        assert_eq!((time.parse::<u64>().unwrap(), &call["Key"]["pk"]["S"]), (newest, &json!("ann#reading")));
    }
    let keys: Vec<LatestKey> = (0..250).map(|n| LatestKey::of(&format!("s-{}", n % 200))).collect();
    let found = latest.read(&ann(), &reading(), &keys).await.unwrap();
    assert!(found.len() == 250 && found.iter().all(Option::is_none));
    assert_eq!(operations(&aws)[4..], ["BatchGetItem"; 2]);
}

#[tokio::test]
async fn a_large_event_costs_an_object_more_and_the_one_that_it_replaces_is_removed() {
    let aws = StubAws::start(|call: &Call| match call.target.as_str() {
        "" => (200, Vec::new()),
        _ => ok(&json!({"Attributes": {"object": {"S": "latest/ann/reading/of-before.json"}}})),
    });
    let latest = latest(&aws);
    latest.raise(&[value("s", 1, &"x".repeat(10_000))]).await.remove(0).unwrap();
    let operations = operations(&aws);
    let [put, update, delete] = &operations[..] else { panic!("{operations:?}") };
    assert!(put.starts_with("PUT /weir-lake/latest/ann/reading/"), "{put}");
    let object = aws.calls()[1].json()["ExpressionAttributeValues"][":content"]["S"].clone();
    assert_eq!(*put, format!("PUT /weir-lake/{}", object.as_str().unwrap()));
    assert_eq!(
        (&update[..], &delete[..]),
        ("UpdateItem", "DELETE /weir-lake/latest/ann/reading/of-before.json")
    );
    let signed = &aws.calls()[0].headers["authorization"];
    let signed = signed.to_str().unwrap();
    assert!(
        signed.contains("/us-east-1/s3/aws4_request") && signed.contains("x-amz-content-sha256"),
        "{signed}"
    );
}

#[tokio::test]
async fn a_value_that_is_not_newer_than_the_stored_one_is_no_failure() {
    let aws = StubAws::start(|_: &Call| refused("ConditionalCheckFailedException"));
    latest(&aws).raise(&[value("s", 1, "")]).await.remove(0).unwrap();
    assert_eq!(operations(&aws), ["UpdateItem"]);
}

#[tokio::test]
async fn throttling_is_a_failure_that_may_pass_and_a_missing_right_is_not() {
    for (code, may_pass) in [
        ("ProvisionedThroughputExceededException", true),
        ("ThrottlingException", true),
        ("AccessDeniedException", false),
    ] {
        let aws = StubAws::start(move |_: &Call| refused(code));
        let latest = latest(&aws);
        let raised = latest.raise(&[value("s", 1, "")]).await.remove(0);
        let read = latest.read(&ann(), &reading(), &[LatestKey::of("s")]).await;
        let listed = latest.list(&ann(), &reading(), None, 5).await;
        for error in [raised.unwrap_err(), read.unwrap_err(), listed.unwrap_err()] {
            assert_eq!(error.may_pass(), may_pass, "{error}");
        }
    }
}

#[tokio::test]
async fn keys_that_were_not_processed_are_asked_for_again() {
    let rounds = AtomicUsize::new(0);
    let aws = StubAws::start(move |call: &Call| {
        let keys = call.json()["RequestItems"]["weir-latest"]["Keys"].as_array().unwrap().clone();
        // It answers nothing at first, and then one key at a time.
        let answered = usize::from(rounds.fetch_add(1, Ordering::SeqCst) > 0);
        let item = |key: &Value| {
            let sensor = key["sk"]["S"].as_str().unwrap().strip_prefix("key#").unwrap();
            let event = String::from_utf8(value(sensor, 1, "").event().to_vec()).unwrap();
            let mut item = key.clone();
            item["event"] = json!({"S": event});
            item
        };
        let (found, left) = keys.split_at(answered);
        let mut answer = json!({"Responses": {"weir-latest": found.iter().map(item).collect::<Value>()}});
        if !left.is_empty() {
            answer["UnprocessedKeys"] = json!({"weir-latest": {"Keys": left, "ConsistentRead": true}});
        }
        ok(&answer)
    });
    let keys = ["a", "b", "c"].map(LatestKey::of);
    let found = latest(&aws).read(&ann(), &reading(), &keys).await.unwrap();
    assert_eq!(found, ["a", "b", "c"].map(|sensor| Some(value(sensor, 1, ""))));
    assert_eq!(operations(&aws), ["BatchGetItem"; 4]);
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_in_time_and_the_values_beside_it_are_raised() {
    let hangs = |call: &Call| call.body.windows(9).any(|part| part == b"key#hangs");
    let aws = StubAws::start_after(
        move |call| if hangs(call) { Duration::from_hours(1) } else { Duration::ZERO },
        |_: &Call| ok(&json!({})),
    );
    let latest = latest(&aws).raising_within(Duration::from_millis(500));
    let raised = latest.raise(&[value("hangs", 1, ""), value("s", 1, "")]).await;
    assert!(matches!(&raised[..], [Err(PortError::Unavailable { .. }), Ok(())]), "{raised:?}");
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_write_of_the_newest_and_one_read_of_each_key() {
    let aws = StubAws::start_after(|_| Duration::from_millis(30), |_: &Call| ok(&json!({})));
    let batching = Batching::default();
    let latest = batching.latest_values(Arc::new(latest(&aws)));
    let raised = join_all((0..100).map(|n| {
        let (latest, value) = (latest.clone(), value("s", n * 37 % 100, ""));
        async move { latest.raise(&[value]).await.remove(0) }
    }));
    assert!(raised.await.into_iter().all(|raised| raised.is_ok()));
    let newest = aws.calls().into_iter().map(|call| {
        let call = call.json();
        call["ExpressionAttributeValues"][":time"]["N"].as_str().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(newest.max(), Some(1_795_179_605_007 + 99));
    let writes = aws.calls().len();
    assert!(writes <= 8, "{writes} writes");
    let read = join_all((0..100).map(|n| {
        let keys = [LatestKey::of("s"), LatestKey::of(&format!("s-{}", n % 10))];
        let latest = latest.clone();
        async move { latest.read(&ann(), &reading(), &keys).await }
    }));
    assert!(read.await.into_iter().all(|read| read.is_ok_and(|found| found == [None, None])));
    let reads = aws.calls().len() - writes;
    assert!(reads <= 8, "{reads} reads");
    let stats = batching.take_stats();
    let counted = |calls: usize| Batched { requests: 100, calls: calls as u64 };
    assert_eq!((stats.increments, stats.reads), (counted(writes), counted(reads)));
}
