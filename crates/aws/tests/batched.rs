//! The AWS engine keeps every promise of the ports where calls of it are shared, too.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod emulator;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use base64::{Engine, prelude::BASE64_STANDARD};
use emulator::{COUNTS, Emulator, IDS, LAKE, LATEST, RAW, STREAM, shards};
use futures_util::future::join_all;
use serde_json::{Value, json};
use weir_aws::{Aws, Batched, Batching};
use weir_core::{
    Event, Record, Stamp, SystemClock, SystemRandom, Timestamp, conformance as suite, ports::Appended,
};
use weir_lambda::testing::{Call, StubAws};

/// How long anything is tried: machines are slow at times.
const PATIENCE: Duration = Duration::from_mins(1);

/// Callers are as patient.
fn batching() -> Batching {
    Batching::default().reading_within(PATIENCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn stream() {
    let emulator = Emulator::start().await;
    let stream = emulator.aws().stream(STREAM, PATIENCE);
    let ids = emulator.aws().recent_ids(IDS).marking_within(PATIENCE);
    let (stream, raw) = (batching().stream(Arc::new(stream.remembering(ids))), emulator.aws().raw(RAW));
    suite::stream::durable_records_arrive_in_raw(&*stream, &raw).await;
    suite::stream::large_records_arrive_whole(&*stream, &raw).await;
    suite::stream::concurrent_appends_all_arrive(&*stream, &raw).await;
    suite::dedup::what_was_stored_is_a_duplicate_when_it_comes_again(&*stream, &raw).await;
    suite::dedup::repeats_in_one_append_are_duplicates_of_the_first(&*stream, &raw).await;
    suite::dedup::of_concurrent_repeats_one_is_stored(&*stream, &raw).await;
    suite::dedup::users_do_not_share_ids(&*stream, &raw).await;
    suite::dedup::records_without_an_identity_are_all_stored(&*stream, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts() {
    let emulator = Emulator::start().await;
    for number in [1, 4] {
        let (counts, batching) = (Arc::new(emulator.aws().counts(COUNTS, shards(number))), batching());
        let live = batching.live_counts(counts.clone());
        suite::live_counts::what_was_never_counted_is_zero(&*live).await;
        suite::live_counts::raised_counts_are_read_at_once(&*live).await;
        suite::live_counts::concurrent_increments_all_count(&*live).await;
        suite::live_counts::users_do_not_see_each_other(&*live).await;
        suite::live_counts::any_text_is_a_key_of_its_own(&*live).await;
        suite::live_counts::keys_are_paged_largest_first(&*live).await;
        if number == 1 {
            let settled = batching.settled_counts(counts.clone());
            suite::settled_counts::batches_add_up(&*counts, &*settled).await;
            suite::settled_counts::a_batch_settles_once(&*counts, &*settled).await;
            suite::settled_counts::the_time_of_the_last_batch_is_known(&*counts, &*settled).await;
            let stream = batching.stream(Arc::new(emulator.aws().stream(STREAM, PATIENCE)));
            let rejected = batching.recent_rejected(counts);
            suite::recent_rejected::the_latest_are_listed_newest_first(&*stream, &*rejected).await;
            suite::recent_rejected::a_user_sees_no_rejected_events_of_another(&*stream, &*rejected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_values() {
    let emulator = Emulator::start().await;
    let inner = emulator.aws().latest(LATEST, LAKE).raising_within(PATIENCE);
    let (batching, ids) = (batching(), emulator.aws().recent_ids(IDS).marking_within(PATIENCE));
    let latest = batching.latest_values(Arc::new(inner));
    suite::latest::what_was_never_raised_is_none(&*latest).await;
    suite::latest::the_newest_stays_in_any_order(&*latest).await;
    suite::latest::of_one_version_the_first_stays(&*latest).await;
    suite::latest::concurrent_raises_end_with_the_newest(&*latest).await;
    suite::latest::users_and_types_do_not_share_values(&*latest).await;
    suite::latest::any_text_is_a_key_and_keys_are_listed_in_order(&*latest).await;
    suite::latest::events_of_any_size_are_kept_whole(&*latest).await;
    suite::latest::hundreds_of_resources_are_raised_and_read_together(&*latest).await;
    let stream = batching.stream(Arc::new(emulator.aws().stream(STREAM, PATIENCE).remembering(ids)));
    suite::latest::stored_events_become_latest_values(&*stream, &*latest).await;
    suite::latest::a_repeat_raises_the_record_that_was_stored(&*stream, &*latest).await;
    suite::latest::a_repeat_in_one_append_raises_the_first(&*stream, &*latest).await;
}

/// An event of so many bytes.
fn record(id: &str, bytes: usize) -> Record {
    let stamp = Stamp {
        username: "ann".parse().unwrap(),
        event_id: id.parse().unwrap(),
        received_at: Timestamp::saturating(1_795_179_605_007),
    };
    let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes));
    Record::accepted(&Event::read(&text).unwrap(), &"t".parse().unwrap(), None, stamp)
}

#[tokio::test]
async fn of_a_shared_call_of_which_firehose_refuses_a_part_each_caller_gets_its_own_outcome() {
    const MARK: &str = "e-0";
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = taken.clone();
    // It takes every entry but the one that has the mark.
    let aws = StubAws::start(move |call: &Call| {
        let answer = |entry: &Value| {
            let lines = BASE64_STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap();
            let lines = String::from_utf8(lines).unwrap();
            let ids: Vec<String> = lines
                .lines()
                .map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["event_id"].as_str().unwrap().to_owned()
                })
                .collect();
            if ids.iter().any(|id| id == MARK) {
                return json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"});
            }
            noted.lock().unwrap().extend(ids);
            json!({"RecordId": "1"})
        };
        let answers: Vec<Value> = call.json()["Records"].as_array().unwrap().iter().map(answer).collect();
        let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
        (200, json!({"FailedPutCount": failed, "RequestResponses": answers}).to_string().into_bytes())
    });
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws.url())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        )))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let inner = Aws::new(config, Arc::new(SystemRandom), Arc::new(SystemClock));
    let batching = batching();
    let stream = batching.stream(Arc::new(inner.stream("weir-stream", Duration::from_secs(1))));
    // More than an entry holds, of callers who have each some.
    let callers = (0..20).map(|n| {
        let records: Vec<Record> = (0..2).map(|m| record(&format!("e-{}", n * 2 + m), 50_000)).collect();
        let stream = stream.clone();
        async move { (records.clone(), stream.append(records).await) }
    });
    let told = join_all(callers).await;
    let (mut stored, mut refused) = (0, 0);
    for (records, outcomes) in told {
        assert_eq!(records.len(), outcomes.len());
        for (record, outcome) in records.iter().zip(outcomes) {
            let is_there = taken.lock().unwrap().contains(record.event_id().as_str());
            assert_eq!(matches!(outcome, Appended::Stored), is_there, "{}: {outcome:?}", record.event_id());
            *(if is_there { &mut stored } else { &mut refused }) += 1;
        }
    }
    assert!(stored > 0 && refused > 1, "{stored} {refused}: both happened, and the refusal met several");
    assert_eq!(batching.take_stats().appends, Batched { requests: 20, calls: 1 });
}
