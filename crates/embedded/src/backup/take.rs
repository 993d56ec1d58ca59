//! Takes a backup.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use weir_core::Clock;

use super::{
    database::snapshot,
    files::{self, create_file, parent_of, refuse_occupied},
    manifest::{BackupError, FORM, FUNCTIONS, MANIFEST, Manifest, PARTS, SEALED, Size, Watch, at},
    moment::{self, Moment},
    sealed,
};
use crate::{
    folder::{private::create_private, sync_folder},
    objects::batches,
    secret::SECRET,
    store,
};

/// Copies a data folder, served or not, into a folder that does not exist yet. The copy appears whole, or not at all.
pub fn back_up(
    data: &Path,
    to: &Path,
    clock: &dyn Clock,
    watch: &Watch<'_>,
) -> Result<Manifest, BackupError> {
    let store = data.join("events.db");
    if !store.exists() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    store::check_format(&store)?;
    let parent = parent_of(to);
    refuse_occupied(to, &[])?;
    refuse_inside(data, to, parent)?;

    let staging = staging(to, parent).map_err(at(parent))?;
    let mut manifest = Manifest {
        weir_backup: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: clock.now().to_string(),
        raw: Size::default(),
        lake: Size::default(),
        quarantine: Size::default(),
        functions: Size::default(),
        sealed: Size::default(),
    };
    // Read before the snapshot, so that it knows the batches of all events in these generations.
    let sealed = sealed::Kept::of(data)?;
    // Batches that are in raw before the snapshot, and that the snapshot does not know, are strays. They belong to the backup.
    let raw = data.join("raw");
    let known = moment::known(&store).map_err(store::at(&store))?;
    let strays = batches::after(&raw, known, batches::Hours::All).map_err(at(&raw))?;
    let events = staging.path().join("events.db");
    snapshot(&store, &events)?;
    let moment =
        Moment::of(&events, strays.last().map_or(0, |(_, last, _)| *last)).map_err(store::at(&events))?;
    // Copied after the events, so that the copy has all users who sent them.
    let users = data.join("users.db");
    if users.exists() {
        snapshot(&users, &staging.path().join("users.db"))?;
    }
    files::copy_file(&data.join(SECRET), &staging.path().join(SECRET))?;
    for part in PARTS {
        let wanted = |name: &str| match part {
            FUNCTIONS => name.ends_with(".json"),
            SEALED => sealed.has(name),
            _ => moment.has(name),
        };
        *manifest.part(part) = files::copy(data, staging.path(), part, &wanted, watch)?;
    }
    sealed.finish(staging.path(), &mut manifest.sealed)?;
    write_manifest(staging.path(), &manifest)?;
    sync_folder(staging.path()).map_err(at(staging.path()))?;
    // Renaming fails if the folder is no longer empty, so nothing is replaced.
    fs::rename(staging.path(), to).map_err(at(to))?;
    let _ = staging.keep();
    sync_folder(parent).map_err(at(parent))?;
    Ok(manifest)
}

/// Makes a folder beside `to`, under a temporary name and for its owner only.
fn staging(to: &Path, parent: &Path) -> io::Result<tempfile::TempDir> {
    create_private(parent)?;
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!(".{name}.unfinished-");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(parent)
}

fn refuse_inside(data: &Path, to: &Path, parent: &Path) -> Result<(), BackupError> {
    let data = data.canonicalize().map_err(at(data))?;
    // The parent may not exist yet: the nearest existing folder above decides.
    let existing = parent.ancestors().find_map(|above| {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        above.canonicalize().ok()
    });
    if existing.is_some_and(|existing| existing.starts_with(&data)) {
        return Err(BackupError::Inside(to.to_owned()));
    }
    Ok(())
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = folder.join(MANIFEST);
    let text = serde_json::to_string_pretty(manifest).expect("plain data serialises");
    let write = || -> io::Result<()> {
        let mut file = create_file(&path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    write().map_err(at(&path))
}
