//! A user's newest events, accepted and rejected, as the API lists them: the request, a page, and how a page is gathered from
//! stored lines in bounded memory.

use std::{collections::VecDeque, fmt, str::FromStr};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    EventId, EventType, NameError, RecordHead, Timestamp, Username, forgotten::ForgottenEvents,
    rejected::RejectedEvent,
};

/// The most events of a page.
pub const MAX_EVENTS: usize = 100;

/// The most bytes of stored lines in a page. A function on Lambda answers at most 6 MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub const MAX_BYTES: usize = 2 << 20;

/// A request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestRequest {
    /// The only type whose events are wanted, if there is one: accepted events of it, and rejected ones that were sent as it.
    pub event_type: Option<EventType>,
    /// The position to go on after; `None` for the newest events.
    pub after: Option<Position>,
    /// The most events, [`MAX_EVENTS`] at most.
    pub limit: usize,
}

impl NewestRequest {
    /// Returns whether an event is after the position, by its time of arrival and its id, and of the type that is wanted.
    #[must_use]
    pub fn wants(&self, event: &NewestEvent) -> bool {
        self.is_of_wanted_type(event)
            && self.after.as_ref().is_none_or(|after| {
                (event.received_at.millis(), Some(&event.event_id)) < (after.number, after.event_id.as_ref())
            })
    }

    fn is_of_wanted_type(&self, event: &NewestEvent) -> bool {
        self.event_type.as_ref().is_none_or(|wanted| event.is_of(wanted))
    }
}

/// A position in the list: events after it are older. Its text is a cursor for clients, who do not look into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// A number that falls from the newest event to the oldest: the event's number on one machine, its time of arrival on AWS.
    pub number: u64,
    /// The event's id where several events may have one number.
    pub event_id: Option<EventId>,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.number)?;
        self.event_id.as_ref().map_or(Ok(()), |id| write!(out, ".{id}"))
    }
}

impl FromStr for Position {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const NOT_A_POSITION: NameError = NameError::new("a position", "is the next of an earlier answer");
        let (number, event_id) = match text.split_once('.') {
            Some((number, id)) => (number, Some(id.parse()?)),
            None => (text, None),
        };
        let number = number.parse().ok().filter(|number| i64::try_from(*number).is_ok());
        Ok(Self { number: number.ok_or(NOT_A_POSITION)?, event_id })
    }
}

/// A page of events, newest first.
#[derive(Debug, Clone)]
pub struct NewestPage {
    /// The events.
    pub events: Vec<NewestEvent>,
    /// The position to go on after; `None` if there are no older events that this list can show.
    pub next: Option<Position>,
    /// Whether accepted events are listed as soon as they are acknowledged, and not only once they are filed.
    pub live: bool,
}

/// An event of the list.
#[derive(Debug, Clone, Serialize)]
pub struct NewestEvent {
    /// Its id.
    pub event_id: EventId,
    /// Its type; of a rejected event, the one that it was sent as.
    pub event_type: Option<EventType>,
    /// The time of its arrival.
    pub received_at: Timestamp,
    /// The members that depend on its fate.
    #[serde(flatten)]
    pub fate: NewestFate,
}

/// The fate of an event, with its content.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum NewestFate {
    /// It is valid.
    Accepted {
        /// The event as it is stored.
        event: Box<RawValue>,
    },
    /// It is not valid.
    Rejected {
        /// The reasons in one text.
        reason: String,
        /// The text that was sent, or the beginning of it.
        event: String,
        /// Whether the text is only the beginning.
        truncated: bool,
    },
}

impl NewestEvent {
    /// Reads an event from its stored line.
    #[must_use]
    pub fn of_line(head: RecordHead, line: &[u8]) -> Option<Self> {
        let event_type = head.partition.event_type;
        if event_type.is_rejected() {
            return RejectedEvent::read(line, &head.event_id, head.received_at).map(Self::from);
        }
        let text = std::str::from_utf8(line.trim_ascii_end()).ok()?;
        let event = RawValue::from_string(text.to_owned()).ok()?;
        Some(Self {
            event_id: head.event_id,
            event_type: Some(event_type),
            received_at: head.received_at,
            fate: NewestFate::Accepted { event },
        })
    }

    /// Returns whether the event failed validation.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self.fate, NewestFate::Rejected { .. })
    }

    /// Returns whether the event is an accepted one of a type, or a rejected one that was sent as it. For
    /// [`EventType::rejected`], any rejected event is.
    #[must_use]
    pub fn is_of(&self, wanted: &EventType) -> bool {
        (wanted.is_rejected() && self.is_rejected()) || self.event_type.as_ref() == Some(wanted)
    }

    /// Returns the bytes of its content.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.fate {
            NewestFate::Accepted { event } => event.get().len(),
            NewestFate::Rejected { reason, event, .. } => reason.len() + event.len(),
        }
    }
}

impl From<RejectedEvent> for NewestEvent {
    fn from(event: RejectedEvent) -> Self {
        let reasons = event.errors.iter().map(|error| {
            if error.path.is_empty() {
                error.message.clone()
            } else {
                format!("{}: {}", error.path, error.message)
            }
        });
        let reason = reasons.collect::<Vec<_>>().join("; ");
        Self {
            event_id: event.event_id,
            event_type: event.event_type,
            received_at: event.received_at,
            fate: NewestFate::Rejected { reason, event: event.event, truncated: event.truncated },
        }
    }
}

/// Selects a user's events from stored lines.
pub struct Selection<'a> {
    username: &'a Username,
    /// The beginning of what every line of the user has, in the only spelling in which Weir stamps it.
    of_the_user: String,
    event_type: Option<&'a EventType>,
    gone: &'a ForgottenEvents,
}

impl<'a> Selection<'a> {
    /// Selects a user's events that were not forgotten: those of one type, or all of them.
    #[must_use]
    pub fn of(username: &'a Username, event_type: Option<&'a EventType>, gone: &'a ForgottenEvents) -> Self {
        Self { username, of_the_user: format!("\"username\":\"{username}\""), event_type, gone }
    }

    /// Reads the event of a line, if it is a selected one.
    #[must_use]
    pub fn read(&self, line: &[u8]) -> Option<NewestEvent> {
        // The usual line of another user costs no parsing.
        let text = std::str::from_utf8(line).ok()?;
        if !text.contains(&self.of_the_user) {
            return None;
        }
        let head = RecordHead::read(line).ok()?;
        if head.partition.username != *self.username || (!self.gone.is_empty() && self.gone.has(&head)) {
            return None;
        }
        let is_rejected = head.partition.event_type.is_rejected();
        if self.event_type.is_some_and(|wanted| !is_rejected && *wanted != head.partition.event_type) {
            return None;
        }
        let event = NewestEvent::of_line(head, line)?;
        self.event_type.is_none_or(|wanted| event.is_of(wanted)).then_some(event)
    }
}

/// Gathers the newest events of a part of the store that is read from its oldest line to its newest: it keeps the last ones,
/// as many as a page still has room for.
pub struct Gathering<'a> {
    request: &'a NewestRequest,
    selection: Selection<'a>,
    limit: usize,
    max_bytes: usize,
    bytes: usize,
    left_out: bool,
    /// Whether the position is one of times and ids.
    by_time: bool,
    kept: VecDeque<(u64, NewestEvent)>,
}

impl<'a> Gathering<'a> {
    /// Begins to gather what a page has room for beside `events`.
    #[must_use]
    pub fn beside(
        events: &[NewestEvent],
        username: &'a Username,
        request: &'a NewestRequest,
        gone: &'a ForgottenEvents,
    ) -> Self {
        let used: usize = events.iter().map(NewestEvent::bytes).sum();
        Self {
            request,
            selection: Selection::of(username, request.event_type.as_ref(), gone),
            limit: request.limit.min(MAX_EVENTS).saturating_sub(events.len()),
            max_bytes: MAX_BYTES.saturating_sub(used),
            bytes: 0,
            left_out: false,
            by_time: false,
            kept: VecDeque::new(),
        }
    }

    /// Begins to gather from one of several parts, all of which may have the newest events: what is after the request's
    /// position, by time of arrival and id.
    #[must_use]
    pub fn of_a_part(username: &'a Username, request: &'a NewestRequest, gone: &'a ForgottenEvents) -> Self {
        Self { by_time: true, ..Self::beside(&[], username, request, gone) }
    }

    /// Takes the next line, with a number of the caller's. Lines that are no events of the user, or are not wanted, are left
    /// out.
    pub fn take(&mut self, number: u64, line: &[u8]) {
        if self.limit == 0 {
            return;
        }
        let Some(event) = self.selection.read(line) else { return };
        let is_wanted = !self.by_time || self.request.wants(&event);
        if is_wanted {
            self.bytes += event.bytes();
            self.kept.push_back((number, event));
        }
        while self.kept.len() > self.limit || (self.bytes > self.max_bytes && self.kept.len() > 1) {
            if let Some((_, oldest)) = self.kept.pop_front() {
                self.bytes -= oldest.bytes();
                self.left_out = true;
            }
        }
    }

    /// Returns the kept events, newest first, with their numbers; and whether the page is full: the part has older ones, or there
    /// is no room for another.
    #[must_use]
    pub fn newest_first(self) -> (Vec<(u64, NewestEvent)>, bool) {
        let is_full = self.left_out || self.kept.len() >= self.limit || self.bytes >= self.max_bytes;
        (self.kept.into_iter().rev().collect(), is_full)
    }
}
