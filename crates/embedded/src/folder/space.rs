//! Load shedding by disk space: new events are refused before the disk is full, so that acknowledged events can still be
//! filed, counts can be stored and the server can end.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use parking_lot::Mutex;
use weir_core::ports::PortError;

/// How long the system's answer is cached. A disk takes some hundred megabytes in this time at the most.
const BELIEVED: Duration = Duration::from_millis(100);

/// The free space is less than the space to keep.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the disk of {} has {} left, and {} are kept free for what was acknowledged",
    .path.display(), ByteSize(*.free), ByteSize(*.kept)
)]
struct TooLittle {
    path: PathBuf,
    free: u64,
    kept: u64,
}

/// Watches the disk of the data folder.
pub(crate) struct Space {
    path: PathBuf,
    kept: AtomicU64,
    last: Mutex<Option<(Instant, Result<(), TooLittle>)>>,
}

impl Space {
    /// Watches the disk of the data folder; it keeps no space free until `keep_free`.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, kept: AtomicU64::new(0), last: Mutex::new(None) }
    }

    pub(crate) fn keep_free(&self, bytes: u64) {
        self.kept.store(bytes, Ordering::Relaxed);
    }

    /// Fails if there is too little space for new events.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), PortError> {
        let kept = self.kept.load(Ordering::Relaxed);
        if kept == 0 {
            return Ok(());
        }
        let mut last = self.last.lock();
        if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= BELIEVED) {
            let now = self.look(kept);
            let was_low = matches!(&*last, Some((_, Err(_))));
            match &now {
                Err(error) if !was_low => {
                    tracing::error!(%error, "new events are refused until there is more space");
                }
                Ok(()) if was_low => tracing::info!("there is space again: new events are taken"),
                _ => {}
            }
            *last = Some((Instant::now(), now));
        }
        match &*last {
            Some((_, Err(error))) => Err(PortError::no_space(what, error.clone())),
            _ => Ok(()),
        }
    }

    /// Returns how much space is left.
    pub(crate) fn free(&self) -> Option<u64> {
        free(&self.path)
    }

    fn look(&self, kept: u64) -> Result<(), TooLittle> {
        match free(&self.path) {
            Some(free) if free < kept => Err(TooLittle { path: self.path.clone(), free, kept }),
            // If the system does not report its space, a full disk shows at the next write.
            _ => Ok(()),
        }
    }
}

/// Returns how much the user of this process may still write.
#[cfg(unix)]
fn free(path: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &std::path::Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_refused_only_while_less_is_free_than_is_to_be_kept() {
        let place = tempfile::tempdir().unwrap();
        let space = |kept| {
            let space = Space::of(place.path().to_owned());
            space.keep_free(kept);
            space
        };
        assert!(space(0).check("x").is_ok());
        assert!(space(1).check("x").is_ok());
        let error = space(u64::MAX).check("x").unwrap_err().to_string();
        assert!(
            error.contains(" and 16.0 EiB are kept free") && error.contains(&*place.path().to_string_lossy()),
            "{error}"
        );
    }
}
