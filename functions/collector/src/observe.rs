//! What is counted of requests, for whoever watches the whole.

use weir_core::EventType;

/// What became of one request's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// They are stored.
    pub accepted: usize,
    /// They were stored before, and not again.
    pub duplicates: usize,
    /// They were not valid.
    pub rejected: usize,
    /// They were valid, and are not known to be stored.
    pub not_stored: usize,
    /// Live counts that some of the stored events are missing from, or may be.
    pub count_failures: usize,
}

/// How far live and settled totals are apart, of all types of a user who just read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Counted live, not settled: under way into the lake, or lost.
    pub under_way: u64,
    /// Settled, not counted live: live counts that could not be raised.
    pub missing: u64,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Accepted,
    /// It was stored before, and not again.
    Duplicate,
    /// It is not valid.
    Rejected,
    /// It is not known to be stored.
    NotStored,
}

/// Is told of requests. It is called before the answer, so it must not take long.
pub trait Observe: Send + Sync {
    /// This became of a request's events.
    fn taken(&self, taken: &Taken);

    /// This became of one event of this type; none, where it claims to be of none that the catalog has.
    fn event(&self, _: Option<&EventType>, _: Fate) {}

    /// A body of so many bytes was read, as it was sent.
    fn body(&self, _: usize) {}

    /// A user read all of their totals, which are this far apart.
    fn drift(&self, _: &Drift) {}
}

/// Whoever does not want to know.
impl Observe for () {
    fn taken(&self, _: &Taken) {}
}
