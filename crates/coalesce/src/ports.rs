//! The shared ports: counts and recent rejected events.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use weir_core::{
    Counter, EventType, Hour, Increment, Key, Record, Username,
    counts::{KeyCount, KeysRequest, SettledTotals},
    ports::{LiveCounts, PortError, RecentRejected, SettledCounts},
    rejected::RejectedEvent,
};

use crate::{Coalescing, raises::Raises, reads::Reads, same::Same, work::Counted};

const COUNTS: &str = "reading counts";
const REJECTED: &str = "reading rejected events";

/// The user, the type, the key to go on behind, and the limit.
type KeysAsked = (Username, EventType, Option<(Key, u64)>, usize);

/// Live counts that share reads and increments.
pub(crate) struct SharedLiveCounts {
    reads: Reads,
    raises: Raises,
    totals: Same<Username, BTreeMap<EventType, u64>>,
    keys: Same<KeysAsked, Vec<KeyCount>>,
    counted: Arc<Counted>,
}

impl SharedLiveCounts {
    pub(crate) fn new(inner: Arc<dyn LiveCounts>, coalescing: &Coalescing) -> Self {
        let for_totals = inner.clone();
        let totals = move |username| {
            let inner = for_totals.clone();
            async move { inner.totals(&username).await }
        };
        let for_keys = inner.clone();
        let keys = move |(username, event_type, after, limit): KeysAsked| {
            let inner = for_keys.clone();
            let after = after.map(|(key, count)| KeyCount { key, count });
            async move { inner.keys(&username, &event_type, &KeysRequest { after, limit }).await }
        };
        Self {
            reads: Reads::new(inner.clone(), coalescing),
            raises: Raises::new(inner, coalescing),
            totals: same(coalescing, COUNTS, totals),
            keys: same(coalescing, COUNTS, keys),
            counted: coalescing.counted.clone(),
        }
    }
}

#[async_trait]
impl LiveCounts for SharedLiveCounts {
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        self.raises.raise(increments).await
    }

    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        self.reads.read(counters).await
    }

    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        self.counted.reads.request();
        self.totals.ask(username.clone()).await
    }

    async fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError> {
        self.counted.reads.request();
        let after = request.after.as_ref().map(|after| (after.key.clone(), after.count));
        self.keys.ask((username.clone(), event_type.clone(), after, request.limit)).await
    }
}

/// Settled counts that share reads.
pub(crate) struct SharedSettledCounts {
    totals: Same<Username, SettledTotals>,
    hours: Same<(Username, EventType, Hour, Hour), BTreeMap<Hour, u64>>,
    counted: Arc<Counted>,
}

impl SharedSettledCounts {
    pub(crate) fn new(inner: Arc<dyn SettledCounts>, coalescing: &Coalescing) -> Self {
        let for_totals = inner.clone();
        let totals = move |username| {
            let inner = for_totals.clone();
            async move { inner.totals(&username).await }
        };
        let hours = move |(username, event_type, first, last)| {
            let inner = inner.clone();
            async move { inner.hours(&username, &event_type, first, last).await }
        };
        Self {
            totals: same(coalescing, COUNTS, totals),
            hours: same(coalescing, COUNTS, hours),
            counted: coalescing.counted.clone(),
        }
    }
}

#[async_trait]
impl SettledCounts for SharedSettledCounts {
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError> {
        self.counted.reads.request();
        self.totals.ask(username.clone()).await
    }

    async fn hours(
        &self,
        username: &Username,
        event_type: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError> {
        self.counted.reads.request();
        self.hours.ask((username.clone(), event_type.clone(), first, last)).await
    }
}

/// Recent rejected events that share reads.
pub(crate) struct SharedRecentRejected {
    inner: Arc<dyn RecentRejected>,
    latest: Same<(Username, usize), Vec<RejectedEvent>>,
    counted: Arc<Counted>,
}

impl SharedRecentRejected {
    pub(crate) fn new(inner: Arc<dyn RecentRejected>, coalescing: &Coalescing) -> Self {
        let for_latest = inner.clone();
        let latest = move |(username, limit)| {
            let inner = for_latest.clone();
            async move { inner.latest(&username, limit).await }
        };
        let latest = same(coalescing, REJECTED, latest);
        Self { inner, latest, counted: coalescing.counted.clone() }
    }
}

#[async_trait]
impl RecentRejected for SharedRecentRejected {
    async fn note(&self, records: &[Record]) -> Result<(), PortError> {
        self.inner.note(records).await
    }

    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError> {
        self.counted.reads.request();
        self.latest.ask((username.clone(), limit)).await
    }
}

/// Makes a single-flight for such requests, and counts them as reads.
fn same<K, T, F>(
    coalescing: &Coalescing,
    what: &'static str,
    ask: impl Fn(K) -> F + Send + Sync + 'static,
) -> Same<K, T>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    T: Clone + Send + 'static,
    F: Future<Output = Result<T, PortError>> + Send + 'static,
{
    let counted = coalescing.counted.clone();
    Same::new(coalescing.rules(), what, coalescing.read_within, move |key| {
        counted.reads.call();
        let asked: BoxFuture<'static, _> = Box::pin(ask(key));
        asked
    })
}
