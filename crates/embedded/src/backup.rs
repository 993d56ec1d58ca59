//! Backups: a data folder as it was at one moment, taken while it may be served, and restored into a new folder.
//!
//! A backup is a snapshot. `events.db` is copied first, in one read transaction; that transaction is the moment. Files of
//! raw, lake and quarantine never change once they have their names, so they can be copied later, as long as files of batches
//! from after the moment (`Moment`) are left out. So every event that was acknowledged before the backup began is in the copy
//! once: in the journal, or in a batch that the copied `events.db` knows. Counts fit as they did in the original, and nothing
//! has to be repaired.
//!
//! The opposite order loses events: a batch that is cut between the two copies is gone from the journal in the copied store,
//! and its file is not among the copied ones.
//!
//! - `take`: taking a backup;
//! - `manifest`: a backup's manifest, and the errors of backups;
//! - `files`, `database`: copying a folder's files and a database durably;
//! - `moment`: which files belong to a snapshot;
//! - `sealed`: the sealed days of a snapshot;
//! - `restore`: restoring a backup.

mod database;
mod files;
mod manifest;
mod moment;
mod restore;
mod sealed;
mod take;

pub use manifest::{BackupError, Manifest, Size, Watch};
pub use restore::restore;
pub use take::back_up;
