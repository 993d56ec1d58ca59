//! The counts in DynamoDB: `live` counts, `settled` counts, the `books` over both, and the reads that `sealing` needs.
//! `table` has the items of all of them.

mod books;
mod live;
mod sealing;
mod settled;
pub(crate) mod table;
