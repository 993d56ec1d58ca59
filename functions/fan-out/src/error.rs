//! The reasons why a batch cannot be filed.

use std::io;

use weir_core::{BatchKey, Partition, ports::PortError};

use crate::Damage;

/// The reason why a batch could not be filed. Events that were filed already stay, and filing the batch again completes it.
#[derive(Debug, thiserror::Error)]
pub enum FanOutError {
    /// Raw holds no such batch.
    #[error("there is no batch {batch}")]
    NoSuchBatch {
        /// The batch.
        batch: BatchKey,
    },
    /// Raw could not open the batch.
    #[error("batch {batch} could not be opened: {source}")]
    Open {
        /// The batch.
        batch: BatchKey,
        /// Raw's error.
        source: PortError,
    },
    /// The batch's content broke off.
    #[error("reading batch {batch} broke off: {source}")]
    Read {
        /// The batch.
        batch: BatchKey,
        /// Raw's error.
        source: io::Error,
    },
    /// The batch's object is damaged: nothing of it is filed, and quarantine has its name with the reason. Once the object is
    /// repaired, filing it again files it.
    #[error("batch {batch} is damaged, so nothing of it is filed: {damage}")]
    Damaged {
        /// The batch.
        batch: BatchKey,
        /// The flaw.
        damage: Damage,
    },
    /// It is not known which events were forgotten.
    #[error("batch {batch} is not filed, as it is not known which events were forgotten: {source}")]
    Forgotten {
        /// The batch.
        batch: BatchKey,
        /// The engine's error.
        source: PortError,
    },
    /// The temporary file could not be written.
    #[error("the temporary file for batch {batch} could not be written: {source}")]
    Spool {
        /// The batch.
        batch: BatchKey,
        /// The system's error.
        source: io::Error,
    },
    /// An object could not be put into the lake.
    #[error("batch {batch} could not be put into {partition}: {source}")]
    Lake {
        /// The batch.
        batch: BatchKey,
        /// The object's partition.
        partition: Partition,
        /// The lake's error.
        source: PortError,
    },
    /// The lines that cannot be filed could not be put into quarantine.
    #[error("what cannot be filed of batch {batch} could not be put into quarantine: {source}")]
    Quarantine {
        /// The batch.
        batch: BatchKey,
        /// Quarantine's error.
        source: PortError,
    },
    /// The counts could not be settled.
    #[error("the counts of batch {batch} could not be settled: {source}")]
    Settle {
        /// The batch.
        batch: BatchKey,
        /// The error of the counts' engine.
        source: PortError,
    },
}

impl FanOutError {
    /// Returns whether filing the batch again can help without an operator's repair.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoSuchBatch { .. } | Self::Damaged { .. } => false,
            Self::Read { .. } | Self::Spool { .. } => true,
            Self::Open { source, .. }
            | Self::Forgotten { source, .. }
            | Self::Lake { source, .. }
            | Self::Quarantine { source, .. }
            | Self::Settle { source, .. } => source.may_pass(),
        }
    }
}
