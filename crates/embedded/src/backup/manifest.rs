//! A backup's manifest, and the errors of backups.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// The file that makes a folder a backup; it is written last.
pub(super) const MANIFEST: &str = "backup.json";

/// The format of a backup, as its manifest gives it.
pub(super) const FORM: u32 = 1;

/// The folders of files, in the order in which they are copied.
pub(super) const PARTS: [&str; 5] = [FUNCTIONS, SEALED, "quarantine", "lake", "raw"];

/// The folder of the functions that the operator added. Its files belong to no batch.
pub(super) const FUNCTIONS: &str = "functions";

/// The folder of sealed days. Its manifest is older than the moment of the backup.
pub(super) const SEALED: &str = "sealed";

/// Why there is no backup, or why it was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder to copy holds no events.
    #[error("there are no data in {}: name the server's folder with --data. The first `weir serve` makes it, and a user", .0.display())]
    NoData(PathBuf),
    /// The target folder is not empty.
    #[error("{} exists and is not empty: name a folder that does not exist yet", .0.display())]
    Occupied(PathBuf),
    /// The backup would be inside the folder that it copies.
    #[error("{} lies in the data folder and would be lost with it: name a folder elsewhere", .0.display())]
    Inside(PathBuf),
    /// The folder was not made by a backup, or the backup did not finish.
    #[error("{} is no backup: it has no {MANIFEST}, which `weir backup` writes last", .0.display())]
    NotABackup(PathBuf),
    /// A later version of Weir made it.
    #[error("{} was made by a later version of weir (form {found}, this one knows {FORM})", .path.display())]
    TooNew {
        /// The backup.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Files are missing in the backup, or were added or changed.
    #[error(
        "{} is not what it was when it was made: files in {part} were {} with {} bytes, and are {} with {}",
        .path.display(), .made.files, .made.bytes, .found.files, .found.bytes
    )]
    Changed {
        /// The backup.
        path: PathBuf,
        /// Which of its folders.
        part: &'static str,
        /// The size in the manifest.
        made: Size,
        /// The size that was found.
        found: Size,
    },
    /// Copying was stopped.
    #[error("stopped; nothing was left behind")]
    Stopped,
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns a function for `map_err` that adds the file's path.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + use<'_> {
    move |source| BackupError::File { path: path.to_owned(), source }
}

/// A number of files and of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// The number of files.
    pub files: u64,
    /// The bytes of all of them.
    pub bytes: u64,
}

/// Observes a copy that may take long, and can stop it.
pub struct Watch<'a> {
    /// Called with the bytes of each copied file, from several threads.
    pub copied: &'a (dyn Fn(u64) + Sync),
    /// Copying ends at the next file once this is set.
    pub stop: &'a AtomicBool,
}

/// The manifest of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the backup.
    pub(super) weir_backup: u32,
    /// The version of Weir that made it.
    pub version: String,
    /// When the backup began: it has every event that was acknowledged before.
    pub taken_at: String,
    pub(super) raw: Size,
    pub(super) lake: Size,
    pub(super) quarantine: Size,
    /// Missing in backups of earlier versions, which have no functions.
    #[serde(default)]
    pub(super) functions: Size,
    /// Missing in backups of earlier versions, which have no sealed days.
    #[serde(default)]
    pub(super) sealed: Size,
}

impl Manifest {
    /// Returns the size of all files but the databases.
    #[must_use]
    pub fn size(&self) -> Size {
        let parts = [self.raw, self.lake, self.quarantine, self.functions, self.sealed];
        Size { files: parts.iter().map(|it| it.files).sum(), bytes: parts.iter().map(|it| it.bytes).sum() }
    }

    pub(super) fn part(&mut self, name: &str) -> &mut Size {
        match name {
            "raw" => &mut self.raw,
            "lake" => &mut self.lake,
            FUNCTIONS => &mut self.functions,
            SEALED => &mut self.sealed,
            _ => &mut self.quarantine,
        }
    }
}
