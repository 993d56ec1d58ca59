//! What is measured of requests, for the host's metrics.

use weir_core::EventType;

use crate::intake::outcome::{ByFate, Fate};

/// What became of one request's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// The number of events by fate.
    pub events: ByFate<usize>,
    /// Live counts that may miss some of the stored events.
    pub count_failures: usize,
}

/// The difference between live and settled totals, over all types of a user who just read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Counted live, not settled: under way into the lake, or lost.
    pub under_way: u64,
    /// Settled, not counted live: live counts that could not be raised.
    pub missing: u64,
}

/// Observes requests. It is called before the answer, so it must return quickly.
pub trait Observe: Send + Sync {
    /// Takes the outcomes of a request's events.
    fn taken(&self, taken: &Taken);

    /// Takes the fate of one event and its type; `None` if the event names no type of the catalog.
    fn event(&self, _: Option<&EventType>, _: Fate) {}

    /// Takes the size of a body that was read, in bytes as sent.
    fn body(&self, _: usize) {}

    /// Takes the difference between the totals of a user who just read all of them.
    fn drift(&self, _: &Drift) {}
}

/// Observes nothing.
impl Observe for () {
    fn taken(&self, _: &Taken) {}
}
