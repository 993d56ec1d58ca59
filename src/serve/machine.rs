//! The server's requirements on the machine, checked before anything is opened: a limit on open files that leaves room to
//! work, and a clock whose time can be written down.

use anyhow::{Result, bail};
use weir_core::{Clock, Timestamp};

use crate::cli::ServeArgs;

/// File descriptors for everything but connections: databases, batches, clients that are being refused.
#[cfg(unix)]
const OTHER_FILES: u64 = 256;

/// With fewer descriptors the server would not start, or would reset connections at the first concurrent requests.
#[cfg(unix)]
const FEWEST_FILES: u64 = 64;

/// Checks the machine, and raises the process's own limit on open files as far as the connections need it and the system
/// allows.
pub(crate) fn prepare(args: &ServeArgs, clock: &dyn Clock) -> Result<()> {
    raise_open_files(args.connections)?;
    check_clock(clock.now())
}

/// Refuses a clock outside the years 1970 to 9999: no event could be filed under its hour, and no HTTP answer could have a
/// `Date`. Any other wrong time is tolerated and logged, as a machine may start before it learns the time.
fn check_clock(now: Timestamp) -> Result<()> {
    // A clock beyond that range is read as the first or the last moment in it.
    let end = match now.millis() {
        0 => "before 1970",
        Timestamp::MAX_MILLIS => "after 9999",
        _ => {
            if now < Timestamp::FIRST_VERSION {
                tracing::warn!(
                    "the machine's clock shows {now}, which is before this version of weir was made: until the clock is set, events \
                     are filed under the hours that it shows"
                );
            }
            return Ok(());
        }
    };
    bail!("the machine's clock shows a time {end}: set it (with NTP, or `date --set`), and start again")
}

/// Raises the limit on open files to the number that so many connections need, or to the maximum allowed; refuses a limit too
/// low to work with.
#[cfg(unix)]
fn raise_open_files(connections: u32) -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(connections) + OTHER_FILES;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // If the system refuses after all, the old limit stays.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let files = open_files();
    if files < FEWEST_FILES {
        bail!(
            "the process may open {files} files only, and the server needs {FEWEST_FILES} at least, and {wanted} for \
             {connections} connections: raise the limit (`ulimit -n {wanted}`; under systemd LimitNOFILE={wanted})"
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn raise_open_files(_: u32) -> Result<()> {
    Ok(())
}

/// Returns the connection limit if the options ask for so many: each takes a file descriptor, and the process may open only
/// so many.
#[cfg(unix)]
pub(super) fn at_most(asked: u32) -> usize {
    let files = open_files();
    let connections = share_of(files).min(asked.into());
    if connections < asked.into() {
        tracing::warn!(
            connections,
            files,
            "fewer connections than asked for: the process may open no more files"
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
pub(super) fn at_most(asked: u32) -> usize {
    usize::try_from(asked).unwrap_or(usize::MAX)
}

/// Returns the process's limit on open files.
#[cfg(unix)]
fn open_files() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many of so many descriptors connections may use.
#[cfg(unix)]
fn share_of(files: u64) -> u64 {
    files.saturating_sub(OTHER_FILES).max(files / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn some_files_are_left_for_other_things() {
        assert_eq!(share_of(20_000), 19_744);
        assert_eq!(share_of(1024), 768);
        assert_eq!(share_of(64), 16);
        assert_eq!(share_of(1), 1);
    }

    #[test]
    fn a_clock_outside_of_1970_to_9999_is_refused_and_no_other() {
        let said = |millis| check_clock(Timestamp::saturating(millis)).map_err(|error| error.to_string());
        assert!(said(0).unwrap_err().starts_with("the machine's clock shows a time before 1970: set it"));
        assert!(
            said(u64::MAX).unwrap_err().starts_with("the machine's clock shows a time after 9999: set it")
        );
        for millis in [1, 1_795_179_600_000, Timestamp::MAX_MILLIS - 1] {
            said(millis).unwrap();
        }
    }
}
