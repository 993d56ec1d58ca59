//! Lanes: queues in which requests gather into batches, called loads.
//!
//! A lane exists as long as a load waits in it or is under way. One task drives it: it dispatches the loads in their
//! order, each in a task of its own, so that a load that hangs or panics does not stop the others.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

/// A batch of requests that share one call.
pub(crate) trait Load: Default + Send + 'static {
    /// The request of one caller.
    type Part: Send;
    /// The answer to one caller.
    type Answer: Send;

    /// Returns whether the load still has room for this request; an empty load has room for anything.
    fn has_room_for(&self, part: &Self::Part) -> bool;

    /// Adds a caller. Dropping the load closes its channel, which callers see as an error.
    fn take(&mut self, part: Self::Part, caller: oneshot::Sender<Self::Answer>);
}

/// The rules for dispatching loads.
#[derive(Clone)]
pub(crate) struct Rules {
    /// The longest that a load waits while another load of its lane is under way.
    pub(crate) gathering: Duration,
    /// The most loads of one lane that are under way at once, so that a slow lane does not take all places.
    pub(crate) of_a_lane: usize,
    /// The most loads of all lanes that are under way at once, if there is a bound.
    pub(crate) places: Option<Arc<Semaphore>>,
    /// A load that found no place within this time is dropped.
    pub(crate) patience: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { gathering: Duration::ZERO, of_a_lane: usize::MAX, places: None, patience: Duration::MAX }
    }
}

/// The load was dropped: it was never dispatched, or broke off.
#[derive(Debug)]
pub(crate) struct Dropped;

/// All lanes of one kind.
pub(crate) struct Lanes<K, L>(Arc<Open<K, L>>);

/// The lanes that exist now.
struct Open<K, L> {
    lanes: Mutex<HashMap<K, Lane<L>>>,
    rules: Rules,
    /// The work of a load that is dispatched.
    leave: Box<Leave<K, L>>,
}

type Leave<K, L> = dyn Fn(K, L) -> BoxFuture<'static, ()> + Send + Sync;

struct Lane<L> {
    /// All loads but the last are full.
    waiting: VecDeque<Waiting<L>>,
    changed: Arc<Notify>,
}

struct Waiting<L> {
    load: L,
    since: Instant,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, L: Load> Lanes<K, L> {
    pub(crate) fn new(
        rules: Rules,
        leave: impl Fn(K, L) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Open { lanes: Mutex::default(), rules, leave: Box::new(leave) }))
    }

    /// Adds a request to a load and waits for the answer. Dropping this future does not cancel the load.
    pub(crate) async fn join(&self, key: K, part: L::Part) -> Result<L::Answer, Dropped> {
        let (caller, answer) = oneshot::channel();
        self.enter(key, part, caller);
        answer.await.map_err(|_| Dropped)
    }

    fn enter(&self, key: K, part: L::Part, caller: oneshot::Sender<L::Answer>) {
        let mut lanes = self.0.lanes();
        let (lane, is_new) = match lanes.entry(key.clone()) {
            Entry::Occupied(lane) => (lane.into_mut(), false),
            Entry::Vacant(none) => {
                (none.insert(Lane { waiting: VecDeque::new(), changed: Arc::default() }), true)
            }
        };
        match lane.waiting.back_mut() {
            Some(last) if last.load.has_room_for(&part) => last.load.take(part, caller),
            _ => {
                let mut load = L::default();
                load.take(part, caller);
                lane.waiting.push_back(Waiting { load, since: Instant::now() });
                lane.changed.notify_one();
            }
        }
        if is_new {
            let (changed, rules) = (lane.changed.clone(), self.0.rules.clone());
            let driven = Box::new(OneLane { open: self.0.clone(), key });
            tokio::spawn(drive(driven, rules, changed));
        }
    }

    /// Returns the number of lanes.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.0.lanes().len()
    }
}

impl<K, L> Open<K, L> {
    fn lanes(&self) -> MutexGuard<'_, HashMap<K, Lane<L>>> {
        // No panic under this lock leaves a change half done.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane, as its driver sees it. The trait object leaves one driver in the program, and not one for each kind of load.
trait Driven: Send + Sync {
    /// Returns the load to dispatch next.
    fn next(&self) -> Option<Next>;

    /// Takes the next load out of the lane: it accepts no more requests. The caller runs its work; dropping that drops
    /// the load.
    fn leave(&self) -> Option<BoxFuture<'static, ()>>;

    /// Closes the lane, unless a request came meanwhile.
    fn close(&self) -> bool;
}

/// The load to dispatch next.
struct Next {
    since: Instant,
    is_full: bool,
}

struct OneLane<K, L> {
    open: Arc<Open<K, L>>,
    key: K,
}

impl<K: Hash + Eq + Clone + Send + Sync, L: Load> Driven for OneLane<K, L> {
    fn next(&self) -> Option<Next> {
        let lanes = self.open.lanes();
        let lane = lanes.get(&self.key)?;
        let first = lane.waiting.front()?;
        Some(Next { since: first.since, is_full: lane.waiting.len() > 1 })
    }

    fn leave(&self) -> Option<BoxFuture<'static, ()>> {
        let first = {
            let mut lanes = self.open.lanes();
            let lane = lanes.get_mut(&self.key)?;
            let first = lane.waiting.pop_front()?;
            // A lane frees the memory that it needed at its fullest.
            if lane.waiting.is_empty() {
                mem::take(&mut lane.waiting);
            }
            first
        };
        Some((self.open.leave)(self.key.clone(), first.load))
    }

    fn close(&self) -> bool {
        let mut lanes = self.open.lanes();
        let is_empty = lanes.get(&self.key).is_none_or(|lane| lane.waiting.is_empty());
        if is_empty {
            lanes.remove(&self.key);
        }
        // The map frees the memory that it needed at its largest.
        if lanes.is_empty() {
            lanes.shrink_to_fit();
        }
        is_empty
    }
}

/// Dispatches a lane's loads until the lane is empty.
async fn drive(lane: Box<dyn Driven>, rules: Rules, changed: Arc<Notify>) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let next = lane.next();
        if next.is_none() && under_way.is_empty() && lane.close() {
            return;
        }
        let now = Instant::now();
        let wake = match next {
            None => None,
            Some(Next { since, is_full }) if under_way.len() < rules.of_a_lane => {
                let leaves = since.checked_add(rules.gathering);
                if under_way.is_empty() || is_full || leaves.is_some_and(|leaves| leaves <= now) {
                    let gives_up = since.checked_add(rules.patience);
                    // The load gathers until there is a place, and not longer: a caller that joined after it left would
                    // be given an answer to an older question.
                    if let Ok(place) = place(rules.places.clone(), gives_up).await {
                        if let Some(work) = lane.leave() {
                            under_way.spawn(async move {
                                work.await;
                                drop(place);
                            });
                        }
                    } else {
                        drop(lane.leave());
                    }
                    continue;
                }
                leaves
            }
            Some(Next { since, .. }) => {
                let gives_up = since.checked_add(rules.patience);
                if gives_up.is_some_and(|gives_up| gives_up <= now) {
                    drop(lane.leave());
                    continue;
                }
                gives_up
            }
        };
        tokio::select! {
            _ = under_way.join_next(), if !under_way.is_empty() => {}
            () = changed.notified() => {}
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
        }
    }
}

/// No place became free in time.
struct NoPlace;

/// Waits for a place among all lanes, if their number has a bound.
async fn place(
    places: Option<Arc<Semaphore>>,
    gives_up: Option<Instant>,
) -> Result<Option<OwnedSemaphorePermit>, NoPlace> {
    let Some(places) = places else { return Ok(None) };
    let place = match gives_up {
        None => places.acquire_owned().await,
        Some(until) => timeout_at(until, places.acquire_owned()).await.map_err(|_| NoPlace)?,
    };
    place.map(Some).map_err(|_| NoPlace)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::future::join_all;

    use super::*;

    /// The sum of all requests.
    #[derive(Default)]
    struct Sum(u64, Vec<oneshot::Sender<u64>>);

    impl Load for Sum {
        type Part = u64;
        type Answer = u64;

        fn has_room_for(&self, part: &u64) -> bool {
            self.0 + part <= 100
        }

        fn take(&mut self, part: u64, caller: oneshot::Sender<u64>) {
            self.0 += part;
            self.1.push(caller);
        }
    }

    const TAKES: Duration = Duration::from_millis(20);

    fn lanes(rules: Rules) -> Lanes<u8, Sum> {
        Lanes::new(rules, |key, sum: Sum| {
            Box::pin(async move {
                tokio::time::sleep(TAKES).await;
                assert_ne!(key, 1, "one panics");
                if key == 2 {
                    pending::<()>().await;
                }
                for caller in sum.1 {
                    let _ = caller.send(sum.0);
                }
            })
        })
    }

    /// Waits until the tasks that were begun have ended.
    async fn eventually_closed(lanes: &Lanes<u8, Sum>) {
        for _ in 0..100 {
            if lanes.open() == 0 {
                return;
            }
            tokio::time::sleep(TAKES).await;
        }
        panic!("{} lanes stay behind", lanes.open());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_stays_behind_whatever_became_of_it() {
        let lanes = Arc::new(lanes(Rules { gathering: Duration::from_millis(5), ..Rules::default() }));
        let answers = join_all((0..1000_u64).map(|n| lanes.join(3 + (n % 50) as u8, 1))).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok_and(|sum| sum == 20)));
        eventually_closed(&lanes).await;
        // The load panics.
        assert!(join_all((0..10).map(|_| lanes.join(1, 1))).await.into_iter().all(|told| told.is_err()));
        eventually_closed(&lanes).await;
        // All callers go away, before and after the load left.
        for wait in [Duration::ZERO, TAKES / 2] {
            let callers = join_all((0..10).map(|_| lanes.join(9, 1)));
            assert!(tokio::time::timeout(wait, callers).await.is_err());
            eventually_closed(&lanes).await;
        }
        assert_eq!(lanes.0.lanes().capacity(), 0, "no room is kept either");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_load_leaves_at_once_although_another_is_under_way() {
        let lanes = lanes(Rules { gathering: Duration::from_hours(1), ..Rules::default() });
        let begun = Instant::now();
        let first = async { (lanes.join(3, 1).await.unwrap(), begun.elapsed()) };
        let others = async {
            // The first one has left by then.
            tokio::time::sleep(TAKES / 4).await;
            let full = async { (lanes.join(3, 60).await.unwrap(), begun.elapsed()) };
            let next = async { (lanes.join(3, 50).await.unwrap(), begun.elapsed()) };
            tokio::join!(full, next)
        };
        let (first, (full, next)) = tokio::join!(first, others);
        assert_eq!(first, (1, TAKES));
        assert_eq!(full, (60, TAKES + TAKES / 4), "it left when the next one had no room in it");
        assert_eq!(next, (50, 2 * TAKES + TAKES / 4), "it left when both were back");
    }
}
