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
    sync::{Notify, Semaphore, oneshot},
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
pub(crate) struct Lanes<K, L>(Arc<Inner<K, L>>);

struct Inner<K, L> {
    open: Mutex<HashMap<K, Lane<L>>>,
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

/// The load that is to leave next.
struct Next {
    since: Instant,
    is_full: bool,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, L: Load> Lanes<K, L> {
    pub(crate) fn new(
        rules: Rules,
        leave: impl Fn(K, L) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner { open: Mutex::default(), rules, leave: Box::new(leave) }))
    }

    /// Waits for what becomes of the load that this is taken by. Going away ends nothing.
    pub(crate) async fn join(&self, key: K, part: L::Part) -> Result<L::Answer, Dropped> {
        let (caller, answer) = oneshot::channel();
        self.enter(key, part, caller);
        answer.await.map_err(|_| Dropped)
    }

    fn enter(&self, key: K, part: L::Part, caller: oneshot::Sender<L::Answer>) {
        let mut open = self.0.open();
        let (lane, is_new) = match open.entry(key.clone()) {
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
            tokio::spawn(self.0.clone().drive(key, lane.changed.clone()));
        }
    }

    /// How many lanes there are.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.0.open().len()
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, L: Load> Inner<K, L> {
    fn open(&self) -> MutexGuard<'_, HashMap<K, Lane<L>>> {
        // Nothing is left half done by what happens under this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the lane's loads leave until there is nothing more in it.
    async fn drive(self: Arc<Self>, key: K, changed: Arc<Notify>) {
        let mut under_way = JoinSet::new();
        loop {
            while under_way.try_join_next().is_some() {}
            let next = self.next(&key);
            if next.is_none() && under_way.is_empty() && self.close(&key) {
                return;
            }
            let now = Instant::now();
            let wake = match next {
                None => None,
                Some(Next { since, is_full }) if under_way.len() < self.rules.of_a_lane => {
                    let leaves = since.checked_add(self.rules.gathering);
                    if under_way.is_empty() || is_full || leaves.is_some_and(|leaves| leaves <= now) {
                        self.clone().leave(&key, since, &mut under_way).await;
                        continue;
                    }
                    leaves
                }
                Some(Next { since, .. }) => {
                    let gives_up = since.checked_add(self.rules.patience);
                    if gives_up.is_some_and(|gives_up| gives_up <= now) {
                        drop(self.take_next(&key));
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

    /// Lets the next load leave once there is a place. It gathers until then, and not longer: who asks after that would
    /// be given an answer to an older question.
    async fn leave(self: Arc<Self>, key: &K, since: Instant, under_way: &mut JoinSet<()>) {
        let place = match self.rules.places.clone() {
            None => None,
            Some(places) => {
                let acquired = match since.checked_add(self.rules.patience) {
                    None => places.acquire_owned().await.ok(),
                    Some(until) => timeout_at(until, places.acquire_owned()).await.ok().and_then(Result::ok),
                };
                let Some(place) = acquired else {
                    drop(self.take_next(key));
                    return;
                };
                Some(place)
            }
        };
        let (inner, key) = (self, key.clone());
        let Some(load) = inner.take_next(&key) else { return };
        under_way.spawn(async move {
            (inner.leave)(key, load).await;
            drop(place);
        });
    }

    fn next(&self, key: &K) -> Option<Next> {
        let open = self.open();
        let lane = open.get(key)?;
        let first = lane.waiting.front()?;
        Some(Next { since: first.since, is_full: lane.waiting.len() > 1 })
    }

    fn take_next(&self, key: &K) -> Option<L> {
        let mut open = self.open();
        let lane = open.get_mut(key)?;
        let first = lane.waiting.pop_front()?;
        // A lane that was crowded once keeps no room for that.
        if lane.waiting.is_empty() {
            mem::take(&mut lane.waiting);
        }
        Some(first.load)
    }

    /// Ends the lane, unless something came meanwhile.
    fn close(&self, key: &K) -> bool {
        let mut open = self.open();
        let is_empty = open.get(key).is_none_or(|lane| lane.waiting.is_empty());
        if is_empty {
            open.remove(key);
        }
        // As many lanes as there were once need no room any more.
        if open.is_empty() {
            open.shrink_to_fit();
        }
        is_empty
    }
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
        while lanes.open() > 0 {
            tokio::time::sleep(TAKES).await;
        }
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
        assert_eq!(lanes.0.open().capacity(), 0, "no room is kept either");
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
