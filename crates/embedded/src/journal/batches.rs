//! Batches on their way from the journal into raw.

use std::time::Duration;

use tokio::sync::oneshot;
use weir_core::ports::PortError;

/// The limits at which a batch is cut.
#[derive(Debug, Clone, Copy)]
pub struct Flush {
    /// Once its oldest event has waited this long.
    pub every: Duration,
    /// Once its events have this many bytes, uncompressed.
    pub size: u64,
}

/// A range of the sequence that is, or becomes, one object in raw.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) raw_key: String,
    /// Whether its file is in raw; its rows may then be gone from the journal.
    pub(crate) written: bool,
}

pub(crate) enum Delivery {
    Batch(Batch),
    /// A request that is answered once everything before it was delivered.
    Barrier(oneshot::Sender<Result<(), PortError>>),
}
