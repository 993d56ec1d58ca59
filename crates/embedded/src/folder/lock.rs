//! The lock of a data folder: one process serves it.
//!
//! The lock is held on the folder itself, which cannot be swapped while the files in it are open, and on the file `lock` in
//! it. The file alone would not do: if it is removed, a second process locks a new file of that name. The folder alone would
//! not do either: some file systems and systems do not lock folders, and earlier versions check the file.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

use super::private::private_file;
use crate::error::{InUse, OpenError};

/// The file that is locked beside the folder. It has the id of the process that holds the lock.
pub(crate) const LOCK: &str = "lock";

/// How often, and after which pauses, locking is retried while other processes only check the lock.
const TRIES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);

/// The lock. The system releases it when the process ends, even by a crash.
pub(crate) struct Lock {
    _folder: Option<File>,
    _file: File,
}

impl Lock {
    /// Takes the lock of an existing folder.
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let in_use = || OpenError::InUse(InUse { path: folder.to_owned(), pid: holder(folder) });
        let locked_folder = match lock_folder(folder) {
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            // Not every file system can lock folders.
            Err(TryLockError::Error(_)) => None,
            Ok(locked) => Some(locked),
        };
        let path = folder.join(LOCK);
        let at = |source| OpenError::Folder { path: path.clone(), source };
        let mut file = private_file().create(true).truncate(false).open(&path).map_err(at)?;
        exclusively(&file).map_err(|error| match error {
            TryLockError::WouldBlock => in_use(),
            TryLockError::Error(source) => at(source),
        })?;
        // A full disk has no room for the id: then a refused process asks the system for it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _folder: locked_folder, _file: file })
    }
}

/// Locks the folder itself.
pub(crate) fn lock_folder(folder: &Path) -> Result<File, TryLockError> {
    let folder = File::open(folder).map_err(TryLockError::Error)?;
    exclusively(&folder)?;
    Ok(folder)
}

/// Returns whether some process serves the data folder now.
#[must_use]
pub fn is_served(path: &Path) -> bool {
    // A shared lock does not stop a server that starts at this moment.
    let held = |path: &Path| {
        File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    held(path) || held(&path.join(LOCK))
}

/// Takes an exclusive lock unless another process has one. Shared locks are those of processes that check, and are soon
/// released.
fn exclusively(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => file.try_lock_shared()?,
            other => return other,
        }
        thread::sleep(PAUSE);
    }
    Err(TryLockError::WouldBlock)
}

/// Returns the process that holds the lock.
fn holder(folder: &Path) -> Option<u32> {
    let noted = fs::read_to_string(folder.join(LOCK)).ok().and_then(|text| text.trim().parse().ok());
    noted.or_else(|| {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        holder_in(&locks, inode(folder).ok()?)
    })
}

/// Finds the one process that locks the file of this number, in the form of Linux's `/proc/locks`. The device is not
/// compared: some file systems report another one there.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    let mut holders = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_lock = words.next()? == "FLOCK";
        let (is_held, pid, file) = (words.nth(1)? == "WRITE", words.next()?, words.next()?);
        let is_ours = is_lock && is_held && file.rsplit(':').next()?.parse() == Ok(inode);
        // The process is 0 if it is in another container.
        is_ours.then(|| pid.parse().ok().filter(|pid| *pid > 0)).flatten()
    });
    holders.next().filter(|_| holders.next().is_none())
}

#[cfg(unix)]
fn inode(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::ino(&found))
}

#[cfg(not(unix))]
fn inode(_: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_one_process_that_has_the_exclusive_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF\n2: FLOCK  ADVISORY  READ  12 08:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 08:01:77 0 EOF\n3: -> FLOCK  ADVISORY  WRITE 14 08:01:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 15 08:01:78 0 EOF\n5: FLOCK  ADVISORY  WRITE 0 08:01:79 0 EOF\n";
        assert_eq!([76, 77, 78, 79].map(|inode| holder_in(locks, inode)), [None, Some(13), Some(15), None]);
        assert_eq!(holder_in(&locks.replace(":78", ":77"), 77), None);
    }

    #[test]
    fn who_looks_whether_a_folder_is_served_makes_no_start_fail() {
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            let looking = scope.spawn(|| (0..2000).filter(|_| is_served(folder.path())).count());
            while !looking.is_finished() {
                drop(Lock::take(folder.path()).unwrap());
            }
        });
        assert!(!is_served(folder.path()));
        let _lock = Lock::take(folder.path()).unwrap();
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        assert!(is_served(folder.path()));
    }
}
