//! The whole way over AWS under faults: ten thousand events through the collector and the fan-out, with every kind of
//! failure between them and the services. Clients send again what was not acknowledged, and where they gave it ids, some
//! of what was.
//!
//! What must hold at the end: every event is acknowledged and in raw; nothing is there that was not sent; an event is
//! there twice only where a call took effect and its answer was lost, or where it could not be noted that it is stored;
//! the lake holds what raw does, but for what comes again in a batch; and the settled counts equal the lake.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "it is a test")]

mod emulator;
mod faulty;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use axum::{
    body::Body,
    http::{Request, request::Parts},
};
use collector::{Authenticate, Caller, Collector, Host, Limits, NotAuthenticated, Origins};
use emulator::{COUNTS, Emulator, IDS, LAKE, LATEST, RAW, STREAM, shards};
use fan_out::FanOut;
use faulty::{Fault, Faulty, Plan};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_aws::{Aws, Names};
use weir_core::{
    BatchKey, Catalog, SeededRandom, SystemClock, SystemRandom,
    newest::{NewestFate, NewestRequest},
    ports::{Content, LakeObjects, Raw, RawObjects, SettledCounts},
    users::Scope,
};

/// Every user is accepted without a check.
struct Door;

#[async_trait]
impl Authenticate for Door {
    async fn caller(&self, request: &Parts) -> Result<Caller, NotAuthenticated> {
        let name = request.headers["x-user"].to_str().unwrap();
        Ok(Caller { username: name.parse().unwrap(), scope: Scope::Both })
    }
}

/// The claim of a request that failed ends soon, so that its client need not wait.
const LEASE: Duration = Duration::from_secs(3);

const GIVE_UP_AFTER: Duration = Duration::from_secs(4);

fn names() -> Names {
    Names {
        stream: STREAM.to_owned(),
        recent_ids: IDS.to_owned(),
        counts: COUNTS.to_owned(),
        shards: shards(2),
        latest: LATEST.to_owned(),
        raw: RAW.to_owned(),
        lake: LAKE.to_owned(),
        bucket_per_user: false,
    }
}

fn api(aws: &Aws) -> axum::Router {
    let (mut ports, _) = aws.ports(&names(), GIVE_UP_AFTER);
    let ids = aws.recent_ids(IDS).claiming_for(LEASE);
    ports.stream = Arc::new(aws.stream(STREAM, GIVE_UP_AFTER).remembering(ids));
    let host = Host {
        authenticate: Arc::new(Door),
        observe: Arc::new(()),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        runs: Arc::new(()),
        queries: Arc::new(()),
        counted_within: None,
        keep_days: None,
    };
    let catalog = Arc::new(Catalog::built_in().unwrap());
    let collector = Collector { catalog, ports, host, limits: Limits::default() };
    collector::router(collector, &Origins::Any)
}

/// A request of some events.
#[derive(Clone, Copy)]
struct Sent {
    who: &'static str,
    path: &'static str,
    /// Whether the events' ids are the client's.
    with_ids: bool,
    /// Whether it is sent again although it was acknowledged.
    again: bool,
}

/// All requests, with their events' numbers.
fn requests() -> Vec<(Sent, Vec<String>)> {
    let sizes = [1, 1, 3, 100, 1, 250, 17, 1, 60, 500];
    let mut next = 0;
    let mut requests = Vec::new();
    for (n, size) in sizes.iter().cycle().enumerate() {
        if next >= 10_000 {
            return requests;
        }
        let path = if *size == 1 { "/button/click" } else { "/events" };
        // Ids cost two calls an event, and the emulator is slow.
        let (with_ids, again) = (*size < 100, *size < 10);
        let sent = Sent { who: ["ann", "bob", "cy"][n % 3], path, with_ids, again };
        requests.push((sent, (next..next + size).map(|id| format!("e-{id}")).collect()));
        next += size;
    }
    requests
}

fn body(Sent { path, with_ids, .. }: Sent, ids: &[String]) -> String {
    let event = |id: &String| {
        let mut event =
            json!({"n": id, "session_id": "s", "button_id": format!("b{}", id.len()), "url": "u"});
        if with_ids {
            event["event_id"] = id.as_str().into();
        }
        if path == "/events" {
            event["event_type"] = ["button_click", "page_view"][id.len() % 2].into();
        }
        event
    };
    if path == "/events" {
        ids.iter().map(event).collect::<Value>().to_string()
    } else {
        event(&ids[0]).to_string()
    }
}

/// Sends a request until all its events are acknowledged; answers with how often it was sent.
async fn send(api: axum::Router, sent: Sent, mut ids: Vec<String>) -> usize {
    for times in 1..300 {
        let acknowledged = send_once(api.clone(), sent, &ids).await;
        ids.retain(|id| !acknowledged.contains(id));
        if ids.is_empty() {
            return times;
        }
        // As `Retry-After` asks, but sooner.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{ids:?} are not acknowledged");
}

/// Sends a request; answers with the ids that were acknowledged.
async fn send_once(api: axum::Router, sent: Sent, ids: &[String]) -> BTreeSet<String> {
    let Sent { who, path, .. } = sent;
    let request = Request::post(path).header("x-user", who).body(Body::from(body(sent, ids))).unwrap();
    let answer = api.oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    match (path, status) {
        ("/events", 200 | 207) => {
            let outcomes = answer["outcomes"].as_array().unwrap().iter();
            let durable = |outcome: &Value| outcome["status"] == "stored" || outcome["status"] == "duplicate";
            ids.iter().cloned().zip(outcomes).filter(|(_, told)| durable(told)).map(|(id, _)| id).collect()
        }
        (_, 200) => ids.iter().cloned().collect(),
        (_, 503) => BTreeSet::new(),
        other => panic!("{other:?}: {answer}"),
    }
}

async fn text_of(mut content: Content) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text
}

/// User, type and number of each line, with how often it is there.
fn tally(found: &mut BTreeMap<(String, String, String), u64>, text: &str) {
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = |name: &str| line[name].as_str().unwrap().to_owned();
        *found.entry((name("username"), name("event_type"), name("n"))).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_under_faults_are_all_where_they_belong() {
    const FAULTS: &[Fault] = &[
        Fault::Throttle,
        Fault::ServerError,
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::Slow,
        Fault::Partial,
    ];
    let emulator = Emulator::start().await;
    let faulty = Faulty::new(Plan { seed: 11, faults: FAULTS, of_256: 64 });
    let aws = Aws::new(
        emulator.config(Some(faulty.client())),
        Arc::new(SeededRandom::new(5)),
        Arc::new(SystemClock),
    );

    // Few tries, so that the answer to some requests is to come again.
    let retries =
        RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(20));
    let config = emulator.config(Some(faulty.client())).to_builder().retry_config(retries).build();
    let api = &api(&Aws::new(config, Arc::new(SeededRandom::new(6)), Arc::new(SystemClock)));
    let sending: Vec<_> = requests()
        .into_iter()
        .map(|(sent, ids)| async move {
            let times = send(api.clone(), sent, ids.clone()).await;
            times + if sent.again { send(api.clone(), sent, ids).await } else { 0 }
        })
        .collect();
    let times: Vec<usize> = futures_util::stream::iter(sending).buffer_unordered(8).collect().await;
    let sent: BTreeSet<String> = requests().into_iter().flat_map(|(_, ids)| ids).collect();
    assert!(times.iter().any(|times| *times > 2), "no request had to be sent again");

    // The fan-out meets the same faults; its caller tries again until it is done. Twice for each batch, as
    // notifications repeat.
    let fan_out = FanOut::new(
        Arc::new(aws.raw(RAW)),
        Arc::new(aws.lake(LAKE, false)),
        Arc::new(aws.quarantine(RAW)),
        Arc::new(aws.counts(COUNTS, shards(2))),
    );
    let calm = emulator.aws();
    let batches: Vec<BatchKey> = calm.raw(RAW).list(None, 100_000).await.unwrap();
    for batch in batches.iter().chain(&batches) {
        let mut tries = 0;
        while let Err(error) = fan_out.file(batch).await {
            tries += 1;
            assert!(tries < 50, "{error}");
        }
    }
    faulty.stop();

    let (mut raw, mut lake) = (BTreeMap::new(), BTreeMap::new());
    for batch in &batches {
        tally(&mut raw, &text_of(calm.raw(RAW).open(batch).await.unwrap()).await);
    }
    let objects = calm.lake(LAKE, false).list(None, 100_000).await.unwrap();
    for path in &objects {
        let object = emulator.s3().get_object().bucket(LAKE).key(path).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        let content: Content = Box::pin(futures_util::stream::iter([Ok(bytes)]));
        let before: u64 = lake.values().sum();
        let text = text_of(content).await;
        tally(&mut lake, &text);
        assert_eq!(lake.values().sum::<u64>() - before, text.lines().count() as u64);
    }
    // The emulator makes a batch of each record, so that no repeat meets its first there.
    assert_eq!(raw, lake);

    let stored: BTreeSet<String> = raw.keys().map(|(.., id)| id.clone()).collect();
    let lost: Vec<_> = sent.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(stored.is_subset(&sent), "raw holds what was never sent");
    // `USER/ID`: the ids here are the events' numbers.
    let unmarked = faulty.unmarked();
    let unmarked = unmarked.iter().map(|identity| identity.split_once('/').unwrap().1.to_owned());
    let with_reason: BTreeSet<String> = faulty
        .lost_answers()
        .iter()
        .flat_map(|lines| {
            String::from_utf8(lines.clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|line| serde_json::from_str::<Value>(&line).unwrap()["n"].as_str().unwrap().to_owned())
        .chain(unmarked)
        .collect();
    for ((.., id), times) in &raw {
        assert!(*times == 1 || with_reason.contains(id), "{id} is there {times} times without a reason");
    }

    let settled = calm.counts(COUNTS, shards(2));
    for user in ["ann", "bob", "cy"] {
        let totals = settled_totals(&settled, user).await;
        let mut in_lake: BTreeMap<String, u64> = BTreeMap::new();
        for ((name, event_type, _), times) in &lake {
            if name == user {
                *in_lake.entry(event_type.clone()).or_default() += times;
            }
        }
        assert_eq!(totals, in_lake, "{user}");
    }
    each_listed_event_is_in_the_lake(&calm, &lake).await;
    let done = faulty.done();
    assert_eq!(done.len(), FAULTS.len(), "{done:?}");
    let requests: usize = times.iter().sum();
    println!(
        "{} events ({} of them twice) sent in {requests} requests instead of {}, faults: {done:?}",
        sent.len(),
        raw.values().filter(|times| **times > 1).count(),
        times.len()
    );
}

/// The lake's newest objects are listed, each event once, as it is stored.
async fn each_listed_event_is_in_the_lake(calm: &Aws, lake: &BTreeMap<(String, String, String), u64>) {
    let (ports, _) = calm.ports(&names(), GIVE_UP_AFTER);
    for user in ["ann", "bob", "cy"] {
        let mut request = NewestRequest { event_type: None, after: None, limit: 7 };
        let mut listed = BTreeSet::new();
        loop {
            let page = ports.newest.newest(&user.parse().unwrap(), &request).await.unwrap();
            assert!(!page.live && page.events.len() <= 7);
            for event in &page.events {
                let NewestFate::Accepted { event: text } = &event.fate else { panic!("{event:?}") };
                let text: Value = serde_json::from_str(text.get()).unwrap();
                let event_type = event.event_type.as_ref().unwrap().to_string();
                let at = (user.to_owned(), event_type, text["n"].as_str().unwrap().to_owned());
                assert!(lake.contains_key(&at), "{at:?} is not in the lake");
                assert!(listed.insert((event.received_at, event.event_id.clone())), "{at:?} is there twice");
            }
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        assert!(listed.len() > 7, "{user}: {}", listed.len());
    }
}

async fn settled_totals(counts: &dyn SettledCounts, user: &str) -> BTreeMap<String, u64> {
    let totals = counts.totals(&user.parse().unwrap()).await.unwrap();
    totals.by_type.into_iter().map(|(event_type, count)| (event_type.to_string(), count)).collect()
}
