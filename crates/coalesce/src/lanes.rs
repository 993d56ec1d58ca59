//! Lanes: what belongs together gathers in one, and leaves together.
//!
//! A lane is there as long as something waits in it or is under way. One task drives it: it sees to it that loads leave
//! in their order, each in a task of its own, so that one that hangs or panics keeps nobody else from leaving.

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

/// What gathers.
pub(crate) trait Load: Default + Send + 'static {
    /// What one caller brings.
    type Part: Send;
    /// What one caller is told.
    type Answer: Send;

    /// Whether there is still room for this; an empty one has room for anything.
    fn has_room_for(&self, part: &Self::Part) -> bool;

    /// Takes it, and whom to tell. Who is not told, as the load is dropped, knows that by it.
    fn take(&mut self, part: Self::Part, caller: oneshot::Sender<Self::Answer>);
}

/// When loads leave.
#[derive(Clone)]
pub(crate) struct Rules {
    /// How long a load waits at the most while another one of its lane is under way.
    pub(crate) gathering: Duration,
    /// How many of one lane are under way at once, so that one that is slow does not take all places.
    pub(crate) of_a_lane: usize,
    /// How many of all lanes are under way at once, if that has a bound.
    pub(crate) places: Option<Arc<Semaphore>>,
    /// What could not leave after this time, as there was no place, never does.
    pub(crate) patience: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { gathering: Duration::ZERO, of_a_lane: usize::MAX, places: None, patience: Duration::MAX }
    }
}

/// The load was dropped: it never left, or broke off.
#[derive(Debug)]
pub(crate) struct Dropped;

/// All lanes of one kind.
pub(crate) struct Lanes<K, L>(Arc<Open<K, L>>);

/// Those that there are.
struct Open<K, L> {
    lanes: Mutex<HashMap<K, Lane<L>>>,
    rules: Rules,
    /// What a load does once it leaves.
    leave: Box<Leave<K, L>>,
}

type Leave<K, L> = dyn Fn(K, L) -> BoxFuture<'static, ()> + Send + Sync;

struct Lane<L> {
    /// All but the last are full.
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

    /// Waits for what becomes of the load that this is taken by. Going away ends nothing.
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

    /// How many lanes there are.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.0.lanes().len()
    }
}

impl<K, L> Open<K, L> {
    fn lanes(&self) -> MutexGuard<'_, HashMap<K, Lane<L>>> {
        // Nothing is left half done by what happens under this lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane, as its driver sees it. Behind a trait there is one driver in the program, and not one for each kind of load.
trait Driven: Send + Sync {
    /// What is to leave next.
    fn next(&self) -> Option<Next>;

    /// Lets it leave: nothing is taken by it any more. Its work is the caller's to do; dropped, it comes to nothing.
    fn leave(&self) -> Option<BoxFuture<'static, ()>>;

    /// Ends the lane, unless something came meanwhile.
    fn close(&self) -> bool;
}

/// The load that is to leave next.
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
            // A lane that was crowded once keeps no room for that.
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
        // As many lanes as there were once need no room any more.
        if lanes.is_empty() {
            lanes.shrink_to_fit();
        }
        is_empty
    }
}

/// Lets a lane's loads leave until there is nothing more in it.
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
                    // It gathers until there is a place, and not longer: who asks after it left would be given an answer
                    // to an older question.
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

/// There was no place in time.
struct NoPlace;

/// Waits for a place among all lanes, where their number has a bound.
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

    /// What all of them brought, together.
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

    /// Until the tasks that were begun have ended.
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
        // Panics.
        assert!(join_all((0..10).map(|_| lanes.join(1, 1))).await.into_iter().all(|told| told.is_err()));
        eventually_closed(&lanes).await;
        // All callers go away, before and after it left.
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
