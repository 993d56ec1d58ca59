//! A user's events in the order in which they are stored, in pages for an open stream of events.

use crate::{
    EventType, Username,
    forgotten::ForgottenEvents,
    newest::{NewestEvent, Position, Selection},
};

/// The most events of a page.
pub const MAX_EVENTS: usize = 1000;

/// The bytes of stored lines after which a page ends.
pub const MAX_BYTES: usize = 1 << 20;

/// A request for the next events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRequest {
    /// The type of the wanted events, if not all are: accepted events of it, and rejected ones that were sent as it.
    pub event_type: Option<EventType>,
    /// The position after which the page begins.
    pub after: Position,
}

/// The next events of a user, the earliest first.
#[derive(Debug, Clone)]
pub struct FollowedPage {
    /// The events, each with its position.
    pub events: Vec<(Position, NewestEvent)>,
    /// All events up to this position were looked at.
    pub up_to: Position,
    /// Whether some stored events could not be read: their batch was removed from raw, or is damaged.
    pub has_gap: bool,
    /// Whether there may be more events already.
    pub has_more: bool,
}

/// Gathers the events of a page from stored lines, in their order.
pub struct Page<'a> {
    selection: Selection<'a>,
    bytes: usize,
    events: Vec<(Position, NewestEvent)>,
}

impl<'a> Page<'a> {
    /// Begins a page.
    #[must_use]
    pub fn of(username: &'a Username, event_type: Option<&'a EventType>, gone: &'a ForgottenEvents) -> Self {
        Self { selection: Selection::of(username, event_type, gone), bytes: 0, events: Vec::new() }
    }

    /// Returns whether the page takes no more events.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    /// Takes the line of the next event of the sequence, which has this number.
    pub fn take(&mut self, number: u64, line: &[u8]) {
        if let Some(event) = self.selection.read(line) {
            self.bytes += event.bytes();
            self.events.push((Position { number, event_id: None }, event));
        }
    }

    /// Returns the events.
    #[must_use]
    pub fn into_events(self) -> Vec<(Position, NewestEvent)> {
        self.events
    }
}
