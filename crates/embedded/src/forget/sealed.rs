//! Sealed days, while events are forgotten. Parquet is not rewritten: all sealed days are removed if one of them has such an
//! event, as they are made from the JSON of the lake, and the next sealing makes them again. Where a sealed day is the only copy
//! of an event, forgetting is refused.

use std::{collections::BTreeSet, fs, io, path::Path};

use weir_core::Day;

use super::{ForgetError, rewrite::remove_all};
use crate::{
    folder::sync_folder,
    sealed::{LOCK, MANIFEST, SealedFolder, SealingTurn},
};

/// Takes the turn to seal, so that no sealing reads what is being forgotten.
pub(super) fn turn(path: &Path) -> Result<SealingTurn, ForgetError> {
    let sealed = SealedFolder::of(path);
    sealed.turn().map_err(|source| unreadable(sealed.path(), source))?.ok_or(ForgetError::Sealing)
}

/// Returns the days of which there are sealed files; an error if they are the only copy of an event.
pub(super) fn days(path: &Path) -> Result<BTreeSet<Day>, ForgetError> {
    let (sealed, lake) = (SealedFolder::of(path), path.join("lake"));
    let failed = |source| unreadable(sealed.path(), source);
    for (day, generation) in &sealed.read_manifest().map_err(failed)?.days {
        let covered = sealed.read_covered(*day, generation.number).map_err(failed)?;
        if generation.json_expired || covered.iter().any(|object| !lake.join(object).is_file()) {
            return Err(ForgetError::OnlySealed(*day));
        }
    }
    let generations = sealed.list_generations().map_err(failed)?;
    Ok(generations.into_iter().map(|(day, _)| day).collect())
}

/// Removes what sealing left, and all sealed days if one of them has a forgotten event; returns how many files there were.
pub(super) fn remove(path: &Path, with_days: bool) -> Result<u64, ForgetError> {
    let sealed = SealedFolder::of(path);
    let folder = sealed.path();
    if !with_days {
        return remove_all(&folder.join(SealedFolder::WORK)).map(|_| 0);
    }
    // Without a manifest no day is sealed, and all is read from JSON.
    match fs::remove_file(folder.join(MANIFEST)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreadable(folder, error)),
        _ => sync_folder(folder).map_err(|source| unreadable(folder, source))?,
    }
    let mut removed = 0;
    for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let entry = entry.map_err(|source| unreadable(folder, source))?;
        if entry.path().is_dir() {
            removed += remove_all(&entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path()).map_err(|source| unreadable(folder, source))?;
        }
    }
    Ok(removed)
}

fn unreadable(path: &Path, source: io::Error) -> ForgetError {
    ForgetError::Unreadable { path: path.to_owned(), source }
}
