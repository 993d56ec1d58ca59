//! Operations asked of the engine, and the calls they take: the two are equal where nothing is shared.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type ByKind = Family<Label, Counter>;

/// One label and its value.
pub(super) type Label = [(&'static str, &'static str); 1];

/// Returns each kind of operation with the requests and the calls since the last time.
pub(in crate::serve) type TakeStats = Box<dyn Fn() -> [(&'static str, u64, u64); 3] + Send + Sync>;

/// The operations at the last look.
pub(super) struct Sharing {
    take_stats: TakeStats,
    requests: ByKind,
    calls: ByKind,
}

impl Sharing {
    pub(super) fn register(registry: &mut Registry, take_stats: TakeStats) -> Self {
        let sharing = Self { take_stats, requests: ByKind::default(), calls: ByKind::default() };
        registry.register(
            "engine_requests",
            "Reads, increments and appends that the engine was asked for, by kind",
            sharing.requests.clone(),
        );
        registry.register(
            "engine_calls",
            "Calls that these took: requests that come together share them",
            sharing.calls.clone(),
        );
        sharing.refresh();
        sharing
    }

    /// Refreshes the values.
    pub(super) fn refresh(&self) {
        for (kind, requests, calls) in (self.take_stats)() {
            self.requests.get_or_create(&[("kind", kind)]).inc_by(requests);
            self.calls.get_or_create(&[("kind", kind)]).inc_by(calls);
        }
    }
}
