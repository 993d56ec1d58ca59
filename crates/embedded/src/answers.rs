//! [`Answers`] as files: `answers/NAME/<generation>`, and the pointer `answers/NAME/current`.
//!
//! `weir publish` writes beside a running server, so the server looks at each request whether the pointer is another file.
//! Generations stay open: a reader goes on reading one whose file was removed.

mod generation;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::RwLock;
use tempfile::NamedTempFile;
use weir_core::{
    AnswerName, Timestamp,
    answers::{KEPT_MILLIS, Published},
    ports::{Answers, AnswersAdmin, Content, Generation, PortError, Publication},
};

use crate::folder::{private::create_private, sync_folder};
use generation::Opened;

const CURRENT: &str = "current";

/// How files begin that are being written: the data folder's own temporary files are removed when a server starts.
const DRAFT: &str = ".draft-";

/// The most generations that stay open.
const MOST_OPEN: usize = 128;

/// The answers of a data folder.
#[derive(Clone)]
pub struct AnswersFolder(Arc<Inner>);

struct Inner {
    path: PathBuf,
    open: RwLock<HashMap<AnswerName, (Version, Arc<Opened>)>>,
}

/// The turn to compute and publish answers: the lock of their folder. It ends when this is dropped, and with its process.
pub struct Turn(#[expect(dead_code, reason = "it holds the lock")] Option<File>);

/// What tells two files of one name apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: SystemTime,
    inode: u64,
    length: u64,
}

impl Version {
    fn of(file: &fs::Metadata) -> io::Result<Self> {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(file);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self { modified: file.modified()?, inode, length: file.len() })
    }
}

impl AnswersFolder {
    /// Returns the answers of a data folder, which may have none yet.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self(Arc::new(Inner { path: data.join("answers"), open: RwLock::default() }))
    }

    /// Waits for the turn to compute and publish answers: `weir publish` and a server do it one after the other, so what is
    /// published later was computed later. Not every file system can lock folders; on others, they may do it at once.
    pub fn turn(&self) -> io::Result<Turn> {
        create_private(&self.0.path)?;
        let locked = File::open(&self.0.path).and_then(|folder| folder.lock().map(|()| folder));
        Ok(Turn(locked.ok()))
    }

    /// Returns when each answer was published last; those that cannot be read count as never published.
    #[must_use]
    pub fn published_at(&self, name: &AnswerName) -> Option<Timestamp> {
        Some(self.pointer(name).ok()??.published_at)
    }

    fn pointer(&self, name: &AnswerName) -> io::Result<Option<Published>> {
        match fs::read(self.0.path.join(name.as_str()).join(CURRENT)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn find(&self, name: &AnswerName) -> io::Result<Option<Arc<Opened>>> {
        let folder = self.0.path.join(name.as_str());
        let version = match fs::metadata(folder.join(CURRENT)) {
            Ok(found) => Version::of(&found)?,
            Err(error) if is_missing(&error) => {
                self.0.open.write().remove(name);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if let Some((_, opened)) = self.0.open.read().get(name).filter(|(known, _)| *known == version) {
            return Ok(Some(Arc::clone(opened)));
        }
        let Some(published) = self.pointer(name)? else { return Ok(None) };
        let file = File::open(folder.join(published.generation.as_str()))?;
        let opened = Arc::new(Opened::read(file, published)?);
        let mut open = self.0.open.write();
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        // If the pointer was swapped meanwhile, the next reader finds another version, and reads it again.
        open.insert(name.clone(), (version, Arc::clone(&opened)));
        Ok(Some(opened))
    }

    fn all(&self) -> io::Result<Vec<Published>> {
        let entries = match fs::read_dir(&self.0.path) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            // Folders by another hand are skipped.
            let Some(name) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            found.extend(self.pointer(&name)?);
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Opens the folder of an answer, which is created if it does not exist.
    fn folder(&self, name: &AnswerName) -> io::Result<PathBuf> {
        let folder = self.0.path.join(name.as_str());
        if folder.is_dir() {
            return Ok(folder);
        }
        create_private(&folder)?;
        for above in [Some(self.0.path.as_path()), self.0.path.parent()].into_iter().flatten() {
            sync_folder(above)?;
        }
        Ok(folder)
    }

    /// Gives a generation its name, and swaps the pointer to it.
    fn swap(&self, folder: &Path, generation: NamedTempFile, published: &Published) -> io::Result<()> {
        let now = time(published.published_at);
        let before = self.pointer(&published.name).ok().flatten();
        generation.as_file().sync_all()?;
        generation.persist(folder.join(published.generation.as_str())).map_err(|error| error.error)?;
        sync_folder(folder)?;
        let mut pointer = draft(folder)?;
        serde_json::to_writer(&mut pointer, published)?;
        pointer.flush()?;
        pointer.as_file().sync_all()?;
        // From here on the hour counts in which it can still be read.
        if let Some(before) = before.filter(|before| before.generation != published.generation) {
            let replaced = File::open(folder.join(before.generation.as_str()));
            if let Ok(replaced) = replaced {
                replaced.set_modified(now)?;
            }
        }
        pointer.persist(folder.join(CURRENT)).map_err(|error| error.error)?;
        sync_folder(folder)
    }

    /// Removes what was replaced more than an hour ago, and drafts that old, whose writers have died.
    fn remove_old(folder: &Path, published: &Published) -> io::Result<()> {
        let limit = time(published.published_at) - Duration::from_millis(KEPT_MILLIS);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_current = name == CURRENT || name == published.generation.as_str();
            if !is_current && entry.metadata()?.modified()? < limit {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.millis())
}

fn draft(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(DRAFT).tempfile_in(folder)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Turns an error of a file into one of the port: what cannot be understood will not pass by itself.
fn failed(what: &'static str) -> impl Fn(io::Error) -> PortError {
    move |error| match error.kind() {
        ErrorKind::InvalidData
        | ErrorKind::UnexpectedEof
        | ErrorKind::NotFound
        | ErrorKind::PermissionDenied => PortError::broken(what, error),
        ErrorKind::StorageFull => PortError::no_space(what, error),
        _ => PortError::unavailable(what, error),
    }
}

#[async_trait]
impl Answers for AnswersFolder {
    async fn current(&self, name: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError> {
        let found = self.find(name).map_err(failed("reading an answer"))?;
        Ok(found.map(|opened| opened as Arc<dyn Generation>))
    }

    async fn list(&self) -> Result<Vec<Published>, PortError> {
        self.all().map_err(failed("listing the answers"))
    }
}

#[async_trait]
impl AnswersAdmin for AnswersFolder {
    async fn publish(
        &self,
        published: &Published,
        length: u64,
        mut content: Content,
    ) -> Result<Publication, PortError> {
        let failed = failed("publishing an answer");
        let folder = self.folder(&published.name).map_err(&failed)?;
        let mut generation = draft(&folder).map_err(&failed)?;
        let mut written = 0;
        while let Some(piece) = content.next().await {
            let piece = piece.map_err(&failed)?;
            generation.write_all(&piece).map_err(&failed)?;
            written += piece.len() as u64;
        }
        if written != length {
            return Err(failed(io::Error::other(format!("{written} bytes came instead of {length}"))));
        }
        self.swap(&folder, generation, published).map_err(&failed)?;
        Self::remove_old(&folder, published).map_err(&failed)?;
        // Publishers take turns.
        Ok(Publication::Current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_published_by_one_at_a_time_and_the_next_has_its_turn_when_the_one_before_ends() {
        let data = tempfile::tempdir().unwrap();
        let answers = AnswersFolder::of(data.path());
        let turn = answers.turn().unwrap();
        let other = File::open(data.path().join("answers")).unwrap();
        assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
        drop(turn);
        other.try_lock().unwrap();
    }
}
