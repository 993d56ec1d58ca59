//! The counts in DynamoDB: `live` counts, `settled` counts, the `books` over both, the reads that `sealing` needs, and what
//! `forgetting` changes.
//! `table` has the items of all of them.

mod books;
pub(crate) mod forgetting;
mod live;
mod sealing;
mod settled;
pub(crate) mod table;
