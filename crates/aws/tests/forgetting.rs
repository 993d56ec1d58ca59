//! `weir forget` on AWS: nothing of what was forgotten is left, and nothing of it comes back. On a local AWS whose buckets have
//! versions.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod athena;
mod dying;
mod emulator;
mod sealed_lake;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    num::NonZeroU16,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use dying::Dying;
use emulator::{COUNTS, IDS, LAKE, LATEST, RAW, STREAM, shards};
use fan_out::{FanOut, Filed};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use seal::{Forget, ForgetAmounts, ForgetError, Kept, Places, RunError};
use sealed_lake::{CLICKS, DAY_MILLIS, Weir, as_seen, file};
use serde_json::{Value, json};
use weir_aws::{CountsToLower, Lowered, LoweredCount, Names};
use weir_core::{
    BatchKey, Catalog, CountedValue, Counter, Day, Event, Increment, LatestKey, Record, Stamp, SystemRandom,
    Timestamp,
    forgotten::{ForgetRequest, Which},
    latest::LatestValue,
    ports::{Appended, Forgotten, LiveCounts, Ports, ReadLatest, SettledCounts},
    receipt::ReceiptStatus,
};

/// What the events hold that are forgotten, and nothing else.
const MARK: &str = "MARKED";

/// The person whose events are forgotten. Another user has events of the same person.
const PERSON: &str = "p-1";

/// How long the turn of a forgetting that died lasts, and what was read of forgotten events is believed.
const OVER_MILLIS: u64 = 11 * 60_000;

/// The number of calls that each run gets in addition to those of the run before: `WEIR_KILL_STRIDE`, or what is usual.
fn stride(usual: u64) -> u64 {
    std::env::var("WEIR_KILL_STRIDE").map_or(usual, |stride| stride.parse().unwrap())
}

fn catalog() -> Catalog {
    let mut click: Value = serde_json::from_str(&file("button_click")).unwrap();
    click["x-weir"]["latest_by"] = json!("device");
    click["properties"]["device"] = json!({"type": "string"});
    Catalog::read([("button_click.json", click.to_string().as_str())]).unwrap()
}

fn places() -> Places {
    Places {
        raw: RAW.to_owned(),
        lake: LAKE.to_owned(),
        bucket_per_user: false,
        counts: (COUNTS.to_owned(), shards(2)),
        recent_ids: IDS.to_owned(),
        latest: LATEST.to_owned(),
    }
}

fn forget(weir: &Weir, client: Option<SharedHttpClient>) -> Forget {
    let forget =
        Forget::new(&weir.aws(client), &places(), catalog(), weir.clock.clone(), Arc::new(SystemRandom));
    forget.waiting(Duration::ZERO, Duration::ZERO)
}

fn request() -> ForgetRequest {
    let which = Which::Where { field: "person".to_owned(), values: vec![PERSON.to_owned()] };
    ForgetRequest { username: "ann".parse().unwrap(), event_type: None, which }
}

async fn run(weir: &Weir, request: &ForgetRequest) -> Result<ForgetAmounts, ForgetError> {
    forget(weir, None).run(request, &|_| ()).await
}

fn ports(weir: &Weir) -> Ports {
    let names = Names {
        stream: STREAM.to_owned(),
        recent_ids: IDS.to_owned(),
        counts: COUNTS.to_owned(),
        shards: NonZeroU16::new(2).unwrap(),
        latest: LATEST.to_owned(),
        raw: RAW.to_owned(),
        lake: LAKE.to_owned(),
        bucket_per_user: false,
    };
    weir.aws(None).ports(&names, Duration::from_secs(20)).0
}

fn fan_out(weir: &Weir) -> FanOut {
    let aws = weir.aws(None);
    FanOut::new(
        Arc::new(aws.raw(RAW)),
        Arc::new(aws.lake(LAKE, false)),
        Arc::new(aws.quarantine(RAW)),
        Arc::new(aws.counts(COUNTS, shards(2))),
    )
    .without(Arc::new(aws.forgotten(LAKE)))
}

async fn file_batch(weir: &Weir, key: &BatchKey) -> Filed {
    fan_out(weir).file(key).await.unwrap()
}

/// A click of a user. Those of the person have the mark, also in what they are counted by.
fn click(user: &str, id: &str, at: Timestamp, (person, device): (&str, &str), fill: usize) -> Record {
    let is_meant = user == "ann" && person == PERSON;
    let (note, button) = if is_meant { (MARK, "MARKED-button") } else { ("stays", "buy") };
    let text = json!({
        "event_id": id, "session_id": "s", "button_id": button, "person": person, "device": device,
        "note": note.to_owned() + &"x".repeat(fill),
    });
    let stamp = Stamp { username: user.parse().unwrap(), event_id: id.parse().unwrap(), received_at: at };
    let click = "button_click".parse().unwrap();
    let record = Record::accepted(&Event::read(&text.to_string()).unwrap(), &click, None, stamp);
    record.latest_under(Some(LatestKey::of(device)))
}

/// Returns a time that is not of the future, wherever the clock is in its day.
fn past(weir: &Weir, days: u64, hour: u64) -> Timestamp {
    let (time, now) = (weir.time(days, hour), weir_core::Clock::now(&*weir.clock).millis());
    Timestamp::saturating(if time > now { time - DAY_MILLIS } else { time })
}

/// All that was sent: of the person by Ann, of another one by Ann, and of the same person by Bob.
fn clicks(weir: &Weir) -> Vec<Record> {
    let at = |days, hour| past(weir, days, hour);
    vec![
        click("ann", "MARKED-1", at(0, 1), (PERSON, "d1"), 0),
        click("ann", "other-1", at(0, 0), ("p-2", "d1"), 0),
        click("ann", "MARKED-2", at(1, 2), (PERSON, "d2"), 20_000),
        click("ann", "MARKED-3", at(1, 2), (PERSON, "d2"), 10),
        click("ann", "other-2", at(1, 2), ("p-2", "d3"), 20_000),
        click("bob", "bob-1", at(0, 1), (PERSON, "d1"), 0),
    ]
}

/// Sends events one by one, as the collector does; returns the batches that they are in.
async fn send(weir: &Weir, records: Vec<Record>) -> BTreeSet<String> {
    let mut batches = BTreeSet::new();
    for record in records {
        batches.extend(send_together(weir, vec![record]).await);
    }
    batches
}

/// Sends events in one request, likewise.
async fn send_together(weir: &Weir, records: Vec<Record>) -> BTreeSet<String> {
    let before: BTreeSet<String> = weir.emulator.objects(RAW).await.into_iter().collect();
    let ports = ports(weir);
    let outcomes = ports.stream.append(records.clone()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Appended::Stored)), "{outcomes:?}");
    for record in records {
        let counter = record.counter();
        let button = serde_json::from_slice::<Value>(record.line()).unwrap()["button_id"].clone();
        let key = Some(CountedValue::of(button.as_str().unwrap()));
        let by_key = Counter { key, ..counter.clone() };
        let increments = [counter.clone(), by_key].map(|counter| Increment { counter, by: 1 });
        ports.live.raise(&increments).await.unwrap();
        for raised in ports.latest.raise(&[LatestValue::of(&record).unwrap()]).await {
            raised.unwrap();
        }
    }
    let batches: BTreeSet<String> = weir.emulator.objects(RAW).await.into_iter().collect();
    batches.difference(&before).filter(|key| key.starts_with("raw/")).cloned().collect()
}

/// Everything that Ann and Bob sent, filed, with a rejected event and a line that is no record, and with versions that nothing lists.
async fn fill(weir: &Weir) -> BTreeMap<String, Vec<u8>> {
    let mut batches = send(weir, clicks(weir)).await;
    let at = past(weir, 0, 3);
    let stamp =
        Stamp { username: "ann".parse().unwrap(), event_id: "rejected-1".parse().unwrap(), received_at: at };
    let rejected =
        Record::rejected(format!(r#"{{"person":"{PERSON}","x":"{MARK}"}}"#).as_bytes(), None, &[], stamp);
    ports(weir).rejected.note(std::slice::from_ref(&rejected)).await.unwrap();
    let bad = format!(r#"{{"username":"ann","person":"{PERSON}","x":"{MARK}""#);
    let more = [rejected.line().to_vec(), bad.into_bytes(), b"\nno record of anyone\n".to_vec()].concat();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&more).unwrap();
    let s3 = weir.emulator.s3();
    let key = "raw/2026/11/20/12/weir-rejected.json.gz";
    s3.put_object().bucket(RAW).key(key).body(gzip.finish().unwrap().into()).send().await.unwrap();
    batches.insert(key.to_owned());
    let mut contents = BTreeMap::new();
    for key in &batches {
        file_batch(weir, &BatchKey::new(key.as_str())).await;
        let object = s3.get_object().bucket(RAW).key(key).send().await.unwrap();
        contents.insert(key.clone(), object.body.collect().await.unwrap().to_vec());
    }
    for (key, content) in &contents {
        s3.put_object().bucket(RAW).key(key).body(content.clone().into()).send().await.unwrap();
    }
    // A removed object of the lake, and what a query left.
    let removed = "username=ann/button_click/year=2026/month=1/day=2/hour=3/removed.json.gz";
    let lines = contents.values().next().unwrap().clone();
    for (bucket, key) in [(LAKE, removed), (RAW, "athena-results/queries/rows.csv")] {
        let content = if bucket == LAKE { lines.clone() } else { MARK.as_bytes().to_vec() };
        s3.put_object().bucket(bucket).key(key).body(content.into()).send().await.unwrap();
    }
    s3.delete_object().bucket(LAKE).key(removed).send().await.unwrap();
    contents
}

/// The places that have the mark, in a key or in content: all versions of all objects, markers of removals, and items of all tables.
async fn marked(weir: &Weir) -> BTreeSet<String> {
    let (mut found, s3) = (BTreeSet::new(), weir.emulator.s3());
    for bucket in [RAW, LAKE] {
        let page = s3.list_object_versions().bucket(bucket).send().await.unwrap();
        assert_ne!(page.is_truncated(), Some(true), "too many versions for this test");
        for version in page.versions() {
            let (key, id) = (version.key().unwrap(), version.version_id().unwrap());
            let object = s3.get_object().bucket(bucket).key(key).version_id(id).send().await.unwrap();
            let bytes = object.body.collect().await.unwrap().to_vec();
            let mut text = Vec::new();
            if MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).is_err() {
                text = bytes;
            }
            if [key.as_bytes(), &text].concat().windows(MARK.len()).any(|part| part == MARK.as_bytes()) {
                found.insert(key.to_owned());
            }
        }
        // Of the object that was removed by hand, not even the marker is left.
        let markers = page.delete_markers().iter().filter_map(|marker| marker.key());
        found.extend(markers.filter(|key| key.contains("removed.json")).map(str::to_owned));
    }
    let dynamo = aws_sdk_dynamodb::Client::new(&weir.emulator.config(None));
    for table in [COUNTS, LATEST, IDS] {
        let page = dynamo.scan().table_name(table).send().await.unwrap();
        let items = page.items().iter().map(|item| format!("{:?}", item.iter().collect::<BTreeMap<_, _>>()));
        found.extend(items.filter(|item| item.contains(MARK)).map(|item| format!("{table} {item}")));
    }
    found
}

/// The events in the lake: users and ids.
async fn filed(weir: &Weir) -> Vec<String> {
    let (mut found, s3) = (Vec::new(), weir.emulator.s3());
    for key in weir.emulator.objects(LAKE).await.iter().filter(|key| key.starts_with("username=")) {
        let object = s3.get_object().bucket(LAKE).key(key).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().to_vec();
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            found.push(format!(
                "{} {}",
                line["username"].as_str().unwrap(),
                line["event_id"].as_str().unwrap()
            ));
        }
    }
    found.sort();
    found
}

/// The counts of a user: settled and live totals, and keys.
async fn counted(weir: &Weir, user: &str) -> String {
    let counts = weir.emulator.aws().counts(COUNTS, shards(2));
    let (user, click) = (user.parse().unwrap(), "button_click".parse().unwrap());
    let settled = SettledCounts::totals(&counts, &user).await.unwrap().by_type;
    let live = LiveCounts::totals(&counts, &user).await.unwrap();
    let all = weir_core::counts::KeysRequest { after: None, limit: 100 };
    let keys = counts.keys(&user, &click, &all).await.unwrap();
    let keys: Vec<String> = keys.iter().map(|it| format!("{}={}", it.key, it.count)).collect();
    let totals = |of: BTreeMap<weir_core::EventType, u64>| {
        of.iter().map(|(of, count)| format!("{of}={count}")).collect::<Vec<_>>().join(" ")
    };
    format!("settled {}; live {}; keys {}", totals(settled), totals(live), keys.join(" "))
}

/// The ids of the latest values of Ann.
async fn latest(weir: &Weir) -> Vec<String> {
    let latest = weir.emulator.aws().latest(LATEST, LAKE);
    let (user, click) = ("ann".parse().unwrap(), "button_click".parse().unwrap());
    let values = latest.list(&user, &click, None, 10).await.unwrap();
    values.iter().map(|it| format!("{}={}", it.resource.key, it.version.event_id)).collect()
}

/// What is left of everything that was sent.
async fn assert_only_the_others_are_left(weir: &Weir, when: &str) {
    assert_eq!(marked(weir).await, BTreeSet::new(), "{when}");
    assert_eq!(filed(weir).await, ["ann other-1", "ann other-2", "bob bob-1"], "{when}");
    assert_eq!(
        counted(weir, "ann").await,
        "settled button_click=2; live button_click=2; keys buy=2",
        "{when}"
    );
    assert_eq!(
        counted(weir, "bob").await,
        "settled button_click=1; live button_click=1; keys buy=1",
        "{when}"
    );
    assert_eq!(latest(weir).await, ["d1=other-1", "d3=other-2"], "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_in_no_version_and_in_no_table_and_never_comes_back() {
    let weir = Weir::start().await;
    let contents = fill(&weir).await;
    let before = marked(&weir).await;
    for place in ["raw/", "quarantine/", "username=ann/", "latest/", "athena-results/", IDS, COUNTS, LATEST] {
        assert!(before.iter().any(|found| found.starts_with(place)), "{place}: {before:?}");
    }
    assert!(counted(&weir, "ann").await.contains("settled button_click=5 rejected=1;"));

    let amounts = run(&weir, &request()).await.unwrap();
    let of = |name: &str| name.parse().unwrap();
    assert_eq!(amounts.events, [(of("button_click"), 3), (of("rejected"), 1)], "{amounts:?}");
    assert_eq!((amounts.latest, amounts.ids, amounts.rejected), (2, 3, 1), "{amounts:?}");
    assert_eq!((amounts.quarantine, amounts.results), (1, 1), "{amounts:?}");
    assert_only_the_others_are_left(&weir, "after it").await;
    let counts = weir.emulator.aws().counts(COUNTS, shards(2));
    let forgotten = counts.all_forgotten().await.unwrap();
    assert_eq!(forgotten.values().sum::<u64>(), 4, "{forgotten:?}");

    // An empty line is in the place of each event that left a batch with others.
    let s3 = weir.emulator.s3();
    let mixed =
        s3.get_object().bucket(RAW).key("raw/2026/11/20/12/weir-rejected.json.gz").send().await.unwrap();
    let mut text = String::new();
    let bytes = mixed.body.collect().await.unwrap().to_vec();
    MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "\n\nno record of anyone\n");

    // A late notification, and a replay of copies that are put back, bring nothing of it back.
    for (key, content) in &contents {
        s3.put_object().bucket(RAW).key(key).body(content.clone().into()).send().await.unwrap();
        file_batch(&weir, &BatchKey::new(key.as_str())).await;
    }
    let copies = marked(&weir).await;
    assert!(!copies.is_empty() && copies.iter().all(|place| place.starts_with("raw/")), "{copies:?}");

    // Nor does a client's retry, which is answered as a duplicate; an event under another id is stored.
    let known: BTreeSet<String> = weir.emulator.objects(RAW).await.into_iter().collect();
    let ports = ports(&weir);
    let now = Timestamp::saturating(weir.time(0, 11));
    let again = click("ann", "MARKED-1", now, (PERSON, "d1"), 0);
    let outcomes = ports.stream.append(vec![again]).await;
    assert!(matches!(outcomes[..], [Appended::Duplicate { stored: None }]), "{outcomes:?}");
    assert_eq!(weir.emulator.objects(RAW).await.into_iter().collect::<BTreeSet<_>>(), known);
    let receipt = ports.receipts.receipt(&of_user("ann"), &"MARKED-1".parse().unwrap(), &[]).await.unwrap();
    assert_eq!(receipt.unwrap().status, ReceiptStatus::Forgotten);
    // Another user's id of the same name is another one.
    let others = ports.receipts.receipt(&of_user("bob"), &"MARKED-1".parse().unwrap(), &[]).await.unwrap();
    assert!(others.is_none());

    // Repeating it removes the copies, and changes no count.
    let again = run(&weir, &request()).await.unwrap();
    assert_eq!(again.events, []);
    assert!(again.raw > 0);
    assert_only_the_others_are_left(&weir, "repeated").await;
}

fn of_user(name: &str) -> weir_core::Username {
    name.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgetting_that_is_killed_anywhere_is_finished_by_the_next_one_and_lowers_counts_once() {
    let weir = Weir::start().await;
    let (mut calls, mut died) = (1, 0);
    loop {
        fill_again(&weir).await;
        let dying = Dying::after(calls);
        let killed = forget(&weir, Some(dying.client())).run(&request(), &|_| ()).await;
        weir.clock.advance(OVER_MILLIS);
        let when = format!("killed after {calls} calls");
        if let Err(error) = &killed {
            assert!(dying.has_died(), "{when}: {error}");
            died += 1;
            run(&weir, &request()).await.unwrap_or_else(|error| panic!("{when}: {error}"));
            weir.clock.advance(OVER_MILLIS);
        }
        assert_only_the_others_are_left(&weir, &when).await;
        if !dying.has_died() {
            break;
        }
        calls += stride(3);
    }
    assert!(died > 10, "{calls} calls are a whole forgetting: too few to die in");
}

/// Fills everything anew.
async fn fill_again(weir: &Weir) -> BTreeMap<String, Vec<u8>> {
    let (s3, dynamo) = (weir.emulator.s3(), aws_sdk_dynamodb::Client::new(&weir.emulator.config(None)));
    for bucket in [RAW, LAKE] {
        let page = s3.list_object_versions().bucket(bucket).send().await.unwrap();
        let versions = page.versions().iter().map(|it| (it.key().unwrap(), it.version_id().unwrap()));
        let markers = page.delete_markers().iter().map(|it| (it.key().unwrap(), it.version_id().unwrap()));
        for (key, id) in versions.chain(markers) {
            s3.delete_object().bucket(bucket).key(key).version_id(id).send().await.unwrap();
        }
    }
    for (table, keys) in [(COUNTS, &["pk", "sk"][..]), (LATEST, &["pk", "sk"]), (IDS, &["id"])] {
        for item in dynamo.scan().table_name(table).send().await.unwrap().items() {
            let key = keys.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect();
            dynamo.delete_item().table_name(table).set_key(Some(key)).send().await.unwrap();
        }
    }
    fill(weir).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_between_a_death_and_the_next_run_nothing_comes_back_and_no_other_event_goes() {
    let weir = Weir::start().await;
    let (mut calls, mut is_sealed_before, mut died) = (2, true, 0);
    loop {
        let when = format!("killed after {calls} calls; a day was sealed before: {is_sealed_before}");
        let mut batches: BTreeSet<String> = fill_again(&weir).await.into_keys().collect();
        let now = weir_core::Clock::now(&*weir.clock);
        let (long_ago, marked_4) = (Timestamp::saturating(weir.time(4, 1)), ("ann", "MARKED-4"));
        let older = [
            click(marked_4.0, marked_4.1, long_ago, (PERSON, "d4"), 0),
            click("ann", "other-4", long_ago, ("p-2", "d5"), 0),
        ];
        batches.extend(send_together(&weir, older.into()).await);
        batches.extend(send(&weir, vec![click("ann", "MARKED-now", now, (PERSON, "d6"), 0)]).await);
        for key in &batches {
            file_batch(&weir, &BatchKey::new(key.as_str())).await;
        }
        let seal = || weir.seal_of(None, sealed_lake::catalog());
        if is_sealed_before {
            seal().run(sealed_lake::LEFT).await.unwrap().unwrap();
        }
        let dying = Dying::after(calls);
        let killed = sealing(&weir, Some(dying.client())).run(&request(), &|_| ()).await;
        weir.clock.advance(OVER_MILLIS);
        if let Err(error) = killed {
            assert!(dying.has_died(), "{when}: {error}");
            died += 1;
            // The day is sealed, unless counts are lowered already and its events are still there.
            match seal().run(sealed_lake::LEFT).await {
                Ok(summary) => assert!(summary.is_some(), "{when}"),
                Err(error) => assert!(matches!(error, RunError::Day(_)), "{when}: {error}"),
            }
            // An event that was sent is sent again, and another one of the same person.
            let now = weir_core::Clock::now(&*weir.clock);
            let retry = click("ann", "MARKED-now", now, (PERSON, "d6"), 0);
            let outcomes = ports(&weir).stream.append(vec![retry]).await;
            assert!(matches!(outcomes[..], [Appended::Duplicate { .. }]), "{when}: {outcomes:?}");
            // Its latest value is an object of its own.
            send(&weir, vec![click("ann", "MARKED-late", now, (PERSON, "d6"), 20_000)]).await;
            // All that is left of raw is filed again.
            for key in weir.emulator.objects(RAW).await.iter().filter(|key| key.starts_with("raw/")) {
                file_batch(&weir, &BatchKey::new(key.as_str())).await;
            }
            let finished = sealing(&weir, None).run(&request(), &|_| ()).await;
            finished.unwrap_or_else(|error| panic!("{when}: {error}"));
            weir.clock.advance(OVER_MILLIS);
        }
        assert_eq!(marked(&weir).await, BTreeSet::new(), "{when}");
        assert_eq!(filed(&weir).await, ["ann other-1", "ann other-2", "ann other-4", "bob bob-1"], "{when}");
        let of_ann = "settled button_click=3; live button_click=3; keys buy=3";
        assert_eq!(counted(&weir, "ann").await, of_ann, "{when}");
        let of_bob = "settled button_click=1; live button_click=1; keys buy=1";
        assert_eq!(counted(&weir, "bob").await, of_bob, "{when}");
        assert_eq!(latest(&weir).await, ["d1=other-1", "d3=other-2", "d5=other-4"], "{when}");
        seal().run(sealed_lake::LEFT).await.unwrap().unwrap();
        let seen = weir
            .rows("SELECT username, event_id FROM weir_button_click WHERE username IN ('ann', 'bob')")
            .await;
        let seen: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(seen, ["ann other-1", "ann other-2", "ann other-4", "bob bob-1"].into(), "{when}");
        if !dying.has_died() {
            break;
        }
        calls += stride(19);
        is_sealed_before = !is_sealed_before;
    }
    assert!(died > 5, "{calls} calls are a whole forgetting: too few to die in");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_after_the_command_began_stay_with_what_follows_from_them() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let later = Timestamp::saturating(weir_core::Clock::now(&*weir.clock).millis() + 1);
    let batches = send(&weir, vec![click("ann", "later-1", later, (PERSON, "d9"), 20_000)]).await;
    for key in &batches {
        file_batch(&weir, &BatchKey::new(key.as_str())).await;
    }
    let amounts = run(&weir, &request()).await.unwrap();
    assert_eq!(amounts.events.iter().map(|(_, count)| count).sum::<u64>(), 4, "{amounts:?}");
    assert!(filed(&weir).await.contains(&"ann later-1".to_owned()), "{:?}", filed(&weir).await);
    assert!(latest(&weir).await.iter().any(|value| value.contains("d9")), "{:?}", latest(&weir).await);
    let kept = weir.aws(None).latest(LATEST, LAKE);
    let listed = kept.list(&of_user("ann"), &"button_click".parse().unwrap(), None, 10).await.unwrap();
    assert!(listed.iter().any(|value| value.resource.key == LatestKey::of("d9")));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_are_filed_again_while_it_is_waited_change_no_count() {
    let weir = Weir::start().await;
    let mut batches: BTreeSet<String> = fill(&weir).await.into_keys().collect();
    // An object that has such an event and another one is put again without the former.
    let at = past(&weir, 0, 1);
    let both = ["MARKED-9", "other-9"].map(|id| {
        let of = if id == "other-9" { ("p-2", "d7") } else { (PERSON, "d8") };
        click("ann", id, at, of, 0)
    });
    for key in send_together(&weir, both.into()).await {
        file_batch(&weir, &BatchKey::new(key.as_str())).await;
        batches.insert(key);
    }
    // The wait is that for filing which began before; until its end, all batches are filed again.
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let forget = forget(&weir, None).waiting(Duration::ZERO, Duration::from_secs(10));
    let say = move |step: &str| {
        if step.starts_with("waiting until") {
            begun.send(()).unwrap();
        }
    };
    let request = request();
    let file_again = async {
        has_begun.recv().await.unwrap();
        weir.clock.advance(61_000);
        for key in &batches {
            file_batch(&weir, &BatchKey::new(key.as_str())).await;
        }
    };
    let (amounts, ()) = tokio::join!(forget.run(&request, &say), file_again);
    let amounts = amounts.unwrap();
    assert_eq!(amounts.events.iter().map(|(_, count)| count).sum::<u64>(), 5, "{amounts:?}");
    assert_eq!(marked(&weir).await, BTreeSet::new());
    assert_eq!(counted(&weir, "ann").await, "settled button_click=3; live button_click=3; keys buy=3");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_user_goes_with_the_counts_and_nothing_of_another_user() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let all = ForgetRequest { which: Which::All, ..request() };
    let amounts = run(&weir, &all).await.unwrap();
    assert_eq!(amounts.events.iter().map(|(_, count)| count).sum::<u64>(), 6, "{amounts:?}");
    assert_eq!(marked(&weir).await, BTreeSet::new());
    assert_eq!(filed(&weir).await, ["bob bob-1"]);
    assert_eq!(counted(&weir, "ann").await, "settled ; live ; keys ");
    assert_eq!(counted(&weir, "bob").await, "settled button_click=1; live button_click=1; keys buy=1");
    assert_eq!(latest(&weir).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_by_key_of_a_type_that_left_the_catalog_go_with_its_events() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let places = places();
    let catalog = Catalog::read([("page_view.json", file("page_view").as_str())]).unwrap();
    let random = Arc::new(SystemRandom);
    let forget = Forget::new(&weir.aws(None), &places, catalog, weir.clock.clone(), random);
    let forget = forget.waiting(Duration::ZERO, Duration::ZERO);
    let all = ForgetRequest { which: Which::All, ..request() };
    forget.run(&all, &|_| ()).await.unwrap();
    assert_eq!(marked(&weir).await, BTreeSet::new());
    assert_eq!(counted(&weir, "ann").await, "settled ; live ; keys ");
    assert_eq!(counted(&weir, "bob").await, "settled button_click=1; live button_click=1; keys buy=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_parquet_is_left_or_an_object_cannot_be_read_nothing_is_forgotten() {
    let mut weir = Weir::start().await;
    fill(&weir).await;
    let before = (marked(&weir).await, counted(&weir, "ann").await);
    let s3 = weir.emulator.s3();
    let damaged = "raw/2026/11/20/12/weir-damaged.json.gz";
    s3.put_object().bucket(RAW).key(damaged).body(vec![0x1f, 0x8b, 9].into()).send().await.unwrap();
    let error = run(&weir, &request()).await.unwrap_err();
    assert!(matches!(&error, ForgetError::Unreadable { object, .. } if object == damaged), "{error}");
    assert_eq!((marked(&weir).await, counted(&weir, "ann").await), before);
    s3.delete_object().bucket(RAW).key(damaged).send().await.unwrap();

    weir.file(&CLICKS, &[]).await;
    weir.kept = Kept { json: Some(1), events: None };
    weir.run().await.unwrap().unwrap();
    let before = (marked(&weir).await, counted(&weir, "ann").await);
    let error = run(&weir, &request()).await.unwrap_err();
    assert!(matches!(error, ForgetError::Sealed), "{error}");
    weir.clock.advance(DAY_MILLIS);
    assert_eq!(weir.run().await.unwrap().unwrap().json_expired, 2);
    let error = sealing(&weir, None).run(&request(), &|_| ()).await.unwrap_err();
    assert!(matches!(error, ForgetError::OnlyParquet(_)), "{error}");
    assert_eq!((marked(&weir).await, counted(&weir, "ann").await), before);
}

/// A forgetting that can seal days again.
fn sealing(weir: &Weir, client: Option<SharedHttpClient>) -> Forget {
    let seal = weir.seal_of(client.clone(), sealed_lake::catalog());
    forget(weir, client).sealing(seal)
}

/// The generations of a day of which anything but the list of objects is there, in any version.
async fn generations(weir: &Weir, day: Day) -> BTreeSet<String> {
    let prefix = format!("sealed/{day}.");
    let list = weir.emulator.s3().list_object_versions().bucket(LAKE).prefix(&prefix).send().await.unwrap();
    let keys = list.versions().iter().map(|version| version.key().unwrap().strip_prefix(&prefix).unwrap());
    let files = keys.filter(|key| !key.ends_with(".objects.gz"));
    files.map(|key| key.split('.').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_days_with_such_events_are_sealed_again_without_them_and_no_other_day_changes() {
    let mut weir = Weir::start().await;
    let which = Which::Where { field: "button_id".to_owned(), values: vec!["goes".to_owned()] };
    let gone = ForgetRequest { username: "ann".parse().unwrap(), event_type: None, which };
    let going = |id: &'static str| {
        [sealed_lake::click("ann", id, 4, 2, "goes"), sealed_lake::click("bob", id, 4, 2, "goes")]
    };
    let [of_ann, of_bob] = going("x0");
    weir.file(&CLICKS, &[]).await;
    weir.file(&[of_ann, of_bob.clone()], &[]).await;
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 2);
    let [changed, other] = [4, 3].map(|days| weir.today().minus(days));
    let before = weir.manifest().await;
    // A sealing that died left a file under the number of the next generation.
    let left = format!("sealed/{changed}.{}.dead/button_click/file", before.next(changed));
    let s3 = weir.emulator.s3();
    s3.put_object().bucket(LAKE).key(left).body(b"rows".to_vec().into()).send().await.unwrap();
    let amounts = sealing(&weir, None).run(&gone, &|_| ()).await.unwrap();
    assert_eq!((amounts.sealed, amounts.events.len()), (1, 1), "{amounts:?}");
    let mut left: Vec<sealed_lake::Click> = CLICKS.into_iter().chain([of_bob]).collect();
    assert_eq!(weir.seen().await, as_seen(&left));
    let after = weir.manifest().await;
    assert_eq!(after.days[&other], before.days[&other]);
    assert_eq!(generations(&weir, changed).await, [after.days[&changed].number.to_string()].into());
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 0, "the day is sealed");

    // Wherever it is killed, the next one finishes it.
    let mut calls = if stride(19) == 1 { 1 } else { 20 };
    loop {
        let [of_ann, of_bob] = going(Box::leak(format!("x{calls}").into_boxed_str()));
        weir.file(&[of_ann, of_bob.clone()], &[]).await;
        left.push(of_bob);
        weir.run().await.unwrap().unwrap();
        let dying = Dying::after(calls);
        let killed = sealing(&weir, Some(dying.client())).run(&gone, &|_| ()).await;
        weir.clock.advance(OVER_MILLIS);
        let when = format!("killed after {calls} calls");
        if let Err(error) = killed {
            assert!(dying.has_died(), "{when}: {error}");
            let finished = sealing(&weir, None).run(&gone, &|_| ()).await;
            finished.unwrap_or_else(|error| panic!("{when}: {error}"));
        }
        assert_eq!(weir.seen().await, as_seen(&left), "{when}");
        let current = weir.manifest().await.days[&changed].number.to_string();
        assert_eq!(generations(&weir, changed).await, [current].into(), "{when}");
        if !dying.has_died() {
            break;
        }
        calls += stride(19);
    }
    assert!(calls > 100, "{calls} calls are a whole forgetting");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_replaced_or_removed_while_they_are_looked_at_are_looked_at_again() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let endpoint = weir.emulator.config(None).endpoint_url().unwrap().to_owned();
    let mut empty = GzEncoder::new(Vec::new(), Compression::fast());
    empty.write_all(b"").unwrap();
    let empty = empty.finish().unwrap();
    let (met, counts) = (Mutex::new(BTreeSet::new()), Arc::new(Mutex::new(BTreeMap::new())));
    let counted = counts.clone();
    let meddling = Dying::never_but(move |request| {
        let uri = request.uri().to_owned();
        let path = uri.strip_prefix(&endpoint).unwrap_or(&uri).split('?').next().unwrap().to_owned();
        let is_events = path.contains("/raw/") || path.contains("/quarantine/") || path.contains("/username");
        let kind = match request.method() {
            "GET" if uri.contains("versionId=") => "an earlier version is removed",
            "GET" => "another object is put before it is read",
            "PUT" => "another object is put before it is replaced",
            _ => return,
        };
        if !is_events || !met.lock().unwrap().insert((kind, uri.clone())) {
            return;
        }
        *counted.lock().unwrap().entry(kind).or_insert(0) += 1;
        if uri.contains("versionId=") {
            ureq::delete(&uri).call().unwrap();
            return;
        }
        // The same events, in other bytes.
        let url = format!("{endpoint}{path}");
        let mut content = ureq::get(&url).call().unwrap().into_body().read_to_vec().unwrap();
        content.extend_from_slice(&empty);
        ureq::put(&url).send(&content[..]).unwrap();
    });
    forget(&weir, Some(meddling.client())).run(&request(), &|_| ()).await.unwrap();
    let counts = counts.lock().unwrap().clone();
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 0), "{counts:?}");
    assert_only_the_others_are_left(&weir, "after it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_in_more_shards_than_a_transaction_takes_are_lowered_once() {
    let weir = Weir::start().await;
    let dynamo = aws_sdk_dynamodb::Client::new(&weir.emulator.config(None));
    // One event in each shard: as many items as events must be lowered.
    for shard in 0..100 {
        let total = (format!("live#ann#{shard}"), "type#button_click".to_owned());
        let of_key = (format!("key#ann#button_click#{shard}"), "key#buy".to_owned());
        for (pk, sk) in [total, of_key] {
            let put = dynamo.put_item().table_name(COUNTS).item("pk", AttributeValue::S(pk));
            let put = put.item("sk", AttributeValue::S(sk)).item("n", AttributeValue::N("1".to_owned()));
            put.send().await.unwrap();
        }
    }
    let counts = weir.aws(None).counts(COUNTS, shards(100));
    let user = of_user("ann");
    let click: weir_core::EventType = "button_click".parse().unwrap();
    let lower = |count, by| Lowered { event_type: click.clone(), count, by };
    let counts_to_lower = CountsToLower {
        username: user.clone(),
        run: "run-1".to_owned(),
        chunk: 1,
        lowered: vec![
            lower(LoweredCount::Total, 95),
            lower(LoweredCount::Forgotten, 95),
            lower(LoweredCount::Key("buy".to_owned()), 90),
        ],
    };
    for when in ["once", "repeated"] {
        counts.lower_by_forgotten(&counts_to_lower).await.unwrap();
        let all = weir_core::counts::KeysRequest { after: None, limit: 100 };
        let keys = counts.keys(&user, &click, &all).await.unwrap();
        let keys: Vec<_> = keys.iter().map(|it| (it.key.to_string(), it.count)).collect();
        assert_eq!(keys, [("buy".to_owned(), 10)], "{when}");
        assert_eq!(LiveCounts::totals(&counts, &user).await.unwrap(), [(click.clone(), 5)].into(), "{when}");
        let forgotten = counts.all_forgotten().await.unwrap();
        assert_eq!(forgotten, [((user.clone(), click.clone()), 95)].into(), "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_cannot_be_sealed_again_holds_nothing_up_and_the_only_copy_of_an_event_of_others_stays() {
    let mut weir = Weir::start().await;
    let which = Which::Where { field: "button_id".to_owned(), values: vec!["goes".to_owned()] };
    let gone = ForgetRequest { username: "ann".parse().unwrap(), event_type: None, which };
    weir.file(&CLICKS, &[]).await;
    weir.file(&[sealed_lake::click("ann", "x3", 3, 2, "goes")], &[]).await;
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 2);
    // A late object of an earlier day has more events than were settled.
    let (late, more) =
        (sealed_lake::click("bob", "late", 4, 3, "buy"), sealed_lake::click("bob", "more", 4, 3, "buy"));
    weir.file(std::slice::from_ref(&late), &[]).await;
    let s3 = weir.emulator.s3();
    let objects = weir.emulator.objects(LAKE).await;
    let of_late = objects.iter().find(|key| key.starts_with("username=bob/") && key.contains("hour=3/"));
    let of_late = of_late.unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(format!("{}\n{}\n", weir.line(&late), weir.line(&more)).as_bytes()).unwrap();
    let content = gzip.finish().unwrap();
    s3.put_object().bucket(LAKE).key(of_late).body(content.into()).send().await.unwrap();
    let said = Mutex::new(Vec::new());
    let say = |step: &str| said.lock().unwrap().push(step.to_owned());
    let amounts = sealing(&weir, None).run(&gone, &say).await.unwrap();
    assert_eq!(amounts.events.len(), 1, "{amounts:?}");
    let said = said.into_inner().unwrap();
    assert!(said.iter().any(|step| step.contains("is not sealed")), "{said:?}");
    let mut left: Vec<sealed_lake::Click> = CLICKS.into_iter().chain([late.clone(), more]).collect();
    assert_eq!(weir.seen().await, as_seen(&left));
    assert_eq!(generations(&weir, weir.today().minus(3)).await, ["3".to_owned()].into());
    left.pop();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(format!("{}\n", weir.line(&late)).as_bytes()).unwrap();
    let content = gzip.finish().unwrap();
    s3.put_object().bucket(LAKE).key(of_late).body(content.into()).send().await.unwrap();
    assert_eq!(weir.run().await.unwrap().unwrap().sealed, 1);
    assert_eq!(weir.seen().await, as_seen(&left));

    // An object of Bob's was removed by hand: the day's Parquet has the only copy of its event.
    weir.file(&[sealed_lake::click("ann", "x4", 4, 2, "goes")], &[]).await;
    weir.run().await.unwrap().unwrap();
    s3.delete_object().bucket(LAKE).key(of_late).send().await.unwrap();
    let before = weir.manifest().await;
    let error = sealing(&weir, None).run(&gone, &|_| ()).await.unwrap_err();
    assert!(matches!(error, ForgetError::OnlyParquet(_)), "{error}");
    assert_eq!(weir.manifest().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_forgetting_is_refused_until_the_one_that_was_stopped_is_finished() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let another = ForgetRequest { event_type: Some("button_click".parse().unwrap()), ..request() };
    let before = counted(&weir, "ann").await;
    // Stopped once the counts were lowered.
    let mut calls = 10;
    while counted(&weir, "ann").await == before {
        let dying = Dying::after(calls);
        forget(&weir, Some(dying.client())).run(&request(), &|_| ()).await.unwrap_err();
        // It still has the turn.
        let error = run(&weir, &another).await.unwrap_err();
        assert!(matches!(error, ForgetError::Turn), "{error}");
        weir.clock.advance(OVER_MILLIS);
        calls += 2;
    }
    let error = run(&weir, &another).await.unwrap_err();
    assert!(matches!(error, ForgetError::Unfinished), "{error}");
    run(&weir, &request()).await.unwrap();
    assert_only_the_others_are_left(&weir, "finished").await;
    assert_eq!(run(&weir, &another).await.unwrap(), ForgetAmounts::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_finished_with_the_values_that_the_catalog_stored_when_it_was_decided() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let now = weir_core::Clock::now(&*weir.clock);
    for key in send(&weir, vec![click("ann", "MARKED-hashed", now, ("hash-then", "d9"), 0)]).await {
        file_batch(&weir, &BatchKey::new(key.as_str())).await;
    }
    let asked = |derived: &str| {
        let values = vec![PERSON.to_owned(), derived.to_owned()];
        ForgetRequest { which: Which::Where { field: "person".to_owned(), values }, ..request() }
    };
    // Stopped once the counts were lowered.
    let (before, mut calls) = (counted(&weir, "ann").await, 10);
    while counted(&weir, "ann").await == before {
        let dying = Dying::after(calls);
        forget(&weir, Some(dying.client())).run(&asked("hash-then"), &|_| ()).await.unwrap_err();
        weir.clock.advance(OVER_MILLIS);
        calls += 2;
    }
    run(&weir, &asked("hash-now")).await.unwrap();
    assert_only_the_others_are_left(&weir, "finished").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forgotten_is_asked_for_once_a_minute_at_most_and_known_after_that_minute() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let (aws, calls) = weir.aws(None).counted();
    let reader = aws.forgotten(LAKE);
    for _ in 0..10 {
        assert!(reader.forgotten().await.unwrap().is_empty());
    }
    assert_eq!(calls.take().values().sum::<u64>(), 1, "nothing was forgotten, and that is believed");
    run(&weir, &request()).await.unwrap();
    weir.clock.advance(59_999);
    assert!(reader.forgotten().await.unwrap().is_empty());
    weir.clock.advance(1);
    assert!(!reader.forgotten().await.unwrap().is_empty());
    assert_eq!(calls.take().values().sum::<u64>(), 2, "the pointer, and what it points to");
    weir.clock.advance(60_000);
    reader.forgotten().await.unwrap();
    assert_eq!(calls.take().values().sum::<u64>(), 1, "it has not changed");
    // A clock that was wrong, and is set back, ends the belief.
    weir.clock.jump(-3_600_000);
    reader.forgotten().await.unwrap();
    assert_eq!(calls.take().values().sum::<u64>(), 1);
    // A command waits for that long at least, and for the fan-out that began with what it believed.
    assert!(seal::UNTIL_KNOWN >= Duration::from_mins(16));
}
