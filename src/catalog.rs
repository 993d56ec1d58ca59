//! The event types: built in, from a folder, or those that a data folder was served with. `commands` is `weir catalog`.

mod commands;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use weir_core::{Catalog, catalog::CatalogError};

pub(crate) use commands::run;

/// Reads the catalog to serve.
pub(crate) fn read(folder: Option<&Path>) -> Result<Catalog> {
    let Some(folder) = folder else { return Ok(Catalog::built_in()?) };
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read the catalog {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push((name, text));
    }
    if files.is_empty() {
        bail!("the catalog {} has no event types: files that end in .json", folder.display());
    }
    files.sort();
    let read = Catalog::read(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        .and_then(Catalog::with_general)
        .and_then(|catalog| collector::check_routes(&catalog).map(|()| catalog));
    Ok(read.map_err(|error| in_folder(folder, error))?)
}

/// Warns of each keyword that JSON Schema does not know, with its place.
pub(crate) fn warn(folder: Option<&Path>, catalog: &Catalog) {
    for remark in catalog.remarks() {
        let remark = folder.map_or_else(|| remark.clone(), |folder| in_folder(folder, remark.clone()));
        tracing::warn!("{remark}");
    }
}

/// Returns the catalog for reading a data folder: the named one, or the one that the folder was last served with. It also
/// has the types served earlier.
pub(crate) fn with_stored(named: Option<Catalog>, data: &Path) -> Result<Catalog> {
    let stored = weir_embedded::stored_catalog(data)?;
    let mut catalog = match named {
        Some(named) => named,
        None if stored.is_empty() => Catalog::built_in()?,
        None => Catalog::default(),
    };
    for one in stored {
        catalog.add_earlier(&one.event_type, &one.text);
    }
    Ok(catalog)
}

/// Prepends the folder to an error's file name.
fn in_folder(folder: &Path, error: CatalogError) -> CatalogError {
    CatalogError { file: folder.join(&error.file).display().to_string(), ..error }
}
