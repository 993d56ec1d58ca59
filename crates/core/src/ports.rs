//! The ports: the traits that an engine implements. Each is as narrow as its callers need, and has a suite in
//! `weir_core::conformance` that every engine passes.
//!
//! | port | called by | on one machine | on AWS |
//! | --- | --- | --- | --- |
//! | [`Stream`] | collector | journal in `events.db` | Firehose |
//! | [`LiveCounts`] | collector | `events.db` and an overlay in memory | DynamoDB |
//! | [`CountsByMinute`] | collector | memory | (none) |
//! | [`Settlement`] | fan-out | `events.db` | DynamoDB |
//! | [`SettledCounts`] | collector; `weir audit` | `events.db` | DynamoDB |
//! | [`RecentRejected`] | collector | `events.db` | DynamoDB |
//! | [`NewestEvents`] | collector | journal and raw | S3, the newest hours of the lake |
//! | [`FollowEvents`] | collector | journal and raw | (none) |
//! | [`Receipts`] | collector | journal, raw and recent ids | S3 and recent ids |
//! | [`LatestValues`] | collector | `events.db` and an overlay in memory | DynamoDB |
//! | [`ReadLatest`] | collector; `weir latest`, `weir audit` | the same | DynamoDB |
//! | [`LatestValuesAdmin`] | `weir audit --repair` | `events.db` | DynamoDB |
//! | [`Users`], [`UserAdmin`] | authorizer; `weir user` | `users.db` | DynamoDB |
//! | [`Forgotten`] | fan-out | `events.db` | S3 |
//! | [`Raw`] | fan-out; `weir audit` | a folder | S3 |
//! | [`RawObjects`] | `weir replay`, `weir tail` on AWS | a folder | S3 |
//! | [`Lake`], [`Quarantine`] | fan-out | folders | S3 |
//! | [`LakeObjects`] | `weir audit`, `weir map` | a folder | S3 |
//! | [`QuarantineObjects`] | tests | a folder | S3 |
//! | [`Books`] | `weir audit`, `weir counts`, `weir latest` | `events.db` | DynamoDB |
//! | [`BooksAdmin`] | `weir audit --repair` | `events.db` | DynamoDB |
//! | [`Answers`], [`AnswersAdmin`] | collector; `weir publish` | files | S3 |
//! | [`Health`] | collector | all of the above | all of the above |

mod answers;
mod error;
mod latest;
mod live;
mod of_collector;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream as AsyncStream;

use crate::{
    BatchId, BatchKey, Counter, EventId, EventType, Hour, Increment, Partition, Record, Username,
    books::{Correction, TypeCounts},
    counts::{KeyCount, KeysRequest, SettledTotals},
    forgotten::ForgottenEvents,
    latest::LatestValue,
    newest::{NewestPage, NewestRequest},
    receipt::Receipt,
    rejected::RejectedEvent,
    users::{StoredUser, User},
};

pub use answers::{Answers, AnswersAdmin, Generation, Publication};
pub use error::PortError;
pub use latest::{LatestValues, LatestValuesAdmin, ReadLatest};
pub use live::{CountsByMinute, FollowEvents};
pub use of_collector::Ports;

/// The outcome of appending one record.
#[derive(Debug, Clone)]
pub enum Appended {
    /// The record is durable, and already in the live counts and the latest values: the engine derives them from the records
    /// it stores.
    Counted,
    /// The record is durable; the caller raises the live counts and the latest value.
    Stored,
    /// An event with its identity ([`Record::identity`]) is durable since an earlier append, or by an earlier record of this
    /// one, and counted or being counted. This record was not stored.
    Duplicate {
        /// The latest value that the *stored* record is. Its caller may have failed to raise it, so this caller raises it
        /// too; this record may differ from it, in its time of arrival at least. `None` if that record has no latest key,
        /// or the engine derives latest values itself.
        stored: Option<Box<LatestValue>>,
    },
    /// The record is not known to be durable: the client must send it again.
    Refused(PortError),
}

impl Appended {
    /// Returns whether the record may be acknowledged.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// Returns the latest value that the caller raises before it acknowledges the record; `None` if it raises none.
    #[must_use]
    pub fn to_raise(&self, record: &Record) -> Option<LatestValue> {
        match self {
            Self::Counted | Self::Refused(_) => None,
            Self::Stored => LatestValue::of(record),
            Self::Duplicate { stored } => stored.as_deref().cloned(),
        }
    }
}

/// The stream that accepted and rejected events enter first.
#[async_trait]
pub trait Stream: Send + Sync {
    /// Makes records durable; returns an outcome for each of them, in their order. Every record that is reported durable
    /// arrives in a batch in raw, as its line, at least once; a duplicate has arrived, or will, as the line of the record
    /// that was stored. An identity is remembered for at least 24 hours from when it was stored. Of concurrently appended
    /// records with one identity, one is stored; the others are duplicates, or refused until the outcome of that one is
    /// known. A refused record is not remembered as stored: it can be appended again.
    async fn append(&self, records: Vec<Record>) -> Vec<Appended>;
}

/// What was forgotten, and must not be filed again.
#[async_trait]
pub trait Forgotten: Send + Sync {
    /// Returns all that was forgotten. It is asked for each batch.
    async fn forgotten(&self) -> Result<Arc<ForgottenEvents>, PortError>;
}

/// Counts that go up with every acknowledged event: immediate, and best effort under faults.
#[async_trait]
pub trait LiveCounts: Send + Sync {
    /// Raises counts. Not idempotent: after a failure, some of them may have been raised.
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError>;

    /// Returns counts, in the order asked; 0 for a counter that was never raised.
    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError>;

    /// Returns the totals of all types of which the user has sent anything, including rejected events.
    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError>;

    /// Returns a page of a type's counts by key, largest first, equal ones by key. Counts change while pages are read: a key
    /// whose count rises past the reader's position can be missed.
    async fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError>;
}

/// Whether a batch's settled counts were raised by this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// They were raised now.
    Now,
    /// They had been raised before; nothing changed.
    Before,
}

/// Raises the settled counts, once a batch.
#[async_trait]
pub trait Settlement: Send + Sync {
    /// Raises the counts of a batch's partitions, idempotently: a second call, at the same time or years later, changes
    /// nothing. `events`, their number in each partition, must be the same whenever the batch is. The time of the first call
    /// is remembered for all users that have events in it.
    async fn settle(&self, batch: &BatchId, events: &BTreeMap<Partition, u64>) -> Result<Settled, PortError>;
}

/// Counts of the events in the lake, by user, type and hour: exact.
#[async_trait]
pub trait SettledCounts: Send + Sync {
    /// Returns the totals of all of a user's types, and when they changed last.
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError>;

    /// Returns the counts of one type by hour, from `first` to `last`, both included; hours without events are left out.
    async fn hours(
        &self,
        username: &Username,
        event_type: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError>;
}

/// The latest rejected events of each user, for finding out why events are rejected. All rejected events are in the lake;
/// these are available at once.
#[async_trait]
pub trait RecentRejected: Send + Sync {
    /// Notes the rejected ones among records that one request of one user stored, in their order, unless the engine has done
    /// so itself: it has noted those that were appended as [`Appended::Counted`]. It may note the newest only. Of several
    /// concurrent requests, any may be the newer one.
    async fn note(&self, records: &[Record]) -> Result<(), PortError>;

    /// Returns the user's latest, newest first: at most `limit`, and at most [`MAX_SHOWN`](crate::rejected::MAX_SHOWN).
    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError>;
}

/// The newest events of each user. No engine writes anything more for an event so that it can be listed.
#[async_trait]
pub trait NewestEvents: Send + Sync {
    /// Returns a page of a user's events, newest first: at most as many as are asked for, and at most
    /// [`MAX_BYTES`](crate::newest::MAX_BYTES) of them, one at least. The work is bounded: a page may have fewer events, even
    /// none, and still a position to go on after. Forgotten events are in no page.
    async fn newest(&self, username: &Username, request: &NewestRequest) -> Result<NewestPage, PortError>;
}

/// What became of single events.
#[async_trait]
pub trait Receipts: Send + Sync {
    /// Returns the receipt of a user's event; `None` if no event of this id is known: it was never acknowledged, or its client
    /// gave it the id and that was forgotten since, or it is where the engine cannot look yet. `types` are those that a
    /// forgotten event may have had.
    async fn receipt(
        &self,
        username: &Username,
        event_id: &EventId,
        types: &[EventType],
    ) -> Result<Option<Receipt>, PortError>;
}

/// All counts of an engine, for comparison with the lake.
#[async_trait]
pub trait Books: Send + Sync {
    /// Returns the users and types that have any count, live or settled.
    async fn counted(&self) -> Result<BTreeSet<(Username, EventType)>, PortError>;

    /// Returns all counts of a user's events of a type; as of one moment, if the engine can.
    async fn counts_of(&self, username: &Username, event_type: &EventType) -> Result<TypeCounts, PortError>;

    /// Returns the newest event of each resource among those in no batch yet; nothing if the engine cannot know them.
    async fn latest_in_stream(&self, _: &Username, _: &EventType) -> Result<Vec<LatestValue>, PortError> {
        Ok(Vec::new())
    }
}

/// Corrections of live counts.
#[async_trait]
pub trait BooksAdmin: Books {
    /// Adds to live counts, even during concurrent increments, and never makes one less than zero. Not idempotent: after a
    /// failure, some corrections may have been made. A count that becomes zero is as if it had never been raised.
    async fn correct(&self, corrections: &[Correction]) -> Result<(), PortError>;
}

/// The users who have an account.
#[async_trait]
pub trait Users: Send + Sync {
    /// Finds a user, whose access keys are not parsed.
    async fn stored(&self, username: &Username) -> Result<Option<StoredUser>, PortError>;

    /// Finds a user and parses the access keys, which takes longer than finding no user.
    async fn find(&self, username: &Username) -> Result<Option<User>, PortError> {
        let stored = self.stored(username).await?;
        let read = stored.map(StoredUser::read).transpose();
        read.map_err(|error| PortError::broken("reading a user", error))
    }
}

/// Whether a user was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// Yes.
    Yes,
    /// No: another caller saved or removed the user since it was read. Read again and repeat the change.
    Outdated,
}

/// The administration of accounts.
#[async_trait]
pub trait UserAdmin: Users {
    /// Saves a user if its version is the stored one (0: none is stored); the stored user then has the next version.
    async fn save(&self, user: &User) -> Result<Saved, PortError>;

    /// Removes a user, but none of their events; returns whether there was one.
    async fn remove(&self, username: &Username) -> Result<bool, PortError>;

    /// Returns all users, by name.
    async fn list(&self) -> Result<Vec<User>, PortError>;
}

/// An object's content as a stream: an error in it is an error of reading, never of the content.
pub type Content = Pin<Box<dyn AsyncStream<Item = io::Result<Bytes>> + Send>>;

/// Batches as the stream delivered them.
#[async_trait]
pub trait Raw: Send + Sync {
    /// Opens a batch.
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError>;
}

/// Batches, and the list of them.
#[async_trait]
pub trait RawObjects: Raw {
    /// Returns the keys of batches after `after` (`None`: from the first), in the order of their bytes: at most `limit`.
    async fn list(&self, after: Option<&BatchKey>, limit: usize) -> Result<Vec<BatchKey>, PortError>;
}

/// Takes the events of all partitions.
#[async_trait]
pub trait Lake: Send + Sync {
    /// Puts the events of a batch for a partition into its object; whole or not at all. `content` has `length` bytes. Putting
    /// again replaces the object.
    async fn put(
        &self,
        partition: &Partition,
        batch: &BatchId,
        length: u64,
        content: Content,
    ) -> Result<(), PortError>;
}

/// The lake's objects as they are, including files that Weir did not put there.
#[async_trait]
pub trait LakeObjects: Send + Sync {
    /// Returns the paths of objects after `after` (`None`: from the first), in the order of their bytes: at most `limit`.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, PortError>;

    /// Returns the paths of one user's objects after `after` (`None`: from the first), wherever the user's events are filed,
    /// in the order of their bytes: at most `limit`.
    async fn list_of(
        &self,
        username: &Username,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError>;

    /// Opens the object at a path that was listed.
    async fn open_path(&self, path: &str) -> Result<Content, PortError>;
}

/// Takes what cannot be filed, with the reason.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Puts the lines of a batch that could not be filed; whole or not at all. `content` has `length` bytes. Putting again
    /// replaces the object.
    async fn put(&self, batch: &BatchId, length: u64, content: Content) -> Result<(), PortError>;
}

/// The objects of quarantine.
#[async_trait]
pub trait QuarantineObjects: Send + Sync {
    /// Opens the lines of a batch that could not be filed.
    async fn open(&self, batch: &BatchId) -> Result<Content, PortError>;
}

/// The health check of the engine.
#[async_trait]
pub trait Health: Send + Sync {
    /// Succeeds if events can be stored and counts can be read.
    async fn check(&self) -> Result<(), PortError>;
}
