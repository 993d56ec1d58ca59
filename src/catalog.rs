//! The event types: those compiled in, or a folder's.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use weir_core::Catalog;

/// Reads the catalog.
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
    let read = Catalog::read(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    read.with_context(|| format!("the catalog {}", folder.display()))
}
