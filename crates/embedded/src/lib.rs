//! Weir's ports on one machine: SQLite for what must be durable at once, folders for everything else.
//!
//! A data folder holds:
//!
//! | path | content |
//! | --- | --- |
//! | `events.db` | the journal of events that are in no batch yet, batches on their way or given up, counts, recent ids, recent rejected events, latest values, the catalog it is served with |
//! | `users.db` | users and their access keys: a file of its own, so that `weir user` never waits for the journal |
//! | `raw/` | batches: `2026/11/20/13/<first>-<last>.json.gz`, named by the sequence range they hold |
//! | `lake/` | partitions: `username=…/TYPE/year=…/month=…/day=…/hour=…/<batch>.json.gz` |
//! | `sealed/` | sealed days as Parquet, their manifest, and notes of objects that came later |
//! | `quarantine/` | lines and batches that could not be filed, with the reason: `<batch>.json.gz` |
//! | `answers/` | answers computed beforehand: `NAME/<generation>`, and `NAME/current`, which says which one is published |
//! | `functions/` | the functions that the operator added: `NAME.json` |
//! | `runs/` | runs of functions that clients started: `USERNAME/ID.json`, and `ID.result`; removed after an hour |
//! | `queries/` | the databases of queries over HTTP, each removed with its query |
//! | `restoring/` | the files that a restore has copied so far: while it is there, the folder is not whole |
//! | `secret` | the secret of the installation, by which values are hashed that are redacted; made on first need |
//! | `tmp/` | files being written; emptied at every start |
//! | `lock` | locked, like the folder itself, by the one process that serves the folder; it holds that process's id |
//!
//! # How events are stored
//!
//! One thread writes (`journal::writer`), with group commit: it drains the queue, commits all of it in one transaction and
//! acknowledges every request in it: one fsync for many requests. A commit adds *one row* to the journal, the lines of all
//! its events and their increments. Counts are not touched then; they are kept in an overlay in memory
//! (`journal::overlay`), which is rebuilt from the journal at start. Dedup: an event whose client gave it an id is looked up among
//! those of the last days (`dedup::recent`) in that same transaction, and left out if it is there: after any failure, it is both
//! stored and remembered, or neither. The same holds for the latest rejected events (`journal::rejected`). The newest event of
//! each resource is treated as counts are (`latest`).
//!
//! A batch is cut by size or age, in the transaction of the commit that made it full: its name and range are in the store
//! before its file is written (`journal::delivery`), so that a crash in between writes the same file again instead of a second one.
//! Once the file is there, the batch's rows are removed and their increments added to the stored counts, slice by slice, each
//! slice in one transaction. Then the batch must be filed in the lake; it is handed out at every start until it is reported
//! as filed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod background;
mod backup;
mod counts;
mod dedup;
mod engine;
mod error;
mod folder;
mod following;
mod forget;
mod forgotten;
mod journal;
mod latest;
mod minutes;
mod newest;
mod objects;
mod receipts;
mod recent_rejected;
mod retention;
mod sealed;
mod secret;
mod served_types;
mod store;
mod users;

pub use answers::AnswersFolder;
pub use background::give_way_to_requests;
pub use backup::{BackupError, Manifest, Size, Watch, back_up, restore};
pub use counts::books::{BooksOnDisk, open_books};
pub use engine::Embedded;
pub use error::{InUse, OpenError};
pub use folder::lock::is_served;
pub use forget::{
    Amounts, ForgetError, Watched, finish_forgetting, forget, look_for_forgetting, needs_rows_to_finish,
};
pub use forgotten::forgotten_counts;
pub use journal::{
    batches::Flush,
    delivery::Deliveries,
    follow::{FollowError, Followed, Follower},
    waiting::{NotFiled, not_filed_yet},
};
pub use objects::{LakeFolder, QuarantineFolder, RawFolder, batches::events_in};
pub use retention::{remove_values, strip_batches};
pub use sealed::{SealedFolder, SealingTurn};
pub use secret::secret_of;
pub use served_types::{StoredType, stored_catalog};
pub use store::StoreError;
pub use users::UserStore;
