//! Checks that the files that the server writes still have their names. An open file accepts writes after it was removed,
//! moved or replaced, and a commit to it succeeds; but the next start does not find what was written.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use weir_core::ports::PortError;

/// A lost file, and what is wrong with it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} {what}", .path.display())]
struct Lost {
    path: PathBuf,
    what: &'static str,
}

/// Whether a file was lost, for readers other than the writer. A loss is final: the process has to start again.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<OnceLock<Lost>>);

impl Presence {
    /// Fails once a file was lost.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), PortError> {
        self.0.get().map_or(Ok(()), |lost| Err(PortError::files_lost(what, lost.clone())))
    }
}

/// A file or folder as of the last look.
struct Watched {
    path: PathBuf,
    id: (u64, u64),
    /// The length at that time; folders have no length of their own.
    length: u64,
}

impl Watched {
    fn note(path: PathBuf) -> io::Result<Self> {
        let found = fs::metadata(&path)?;
        Ok(Self { path, id: id(&found), length: length(&found) })
    }

    fn look(&mut self) -> Result<(), Lost> {
        let lost = |what| Lost { path: self.path.clone(), what };
        let found = fs::metadata(&self.path).map_err(|_| lost("is gone"))?;
        if id(&found) != self.id {
            return Err(lost("is not what the server opened under this name"));
        }
        if length(&found) < self.length {
            return Err(lost("is shorter than the server left it"));
        }
        self.length = length(&found);
        Ok(())
    }
}

/// Watches the files of a served folder.
pub(crate) struct Lookout {
    watched: [Watched; 3],
    presence: Presence,
}

impl Lookout {
    /// Begins with the folder and the files of its store, which is open.
    pub(crate) fn begin(store: &Path, presence: Presence) -> io::Result<Self> {
        // For a symbolic link, SQLite keeps the log beside the target.
        let mut log = store.canonicalize()?.into_os_string();
        log.push("-wal");
        let folder = store.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let watched = [
            Watched::note(folder.to_owned())?,
            Watched::note(store.to_owned())?,
            Watched::note(PathBuf::from(log))?,
        ];
        Ok(Self { watched, presence })
    }

    /// Checks that all files are there and no shorter than before: this process alone writes them, and never shortens them
    /// while it runs.
    pub(crate) fn look(&mut self, what: &'static str) -> Result<(), PortError> {
        self.presence.check(what)?;
        if let Err(lost) = self.watched.iter_mut().try_for_each(Watched::look) {
            tracing::error!(
                %lost,
                "the data folder was moved, replaced, removed or cut while the server runs: no event is acknowledged \
                 from now on. Stop the server, put the folder back in its place, and start it again"
            );
            // Only the writer looks, so this is the first loss.
            let _ = self.presence.0.set(lost);
        }
        self.presence.check(what)
    }
}

fn length(found: &Metadata) -> u64 {
    if found.is_file() { found.len() } else { 0 }
}

#[cfg(unix)]
fn id(found: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;

    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn id(_: &Metadata) -> (u64, u64) {
    (0, 0)
}
