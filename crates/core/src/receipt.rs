//! Receipts: what became of one event of a user, found by its id.
//!
//! Nothing is written for them. An id that Weir made carries the time of arrival, by which batches are ordered; an id that a
//! client gave is remembered for a day, with the event's place or time. A repeat has the id of the event that it repeats, so the
//! receipt of both is that of the stored event.

use serde::Serialize;

use crate::{
    BatchKey, EventId, EventType, Partition, RecordHead, Timestamp, Username,
    forgotten::ForgottenEvents,
    newest::{NewestEvent, NewestFate},
    repeats::{Identity, IdentityDigest},
};

/// The receipt of an event that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Its id.
    pub event_id: EventId,
    /// What became of it.
    pub status: ReceiptStatus,
    /// Its type; of a rejected event, the one that it was sent as. `None` if its line cannot be read.
    pub event_type: Option<EventType>,
    /// The time of its arrival, at which it was stored. `None` if its line cannot be read.
    pub received_at: Option<Timestamp>,
    /// The path of the object in the lake that has it, once it is filed.
    pub object: Option<String>,
    /// Why it was rejected, or quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStatus {
    /// It is durable, and not in the lake yet.
    Stored,
    /// It is in the lake.
    Filed,
    /// It is not valid, and kept aside.
    Rejected,
    /// It is durable, and its batch could not be filed.
    Quarantined,
    /// It was forgotten on request.
    Forgotten,
}

/// An event in a batch, or on its way into one.
#[derive(Debug, Clone)]
pub struct Found {
    event: NewestEvent,
    partition: Partition,
}

impl Found {
    /// Returns the event if this line is the event of this user and id.
    #[must_use]
    pub fn in_line(
        username: &Username,
        event_id: &EventId,
        line: &[u8],
        gone: &ForgottenEvents,
    ) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        // The usual line of another event costs no parsing.
        if !text.contains(event_id.as_str()) {
            return None;
        }
        let head = RecordHead::read(line).ok()?;
        if head.partition.username != *username || head.event_id != *event_id || gone.has(&head) {
            return None;
        }
        let partition = head.partition.clone();
        Some(Self { event: NewestEvent::of_line(head, line)?, partition })
    }

    /// Returns the path of the object in which filing puts the event.
    #[must_use]
    pub fn object(&self, batch: &BatchKey) -> String {
        self.partition.object(&batch.id())
    }

    /// Returns the receipt of the event. `object` is the path of the lake's object that has it, if it is filed.
    #[must_use]
    pub fn receipt(self, is_filed: bool, object: Option<String>) -> Receipt {
        let (status, reason) = match self.event.fate {
            NewestFate::Rejected { reason, .. } => (ReceiptStatus::Rejected, Some(reason)),
            NewestFate::Accepted { .. } if is_filed => (ReceiptStatus::Filed, None),
            NewestFate::Accepted { .. } => (ReceiptStatus::Stored, None),
        };
        Receipt {
            event_id: self.event.event_id,
            status,
            event_type: self.event.event_type,
            received_at: Some(self.event.received_at),
            object,
            reason,
        }
    }
}

impl Receipt {
    /// Makes the receipt of an event whose line cannot be read.
    #[must_use]
    pub fn without_line(event_id: &EventId, status: ReceiptStatus, reason: Option<&str>) -> Self {
        Self {
            event_id: event_id.clone(),
            status,
            event_type: None,
            received_at: None,
            object: None,
            reason: reason.map(str::to_owned),
        }
    }
}

/// Returns the digest of the identity that an event has if its client gave it this id.
#[must_use]
pub fn digest_of_given(username: &Username, event_id: &EventId) -> IdentityDigest {
    Identity::Given { username, event_id }.digest()
}

/// Returns whether the event of this id was forgotten: one to which its client gave the id, or one to which Weir did, of one of
/// these types.
#[must_use]
pub fn is_forgotten<'a>(
    gone: &ForgottenEvents,
    username: &Username,
    event_id: &EventId,
    types: impl IntoIterator<Item = &'a EventType>,
) -> bool {
    if gone.is_empty() {
        return false;
    }
    let made = event_id.generated_at().is_some_and(|at| {
        types.into_iter().any(|event_type| {
            let partition =
                Partition { username: username.clone(), event_type: event_type.clone(), hour: at.hour() };
            let event_id = event_id.clone();
            gone.has(&RecordHead { partition, event_id, received_at: at, time: at, is_of_a_bot: false })
        })
    });
    made || gone.has_id(&digest_of_given(username, event_id))
}
