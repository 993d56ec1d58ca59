//! Counts and recent rejected events behind batching.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use weir_core::{
    CountedValue, Counter, EventType, Hour, Increment, Record, Username,
    counts::{KeyCount, KeysRequest, SettledTotals},
    ports::{LiveCounts, PortError, RecentRejected, SettledCounts},
    rejected::RejectedEvent,
};

use super::{increments::Increments, reads::Reads, settings::Settings, single_flight::SingleFlight};

const COUNTS: &str = "reading counts";
const REJECTED: &str = "reading rejected events";

/// The user, the type, the key to go on after, and the limit.
type KeysRead = (Username, EventType, Option<(CountedValue, u64)>, usize);

/// Live counts that share reads and increments.
pub(super) struct BatchedLiveCounts {
    reads: Reads,
    increments: Increments,
    totals: SingleFlight<Username, BTreeMap<EventType, u64>>,
    keys: SingleFlight<KeysRead, Vec<KeyCount>>,
}

impl BatchedLiveCounts {
    pub(super) fn new(inner: Arc<dyn LiveCounts>, settings: &Settings) -> Self {
        Self {
            reads: Reads::new(inner.clone(), settings),
            increments: Increments::new(inner.clone(), settings),
            totals: SingleFlight::new(settings, COUNTS, inner.clone(), |inner, username| {
                Box::pin(async move { inner.totals(&username).await })
            }),
            keys: SingleFlight::new(settings, COUNTS, inner, |inner, key| Box::pin(keys(inner, key))),
        }
    }
}

async fn keys(
    inner: Arc<dyn LiveCounts>,
    (username, event_type, after, limit): KeysRead,
) -> Result<Vec<KeyCount>, PortError> {
    let after = after.map(|(key, count)| KeyCount { key, count });
    inner.keys(&username, &event_type, &KeysRequest { after, limit }).await
}

#[async_trait]
impl LiveCounts for BatchedLiveCounts {
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        self.increments.raise(increments).await
    }

    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        self.reads.read(counters).await
    }

    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        self.totals.ask(username.clone()).await
    }

    async fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError> {
        let after = request.after.as_ref().map(|after| (after.key.clone(), after.count));
        self.keys.ask((username.clone(), event_type.clone(), after, request.limit)).await
    }
}

/// Settled counts that share reads.
pub(super) struct BatchedSettledCounts {
    totals: SingleFlight<Username, SettledTotals>,
    hours: SingleFlight<(Username, EventType, Hour, Hour), BTreeMap<Hour, u64>>,
}

impl BatchedSettledCounts {
    pub(super) fn new(inner: Arc<dyn SettledCounts>, settings: &Settings) -> Self {
        Self {
            totals: SingleFlight::new(settings, COUNTS, inner.clone(), |inner, username| {
                Box::pin(async move { inner.totals(&username).await })
            }),
            hours: SingleFlight::new(settings, COUNTS, inner, |inner, key| {
                let (username, event_type, first, last) = key;
                Box::pin(async move { inner.hours(&username, &event_type, first, last).await })
            }),
        }
    }
}

#[async_trait]
impl SettledCounts for BatchedSettledCounts {
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError> {
        self.totals.ask(username.clone()).await
    }

    async fn hours(
        &self,
        username: &Username,
        event_type: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError> {
        self.hours.ask((username.clone(), event_type.clone(), first, last)).await
    }
}

/// Recent rejected events that share reads.
pub(super) struct BatchedRecentRejected {
    inner: Arc<dyn RecentRejected>,
    latest: SingleFlight<(Username, usize), Vec<RejectedEvent>>,
}

impl BatchedRecentRejected {
    pub(super) fn new(inner: Arc<dyn RecentRejected>, settings: &Settings) -> Self {
        let latest = SingleFlight::new(settings, REJECTED, inner.clone(), |inner, (username, limit)| {
            Box::pin(async move { inner.latest(&username, limit).await })
        });
        Self { inner, latest }
    }
}

#[async_trait]
impl RecentRejected for BatchedRecentRejected {
    async fn note(&self, records: &[Record]) -> Result<(), PortError> {
        self.inner.note(records).await
    }

    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError> {
        self.latest.ask((username.clone(), limit)).await
    }
}
