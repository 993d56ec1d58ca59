//! The data folder of a command that works beside the server. Only the server creates one.

use std::{io::ErrorKind, path::Path};

use anyhow::{Context, Error, Result, anyhow, bail};
use weir_core::Catalog;
use weir_embedded::OpenError;

/// Refuses a folder without events, such as a mistyped one.
pub(crate) fn must_have_events(data: &Path) -> Result<()> {
    must_have_one_of(&["events.db"], data)
}

/// Refuses a folder in which no server has ever run. The users' database may have been moved away, if it was damaged.
pub(crate) fn must_be_a_servers(data: &Path) -> Result<()> {
    must_have_one_of(&["events.db", "users.db"], data)
}

/// Refuses a folder whose secret is lost although values were hashed with it: a new one would be made, hashes to come would not equal
/// stored ones, and `weir forget` would not find these.
pub(crate) fn must_have_its_secret(data: &Path) -> Result<()> {
    if !data.join("events.db").exists() || weir_embedded::secret_of(data)?.is_some() {
        return Ok(());
    }
    // A store that cannot be read is reported by what opens it.
    let Ok(stored) = weir_embedded::stored_catalog(data) else { return Ok(()) };
    let mut served = Catalog::default();
    for one in stored.iter().filter(|one| one.is_served) {
        served.add_earlier(&one.event_type, &one.text);
    }
    // A first start that was killed has not made the secret, and has stored nothing.
    let has_some = |folder| data.join(folder).read_dir().is_ok_and(|mut entries| entries.next().is_some());
    let has_events = has_some("lake")
        || has_some("raw")
        || weir_embedded::not_filed_yet(data).is_ok_and(|left| left.events > 0);
    if served.needs_secret() && has_events {
        bail!(
            "{} is gone, with which values were hashed (redact): put it back from a backup. Without one, hashes to come will not equal \
             stored ones, and `weir forget --where` will not find these; if that is meant, make a new one: \
             (umask 077; head -c 32 /dev/urandom | base64 > {0})",
            data.join("secret").display()
        );
    }
    Ok(())
}

/// Says why a folder cannot be opened, and what to do if a server is using it.
pub(crate) fn in_use(error: OpenError, to_do: &str) -> Error {
    match error {
        OpenError::InUse(_) => anyhow!("{error}: {to_do}"),
        error => error.into(),
    }
}

fn must_have_one_of(names: &[&str], data: &Path) -> Result<()> {
    for name in names {
        match data.join(name).try_exists() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("cannot look into {}: {error}. Run this as the server's user", data.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot look into {}", data.display())),
        }
    }
    if data.join("restoring").exists() {
        bail!(
            "{}: a restore into it is under way, or broke off: then remove the folder, and restore again",
            data.display()
        );
    }
    bail!(
        "there are no data in {}: name the server's folder with --data. The first `weir serve` makes it, and a user",
        data.display()
    )
}
