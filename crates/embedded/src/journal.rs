//! The journal of events that are in no batch yet, and the handle that passes events and jobs to its writer.
//!
//! - `recovery`: the journal that an earlier process left;
//! - `append`, `rejected`, `latest`: events, packed for the journal;
//! - `commands`: the commands to the writer; `writer`: the thread that carries them out;
//! - `overlay`: the counts of events that are in the journal;
//! - `batches`, `delivery`: batches on their way into raw; `stray`: batches in raw that the store does not know;
//! - `waiting`, `follow`: the events that are not filed yet, and new events, as other processes see them.

pub(crate) mod append;
pub(crate) mod batches;
mod commands;
pub(crate) mod delivery;
pub(crate) mod follow;
pub(crate) mod latest;
pub(crate) mod overlay;
pub(crate) mod recovery;
pub(crate) mod rejected;
pub(crate) mod stray;
pub(crate) mod waiting;
mod writer;

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot, watch};
use weir_core::{Clock, ports::PortError};

use crate::{
    dedup::recent::RecentIds,
    error::OpenError,
    folder::presence::{Lookout, Presence},
    minutes::Minutes,
    objects::RawFolder,
    store::{self, at},
};
use append::Append;
use batches::Flush;
use commands::{AppendReply, Command, Duplicates, WriterHandle, closed};
use delivery::Deliveries;
use overlay::Overlay;
use recovery::{Recovered, first_open};
use writer::{OpenBatch, Writer};

/// Backpressure: requests wait for a place in the queue once it has this many KiB, so that memory stays bounded. Events of
/// clients that went away keep their place.
const QUEUE_KIB: u32 = 64 << 10;

/// How long a request waits for a place. A disk that writes nothing for so long may not write at all.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The handle to the writer; dropping it ends the thread.
pub(crate) struct Journal {
    commands: mpsc::Sender<Command>,
    queue: Arc<Semaphore>,
    /// When the last health check succeeded: the result is cached for a second.
    checked: AsyncMutex<Option<Instant>>,
    presence: Presence,
    /// The number of the last event that was stored and answered.
    pub(crate) stored: watch::Receiver<u64>,
}

/// The counts that the writer raises in memory, once a commit.
pub(crate) struct CountsInMemory {
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) minutes: Arc<Minutes>,
}

impl Journal {
    pub(crate) fn start(
        connection: Connection,
        counts: CountsInMemory,
        recovered: Recovered,
        flush: Flush,
        clock: Arc<dyn Clock>,
        raw: RawFolder,
        path: &Path,
    ) -> Result<(Self, Deliveries), OpenError> {
        let CountsInMemory { overlay, minutes } = counts;
        let (commands, inbox) = mpsc::channel();
        let Recovered { next, open_bytes, unfinished, gone } = recovered;
        let handle = WriterHandle(commands.clone());
        let (outbox, deliveries) =
            delivery::start(handle, Arc::clone(&overlay), raw, unfinished.clone(), path)?;
        let cut = unfinished.last().map_or(0, |batch| batch.last);
        // Events that an earlier process left wait for one more flush time at the most.
        let open = (open_bytes > 0).then(|| OpenBatch { bytes: open_bytes, since: Instant::now() });
        let first = if open.is_some() { first_open(&connection, cut).map_err(at(path))? } else { next };
        let ids = RecentIds::open(&connection, clock.elapsed()).map_err(at(path))?.without(gone);
        let (db, outbox) = (connection, Some(outbox));
        let (stored, stored_so_far) = watch::channel(next - 1);
        let presence = Presence::default();
        let at = |source| OpenError::Folder { path: path.to_owned(), source };
        let lookout = Lookout::begin(path, presence.clone()).map_err(at)?;
        let writer =
            Writer { db, overlay, minutes, next, first, open, flush, clock, ids, outbox, lookout, stored };
        thread::Builder::new()
            .name("weir-journal".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(at)?;
        let queue = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        let checked = AsyncMutex::new(None);
        Ok((Self { commands, queue, checked, presence, stored: stored_so_far }, deliveries))
    }

    /// Makes events durable, and counts them; returns which of them are duplicates of earlier ones.
    pub(crate) async fn append(&self, append: Append) -> Result<Duplicates, PortError> {
        const WHAT: &str = "storing events";
        self.presence.check(WHAT)?;
        let kib = u32::try_from(append.bytes() / 1024).unwrap_or(QUEUE_KIB).clamp(1, QUEUE_KIB);
        let place = tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.queue).acquire_many_owned(kib)).await;
        let full = |_| PortError::unavailable(WHAT, "too many events wait to be stored");
        let place = place.map_err(full)?.map_err(|_| closed(WHAT))?;
        let (reply, answer) = oneshot::channel();
        // A client that goes away does not remove its events from the queue: they keep their place until they are stored.
        let reply = AppendReply { answer: reply, place };
        self.commands.send(Command::Append { append, reply }).map_err(|_| closed(WHAT))?;
        answer.await.unwrap_or_else(|_| Err(closed(WHAT)))
    }

    /// Runs `work` in a transaction of the writer's; durable when this returns.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PortError> {
        let answer = WriterHandle(self.commands.clone()).run(what, work);
        answer.await.unwrap_or_else(|_| Err(closed(what)))
    }

    /// Checks that a commit reaches the disk, and the files that a start would find; at most once a second.
    pub(crate) async fn check(&self) -> Result<(), PortError> {
        const WHAT: &str = "writing to the store";
        self.presence.check(WHAT)?;
        let mut checked = self.checked.lock().await;
        if checked.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return Ok(());
        }
        self.work(WHAT, store::touch).await?;
        self.presence.check(WHAT)?;
        *checked = Some(Instant::now());
        Ok(())
    }

    pub(crate) async fn flush(&self) -> Result<(), PortError> {
        const WHAT: &str = "cutting a batch";
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Flush(reply)).map_err(|_| closed(WHAT))?;
        answer.await.unwrap_or_else(|_| Err(closed(WHAT)))
    }

    pub(crate) async fn stop_appending(&self) -> Result<(), PortError> {
        let flushed = self.flush().await;
        // If the thread has ended, there is nothing to stop.
        let _ = self.commands.send(Command::StopAppending);
        flushed
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::End);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::{Pin, pin},
        task::Poll,
    };

    use weir_core::{
        conformance::dedup::event,
        ports::{Appended, Stream},
    };

    use super::*;
    use crate::engine::Embedded;

    /// Polls a future once.
    async fn is_pending(mut something: Pin<&mut impl Future>) -> bool {
        poll_fn(|context| Poll::Ready(something.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_to_be_stored_keeps_its_place_when_its_caller_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let journal = &engine.inner.journal;
        let (started, begun) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        let holding = WriterHandle(journal.commands.clone()).run("holding", move |_| {
            started.send(()).unwrap();
            held.recv().unwrap();
            Ok(())
        });
        begun.recv().unwrap();
        let user = "u".parse().unwrap();
        let append = |name: &str| engine.append(vec![event(&user, name, &"x".repeat(100 << 10))]);
        for n in 0..20 {
            let appending = append(&format!("e-{n}"));
            // The first poll puts the event into the queue; then its client goes away.
            assert!(is_pending(pin!(appending)).await);
        }
        let free = journal.queue.available_permits();
        assert!(free <= QUEUE_KIB as usize - 20 * 100, "{free} KiB are free");
        // A request that finds no place waits for one, and gets it.
        let _rest = journal.queue.acquire_many(u32::try_from(free).unwrap()).await.unwrap();
        let mut late = pin!(append("late"));
        assert!(is_pending(late.as_mut()).await);
        assert_eq!(journal.queue.available_permits(), 0);
        release.send(()).unwrap();
        holding.await.unwrap().unwrap();
        assert!(matches!(late.await[..], [Appended::Counted]));
        let again = append("e-19").await;
        assert!(
            matches!(again[..], [Appended::Duplicate { .. }]),
            "what was in the queue is stored: {again:?}"
        );
        assert_eq!(journal.queue.available_permits(), QUEUE_KIB as usize - free);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_that_met_a_full_disk_is_not_remembered_and_stored_when_it_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let writer = WriterHandle(engine.inner.journal.commands.clone());
        let limit = |pages: &'static str| {
            let limit = format!("PRAGMA max_page_count = {pages}");
            writer.run("limiting", move |db| db.query_row(&limit, [], |_| Ok(())))
        };
        limit("1").await.unwrap().unwrap();
        let user = "u".parse().unwrap();
        // The events' ids fit into the existing pages; their lines do not.
        let records: Vec<_> = (0..3).map(|n| event(&user, &format!("e-{n}"), &"x".repeat(9000))).collect();
        let refused = engine.append(records.clone()).await;
        assert!(refused.iter().all(|outcome| matches!(outcome, Appended::Refused(_))), "{refused:?}");
        limit("1000000").await.unwrap().unwrap();
        for (records, new) in [(records[..1].to_vec(), true), (records.clone(), false)] {
            let outcomes = engine.append(records).await;
            assert!(matches!(outcomes[0], Appended::Counted) == new, "{outcomes:?}");
            assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Appended::Counted)));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_after_one_that_met_a_full_disk_takes_no_effect_and_fails() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let writer = WriterHandle(engine.inner.journal.commands.clone());
        let (started, begun) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        // The disk is as full as the database is large; the writer is held until the next two works wait together.
        let holding = writer.run("holding", move |db| {
            let pages: u64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            started.send(()).unwrap();
            held.recv().unwrap();
            Ok(())
        });
        begun.recv().unwrap();
        let full = writer.run("full", |db| {
            db.execute("INSERT INTO settled_batches VALUES (hex(zeroblob(100000)))", []).map(drop)
        });
        let late = writer.run("late", |db| db.execute("UPDATE progress SET applied = 77", []).map(drop));
        release.send(()).unwrap();
        holding.await.unwrap().unwrap();
        assert!(matches!(full.await.unwrap(), Err(PortError::NoSpace { .. })));
        assert!(late.await.unwrap().is_err());
        let applied = writer.run("reading", |db| {
            db.query_row("SELECT applied FROM progress", [], |row| row.get::<_, u64>(0))
        });
        assert_eq!(applied.await.unwrap().unwrap(), 0);
    }
}
