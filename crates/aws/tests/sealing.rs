//! Sealing on AWS, from batches in raw to rows in Athena's views: on a local AWS, with a stand-in for Athena.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod athena;
mod dying;
mod emulator;
mod sealed_lake;

use std::{collections::BTreeMap, time::Duration};

use dying::Dying;
use emulator::LAKE;
use seal::{RunError, RunSummary};
use sealed_lake::{CLICKS, Click, DAY_MILLIS, LEFT, TURN_MILLIS, Weir, as_seen, catalog, click, file};
use serde_json::json;
use weir_core::{
    Catalog, Clock,
    sealing::{Manifest, Removed, SealError, SealedDays},
};

/// The number of calls that each run gets in addition to those of the run before.
const STRIDE: u64 = 5;

/// A repeat of the first click in a later batch. Its content differs, and it is left out.
const REPEAT: Click = click("ann", "a1", 4, 0, "never");

#[tokio::test(flavor = "multi_thread")]
async fn days_that_are_over_become_parquet_and_each_event_is_seen_once() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS, &[]).await;
    let time = weir.time(4, 7);
    let page = json!({
        "username": "ann", "event_type": "page_view", "event_id": "p1", "received_at": time, "url": "https://a/?b=ü",
        "session_id": "s", "bot": true,
    });
    let strange = json!({
        "username": "ann", "event_type": "not_in_the_catalog", "event_id": "n1", "received_at": time, "time": "none", "n": 1,
    });
    weir.file(&[REPEAT], &[page.to_string(), strange.to_string()]).await;
    let of_first = [weir.line(&CLICKS[0]), weir.line(&CLICKS[1]), weir.line(&CLICKS[2])];

    let ran = weir.run().await.unwrap().unwrap();
    let until = weir.today().minus(2);
    let removed = Removed::default();
    assert_eq!(
        ran,
        RunSummary { sealed: 2, sealed_until: until, is_whole: true, json_expired: 0, removed, stalled: 0 }
    );
    assert_eq!(weir.seen().await, as_seen(&CLICKS), "a repeat is left out, and nothing else");
    let pages = "SELECT event_id, \"time\", bot, url, \"year\" FROM weir_page_view WHERE username = 'ann'";
    let year = weir.today().first_hour().parts()[0];
    assert_eq!(weir.rows(pages).await, [format!("p1 {time} true https://a/?b=ü {year}")]);

    // The files have the whole lines, by user and time, without repeats. Repeats are in files of their own.
    let manifest = weir.manifest().await;
    let day = weir.today().minus(4);
    let types = &manifest.days[&day].types;
    let sealed: BTreeMap<&str, (u64, u64)> =
        types.iter().map(|(event_type, of)| (event_type.as_str(), (of.rows, of.repeats))).collect();
    assert_eq!(
        sealed,
        BTreeMap::from([("button_click", (3, 1)), ("not_in_the_catalog", (1, 0)), ("page_view", (1, 0))])
    );
    let of_clicks = &types[&"button_click".parse().unwrap()];
    assert!(of_clicks.files.len() > 1 && of_clicks.bytes > 0, "{of_clicks:?}");
    let part = of_clicks.files[0].split('/').next().unwrap();
    let lines = format!(
        "SELECT weir_line FROM weir_sealed_lines WHERE weir_part = '{part}' AND weir_kind = 'button_click'"
    );
    let strip = |line: &String| line.split("\"received_at\"").next().unwrap().to_owned();
    let mut found: Vec<String> = weir.rows(&lines).await.iter().map(strip).collect();
    let mut wanted: Vec<String> = of_first.iter().map(strip).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let found = emulator_keys(&weir).await;
    assert!(
        of_clicks
            .files
            .iter()
            .chain(&of_clicks.repeat_files)
            .all(|file| found.contains(&format!("sealed/{file}")))
    );

    // Nothing is due: nothing changes.
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 0);
    assert_eq!(weir.manifest().await, manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_is_taken_in_by_the_next_run_and_replaced_files_go_after_a_day() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS, &[]).await;
    weir.run().await.unwrap().unwrap();
    let late = [click("ann", "a0", 4, 1, "late"), click("bob", "b0", 9, 1, "later")];
    weir.file(&late, &[]).await;
    // A repeat of a sealed event stays a repeat, although it has the same time of arrival.
    weir.batches = 0;
    weir.file(&[REPEAT], &[]).await;
    let before = weir.days().generations().await.unwrap();
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 2);
    let all: Vec<Click> = CLICKS.iter().chain(&late).cloned().collect();
    assert_eq!(weir.seen().await, as_seen(&all));
    let after = weir.days().generations().await.unwrap();
    assert!(before.is_subset(&after) && after.len() == before.len() + 2, "queries that began before read on");
    weir.clock.advance(DAY_MILLIS);
    weir.run().await.unwrap().unwrap();
    let left = weir.days().generations().await.unwrap();
    assert!(
        !left.contains(&(weir.today().minus(5), 1)) && left.contains(&(weir.today().minus(5), 2)),
        "{left:?}"
    );
    assert_eq!(weir.seen().await, as_seen(&all));
    assert_eq!(
        weir.days().notes().await.unwrap().values().map(std::collections::BTreeSet::len).sum::<usize>(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whose_rows_are_not_those_that_were_settled_is_not_sealed() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS, &[]).await;
    let day = weir.today().minus(4);
    let lost = emulator_keys(&weir).await.into_iter();
    let lost: Vec<String> = lost
        .filter(|key| key.starts_with("username=bob/") && weir_core::sealing::day_of(key) == Some(day))
        .collect();
    let [lost] = &lost[..] else { panic!("{lost:?}") };
    let kept = weir.emulator.s3().get_object().bucket(LAKE).key(lost).send().await.unwrap();
    let kept = kept.body.collect().await.unwrap().to_vec();
    weir.emulator.s3().delete_object().bucket(LAKE).key(lost).send().await.unwrap();
    let error = weir.run().await.unwrap_err();
    assert!(matches!(&error, RunError::Day(SealError::Differs { found: 0, settled: 1, .. })), "{error}");
    assert_eq!(weir.manifest().await, Manifest::default());
    let rest: Vec<Click> = CLICKS.iter().filter(|click| click.id != "b1").cloned().collect();
    assert_eq!(weir.seen().await, as_seen(&rest));
    // Once the object is back, the next run goes on.
    weir.emulator.s3().put_object().bucket(LAKE).key(lost).body(kept.into()).send().await.unwrap();
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 2);
    assert_eq!(weir.seen().await, as_seen(&CLICKS));
}

/// The views before the sealing cannot be made, and those after it can.
#[tokio::test(flavor = "multi_thread")]
async fn more_late_objects_than_a_view_can_name_are_sealed_all_the_same() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS, &[]).await;
    let run =
        async |weir: &Weir, longest| weir.seal_of(None, catalog()).with_longest_view(longest).run(LEFT).await;
    let error = run(&weir, 0).await.unwrap_err();
    let RunError::TooLong { bytes, late: 0, .. } = error else { panic!("{error}") };
    let ids: Vec<String> = (0..24).map(|hour| format!("late-{hour}")).collect();
    let late: Vec<Click> =
        (0..).zip(&*ids.leak()).map(|(hour, id)| click("ann", id, 4, hour, "late")).collect();
    weir.file(&late, &[]).await;
    // Each late object has more than a hundred bytes.
    let ran = run(&weir, bytes + 1_000).await.unwrap().unwrap();
    assert_eq!((ran.sealed, ran.is_whole), (1, true));
    let all: Vec<Click> = CLICKS.iter().chain(&late).cloned().collect();
    assert_eq!(weir.seen().await, as_seen(&all));
}

/// A late day that differs holds up no open day, and the run fails.
#[tokio::test(flavor = "multi_thread")]
async fn open_days_are_sealed_although_a_late_one_cannot_be_sealed_again() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS[..3], &[]).await;
    weir.run().await.unwrap().unwrap();
    weir.file(&[click("ann", "late", 4, 1, "late"), click("bob", "lost", 4, 2, "late")], &[]).await;
    let lost = emulator_keys(&weir).await.into_iter();
    let lost: Vec<String> =
        lost.filter(|key| key.starts_with("username=bob/") && key.contains("hour=2/")).collect();
    let [lost] = &lost[..] else { panic!("{lost:?}") };
    weir.emulator.s3().delete_object().bucket(LAKE).key(lost).send().await.unwrap();
    weir.clock.advance(3 * DAY_MILLIS);
    let open =
        [click("ann", "o1", 5, 3, "buy"), click("ann", "o2", 4, 3, "buy"), click("ann", "o3", 3, 3, "buy")];
    weir.file(&open, &[]).await;
    let error = weir.run().await.unwrap_err();
    assert!(matches!(&error, RunError::Day(SealError::Differs { found: 1, settled: 2, .. })), "{error}");
    let manifest = weir.manifest().await;
    assert_eq!(manifest.sealed_until, weir.today().minus(2));
    assert_eq!(manifest.days.len(), 4, "{manifest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_anywhere_is_begun_again_and_changes_nothing_that_is_read() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS, &[]).await;
    weir.file(&[REPEAT], &[]).await;
    // The first run makes the views, and has no time to seal.
    let error = weir.seal_of(None, catalog()).run(Duration::from_mins(2)).await.unwrap_err();
    assert!(matches!(error, RunError::NoTime), "{error}");
    let mut seen = weir.seen().await;
    assert_eq!(seen, as_seen_with_repeat(&CLICKS));
    let repeat = &as_seen(&[REPEAT])[0];
    let (mut all, mut calls) = (CLICKS.to_vec(), 1);
    loop {
        // The event comes late once its day is sealed, so each run has all steps to do.
        let id = Box::leak(format!("x{calls:03}").into_boxed_str());
        let late = click("ann", id, 4, 3, "late");
        weir.file(std::slice::from_ref(&late), &[]).await;
        all.push(late);
        let dying = Dying::after(calls);
        let run = weir.seal_of(Some(dying.client()), catalog()).run(LEFT).await;
        // By then its turn is over.
        weir.clock.advance(TURN_MILLIS);
        let now = weir.seen().await;
        let known = as_seen_with_repeat(&all);
        assert!(now.windows(2).all(|rows| rows[0] != rows[1]), "after {calls} calls, twice: {now:?}");
        assert!(now.iter().all(|row| known.contains(row)), "after {calls} calls: {now:?}");
        let gone = seen.iter().find(|row| *row != repeat && !now.contains(row));
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
    assert!(calls > 10 * STRIDE, "{calls} calls are a whole run: fewer than it takes to seal");
    let manifest = weir.manifest().await;
    assert_eq!(manifest.sealed_until, weir.today().minus(2));
    let number = manifest.days[&weir.today().minus(4)].number;
    assert!(number > 1, "a day was sealed again");
}

fn as_seen_with_repeat(clicks: &[Click]) -> Vec<String> {
    as_seen(&clicks.iter().cloned().chain([REPEAT]).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_seals_at_a_time() {
    let weir = Weir::start().await;
    let now = weir.clock.now();
    let turn = weir.days().turn("another", now, now.plus_millis(60_000)).await.unwrap().unwrap();
    assert_eq!(weir.run().await.unwrap(), None);
    turn.end().await;
    assert!(weir.run().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_days_are_read_with_the_columns_of_the_catalog_of_now() {
    let mut weir = Weir::start().await;
    weir.file(&CLICKS, &[]).await;
    let mut earlier: serde_json::Value = serde_json::from_str(&file("button_click")).unwrap();
    earlier["properties"].as_object_mut().unwrap().remove("button_id");
    earlier["properties"]["session_id"] = json!({"type": "integer"});
    earlier["required"] = json!([]);
    earlier["examples"] = json!([{"session_id": 1}]);
    earlier["x-weir"].as_object_mut().unwrap().remove("count_by");
    let earlier = earlier.to_string();
    let earlier = Catalog::read([("button_click.json", earlier.as_str())]).unwrap();
    // Seals with an earlier catalog, in which `session_id` is a number and `button_id` is missing.
    let sealed = weir.seal_of(None, earlier).run(LEFT).await.unwrap().unwrap();
    assert_eq!(sealed.sealed, 2);
    weir.run().await.unwrap().unwrap();
    assert_eq!(weir.seen().await, as_seen(&CLICKS));
}

async fn emulator_keys(weir: &Weir) -> Vec<String> {
    weir.emulator.objects(LAKE).await
}
