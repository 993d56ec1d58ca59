//! The commands to the writer's thread, and the replies to them.

use std::sync::mpsc;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use weir_core::ports::PortError;

use super::append::Append;
use crate::store::port_error;

/// The indexes of an append's records that were stored before.
pub(crate) type Duplicates = Vec<usize>;

/// The reply to an append; and its place in the queue, which it keeps until then, even if its client has stopped waiting.
pub(crate) struct AppendReply {
    pub(crate) answer: oneshot::Sender<Result<Duplicates, PortError>>,
    pub(crate) place: OwnedSemaphorePermit,
}

impl AppendReply {
    pub(crate) fn send(self, outcome: Result<Duplicates, PortError>) {
        drop(self.place);
        // A client that gave up gets no answer.
        let _ = self.answer.send(outcome);
    }
}

/// A job to do in a transaction of the writer's, besides appending.
pub(crate) trait Job: Send {
    fn run(&mut self, db: &Connection);
    /// Returns the error of the job, if it failed.
    fn failure(&mut self) -> Option<rusqlite::Error>;
    /// Answers the caller, once the transaction is over.
    fn finish(self: Box<Self>, committed: Result<(), PortError>);
}

/// A job, and the channel for its answer.
struct JobWithReply<F, T> {
    what: &'static str,
    work: Option<F>,
    answer: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<F, T> JobWithReply<F, T> {
    fn new(what: &'static str, work: F, reply: oneshot::Sender<Result<T, PortError>>) -> Self {
        Self { what, work: Some(work), answer: None, reply }
    }
}

impl<T: Send, F: FnOnce(&Connection) -> rusqlite::Result<T> + Send> Job for JobWithReply<F, T> {
    fn run(&mut self, db: &Connection) {
        let Some(work) = self.work.take() else { return };
        // A savepoint: work that fails half-way leaves nothing in the shared transaction.
        self.answer = Some((|| {
            db.prepare_cached("SAVEPOINT work")?.execute([])?;
            let answer = work(db);
            // After a failure that rolled everything back, the savepoint no longer exists.
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
        // The caller may be gone.
        let _ = self.reply.send(answer);
    }
}

pub(crate) enum Command {
    Append {
        append: Append,
        reply: AppendReply,
    },
    Run(Box<dyn Job>),
    /// Cut a batch; the reply comes once all batches up to it are in raw.
    Flush(oneshot::Sender<Result<(), PortError>>),
    /// Take no more events, and end the deliveries.
    StopAppending,
    /// End the thread.
    End,
}

pub(crate) fn closed(what: &'static str) -> PortError {
    PortError::unavailable(what, "the store is closed")
}

/// Sends jobs to the writer.
#[derive(Clone)]
pub(crate) struct WriterHandle(pub(crate) mpsc::Sender<Command>);

impl WriterHandle {
    /// Runs `work` in a transaction of the writer's; the answer comes once it is durable.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, PortError>> {
        let (reply, answer) = oneshot::channel();
        // If the writer has ended, the reply is dropped, which the caller sees as an error.
        let _ = self.0.send(Command::Run(Box::new(JobWithReply::new(what, work, reply))));
        answer
    }
}
