//! Why a batch could not be filed.

use std::io;

use weir_core::{BatchKey, Partition, ports::PortError};

use crate::Damage;

/// Why a batch could not be filed. Whatever of it was filed already stays, and filing it again completes it.
#[derive(Debug, thiserror::Error)]
pub enum FanOutError {
    /// Raw holds no such batch.
    #[error("there is no batch {batch}")]
    NoSuchBatch {
        /// Which.
        batch: BatchKey,
    },
    /// Raw could not open the batch.
    #[error("batch {batch} could not be opened: {source}")]
    Open {
        /// Which.
        batch: BatchKey,
        /// What raw said.
        source: PortError,
    },
    /// The batch's content broke off.
    #[error("reading batch {batch} broke off: {source}")]
    Read {
        /// Which.
        batch: BatchKey,
        /// What raw said.
        source: io::Error,
    },
    /// The batch's object is damaged: nothing of it is filed, and quarantine has its name with the reason. Once the object is
    /// repaired, filing it again files it.
    #[error("batch {batch} is damaged, so nothing of it is filed: {damage}")]
    Damaged {
        /// Which.
        batch: BatchKey,
        /// The flaw.
        damage: Damage,
    },
    /// The temporary file could not be written.
    #[error("the temporary file for batch {batch} could not be written: {source}")]
    Spool {
        /// Which batch.
        batch: BatchKey,
        /// What the system said.
        source: io::Error,
    },
    /// An object could not be put into the lake.
    #[error("batch {batch} could not be put into {partition}: {source}")]
    Lake {
        /// Which batch.
        batch: BatchKey,
        /// Into which partition.
        partition: Partition,
        /// What the lake said.
        source: PortError,
    },
    /// What cannot be filed could not be put into quarantine.
    #[error("what cannot be filed of batch {batch} could not be put into quarantine: {source}")]
    Quarantine {
        /// Which batch.
        batch: BatchKey,
        /// What quarantine said.
        source: PortError,
    },
    /// The counts could not be settled.
    #[error("the counts of batch {batch} could not be settled: {source}")]
    Settle {
        /// Which batch.
        batch: BatchKey,
        /// What the counts' engine said.
        source: PortError,
    },
}

impl FanOutError {
    /// Whether filing the batch again can help without an operator looking at it first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoSuchBatch { .. } | Self::Damaged { .. } => false,
            Self::Read { .. } | Self::Spool { .. } => true,
            Self::Open { source, .. }
            | Self::Lake { source, .. }
            | Self::Quarantine { source, .. }
            | Self::Settle { source, .. } => source.may_pass(),
        }
    }
}
