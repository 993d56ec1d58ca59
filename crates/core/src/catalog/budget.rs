//! The limit on the work that the events of one request may cause.

use super::cost::MAX_STEPS;
use crate::Violation;

/// The validation steps that the events of a request share. They bound a request to about a second.
#[derive(Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// Returns the budget of a request. It is enough for any first event.
    #[must_use]
    pub const fn of_a_request() -> Self {
        Self { left: 2 * MAX_STEPS }
    }

    /// Takes steps, if there are enough, and returns whether there were.
    pub(super) fn take(&mut self, steps: u64) -> bool {
        let left = self.left.checked_sub(steps);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The event is not valid.
    Invalid(Vec<Violation>),
    /// The event was not checked, as the events before it have used up the budget. It may be valid.
    Unchecked,
}
