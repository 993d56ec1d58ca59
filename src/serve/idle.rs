//! The order in which connections became idle: at the limit, the one idle for longest is evicted (LRU).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Idle entries, the oldest first, keyed by their place in the order.
pub(super) struct IdleOrder<T>(Mutex<Order<T>>);

struct Order<T> {
    next: u64,
    idle: BTreeMap<u64, T>,
}

impl<T> IdleOrder<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Order { next: 0, idle: BTreeMap::new() }))
    }

    /// Appends an entry, and returns its place.
    pub(super) fn add(&self, one: T) -> u64 {
        let mut order = self.order();
        let place = order.next;
        order.next += 1;
        order.idle.insert(place, one);
        place
    }

    /// Removes the entry at this place, unless it was already taken.
    pub(super) fn take(&self, place: u64) -> Option<T> {
        self.order().idle.remove(&place)
    }

    /// Removes and returns the entry idle for longest.
    pub(super) fn take_longest(&self) -> Option<T> {
        self.order().idle.pop_first().map(|(_, one)| one)
    }

    fn order(&self) -> MutexGuard<'_, Order<T>> {
        // Ignores poisoning: no operation under this lock leaves anything half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_comes_first_and_none_is_taken_twice() {
        let order = IdleOrder::new();
        let [a, b, c] = ["a", "b", "c"].map(|one| order.add(one));
        assert_eq!(order.take(a), Some("a"));
        order.add("a");
        assert_eq!(order.take_longest(), Some("b"));
        assert_eq!((order.take(b), order.take(c)), (None, Some("c")));
        assert_eq!((order.take_longest(), order.take_longest()), (Some("a"), None));
    }
}
