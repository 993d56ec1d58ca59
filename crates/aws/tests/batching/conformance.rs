//! Batched ports keep every promise of the ports that they wrap. Here they wrap the embedded engine; in `batched.rs`, the
//! AWS engine.

use std::{sync::Arc, time::Duration};

use weir_aws::Batching;
use weir_core::{
    SystemClock, conformance as suite,
    ports::{LiveCounts, RecentRejected, SettledCounts, Stream},
};
use weir_embedded::{Deliveries, Embedded, Flush};

type Ports = (Arc<dyn Stream>, Arc<dyn LiveCounts>, Arc<dyn SettledCounts>, Arc<dyn RecentRejected>);

fn engine() -> (tempfile::TempDir, Embedded, Deliveries, Ports) {
    let folder = tempfile::tempdir().expect("there is room");
    let flush = Flush { every: Duration::from_millis(50), size: 1 << 20 };
    let (engine, deliveries) =
        Embedded::open(folder.path(), flush, Arc::new(SystemClock)).expect("it is a new folder");
    let (inner, batching) = (Arc::new(engine.clone()), Batching::default());
    let ports = (
        batching.stream(inner.clone()),
        batching.live_counts(inner.clone()),
        batching.settled_counts(inner.clone()),
        batching.recent_rejected(inner),
    );
    (folder, engine, deliveries, ports)
}

#[tokio::test(flavor = "multi_thread")]
async fn stream() {
    let (_folder, engine, _deliveries, (stream, ..)) = engine();
    let (raw, ..) = engine.folders();
    suite::stream::appending_nothing_is_fine(&*stream).await;
    suite::stream::durable_records_arrive_in_raw(&*stream, &raw).await;
    suite::stream::large_records_arrive_whole(&*stream, &raw).await;
    suite::stream::concurrent_appends_all_arrive(&*stream, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats() {
    let (_folder, engine, _deliveries, (stream, ..)) = engine();
    let (raw, ..) = engine.folders();
    suite::dedup::what_was_stored_is_a_duplicate_when_it_comes_again(&*stream, &raw).await;
    suite::dedup::repeats_in_one_append_are_duplicates_of_the_first(&*stream, &raw).await;
    suite::dedup::of_concurrent_repeats_one_is_stored(&*stream, &raw).await;
    suite::dedup::users_do_not_share_ids(&*stream, &raw).await;
    suite::dedup::records_without_an_identity_are_all_stored(&*stream, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_counts() {
    let (_folder, _engine, _deliveries, (_, live, ..)) = engine();
    suite::live_counts::what_was_never_counted_is_zero(&*live).await;
    suite::live_counts::raised_counts_are_read_at_once(&*live).await;
    suite::live_counts::concurrent_increments_all_count(&*live).await;
    suite::live_counts::users_do_not_see_each_other(&*live).await;
    suite::live_counts::any_text_is_a_key_of_its_own(&*live).await;
    suite::live_counts::keys_are_paged_largest_first(&*live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settled_counts() {
    let (_folder, engine, _deliveries, (_, _, settled, _)) = engine();
    suite::settled_counts::batches_add_up(&engine, &*settled).await;
    suite::settled_counts::a_batch_settles_once(&engine, &*settled).await;
    suite::settled_counts::a_race_settles_once(&engine, &*settled).await;
    suite::settled_counts::a_batch_of_any_number_of_partitions_settles(&engine, &*settled).await;
    suite::settled_counts::the_time_of_the_last_batch_is_known(&engine, &*settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_values() {
    let (_folder, engine, _deliveries, (stream, ..)) = engine();
    let latest = Batching::default().latest_values(Arc::new(engine));
    suite::latest::what_was_never_raised_is_none(&*latest).await;
    suite::latest::the_newest_stays_in_any_order(&*latest).await;
    suite::latest::of_one_version_the_first_stays(&*latest).await;
    suite::latest::concurrent_raises_end_with_the_newest(&*latest).await;
    suite::latest::users_and_types_do_not_share_values(&*latest).await;
    suite::latest::any_text_is_a_key_and_keys_are_listed_in_order(&*latest).await;
    suite::latest::hundreds_of_resources_are_raised_and_read_together(&*latest).await;
    suite::latest::stored_events_become_latest_values(&*stream, &*latest).await;
    suite::latest::a_repeat_raises_the_record_that_was_stored(&*stream, &*latest).await;
    suite::latest::a_repeat_in_one_append_raises_the_first(&*stream, &*latest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_rejected() {
    let (_folder, _engine, _deliveries, (stream, _, _, rejected)) = engine();
    suite::recent_rejected::the_latest_are_listed_newest_first(&*stream, &*rejected).await;
    suite::recent_rejected::only_the_latest_are_kept(&*stream, &*rejected).await;
    suite::recent_rejected::any_text_is_kept_as_it_was_sent(&*stream, &*rejected).await;
    suite::recent_rejected::a_user_sees_no_rejected_events_of_another(&*stream, &*rejected).await;
}
