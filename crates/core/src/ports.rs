//! What an engine must be able to do. Each port is as narrow as its callers need; each has a suite in
//! `weir_core::conformance` that every engine passes.
//!
//! | port | called by | on AWS | on one machine |
//! | --- | --- | --- | --- |
//! | [`Stream`] | collector | Firehose | the store's journal |
//! | [`LiveCounts`] | collector | DynamoDB | the store and an overlay in memory |
//! | [`SettledCounts`] | fan-out (and read by the collector) | DynamoDB | the store |
//! | [`RecentRejected`] | collector | DynamoDB | the store |
//! | [`Users`], [`UserAdmin`] | authorizer; `weir user` | DynamoDB | the store |
//! | [`Raw`] | fan-out, replay | S3 | a folder |
//! | [`Lake`], [`Quarantine`] | fan-out | S3 | folders |
//! | [`LakeObjects`] | audit | S3 | folders |
//! | [`Books`], [`BooksAdmin`] | audit | DynamoDB | the store |
//! | [`Health`] | collector | all of the above | all of the above |

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream as AsyncStream;

use crate::{
    BatchId, BatchKey, Counter, EventType, Hour, Increment, Partition, Record, Username,
    books::{Correction, TypeCounts},
    counts::{KeyCount, KeysRequest, SettledTotals},
    rejected::RejectedEvent,
    users::{StoredUser, User},
};

/// Why an engine could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PortError {
    /// Not now: throttled, out of reach, out of time or out of space. Trying again later can help.
    #[error("{what} is not available now: {source}")]
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// What the engine said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Not now: the disk has no space left for it.
    #[error("{what} is not available now: {source}")]
    NoSpace {
        /// What was asked.
        what: &'static str,
        /// What the engine said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Not until the process starts again: its files were removed, moved or replaced.
    #[error("{what} is not available now: {source}")]
    FilesLost {
        /// What was asked.
        what: &'static str,
        /// What the engine said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// There is nothing under that name.
    #[error("{what} was not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Trying again cannot help: somebody must look (stored data that cannot be read, a permission that is missing).
    #[error("{what} is broken: {source}")]
    Broken {
        /// What was asked.
        what: &'static str,
        /// What the engine said.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl PortError {
    /// A failure that may pass.
    pub fn unavailable(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { what, source: Arc::from(source.into()) }
    }

    /// A disk without space for it.
    pub fn no_space(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::NoSpace { what, source: Arc::from(source.into()) }
    }

    /// Files that are no longer where the process opened them.
    pub fn files_lost(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::FilesLost { what, source: Arc::from(source.into()) }
    }

    /// Whether trying again later can help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::NoSpace { .. } | Self::FilesLost { .. } => true,
            Self::NotFound { .. } | Self::Broken { .. } => false,
        }
    }

    /// A failure that will not pass by itself.
    pub fn broken(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken { what, source: Arc::from(source.into()) }
    }
}

/// What became of one record that was appended.
#[derive(Debug, Clone)]
pub enum Appended {
    /// It is durable, and live counts have it already: the engine derives them from what it stores.
    Counted,
    /// It is durable; the caller raises the live counts.
    Stored,
    /// An event with its identity ([`Record::identity`]) is durable since an earlier append, or by an earlier record of
    /// this one, and counted or being counted. This record was not stored.
    Duplicate,
    /// It is not known to be durable: the client must send it again.
    Refused(PortError),
}

impl Appended {
    /// Whether the record may be acknowledged.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Where accepted and rejected events go first.
#[async_trait]
pub trait Stream: Send + Sync {
    /// Makes records durable; answers for each of them, in their order. Every record that is reported durable
    /// arrives in a batch in raw, as its line, at least once; a duplicate has arrived, or will, as the line of the
    /// record that was stored. An identity is remembered for at least 24 hours from when it was stored. Of records
    /// with one identity that are appended at the same time, one is stored; the others are duplicates, or refused until
    /// it is known what becomes of that one. What was refused is not remembered as stored: it can be appended again.
    async fn append(&self, records: Vec<Record>) -> Vec<Appended>;
}

/// Counts that go up with every acknowledged event: immediate, and best effort under faults.
#[async_trait]
pub trait LiveCounts: Send + Sync {
    /// Raises counts. Not idempotent: after a failure, some of them may have been raised.
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError>;

    /// Reads counts, in the order asked; 0 for what was never counted.
    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError>;

    /// The totals of all types of which the user has sent anything, rejected events among them.
    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError>;

    /// A part of a type's counts by key, largest first, equal ones by key. Counts move while one reads on: a key
    /// whose count rises past the place where the reader is can be missed.
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

/// Counts of what lies in the lake, by user, type and hour: exact.
#[async_trait]
pub trait SettledCounts: Send + Sync {
    /// Raises the counts of a batch's partitions, once: whoever comes second, at the same time or years later,
    /// changes nothing. `tallies` must be the same whenever the batch is. The time of the first is remembered for all
    /// users that have events in it.
    async fn settle(&self, batch: &BatchId, tallies: &BTreeMap<Partition, u64>)
    -> Result<Settled, PortError>;

    /// The totals of all of a user's types, and when they changed last.
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError>;

    /// The counts of one type by hour, from `first` to `last`, both included; hours without events are left out.
    async fn hours(
        &self,
        username: &Username,
        event_type: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError>;
}

/// The latest rejected events of each user, for whoever looks for what is wrong with what they send. All rejected
/// events are in the lake; these are at hand at once.
#[async_trait]
pub trait RecentRejected: Send + Sync {
    /// Notes the rejected ones of records that one request of one user stored, in their order, where the engine does
    /// not see to that itself: it has noted those that were appended as [`Appended::Counted`]. It may note the newest
    /// only. Of several requests at the same time, any may be the newer one.
    async fn note(&self, records: &[Record]) -> Result<(), PortError>;

    /// The user's latest, newest first: at most `limit`, and at most [`MAX_SHOWN`](crate::rejected::MAX_SHOWN).
    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError>;
}

/// All counts beside each other, for whoever compares them with the lake.
#[async_trait]
pub trait Books: Send + Sync {
    /// The types of all users of which anything is counted, live or settled.
    async fn counted(&self) -> Result<BTreeSet<(Username, EventType)>, PortError>;

    /// All counts of a user's events of a type; where the engine can, as they were at one moment.
    async fn counts_of(&self, username: &Username, event_type: &EventType) -> Result<TypeCounts, PortError>;
}

/// Mending live counts.
#[async_trait]
pub trait BooksAdmin: Books {
    /// Adds to live counts, whatever else adds to them meanwhile; never takes more than is there. Not idempotent:
    /// after a failure, some of it may have been done. A count that becomes zero is as if it had never been raised.
    async fn correct(&self, corrections: &[Correction]) -> Result<(), PortError>;
}

/// Who has an account.
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
    /// No: somebody else saved or removed the user since it was read. Read again and repeat the change.
    Outdated,
}

/// Managing accounts.
#[async_trait]
pub trait UserAdmin: Users {
    /// Saves a user if its version is the one that is stored (0: none is); what is stored then has the next.
    async fn save(&self, user: &User) -> Result<Saved, PortError>;

    /// Removes a user, but none of their events; answers whether there was one.
    async fn remove(&self, username: &Username) -> Result<bool, PortError>;

    /// All users, by name.
    async fn list(&self) -> Result<Vec<User>, PortError>;
}

/// An object's content as it comes: an error in it is one of reading, never of what was read.
pub type Content = Pin<Box<dyn AsyncStream<Item = io::Result<Bytes>> + Send>>;

/// Batches as the stream delivered them.
#[async_trait]
pub trait Raw: Send + Sync {
    /// Opens a batch.
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError>;

    /// Keys of batches behind `after` (from the first, if none), in the order of their bytes: at most `limit`.
    async fn list(&self, after: Option<&BatchKey>, limit: usize) -> Result<Vec<BatchKey>, PortError>;
}

/// All partitions.
#[async_trait]
pub trait Lake: Send + Sync {
    /// Puts what a batch holds for a partition into its object; whole or not at all. `content` has `length` bytes.
    /// Doing it again replaces the object.
    async fn put(
        &self,
        partition: &Partition,
        batch: &BatchId,
        length: u64,
        content: Content,
    ) -> Result<(), PortError>;

    /// Opens what a batch held for a partition.
    async fn open(&self, partition: &Partition, batch: &BatchId) -> Result<Content, PortError>;

    /// Paths of objects behind `after` (from the first, if none), in the order of their bytes: at most `limit`.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, PortError>;
}

/// The lake's objects as they lie there, whoever put them there.
#[async_trait]
pub trait LakeObjects: Lake {
    /// Paths of one user's objects behind `after` (from the first, if none), wherever the user's events are filed, in
    /// the order of their bytes: at most `limit`.
    async fn list_of(
        &self,
        username: &Username,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError>;

    /// Opens the object at a path that was listed.
    async fn open_path(&self, path: &str) -> Result<Content, PortError>;
}

/// Where what cannot be filed is kept, with the reason.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Puts what a batch held that could not be filed; whole or not at all. `content` has `length` bytes. Doing it
    /// again replaces the object.
    async fn put(&self, batch: &BatchId, length: u64, content: Content) -> Result<(), PortError>;

    /// Opens what a batch held that could not be filed.
    async fn open(&self, batch: &BatchId) -> Result<Content, PortError>;
}

/// Whether the engine answers.
#[async_trait]
pub trait Health: Send + Sync {
    /// Succeeds if events can be stored and counts be read.
    async fn check(&self) -> Result<(), PortError>;
}
