//! What became of an event: for its client, the metrics and the observer alike.

use std::ops::{Index, IndexMut};

use serde::Serialize;
use weir_core::{EventId, Violation};

use crate::api::reason::Reason;

/// The fate of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The event is durable.
    Stored,
    /// A duplicate: an event with the same id from this client was stored before, so this one was not stored again.
    Duplicate,
    /// The event is not valid, and was put aside.
    Rejected,
    /// The event may not be durable, and must be sent again.
    NotStored,
}

/// One value for each fate, such as the number of a request's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByFate<T> {
    /// For [`Fate::Stored`].
    pub stored: T,
    /// For [`Fate::Duplicate`].
    pub duplicates: T,
    /// For [`Fate::Rejected`].
    pub rejected: T,
    /// For [`Fate::NotStored`].
    pub not_stored: T,
}

impl<T> Index<Fate> for ByFate<T> {
    type Output = T;

    fn index(&self, fate: Fate) -> &T {
        match fate {
            Fate::Stored => &self.stored,
            Fate::Duplicate => &self.duplicates,
            Fate::Rejected => &self.rejected,
            Fate::NotStored => &self.not_stored,
        }
    }
}

impl<T> IndexMut<Fate> for ByFate<T> {
    fn index_mut(&mut self, fate: Fate) -> &mut T {
        match fate {
            Fate::Stored => &mut self.stored,
            Fate::Duplicate => &mut self.duplicates,
            Fate::Rejected => &mut self.rejected,
            Fate::NotStored => &mut self.not_stored,
        }
    }
}

/// Counts events.
impl FromIterator<Fate> for ByFate<usize> {
    fn from_iter<I: IntoIterator<Item = Fate>>(fates: I) -> Self {
        let mut events = Self::default();
        for fate in fates {
            events[fate] += 1;
        }
        events
    }
}

/// The answer for one event: its fate, and what its client needs to know beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum Outcome {
    Stored {
        event_id: EventId,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<&'static str>,
    },
    Duplicate {
        event_id: EventId,
    },
    Rejected {
        errors: Vec<Violation>,
    },
    /// `event_id` is the client's, if it gave one.
    NotStored {
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<EventId>,
        #[serde(skip)]
        reason: Reason,
    },
}

impl Outcome {
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Stored { .. } => Fate::Stored,
            Self::Duplicate { .. } => Fate::Duplicate,
            Self::Rejected { .. } => Fate::Rejected,
            Self::NotStored { .. } => Fate::NotStored,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_says_its_status_and_what_goes_with_it() {
        let event_id: EventId = "e-1".parse().unwrap();
        let stored = |warnings| Outcome::Stored { event_id: event_id.clone(), warnings };
        let not_stored = |event_id| Outcome::NotStored { event_id, reason: Reason::Unavailable };
        let errors = vec![Violation::new("/a", "is required")];
        for (outcome, expected) in [
            (stored(vec![]), json!({"status": "stored", "event_id": "e-1"})),
            (stored(vec!["a"]), json!({"status": "stored", "event_id": "e-1", "warnings": ["a"]})),
            (
                Outcome::Duplicate { event_id: event_id.clone() },
                json!({"status": "duplicate", "event_id": "e-1"}),
            ),
            (
                Outcome::Rejected { errors },
                json!({"status": "rejected", "errors": [{"path": "/a", "message": "is required"}]}),
            ),
            (not_stored(Some(event_id)), json!({"status": "not_stored", "event_id": "e-1"})),
            (not_stored(None), json!({"status": "not_stored"})),
        ] {
            assert_eq!(json!(outcome), expected);
        }
    }

    #[test]
    fn each_fate_has_a_count_of_its_own() {
        use Fate::{Duplicate, NotStored, Rejected, Stored};
        let fates =
            [Stored, Duplicate, Duplicate, Rejected, Rejected, Rejected, NotStored, Stored, Stored, Stored];
        let events: ByFate<usize> = fates.into_iter().collect();
        assert_eq!(events, ByFate { stored: 4, duplicates: 2, rejected: 3, not_stored: 1 });
        assert_eq!([Stored, Duplicate, Rejected, NotStored].map(|fate| events[fate]), [4, 2, 3, 1]);
    }
}
