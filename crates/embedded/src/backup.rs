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
//! - `files`: copying a folder's files durably;
//! - `moment`: which files belong to a snapshot;
//! - `restore`: the way back.

mod files;
mod moment;
mod restore;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use weir_core::Clock;

use crate::{
    folder::{private::create_private, sync_folder},
    objects::batches,
    store::{self, StoreError},
};
use files::create_file;
use moment::Moment;
pub use restore::restore;

/// The file that makes a folder a backup; it is written last.
const MANIFEST: &str = "backup.json";

/// The format of a backup, as its manifest gives it.
const FORM: u32 = 1;

/// The folders of files, in the order in which they are copied.
const PARTS: [&str; 3] = ["quarantine", "lake", "raw"];

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
fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + use<'_> {
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
    weir_backup: u32,
    /// The version of Weir that made it.
    pub version: String,
    /// When the backup began: it has every event that was acknowledged before.
    pub taken_at: String,
    raw: Size,
    lake: Size,
    quarantine: Size,
}

impl Manifest {
    /// Returns the size of all files but the databases.
    #[must_use]
    pub fn size(&self) -> Size {
        let parts = [self.raw, self.lake, self.quarantine];
        Size { files: parts.iter().map(|it| it.files).sum(), bytes: parts.iter().map(|it| it.bytes).sum() }
    }

    fn part(&mut self, name: &str) -> &mut Size {
        match name {
            "raw" => &mut self.raw,
            "lake" => &mut self.lake,
            _ => &mut self.quarantine,
        }
    }
}

/// Copies a data folder, served or not, into a folder that does not exist yet. The copy appears whole, or not at all.
pub fn back_up(
    data: &Path,
    to: &Path,
    clock: &dyn Clock,
    watch: &Watch<'_>,
) -> Result<Manifest, BackupError> {
    let store = data.join("events.db");
    if !store.exists() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    store::check_format(&store)?;
    let parent = parent_of(to);
    refuse_occupied(to, &[])?;
    refuse_inside(data, to, parent)?;

    let staging = staging(to, parent).map_err(at(parent))?;
    let mut manifest = Manifest {
        weir_backup: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: clock.now().to_string(),
        raw: Size::default(),
        lake: Size::default(),
        quarantine: Size::default(),
    };
    // Batches in raw before the snapshot that the snapshot does not know are strays: they belong to it.
    let raw = data.join("raw");
    let known = moment::known(&store).map_err(store::at(&store))?;
    let strays = batches::behind(&raw, known, batches::Hours::All).map_err(at(&raw))?;
    let events = staging.path().join("events.db");
    snapshot(&store, &events)?;
    let moment =
        Moment::of(&events, strays.last().map_or(0, |(_, last, _)| *last)).map_err(store::at(&events))?;
    // Copied after the events, so that it has the users who sent them.
    let users = data.join("users.db");
    if users.exists() {
        snapshot(&users, &staging.path().join("users.db"))?;
    }
    for part in PARTS {
        let wanted = |name: &str| moment.has(name);
        *manifest.part(part) = files::copy(data, staging.path(), part, &wanted, watch)?;
    }
    write_manifest(staging.path(), &manifest)?;
    sync_folder(staging.path()).map_err(at(staging.path()))?;
    // Renaming fails if the folder is no longer empty, so nothing is replaced.
    fs::rename(staging.path(), to).map_err(at(to))?;
    let _ = staging.keep();
    sync_folder(parent).map_err(at(parent))?;
    Ok(manifest)
}

/// Returns the parent folder of a path.
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a folder beside `to`, under a temporary name and for its owner only.
fn staging(to: &Path, parent: &Path) -> io::Result<tempfile::TempDir> {
    create_private(parent)?;
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!(".{name}.unfinished-");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(parent)
}

/// Refuses a folder that is not empty; a new file system's `lost+found` does not count.
fn refuse_occupied(path: &Path, but: &[&str]) -> Result<(), BackupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    for entry in entries {
        let name = entry.map_err(at(path))?.file_name();
        if name != "lost+found" && !but.iter().any(|it| name == *it) {
            return Err(BackupError::Occupied(path.to_owned()));
        }
    }
    Ok(())
}

fn refuse_inside(data: &Path, to: &Path, parent: &Path) -> Result<(), BackupError> {
    let data = data.canonicalize().map_err(at(data))?;
    // The parent may not exist yet: the nearest existing folder above decides.
    let existing = parent.ancestors().find_map(|above| {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        above.canonicalize().ok()
    });
    if existing.is_some_and(|existing| existing.starts_with(&data)) {
        return Err(BackupError::Inside(to.to_owned()));
    }
    Ok(())
}

/// Copies a database as of one moment, durably, and has SQLite check the copy.
fn snapshot(from: &Path, to: &Path) -> Result<(), BackupError> {
    let target = to.to_str().ok_or_else(|| at(to)(io::ErrorKind::InvalidFilename.into()))?;
    // SQLite fills an empty file, and keeps its mode.
    create_file(to).map_err(at(to))?;
    let read = |db: &Connection| db.execute("VACUUM INTO ?1", [target]).map(drop);
    store::open_reader(from).and_then(|db| read(&db)).map_err(store::at(from))?;
    let check = |db: Connection| db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    let answer = store::open_reader(to).and_then(check).map_err(store::at(to))?;
    if answer != "ok" {
        return Err(at(from)(io::Error::new(io::ErrorKind::InvalidData, answer)));
    }
    File::open(to).and_then(|file| file.sync_all()).map_err(at(to))
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = folder.join(MANIFEST);
    let text = serde_json::to_string_pretty(manifest).expect("plain data serialises");
    let write = || -> io::Result<()> {
        let mut file = create_file(&path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    write().map_err(at(&path))
}
