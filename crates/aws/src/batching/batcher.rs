//! Gathers requests by key, and makes one call for those that wait together.
//!
//! Each key has a queue and a task as long as requests of it wait or are under way. Permits bound the calls: a call
//! takes one of its key's and one of all keys'. Each call runs in a task of its own, so a call that hangs or panics does
//! not stop the others.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// The limits on calls: when they are made, and how many at once.
#[derive(Clone)]
pub(super) struct Limits {
    /// The longest that requests gather while a call of their key is under way.
    pub(super) gathering: Duration,
    /// The most calls of one key under way at once, so that a slow key leaves the others their permits.
    pub(super) of_a_key: u32,
    /// The permits of all keys.
    pub(super) permits: Arc<Semaphore>,
    /// A request that was not sent within this time fails.
    pub(super) patience: Duration,
}

/// The request has no answer: it was never sent, or its call broke off.
#[derive(Debug)]
pub(super) struct Dropped;

/// Returns the number of requests, from the head of a queue, that one call takes.
type Fits<R> = dyn Fn(&mut dyn Iterator<Item = &R>) -> usize + Send + Sync;

/// Makes one call for several requests, and returns an answer for each, in their order.
type Call<K, R, A> = dyn Fn(K, Vec<R>) -> BoxFuture<'static, Vec<A>> + Send + Sync;

/// Batches requests `R` by key `K`. Each caller gets an answer `A` of its own.
pub(super) struct Batcher<K, R, A>(Arc<Queues<K, R, A>>);

struct Queues<K, R, A> {
    by_key: Mutex<HashMap<K, mpsc::UnboundedSender<Request<R, A>>>>,
    limits: Limits,
    fits: Box<Fits<R>>,
    call: Box<Call<K, R, A>>,
}

/// A permit of a key, and one of all keys.
type Permit = (OwnedSemaphorePermit, OwnedSemaphorePermit);

struct Request<R, A> {
    content: R,
    since: Instant,
    caller: oneshot::Sender<A>,
}

impl<K, R, A> Batcher<K, R, A>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    R: Send + 'static,
    A: Send + 'static,
{
    pub(super) fn new(
        limits: Limits,
        fits: impl Fn(&mut dyn Iterator<Item = &R>) -> usize + Send + Sync + 'static,
        call: impl Fn(K, Vec<R>) -> BoxFuture<'static, Vec<A>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Queues {
            by_key: Mutex::default(),
            limits,
            fits: Box::new(fits),
            call: Box::new(call),
        }))
    }

    /// Waits for the answer to a request. Dropping the future does not cancel the request.
    pub(super) async fn ask(&self, key: K, content: R) -> Result<A, Dropped> {
        let (caller, answer) = oneshot::channel();
        self.0.enqueue(key, Request { content, since: Instant::now(), caller });
        answer.await.map_err(|_| Dropped)
    }
}

impl<K, R, A> Queues<K, R, A>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    R: Send + 'static,
    A: Send + 'static,
{
    fn enqueue(self: &Arc<Self>, key: K, request: Request<R, A>) {
        let mut by_key = self.by_key.lock();
        let queue = by_key.entry(key).or_insert_with_key(|key| {
            let (queue, requests) = mpsc::unbounded_channel();
            tokio::spawn(self.clone().serve(key.clone(), requests));
            queue
        });
        // The queue's task ends under the same lock, with the queue's removal. Only a runtime that shuts down drops it.
        let _ = queue.send(request);
    }

    /// Serves the queue of a key until it is empty and no call of it is under way.
    async fn serve(self: Arc<Self>, key: K, mut requests: mpsc::UnboundedReceiver<Request<R, A>>) {
        let Limits { gathering, of_a_key, patience, .. } = self.limits;
        let permits = Arc::new(Semaphore::new(of_a_key as usize));
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    _ = requests.recv_many(&mut waiting, usize::MAX) => {}
                    _ = permits.acquire_many(of_a_key) => {
                        if self.close(&key, &requests) {
                            return;
                        }
                    }
                }
            }
            let Some(oldest) = waiting.first().map(|request| request.since) else { continue };
            if self.fitting(&waiting) == waiting.len() {
                // Requests gather until no call of their key is under way, but for a bounded time.
                let _ = timeout_at(oldest + gathering, permits.acquire_many(of_a_key)).await;
            }
            let Ok(Ok(permit)) = timeout_at(oldest + patience, self.permit(permits.clone())).await else {
                // Dropping a request closes its channel, which its caller sees as an error.
                waiting.retain(|request| request.since.elapsed() < patience);
                continue;
            };
            // Takes what gathered meanwhile, and waits for no more.
            let _ = requests.recv_many(&mut waiting, usize::MAX).now_or_never();
            let batch = waiting.drain(..self.fitting(&waiting)).collect();
            tokio::spawn(self.clone().make_call(key.clone(), batch, permit));
        }
    }

    fn fitting(&self, waiting: &[Request<R, A>]) -> usize {
        (self.fits)(&mut waiting.iter().map(|request| &request.content)).max(1).min(waiting.len())
    }

    /// Waits for a permit of the key and one of all keys. Neither semaphore is ever closed.
    async fn permit(&self, of_key: Arc<Semaphore>) -> Result<Permit, AcquireError> {
        Ok((of_key.acquire_owned().await?, self.limits.permits.clone().acquire_owned().await?))
    }

    async fn make_call(self: Arc<Self>, key: K, batch: Vec<Request<R, A>>, _permit: Permit) {
        let (contents, callers): (Vec<R>, Vec<_>) =
            batch.into_iter().map(|request| (request.content, request.caller)).unzip();
        let answers = (self.call)(key, contents).await;
        for (caller, answer) in callers.into_iter().zip(answers) {
            // A caller that went away needs no answer.
            let _ = caller.send(answer);
        }
    }

    /// Removes the queue, unless a request came meanwhile.
    fn close(&self, key: &K, requests: &mpsc::UnboundedReceiver<Request<R, A>>) -> bool {
        let mut by_key = self.by_key.lock();
        if !requests.is_empty() {
            return false;
        }
        by_key.remove(key);
        // The map frees the memory that it needed at its largest.
        if by_key.is_empty() {
            by_key.shrink_to_fit();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::future::join_all;

    use super::*;

    const TAKES: Duration = Duration::from_millis(20);

    fn limits() -> Limits {
        Limits {
            gathering: Duration::from_millis(5),
            of_a_key: 4,
            permits: Arc::new(Semaphore::new(128)),
            patience: Duration::from_secs(2),
        }
    }

    /// Answers each request with the sum of its batch, which is at most 100.
    fn sums(limits: Limits) -> Batcher<u8, u64, u64> {
        let fits = |requests: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0;
            requests
                .take_while(|request| {
                    sum += **request;
                    sum <= 100
                })
                .count()
        };
        Batcher::new(limits, fits, |key, requests: Vec<u64>| {
            Box::pin(async move {
                tokio::time::sleep(TAKES).await;
                assert_ne!(key, 1, "one panics");
                if key == 2 {
                    pending::<()>().await;
                }
                vec![requests.iter().sum(); requests.len()]
            })
        })
    }

    /// Waits until the tasks that were begun have ended.
    async fn eventually_closed(sums: &Batcher<u8, u64, u64>) {
        for _ in 0..100 {
            if sums.0.by_key.lock().is_empty() {
                return;
            }
            tokio::time::sleep(TAKES).await;
        }
        panic!("{} queues stay behind", sums.0.by_key.lock().len());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_stays_behind_whatever_became_of_it() {
        let sums = Arc::new(sums(limits()));
        let answers = join_all((0..1000_u64).map(|n| sums.ask(3 + (n % 50) as u8, 1))).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok_and(|sum| sum == 20)));
        eventually_closed(&sums).await;
        // The call panics.
        assert!(join_all((0..10).map(|_| sums.ask(1, 1))).await.into_iter().all(|answer| answer.is_err()));
        eventually_closed(&sums).await;
        // All callers go away, before and after the call left.
        for wait in [Duration::ZERO, TAKES / 2] {
            let callers = join_all((0..10).map(|_| sums.ask(9, 1)));
            assert!(tokio::time::timeout(wait, callers).await.is_err());
            eventually_closed(&sums).await;
        }
        assert_eq!(sums.0.by_key.lock().capacity(), 0, "no room is kept either");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_leaves_at_once_although_another_is_under_way() {
        let sums = sums(Limits { gathering: TAKES / 2, ..limits() });
        let begun = Instant::now();
        let ask = async |request| (sums.ask(3, request).await.unwrap(), begun.elapsed());
        // All wait together; the last of them is no full batch.
        let answers = tokio::join!(ask(60), ask(70), ask(80), ask(10));
        let gathered = (90, TAKES + TAKES / 2);
        assert_eq!(answers, ((60, TAKES), (70, TAKES), gathered, gathered));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_hang_take_the_permits_of_their_key_only_and_later_callers_fail_in_time() {
        let sums = Arc::new(sums(limits()));
        let mut hanging = Vec::new();
        for _ in 0..100 {
            let sums = sums.clone();
            hanging.push(tokio::spawn(async move { sums.ask(2, 1).await }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begun = Instant::now();
        assert!(sums.ask(2, 1).await.is_err());
        assert_eq!(begun.elapsed(), limits().patience);
        let begun = Instant::now();
        assert_eq!(sums.ask(3, 1).await.unwrap(), 1);
        assert_eq!(begun.elapsed(), TAKES);
        let still_hanging = hanging.iter().filter(|caller| !caller.is_finished()).count();
        // The first call leaves at once, and each of the others after 5 ms.
        assert!((4..=20).contains(&still_hanging), "{still_hanging} are in the four calls");
    }
}
