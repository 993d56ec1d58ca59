//! The AWS engine keeps every promise of the ports, against a local AWS that speaks the real protocols.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod emulator;
mod sealed;

use std::{sync::Arc, time::Duration};

use emulator::{COUNTS, Emulator, IDS, LAKE, LATEST, RAW, STREAM, USERS, shards};
use futures_util::future::join_all;
use weir_aws::Aws;
use weir_core::{
    Clock, SystemClock, SystemRandom, Timestamp,
    answers::{KEPT_MILLIS, Published, layout::Writer},
    conformance as suite,
    ports::{AnswersAdmin, Health, Publication},
};

/// How long anything is tried: machines are slow at times.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn stream() {
    let emulator = Emulator::start().await;
    let (stream, raw) = (emulator.aws().stream(STREAM, PATIENCE), emulator.aws().raw(RAW));
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
async fn repeats() {
    let emulator = Emulator::start().await;
    let remembering = |stream| {
        let stream = emulator.aws().stream(stream, PATIENCE);
        let ids = emulator.aws().recent_ids(IDS);
        stream.remembering(ids.marking_within(PATIENCE))
    };
    let (stream, broken, raw) = (remembering(STREAM), remembering("no-such-stream"), emulator.aws().raw(RAW));
    suite::dedup::what_was_stored_is_a_duplicate_when_it_comes_again(&stream, &raw).await;
    suite::dedup::repeats_in_one_append_are_duplicates_of_the_first(&stream, &raw).await;
    suite::dedup::of_concurrent_repeats_one_is_stored(&stream, &raw).await;
    suite::dedup::users_do_not_share_ids(&stream, &raw).await;
    suite::dedup::records_without_an_identity_are_all_stored(&stream, &raw).await;
    suite::dedup::what_was_refused_can_be_sent_again(&broken, &stream, &raw).await;
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
    suite::settled_counts::batches_add_up(&counts, &counts).await;
    suite::settled_counts::a_batch_settles_once(&counts, &counts).await;
    suite::settled_counts::a_race_settles_once(&counts, &counts).await;
    suite::settled_counts::a_batch_of_any_number_of_partitions_settles(&counts, &counts).await;
    suite::settled_counts::the_time_of_the_last_batch_is_known(&counts, &counts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_rejected() {
    let emulator = Emulator::start().await;
    let stream = emulator.aws().stream(STREAM, Duration::from_secs(10));
    let counts = emulator.aws().counts(COUNTS, shards(1));
    suite::recent_rejected::the_latest_are_listed_newest_first(&stream, &counts).await;
    suite::recent_rejected::only_the_latest_are_kept(&stream, &counts).await;
    suite::recent_rejected::any_text_is_kept_as_it_was_sent(&stream, &counts).await;
    suite::recent_rejected::a_user_sees_no_rejected_events_of_another(&stream, &counts).await;
    // The list of what is counted does not have them; and they alone may ever be removed.
    suite::books::the_books_have_every_count(&counts, &counts, &counts).await;
    let counts = emulator.aws().counts(COUNTS, shards(4));
    suite::settled_counts::batches_add_up(&counts, &counts).await;
    suite::live_counts::raised_counts_are_read_at_once(&counts).await;
    let expiring = emulator.expiring(COUNTS).await;
    assert!(!expiring.is_empty() && expiring.iter().all(|pk| pk.starts_with("rejected#")), "{expiring:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers() {
    let emulator = Emulator::start().await;
    let answers = Arc::new(emulator.aws().answers_admin(LAKE));
    suite::answers::what_was_never_published_is_not_there(&*answers).await;
    suite::answers::what_was_published_is_read_by_path_and_by_slot(&*answers).await;
    suite::answers::a_large_generation_is_read_at_both_ends(&*answers).await;
    suite::answers::published_answers_are_listed(&*answers).await;
    suite::answers::publishing_again_swaps_the_pointer(&*answers).await;
    suite::answers::a_publication_that_breaks_off_changes_nothing(&*answers).await;
    suite::answers::a_generation_is_read_whole_while_others_replace_it(&*answers).await;
    suite::answers::no_reader_sees_half_of_two_generations(answers.clone(), 60).await;
    suite::answers::what_was_computed_earlier_never_replaces_what_was_computed_later(answers.clone()).await;
    suite::answers::what_is_no_generation_is_an_error(&*answers).await;
    let found = emulator.objects(LAKE).await;
    assert!(found.iter().all(|key| key.starts_with("answers/")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_computed_again_by_one_and_never_replaces_what_was_published_from_other_sql() {
    let emulator = Emulator::start().await;
    let answers = emulator.aws().answers_admin(LAKE);
    let at = |minutes: u64| Timestamp::from_millis(1_795_179_605_007 + minutes * 60_000).unwrap();
    let generation = |sql: &str, minutes: u64| {
        let (mut writer, mut bytes) = (Writer::new(2, 1).unwrap(), Vec::new());
        writer.row(&[], &[], &format!("{:02}", minutes % 100), &mut bytes);
        let (name, generation) = ("a".parse().unwrap(), writer.finish(&mut bytes).unwrap());
        (Published { name, generation, published_at: at(minutes), sql: sql.to_owned() }, bytes)
    };
    let content = |bytes: &Vec<u8>| -> weir_core::ports::Content {
        let bytes = bytes.clone();
        Box::pin(futures_util::stream::once(async move { Ok(bytes.into()) }))
    };
    let by_hand = async |sql: &str, minutes: u64| {
        let (published, bytes) = generation(sql, minutes);
        answers.publish(&published, bytes.len() as u64, content(&bytes)).await.unwrap()
    };
    let again = async |sql: &str, minutes: u64| {
        let (published, bytes) = generation(sql, minutes);
        answers.publish_again(&published, bytes.len() as u64, content(&bytes)).await.unwrap()
    };
    let standing = async || answers.standing().await.unwrap().pop().unwrap();

    assert!(answers.standing().await.unwrap().is_empty());
    assert_eq!(again("SELECT 1", 0).await, Publication::Outdated, "what is not published is not put back");
    assert_eq!(by_hand("SELECT 1", 0).await, Publication::Current);
    // Of those who see it at the same time, one computes it.
    let seen = standing().await;
    assert_eq!((seen.published.published_at, seen.tried_at), (at(0), None));
    // With a connection each, all have read the pointer before the first one swaps it.
    join_all((0..8).map(|_| answers.standing())).await;
    let owners = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let claims = join_all(owners.map(|owner| answers.claim(&seen, owner, at(60)))).await;
    assert_eq!(claims.into_iter().filter(|claim| *claim.as_ref().unwrap()).count(), 1, "in one millisecond");
    let tried = standing().await;
    assert!(tried.last() >= at(60) && tried.published.published_at == at(0), "{tried:?}");
    assert_eq!(again("SELECT 1", 70).await, Publication::Current);
    assert_eq!((standing().await.last(), standing().await.tried_at), (at(70), None));
    // Other SQL that was published meanwhile stays, although this was computed later.
    let seen = standing().await;
    assert!(answers.claim(&seen, "i", at(130)).await.unwrap());
    assert_eq!(by_hand("SELECT 2", 129).await, Publication::Current);
    assert_eq!(again("SELECT 1", 130).await, Publication::Outdated);
    assert_eq!(standing().await.published.sql, "SELECT 2");
    assert!(!answers.claim(&seen, "j", at(131)).await.unwrap(), "it was published since");
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_of_answers_are_removed_an_hour_after_they_were_replaced() {
    let emulator = Emulator::start().await;
    let answers = emulator.aws().answers_admin(LAKE);
    let now = SystemClock.now();
    let publish = async |number: u64, at: Timestamp| {
        let (row, mut bytes) = (format!("{{\"n\":{number}}}"), Vec::new());
        let mut writer = Writer::new(row.len(), 1).unwrap();
        writer.row(&[], &[], &row, &mut bytes);
        let generation = writer.finish(&mut bytes).unwrap();
        let published = Published {
            name: "a".parse().unwrap(),
            generation,
            published_at: at,
            sql: "SELECT 1".to_owned(),
        };
        let content = futures_util::stream::iter([Ok(bytes.clone().into())]);
        answers.publish(&published, bytes.len() as u64, Box::pin(content)).await.unwrap();
        emulator.objects(LAKE).await.len()
    };
    let hour = KEPT_MILLIS;
    // Beside the pointer: one, two, and again two, as the same one is not put again.
    assert_eq!(publish(1, now).await, 2);
    assert_eq!(publish(2, now.plus_millis(1)).await, 3);
    assert_eq!(publish(2, now.plus_millis(hour + 1)).await, 3);
    assert_eq!(publish(2, now.plus_millis(hour + 2)).await, 2);
    // A publisher that broke off before it swapped the pointer has left one.
    let left = emulator.s3().put_object().bucket(LAKE).key("answers/a/left");
    left.body(b"x".to_vec().into()).send().await.unwrap();
    assert_eq!(publish(2, now.plus_millis(20 * hour)).await, 3);
    assert_eq!(publish(2, now.plus_millis(26 * hour)).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_values() {
    let emulator = Emulator::start().await;
    let latest = emulator.aws().latest(LATEST, LAKE).raising_within(PATIENCE);
    suite::latest::what_was_never_raised_is_none(&latest).await;
    suite::latest::the_newest_stays_in_any_order(&latest).await;
    suite::latest::of_one_version_the_first_stays(&latest).await;
    suite::latest::concurrent_raises_end_with_the_newest(&latest).await;
    suite::latest::users_and_types_do_not_share_values(&latest).await;
    suite::latest::any_text_is_a_key_and_keys_are_listed_in_order(&latest).await;
    suite::latest::events_of_any_size_are_kept_whole(&latest).await;
    suite::latest::hundreds_of_resources_are_raised_and_read_together(&latest).await;
    suite::latest::only_a_value_that_was_read_is_removed(&latest).await;
    let ids = emulator.aws().recent_ids(IDS).marking_within(PATIENCE);
    let stream = emulator.aws().stream(STREAM, PATIENCE).remembering(ids);
    suite::latest::stored_events_become_latest_values(&stream, &latest).await;
    suite::latest::a_repeat_raises_the_record_that_was_stored(&stream, &latest).await;
    suite::latest::a_repeat_in_one_append_raises_the_first(&stream, &latest).await;
    suite::latest::the_largest_event_is_a_latest_value(&stream, &latest).await;
    let (kept, mut found) = (emulator.objects_of_latest_values().await, emulator.objects(LAKE).await);
    found.sort_unstable();
    assert_eq!(found, kept, "each object is the event of a value");
    assert!(!kept.is_empty() && kept.iter().all(|key| key.starts_with("latest/")), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_event_that_is_not_the_newest_leaves_no_object_behind() {
    use weir_core::{
        Event, LatestKey, Record, Stamp, Timestamp,
        latest::LatestValue,
        ports::{LatestValues, LatestValuesAdmin},
    };
    let emulator = Emulator::start().await;
    let latest = emulator.aws().latest(LATEST, LAKE).raising_within(PATIENCE);
    let value = |time: u64| {
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
        let received_at = Timestamp::saturating(1_795_000_000_000 + time);
        let stamp = Stamp { username: "ann".parse().unwrap(), event_id: "e-1".parse().unwrap(), received_at };
        let record = Record::accepted(&Event::read(&text).unwrap(), &"reading".parse().unwrap(), None, stamp);
        LatestValue::of(&record.latest_under(Some(LatestKey::of("x")))).unwrap()
    };
    let (older, newer) = (value(1), value(2));
    for raised in [&newer, &older, &newer] {
        latest.raise(std::slice::from_ref(raised)).await.remove(0).unwrap();
        assert_eq!(emulator.objects(LAKE).await, emulator.objects_of_latest_values().await);
        assert_eq!(emulator.objects(LAKE).await.len(), 1);
    }
    latest.remove(&newer).await.unwrap();
    assert_eq!(emulator.objects(LAKE).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_events_are_shown_for_a_week_whenever_they_are_removed() {
    use weir_core::{Clock, ManualClock, Record, Stamp, ports::RecentRejected};
    let emulator = Emulator::start().await;
    let now = SystemClock.now();
    let clock = Arc::new(ManualClock::at(now));
    let aws = Aws::new(emulator.config(None), Arc::new(SystemRandom), clock.clone());
    let (counts, ann) = (aws.counts(COUNTS, shards(1)), "ann".parse().unwrap());
    let stamp =
        Stamp { username: "ann".parse().unwrap(), event_id: "e-1".parse().unwrap(), received_at: now };
    counts.note(&[Record::rejected(b"?", None, &[], stamp)]).await.unwrap();
    clock.advance(6 * 24 * 3_600_000);
    assert_eq!(counts.latest(&ann, 5).await.unwrap().len(), 1);
    clock.advance(24 * 3_600_000 + 1000);
    assert_eq!(counts.latest(&ann, 5).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_days() {
    let emulator = Emulator::start().await;
    let days = emulator.aws().sealed_days(LAKE);
    suite::sealed_days::all(&days, &sealed::make(&emulator)).await;
    suite::sealed_days::a_reader_sees_one_manifest_or_the_next(Arc::new(days)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sealing_runs_at_a_time_and_one_that_lost_its_turn_changes_nothing() {
    use weir_core::sealing::{Manifest, SealedDays};

    let emulator = Emulator::start().await;
    let now = SystemClock.now();
    let (minute, later) = (60_000, now.plus_millis(60_001));
    let of = |n: u64| {
        let sealed_until = weir_core::Day::of(now.hour()).minus(n);
        Manifest { sealed_until, ..Manifest::default() }
    };
    let machines: Vec<_> = (0..8).map(|_| emulator.aws().sealed_days(LAKE)).collect();
    let owners: Vec<String> = (0..8).map(|n| format!("owner-{n}")).collect();
    let turns =
        machines.iter().zip(&owners).map(|(days, owner)| days.turn(owner, now, now.plus_millis(minute)));
    let turns = join_all(turns).await.into_iter().map(Result::unwrap);
    let turns: Vec<_> = turns.zip(&machines).filter(|(turn, _)| turn.is_some()).collect();
    let [(Some(_), first)] = &turns[..] else { panic!("{} have the turn", turns.len()) };
    assert_eq!(first.manifest().await.unwrap(), Manifest::default());
    first.swap(&of(9)).await.unwrap();
    // The sealing is killed, or stands still for too long. Its turn ends at its time, and another sealing begins.
    let second = emulator.aws().sealed_days(LAKE);
    assert!(second.turn("second", now.plus_millis(minute - 1), later).await.unwrap().is_none());
    let turn = second.turn("second", later, later.plus_millis(minute)).await.unwrap().unwrap();
    assert_eq!(second.manifest().await.unwrap(), of(9));
    second.swap(&of(8)).await.unwrap();
    let error = first.swap(&of(7)).await.unwrap_err();
    assert!(error.to_string().contains("another sealing"), "{error}");
    assert_eq!(emulator.aws().sealed_days(LAKE).manifest().await.unwrap(), of(8));
    turn.end().await;
    let third = first.turn("third", later, later.plus_millis(minute)).await.unwrap();
    assert!(third.is_some(), "a turn that was given back is free at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_put_for_a_day_that_may_be_sealed_is_noted_and_no_other_costs_a_call() {
    use weir_core::{Day, ManualClock, Partition, ports::Lake, sealing::SealedDays};

    let emulator = Emulator::start().await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let aws = Aws::new(emulator.config(None), Arc::new(SystemRandom), clock.clone());
    let (aws, calls) = aws.counted();
    let (lake, days) = (aws.lake(LAKE, false), emulator.aws().sealed_days(LAKE));
    let today = Day::of(clock.now().hour());
    let put = async |day: Day| {
        let partition = Partition {
            username: "ann".parse().unwrap(),
            event_type: "a".parse().unwrap(),
            hour: day.first_hour(),
        };
        let batch = suite::some_batch().id();
        let _ = calls.take();
        let content = Box::pin(futures_util::stream::iter([Ok(vec![7].into())]));
        lake.put(&partition, &batch, 1, content).await.unwrap();
        let noted = days.notes().await.unwrap().remove(&day).unwrap_or_default();
        let calls: Vec<_> = calls.take().into_iter().map(|(call, n)| format!("{n} {call}")).collect();
        (noted.contains(&partition.object(&batch)), calls.join(", "))
    };
    days.announce(today.minus(2)).await.unwrap();
    assert_eq!(put(today).await, (false, "1 PUT".to_owned()));
    assert_eq!(put(today.minus(1)).await, (false, "1 PUT".to_owned()));
    assert_eq!(put(today.minus(2)).await, (false, "2 GET, 1 PUT".to_owned()), "it is not to be sealed yet");
    assert_eq!(put(today.minus(3)).await, (true, "1 GET, 2 PUT".to_owned()));
    assert_eq!(put(today.minus(300)).await, (true, "1 GET, 2 PUT".to_owned()));
    // Today is an old day later.
    clock.advance(3 * 24 * 3_600_000);
    days.announce(today.next()).await.unwrap();
    assert_eq!(put(today).await, (true, "1 GET, 2 PUT".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settled_counts_of_a_day_are_those_of_its_settled_batches() {
    use weir_core::{Day, Hour, Partition, ports::Settlement};

    let emulator = Emulator::start().await;
    let counts = emulator.aws().counts(COUNTS, shards(1));
    let day: Day = "2026-11-20".parse().unwrap();
    let partition = |user: &str, hour: Hour| Partition {
        username: user.parse().unwrap(),
        event_type: "a".parse().unwrap(),
        hour,
    };
    // One of several chunks, and one of the day before in the same call.
    let many: Vec<Partition> = (0..120)
        .map(|n| partition(&format!("u{n}"), day.first_hour()))
        .chain([partition("ann", day.last_hour()), partition("ann", day.minus(1).last_hour())])
        .collect();
    let large = many.iter().map(|partition| (partition.clone(), 3)).collect();
    let [settled, small, open] = [0; 3].map(|_| suite::some_batch().id());
    counts.settle(&settled, &large).await.unwrap();
    counts.settle(&small, &[(partition("ann", day.first_hour()), 2)].into()).await.unwrap();
    let users = many.iter().map(|partition| partition.username.clone()).collect();
    let batches = [&settled, &small, &open].map(|batch| batch.as_str().to_owned()).into();
    let found = counts.settled_day(&users, day, &batches).await.unwrap();
    assert_eq!(found.batches, [&settled, &small].map(|batch| batch.as_str().to_owned()).into());
    assert_eq!(found.counts.len(), 121);
    let ann = ("ann".parse().unwrap(), "a".parse().unwrap());
    assert_eq!(found.counts[&ann], 5);
    // A batch is settled once its last chunk is.
    emulator.remove(COUNTS, &format!("batch#{settled}"), "chunk#2").await;
    let found = counts.settled_day(&users, day, &batches).await.unwrap();
    assert_eq!(found.batches, [small.as_str().to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn books() {
    let emulator = Emulator::start().await;
    for shards in [shards(1), shards(4)] {
        // A table for each number of shards: a shard that is not read would be told as a fault.
        let table = format!("{COUNTS}-{shards}");
        emulator.make_counts(&table).await;
        let counts = emulator.aws().counts(&table, shards);
        suite::books::the_books_have_every_count(&counts, &counts, &counts).await;
        suite::books::corrections_are_added(&counts, &counts).await;
        suite::books::no_count_falls_below_zero(&counts, &counts).await;
        suite::books::corrections_at_once_take_no_more_than_is_there(&counts, &counts).await;
        suite::books::corrections_lose_no_concurrent_increments(&counts, &counts).await;
        for (place, count) in emulator.counts(&table).await {
            assert!(count >= 0, "{place} is {count}");
        }
    }
    let fewer = emulator.aws().counts(&format!("{COUNTS}-4"), shards(1));
    let error = weir_core::ports::Books::counted(&fewer).await.unwrap_err().to_string();
    assert!(error.contains("is a shard that is not read: WEIR_COUNTER_SHARDS is 1"), "{error}");
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
        suite::lake::a_users_objects_are_listed_and_open_by_their_paths(&lake).await;
    }
    suite::quarantine::what_was_put_aside_is_read_back(&emulator.aws().quarantine(RAW)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_bucket_is_used_where_it_exists() {
    use weir_core::{
        Hour, Partition,
        ports::{Lake, LakeObjects},
    };
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
        let path = partition.object(&batch);
        assert!(lake.list_of(&partition.username, None, 10).await.unwrap().contains(&path));
        assert!(lake.open_path(&path).await.is_ok());
    }
    assert!(lake.list(None, 10).await.unwrap().is_empty(), "nothing is in the shared bucket");
}
