//! What is counted of requests that bring events, for whoever watches the whole.

/// What became of one request's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// They are stored.
    pub accepted: usize,
    /// They were not valid.
    pub rejected: usize,
    /// They were valid, and are not known to be stored.
    pub not_stored: usize,
    /// Live counts that some of the stored events are missing from, or may be.
    pub count_failures: usize,
}

/// Is told of every request that brought events. It is called before the answer, so it must not take long.
pub trait Observe: Send + Sync {
    /// This became of a request's events.
    fn taken(&self, taken: &Taken);
}

/// Whoever does not want to know.
impl Observe for () {
    fn taken(&self, _: &Taken) {}
}
