//! The places for queries at once: few for all users, and one for each.

use std::sync::Arc;

use parking_lot::Mutex;
use weir_core::Username;

pub(super) struct Places {
    most: usize,
    taken: Mutex<Vec<Username>>,
}

/// A user's place, which is free again once this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    username: Username,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// Returns how many there are.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Takes a place, if the user has none and all users together have one left.
    pub(super) fn take(places: &Arc<Self>, username: &Username) -> Option<Place> {
        let mut taken = places.taken.lock();
        if taken.len() >= places.most || taken.contains(username) {
            return None;
        }
        taken.push(username.clone());
        Some(Place { places: Arc::clone(places), username: username.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().retain(|username| *username != self.username);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_one_place_and_all_together_have_few() {
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| name.parse().unwrap());
        let places = Arc::new(Places::new(2));
        let place = Places::take(&places, &ann).unwrap();
        assert!(Places::take(&places, &ann).is_none());
        let _other = Places::take(&places, &bob).unwrap();
        assert!(Places::take(&places, &eve).is_none());
        drop(place);
        assert!(Places::take(&places, &eve).is_some());
    }
}
