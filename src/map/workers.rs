//! Works on many things at once, and hands their results on in order.
//!
//! A result that comes early is kept until its turn. Work does not run far ahead of the result whose turn it is, which bounds
//! the memory for results to a few for each worker.

use std::{collections::BTreeMap, thread};

use parking_lot::{Condvar, Mutex};

struct Order<R> {
    next_to_begin: usize,
    next_to_take: usize,
    finished: BTreeMap<usize, R>,
    is_over: bool,
}

struct Queue<R> {
    order: Mutex<Order<R>>,
    changed: Condvar,
}

impl<R> Queue<R> {
    /// Returns the next thing to work on, once there is room for its result.
    fn begin(&self, length: usize, ahead: usize) -> Option<usize> {
        let mut order = self.order.lock();
        loop {
            if order.is_over || order.next_to_begin >= length {
                return None;
            }
            if order.next_to_begin < order.next_to_take.saturating_add(ahead) {
                order.next_to_begin += 1;
                return Some(order.next_to_begin - 1);
            }
            self.changed.wait(&mut order);
        }
    }

    fn finish(&self, index: usize, result: R) {
        self.order.lock().finished.insert(index, result);
        self.changed.notify_all();
    }

    /// Returns the result whose turn it is.
    fn take(&self) -> R {
        let mut order = self.order.lock();
        loop {
            let next = order.next_to_take;
            if let Some(result) = order.finished.remove(&next) {
                order.next_to_take += 1;
                self.changed.notify_all();
                return result;
            }
            self.changed.wait(&mut order);
        }
    }

    fn end(&self) {
        self.order.lock().is_over = true;
        self.changed.notify_all();
    }
}

/// Does `work` for each of `things` on so many threads, with at most `ahead` results for each of them finished or under way,
/// and gives the results to `take` in the order of the things. An error
/// of `take` ends it: what is under way is finished first.
pub(super) fn in_order<T: Sync, R: Send, E>(
    things: &[T],
    workers: usize,
    ahead: usize,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(&T, R) -> Result<(), E>,
) -> Result<(), E> {
    let order = Order { next_to_begin: 0, next_to_take: 0, finished: BTreeMap::new(), is_over: false };
    let queue = Queue { order: Mutex::new(order), changed: Condvar::new() };
    let (queue, work) = (&queue, &work);
    thread::scope(|scope| {
        for _ in 0..workers.min(things.len()) {
            scope.spawn(move || {
                while let Some(index) = queue.begin(things.len(), workers.saturating_mul(ahead)) {
                    queue.finish(index, work(&things[index]));
                }
            });
        }
        let taken = things.iter().try_for_each(|thing| take(thing, queue.take()));
        queue.end();
        taken
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn results_come_in_order_once_each_and_work_never_runs_far_ahead(
            length in 0_usize..200, workers in 1_usize..9, ahead in 1_usize..5, pauses in prop::collection::vec(0_u64..200, 200),
        ) {
            let things: Vec<usize> = (0..length).collect();
            let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut results = Vec::new();
            let done = in_order(
                &things,
                workers,
                ahead,
                |&thing| {
                    let begun = begun.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(begun <= taken.load(Ordering::SeqCst) + workers * ahead + 1);
                    thread::sleep(std::time::Duration::from_micros(pauses[thing]));
                    thing
                },
                |_, result| {
                    taken.fetch_add(1, Ordering::SeqCst);
                    results.push(result);
                    Ok::<_, ()>(())
                },
            );
            prop_assert_eq!((done, results), (Ok(()), things));
        }

        #[test]
        fn an_error_ends_the_work_and_is_the_result(at in 0_usize..100, workers in 1_usize..9) {
            let things: Vec<usize> = (0..100).collect();
            let done = in_order(&things, workers, 4, |&thing| thing, |_, result| if result == at { Err(at) } else { Ok(()) });
            prop_assert_eq!(done, Err(at));
        }
    }
}
