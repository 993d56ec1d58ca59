//! The journal of events that are in no batch yet: its recovery at the start, and the handle that gives its writer events and
//! work.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};
use weir_core::{Clock, Increment, ports::PortError};

use crate::{
    Flush, OpenError,
    append::Append,
    commands::{AppendReply, Asked, Command, Duplicates, closed},
    delivery::{self, Batch, Deliveries},
    objects::RawFolder,
    overlay::Overlay,
    presence::{Lookout, Presence},
    recent_ids::RecentIds,
    store::{self, StoreError, at},
    writer::{OpenBatch, SLICE_BYTES, Writer},
};

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
}

/// The content of the journal when it was opened.
pub(crate) struct Recovered {
    next: u64,
    open_bytes: u64,
    unfinished: Vec<Batch>,
}

/// Rebuilds the overlay, and finds the unfinished batches.
pub(crate) fn recover(db: &mut Connection) -> rusqlite::Result<(Overlay, Recovered)> {
    let db = db.transaction()?;
    let (applied, in_raw): (u64, u64) =
        db.query_row("SELECT applied, in_raw FROM progress", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let unfinished = db
        .prepare("SELECT first, last, raw_key, written FROM batches ORDER BY first")?
        .query_map([], |row| {
            Ok(Batch { first: row.get(0)?, last: row.get(1)?, raw_key: row.get(2)?, written: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let cut = unfinished.last().map_or(applied, |batch| batch.last);
    let overlay = Overlay::starting_at(applied + 1);
    let (mut next, mut open_bytes, mut batch_before) = (applied + 1, 0, None);
    let mut rows = db.prepare("SELECT first, last, length(lines), increments FROM journal ORDER BY first")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last, bytes): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let increments: Vec<Increment> =
            serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
            })?;
        // Each batch's rows are a slice of their own, so that they are applied with that batch. A batch that was found in raw
        // may go on behind its last row in a store that was restored from a copy.
        let batch = unfinished.partition_point(|batch| batch.first <= first).checked_sub(1);
        let batch = batch.map(|at| unfinished[at].last).filter(|end| last <= *end);
        if batch != batch_before {
            overlay.close();
            batch_before = batch;
        }
        overlay.raise(last, bytes, increments);
        if overlay.open_bytes() >= SLICE_BYTES {
            overlay.close();
        }
        if first > cut {
            open_bytes += bytes;
        }
        next = last + 1;
    }
    if batch_before.is_some() {
        overlay.close();
    }
    Ok((overlay, Recovered { next: next.max(cut.max(in_raw) + 1), open_bytes, unfinished }))
}

impl Journal {
    pub(crate) fn start(
        connection: Connection,
        overlay: Arc<Overlay>,
        recovered: Recovered,
        flush: Flush,
        clock: Arc<dyn Clock>,
        raw: RawFolder,
        path: &Path,
    ) -> Result<(Self, Deliveries), OpenError> {
        let (commands, inbox) = mpsc::channel();
        let Recovered { next, open_bytes, unfinished } = recovered;
        let works = Works(commands.clone());
        let (outbox, deliveries) =
            delivery::start(works, Arc::clone(&overlay), raw, unfinished.clone(), path)?;
        let cut = unfinished.last().map_or(0, |batch| batch.last);
        // Events that an earlier process left wait for one more flush time at the most.
        let open = (open_bytes > 0).then(|| OpenBatch { bytes: open_bytes, since: Instant::now() });
        let first = if open.is_some() { first_open(&connection, cut).map_err(at(path))? } else { next };
        let ids = RecentIds::open(&connection, clock.elapsed()).map_err(at(path))?;
        let (db, outbox) = (connection, Some(outbox));
        let presence = Presence::default();
        let at = |source| OpenError::Folder { path: path.to_owned(), source };
        let lookout = Lookout::begin(path, presence.clone()).map_err(at)?;
        let writer = Writer { db, overlay, next, first, open, flush, clock, ids, outbox, lookout };
        thread::Builder::new()
            .name("weir-journal".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(at)?;
        let queue = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        Ok((Self { commands, queue, checked: AsyncMutex::new(None), presence }, deliveries))
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
        let answer = Works(self.commands.clone()).ask(what, work);
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

/// A handle that sends work to the writer.
#[derive(Clone)]
pub(crate) struct Works(mpsc::Sender<Command>);

impl Works {
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, PortError>> {
        let (reply, answer) = oneshot::channel();
        // If the writer has ended, the reply is dropped, which the caller sees as an error.
        let _ = self.0.send(Command::Work(Box::new(Asked::new(what, work, reply))));
        answer
    }
}

/// Returns the first event behind the last batch.
fn first_open(db: &Connection, cut: u64) -> rusqlite::Result<u64> {
    db.query_row("SELECT min(first) FROM journal WHERE first > ?1", [cut], |row| row.get(0))
}

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        Self::broken("the store", error)
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
        conformance::repeats::event,
        ports::{Appended, Stream},
    };

    use super::*;
    use crate::Embedded;

    /// Polls a future once.
    async fn is_pending(mut something: Pin<&mut impl Future>) -> bool {
        poll_fn(|context| Poll::Ready(something.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_to_be_stored_keeps_its_place_when_nobody_waits_for_it_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let journal = &engine.inner.journal;
        let (started, begun) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        let holding = Works(journal.commands.clone()).ask("holding", move |_| {
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
        assert!(matches!(again[..], [Appended::Duplicate]), "what was in the queue is stored: {again:?}");
        assert_eq!(journal.queue.available_permits(), QUEUE_KIB as usize - free);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_that_met_a_full_disk_is_not_remembered_and_stored_when_it_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let works = Works(engine.inner.journal.commands.clone());
        let limit = |pages: &'static str| {
            let limit = format!("PRAGMA max_page_count = {pages}");
            works.ask("limiting", move |db| db.query_row(&limit, [], |_| Ok(())))
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
    async fn work_behind_one_that_met_a_full_disk_takes_no_effect_and_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let works = Works(engine.inner.journal.commands.clone());
        let (started, begun) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        // The disk is as full as the database is large; the writer is held until the next two works wait together.
        let holding = works.ask("holding", move |db| {
            let pages: u64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            started.send(()).unwrap();
            held.recv().unwrap();
            Ok(())
        });
        begun.recv().unwrap();
        let full = works.ask("full", |db| {
            db.execute("INSERT INTO settled_batches VALUES (hex(zeroblob(100000)))", []).map(drop)
        });
        let late = works.ask("late", |db| db.execute("UPDATE progress SET applied = 77", []).map(drop));
        release.send(()).unwrap();
        holding.await.unwrap().unwrap();
        assert!(matches!(full.await.unwrap(), Err(PortError::NoSpace { .. })));
        assert!(late.await.unwrap().is_err());
        let applied = works.ask("reading", |db| {
            db.query_row("SELECT applied FROM progress", [], |row| row.get::<_, u64>(0))
        });
        assert_eq!(applied.await.unwrap().unwrap(), 0);
    }
}
