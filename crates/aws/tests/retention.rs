//! What sealing removes on AWS: JSON of sealed days, and events that are older than their type is kept. On a local AWS whose buckets
//! have versions, with a stand-in for Athena.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod athena;
mod dying;
mod emulator;
mod sealed_lake;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    time::Duration,
};

use dying::Dying;
use emulator::{COUNTS, LAKE, LATEST, RAW, shards};
use flate2::read::MultiGzDecoder;
use futures_util::future::join_all;
use seal::{Kept, RunError};
use sealed_lake::{CLICKS, Click, DAY_MILLIS, LEFT, TURN_MILLIS, Weir, as_seen, catalog, click, file};
use serde_json::json;
use weir_core::{
    BatchKey, Day, Event, LatestKey, Record, Stamp, Timestamp,
    latest::LatestValue,
    ports::{LatestValues, ReadLatest, RecentRejected, SettledCounts},
    sealing::{Removed, day_of},
};

/// What old events hold, and no others.
const OLD: &str = "OLDvalue";

/// Old events of two days, and what comes late for one of them.
const OLD_CLICKS: [Click; 3] =
    [click("ann", "old1", 20, 3, OLD), click("bob", "old2", 20, 4, OLD), click("ann", "old3", 15, 5, OLD)];
const LATE: Click = click("bob", "old4", 20, 7, OLD);

const HOUR_MILLIS: u64 = 3_600_000;

/// The number of calls that each run gets in addition to those of the run before.
const STRIDE: u64 = 4;

/// The objects of the lake's JSON, by day.
async fn json_days(weir: &Weir) -> BTreeSet<Day> {
    weir.emulator.objects(LAKE).await.iter().filter_map(|key| day_of(key)).collect()
}

/// All versions of all objects of a bucket: key, and content as text.
async fn versions(weir: &Weir, bucket: &str) -> Vec<(String, String)> {
    let s3 = weir.emulator.s3();
    let (mut found, mut key, mut id) = (Vec::new(), None, None);
    loop {
        let page = s3.list_object_versions().bucket(bucket).set_key_marker(key).set_version_id_marker(id);
        let page = page.send().await.unwrap();
        for version in page.versions() {
            let (key, id) = (version.key().unwrap(), version.version_id().unwrap());
            let object = s3.get_object().bucket(bucket).key(key).version_id(id).send().await.unwrap();
            let bytes = object.body.collect().await.unwrap().to_vec();
            let mut text = Vec::new();
            if MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).is_err() {
                text = bytes;
            }
            found.push((key.to_owned(), String::from_utf8_lossy(&text).into_owned()));
        }
        if page.is_truncated() != Some(true) {
            return found;
        }
        (key, id) = (page.next_key_marker, page.next_version_id_marker);
    }
}

/// The places that have an old event: objects of both buckets in any version, Parquet of their days, and items of tables.
async fn with_old(weir: &Weir, old_days: &[Day]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for bucket in [RAW, LAKE] {
        for (key, text) in versions(weir, bucket).await {
            // Parquet is compressed; these days have no other clicks.
            let is_parquet =
                |day: &Day| key.starts_with(&format!("sealed/{day}.")) && key.contains("/button_click");
            if text.contains(OLD) || old_days.iter().any(is_parquet) {
                found.insert(key);
            }
        }
    }
    for table in [COUNTS, LATEST] {
        let dynamo = aws_sdk_dynamodb::Client::new(&weir.emulator.config(None));
        let page = dynamo.scan().table_name(table).send().await.unwrap();
        let items = page.items().iter().filter(|item| format!("{item:?}").contains(OLD));
        found.extend(items.map(|item| format!("{table} {:?}", item["pk"])));
    }
    found
}

async fn settled(weir: &Weir) -> Vec<(String, u64)> {
    let counts = weir.emulator.aws().counts(COUNTS, shards(1));
    let mut all = Vec::new();
    for user in ["ann", "bob"] {
        let totals = counts.totals(&user.parse().unwrap()).await.unwrap().by_type;
        all.extend(totals.into_iter().map(|(event_type, total)| (format!("{user} {event_type}"), total)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_sealed_days_goes_a_day_after_and_of_no_other_day_and_views_read_what_they_read() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: Some(1), events: None };
    weir.file(&CLICKS, &[]).await;
    let batch = weir.key();
    let [sealed, open] = [[4, 3], [1, 0]].map(|days| days.map(|days| weir.today().minus(days)));
    let all_days: BTreeSet<Day> = sealed.into_iter().chain(open).collect();
    for _ in 0..2 {
        assert_eq!(weir.run().await.unwrap().unwrap().json_expired, 0, "they were sealed just now");
    }
    assert_eq!(json_days(&weir).await, all_days);
    weir.clock.advance(DAY_MILLIS);
    assert_eq!(weir.run().await.unwrap().unwrap().json_expired, 2);
    assert_eq!(json_days(&weir).await, open.into(), "days that are not sealed keep their JSON");
    assert!(weir.manifest().await.days[&sealed[0]].json_expired);
    assert_eq!(weir.seen().await, as_seen(&CLICKS));

    // It can be had back for a while, as anything that is removed from the bucket.
    let versions = versions(&weir, LAKE).await;
    assert!(versions.iter().any(|(key, _)| day_of(key) == Some(sealed[0])));

    // A batch that is filed again puts objects back, which nothing reads, and the next run removes them.
    weir.file_again(&batch).await;
    assert_eq!(json_days(&weir).await, all_days);
    assert_eq!(weir.seen().await, as_seen(&CLICKS));
    weir.clock.advance(2 * HOUR_MILLIS);
    weir.run().await.unwrap().unwrap();
    assert_eq!(json_days(&weir).await, open.into());

    // Late events of such a day are read at once with the next run, and sealed with what was sealed.
    let late = click("ann", "late", 5, 9, "late");
    weir.file(std::slice::from_ref(&late), &[]).await;
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 1);
    let all: Vec<Click> = CLICKS.into_iter().chain([late]).collect();
    assert_eq!(weir.seen().await, as_seen(&all));
    weir.clock.advance(DAY_MILLIS);
    assert_eq!(weir.run().await.unwrap().unwrap().json_expired, 1);
    assert_eq!(json_days(&weir).await, open.into());
    assert_eq!(weir.seen().await, as_seen(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_stays_until_views_have_not_read_it_for_an_hour() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: Some(1), events: None };
    weir.file(&CLICKS, &[]).await;
    let all_days = json_days(&weir).await;
    // The days are sealed, and no view can be made.
    let error = weir.seal_of(None, catalog()).with_longest_view(0).run(LEFT).await.unwrap_err();
    assert!(matches!(error, RunError::TooLong { .. }), "{error}");
    assert_eq!(weir.manifest().await.days.len(), 2);
    weir.clock.advance(DAY_MILLIS);
    for (minutes, expired) in [(0, 0), (59, 0), (1, 0), (60, 2)] {
        weir.clock.advance(minutes * 60_000);
        assert_eq!(weir.run().await.unwrap().unwrap().json_expired, expired, "{minutes} minutes later");
        assert_eq!(json_days(&weir).await == all_days, expired == 0);
    }
    assert_eq!(weir.seen().await, as_seen(&CLICKS));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_older_than_they_are_kept_are_in_no_version_of_any_object_and_stay_in_the_counts() {
    let mut weir = Weir::start().await;
    let old_days = [20, 15].map(|days| weir.today().minus(days));
    let (dynamo, ends) = (weir.emulator.aws().latest(LATEST, LAKE), [20, 1]);
    for (days, fill) in ends.into_iter().flat_map(|days| [(days, 10), (days, 20_000)]) {
        let value = if days == 20 { OLD } else { "new" };
        let text = json!({"button_id": value.to_owned() + &"x".repeat(fill)}).to_string();
        let id = format!("l{days}-{fill}").parse().unwrap();
        let received_at = Timestamp::saturating(weir.time(days, 1));
        let stamp = Stamp { username: "ann".parse().unwrap(), event_id: id, received_at };
        let record =
            Record::accepted(&Event::read(&text).unwrap(), &"button_click".parse().unwrap(), None, stamp);
        let key = LatestKey::of(&format!("{days}-{fill}"));
        let value = LatestValue::of(&record.latest_under(Some(key))).unwrap();
        dynamo.raise(&[value]).await.into_iter().for_each(|raised| raised.unwrap());
    }
    // Old and new ones in one batch, and a batch of old ones alone. A line that is no record has no time of its own.
    let mixed: Vec<Click> = CLICKS.iter().chain(&OLD_CLICKS).cloned().collect();
    weir.file(&mixed, &[format!("no record, {OLD}")]).await;
    let mixed_batch = weir.key();
    weir.file(&OLD_CLICKS[..1], &[]).await;
    let only_old = weir.key();
    weir.run().await.unwrap().unwrap();
    assert_eq!(weir.manifest().await.days.len(), 4);
    // Late, and noted.
    weir.file(&[LATE], &[]).await;
    // Versions that nothing lists any more.
    let s3 = weir.emulator.s3();
    let raw = s3.get_object().bucket(RAW).key(mixed_batch.as_str()).send().await.unwrap();
    let raw = raw.body.collect().await.unwrap().to_vec();
    for _ in 0..2 {
        s3.put_object().bucket(RAW).key(mixed_batch.as_str()).body(raw.clone().into()).send().await.unwrap();
    }
    let before = (with_old(&weir, &old_days).await, settled(&weir).await);
    for place in ["raw/", "quarantine/", "username=bob/", "sealed/", "latest/", "weir-latest"] {
        assert!(before.0.iter().any(|found| found.starts_with(place)), "{place}: {:?}", before.0);
    }

    weir.kept = Kept { json: None, events: Some(10) };
    // An object without an item stays for a day, by the time of S3.
    weir.clock.advance(2 * DAY_MILLIS);
    let ran = weir.run().await.unwrap().unwrap();
    assert_eq!((ran.removed.days, ran.removed.batches, ran.is_whole), (2, 3, true), "{ran:?}");
    let left = with_old(&weir, &old_days).await;
    assert!(
        left.iter().all(|place| place.starts_with("quarantine/") || *place == mixed_batch.as_str()),
        "{left:?}"
    );
    assert_eq!(weir.seen().await, as_seen(&CLICKS));
    assert_eq!(settled(&weir).await, before.1, "what was counted stays counted");
    let (ann, of) = ("ann".parse().unwrap(), "button_click".parse().unwrap());
    let values = dynamo.list(&ann, &of, None, 10).await.unwrap();
    assert_eq!(values.len(), 2);
    assert!(values.iter().all(|value| !String::from_utf8_lossy(value.event()).contains(OLD)));
    assert_eq!(weir.run().await.unwrap().unwrap().removed, Removed::default(), "nothing is left to remove");

    // What is no record goes as long after it was put into quarantine.
    weir.clock.advance(10 * DAY_MILLIS);
    weir.run().await.unwrap().unwrap();
    assert_eq!(with_old(&weir, &old_days).await, BTreeSet::new());

    // An operator puts a batch back: no view has its old events, and the next run removes them.
    s3.put_object().bucket(RAW).key(only_old.as_str()).body(raw.into()).send().await.unwrap();
    weir.file_again(&only_old).await;
    assert!(!with_old(&weir, &old_days).await.is_empty());
    assert!(!weir.seen().await.iter().any(|row| row.contains(OLD)));
    weir.clock.advance(11 * DAY_MILLIS);
    weir.run().await.unwrap().unwrap();
    assert_eq!(with_old(&weir, &old_days).await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_says_how_long_it_is_kept_loses_its_old_events_and_other_types_lose_none() {
    let mut weir = Weir::start().await;
    let mut view: serde_json::Value = serde_json::from_str(&file("page_view")).unwrap();
    view["x-weir"]["keep_days"] = json!(10);
    let page = |days: u64, url: &str| {
        let time = weir.time(days, 7);
        json!({"username": "ann", "event_type": "page_view", "event_id": format!("p{days}"), "received_at": time, "url": url})
            .to_string()
    };
    let pages = [page(20, OLD), page(4, "new")];
    let clicks: Vec<Click> = CLICKS.into_iter().chain([click("ann", "c20", 20, 7, "kept")]).collect();
    weir.file(&clicks, &pages).await;
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 3);
    weir.types[1].1 = view.to_string();
    let ran = weir.run().await.unwrap().unwrap();
    assert_eq!((ran.removed.days, ran.removed.batches), (1, 1), "{ran:?}");
    assert_eq!(with_old(&weir, &[]).await, BTreeSet::new());
    let sealed = format!("sealed/{}.", weir.today().minus(20));
    let parquet = versions(&weir, LAKE).await.into_iter().map(|(key, _)| key);
    let parquet: Vec<String> = parquet.filter(|key| key.starts_with(&sealed)).collect();
    assert!(!parquet.iter().any(|key| key.contains("/page_view")), "{parquet:?}");
    assert!(parquet.iter().any(|key| key.contains("/button_click/")), "{parquet:?}");
    let urls = "SELECT url FROM weir_page_view WHERE username = 'ann'";
    assert_eq!(weir.rows(urls).await, ["new"]);
    assert_eq!(weir.seen().await, as_seen(&clicks));
    // S3 notifies the fan-out of the batch that was put again.
    let lake = |weir: &Weir| {
        let found = weir.emulator.s3().list_objects_v2().bucket(LAKE).prefix("username=").send();
        async {
            found
                .await
                .unwrap()
                .contents()
                .iter()
                .map(|it| (it.key().unwrap().to_owned(), it.e_tag().unwrap().to_owned()))
                .collect::<BTreeMap<_, _>>()
        }
    };
    let before = lake(&weir).await;
    assert_eq!(weir.file_again(&weir.key()).await.settled, Some(weir_core::ports::Settled::Before));
    assert_eq!(lake(&weir).await, before, "filed again, it becomes the same objects");
    let again = weir.run().await.unwrap().unwrap();
    assert_eq!((again.removed, again.sealed), (Removed::default(), 0));
    assert_eq!(weir.seen().await, as_seen(&clicks));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_events_that_are_shown_go_with_the_others() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: None, events: Some(3) };
    let counts = weir.emulator.aws().counts(COUNTS, shards(1));
    let mut lines = Vec::new();
    for (days, value) in [(5, OLD), (1, "new")] {
        let (event_id, received_at) = (value.parse().unwrap(), Timestamp::saturating(weir.time(days, 1)));
        let stamp = Stamp { username: "ann".parse().unwrap(), event_id, received_at };
        let record = Record::rejected(format!("{value} is no JSON").as_bytes(), None, &[], stamp);
        lines.push(String::from_utf8(record.line().to_vec()).unwrap());
        counts.note(&[record]).await.unwrap();
    }
    weir.file(&[], &lines).await;
    assert_eq!(counts.latest(&"ann".parse().unwrap(), 10).await.unwrap().len(), 2);
    weir.run().await.unwrap().unwrap();
    let left = counts.latest(&"ann".parse().unwrap(), 10).await.unwrap();
    assert_eq!(left.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(with_old(&weir, &[]).await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn views_show_nothing_from_before_the_watermark_even_of_days_that_are_not_sealed() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: None, events: Some(10) };
    weir.file(&CLICKS, &[]).await;
    weir.file(&OLD_CLICKS, &[]).await;
    // There is no time to seal, and enough to remove.
    let error = weir.seal_of(None, catalog()).run(Duration::from_mins(2)).await.unwrap_err();
    assert!(matches!(error, RunError::NoTime), "{error}");
    assert_eq!(weir.manifest().await.days.len(), 0);
    weir.file(&[LATE], &[]).await;
    assert!(json_days(&weir).await.contains(&weir.today().minus(LATE.days_ago)));
    assert_eq!(weir.seen().await, as_seen(&CLICKS));
}

/// S3 lists and removes a thousand at a time.
#[tokio::test(flavor = "multi_thread")]
async fn all_versions_of_objects_are_removed_however_many_there_are_and_no_other_object() {
    let weir = Weir::start().await;
    let s3 = weir.emulator.s3();
    let folder = "username=ann/button_click/year=2026/month=1/day=2";
    let keys: Vec<String> = (0..520).map(|n| format!("{folder}/hour=3/b-{n:04}.json.gz")).collect();
    for _ in 0..2 {
        let puts =
            keys.iter().map(|key| s3.put_object().bucket(LAKE).key(key).body(b"x".to_vec().into()).send());
        join_all(puts).await.into_iter().for_each(|put| drop(put.unwrap()));
    }
    let removals = keys.iter().step_by(2).map(|key| s3.delete_object().bucket(LAKE).key(key).send());
    join_all(removals).await.into_iter().for_each(|removed| drop(removed.unwrap()));
    let (other, removed) = keys.split_last().unwrap();
    let removed: BTreeSet<String> = removed.iter().cloned().collect();
    weir.emulator.aws().lake(LAKE, false).remove_versions(&removed).await.unwrap();
    let left = s3.list_object_versions().bucket(LAKE).prefix("username=").send().await.unwrap();
    assert!(left.versions().iter().all(|version| version.key() == Some(other)), "{left:?}");
    assert_eq!((left.versions().len(), left.delete_markers().len()), (2, 0), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_stays_in_raw_and_holds_up_nothing() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: None, events: Some(10) };
    weir.file(&OLD_CLICKS, &[]).await;
    let key = weir.key();
    weir.emulator
        .s3()
        .put_object()
        .bucket(RAW)
        .key(key.as_str())
        .body(vec![0x1f, 0x8b, 9].into())
        .send()
        .await
        .unwrap();
    let ran = weir.run().await.unwrap().unwrap();
    assert_eq!((ran.removed.days, ran.removed.batches), (2, 0), "{ran:?}");
    assert_eq!(weir.seen().await, Vec::<String>::new());
    let left = weir.emulator.objects(RAW).await;
    assert_eq!(left, [key.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_anywhere_while_it_removes_is_begun_again_and_changes_no_other_event_that_is_read() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: Some(1), events: Some(250) };
    let first = weir.today();
    weir.run().await.unwrap().unwrap();
    let (mut seen, mut all, mut calls, mut batches): (Vec<String>, Vec<Click>, u64, Vec<BatchKey>) =
        (Vec::new(), Vec::new(), 1, Vec::new());
    let old_day = first.minus(300);
    let days_ago = |weir: &Weir, day: Day| weir.today().since_epoch() - day.since_epoch();
    loop {
        // Each run has to seal a day again, to remove its JSON, and to remove old events.
        let id = Box::leak(format!("x{calls:03}").into_boxed_str());
        let late = click("ann", id, days_ago(&weir, first.minus(4)), 3, "late");
        let old_id = Box::leak(format!("old{calls:03}").into_boxed_str());
        let old = click("ann", old_id, days_ago(&weir, old_day), 3, OLD);
        weir.file(&[late.clone(), old], &[]).await;
        batches.push(weir.key());
        all.push(late);
        let dying = Dying::after(calls);
        let run = weir.seal_of(Some(dying.client()), catalog()).run(LEFT).await;
        weir.clock.advance(DAY_MILLIS.max(TURN_MILLIS));
        let now = weir.seen().await;
        let known = as_seen(&all);
        assert!(now.windows(2).all(|rows| rows[0] != rows[1]), "after {calls} calls, twice: {now:?}");
        assert!(now.iter().all(|row| known.contains(row)), "after {calls} calls: {now:?}");
        let gone = seen.iter().find(|row| !now.contains(row));
        assert_eq!(gone, None, "after {calls} calls it was seen no more");
        seen = now;
        match run {
            Err(error) => assert!(dying.has_died(), "after {calls} calls: {error}"),
            Ok(ran) => {
                assert!(ran.unwrap().is_whole, "after {calls} calls");
                assert_eq!(seen, as_seen(&all), "after {calls} calls");
                if !dying.has_died() {
                    break;
                }
            }
        }
        calls += STRIDE;
    }
    assert!(calls > 20 * STRIDE, "{calls} calls are a whole run: fewer than it takes to remove");
    weir.run().await.unwrap().unwrap();
    assert_eq!(with_old(&weir, &[old_day]).await, BTreeSet::new());
    assert_eq!(json_days(&weir).await, BTreeSet::new(), "all days are sealed");
    let counted = batches.len() as u64;
    assert_eq!(settled(&weir).await, [("ann button_click".to_owned(), 2 * counted)]);
    assert_eq!(weir.seen().await, as_seen(&all));
}

/// Puts a batch with an old event of Ann's, and what quarantine has of it; returns its key and that of quarantine.
async fn put_unfiled(weir: &mut Weir, quarantined: &str) -> (BatchKey, String) {
    weir.batches += 1;
    let key = weir.key();
    let in_quarantine = format!("quarantine/{}.json.gz", key.id().as_str());
    let raw = format!("{}\nno record\n", weir.line(&OLD_CLICKS[0]));
    let entry = json!({"batch": key.as_str(), "line": 2, "reason": "r", "text": quarantined}).to_string();
    for (key, text) in [(key.as_str(), raw), (&in_quarantine, entry + "\n")] {
        weir.emulator.s3().put_object().bucket(RAW).key(key).body(gzip(&text).into()).send().await.unwrap();
    }
    (key, in_quarantine)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_batch_in_quarantine_keeps_its_events_until_they_are_counted() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: None, events: Some(10) };
    // The fan-out died before it had settled the batch.
    let (key, _) = put_unfiled(&mut weir, "no record").await;
    weir.clock.advance(12 * DAY_MILLIS);
    weir.run().await.unwrap().unwrap();
    let left = versions(&weir, RAW).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].1.contains(OLD) && !left[0].1.contains("no record"), "{left:?}");
    weir.file_again(&key).await;
    assert_eq!(settled(&weir).await, [("ann button_click".to_owned(), 1)]);
    weir.run().await.unwrap().unwrap();
    assert_eq!(with_old(&weir, &[]).await, BTreeSet::new());
    assert_eq!(settled(&weir).await, [("ann button_click".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_filed_again_while_events_are_removed_holds_up_nothing() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: None, events: Some(10) };
    let old = weir.line(&OLD_CLICKS[0]);
    let (key, in_quarantine) = put_unfiled(&mut weir, &old).await;
    weir.file_again(&key).await;
    // What the fan-out puts does not have the event, which was put there by hand.
    let entry = json!({"batch": key.as_str(), "line": 2, "reason": "r", "text": old}).to_string();
    let object = gzip(&(entry + "\n" + &json!({"batch": "b", "reason": "other"}).to_string() + "\n"));
    weir.emulator
        .s3()
        .put_object()
        .bucket(RAW)
        .key(&in_quarantine)
        .body(object.clone().into())
        .send()
        .await
        .unwrap();
    let url = format!("{}/{RAW}/{in_quarantine}", weir.emulator.config(None).endpoint_url().unwrap());
    let times = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let (counted, file) = (times.clone(), in_quarantine.clone());
    let meddling = Dying::never_but(move |request| {
        let is_it = request.method() == "PUT" && request.uri().contains(&file);
        if is_it && counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            let mut other = object.clone();
            other.extend(gzip("{\"batch\":\"b\",\"reason\":\"another\"}\n"));
            ureq::put(&url).send(&other[..]).unwrap();
        }
    });
    let ran = weir.seal_of(Some(meddling.client()), catalog()).run(LEFT).await.unwrap().unwrap();
    assert!(ran.is_whole);
    assert_eq!(times.load(std::sync::atomic::Ordering::SeqCst), 2, "it was put once more");
    assert_eq!(with_old(&weir, &[]).await, BTreeSet::new());
    let left = versions(&weir, RAW).await;
    assert!(left.iter().any(|(key, text)| *key == in_quarantine && text.contains("another")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_have_no_time_to_remove_anything_are_counted_until_one_has() {
    let mut weir = Weir::start().await;
    weir.kept = Kept { json: None, events: Some(10) };
    weir.file(&OLD_CLICKS, &[]).await;
    for runs in 1..=3 {
        let seal = weir.seal_of(None, catalog()).with_longest_removal(Duration::ZERO);
        let ran = seal.run(LEFT).await.unwrap().unwrap();
        assert_eq!((ran.stalled, ran.is_whole), (runs, false), "{ran:?}");
    }
    let ran = weir.run().await.unwrap().unwrap();
    assert_eq!((ran.stalled, ran.removed.days, ran.is_whole), (0, 2, true), "{ran:?}");
    let seal = weir.seal_of(None, catalog()).with_longest_removal(Duration::ZERO);
    assert_eq!(seal.run(LEFT).await.unwrap().unwrap().stalled, 1, "it begins anew");
}
