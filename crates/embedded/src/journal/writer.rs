//! The writer: one thread that drains the queue, commits it once and acknowledges every request (group commit).

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior, params};
use tokio::sync::{oneshot, watch};
use weir_core::{Clock, Counter, Increment, minutes::Arrivals, ports::PortError};

use super::{
    append::{Append, Row},
    batches::{Batch, Delivery, Flush},
    commands::{AppendReply, Command, Job, closed},
    latest::RowLatest,
    overlay::{Overlay, SLICE_BYTES},
    rejected::{self, RejectedRow},
};
use crate::{
    dedup::recent::RecentIds,
    folder::presence::Lookout,
    minutes::Minutes,
    objects::batches::{hour_folder, raw_key},
    store::{self, port_error},
};

/// A commit takes no more waiting events once it has this many bytes: large enough that many callers share an fsync, and small
/// enough that they do not wait long for each other.
const COMMIT_BYTES: u64 = 1 << 20;

/// A server without work saves the age of recent ids this often.
const IDLE: Duration = Duration::from_hours(1);

/// The events that are in no batch yet.
pub(crate) struct OpenBatch {
    pub(crate) bytes: u64,
    pub(crate) since: Instant,
}

pub(crate) struct Writer {
    pub(crate) db: Connection,
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) minutes: Arc<Minutes>,
    /// The next event's sequence number.
    pub(crate) next: u64,
    /// The first event that is in no batch.
    pub(crate) first: u64,
    pub(crate) open: Option<OpenBatch>,
    pub(crate) flush: Flush,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: RecentIds,
    /// The channel to the thread that writes batches; `None` once appending was stopped.
    pub(crate) outbox: Option<mpsc::Sender<Delivery>>,
    pub(crate) lookout: Lookout,
    /// Publishes the number of the last stored event to streams of events.
    pub(crate) stored: watch::Sender<u64>,
}

/// The commands that one commit of the writer handles.
#[derive(Default)]
struct Round {
    lines: Vec<u8>,
    events: u64,
    increments: BTreeMap<Counter, u64>,
    arrivals: Vec<Arrivals>,
    latest: RowLatest,
    appended: Vec<AppendReply>,
    rejected: Vec<RejectedRow>,
    /// Events that may have come before: the transaction looks them up, and adds the new ones.
    repeating: Vec<(Append, AppendReply)>,
    repeating_bytes: u64,
    jobs: Vec<Box<dyn Job>>,
    flushed: Vec<oneshot::Sender<Result<(), PortError>>>,
    end: bool,
}

impl Round {
    fn take(&mut self, command: Command, appending: bool) {
        match command {
            Command::Append { mut append, reply } if appending && append.may_repeat() => {
                self.rejected.append(&mut append.take_rejected());
                self.repeating_bytes += append.bytes() as u64;
                self.repeating.push((append, reply));
            }
            Command::Append { mut append, reply } if appending => {
                self.rejected.append(&mut append.take_rejected());
                self.add(append.take_row());
                self.appended.push(reply);
            }
            Command::Append { reply, .. } => reply.send(Err(closed("storing events"))),
            Command::Run(job) => self.jobs.push(job),
            Command::Flush(reply) => self.flushed.push(reply),
            Command::StopAppending => {}
            Command::End => self.end = true,
        }
    }

    fn add(&mut self, Row { lines, events, increments, mut arrivals, latest }: Row) {
        self.latest.append(latest, self.lines.len());
        // The usual round of one request costs no copy.
        if self.lines.is_empty() {
            self.lines = lines;
        } else {
            self.lines.extend_from_slice(&lines);
        }
        self.events += events;
        self.arrivals.append(&mut arrivals);
        for Increment { counter, by } in increments {
            *self.increments.entry(counter).or_default() += by;
        }
    }

    /// Adds the events of `repeating` that did not come before. `next` is the number of the round's first event.
    fn add_new(&mut self, ids: &mut RecentIds, db: &Connection, next: u64) -> rusqlite::Result<()> {
        let mut repeating = std::mem::take(&mut self.repeating);
        let left_out = repeating.iter_mut().try_for_each(|(append, _)| {
            append.leave_out_repeats(ids, db, next + self.events)?;
            self.add(append.take_row());
            Ok(())
        });
        self.repeating = repeating;
        self.repeating_bytes = 0;
        left_out
    }

    /// Answers the round's appends with an error; everything else in it stays.
    fn refuse(&mut self, error: &PortError) {
        let (jobs, flushed) = (std::mem::take(&mut self.jobs), std::mem::take(&mut self.flushed));
        let rest = Self { jobs, flushed, end: self.end, ..Self::default() };
        let refused = std::mem::replace(self, rest);
        let repeating = refused.repeating.into_iter().map(|(_, reply)| reply);
        for reply in refused.appended.into_iter().chain(repeating) {
            reply.send(Err(error.clone()));
        }
    }

    fn bytes(&self) -> u64 {
        self.lines.len() as u64 + self.repeating_bytes
    }

    /// Returns the increments in the journal's format.
    fn increments(&self) -> String {
        let increment = |(counter, by): (&Counter, &u64)| Increment { counter: counter.clone(), by: *by };
        let increments: Vec<Increment> = self.increments.iter().map(increment).collect();
        serde_json::to_string(&increments).expect("plain data serialises")
    }
}

/// The effects of a transaction, beside storing a round's events.
#[derive(Default)]
struct Committed {
    /// The last event that the transaction stored.
    last: u64,
    /// The batch that the transaction cut.
    batch: Option<Batch>,
}

impl Writer {
    pub(crate) fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        loop {
            let command = match self.until_due() {
                Some(wait) => match inbox.recv_timeout(wait) {
                    Ok(command) => Some(command),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                },
                None => match inbox.recv_timeout(IDLE) {
                    Ok(command) => Some(command),
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.ids.save_age(&self.db, self.clock.elapsed());
                        continue;
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
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
            let (end, next) = (round.end, self.next);
            self.commit(round);
            // A commit that stores events has saved it.
            if self.next == next || end {
                self.ids.save_age(&self.db, self.clock.elapsed());
            }
            if stop {
                self.outbox = None;
            }
            if end {
                return;
            }
        }
    }

    /// Returns how long it takes until the open batch is old enough to be cut.
    fn until_due(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| self.flush.every.saturating_sub(open.since.elapsed()))
    }

    fn commit(&mut self, mut round: Round) {
        const WHAT: &str = "storing events";
        // Once files are lost, nothing more is stored. Events stored before are still cut into batches: the next start finds
        // the batches that get into raw.
        if let Err(error) = self.lookout.look(WHAT) {
            round.refuse(&error);
        }
        self.ids.turn_to(self.clock.elapsed());
        let committed = self.transact(&mut round);
        let no_caller = round.appended.is_empty() && round.repeating.is_empty() && round.jobs.is_empty();
        let batch = committed.as_ref().ok().and_then(|committed| committed.batch.clone());
        let result = committed.map(|committed| self.remember(&mut round, &committed));
        // An event is not durable if the next start does not find the files that it is in.
        let durable = result.clone().and_then(|()| self.lookout.look(WHAT));
        for reply in round.appended {
            reply.send(durable.clone().map(|()| Vec::new()));
        }
        for (append, reply) in round.repeating {
            reply.send(durable.clone().map(|()| append.into_duplicates()));
        }
        // After the answers: a stream that is opened now may begin before an event that was just answered, but not after it.
        self.stored.send_if_modified(|last| std::mem::replace(last, self.next - 1) != self.next - 1);
        for job in round.jobs {
            job.finish(result.clone());
        }
        match (&self.outbox, &result) {
            // The receiving thread lives as long as this one.
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
            if no_caller {
                tracing::error!(%error, "a batch cannot be cut yet; its events stay in the journal");
            }
            // Most failures here (a full disk) last: do not spin on them.
            thread::sleep(if no_caller { Duration::from_secs(1) } else { Duration::from_millis(20) });
        }
    }

    /// Returns the batch that this round completes, if it does.
    fn batch_to_cut(&self, round: &Round) -> Option<Batch> {
        let last = self.next + round.events - 1;
        let bytes = self.open.as_ref().map_or(0, |open| open.bytes) + round.bytes();
        let due = !round.flushed.is_empty()
            || bytes >= self.flush.size
            || self.until_due().is_some_and(|wait| wait.is_zero());
        (due && last >= self.first && self.outbox.is_some()).then(|| Batch {
            first: self.first,
            last,
            raw_key: raw_key(&hour_folder(self.clock.now().hour()), self.first, last),
            written: false,
        })
    }

    fn transact(&mut self, round: &mut Round) -> Result<Committed, PortError> {
        let what = "writing to the store";
        let mut doing = Committed::default();
        let committed = (|| -> rusqlite::Result<()> {
            // Only this thread writes through this connection, so no other transaction can be under way.
            let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
            round.add_new(&mut self.ids, &transaction, self.next)?;
            let last = self.next + round.events - 1;
            doing = Committed { last, batch: self.batch_to_cut(round) };
            if round.events > 0 {
                transaction
                    .prepare_cached(
                        "INSERT INTO journal (first, last, increments, lines, latest) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        self.next,
                        last,
                        round.increments(),
                        round.lines,
                        round.latest.column()
                    ])?;
                self.ids.store(&transaction)?;
                rejected::store(&transaction, &round.rejected)?;
            }
            if let Some(Batch { first, last, raw_key, .. }) = &doing.batch {
                transaction
                    .prepare_cached("INSERT INTO batches (first, last, raw_key) VALUES (?1, ?2, ?3)")?
                    .execute(params![first, last, raw_key])?;
            }
            for job in &mut round.jobs {
                job.run(&transaction);
                // On a full disk SQLite itself rolls back the whole transaction. Later jobs would then run, and take effect,
                // in transactions of their own, although all callers of this round get an error.
                if transaction.is_autocommit() {
                    return Err(job.failure().unwrap_or(rusqlite::Error::ExecuteReturnedResults));
                }
            }
            transaction.commit()
        })();
        match committed {
            Err(error) if !self.is_in_store(round, &doing) => {
                self.ids.rolled_back();
                // If only the fsync failed, the whole transaction is in the log, and a start would find it there if the
                // process died now. So a commit overwrites it at once.
                let overwrite = || -> rusqlite::Result<()> {
                    let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
                    store::touch(&transaction)?;
                    transaction.commit()
                };
                // If it fails too, the next commit does it.
                let _ = overwrite();
                Err(port_error(what, error))
            }
            _ => Ok(doing),
        }
    }

    /// Returns whether a failed commit took effect all the same. SQLite reports a failure even if only the checkpoint after
    /// it failed, for example; if stored events were refused, they would be sent, and counted, twice. A row with this range and
    /// other content is another process's.
    fn is_in_store(&self, round: &Round, done: &Committed) -> bool {
        let exists = |row: &str, values: &[&dyn ToSql]| {
            self.db.query_row(&format!("SELECT EXISTS ({row})"), values, |row| row.get(0)).unwrap_or(false)
        };
        // Either row is proof, as they are in one transaction.
        let is_there = match &done.batch {
            _ if round.events > 0 => exists(
                "SELECT 1 FROM journal WHERE first = ?1 AND last = ?2 AND increments = ?3 AND lines = ?4",
                &[&self.next, &done.last, &round.increments(), &round.lines],
            ),
            Some(Batch { first, last, raw_key, .. }) => exists(
                "SELECT 1 FROM batches WHERE first = ?1 AND last = ?2 AND raw_key = ?3",
                &[first, last, raw_key],
            ),
            None => false,
        };
        self.db.is_autocommit() && is_there
    }

    /// Updates the memory after a commit.
    fn remember(&mut self, round: &mut Round, done: &Committed) {
        let (bytes, cut) = (round.bytes(), done.batch.is_some());
        if round.events > 0 {
            self.ids.committed();
            self.next += round.events;
            let increments = std::mem::take(&mut round.increments);
            let increments = increments.into_iter().map(|(counter, by)| Increment { counter, by });
            let latest = std::mem::take(&mut round.latest).into_values();
            self.overlay.raise(self.next - 1, bytes, increments, latest);
            self.minutes.raise(std::mem::take(&mut round.arrivals), self.clock.now());
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
