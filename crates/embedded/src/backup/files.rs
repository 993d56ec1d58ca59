//! Copies the files of a folder durably: each file, and each folder that holds one, is on the disk before the copy counts.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use parking_lot::Mutex;

use super::manifest::{BackupError, Size, Watch, at};
use crate::folder::{
    Folder,
    private::{create_private, private_file},
    sync_folder,
};

/// How many names are listed at a time.
const PAGE: usize = 1000;

/// How many files are copied at once: each waits for the disk most of the time.
const AT_ONCE: usize = 8;

/// Copies the wanted files of a part of a data folder.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    part: &str,
    wanted: &dyn Fn(&str) -> bool,
    watch: &Watch<'_>,
) -> Result<Size, BackupError> {
    let (source, target) = (from.join(part), to.join(part));
    let folder = Folder::existing(from).sub(part);
    create_private(&target).map_err(at(&target))?;
    let mut folders = BTreeSet::from([target.clone()]);
    let (mut copied, mut after) = (Size::default(), None);
    loop {
        let mut page = folder.list(after.as_deref(), PAGE).map_err(at(&source))?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        page.retain(|name| wanted(name));
        let added = copy_page(&source, &target, &page, watch)?;
        copied.files += added.files;
        copied.bytes += added.bytes;
        for name in &page {
            let above = Path::new(name).ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            folders.extend(above.map(|above| target.join(above)));
        }
    }
    for folder in &folders {
        // A folder was not made if its only file was removed from raw meanwhile.
        if folder.is_dir() {
            sync_folder(folder).map_err(at(folder))?;
        }
    }
    Ok(copied)
}

fn copy_page(source: &Path, target: &Path, names: &[String], watch: &Watch<'_>) -> Result<Size, BackupError> {
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Ok(Size::default()));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = if watch.stop.load(Ordering::Relaxed) {
                Err(BackupError::Stopped)
            } else {
                copy_file(&source.join(name), &target.join(name))
            };
            if let Ok(Some(bytes)) = done {
                (watch.copied)(bytes);
            }
            let mut outcome = outcome.lock();
            match (&mut *outcome, done) {
                (Ok(copied), Ok(Some(bytes))) => {
                    copied.files += 1;
                    copied.bytes += bytes;
                }
                (Ok(_), Ok(None)) => {}
                (outcome, Err(error)) => {
                    *outcome = Err(error);
                    next.store(names.len(), Ordering::Relaxed);
                    return;
                }
                (Err(_), _) => return,
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(names.len()) {
            scope.spawn(work);
        }
        work();
    });
    outcome.into_inner()
}

/// Copies one file, and returns its size; `None` if it was removed since it was listed, as an operator removes old batches.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<Option<u64>, BackupError> {
    let mut source = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        source => source.map_err(at(from))?,
    };
    let mut write = || -> io::Result<u64> {
        to.parent().map_or(Ok(()), create_private)?;
        let mut target = create_file(to)?;
        let bytes = io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        Ok(bytes)
    };
    write().map(Some).map_err(at(to))
}

/// Creates a file for its owner only; fails if there is a file or a link already.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    private_file().create_new(true).open(path)
}

/// Returns the parent folder of a path.
pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a folder that is not empty; a new file system's `lost+found` does not count.
pub(super) fn refuse_occupied(path: &Path, but: &[&str]) -> Result<(), BackupError> {
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
