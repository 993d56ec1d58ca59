//! The counts in DynamoDB: `live` counts, `settled` counts, and the `books` over both. `table` has the items of all of them.

mod books;
mod live;
mod settled;
pub(crate) mod table;
