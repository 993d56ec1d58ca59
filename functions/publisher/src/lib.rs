//! The publisher: makes rows of a query an answer that is read without one.
//!
//! - `spool`: checks rows, and lays them out as a generation;
//! - `question` (with the feature `aws`): what Athena is asked; `rows`: its rows on their way to the spool;
//! - `publish`: stores a generation, and the pages of a CDN (`pages`);
//! - `schedule`: which answers are due.
//!
//! `bin/publisher` is the program on Lambda, which publishes due answers again, or seals days; `weir publish` uses the same
//! parts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
#[cfg(feature = "aws")]
mod pages;
#[cfg(feature = "aws")]
mod publish;
#[cfg(feature = "aws")]
mod question;
#[cfg(feature = "aws")]
mod rows;
#[cfg(feature = "aws")]
pub mod schedule;
mod spool;

pub use error::AnswerError;
#[cfg(feature = "aws")]
pub use publish::{Stored, publish};
#[cfg(feature = "aws")]
pub use question::Question;
#[cfg(feature = "aws")]
pub use rows::Rows;
pub use spool::{Computed, PIECE, Spool, Spooled, content, lay_out, must_have_columns};
