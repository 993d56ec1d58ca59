//! Files and folders that other users of the machine cannot read.

use std::{fs, io, path::Path};

/// Creates a folder that other users of the machine cannot read: it holds password hashes and events.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    private_folder().recursive(true).create(path)
}

/// Returns options that create a file which other users of the machine cannot read.
pub(crate) fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true);
    options
}

/// The files directly in the data folder.
const FILES: [&str; 8] = [
    "events.db",
    "events.db-wal",
    "events.db-shm",
    "users.db",
    "users.db-wal",
    "users.db-shm",
    "secret",
    "lock",
];

/// Makes a data folder, and the files directly in it, private: it holds users' hashes and their events, however it was
/// created.
#[cfg(unix)]
pub(crate) fn close_to_others(path: &Path) -> io::Result<()> {
    if close(path, 0o700)? {
        tracing::info!(
            folder = %path.display(),
            "other users of this machine could open the data folder: it is its owner's alone now (mode 0700)"
        );
    }
    for name in FILES {
        match close(&path.join(name), 0o600) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn close_to_others(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives a file or folder this mode if other users have any access to it; returns whether they had.
#[cfg(unix)]
fn close(path: &Path, mode: u32) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;

    /// The permissions of the group and all others.
    const OTHERS: u32 = 0o077;

    let found = fs::metadata(path)?;
    let is_open = found.permissions().mode() & OTHERS > 0;
    // A folder in place of a file, or the reverse, fails later, when it is opened.
    if !is_open || found.is_dir() != (mode == 0o700) {
        return Ok(false);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| {
        let advice = "give it to the user that weir runs as (chown) and close it (chmod), or name a folder in it with --data";
        let name = path.display();
        io::Error::new(error.kind(), format!("other users can open {name}, and its mode cannot be set: {error}; {advice}"))
    })?;
    Ok(true)
}

pub(crate) fn private_folder() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}
