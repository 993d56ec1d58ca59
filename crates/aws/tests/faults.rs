//! The AWS engine keeps the ports' promises where calls are throttled, fail, break and are slow.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod emulator;
mod faulty;
mod sealed;

use std::{sync::Arc, time::Duration};

use emulator::{COUNTS, Emulator, IDS, LAKE, LATEST, RAW, STREAM, USERS, shards};
use faulty::{Fault, Faulty, Plan};
use weir_aws::Aws;
use weir_core::{Clock, SeededRandom, SystemClock, conformance as suite};

/// One call of eight goes wrong: the SDK's three tries, or Weir's own, get past that nearly always.
fn faulty(seed: u64, faults: &'static [Fault]) -> Faulty {
    Faulty::new(Plan { seed, faults, of_256: 32 })
}

/// Whether the suites shall run once more: until each of the faults has happened, which chance alone decides.
fn once_more(faulty: &Faulty, wanted: &[Fault], round: &mut usize) -> bool {
    *round += 1;
    let all_happened = faulty.done().len() == wanted.len();
    assert!(all_happened || *round <= 50, "{:?}", faulty.done());
    *round == 1 || !all_happened
}

fn aws(emulator: &Emulator, faulty: &Faulty) -> Aws {
    Aws::new(emulator.config(Some(faulty.client())), Arc::new(SeededRandom::new(7)), Arc::new(SystemClock))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_stores_each_record_once_unless_an_answer_is_lost() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::Slow, Fault::Partial];
    let emulator = Emulator::start().await;
    let faulty = Faulty::new(Plan { seed: 1, faults: FAULTS, of_256: 128 });
    let (stream, raw) =
        (aws(&emulator, &faulty).stream(STREAM, Duration::from_mins(1)), emulator.aws().raw(RAW));
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::stream::durable_records_arrive_in_raw(&stream, &raw).await;
        suite::stream::large_records_arrive_whole(&stream, &raw).await;
        suite::stream::concurrent_appends_all_arrive(&stream, &raw).await;
    }
    assert!(stream.retries().take() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_claimed_and_marked_once_even_if_answers_are_lost() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::DropAfter, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(6, FAULTS);
    let ids = aws(&emulator, &faulty).recent_ids(IDS);
    // What takes too long to be marked is stored again, and machines are slow at times.
    let ids = ids.marking_within(Duration::from_mins(1));
    // The stream itself has no faults: one whose answer is lost stores its events again.
    let stream = emulator.aws().stream(STREAM, Duration::from_secs(20)).remembering(ids);
    let raw = emulator.aws().raw(RAW);
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::dedup::what_was_stored_is_a_duplicate_when_it_comes_again(&stream, &raw).await;
        suite::dedup::repeats_in_one_append_are_duplicates_of_the_first(&stream, &raw).await;
        suite::dedup::of_concurrent_repeats_one_is_stored(&stream, &raw).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_counts_are_exact_where_nothing_took_effect_unseen() {
    const FAULTS: &[Fault] = &[Fault::Throttle, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(2, FAULTS);
    let counts = aws(&emulator, &faulty).counts(COUNTS, shards(2));
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::live_counts::raised_counts_are_read_at_once(&counts).await;
        suite::live_counts::concurrent_increments_all_count(&counts).await;
        suite::live_counts::keys_are_paged_largest_first(&counts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_settles_once_even_if_answers_are_lost() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::DropAfter, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(3, FAULTS);
    let counts = aws(&emulator, &faulty).counts(COUNTS, shards(1));
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::settled_counts::a_race_settles_once(&counts, &counts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_value_stays_even_if_answers_are_lost() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::DropAfter, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(8, FAULTS);
    let latest = aws(&emulator, &faulty).latest(LATEST, LAKE).raising_within(Duration::from_mins(1));
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::latest::the_newest_stays_in_any_order(&latest).await;
        suite::latest::of_one_version_the_first_stays(&latest).await;
        suite::latest::concurrent_raises_end_with_the_newest(&latest).await;
        suite::latest::events_of_any_size_are_kept_whole(&latest).await;
        suite::latest::only_a_value_that_was_read_is_removed(&latest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_answer_stays_even_if_answers_of_s3_are_lost() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::DropAfter, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(9, FAULTS);
    let answers = Arc::new(aws(&emulator, &faulty).answers_admin(LAKE));
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::answers::publishing_again_swaps_the_pointer(&*answers).await;
        suite::answers::a_publication_that_breaks_off_changes_nothing(&*answers).await;
        suite::answers::a_generation_is_read_whole_while_others_replace_it(&*answers).await;
        suite::answers::what_was_computed_earlier_never_replaces_what_was_computed_later(answers.clone())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_days_stay_whole_even_if_answers_of_s3_are_lost() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::DropAfter, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(10, FAULTS);
    let days = aws(&emulator, &faulty).sealed_days(LAKE);
    let now = SystemClock.now();
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        let turn = days.turn(&format!("round {round}"), now, now.plus_millis(60_000)).await.unwrap();
        let turn = turn.expect("the one before was given back");
        suite::sealed_days::a_manifest_is_read_as_it_was_swapped_in(&days).await;
        suite::sealed_days::the_announced_day_is_read_back(&days).await;
        suite::sealed_days::notes_are_kept_by_day_and_removed_one_by_one(&days).await;
        suite::sealed_days::generations_come_and_go_one_by_one(&days, &sealed::make(&emulator)).await;
        suite::sealed_days::a_type_leaves_a_generation_and_the_rest_stays(&days, &sealed::make(&emulator))
            .await;
        suite::sealed_days::a_reader_sees_one_manifest_or_the_next(Arc::new(days.clone())).await;
        turn.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_objects_survive_every_fault() {
    const FAULTS: &[Fault] =
        &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::DropAfter, Fault::Slow];
    let emulator = Emulator::start().await;
    let faulty = faulty(4, FAULTS);
    let aws = aws(&emulator, &faulty);
    // Where an answer is lost, it is unknown whether a user was there before, or whose change it was if another caller
    // saved in between: not here.
    let other = self::faulty(5, &[Fault::Throttle, Fault::ServerError, Fault::DropBefore, Fault::Slow]);
    let users = self::aws(&emulator, &other).users(USERS);
    suite::users::a_user_is_found_until_removed(&users).await;
    suite::users::concurrent_changes_all_count(&users).await;
    let (lake, quarantine) = (aws.lake(LAKE, false), aws.quarantine(RAW));
    let mut round = 0;
    while once_more(&faulty, FAULTS, &mut round) {
        suite::lake::an_object_is_read_back_as_it_was_put(&lake).await;
        suite::lake::putting_again_replaces(&lake).await;
        suite::quarantine::what_was_put_aside_is_read_back(&quarantine).await;
    }
    suite::lake::objects_are_listed_in_pages(&lake).await;
}
