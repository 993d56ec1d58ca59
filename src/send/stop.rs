//! The stop signal for waiting threads.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Whether to stop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
    /// Whether work in flight must be recorded before the end.
    at_work: AtomicBool,
}

impl Stop {
    /// Signals all threads.
    pub(super) fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets whether the end has to wait.
    pub(super) fn set_at_work(&self, at_work: bool) {
        self.at_work.store(at_work, Ordering::SeqCst);
    }

    /// Returns whether the end has to wait. A pipe that has been silent from the start is no reason to.
    pub(super) fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::SeqCst)
    }

    /// Waits this long, or until the signal; returns whether it came.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(told, at_most, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
