//! Whether the files that the server writes still lie under their names. An open file takes writes after it was removed,
//! moved or replaced, and a commit to it succeeds; but the next start does not find what was written.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use weir_core::ports::PortError;

use crate::log_tail;

/// What is wrong with one of the files.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} {what}", .path.display())]
struct Lost {
    path: PathBuf,
    what: &'static str,
}

/// Whether a file was lost, for others than the writer. What was lost once stays so: the process has to start again.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<OnceLock<Lost>>);

impl Presence {
    /// Fails once a file was lost.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), PortError> {
        self.0.get().map_or(Ok(()), |lost| Err(PortError::files_lost(what, lost.clone())))
    }
}

/// A file or folder as it was when it was looked at last.
struct Watched {
    path: PathBuf,
    id: (u64, u64),
    /// How long it was; folders have no length of their own.
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

/// Looks at the files of a served folder.
pub(crate) struct Lookout {
    watched: [Watched; 3],
    presence: Presence,
}

impl Lookout {
    /// Notes the folder and the files of its store, which is open.
    pub(crate) fn begin(store: &Path, presence: Presence) -> io::Result<Self> {
        // SQLite keeps the log beside the file that a link leads to.
        let log = log_tail::path_of(&store.canonicalize()?);
        let folder = store.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let watched = [
            Watched::note(folder.to_owned())?,
            Watched::note(store.to_owned())?,
            Watched::note(PathBuf::from(log))?,
        ];
        Ok(Self { watched, presence })
    }

    /// Looks whether all files are there and no shorter than before: this process alone writes them, and never shortens
    /// them while it runs.
    pub(crate) fn look(&mut self, what: &'static str) -> Result<(), PortError> {
        self.presence.check(what)?;
        if let Err(lost) = self.watched.iter_mut().try_for_each(Watched::look) {
            tracing::error!(
                %lost,
                "the data folder was moved, replaced, removed or cut while the server runs: no event is acknowledged \
                 from now on. Stop the server, put the folder back in its place, and start it again"
            );
            // The writer alone looks, so this is the first time.
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
