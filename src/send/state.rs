//! Progress through a file: a small state file beside it lets an interrupted run resume.
//!
//! It only saves time: lines that are sent again have the same ids, and are deduplicated. So if it no longer matches, the
//! file is sent from its beginning.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::event_ids::Ids;

/// The recorded progress of a partly sent file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The file and destination it belongs to.
    pub(super) of: Bound,
    /// All lines up to this one are done.
    pub(super) lines: u64,
    /// How many lines were rejected, and the length of the file of them at that time.
    pub(super) rejected: u64,
    pub(super) rejected_bytes: u64,
}

/// Why recorded progress is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is damaged")]
    Damaged,
    #[error("it is of another destination or user")]
    OfAnother,
    #[error("the file or the options have changed since")]
    Changed,
    /// The file has changed, and with it the ids of its events. So many lines were done before.
    #[error("the file has changed since")]
    OtherIds { lines: u64 },
}

/// Identifies the file's version and destination: the progress is valid for no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) bytes: u64,
    /// Nanoseconds since 1970, as text: they exceed JSON's exact numbers.
    pub(super) changed: String,
    /// The seed of its events' ids.
    pub(super) seed: String,
    /// The rule for its ids: a run continues with the rule that it began with.
    #[serde(default)]
    pub(super) ids: Ids,
    pub(super) to: String,
    pub(super) user: String,
    pub(super) event_type: Option<String>,
    /// How the file is read: the options that change its events.
    #[serde(default)]
    pub(super) reading: String,
    pub(super) rejected: PathBuf,
}

/// Returns when a file was changed.
pub(super) fn changed(metadata: &Metadata) -> String {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_nanos().to_string()
}

/// The state file of one input.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    bound: Bound,
    /// The same file, as a version with other ids would record it.
    before: Bound,
    told: bool,
}

impl StateFile {
    /// Returns the state file beside an input. `seed_before` is the seed of [`Ids::Before`] for the input.
    pub(super) fn beside(input: &Path, bound: Bound, seed_before: String) -> Self {
        let before = Bound { seed: seed_before, ids: Ids::Before, ..bound.clone() };
        Self { path: with_suffix(input, ".weir-sent"), bound, before, told: false }
    }

    /// Returns the rule by which the run makes its ids.
    pub(super) fn ids(&self) -> Ids {
        self.bound.ids
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the progress of an earlier run. That run's rule for ids applies from then on.
    pub(super) fn read(&mut self) -> Result<Option<Progress>, Unusable> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(Unusable::Unreadable),
        };
        let progress: Progress = serde_json::from_slice(&text).map_err(|_| Unusable::Damaged)?;
        if progress.of == self.before {
            self.bound = self.before.clone();
        }
        let (then, now) = (&progress.of, &self.bound);
        if (&then.to, &then.user) != (&now.to, &now.user) {
            return Err(Unusable::OfAnother);
        }
        if then.seed != now.seed {
            return Err(Unusable::OtherIds { lines: progress.lines });
        }
        if then != now {
            return Err(Unusable::Changed);
        }
        Ok(Some(progress))
    }

    /// Records the progress, atomically.
    pub(super) fn write(&mut self, lines: u64, rejected: u64, rejected_bytes: u64) {
        let progress = Progress { of: self.bound.clone(), lines, rejected, rejected_bytes };
        if let Err(error) = self.replace(&progress)
            && !std::mem::replace(&mut self.told, true)
        {
            eprintln!(
                "weir: cannot write {}: {error}. If the run is interrupted, the file is sent from its beginning again",
                self.path.display()
            );
        }
    }

    fn replace(&self, progress: &Progress) -> io::Result<()> {
        let draft = with_suffix(&self.path, ".new");
        // A leftover of a run that was killed, or a link, which is not followed.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&draft)?;
        serde_json::to_writer(&mut file, progress)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(draft, &self.path)
    }

    /// Removes the file, once everything was sent.
    pub(super) fn remove(&self) {
        // If the file stays, it says that everything is done, which is harmless.
        let _ = fs::remove_file(&self.path);
    }
}

/// Appends a suffix to a path's file name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Bound {
        Bound {
            bytes: 7,
            changed: "1".to_owned(),
            seed: "s".to_owned(),
            ids: Ids::WholeContent,
            to: "http://x".to_owned(),
            user: "u".to_owned(),
            event_type: None,
            reading: String::new(),
            rejected: "r".into(),
        }
    }

    fn beside(input: &Path, bound: Bound) -> StateFile {
        StateFile::beside(input, bound, "before".to_owned())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_state_or_its_draft_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (input, target) = (folder.path().join("a.ndjson"), folder.path().join("target"));
        fs::write(&target, "precious").unwrap();
        let mut state = beside(&input, bound());
        for link in [state.path().to_owned(), with_suffix(state.path(), ".new")] {
            std::os::unix::fs::symlink(&target, link).unwrap();
        }
        state.write(5, 1, 90);
        assert_eq!(state.read().map(|progress| progress.map(|it| it.lines)), Ok(Some(5)));
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn what_was_noted_is_found_again_unless_something_changed() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("a.ndjson");
        let mut state = beside(&input, bound());
        assert_eq!(state.read(), Ok(None));
        state.write(5, 1, 90);
        state.write(6, 2, 95);
        assert_eq!(
            state.read(),
            Ok(Some(Progress { of: bound(), lines: 6, rejected: 2, rejected_bytes: 95 }))
        );
        for other in [
            Bound { bytes: 8, ..bound() },
            Bound { changed: "2".to_owned(), ..bound() },
            Bound { seed: "t".to_owned(), ..bound() },
            Bound { to: "http://y".to_owned(), ..bound() },
            Bound { user: "v".to_owned(), ..bound() },
            Bound { event_type: Some("t".to_owned()), ..bound() },
            Bound { reading: "a=b".to_owned(), ..bound() },
            Bound { rejected: "q".into(), ..bound() },
        ] {
            assert!(beside(&input, other).read().is_err());
        }
        fs::write(state.path(), "{").unwrap();
        assert_eq!(state.read(), Err(Unusable::Damaged));
        state.remove();
        assert_eq!((state.read(), fs::read_dir(folder.path()).unwrap().count()), (Ok(None), 0));
    }
}
