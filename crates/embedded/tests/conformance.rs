//! The embedded engine keeps every promise of the ports.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use weir_core::{SystemClock, conformance as suite, ports::Health};
use weir_embedded::{AnswersFolder, Deliveries, Embedded, Flush, SealedFolder, UserStore};

/// An engine on a folder of its own; batches are cut after 50 ms.
fn engine() -> (tempfile::TempDir, Embedded, Deliveries) {
    let folder = tempfile::tempdir().unwrap();
    let flush = Flush { every: Duration::from_millis(50), size: 1 << 20 };
    let (engine, deliveries) = Embedded::open(folder.path(), flush, Arc::new(SystemClock)).unwrap();
    (folder, engine, deliveries)
}

#[tokio::test(flavor = "multi_thread")]
async fn stream() {
    let (_folder, engine, _deliveries) = engine();
    let (raw, ..) = engine.folders();
    suite::stream::appending_nothing_is_fine(&engine).await;
    suite::stream::a_missing_batch_is_not_found(&raw).await;
    suite::stream::durable_records_arrive_in_raw(&engine, &raw).await;
    suite::stream::large_records_arrive_whole(&engine, &raw).await;
    suite::stream::concurrent_appends_all_arrive(&engine, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats() {
    let (_folder, engine, _deliveries) = engine();
    let (raw, ..) = engine.folders();
    suite::dedup::what_was_stored_is_a_duplicate_when_it_comes_again(&engine, &raw).await;
    suite::dedup::repeats_in_one_append_are_duplicates_of_the_first(&engine, &raw).await;
    suite::dedup::of_concurrent_repeats_one_is_stored(&engine, &raw).await;
    suite::dedup::users_do_not_share_ids(&engine, &raw).await;
    suite::dedup::records_without_an_identity_are_all_stored(&engine, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_counts() {
    let (_folder, engine, _deliveries) = engine();
    suite::live_counts::what_was_never_counted_is_zero(&engine).await;
    suite::live_counts::raised_counts_are_read_at_once(&engine).await;
    suite::live_counts::concurrent_increments_all_count(&engine).await;
    suite::live_counts::users_do_not_see_each_other(&engine).await;
    suite::live_counts::any_text_is_a_key_of_its_own(&engine).await;
    suite::live_counts::keys_are_paged_largest_first(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settled_counts() {
    let (_folder, engine, _deliveries) = engine();
    suite::settled_counts::batches_add_up(&engine, &engine).await;
    suite::settled_counts::a_batch_settles_once(&engine, &engine).await;
    suite::settled_counts::a_race_settles_once(&engine, &engine).await;
    suite::settled_counts::a_batch_of_any_number_of_partitions_settles(&engine, &engine).await;
    suite::settled_counts::the_time_of_the_last_batch_is_known(&engine, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_rejected() {
    let (_folder, engine, _deliveries) = engine();
    suite::recent_rejected::the_latest_are_listed_newest_first(&engine, &engine).await;
    suite::recent_rejected::only_the_latest_are_kept(&engine, &engine).await;
    suite::recent_rejected::any_text_is_kept_as_it_was_sent(&engine, &engine).await;
    suite::recent_rejected::a_user_sees_no_rejected_events_of_another(&engine, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_events() {
    let (_folder, engine, _deliveries) = engine();
    suite::newest::events_are_listed_as_soon_as_they_are_stored(&engine, &engine).await;
    suite::newest::pages_have_every_event_once(&engine, &engine, async || engine.flush().await.unwrap())
        .await;
    suite::newest::a_user_sees_no_event_of_another(&engine, &engine).await;
    suite::newest::pages_of_large_events_are_bounded(&engine, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn following_events() {
    let (_folder, engine, _deliveries) = engine();
    let deliver = async || engine.flush().await.unwrap();
    suite::following::events_come_once_and_in_order_from_any_position(&engine, &engine, deliver).await;
    suite::following::a_user_follows_no_event_of_another(&engine, &engine).await;
    suite::following::pages_of_many_events_are_bounded(&engine, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_values() {
    let (_folder, engine, _deliveries) = engine();
    suite::latest::what_was_never_raised_is_none(&engine).await;
    suite::latest::the_newest_stays_in_any_order(&engine).await;
    suite::latest::of_one_version_the_first_stays(&engine).await;
    suite::latest::concurrent_raises_end_with_the_newest(&engine).await;
    suite::latest::users_and_types_do_not_share_values(&engine).await;
    suite::latest::any_text_is_a_key_and_keys_are_listed_in_order(&engine).await;
    suite::latest::events_of_any_size_are_kept_whole(&engine).await;
    suite::latest::hundreds_of_resources_are_raised_and_read_together(&engine).await;
    suite::latest::only_a_value_that_was_read_is_removed(&engine).await;
    suite::latest::stored_events_become_latest_values(&engine, &engine).await;
    suite::latest::a_repeat_raises_the_record_that_was_stored(&engine, &engine).await;
    suite::latest::a_repeat_in_one_append_raises_the_first(&engine, &engine).await;
    suite::latest::the_largest_event_is_a_latest_value(&engine, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn books() {
    let (folder, engine, _deliveries) = engine();
    suite::books::the_books_have_every_count(&engine, &engine, &engine).await;
    let (on_disk, ..) = weir_embedded::open_books(folder.path()).unwrap();
    suite::books::the_books_have_every_count(&on_disk, &engine, &engine).await;
    suite::books::corrections_are_added(&engine, &engine).await;
    suite::books::no_count_falls_below_zero(&engine, &engine).await;
    suite::books::corrections_at_once_take_no_more_than_is_there(&engine, &engine).await;
    suite::books::corrections_lose_no_concurrent_increments(&engine, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users() {
    let folder = tempfile::tempdir().unwrap();
    let users = UserStore::open(folder.path()).unwrap();
    assert!(users.is_new());
    suite::users::a_stranger_is_not_found(&users).await;
    suite::users::a_user_is_found_until_removed(&users).await;
    suite::users::an_outdated_save_changes_nothing(&users).await;
    suite::users::concurrent_changes_all_count(&users).await;
    assert!(!UserStore::open(folder.path()).unwrap().is_new());
}

#[tokio::test(flavor = "multi_thread")]
async fn lake_and_quarantine() {
    let (_folder, engine, _deliveries) = engine();
    let (_, lake, quarantine) = engine.folders();
    suite::lake::what_was_never_put_is_not_found(&lake).await;
    suite::lake::an_object_is_read_back_as_it_was_put(&lake).await;
    suite::lake::putting_again_replaces(&lake).await;
    suite::lake::a_content_that_breaks_off_leaves_nothing(&lake).await;
    suite::lake::objects_are_listed_in_pages(&lake).await;
    suite::lake::a_users_objects_are_listed_and_open_by_their_paths(&lake).await;
    suite::quarantine::what_was_put_aside_is_read_back(&quarantine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers() {
    let folder = tempfile::tempdir().unwrap();
    let answers = AnswersFolder::of(folder.path());
    suite::answers::what_was_never_published_is_not_there(&answers).await;
    suite::answers::what_was_published_is_read_by_path_and_by_slot(&answers).await;
    suite::answers::a_large_generation_is_read_at_both_ends(&answers).await;
    suite::answers::published_answers_are_listed(&answers).await;
    suite::answers::publishing_again_swaps_the_pointer(&answers).await;
    suite::answers::a_publication_that_breaks_off_changes_nothing(&answers).await;
    suite::answers::a_generation_is_read_whole_while_others_replace_it(&answers).await;
    suite::answers::no_reader_sees_half_of_two_generations(Arc::new(answers.clone()), 200).await;
    suite::answers::what_is_no_generation_is_an_error(&answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_days() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = SealedFolder::of(folder.path());
    let make = |day, number, covered: &BTreeSet<String>| {
        for of_type in SealedFolder::of_type(day, number, &"click".parse().unwrap()) {
            std::fs::create_dir_all(sealed.path().join(&of_type)).unwrap();
            std::fs::write(sealed.path().join(of_type).join("data_0.parquet"), "rows").unwrap();
        }
        sealed.finish(day, number, covered).unwrap();
    };
    suite::sealed_days::all(&sealed, &make).await;
    suite::sealed_days::a_reader_sees_one_manifest_or_the_next(Arc::new(sealed.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health() {
    let (_folder, engine, _deliveries) = engine();
    engine.check().await.unwrap();
    engine.check().await.unwrap();
}
