//! In which order connections have become idle: at the limit, the one that has been idle longest makes room.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is idle, the longest first, each by its place in the order.
pub(super) struct IdleOrder<T>(Mutex<Order<T>>);

struct Order<T> {
    next: u64,
    idle: BTreeMap<u64, T>,
}

impl<T> IdleOrder<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Order { next: 0, idle: BTreeMap::new() }))
    }

    /// Adds one, as the last, and gives its place.
    pub(super) fn add(&self, one: T) -> u64 {
        let mut order = self.order();
        let place = order.next;
        order.next += 1;
        order.idle.insert(place, one);
        place
    }

    /// Takes back the one at this place, unless it was taken before.
    pub(super) fn take(&self, place: u64) -> Option<T> {
        self.order().idle.remove(&place)
    }

    /// Takes the one that has been idle longest.
    pub(super) fn take_longest(&self) -> Option<T> {
        self.order().idle.pop_first().map(|(_, one)| one)
    }

    fn order(&self) -> MutexGuard<'_, Order<T>> {
        // Nothing is left half done by what happens under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_comes_first_and_nobody_is_taken_twice() {
        let order = IdleOrder::new();
        let [a, b, c] = ["a", "b", "c"].map(|one| order.add(one));
        assert_eq!(order.take(a), Some("a"));
        order.add("a");
        assert_eq!(order.take_longest(), Some("b"));
        assert_eq!((order.take(b), order.take(c)), (None, Some("c")));
        assert_eq!((order.take_longest(), order.take_longest()), (Some("a"), None));
    }
}
