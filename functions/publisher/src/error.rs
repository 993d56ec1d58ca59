//! Why an answer is not published.

use std::io;

#[cfg(feature = "aws")]
use weir_aws::athena::AthenaError;
use weir_core::{answers::layout::LayoutError, ports::PortError};

/// Why an answer is not published. What was published before stays.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The answer itself cannot be one, for this reason: its SQL has to change.
    #[error("{0}")]
    Wrong(String),
    /// Its rows cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A temporary file cannot be used.
    #[error("cannot use a temporary file: {0}")]
    Temporary(#[from] io::Error),
    /// Athena gives no answer.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Athena(#[from] AthenaError),
    /// It cannot be stored.
    #[error(transparent)]
    Store(#[from] PortError),
    /// It was published, but not all of a CDN's pages were put.
    #[error(
        "published, but not all of the CDN's pages were put: some are of the publication before. Publish again: {0}"
    )]
    Pages(#[source] PortError),
    /// What is published meanwhile was computed later.
    #[error("not published: by the clock of its publisher, what is published was computed later than this")]
    Outdated,
}

/// Returns the error of an answer that cannot be one.
pub(crate) fn wrong(why: impl Into<String>) -> AnswerError {
    AnswerError::Wrong(why.into())
}
