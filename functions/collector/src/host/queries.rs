//! Queries in SQL over a user's own rows, which a host may offer.

use std::time::Duration;

use async_trait::async_trait;
use weir_core::{
    EventType, Hour, Username,
    counts::KeyCount,
    ports::{Content, PortError},
};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryFormat {
    /// An array with an object for each row.
    Json,
    /// A line with the names of the columns, and one for each row.
    Csv,
}

/// The answer to a query.
pub struct QueryAnswer {
    /// Its size in bytes.
    pub length: u64,
    /// Its bytes.
    pub content: Content,
}

/// A query that is answered later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryAsked {
    /// The SQL, which is untrusted.
    pub sql: String,
    /// The first hour of event time.
    pub from: Hour,
    /// The last hour.
    pub to: Hour,
    /// Whether the client did not name the first hour, so that the range may begin later.
    pub may_begin_later: bool,
}

/// A query that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryStarted {
    /// Its id, which has letters, digits and hyphens.
    pub id: String,
    /// The first hour that it sees.
    pub from: Hour,
}

/// How far a query has come that is answered later.
pub enum QueryProgress {
    /// It has no answer yet.
    Running,
    /// It has one.
    Answered(QueryAnswer),
}

/// A request for the largest keys of a range of hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysOfRange {
    /// The type of the events.
    pub event_type: EventType,
    /// The field by which events are counted.
    pub field: String,
    /// The first hour of event time.
    pub from: Hour,
    /// The last hour.
    pub to: Hour,
    /// The most keys.
    pub limit: usize,
}

/// The largest keys of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeKeys {
    /// The keys, largest first, equal ones by key.
    pub keys: Vec<KeyCount>,
    /// The number of the type's filed events in the range, with or without a key.
    pub events: u64,
    /// Whether there are more keys.
    pub has_more: bool,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotAnswered {
    /// This host answers no queries.
    #[error("queries are not answered here")]
    NotHere,
    /// As many queries as the user, or as all users may have at once are under way.
    #[error("too many queries are under way")]
    TooMany,
    /// As many queries as the user may have at once are under way.
    #[error("{0} queries of the user are under way")]
    TooManyOfUser(usize),
    /// The SQL is wrong, or asks for what a query may not do.
    #[error("{0}")]
    Sql(String),
    /// No query of the user's has this id.
    #[error("there is no such query")]
    NoSuchQuery,
    /// It was stopped.
    #[error("the query was stopped")]
    Stopped,
    /// It took longer than it may.
    #[error("it took longer than {0:?}")]
    TooSlow(Duration),
    /// Its answer has more bytes than it may have.
    #[error("the answer has more than {0} bytes")]
    TooLarge(u64),
    /// Its answer has more rows than it may have.
    #[error("the answer has more than {0} rows")]
    TooLong(usize),
    /// The tables that it names have more rows of the user's than one query may read.
    #[error("the tables have too many rows")]
    TooManyRows,
    /// It cannot be answered now.
    #[error(transparent)]
    Failed(#[from] PortError),
}

/// Answers queries over the rows of one user. No query may see a row of another user, or anything else of the host, whatever its
/// SQL says.
///
/// A host answers either at once, by [`Self::answer`], or later: [`Self::start`] returns an id, and [`Self::find`] the answer.
#[async_trait]
pub trait Queries: Send + Sync {
    /// Returns whether queries are answered later.
    fn are_answered_later(&self) -> bool {
        false
    }

    /// Returns whether the keys of a range are counted.
    fn count_keys(&self) -> bool {
        true
    }

    /// Answers a query, whose SQL is untrusted. Dropping the future ends the query.
    async fn answer(&self, _: &Username, _: String, _: QueryFormat) -> Result<QueryAnswer, NotAnswered> {
        Err(NotAnswered::NotHere)
    }

    /// Starts a query.
    async fn start(&self, _: &Username, _: QueryAsked) -> Result<QueryStarted, NotAnswered> {
        Err(NotAnswered::NotHere)
    }

    /// Returns the answer of a query that this user started, if there is one yet. The id is untrusted.
    async fn find(&self, _: &Username, _: &str, _: QueryFormat) -> Result<QueryProgress, NotAnswered> {
        Err(NotAnswered::NoSuchQuery)
    }

    /// Stops a query that this user started. One that has ended stays as it is.
    async fn stop(&self, _: &Username, _: &str) -> Result<(), NotAnswered> {
        Err(NotAnswered::NoSuchQuery)
    }

    /// Counts the user's filed events of a range by key. The names in the request must be from the catalog.
    async fn keys(&self, _: &Username, _: KeysOfRange) -> Result<RangeKeys, NotAnswered> {
        Err(NotAnswered::NotHere)
    }
}

/// A host without queries.
#[async_trait]
impl Queries for () {
    fn count_keys(&self) -> bool {
        false
    }

    async fn find(&self, _: &Username, _: &str, _: QueryFormat) -> Result<QueryProgress, NotAnswered> {
        Err(NotAnswered::NotHere)
    }

    async fn stop(&self, _: &Username, _: &str) -> Result<(), NotAnswered> {
        Err(NotAnswered::NotHere)
    }
}
