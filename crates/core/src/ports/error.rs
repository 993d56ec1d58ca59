//! The error of the ports: why an engine could not do something, and whether a retry can help.

use std::{error::Error, sync::Arc};

/// Why an engine could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PortError {
    /// Not now: throttled, unreachable, out of time or out of space. A later retry can help.
    #[error("{what} is not available now: {source}")]
    Unavailable {
        /// The operation.
        what: &'static str,
        /// The engine's error.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Not now: the disk has no space left for it.
    #[error("{what} is not available now: {source}")]
    NoSpace {
        /// The operation.
        what: &'static str,
        /// The engine's error.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Not until the process starts again: its files were removed, moved or replaced.
    #[error("{what} is not available now: {source}")]
    FilesLost {
        /// The operation.
        what: &'static str,
        /// The engine's error.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// There is nothing under that name.
    #[error("{what} was not found")]
    NotFound {
        /// The name that was not found.
        what: String,
    },
    /// A retry cannot help: an operator must look (stored data that cannot be read, a permission that is missing).
    #[error("{what} is broken: {source}")]
    Broken {
        /// The operation.
        what: &'static str,
        /// The engine's error.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl PortError {
    /// Makes the error of a failure that may pass.
    pub fn unavailable(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { what, source: Arc::from(source.into()) }
    }

    /// Makes the error of a disk without space for the operation.
    pub fn no_space(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::NoSpace { what, source: Arc::from(source.into()) }
    }

    /// Makes the error of files that are no longer where the process opened them.
    pub fn files_lost(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::FilesLost { what, source: Arc::from(source.into()) }
    }

    /// Returns whether a later retry can help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::NoSpace { .. } | Self::FilesLost { .. } => true,
            Self::NotFound { .. } | Self::Broken { .. } => false,
        }
    }

    /// Makes the error of a failure that will not pass by itself.
    pub fn broken(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken { what, source: Arc::from(source.into()) }
    }
}
