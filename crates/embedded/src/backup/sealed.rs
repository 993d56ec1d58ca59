//! The sealed days of a snapshot: the current generations of a manifest that is older than the snapshot.
//!
//! A generation has events of settled batches only, so a later snapshot of the store knows all of them. Notes can only be more than
//! at that moment, and a note without an object changes nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind, Write},
    path::Path,
};

use weir_core::sealing::{Manifest, NotAManifest};

use super::{
    files::create_file,
    manifest::{BackupError, SEALED, Size, at},
};
use crate::{
    folder::sync_folder,
    sealed::{MANIFEST, NOTED_UNTIL, NOTES, SealedFolder},
};

/// The sealed days to keep; `None` if nothing is sealed.
pub(super) struct Kept(Option<Manifest>);

impl Kept {
    /// Reads which days of a data folder are sealed.
    pub(super) fn of(data: &Path) -> Result<Self, BackupError> {
        let path = data.join(SEALED).join(MANIFEST);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self(None)),
            text => text.map_err(at(&path))?,
        };
        let invalid = |error: NotAManifest| io::Error::new(ErrorKind::InvalidData, error);
        let mut manifest = Manifest::read(&text).map_err(invalid).map_err(at(&path))?;
        // Nothing reads the copy yet that would need them.
        manifest.replaced.clear();
        Ok(Self(Some(manifest)))
    }

    /// Returns whether a file below the folder of sealed days belongs to the snapshot.
    pub(super) fn has(&self, name: &str) -> bool {
        let first = name.split('/').next().unwrap_or_default();
        if first == NOTED_UNTIL || first == NOTES {
            return !name.contains("/.");
        }
        let Some(manifest) = &self.0 else { return false };
        let current = first.parse().ok().and_then(|day| Some((day, manifest.days.get(&day)?.number)));
        current.is_some_and(|(day, number)| {
            name.strip_prefix(&SealedFolder::generation(day, number))
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Writes the manifest into the copy, whose files are all there.
    pub(super) fn finish(&self, copy: &Path, size: &mut Size) -> Result<(), BackupError> {
        let Some(manifest) = &self.0 else { return Ok(()) };
        let folder = copy.join(SEALED);
        let types = manifest.days.values().flat_map(|generation| generation.types.values());
        let files: BTreeSet<&String> =
            types.flat_map(|sealed| sealed.files.iter().chain(&sealed.repeat_files)).collect();
        for file in files {
            let path = folder.join(file);
            fs::metadata(&path).map_err(at(&path))?;
        }
        let (path, text) = (folder.join(MANIFEST), manifest.text());
        let write = || -> io::Result<()> {
            let mut file = create_file(&path)?;
            file.write_all(&text)?;
            file.sync_all()?;
            sync_folder(&folder)
        };
        write().map_err(at(&path))?;
        size.files += 1;
        size.bytes += text.len() as u64;
        Ok(())
    }
}
