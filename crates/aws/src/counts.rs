//! The counts in DynamoDB: live counts, settled counts, and the books over both.

mod books;
mod live;
mod settled;
pub(crate) mod table;
