//! Restores a backup into a new data folder.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use super::{
    database::snapshot,
    files::{self, create_file, parent_of, refuse_occupied},
    manifest::{BackupError, FORM, MANIFEST, Manifest, PARTS, Watch, at},
};
use crate::folder::{
    RESTORING,
    lock::{LOCK, lock_folder},
    private::create_private,
    sync_folder,
};
use crate::secret::SECRET;

/// Copies a backup into a data folder that is empty or does not exist. All files go into a staging folder below it first. Every
/// other command refuses a data folder that has one, so no command uses a folder whose restore is under way or broke off.
pub fn restore(backup: &Path, data: &Path, watch: &Watch<'_>) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(backup)?;
    refuse_occupied(data, &[])?;
    create_private(data).map_err(at(data))?;
    let lock_path = data.join(LOCK);
    // Fails if a server came first; keeps out a server that comes later.
    let lock = create_file(&lock_path).map_err(at(&lock_path))?;
    let _folder = match lock_folder(data) {
        Err(TryLockError::WouldBlock) => return Err(at(data)(TryLockError::WouldBlock.into())),
        // Not every file system can lock folders.
        locked => locked.ok(),
    };
    let outcome = lock.lock().map_err(at(&lock_path)).and_then(|()| fill(backup, data, manifest, watch));
    if outcome.is_err() {
        // If this fails, every command refuses the files that are left, and they can be removed by hand.
        let _ = fs::remove_dir_all(data.join(RESTORING)).and_then(|()| fs::remove_file(&lock_path));
    }
    outcome
}

fn fill(
    backup: &Path,
    data: &Path,
    mut manifest: Manifest,
    watch: &Watch<'_>,
) -> Result<Manifest, BackupError> {
    let staging = data.join(RESTORING);
    create_private(&staging).map_err(at(&staging))?;
    sync_folder(data).map_err(at(data))?;
    refuse_occupied(data, &[LOCK, RESTORING])?;
    let databases = ["users.db", "events.db"].map(|name| (backup.join(name), name));
    for (database, name) in databases.iter().filter(|(database, _)| database.exists()) {
        snapshot(database, &staging.join(name))?;
    }
    files::copy_file(&backup.join(SECRET), &staging.join(SECRET))?;
    for part in PARTS {
        let found = files::copy(backup, &staging, part, &|_| true, watch)?;
        let made = *manifest.part(part);
        if found != made {
            return Err(BackupError::Changed { path: backup.to_owned(), part, made, found });
        }
    }
    sync_folder(&staging).map_err(at(&staging))?;
    for name in PARTS.into_iter().chain(["users.db", SECRET, "events.db"]) {
        let (from, to) = (staging.join(name), data.join(name));
        match fs::rename(&from, &to) {
            // The folder never had users, or needed no secret.
            Err(error) if error.kind() == io::ErrorKind::NotFound && ["users.db", SECRET].contains(&name) => {
            }
            renamed => renamed.map_err(at(&to))?,
        }
    }
    sync_folder(data).map_err(at(data))?;
    fs::remove_dir(&staging).map_err(at(&staging))?;
    sync_folder(data).map_err(at(data))?;
    let parent = parent_of(data);
    // If the folder above cannot be opened, the data folder existed before, and its entry needs no sync.
    let _ = sync_folder(parent);
    Ok(manifest)
}

fn read_manifest(backup: &Path) -> Result<Manifest, BackupError> {
    let path = backup.join(MANIFEST);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::NotABackup(backup.to_owned()));
        }
        file => file.map_err(at(&path))?,
    };
    let text = io::read_to_string(file).map_err(at(&path))?;
    let not_ours = |error: serde_json::Error| at(&path)(error.into());
    let value: serde_json::Value = serde_json::from_str(&text).map_err(not_ours)?;
    let form = value["weir_backup"].as_u64().unwrap_or_default();
    if form > u64::from(FORM) {
        let found = u32::try_from(form).unwrap_or(u32::MAX);
        return Err(BackupError::TooNew { path: backup.to_owned(), found });
    }
    serde_json::from_value(value).map_err(not_ours)
}
