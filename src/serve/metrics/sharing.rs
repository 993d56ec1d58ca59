//! Operations asked of the engine, and the calls they take: the two are equal where nothing is shared.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use weir_coalesce::{Coalescing, Shared, Work};

type ByKind = Family<Label, Counter>;

/// One label and its value.
pub(super) type Label = [(&'static str, &'static str); 1];

/// The operations at the last look.
pub(super) struct Sharing {
    coalescing: Coalescing,
    requests: ByKind,
    calls: ByKind,
}

impl Sharing {
    pub(super) fn register(registry: &mut Registry, coalescing: Coalescing) -> Self {
        let sharing = Self { coalescing, requests: ByKind::default(), calls: ByKind::default() };
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
        let Work { reads, raises, appends } = self.coalescing.take_work();
        for (kind, Shared { requests, calls }) in
            [("read", reads), ("increment", raises), ("append", appends)]
        {
            self.requests.get_or_create(&[("kind", kind)]).inc_by(requests);
            self.calls.get_or_create(&[("kind", kind)]).inc_by(calls);
        }
    }
}
