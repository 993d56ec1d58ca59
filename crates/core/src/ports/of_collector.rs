//! The ports of an engine that the collector calls.

use std::sync::Arc;

use super::{
    Answers, CountsByMinute, FollowEvents, Health, LatestValues, LiveCounts, NewestEvents, Receipts,
    RecentRejected, SettledCounts, Stream,
};

/// The ports of an engine that the collector calls.
#[derive(Clone)]
pub struct Ports {
    /// The stream that stores events.
    pub stream: Arc<dyn Stream>,
    /// The live counts.
    pub live: Arc<dyn LiveCounts>,
    /// The live counts of the last hour by minute.
    pub minutes: Arc<dyn CountsByMinute>,
    /// The counts of events in the lake.
    pub settled: Arc<dyn SettledCounts>,
    /// The latest invalid events.
    pub rejected: Arc<dyn RecentRejected>,
    /// The newest events, accepted and rejected.
    pub newest: Arc<dyn NewestEvents>,
    /// The events in the order in which they are stored.
    pub follow: Arc<dyn FollowEvents>,
    /// The receipts of single events.
    pub receipts: Arc<dyn Receipts>,
    /// Answers that were computed beforehand.
    pub answers: Arc<dyn Answers>,
    /// The newest event of each resource.
    pub latest: Arc<dyn LatestValues>,
    /// The engine's health check.
    pub health: Arc<dyn Health>,
}

impl Ports {
    /// Returns the ports of an engine that implements all of them.
    #[must_use]
    pub fn of<E>(engine: Arc<E>) -> Self
    where
        E: Stream
            + LiveCounts
            + CountsByMinute
            + SettledCounts
            + RecentRejected
            + NewestEvents
            + FollowEvents
            + Receipts
            + LatestValues
            + Answers
            + Health
            + 'static,
    {
        Self {
            stream: engine.clone(),
            live: engine.clone(),
            minutes: engine.clone(),
            settled: engine.clone(),
            rejected: engine.clone(),
            newest: engine.clone(),
            follow: engine.clone(),
            receipts: engine.clone(),
            answers: engine.clone(),
            latest: engine.clone(),
            health: engine,
        }
    }
}
