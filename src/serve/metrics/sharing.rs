//! Operations asked of the engine, and the calls they take: the two are equal where nothing is shared. And all calls of AWS.

use std::collections::BTreeMap;

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type ByKind = Family<Label, Counter>;

/// One label and its value.
pub(super) type Label = [(&'static str, &'static str); 1];

/// The work of the engine on AWS since the last time.
pub(in crate::serve) struct EngineStats {
    /// Each kind of operation with its requests and the shared calls that they took.
    pub(in crate::serve) shared: [(&'static str, u64, u64); 3],
    /// All calls of AWS by operation, retries included.
    pub(in crate::serve) aws_calls: BTreeMap<String, u64>,
}

pub(in crate::serve) type TakeStats = Box<dyn Fn() -> EngineStats + Send + Sync>;

/// The metrics of the operations, as of the last look.
pub(super) struct Sharing {
    take_stats: TakeStats,
    requests: ByKind,
    calls: ByKind,
    aws_calls: Family<[(&'static str, String); 1], Counter>,
}

impl Sharing {
    pub(super) fn register(registry: &mut Registry, take_stats: TakeStats) -> Self {
        let sharing = Self {
            take_stats,
            requests: ByKind::default(),
            calls: ByKind::default(),
            aws_calls: Family::default(),
        };
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
        registry.register(
            "aws_calls",
            "All calls of AWS by operation, retries and sign-ins included",
            sharing.aws_calls.clone(),
        );
        sharing.refresh();
        sharing
    }

    /// Refreshes the values.
    pub(super) fn refresh(&self) {
        let EngineStats { shared, aws_calls } = (self.take_stats)();
        for (kind, requests, calls) in shared {
            self.requests.get_or_create(&[("kind", kind)]).inc_by(requests);
            self.calls.get_or_create(&[("kind", kind)]).inc_by(calls);
        }
        for (operation, calls) in aws_calls {
            self.aws_calls.get_or_create_owned(&[("operation", operation)]).inc_by(calls);
        }
    }
}
