//! An engine in memory that has latency, and fails where the name of a type says so.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use weir_core::{
    Counter, Event, EventType, Hour, Increment, Record, Stamp, Timestamp, Username,
    counts::{KeyCount, KeysRequest, SettledTotals},
    ports::{Appended, LiveCounts, PortError, RecentRejected, SettledCounts, Stream},
    rejected::RejectedEvent,
};

/// How long a call takes.
pub const LATENCY: Duration = Duration::from_millis(20);

/// A call of this type's counts, or with a record of it, never ends.
pub const HANGS: &str = "hangs";
/// It panics.
pub const PANICS: &str = "panics";
/// It is not available.
pub const AWAY: &str = "away";
/// It is broken.
pub const BROKEN: &str = "broken";
/// A record of this type is a duplicate.
pub const DUPLICATE: &str = "duplicate";

#[derive(Default)]
pub struct Engine {
    counts: Mutex<HashMap<Counter, u64>>,
    /// The calls that were started.
    pub reads: Mutex<Vec<Vec<Counter>>>,
    pub raises: Mutex<Vec<Vec<Increment>>>,
    pub appends: Mutex<Vec<Vec<Record>>>,
    /// Calls of any other kind, as text.
    pub others: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    /// The most increments that were under way at once.
    pub most_under_way: AtomicUsize,
}

impl Engine {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sets a count at once, as another writer would.
    pub fn set(&self, counter: &Counter, count: u64) {
        self.counts.lock().unwrap().insert(counter.clone(), count);
    }

    async fn other<T: Default>(&self, asked: String) -> Result<T, PortError> {
        self.others.lock().unwrap().push(asked);
        tokio::time::sleep(LATENCY).await;
        Ok(T::default())
    }
}

/// Fails as the names of these types say.
async fn go_wrong<'a>(types: impl Iterator<Item = &'a EventType>) -> Result<(), PortError> {
    for event_type in types {
        match event_type.as_str() {
            HANGS => pending::<()>().await,
            PANICS => panic!("as it should"),
            AWAY => return Err(PortError::unavailable("the engine", "away")),
            BROKEN => return Err(PortError::broken("the engine", "broken")),
            _ => {}
        }
    }
    Ok(())
}

#[async_trait]
impl LiveCounts for Engine {
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        self.raises.lock().unwrap().push(increments.to_vec());
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(LATENCY).await;
        go_wrong(increments.iter().map(|increment| &increment.counter.event_type)).await?;
        for Increment { counter, by } in increments {
            *self.counts.lock().unwrap().entry(counter.clone()).or_default() += by;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// Answers with the counts at the beginning of the call.
    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        self.reads.lock().unwrap().push(counters.to_vec());
        let counts = counters.iter().map(|counter| self.counts.lock().unwrap().get(counter).copied());
        let counts = counts.map(Option::unwrap_or_default).collect();
        tokio::time::sleep(LATENCY).await;
        go_wrong(counters.iter().map(|counter| &counter.event_type)).await?;
        Ok(counts)
    }

    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        self.other(format!("totals of {username}")).await
    }

    async fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError> {
        self.other(format!("keys of {username} {event_type} {request:?}")).await
    }
}

#[async_trait]
impl SettledCounts for Engine {
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError> {
        self.other(format!("settled totals of {username}")).await
    }

    async fn hours(
        &self,
        username: &Username,
        event_type: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError> {
        self.other(format!("hours of {username} {event_type} {first:?} {last:?}")).await
    }
}

#[async_trait]
impl RecentRejected for Engine {
    async fn note(&self, _: &[Record]) -> Result<(), PortError> {
        Ok(())
    }

    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError> {
        self.other(format!("latest {limit} of {username}")).await
    }
}

#[async_trait]
impl Stream for Engine {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        self.appends.lock().unwrap().push(records.clone());
        tokio::time::sleep(LATENCY).await;
        let fatal = records.iter().map(|record| &record.counter().event_type);
        let _ = go_wrong(fatal.filter(|of| [HANGS, PANICS].contains(&of.as_str()))).await;
        let outcome = |record: &Record| match record.counter().event_type.as_str() {
            AWAY => Appended::Refused(PortError::unavailable("the engine", record.event_id().to_string())),
            DUPLICATE => Appended::Duplicate { stored: None },
            _ => Appended::Stored,
        };
        records.iter().map(outcome).collect()
    }
}

/// Limits work that must not hang: where nothing else goes on, an hour of the test's time is over at once.
pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_hours(1), work).await.expect("it does not hang")
}

pub fn counter(username: &str, of: &str, key: Option<&str>) -> Counter {
    Counter {
        username: username.parse().unwrap(),
        event_type: of.parse().unwrap(),
        key: key.map(|key| key.parse().unwrap()),
    }
}

/// An event of at least this many bytes; its id is the client's if it is to have an identity.
pub fn record(of: &str, id: &str, bytes: usize, has_identity: bool) -> Record {
    let own = if has_identity { format!(r#""event_id":"{id}","#) } else { String::new() };
    let text = format!(r#"{{{own}"x":"{}"}}"#, "x".repeat(bytes));
    let stamp = Stamp {
        username: "ann".parse().unwrap(),
        event_id: id.parse().unwrap(),
        received_at: Timestamp::saturating(1_795_179_605_007),
    };
    Record::accepted(&Event::read(&text).unwrap(), &of.parse().unwrap(), None, stamp)
}
