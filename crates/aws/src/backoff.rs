//! Back-off between tries: exponential, with jitter, so that clients that were refused together do not come back together.

use std::{sync::Arc, time::Duration};

use weir_core::Random;

/// The waits between the tries of one call.
pub(crate) struct Backoff {
    wait: Duration,
    longest: Duration,
    random: Arc<dyn Random>,
}

impl Backoff {
    /// Begins with the wait `first`, which doubles up to `longest`.
    pub(crate) fn new(random: &Arc<dyn Random>, first: Duration, longest: Duration) -> Self {
        Self { wait: first, longest, random: Arc::clone(random) }
    }

    /// Returns how long to wait now: between a half and the whole of the wait.
    pub(crate) fn next(&mut self) -> Duration {
        let mut byte = [0];
        self.random.fill(&mut byte);
        let jittered = self.wait / 2 + self.wait * u32::from(byte[0]) / 512;
        self.wait = (self.wait * 2).min(self.longest);
        jittered
    }
}

#[cfg(test)]
mod tests {
    use weir_core::SystemRandom;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_at_least_half_of_it() {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let mut backoff = Backoff::new(&random, Duration::from_millis(50), Duration::from_millis(300));
        for whole in [50, 100, 200, 300, 300] {
            let wait = backoff.next();
            let whole = Duration::from_millis(whole);
            assert!((whole / 2..=whole).contains(&wait), "{wait:?} of {whole:?}");
        }
    }
}
