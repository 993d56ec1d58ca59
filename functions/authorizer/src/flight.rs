//! Single-flight: concurrent requests for the same thing share one computation.
//!
//! A page that opens 64 connections presents the same credentials 64 times before the first answer is known;
//! without this, that is 64 computations of argon2id.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// Running computations by key.
pub(crate) struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Flight<T>>>,
}

struct Flight<T> {
    answer: Arc<OnceCell<T>>,
    passengers: usize,
}

impl<K: Hash + Eq + Copy, T: Clone> Flights<K, T> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::new(HashMap::new()) }
    }

    /// Returns the result of `compute`, or of the computation that another caller already runs for this key. If the
    /// computing caller is cancelled, one of the waiting callers starts again.
    pub(crate) async fn share<F: Future<Output = T>>(&self, key: K, compute: impl FnOnce() -> F) -> T {
        let seat = Seat::take(self, key);
        seat.answer.get_or_init(compute).await.clone()
    }

    /// Returns the number of waiting callers.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.under_way.lock().values().map(|flight| flight.passengers).sum()
    }
}

/// A caller's place in a flight. Dropping it leaves the flight, also when a client disconnects.
struct Seat<'a, K: Hash + Eq + Copy, T: Clone> {
    flights: &'a Flights<K, T>,
    key: K,
    answer: Arc<OnceCell<T>>,
}

impl<'a, K: Hash + Eq + Copy, T: Clone> Seat<'a, K, T> {
    fn take(flights: &'a Flights<K, T>, key: K) -> Self {
        let mut under_way = flights.under_way.lock();
        let flight = under_way.entry(key).or_insert_with(|| Flight { answer: Arc::default(), passengers: 0 });
        flight.passengers += 1;
        Self { flights, key, answer: flight.answer.clone() }
    }
}

impl<K: Hash + Eq + Copy, T: Clone> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        if let Some(flight) = under_way.get_mut(&self.key)
            && Arc::ptr_eq(&flight.answer, &self.answer)
        {
            flight.passengers -= 1;
            // A finished flight serves only the callers that joined before its answer; later callers start a new one.
            if flight.passengers == 0 || flight.answer.initialized() {
                under_way.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    type Numbers = Flights<u8, usize>;

    async fn count(counter: &AtomicUsize) -> usize {
        for _ in 0..10 {
            yield_now().await;
        }
        counter.fetch_add(1, Ordering::SeqCst)
    }

    #[tokio::test]
    async fn who_asks_at_the_same_time_shares_one_answer_and_who_asks_later_does_not() {
        let flights: Arc<Numbers> = Arc::new(Flights::new());
        let counter = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..64 {
            let (flights, counter) = (flights.clone(), counter.clone());
            tasks.spawn(async move { (n % 2, flights.share(n % 2, || count(&counter)).await) });
        }
        let answers = tasks.join_all().await;
        assert_eq!(counter.load(Ordering::SeqCst), 2, "one for each key");
        for key in 0..2 {
            let mut of_key = answers.iter().filter(|(n, _)| *n == key).map(|(_, answer)| answer);
            let first = of_key.next().unwrap();
            assert!(of_key.all(|answer| answer == first));
        }
        assert_eq!(flights.share(0, || count(&counter)).await, 2);
        assert!(flights.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn when_the_one_who_computes_goes_away_another_takes_over() {
        let flights: Arc<Numbers> = Arc::new(Flights::new());
        let first = tokio::spawn({
            let flights = flights.clone();
            async move { flights.share(1, pending).await }
        });
        yield_now().await;
        let second = tokio::spawn({
            let flights = flights.clone();
            async move { flights.share(1, async || 7).await }
        });
        yield_now().await;
        assert!(!second.is_finished(), "it waits for the first");
        first.abort();
        assert_eq!(second.await.unwrap(), 7);
        assert!(flights.under_way.lock().is_empty());
    }

    #[test]
    fn who_leaves_a_flight_that_has_landed_leaves_the_next_one_alone() {
        let flights = Numbers::new();
        let (first, late) = (Seat::take(&flights, 1), Seat::take(&flights, 1));
        first.answer.set(7).unwrap();
        drop(first);
        let next = Seat::take(&flights, 1);
        assert!(!next.answer.initialized());
        drop(late);
        assert!(Arc::ptr_eq(&next.answer, &Seat::take(&flights, 1).answer));
        drop(next);
        assert!(flights.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn nothing_stays_behind_when_all_go_away() {
        let flights: Arc<Numbers> = Arc::new(Flights::new());
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let flights = flights.clone();
            tasks.spawn(async move { flights.share(1, pending).await });
        }
        yield_now().await;
        assert_eq!(flights.under_way.lock()[&1].passengers, 3);
        tasks.shutdown().await;
        assert!(flights.under_way.lock().is_empty());
    }
}
