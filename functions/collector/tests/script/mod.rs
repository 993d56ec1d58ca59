//! An engine that does what a test says, and the API over it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, request::Parts},
};
use collector::{
    Authenticate, ByFate, Caller, Collector, Host, Limits, NotAuthenticated, Observe, Origins, Taken,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_core::{
    AnswerName, Catalog, Counter, EventId, EventType, Hour, Increment, LatestKey, ManualClock, Record,
    SeededRandom, Timestamp, Username,
    answers::Published,
    counts::{KeyCount, KeysRequest, SettledTotals},
    following::{FollowRequest, FollowedPage, Page},
    forgotten::ForgottenEvents,
    latest::LatestValue,
    newest::{NewestPage, NewestRequest, Position},
    ports::{
        Answers, Appended, CountsByMinute, FollowEvents, Generation, Health, LatestValues, LiveCounts,
        NewestEvents, PortError, Ports, ReadLatest, Receipts, RecentRejected, SettledCounts, Stream,
    },
    receipt::Receipt,
    rejected::RejectedEvent,
    users::Scope,
};

/// An engine that stores every event but those whose line has one of these words, and may be unable to count. Those
/// with one of the others it says to have already.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each test sets one of them, or none")]
pub struct Script {
    pub refuse: &'static [&'static str],
    pub known: &'static [&'static str],
    pub counts_itself: bool,
    pub cannot_count: bool,
    pub never_counts: bool,
    /// The keys whose latest values cannot be raised.
    pub cannot_raise: &'static [&'static str],
    pub cannot_note: bool,
    pub unwell: bool,
    pub follows: bool,
    /// Whether the caller's access key was removed.
    pub is_removed: AtomicBool,
    pub stored: Mutex<Vec<String>>,
    pub raised: Mutex<Vec<Increment>>,
    pub noted: Mutex<Vec<RejectedEvent>>,
    pub latest: Mutex<Vec<LatestValue>>,
    pub taken: Mutex<Vec<Taken>>,
}

pub fn down() -> PortError {
    PortError::unavailable("the engine", "it is down: table weir-counts, secret host name")
}

#[async_trait]
impl Stream for Script {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        let append = |record: Record| {
            let line = String::from_utf8(record.line().to_vec()).unwrap();
            if self.refuse.iter().any(|word| line.contains(word)) {
                return Appended::Refused(down());
            }
            if self.known.iter().any(|word| line.contains(word)) {
                let stored = LatestValue::of(&record).map(Box::new);
                return Appended::Duplicate { stored };
            }
            self.stored.lock().unwrap().push(line);
            if self.counts_itself { Appended::Counted } else { Appended::Stored }
        };
        records.into_iter().map(append).collect()
    }
}

#[async_trait]
impl LiveCounts for Script {
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        if self.cannot_count {
            return Err(down());
        }
        if self.never_counts {
            std::future::pending::<()>().await;
        }
        self.raised.lock().unwrap().extend_from_slice(increments);
        Ok(())
    }

    async fn read(&self, _: &[Counter]) -> Result<Vec<u64>, PortError> {
        Err(down())
    }

    async fn totals(&self, _: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        Err(down())
    }

    async fn keys(&self, _: &Username, _: &EventType, _: &KeysRequest) -> Result<Vec<KeyCount>, PortError> {
        Err(down())
    }
}

#[async_trait]
impl SettledCounts for Script {
    async fn totals(&self, _: &Username) -> Result<SettledTotals, PortError> {
        Err(down())
    }

    async fn hours(
        &self,
        _: &Username,
        _: &EventType,
        _: Hour,
        _: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError> {
        Err(down())
    }
}

#[async_trait]
impl RecentRejected for Script {
    async fn note(&self, records: &[Record]) -> Result<(), PortError> {
        if self.cannot_note {
            return Err(down());
        }
        self.noted.lock().unwrap().extend(RejectedEvent::newest(records, 50));
        Ok(())
    }

    async fn latest(&self, _: &Username, _: usize) -> Result<Vec<RejectedEvent>, PortError> {
        if self.cannot_note { Err(down()) } else { Ok(self.noted.lock().unwrap().clone()) }
    }
}

#[async_trait]
impl NewestEvents for Script {
    async fn newest(&self, _: &Username, _: &NewestRequest) -> Result<NewestPage, PortError> {
        Err(down())
    }
}

/// The newest event is the thousandth: a stream that goes on after an earlier one gets all others in a page.
#[async_trait]
impl FollowEvents for Script {
    fn last(&self) -> Option<Position> {
        self.follows.then(|| "1000".parse().unwrap())
    }

    async fn page(&self, username: &Username, request: &FollowRequest) -> Result<FollowedPage, PortError> {
        let gone = ForgottenEvents::default();
        let mut page = Page::of(username, None, &gone);
        for number in request.after.number + 1..=1000 {
            let line = format!(
                r#"{{"time":1,"event_id":"e-{number}","username":"{username}","event_type":"page_view","received_at":1}}"#
            );
            page.take(number, line.as_bytes());
        }
        let up_to = "1000".parse().unwrap();
        Ok(FollowedPage { events: page.into_events(), up_to, has_gap: false, has_more: false })
    }
}

impl CountsByMinute for Script {}

#[async_trait]
impl Receipts for Script {
    async fn receipt(
        &self,
        _: &Username,
        _: &EventId,
        _: &[EventType],
    ) -> Result<Option<Receipt>, PortError> {
        Err(down())
    }
}

#[async_trait]
impl Answers for Script {
    async fn current(&self, _: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError> {
        Err(down())
    }

    async fn list(&self) -> Result<Vec<Published>, PortError> {
        Err(down())
    }
}

#[async_trait]
impl LatestValues for Script {
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>> {
        if self.never_counts {
            std::future::pending::<()>().await;
        }
        let raise = |value: &LatestValue| {
            if self.cannot_raise.contains(&value.resource.key.as_str()) {
                return Err(down());
            }
            self.latest.lock().unwrap().push(value.clone());
            Ok(())
        };
        values.iter().map(raise).collect()
    }
}

#[async_trait]
impl ReadLatest for Script {
    async fn read(
        &self,
        _: &Username,
        _: &EventType,
        _: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        Err(down())
    }

    async fn list(
        &self,
        _: &Username,
        _: &EventType,
        _: Option<&LatestKey>,
        _: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        Err(down())
    }
}

#[async_trait]
impl Health for Script {
    async fn check(&self) -> Result<(), PortError> {
        if self.unwell { Err(down()) } else { Ok(()) }
    }
}

impl Observe for Script {
    fn taken(&self, taken: &Taken) {
        self.taken.lock().unwrap().push(*taken);
    }
}

/// A type that is counted, and one whose latest values are kept.
const CATALOG: [(&str, &str); 3] = [
    ("button_click.json", include_str!("../../../../catalog/button_click.json")),
    ("page_view.json", include_str!("../../../../catalog/page_view.json")),
    (
        "reading.json",
        r#"{"type": "object", "x-weir": {"route": "/sensor/reading", "latest_by": "sensor_id"},
            "properties": {"sensor_id": {"type": ["string", "null"]}, "n": {"type": "integer"}}}"#,
    ),
];

/// Lets every request in as one user, or cannot say who it is.
struct Door {
    stuck: bool,
    script: Arc<Script>,
}

#[async_trait]
impl Authenticate for Door {
    async fn caller(&self, _: &Parts) -> Result<Caller, NotAuthenticated> {
        if self.script.is_removed.load(Ordering::Relaxed) {
            return Err(NotAuthenticated::Refused);
        }
        if self.stuck {
            return Err(NotAuthenticated::Unavailable(down()));
        }
        Ok(Caller { username: "u".parse().unwrap(), scope: Scope::Both })
    }
}

pub fn api(script: &Arc<Script>, stuck: bool) -> Router {
    let host = Host {
        authenticate: Arc::new(Door { stuck, script: script.clone() }),
        observe: script.clone(),
        clock: Arc::new(ManualClock::at(Timestamp::saturating(1_795_179_605_007))),
        random: Arc::new(SeededRandom::new(1)),
        runs: Arc::new(()),
        queries: Arc::new(()),
        counted_within: Some(Duration::from_secs(13)),
        keep_days: None,
    };
    let catalog = Arc::new(Catalog::read(CATALOG).unwrap());
    let collector = Collector { catalog, ports: Ports::of(script.clone()), host, limits: Limits::default() };
    collector::router(collector, &Origins::Any)
}

pub fn taken(events: ByFate<usize>, count_failures: usize) -> Taken {
    Taken { events, count_failures }
}

pub struct Answer {
    pub status: StatusCode,
    pub retry_after: bool,
    pub body: Value,
}

pub async fn ask(script: &Arc<Script>, method: &str, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    let answer = api(script, false).oneshot(request).await.unwrap();
    let (status, retry_after) = (answer.status(), answer.headers().contains_key("retry-after"));
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    Answer { status, retry_after, body: serde_json::from_slice(&bytes).unwrap() }
}

pub fn clicks(buttons: &[&str]) -> String {
    let click = |button: &&str| json!({"event_type": "button_click", "session_id": "s", "button_id": button});
    Value::from(buttons.iter().map(click).collect::<Vec<_>>()).to_string()
}
