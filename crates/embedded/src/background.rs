//! The priority of threads that no request waits for.

/// How much less urgent than a request's such a thread is, as nice(1) counts. Beside one thread that never waits, it gets a
/// tenth of a core's time. The thread that drains the journal keeps its priority, so that the journal stays small.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lowers the priority of this thread, and of processes that it starts from now on. A thread that compresses files uses its
/// whole time slice, some milliseconds, for which a request would have to wait on a machine of few cores. Does nothing
/// where a priority belongs to the whole process, as it does everywhere but on Linux.
pub fn give_way_to_requests() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_thread_gives_way_and_the_others_do_not() {
        let priority = || rustix::process::nice(0).unwrap();
        let before = priority();
        let lowered = thread::spawn(move || {
            give_way_to_requests();
            priority()
        });
        assert_eq!((lowered.join().unwrap(), priority()), ((before + NICE).min(19), before));
    }
}
