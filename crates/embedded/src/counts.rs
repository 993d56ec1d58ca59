//! The counts in the store: `live` counts, `settled` counts, and the `books` over both. `stored` has the tables of live counts.

pub(crate) mod books;
mod live;
mod settled;
pub(crate) mod stored;
