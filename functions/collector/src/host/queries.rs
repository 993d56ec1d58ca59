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
    /// The SQL is wrong, or asks for what a query may not do.
    #[error("{0}")]
    Sql(String),
    /// It took longer than it may.
    #[error("it took longer than {0:?}")]
    TooSlow(Duration),
    /// Its answer has more bytes than it may have.
    #[error("the answer has more than {0} bytes")]
    TooLarge(u64),
    /// The tables that it names have more rows of the user's than one query may read.
    #[error("the tables have too many rows")]
    TooManyRows,
    /// It cannot be answered now.
    #[error(transparent)]
    Failed(#[from] PortError),
}

/// Answers queries over the rows of one user.
#[async_trait]
pub trait Queries: Send + Sync {
    /// Returns whether this host answers queries.
    fn are_answered(&self) -> bool {
        true
    }

    /// Answers a query, whose SQL is untrusted: it must see no row of another user, and nothing else of this machine. Dropping
    /// the future ends the query.
    async fn answer(
        &self,
        username: &Username,
        sql: String,
        format: QueryFormat,
    ) -> Result<QueryAnswer, NotAnswered>;

    /// Counts the user's filed events of a range by key. The names in the request must be from the catalog.
    async fn keys(&self, _: &Username, _: KeysOfRange) -> Result<RangeKeys, NotAnswered> {
        Err(NotAnswered::NotHere)
    }
}

/// A host without queries.
#[async_trait]
impl Queries for () {
    fn are_answered(&self) -> bool {
        false
    }

    async fn answer(&self, _: &Username, _: String, _: QueryFormat) -> Result<QueryAnswer, NotAnswered> {
        Err(NotAnswered::NotHere)
    }
}
