//! The counts in the store: live counts, settled counts, and the books over both.

pub(crate) mod books;
mod live;
mod settled;
pub(crate) mod stored;
