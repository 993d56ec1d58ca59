//! Replaces files that have forgotten events by files without, and removes what was computed from events.
//!
//! It follows from the tombstones alone, so it can be repeated. The lake comes before raw: a batch in raw that still has an event
//! is filed without it in any case.

use std::{fs, io, ops::ControlFlow, path::Path};

use weir_core::{Format, Partition, quarantined_line};

use super::{Amounts, ForgetError, plan::names, sealed::Removal, step};
use crate::folder::{
    Folder,
    lines::{InItsPlace, has_any, without},
};

pub(super) fn rewrite(
    folder: &Folder,
    removal: &Removal<'_>,
    amounts: &mut Amounts,
    watch: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<(), ForgetError> {
    let Removal { path, user, gone, .. } = *removal;
    let is_event = |line: &[u8]| gone.has_stored(line);
    let is_entry = |entry: &[u8]| quarantined_line(entry).is_some_and(|line| is_event(&line));
    let whose = format!("lake/{}", Partition::folder_of_user(user));
    amounts.lake += part(folder, (path, &whose), &is_event, InItsPlace::Nothing, watch)?;
    remove_empty(&path.join(&whose))?;
    amounts.sealed += removal.remove(watch)?;
    amounts.quarantine += part(folder, (path, "quarantine"), &is_entry, InItsPlace::Nothing, watch)?;
    amounts.raw += part(folder, (path, "raw"), &is_event, InItsPlace::EmptyLine, watch)?;
    step(watch, "answers")?;
    amounts.computed += remove_all(&path.join("answers"))?;
    step(watch, "runs")?;
    amounts.computed += remove_all(&path.join("runs").join(user.as_str()))?;
    // A killed server leaves the databases of its queries.
    amounts.computed += remove_all(&path.join("queries"))?;
    Ok(())
}

/// Rewrites the files of a part of the data folder; returns how many changed.
fn part(
    folder: &Folder,
    (path, name): (&Path, &str),
    is_gone: &dyn Fn(&[u8]) -> bool,
    in_its_place: InItsPlace,
    watch: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<u64, ForgetError> {
    let (root, below) = (path.join(name), folder.sub(name));
    let mut changed = 0;
    for name in names(&root)? {
        let file = root.join(&name);
        if Format::of_file(name.rsplit('/').next().unwrap_or(&name)).is_none() {
            continue;
        }
        let unreadable = |source| ForgetError::Unreadable { path: file.clone(), source };
        if has_any(&file, is_gone).map_err(unreadable)? {
            step(watch, "rewrite")?;
            without(&below, &name, is_gone, in_its_place).map_err(unreadable)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// Removes the folders without files: their names tell of the types and hours of events. The folder may be gone itself.
fn remove_empty(folder: &Path) -> Result<(), ForgetError> {
    let unreadable = |source| ForgetError::Unreadable { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        if entry.file_type().map_err(unreadable)?.is_dir() {
            remove_empty(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(unreadable(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with everything in it; returns how many files there were.
pub(super) fn remove_all(folder: &Path) -> Result<u64, ForgetError> {
    let files = names(folder)?.len() as u64;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ForgetError::Unreadable { path: folder.to_owned(), source: error })
        }
        _ => Ok(files),
    }
}
