//! Delivers a file to the server: batches its lines, sends some batches concurrently, and records their outcomes in the
//! file's order. Memory holds only a window of batches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    beginning::Beginning,
    rejected::RejectedFile,
    report::Report,
    sender::{BODY_BYTES, Failure, Sender, Settled},
    source::{Item, Source},
    state::StateFile,
};
use crate::counted::counted;

/// How long an incomplete batch waits for more lines, as a pipe may be slow.
const LINGER: Duration = Duration::from_secs(1);

/// How many lines are read ahead: few, as each may have the maximum length.
const READ_AHEAD: usize = 16;

/// How often events on other threads are polled.
const LOOK: Duration = Duration::from_millis(50);

/// How often progress is recorded.
const NOTE: Duration = Duration::from_secs(1);

/// How much of a file may be in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) batch: usize,
    pub(super) concurrency: usize,
}

/// How a file ended.
pub(super) enum Ended {
    Whole,
    /// The run was stopped.
    Stopped,
}

/// Sends a file, starting after the lines already done.
pub(super) struct Delivery<'a> {
    pub(super) sender: Sender,
    pub(super) limits: Limits,
    pub(super) done: u64,
    pub(super) beginning: Beginning,
    /// The most rejected lines before the file is given up.
    pub(super) max_rejected: Option<u64>,
    pub(super) report: &'a mut Report,
    pub(super) rejected: &'a mut RejectedFile,
    pub(super) state: Option<StateFile>,
    /// Whether all was sent, and too many lines were rejected.
    pub(super) is_at_end: bool,
}

/// More lines were rejected than may be: what is left of the file is not sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} rejected, more than --max-rejected {most}: what is left of the file is not sent",
    counted(*.rejected, "line was", "lines were")
)]
pub(super) struct TooManyRejected {
    rejected: u64,
    most: u64,
}

/// A worker thread's result.
struct Done {
    batch: u64,
    /// The number of its last line.
    last: u64,
    outcome: Result<Settled, Failure>,
}

type Job = (u64, Vec<Item>);

impl Delivery<'_> {
    /// Sends everything, or as much as possible.
    pub(super) fn run(mut self, source: Box<dyn Source>) -> Result<Ended> {
        // An earlier run may have ended with too many.
        if let Some(error) = self.too_many_rejected() {
            return Err(error);
        }
        let lines = read(source, self.done)?;
        let (jobs, results) = workers(&self.sender, self.limits.concurrency)?;
        self.sender.stop.set_at_work(true);
        let ended = self.pump(&lines, &jobs, &results);
        self.note();
        self.sender.stop.set_at_work(false);
        let is_whole = matches!(ended, Ok(Ended::Whole)) || self.is_at_end;
        if let (true, Some(state)) = (is_whole, &self.state) {
            state.remove();
        }
        self.report.clear();
        ended
    }

    fn pump(
        &mut self,
        lines: &Receiver<Result<Item>>,
        jobs: &SyncSender<Job>,
        results: &Receiver<Done>,
    ) -> Result<Ended> {
        let mut window = Window::default();
        let (mut open, mut bytes, mut since) = (Vec::new(), 0, Instant::now());
        let (mut at_end, mut failure, mut noted) = (false, None, Instant::now());
        loop {
            let stopping = failure.is_some() || self.sender.stop.is_set();
            // Until the server has answered anything, a single request probes the connection and the file's beginning.
            let is_known = self.sender.client.reached() && self.beginning.is_trusted();
            let may_be = if is_known { self.limits.concurrency * 2 } else { 1 };
            let is_full = stopping || window.under_way() >= may_be;
            if stopping && window.sent == window.received {
                break;
            }
            if at_end && open.is_empty() && window.under_way() == 0 {
                break;
            }
            if !is_full && !at_end {
                match lines.recv_timeout(LOOK) {
                    Ok(Ok(item)) => {
                        if open.is_empty() {
                            since = Instant::now();
                            failure = self.beginning.refusal();
                        }
                        bytes += item.event.as_ref().map_or(0, Vec::len).max(item.original.len()) + 1;
                        open.push(item);
                    }
                    Ok(Err(error)) => (at_end, failure) = (true, Some(error)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => at_end = true,
                }
            }
            let is_due = open.len() >= self.limits.batch
                || bytes >= BODY_BYTES
                || at_end
                || (since.elapsed() >= LINGER && window.under_way() == 0);
            if !is_full && is_due && !open.is_empty() {
                bytes = 0;
                // The channel holds as many batches as may be in flight.
                jobs.send((window.sent, std::mem::take(&mut open))).context("no thread sends any more")?;
                window.sent += 1;
            }
            let waits = is_full || (at_end && open.is_empty());
            let mut result = if waits { results.recv_timeout(LOOK).ok() } else { results.try_recv().ok() };
            while let Some(done) = result {
                window.received += 1;
                window.came.insert(done.batch, done);
                result = results.try_recv().ok();
            }
            while let Some(done) = window.came.remove(&window.noted) {
                match done.outcome {
                    Ok(settled) => {
                        window.noted += 1;
                        self.take(done.last, &settled)?;
                        if let Some(error) = self.too_many_rejected() {
                            failure.get_or_insert(error);
                        }
                    }
                    Err(Failure::Stopped) => {
                        self.sender.stop.tell();
                        break;
                    }
                    Err(error) => {
                        failure.get_or_insert(error.into());
                        break;
                    }
                }
            }
            // A failure out of order stops the rest too.
            if let Some(error) = window.first_failure() {
                failure.get_or_insert(error);
            }
            if failure.is_some() {
                self.sender.stop.tell();
            }
            self.report.draw();
            if noted.elapsed() >= NOTE {
                noted = Instant::now();
                self.note();
            }
        }
        self.is_at_end = at_end
            && window.noted == window.sent
            && open.is_empty()
            && failure.as_ref().is_some_and(anyhow::Error::is::<TooManyRejected>);
        match failure {
            Some(error) => Err(error),
            None if at_end && window.noted == window.sent && open.is_empty() => Ok(Ended::Whole),
            None => Ok(Ended::Stopped),
        }
    }

    /// Records the next batch of the file as done.
    fn take(&mut self, last: u64, settled: &Settled) -> Result<()> {
        self.rejected.append(&settled.rejected)?;
        self.beginning.take(settled);
        self.report.sent += settled.sent;
        self.report.duplicates += settled.duplicates;
        self.report.warned.add_all(&settled.warned);
        self.report.rejected += settled.rejected.len() as u64;
        self.done = last;
        Ok(())
    }

    /// Returns why the rest is not sent, if more lines were rejected than may be.
    fn too_many_rejected(&self) -> Option<anyhow::Error> {
        let most = self.max_rejected.filter(|most| self.report.rejected > *most)?;
        Some(TooManyRejected { rejected: self.report.rejected, most }.into())
    }

    /// Records the progress through the file. Lines of a file that may yet be abandoned do not count as done: they are sent
    /// again once the type is right, under the same ids.
    fn note(&mut self) {
        if let Some(state) = &mut self.state
            && self.done > 0
            && self.beginning.is_trusted()
        {
            state.write(self.done, self.report.rejected, self.rejected.length());
        }
    }
}

/// The batches from the first one not recorded to the last one sent.
#[derive(Default)]
struct Window {
    /// How many were passed to threads, and how many came back.
    sent: u64,
    received: u64,
    /// How many are recorded: all before this one.
    noted: u64,
    /// Results that came back out of order.
    came: BTreeMap<u64, Done>,
}

impl Window {
    fn under_way(&self) -> usize {
        usize::try_from(self.sent - self.noted).unwrap_or(usize::MAX)
    }

    fn first_failure(&mut self) -> Option<anyhow::Error> {
        let failed =
            |done: &&mut Done| matches!(done.outcome, Err(Failure::Refused(_) | Failure::GaveUp { .. }));
        let done = self.came.values_mut().find(failed)?;
        let outcome = std::mem::replace(&mut done.outcome, Err(Failure::Stopped));
        outcome.err().map(anyhow::Error::from)
    }
}

/// Reads lines on a thread of its own; one that a pipe blocks for ever ends with the process.
fn read(mut source: Box<dyn Source>, done: u64) -> Result<Receiver<Result<Item>>> {
    let (lines, received) = mpsc::sync_channel(READ_AHEAD);
    let read = move || {
        loop {
            let item = match source.next() {
                Ok(None) => return,
                Ok(Some(item)) if item.number <= done => continue,
                Ok(Some(item)) => Ok(item),
                Err(error) => Err(error),
            };
            let is_last = item.is_err();
            if lines.send(item).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("weir-read".to_owned()).spawn(read).context("there are no threads left")?;
    Ok(received)
}

/// Starts the threads that send batches; they end once the job channel closes.
fn workers(sender: &Sender, concurrency: usize) -> Result<(SyncSender<Job>, Receiver<Done>)> {
    let (jobs, waiting) = mpsc::sync_channel::<Job>(concurrency * 2);
    let (done, results) = mpsc::channel();
    let waiting = Arc::new(Mutex::new(waiting));
    for number in 0..concurrency {
        let (sender, waiting, done) = (sender.clone(), Arc::clone(&waiting), done.clone());
        let work = move || {
            loop {
                let (job, stopped) = {
                    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    let job = waiting.recv();
                    // Checks under the lock: once one batch is not sent, no later one is. A later one would be stored but
                    // not recorded as done, as the record has no gaps.
                    (job, sender.stop.is_set())
                };
                let Ok((batch, items)) = job else { return };
                let last = items.last().map_or(0, |item| item.number);
                let outcome = if stopped { Err(Failure::Stopped) } else { sender.settle(items) };
                if done.send(Done { batch, last, outcome }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name(format!("weir-send-{number}"))
            .spawn(work)
            .context("there are no threads left")?;
    }
    Ok((jobs, results))
}
