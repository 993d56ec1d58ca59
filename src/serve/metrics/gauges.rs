//! Gauges read at scrape time instead of being counted.

use std::sync::{Arc, atomic::AtomicU64};

use collector::Limits;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use weir_core::Clock;
use weir_embedded::Embedded;

/// A gauge with a fraction.
type Fraction = Gauge<f64, AtomicU64>;

/// The gauges, with the values of the last refresh.
pub(super) struct Gauges {
    clock: Arc<dyn Clock>,
    engine: Option<Embedded>,
    limits: Limits,
    bodies_waiting: Gauge,
    streams: Gauge,
    oldest_not_filed: Fraction,
    free: Gauge,
    resident: Gauge,
}

impl Gauges {
    pub(super) fn register(
        registry: &mut Registry,
        engine: Option<Embedded>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let [bodies_waiting, streams, free, resident]: [Gauge; 4] = Default::default();
        let (oldest_not_filed, started) = (Fraction::default(), Fraction::default());
        registry.register(
            "weir_bodies_waiting",
            "Large bodies that wait for their turn to be decompressed and validated",
            bodies_waiting.clone(),
        );
        if engine.is_some() {
            registry.register("weir_event_streams", "Open streams of events", streams.clone());
            registry.register(
                "weir_oldest_unfiled_event_age_seconds",
                "For how long the oldest event waits that is not filed in the lake; 0 if all are",
                oldest_not_filed.clone(),
            );
            registry.register("weir_disk_free_bytes", "What the data folder's disk has left", free.clone());
        }
        started.set(seconds(clock.now().millis()));
        registry.register(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970",
            started,
        );
        if resident_bytes().is_some() {
            let help = "Memory that the process has in use";
            registry.register("process_resident_memory_bytes", help, resident.clone());
        }
        Self { clock, engine, limits, bodies_waiting, streams, oldest_not_filed, free, resident }
    }

    /// Refreshes the values.
    pub(super) async fn refresh(&self) {
        self.bodies_waiting.set(whole(self.limits.bodies_waiting() as u64));
        self.streams.set(whole(self.limits.streams().open() as u64));
        self.resident.set(whole(resident_bytes().unwrap_or_default()));
        let Some(engine) = &self.engine else { return };
        self.free.set(whole(engine.free_space().unwrap_or_default()));
        // The code that needs the store reports that it cannot be read. The last value stays.
        if let Ok(oldest) = engine.oldest_not_filed().await {
            let now = self.clock.now().millis();
            self.oldest_not_filed
                .set(oldest.map_or(0.0, |since| seconds(now.saturating_sub(since.millis()))));
        }
    }
}

fn whole(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit for a quarter of a million years"
)]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// Returns the process's resident memory: the second number of this file, in pages.
#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<u64> {
    None
}
