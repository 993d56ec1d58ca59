//! The data folder that a command works on beside the server, which alone makes one.

use std::path::Path;

use anyhow::{Error, Result, anyhow, bail};
use weir_embedded::OpenError;

/// Refuses a folder that has no events, such as a mistyped one.
pub(crate) fn must_have_events(data: &Path) -> Result<()> {
    must_have_one_of(&["events.db"], data)
}

/// Refuses a folder in which no server has ever run. Its users may have been moved away, if they were damaged.
pub(crate) fn must_be_a_servers(data: &Path) -> Result<()> {
    must_have_one_of(&["events.db", "users.db"], data)
}

/// Why a folder cannot be opened, and what to do where a server has it.
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
