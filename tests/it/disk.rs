//! A disk that is full, cannot be written, or gave back something else than was written: nothing that was acknowledged
//! is lost without a word, and the server goes on by itself as soon as it can.
//!
//! - `full`: no space left; - `refused`: folders that cannot be used; - `damaged`: files that are not what they were;
//! - `machine`: what else a start needs; - `place`: real small disks, as this machine allows them.

mod damaged;
mod full;
mod machine;
mod place;
mod refused;

use std::process::{Command, Output, Stdio};

use crate::harness;

/// Runs a command that is expected to end by itself.
fn ends(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < harness::PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // One that goes on has no exit code then.
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

/// Brings what is in the databases' logs into the databases, which are not in use.
fn without_logs(weir: &harness::Weir) {
    for name in ["events.db", "users.db"] {
        let db = rusqlite::Connection::open(weir.data().join(name)).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    assert!(!weir.data().join("events.db-wal").exists());
}
