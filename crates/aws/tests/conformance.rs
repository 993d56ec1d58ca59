//! The AWS engine keeps every promise of the ports, against a local AWS that speaks the real protocols.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod emulator;

use std::time::Duration;

use emulator::{COUNTS, Emulator, LAKE, RAW, STREAM, USERS, shards};
use weir_core::{conformance as suite, ports::Health};

#[tokio::test(flavor = "multi_thread")]
async fn stream() {
    let emulator = Emulator::start().await;
    let (stream, raw) = (emulator.aws().stream(STREAM, Duration::from_secs(10)), emulator.aws().raw(RAW));
    suite::stream::appending_nothing_is_fine(&stream).await;
    suite::stream::a_missing_batch_is_not_found(&raw).await;
    suite::stream::durable_records_arrive_in_raw(&stream, &raw).await;
    suite::stream::large_records_arrive_whole(&stream, &raw).await;
    suite::stream::concurrent_appends_all_arrive(&stream, &raw).await;
    emulator.aws().health(STREAM, COUNTS).check().await.unwrap();
    emulator.aws().health("no-such-stream", COUNTS).check().await.unwrap_err();
    emulator.aws().health(STREAM, "no-such-table").check().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn live_counts() {
    let emulator = Emulator::start().await;
    for counts in [emulator.aws().counts(COUNTS, shards(1)), emulator.aws().counts(COUNTS, shards(4))] {
        suite::live_counts::what_was_never_counted_is_zero(&counts).await;
        suite::live_counts::raised_counts_are_read_at_once(&counts).await;
        suite::live_counts::concurrent_increments_all_count(&counts).await;
        suite::live_counts::users_do_not_see_each_other(&counts).await;
        suite::live_counts::any_text_is_a_key_of_its_own(&counts).await;
        suite::live_counts::keys_are_paged_largest_first(&counts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settled_counts() {
    let emulator = Emulator::start().await;
    let counts = emulator.aws().counts(COUNTS, shards(1));
    suite::settled_counts::batches_add_up(&counts).await;
    suite::settled_counts::a_batch_settles_once(&counts).await;
    suite::settled_counts::a_race_settles_once(&counts).await;
    suite::settled_counts::a_batch_of_any_number_of_partitions_settles(&counts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users() {
    let emulator = Emulator::start().await;
    let users = emulator.aws().users(USERS);
    suite::users::a_stranger_is_not_found(&users).await;
    suite::users::a_user_is_found_until_removed(&users).await;
    suite::users::an_outdated_save_changes_nothing(&users).await;
    suite::users::concurrent_changes_all_count(&users).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lake_and_quarantine() {
    let emulator = Emulator::start().await;
    // With a bucket for each user, but none there: everything goes into the shared one, and nothing is lost.
    for lake in [emulator.aws().lake(LAKE, false), emulator.aws().lake(LAKE, true)] {
        suite::lake::what_was_never_put_is_not_found(&lake).await;
        suite::lake::an_object_is_read_back_as_it_was_put(&lake).await;
        suite::lake::putting_again_replaces(&lake).await;
        suite::lake::a_content_that_breaks_off_leaves_nothing(&lake).await;
        suite::lake::objects_are_listed_in_pages(&lake).await;
    }
    suite::quarantine::what_was_put_aside_is_read_back(&emulator.aws().quarantine(RAW)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_bucket_is_used_where_it_exists() {
    use weir_core::{Hour, Partition, ports::Lake};
    let emulator = Emulator::start().await;
    emulator.s3().create_bucket().bucket("ann-raw-events").send().await.unwrap();
    let lake = emulator.aws().lake(LAKE, true);
    let partition = Partition {
        username: "ann".parse().unwrap(),
        event_type: "a".parse().unwrap(),
        hour: Hour::from_epoch(498_000).unwrap(),
    };
    for length in [10_u64, 9 << 20] {
        let batch = suite::some_batch().id();
        let bytes = vec![7; usize::try_from(length).unwrap()];
        let content = Box::pin(futures_util::stream::iter([Ok(bytes.into())]));
        lake.put(&partition, &batch, length, content).await.unwrap();
        let head =
            emulator.s3().head_object().bucket("ann-raw-events").key(partition.object(&batch)).send().await;
        assert_eq!(head.unwrap().content_length().and_then(|n| u64::try_from(n).ok()), Some(length));
        assert!(lake.open(&partition, &batch).await.is_ok());
    }
    assert!(lake.list(None, 10).await.unwrap().is_empty(), "nothing is in the shared bucket");
}
