//! Sealing on AWS: days that are over become Parquet, which Athena writes and reads.
//!
//! `weir_core::sealing` decides which days are sealed and in which steps, as on one machine. `work` does its work, with the
//! SQL of `sql`. `views` makes the views by which Athena reads sealed and other days. `removal` removes JSON of sealed days, and
//! events that are not kept any longer; `run` puts all together, and `terms` has what it is given and returns. `forget` takes events
//! out of everything, for `weir forget`. `columns` says how a column comes from a stored line.
//!
//! The program for Lambda is the publisher's: both functions run by a schedule and ask Athena.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod columns;
mod error;
mod forget;
mod removal;
mod run;
mod sql;
mod terms;
mod views;
mod work;

pub use error::RunError;
pub use forget::{Forget, ForgetAmounts, ForgetError, Places, STREAM_HOLDS, UNTIL_KNOWN};
pub use run::Seal;
pub use terms::{Kept, Names, RunSummary};
