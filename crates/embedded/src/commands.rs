//! The commands to the writer's thread, and the replies to them.

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use weir_core::ports::PortError;

use crate::{append::Append, store::port_error};

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

/// Work to do in a transaction of the writer's, besides appending.
pub(crate) trait Work: Send {
    fn run(&mut self, db: &Connection);
    /// Returns the error of the work, if it failed.
    fn failure(&mut self) -> Option<rusqlite::Error>;
    /// Answers the caller, once the transaction is over.
    fn finish(self: Box<Self>, committed: Result<(), PortError>);
}

pub(crate) struct Asked<F, T> {
    what: &'static str,
    work: Option<F>,
    answer: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<F, T> Asked<F, T> {
    /// Pairs work with the channel for its answer.
    pub(crate) fn new(what: &'static str, work: F, reply: oneshot::Sender<Result<T, PortError>>) -> Self {
        Self { what, work: Some(work), answer: None, reply }
    }
}

impl<T: Send, F: FnOnce(&Connection) -> rusqlite::Result<T> + Send> Work for Asked<F, T> {
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
    Work(Box<dyn Work>),
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
