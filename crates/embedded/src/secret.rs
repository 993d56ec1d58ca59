//! The secret of the installation: values are hashed with it that are not stored themselves.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use weir_core::{InstallationSecret, Random};

use crate::{
    error::OpenError,
    folder::{Earlier, Folder},
};

/// The file of the secret. It is made on first need.
pub(crate) const SECRET: &str = "secret";

/// Reads the secret of a data folder; `None` if it has none yet.
pub fn secret_of(path: &Path) -> Result<Option<InstallationSecret>, OpenError> {
    let file = path.join(SECRET);
    match fs::read_to_string(&file) {
        Ok(text) => text.parse().map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
    .map_err(|source| OpenError::Folder { path: file, source })
}

/// Reads the secret of a data folder, or makes it on first need.
pub(crate) fn read_or_make(
    folder: &Folder,
    path: &Path,
    random: &dyn Random,
) -> Result<InstallationSecret, OpenError> {
    match secret_of(path)? {
        Some(secret) => Ok(secret),
        None => make(folder, random).map_err(|source| OpenError::Folder { path: path.join(SECRET), source }),
    }
}

fn make(folder: &Folder, random: &dyn Random) -> io::Result<InstallationSecret> {
    let secret = InstallationSecret::generate(random);
    let mut draft = folder.draft()?;
    writeln!(draft, "{}", secret.reveal())?;
    folder.keep(draft, SECRET, Earlier::Stays)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use weir_core::SeededRandom;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_a_damaged_one_is_never_replaced() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let read = |seed| read_or_make(&folder, place.path(), &SeededRandom::new(seed));
        let first = read(1).unwrap();
        assert_eq!(read(2).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(place.path().join(SECRET)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(place.path().join(SECRET), "cut").unwrap();
        let refused = read(3).unwrap_err().to_string();
        assert!(refused.contains("32 bytes at least"), "{refused}");
    }
}
