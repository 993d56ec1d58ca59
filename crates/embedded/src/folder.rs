//! A folder whose files appear whole or not at all, and are durable once they are there.
//!
//! - `lock`: one process serves a data folder; `private`: other users of the machine cannot read it;
//! - `presence` and `space`: whether its files are still there, and whether the disk has room;
//! - `gzip`, `comparison` and `lines`: reading gzip files by lines, comparing two of them, and taking lines out of them.

pub(crate) mod comparison;
pub(crate) mod gzip;
pub(crate) mod lines;
pub(crate) mod lock;
pub(crate) mod presence;
pub(crate) mod private;
pub(crate) mod space;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tempfile::NamedTempFile;

use comparison::{Comparison, compare};
use private::{close_to_others, create_private, private_folder};

/// The folder that a restore copies to first. A data folder that has it is not whole.
pub(crate) const RESTORING: &str = "restoring";

/// The treatment of an earlier file of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// It stays. A file with other content is refused.
    Stays,
    /// It is replaced only if that loses nothing: by a file that holds all of its lines, or if it is damaged. A file with
    /// other content is refused.
    IsMended,
    /// It is replaced by any content.
    IsReplaced,
}

/// A file of that name has other content.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is there already and holds other events: it is not overwritten. Two data folders were mixed; once you have moved the \
     file away, this one takes its place",
    .0.display()
)]
struct OtherFile(PathBuf);

/// A folder below the data folder; the temporary folder is shared, so that files can be moved out of it.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    temporary: Arc<PathBuf>,
    durable: Arc<Mutex<Durable>>,
}

/// Folders that are known to survive a crash. A folder that merely exists may not: its maker may have been killed before it
/// synced the folder to the disk.
#[derive(Debug)]
struct Durable(HashSet<PathBuf>);

impl Durable {
    /// The most folders to remember: each hour has new ones. A forgotten folder is synced once more.
    const MOST: usize = 10_000;

    fn note(&mut self, folder: &Path) {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(folder.to_owned());
    }
}

impl Folder {
    /// Opens the data folder itself; creates it if it does not exist, readable by its owner only.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let folder = Self::existing(path);
        if path.join(RESTORING).exists() {
            return Err(io::Error::other(
                "a restore into it is under way, or broke off: then remove the folder, and restore again",
            ));
        }
        create_private(path)?;
        close_to_others(path)?;
        create_private(&folder.temporary)?;
        // If the folder above cannot be opened, another user created this one.
        let _ = path.parent().map(sync_folder);
        Ok(folder)
    }

    /// Opens an existing data folder for reading: nothing is created.
    pub(crate) fn existing(path: &Path) -> Self {
        let durable = Arc::new(Mutex::new(Durable(HashSet::from([path.to_owned()]))));
        Self { path: path.to_owned(), temporary: Arc::new(path.join("tmp")), durable }
    }

    /// Returns a folder in it.
    pub(crate) fn sub(&self, name: &str) -> Self {
        Self { path: self.path.join(name), ..self.clone() }
    }

    /// Removes files that an earlier process did not finish.
    pub(crate) fn clear_temporary(&self) -> io::Result<()> {
        for entry in fs::read_dir(&*self.temporary)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Creates a file under a temporary name; it is removed unless it is kept.
    pub(crate) fn draft(&self) -> io::Result<NamedTempFile> {
        match NamedTempFile::new_in(&*self.temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The temporary folder was removed while the server runs. The data folder itself is not created again: it may
                // have been moved away, with its files.
                private_folder().create(&*self.temporary)?;
                NamedTempFile::new_in(&*self.temporary)
            }
            made => made,
        }
    }

    /// Syncs a draft to the disk and only then gives it its name; `earlier` says what happens to an earlier file of that
    /// name.
    pub(crate) fn keep(&self, draft: NamedTempFile, name: &str, earlier: Earlier) -> io::Result<()> {
        let path = self.locate(name).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        draft.as_file().sync_all()?;
        let parent = path.parent().unwrap_or(&self.path);
        self.create_durable(parent)?;
        if earlier == Earlier::IsReplaced {
            draft.persist(&path).map_err(|error| error.error)?;
            return sync_folder(parent);
        }
        match draft.persist_noclobber(&path) {
            Ok(_) => {}
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                match (compare(&path, failed.file.path())?, earlier) {
                    (Comparison::Equal, _) => {}
                    (Comparison::Grown | Comparison::Damaged, Earlier::IsMended) => {
                        failed.file.persist(&path).map_err(|error| error.error)?;
                    }
                    _ => return Err(io::Error::new(io::ErrorKind::AlreadyExists, OtherFile(path))),
                }
            }
            Err(failed) => return Err(failed.error),
        }
        sync_folder(parent)
    }

    /// Opens a file.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        let path = self.locate(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let file = File::open(path)?;
        if file.metadata()?.is_dir() { Err(io::ErrorKind::NotFound.into()) } else { Ok(file) }
    }

    /// Lists names of files below the folder after `after`, in the order of their bytes; at most `limit`.
    pub(crate) fn list(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        if self.path.exists() {
            walk(&self.path, "", after.unwrap_or_default(), limit, &mut found)?;
        }
        Ok(found)
    }

    /// Creates a folder and its parents, so that they survive a crash.
    fn create_durable(&self, path: &Path) -> io::Result<()> {
        let known = self.durable.lock().0.contains(path);
        let Some(parent) = path.parent().filter(|_| !(known && path.is_dir())) else { return Ok(()) };
        self.create_durable(parent)?;
        match private_folder().create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        sync_folder(parent)?;
        self.durable.lock().note(path);
        Ok(())
    }

    /// Returns the path of a name, unless it would lead out of the folder.
    fn locate(&self, name: &str) -> Option<PathBuf> {
        let below = Path::new(name);
        let inside = below.components().all(|part| matches!(part, Component::Normal(_)));
        (inside && !name.is_empty() && !name.contains('\0')).then(|| self.path.join(below))
    }
}

/// Adds the names below `folder`, each with `prefix` before it.
fn walk(folder: &Path, prefix: &str, after: &str, limit: usize, found: &mut Vec<String>) -> io::Result<()> {
    let mut entries = Vec::new();
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(named)? {
        let entry = entry.map_err(named)?;
        // All of Weir's names are UTF-8.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_folder = entry.file_type()?.is_dir();
        // With its slash, a folder sorts where the paths below it do.
        entries.push(if is_folder { format!("{prefix}{name}/") } else { format!("{prefix}{name}") });
    }
    entries.sort_unstable();
    for path in entries {
        if found.len() >= limit {
            break;
        }
        match path.strip_suffix('/') {
            // This folder sorts before `after` and is no part of its path, so everything below it comes before `after`.
            Some(_) if path.as_str() < after && !after.starts_with(&path) => {}
            Some(name) => {
                let name = name.strip_prefix(prefix).unwrap_or(name);
                walk(&folder.join(name), &path, after, limit, found)?;
            }
            None if path.as_str() > after => found.push(path),
            None => {}
        }
    }
    Ok(())
}

/// Syncs a folder's entries to the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    // An empty path is the current folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    #[cfg(test)]
    tests::SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Write};

    use super::*;

    thread_local! {
        /// The folders whose entries were synced to the disk.
        pub(super) static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap().sub("f");
        (place, folder)
    }

    fn write(folder: &Folder, name: &str, text: &str) -> io::Result<()> {
        let mut draft = folder.draft()?;
        draft.write_all(text.as_bytes())?;
        folder.keep(draft, name, Earlier::IsReplaced)
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let (_place, folder) = folder();
        for name in ["", "..", "../f/x", "a/../../x", "/etc/passwd", "./x/..", "a\0"] {
            assert!(write(&folder, name, "").is_err(), "{name}");
            assert_eq!(folder.open_file(name).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
        }
    }

    #[test]
    fn a_draft_that_is_not_kept_leaves_the_earlier_file_and_nothing_else() {
        let (place, folder) = folder();
        write(&folder, "a/b", "one").unwrap();
        folder.draft().unwrap().write_all(b"two").unwrap();
        assert_eq!(io::read_to_string(folder.open_file("a/b").unwrap()).unwrap(), "one");
        assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
        write(&folder, "a/b", "three").unwrap();
        assert_eq!(io::read_to_string(folder.open_file("a/b").unwrap()).unwrap(), "three");
    }

    #[test]
    fn an_object_is_replaced_only_where_that_loses_nothing() {
        let (_place, folder) = folder();
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let keep = |bytes: &[u8], earlier| {
            let mut draft = folder.draft().unwrap();
            draft.write_all(bytes).unwrap();
            folder.keep(draft, "a/b", earlier)
        };
        let kept = || fs::read(folder.path.join("a/b")).unwrap();
        let (one, two, other) = (gzip("1\n"), gzip("1\n2\n"), gzip("3\n"));
        keep(&one, Earlier::Stays).unwrap();
        for earlier in [Earlier::Stays, Earlier::IsMended] {
            keep(&one, earlier).unwrap();
            let error = keep(&other, earlier).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert!(error.to_string().contains("a/b is there already and holds other events"), "{error}");
        }
        assert!(keep(&two, Earlier::Stays).is_err());
        assert_eq!(kept(), one);
        keep(&two, Earlier::IsMended).unwrap();
        assert_eq!(kept(), two);
        assert!(keep(&one, Earlier::IsMended).is_err());
        fs::write(folder.path.join("a/b"), &two[..two.len() - 3]).unwrap();
        assert!(keep(&two, Earlier::Stays).is_err());
        keep(&two, Earlier::IsMended).unwrap();
        assert_eq!(kept(), two);
    }

    #[test]
    fn a_temporary_folder_that_was_removed_is_made_again_but_a_data_folder_is_not() {
        let (place, folder) = folder();
        fs::remove_dir(place.path().join("tmp")).unwrap();
        write(&folder, "a", "one").unwrap();
        fs::remove_dir_all(place.path()).unwrap();
        assert_eq!(write(&folder, "b", "two").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!place.path().exists());
        // The temporary folder's clean-up expects it.
        fs::create_dir(place.path()).unwrap();
    }

    #[test]
    fn a_folder_that_is_there_is_brought_to_the_disk_before_a_file_in_it_counts_once_in_a_process() {
        let (place, folder) = folder();
        // A process that was killed made these.
        fs::create_dir_all(place.path().join("f/a/b")).unwrap();
        for _ in 0..2 {
            write(&folder, "a/b/c", "one").unwrap();
        }
        let synced = SYNCED.take();
        let times = |name: &str| synced.iter().filter(|path| **path == place.path().join(name)).count();
        assert_eq!((times(""), times("f"), times("f/a"), times("f/a/b")), (1, 1, 1, 2), "{synced:?}");
        // A folder that was removed is created again.
        fs::remove_dir_all(place.path().join("f/a")).unwrap();
        write(&folder, "a/b/c", "two").unwrap();
        let synced = SYNCED.take();
        assert!(["f", "f/a", "f/a/b"].iter().all(|name| synced.contains(&place.path().join(name))));
    }

    #[test]
    fn a_listing_is_in_the_order_of_bytes_whatever_the_folders() {
        let (_place, folder) = folder();
        let mut names = vec!["a/b", "a.b", "a-b", "a/b.c/d", "a/b-c", "b", "a/c/d/e", "a=1/x", "aa/z"];
        for name in &names[1..] {
            write(&folder, name, "").unwrap();
        }
        names.remove(0);
        names.sort_unstable();
        for limit in 1..=names.len() + 1 {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = folder.list(after.as_deref(), limit).unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.clone());
                listed.extend(page);
            }
            assert_eq!(listed, names, "limit {limit}");
        }
    }
}
