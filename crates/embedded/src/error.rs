//! Why a data folder cannot be used.

use std::{fmt, io, path::PathBuf};

use crate::store::StoreError;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves the folder.
    #[error("{0}")]
    InUse(InUse),
    /// The folder cannot be created or written.
    #[error("cannot use the data folder {}: {source}", .path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A database in the folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A data folder that another process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The folder.
    pub path: PathBuf,
    /// The process, if the system or the lock file names it.
    pub pid: Option<u32>,
}

impl fmt::Display for InUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is in use by another weir process", self.path.display())?;
        self.pid.map_or(Ok(()), |pid| write!(formatter, " (pid {pid})"))
    }
}
