//! Open streams of events: how many there may be, and their end when the host stops.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use weir_core::Username;

/// The most streams of one user. A browser has six connections to a server, for all of its tabs together.
pub(crate) const MOST_OF_USER: usize = 8;

/// The most streams of all users.
const MOST: usize = 64;

/// The open streams of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    open: Mutex<HashMap<Username, usize>>,
    ending: watch::Sender<bool>,
}

impl Default for Streams {
    fn default() -> Self {
        Self::at_most(MOST)
    }
}

impl Streams {
    /// Allows at most this many streams, and never more than 64.
    #[must_use]
    pub fn at_most(most: usize) -> Self {
        let (most, open) = (most.min(MOST), Mutex::default());
        Self(Arc::new(Inner { most, open, ending: watch::Sender::new(false) }))
    }

    /// Ends all streams as the host stops. Streams that are opened later end at once.
    pub fn end(&self) {
        self.0.ending.send_replace(true);
    }

    /// Returns the number of open streams.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open().values().sum()
    }

    /// Takes a place for a user's stream; `None` if no place is free.
    pub(crate) fn place(&self, username: &Username) -> Option<Place> {
        let mut open = self.0.open();
        let all: usize = open.values().sum();
        let own = open.get(username).copied().unwrap_or_default();
        if all >= self.0.most || own >= MOST_OF_USER {
            return None;
        }
        open.insert(username.clone(), own + 1);
        Some(Place { of: Arc::clone(&self.0), username: username.clone() })
    }

    /// Returns a receiver that is notified when all streams are to end.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.0.ending.subscribe()
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<Username, usize>> {
        // Ignores poisoning: no operation under this lock leaves anything half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an open stream; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Inner>,
    username: Username,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.open();
        if let Some(own) = open.get_mut(&self.username) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.username);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_for_a_user_and_in_all_and_a_dropped_one_is_free_again() {
        let streams = Streams::at_most(10);
        let [ann, bob]: [Username; 2] = ["ann", "bob"].map(|name| name.parse().unwrap());
        let mut of_ann: Vec<Place> = (0..MOST_OF_USER).map(|_| streams.place(&ann).unwrap()).collect();
        assert!(streams.place(&ann).is_none());
        let of_bob: Vec<Place> = (0..2).map(|_| streams.place(&bob).unwrap()).collect();
        assert!(streams.place(&bob).is_none(), "there are ten in all");
        of_ann.pop();
        assert!(streams.place(&bob).is_some());
        drop((of_ann, of_bob));
        assert_eq!(streams.open(), 0);
    }
}
