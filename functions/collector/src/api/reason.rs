//! The reasons why nothing was stored or read, in words for clients.

use weir_core::ports::PortError;

/// A failure of the engine, as far as clients see it. The engine's own message stays in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error(
        "The server's disk is almost full: it has less space left than the server keeps free, so no new event is stored."
    )]
    NoSpace,
    #[error(
        "Files of the server were removed, moved or replaced while it was running: it has to be started again."
    )]
    FilesLost,
    #[error(
        "Checking the events of this request took all the work that one request may cause. Send fewer at once."
    )]
    TooMuchWork,
    #[error("The storage behind the server does not answer now. The server's log says more.")]
    Unavailable,
    #[error(
        "The storage behind the server fails, and an operator has to look at it. The server's log says more."
    )]
    Broken,
}

impl From<&PortError> for Reason {
    fn from(error: &PortError) -> Self {
        match error {
            PortError::NoSpace { .. } => Self::NoSpace,
            PortError::FilesLost { .. } => Self::FilesLost,
            PortError::Unavailable { .. } => Self::Unavailable,
            PortError::NotFound { .. } | PortError::Broken { .. } => Self::Broken,
        }
    }
}
