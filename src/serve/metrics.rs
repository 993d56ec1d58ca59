//! Prometheus metrics of the running server: events received, their fates, and the backlog.
//!
//! No label is ever a user, a path or anything else that a client chooses: cardinality is bounded, and access to metrics
//! gives no access to events.
//!
//! - here: every metric, and what counts it;
//! - `requests`: metrics of each request;
//! - `gauges`: gauges read at scrape time, instead of being counted;
//! - `sharing`: operations asked of the engine, the calls they take, and all calls of AWS;
//! - `endpoint`: access to `/metrics`;
//! - `exposition`: the text format of the answer.

pub(super) mod endpoint;
mod exposition;
mod gauges;
mod requests;
mod sharing;

use std::{collections::BTreeMap, sync::Arc};

use collector::{ByFate, Drift, Fate, Limits, Observe, Taken};
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};
use weir_core::{Catalog, Clock, EventType};
use weir_embedded::Embedded;

use gauges::Gauges;
pub(super) use requests::{Requests, count};
#[cfg(feature = "aws")]
pub(super) use sharing::EngineStats;
use sharing::{Label, Sharing, TakeStats};

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    gauges: Gauges,
    sharing: Option<Sharing>,
    events: BTreeMap<EventType, ByFate<Counter>>,
    other_events: ByFate<Counter>,
    body_bytes: Counter,
    /// Live counts not raised for stored events.
    pub(crate) count_failures: Counter,
    under_way: Gauge,
    missing: Gauge,
    pub(super) requests: Requests,
    pub(super) connections: ConnectionMetrics,
    pub(super) refused: RefusedMetrics,
    pub(super) filing: FilingMetrics,
}

/// Connection metrics.
#[derive(Clone, Default)]
pub(super) struct ConnectionMetrics {
    pub(super) now: Gauge,
    pub(super) turned_away: Counter,
    pub(super) closed_for_room: Counter,
}

/// Metrics of refused callers.
#[derive(Clone, Default)]
pub(super) struct RefusedMetrics {
    pub(super) sign_ins: Counter,
    pub(super) by_failures: Counter,
    pub(super) by_requests: Counter,
}

/// Filing metrics.
#[derive(Clone, Default)]
pub(super) struct FilingMetrics {
    pub(super) filed: Counter,
    pub(super) failed: Counter,
    pub(super) given_up: Counter,
    pub(super) damaged: Counter,
    pub(super) quarantined_lines: Counter,
}

impl FilingMetrics {
    fn register(counter: &mut impl FnMut(&str, &str) -> Counter) -> Self {
        Self {
            filed: counter("batches_filed", "Batches that were filed in the lake"),
            failed: counter("batches_failed", "Times that a batch could not be filed, and is tried again"),
            given_up: counter("batches_given_up", "Batches that are gone from raw before they were filed"),
            damaged: counter("batches_damaged", "Batches that are damaged, so that nothing of them is filed"),
            quarantined_lines: counter("quarantined_lines", "Lines that could not be filed"),
        }
    }
}

impl Metrics {
    /// Makes the metrics of a server with these types, with those of filing and of the disk if this process files, and with
    /// those of shared calls if it shares them.
    pub(super) fn new(
        catalog: &Catalog,
        engine: Option<&Embedded>,
        batching: Option<TakeStats>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("weir_build", "Which version of Weir this is", build);
        let gauges = Gauges::register(&mut registry, engine.cloned(), limits, clock);
        let weir = registry.sub_registry_with_prefix("weir");

        let sharing = batching.map(|take_stats| Sharing::register(weir, take_stats));
        let requests = Requests::register(weir);
        let events = Family::<[(&'static str, String); 2], Counter>::default();
        weir.register("events", "Events by type, and by what became of them", events.clone());
        let by_fate = |event_type: &str| {
            let of = |fate: &str| {
                events.get_or_create_owned(&[
                    ("event_type", event_type.to_owned()),
                    ("outcome", fate.to_owned()),
                ])
            };
            ByFate {
                stored: of("accepted"),
                duplicates: of("duplicate"),
                rejected: of("rejected"),
                not_stored: of("not_stored"),
            }
        };
        let known = catalog.iter().map(|definition| {
            let event_type = definition.event_type();
            (event_type.clone(), by_fate(event_type.as_str()))
        });
        let known = known.collect();
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::<u64>::default();
            weir.register(name, help, counter.clone());
            counter
        };
        let body_bytes = counter("body_bytes", "Bytes of bodies that were read, as they were sent");
        let count_failures = counter(
            "count_failures",
            "Live counts that were not raised for stored events, and are too low until an audit repairs them",
        );
        let sign_ins = counter("sign_in_failures", "Requests whose credentials were wrong");
        let connections = ConnectionMetrics {
            now: Gauge::default(),
            turned_away: counter(
                "connections_refused",
                "Connections that were answered 503: there was no room",
            ),
            closed_for_room: counter(
                "connections_closed_for_room",
                "Idle connections that were closed to make room for others",
            ),
        };
        let filing =
            if engine.is_some() { FilingMetrics::register(&mut counter) } else { FilingMetrics::default() };
        let limited = Family::<Label, Counter>::default();
        weir.register(
            "rate_limited",
            "Requests that were answered 429, by what there was too much of",
            limited.clone(),
        );
        let limited = |by| limited.get_or_create_owned(&[("limit", by)]);
        let refused = RefusedMetrics {
            sign_ins,
            by_failures: limited("failed_sign_ins"),
            by_requests: limited("requests_per_second"),
        };
        weir.register("connections", "Connections there are now", connections.now.clone());
        let [under_way, missing] = [Gauge::default(), Gauge::default()];
        weir.register(
            "counts_under_way",
            "By how much live totals were above settled ones when a user last read all of theirs",
            under_way.clone(),
        );
        weir.register("counts_missing", "The same, below", missing.clone());
        let other_events = by_fate("");
        Arc::new(Self {
            registry,
            gauges,
            sharing,
            events: known,
            other_events,
            body_bytes,
            count_failures,
            under_way,
            missing,
            requests,
            connections,
            refused,
            filing,
        })
    }

    /// Renders all metrics for Prometheus.
    async fn text(&self) -> String {
        self.gauges.refresh().await;
        if let Some(sharing) = &self.sharing {
            sharing.refresh();
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Observe for Metrics {
    fn taken(&self, taken: &Taken) {
        self.count_failures.inc_by(taken.count_failures as u64);
    }

    fn event(&self, event_type: Option<&EventType>, fate: Fate) {
        let events = event_type.and_then(|known| self.events.get(known)).unwrap_or(&self.other_events);
        events[fate].inc();
    }

    fn body(&self, bytes: usize) {
        self.body_bytes.inc_by(bytes as u64);
    }

    fn drift(&self, drift: &Drift) {
        self.under_way.set(drift.under_way.try_into().unwrap_or(i64::MAX));
        self.missing.set(drift.missing.try_into().unwrap_or(i64::MAX));
    }
}
