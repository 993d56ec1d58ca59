//! The writer: one thread that drains what is waiting, commits it once and acknowledges everybody.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};
use weir_core::{Clock, Counter, Increment, Record, counts, ports::PortError};

use crate::{
    Flush, OpenError,
    delivery::{self, Batch, Deliveries, Delivery},
    folder,
    objects::RawFolder,
    overlay::Overlay,
    store::{StoreError, at, port_error},
};

/// A commit takes no more waiting events once it has this many bytes: enough to share an fsync among many, little
/// enough not to keep them waiting for each other.
const COMMIT_BYTES: u64 = 1 << 20;

/// A generation of the overlay is closed at this size: what one transaction applies to the stored counts.
const SLICE_BYTES: u64 = 1 << 20;

/// Requests wait for a place in the queue once this many KiB are in it, so that memory stays bounded.
const QUEUE_KIB: u32 = 64 << 10;

/// Several records, packed for the journal.
pub(crate) struct Append {
    lines: Vec<u8>,
    events: u64,
    increments: Vec<Increment>,
}

impl Append {
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut lines = Vec::with_capacity(records.iter().map(|record| record.line().len()).sum());
        for record in records {
            lines.extend_from_slice(record.line());
        }
        Self { lines, events: records.len() as u64, increments: counts::increments(records) }
    }
}

/// Something to do in a transaction of the writer's, besides appending.
trait Work: Send {
    fn run(&mut self, db: &Connection);
    /// What went wrong with it, if anything did.
    fn failure(&mut self) -> Option<rusqlite::Error>;
    /// Tells whoever asked, once the transaction is over.
    fn finish(self: Box<Self>, committed: Result<(), PortError>);
}

struct Asked<F, T> {
    what: &'static str,
    work: Option<F>,
    answer: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> rusqlite::Result<T> + Send> Work for Asked<F, T> {
    fn run(&mut self, db: &Connection) {
        let Some(work) = self.work.take() else { return };
        // A savepoint, so that work that fails half-way leaves nothing in a transaction that others share.
        self.answer = Some((|| {
            db.prepare_cached("SAVEPOINT work")?.execute([])?;
            let answer = work(db);
            // After a failure that rolled everything back, there is no savepoint any more.
            if answer.is_err() && !db.is_autocommit() {
                db.prepare_cached("ROLLBACK TO work")?.execute([])?;
            }
            if !db.is_autocommit() {
                db.prepare_cached("RELEASE work")?.execute([])?;
            }
            answer
        })());
    }

    fn failure(&mut self) -> Option<rusqlite::Error> {
        self.answer.take().and_then(Result::err)
    }

    fn finish(self: Box<Self>, committed: Result<(), PortError>) {
        let answer = match (committed, self.answer) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(answer)) => answer.map_err(|error| port_error(self.what, error)),
            (Ok(()), None) => Err(closed(self.what)),
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(answer);
    }
}

enum Command {
    Append {
        append: Append,
        reply: oneshot::Sender<Result<(), PortError>>,
    },
    Work(Box<dyn Work>),
    /// Cut a batch; the reply comes once all batches up to it are in raw.
    Flush(oneshot::Sender<Result<(), PortError>>),
    /// Take no more events, and end the deliveries.
    StopAppending,
    /// End the thread.
    End,
}

fn closed(what: &'static str) -> PortError {
    PortError::unavailable(what, "the store is closed")
}

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
        let _ = self.0.send(Command::Work(Box::new(Asked { what, work: Some(work), answer: None, reply })));
        answer
    }
}

/// The events that are in no batch yet.
struct OpenBatch {
    bytes: u64,
    since: Instant,
}

struct Writer {
    db: Connection,
    overlay: Arc<Overlay>,
    /// The next event's sequence number.
    next: u64,
    /// The first event that is in no batch.
    first: u64,
    open: Option<OpenBatch>,
    flush: Flush,
    clock: Arc<dyn Clock>,
    /// To the thread that writes batches; none once appending was stopped.
    outbox: Option<mpsc::Sender<Delivery>>,
}

/// What one round of the writer does.
#[derive(Default)]
struct Round {
    lines: Vec<u8>,
    events: u64,
    increments: BTreeMap<Counter, u64>,
    appended: Vec<oneshot::Sender<Result<(), PortError>>>,
    works: Vec<Box<dyn Work>>,
    flushed: Vec<oneshot::Sender<Result<(), PortError>>>,
    end: bool,
}

impl Round {
    fn take(&mut self, command: Command, appending: bool) {
        match command {
            Command::Append { append, reply } if appending => {
                // The usual round of one request costs no copy.
                if self.lines.is_empty() {
                    self.lines = append.lines;
                } else {
                    self.lines.extend_from_slice(&append.lines);
                }
                self.events += append.events;
                for Increment { counter, by } in append.increments {
                    *self.increments.entry(counter).or_default() += by;
                }
                self.appended.push(reply);
            }
            Command::Append { reply, .. } => drop(reply.send(Err(closed("storing events")))),
            Command::Work(work) => self.works.push(work),
            Command::Flush(reply) => self.flushed.push(reply),
            Command::StopAppending => {}
            Command::End => self.end = true,
        }
    }

    fn bytes(&self) -> u64 {
        self.lines.len() as u64
    }
}

impl Writer {
    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        loop {
            let command = match self.until_due() {
                Some(wait) => match inbox.recv_timeout(wait) {
                    Ok(command) => Some(command),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                },
                None => match inbox.recv() {
                    Ok(command) => Some(command),
                    Err(mpsc::RecvError) => return,
                },
            };
            let mut round = Round::default();
            let mut stop = false;
            let mut next = command;
            while let Some(command) = next {
                stop |= matches!(command, Command::StopAppending);
                round.take(command, self.outbox.is_some() && !stop);
                next = if round.bytes() < COMMIT_BYTES && !round.end { inbox.try_recv().ok() } else { None };
            }
            let end = round.end;
            self.commit(round);
            if stop {
                self.outbox = None;
            }
            if end {
                return;
            }
        }
    }

    /// How long until the open batch is old enough to be cut.
    fn until_due(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| self.flush.every.saturating_sub(open.since.elapsed()))
    }

    fn commit(&mut self, mut round: Round) {
        let batch = self.batch_to_cut(&round);
        let result = self.transact(&mut round, batch.as_ref());
        let nobody_told = round.appended.is_empty() && round.works.is_empty();
        if result.is_ok() {
            self.note(&mut round, batch.is_some());
        }
        for reply in round.appended {
            // A client that gave up is not told.
            let _ = reply.send(result.clone());
        }
        for work in round.works {
            work.finish(result.clone());
        }
        match (&self.outbox, &result) {
            // The thread at the other end lives as long as this one.
            (Some(outbox), Ok(())) => {
                if let Some(batch) = batch {
                    let _ = outbox.send(Delivery::Batch(batch));
                }
                for reply in round.flushed {
                    let _ = outbox.send(Delivery::Barrier(reply));
                }
            }
            (_, result) => {
                for reply in round.flushed {
                    let _ = reply.send((*result).clone());
                }
            }
        }
        if let Err(error) = result {
            if nobody_told {
                tracing::error!(%error, "a batch cannot be cut yet; its events stay in the journal");
            }
            // Most failures here (a full disk) last: do not spin on them.
            thread::sleep(if nobody_told { Duration::from_secs(1) } else { Duration::from_millis(20) });
        }
    }

    /// The batch that this round completes, if it does.
    fn batch_to_cut(&self, round: &Round) -> Option<Batch> {
        let last = self.next + round.events - 1;
        let bytes = self.open.as_ref().map_or(0, |open| open.bytes) + round.bytes();
        let due = !round.flushed.is_empty()
            || bytes >= self.flush.size
            || self.until_due().is_some_and(|wait| wait.is_zero());
        (due && last >= self.first && self.outbox.is_some()).then(|| Batch {
            first: self.first,
            last,
            raw_key: raw_key(self.clock.now(), self.first, last),
            written: false,
        })
    }

    fn transact(&mut self, round: &mut Round, batch: Option<&Batch>) -> Result<(), PortError> {
        let what = "writing to the store";
        let last = self.next + round.events - 1;
        let committed = (|| -> rusqlite::Result<()> {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if round.events > 0 {
                let increments: Vec<Increment> = round
                    .increments
                    .iter()
                    .map(|(counter, by)| Increment { counter: counter.clone(), by: *by })
                    .collect();
                let increments = serde_json::to_string(&increments).expect("plain data serialises");
                transaction
                    .prepare_cached(
                        "INSERT INTO journal (first, last, increments, lines) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![self.next, last, increments, round.lines])?;
            }
            if let Some(Batch { first, last, raw_key, .. }) = batch {
                transaction
                    .prepare_cached("INSERT INTO batches (first, last, raw_key) VALUES (?1, ?2, ?3)")?
                    .execute(params![first, last, raw_key])?;
            }
            for work in &mut round.works {
                work.run(&transaction);
                // A full disk makes SQLite roll the whole transaction back by itself. Work that came after would then
                // run, and take effect, in one of its own, although everybody in this round is told of a failure.
                if transaction.is_autocommit() {
                    return Err(work.failure().unwrap_or(rusqlite::Error::ExecuteReturnedResults));
                }
            }
            transaction.commit()
        })();
        committed.or_else(|error| {
            if self.is_in_store(round, batch, last) { Ok(()) } else { Err(port_error(what, error)) }
        })
    }

    /// After a commit that failed: whether it took effect all the same. SQLite says so when only the checkpoint
    /// behind it failed, for example; refusing events that are stored would have them sent, and counted, twice.
    fn is_in_store(&self, round: &Round, batch: Option<&Batch>, last: u64) -> bool {
        let exists = |table: &str, first: u64, last: u64| {
            let row = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE first = ?1 AND last = ?2)");
            self.db.query_row(&row, [first, last], |row| row.get(0)).unwrap_or(false)
        };
        // Either row tells, as they are in one transaction.
        self.db.is_autocommit()
            && (round.events > 0 && exists("journal", self.next, last)
                || batch.is_some_and(|batch| exists("batches", batch.first, batch.last)))
    }

    /// Brings memory up to what was committed.
    fn note(&mut self, round: &mut Round, cut: bool) {
        let bytes = round.bytes();
        if round.events > 0 {
            self.next += round.events;
            let increments = std::mem::take(&mut round.increments);
            let increments = increments.into_iter().map(|(counter, by)| Increment { counter, by });
            self.overlay.raise(self.next - 1, bytes, increments);
            self.open.get_or_insert(OpenBatch { bytes: 0, since: Instant::now() }).bytes += bytes;
        }
        if cut || self.overlay.open_bytes() >= SLICE_BYTES {
            self.overlay.close();
        }
        if cut {
            self.open = None;
            self.first = self.next;
        }
    }
}

/// The first event behind the last batch.
fn first_open(db: &Connection, cut: u64) -> rusqlite::Result<u64> {
    db.query_row("SELECT min(first) FROM journal WHERE first > ?1", [cut], |row| row.get(0))
}

/// A batch's key in raw: foldered by hour as Firehose does, named by its range.
fn raw_key(now: weir_core::Timestamp, first: u64, last: u64) -> String {
    let [year, month, day, hour] = now.hour().parts();
    format!("{year}/{month:02}/{day:02}/{hour:02}/{first:020}-{last:020}.{}", folder::SUFFIX)
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
