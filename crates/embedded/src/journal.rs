//! The journal of events that are in no batch yet: recovering it at the start, and the handle that gives its writer
//! events and work.

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
    delivery::{self, Batch, Deliveries},
    objects::RawFolder,
    overlay::Overlay,
    store::{StoreError, at},
    writer::{Append, Asked, Command, OpenBatch, SLICE_BYTES, Writer, closed},
};

/// Requests wait for a place in the queue once this many KiB are in it, so that memory stays bounded.
const QUEUE_KIB: u32 = 64 << 10;

/// The handle to the writer; the thread ends when it is dropped.
pub(crate) struct Journal {
    commands: mpsc::Sender<Command>,
    queue: Semaphore,
    /// When the last health check succeeded: another one within a second costs nothing.
    checked: AsyncMutex<Option<Instant>>,
}

/// What the journal held when it was opened.
pub(crate) struct Recovered {
    next: u64,
    open_bytes: u64,
    unfinished: Vec<Batch>,
}

/// Rebuilds the overlay, and finds the batches that were on their way.
pub(crate) fn recover(db: &mut Connection) -> rusqlite::Result<(Overlay, Recovered)> {
    let db = db.transaction()?;
    let applied: u64 = db.query_row("SELECT applied FROM progress", [], |row| row.get(0))?;
    let unfinished = db
        .prepare("SELECT first, last, raw_key, written FROM batches ORDER BY first")?
        .query_map([], |row| {
            Ok(Batch { first: row.get(0)?, last: row.get(1)?, raw_key: row.get(2)?, written: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let cut = unfinished.last().map_or(applied, |batch| batch.last);
    let overlay = Overlay::starting_at(applied + 1);
    let (mut next, mut open_bytes) = (applied + 1, 0);
    let mut rows = db.prepare("SELECT first, last, length(lines), increments FROM journal ORDER BY first")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last, bytes): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let increments: Vec<Increment> =
            serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
            })?;
        overlay.raise(last, bytes, increments);
        if overlay.open_bytes() >= SLICE_BYTES || unfinished.iter().any(|batch| batch.last == last) {
            overlay.close();
        }
        if first > cut {
            open_bytes += bytes;
        }
        next = last + 1;
    }
    Ok((overlay, Recovered { next: next.max(cut + 1), open_bytes, unfinished }))
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
        // What an earlier process left waits for one more flush time at the most.
        let open = (open_bytes > 0).then(|| OpenBatch { bytes: open_bytes, since: Instant::now() });
        let first = if open.is_some() { first_open(&connection, cut).map_err(at(path))? } else { next };
        let writer =
            Writer { db: connection, overlay, next, first, open, flush, clock, outbox: Some(outbox) };
        thread::Builder::new()
            .name("weir-journal".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(|source| OpenError::Folder { path: path.to_owned(), source })?;
        let queue = Semaphore::new(QUEUE_KIB as usize);
        Ok((Self { commands, queue, checked: AsyncMutex::new(None) }, deliveries))
    }

    /// Makes events durable, and counts them.
    pub(crate) async fn append(&self, append: Append) -> Result<(), PortError> {
        const WHAT: &str = "storing events";
        let kib = u32::try_from(append.lines.len() / 1024).unwrap_or(QUEUE_KIB).clamp(1, QUEUE_KIB);
        let _place = self.queue.acquire_many(kib).await.map_err(|_| closed(WHAT))?;
        let (reply, answer) = oneshot::channel();
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

    /// Whether a commit reaches the disk; asked at most once a second.
    pub(crate) async fn check(&self) -> Result<(), PortError> {
        let mut checked = self.checked.lock().await;
        if checked.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return Ok(());
        }
        let touch = |db: &Connection| db.execute("UPDATE progress SET applied = applied", []).map(drop);
        self.work("writing to the store", touch).await?;
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
        // If the thread is gone, there is nothing to stop.
        let _ = self.commands.send(Command::StopAppending);
        flushed
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::End);
    }
}

/// Hands work to the writer.
#[derive(Clone)]
pub(crate) struct Works(mpsc::Sender<Command>);

impl Works {
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, PortError>> {
        let (reply, answer) = oneshot::channel();
        // If the writer is gone, the reply is dropped, which is the answer.
        let _ = self.0.send(Command::Work(Box::new(Asked::new(what, work, reply))));
        answer
    }
}

/// The first event behind the last batch.
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
    use super::*;
    use crate::Embedded;

    #[tokio::test(flavor = "multi_thread")]
    async fn work_behind_one_that_met_a_full_disk_takes_no_effect_and_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let works = Works(engine.inner.journal.commands.clone());
        let (started, begun) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        // The disk is as full as the database is large; the writer is held until the next two wait together.
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
        assert!(matches!(full.await.unwrap(), Err(PortError::Unavailable { .. })));
        assert!(late.await.unwrap().is_err());
        let applied = works.ask("reading", |db| {
            db.query_row("SELECT applied FROM progress", [], |row| row.get::<_, u64>(0))
        });
        assert_eq!(applied.await.unwrap().unwrap(), 0);
    }
}
