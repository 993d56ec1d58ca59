//! Queries in SQL over a user's own rows, which a host may offer.

use std::time::Duration;

use async_trait::async_trait;
use weir_core::{
    Username,
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
    /// Answers a query, whose SQL is untrusted: it must see no row of another user, and nothing else of this machine. Dropping
    /// the future ends the query.
    async fn answer(
        &self,
        username: &Username,
        sql: String,
        format: QueryFormat,
    ) -> Result<QueryAnswer, NotAnswered>;
}

/// A host without queries.
#[async_trait]
impl Queries for () {
    async fn answer(&self, _: &Username, _: String, _: QueryFormat) -> Result<QueryAnswer, NotAnswered> {
        Err(NotAnswered::NotHere)
    }
}
