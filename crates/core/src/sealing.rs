//! Sealing: days that are over become Parquet, and every reader sees each filed event exactly once at every moment.
//!
//! - The [`Manifest`] has one watermark, `sealed_until`. Events of earlier days are read from the day's current
//!   [`Generation`] of Parquet files, all others from JSON. It is swapped in one atomic step.
//! - A **late** object is one that was put for a sealed day and is not in the day's generation. An object for a day that is
//!   sealed, or is being sealed, is noted as it is put ([`put`]); a reader adds the noted objects that the generation
//!   does not cover ([`Reads`]). So no reader lists years of folders.
//! - A generation covers the objects of batches that were *settled* at one moment, so its rows can be compared with the
//!   settled counts ([`seal`](fn@seal)). The rest of the day is late until the day is sealed again.
//! - A replaced generation stays for a day, for queries that began before. Only where events are forgotten, it goes at once
//!   ([`Manifest::replace_at_once`]).
//! - Retention moves a watermark of each type ([`retain`]): its earlier events are not read from that step on, and are removed then.
//!
//! The engine stores manifest and notes ([`SealedDays`]) and lists objects ([`DayObjects`]), and an SQL engine reads the
//! objects and writes the rows ([`Work`]). An engine removes JSON by [`JsonRemoval`], and events by [`Removal`]. All decisions
//! are made here.

mod manifest;
mod protocol;
mod reads;
mod retention;
mod rows;
mod upkeep;

pub use manifest::{Generation, Manifest, NotAManifest, Replaced, SealedColumn, SealedType};
pub use protocol::{
    DayObjects, IsRemoved, JsonRemoval, Removal, RowsByType, SealError, Sealed, SealedDays, Sealing,
    SettledDay, ToWrite, Work, Written, over, put, seal, seal_again, seal_late, seal_open,
};
pub use reads::{Reads, day_of};
pub use retention::{Removed, first_days, is_kept, remove_earlier, retain, set_first_days};
pub use rows::SealedRows;
pub use upkeep::{KEPT_MILLIS, expire_json, read_from_json, tidy};
