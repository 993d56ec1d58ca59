//! The data folder of a command that works beside the server. Only the server creates one.

use std::path::Path;

use anyhow::{Error, Result, anyhow, bail};
use weir_embedded::OpenError;

/// Refuses a folder without events, such as a mistyped one.
pub(crate) fn must_have_events(data: &Path) -> Result<()> {
    must_have_one_of(&["events.db"], data)
}

/// Refuses a folder in which no server has ever run. The users' database may have been moved away, if it was damaged.
pub(crate) fn must_be_a_servers(data: &Path) -> Result<()> {
    must_have_one_of(&["events.db", "users.db"], data)
}

/// Says why a folder cannot be opened, and what to do if a server is using it.
pub(crate) fn in_use(error: OpenError, to_do: &str) -> Error {
    match error {
        OpenError::InUse(_) => anyhow!("{error}: {to_do}"),
        error => error.into(),
    }
}

fn must_have_one_of(names: &[&str], data: &Path) -> Result<()> {
    if names.iter().any(|name| data.join(name).exists()) {
        return Ok(());
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
