//! The errors of a run.

use weir_aws::athena::AthenaError;
use weir_core::{ports::PortError, sealing::SealError};

/// Why a run failed. Readers still get each event once: a day is sealed as a whole, or not at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The engine failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// JSON or events that are due cannot be removed. Days were sealed all the same.
    #[error("JSON or events that are due cannot be removed: {0}")]
    Removal(PortError),
    /// A day cannot be sealed.
    #[error(transparent)]
    Day(#[from] SealError),
    /// A table or a view cannot be made.
    #[error("the view {name} cannot be made, and stays as it was: {error}")]
    View {
        /// The name of the table or view.
        name: String,
        /// Why.
        error: AthenaError,
    },
    /// The text of a view would be longer than Athena takes.
    #[error(
        "the view {name} would have {bytes} bytes, and Athena takes {most}: {late} late objects are not sealed yet"
    )]
    TooLong {
        /// The name of the view.
        name: String,
        /// The length of its text.
        bytes: usize,
        /// The most that Athena takes.
        most: usize,
        /// How many late objects it names.
        late: usize,
    },
    /// Not one day could be sealed in the time that the function has.
    #[error("no day could be sealed in the time that the function may run")]
    NoTime,
}
