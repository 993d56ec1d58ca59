//! One connection: its phase, and that phase's deadline.
//!
//! A client may take its time between requests, but must send a request's head quickly and must read its answer (a defence
//! against slow-loris attacks). The connection itself observes its traffic: bytes that arrive while idle, requests that
//! begin, answers written to the end. One timer for each connection checks the deadlines periodically.

use std::{
    convert::Infallible,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::HttpBody;
use collector::{OnlyLeftover, Unreadable};
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    task::JoinError,
    time::Instant,
};

use super::{idle::IdleOrder, pace::Transfer, refusal::Refusal};

/// Timeouts for a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Idle time between two requests, or before the first one.
    pub(super) idle: Duration,
    /// Time for a request's head; and how long a body or an answer may stall.
    pub(super) client: Duration,
}

impl Patience {
    /// Returns the time between two checks of a connection: a phase that begins after one check expires no earlier than the next.
    pub(super) fn between_looks(self) -> Duration {
        self.idle.min(self.client)
    }
}

/// A connection, shared by all that watch or evict it.
pub(super) struct Connection {
    order: Arc<IdleOrder<Arc<Self>>>,
    state: Mutex<State>,
    evicted: Notify,
}

struct State {
    phase: Phase,
    /// An answer that the client did not accept at once.
    writing: Option<Transfer>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// No request is in flight; `place` is its place in the order of idle connections.
    Idle { since: Instant, place: u64 },
    /// Part of a request's head has arrived. This still counts as idle, as any client can send half a line.
    Head { since: Instant, place: u64 },
    /// A request is in flight.
    Busy,
    /// The request is refused, and only the unread body remains. This can be evicted, as any client can send that slowly.
    Refused { place: u64 },
    /// The answer is complete, but not fully written.
    Answered,
    /// The connection has ended; its last request may still be in progress.
    Ended,
}

impl Connection {
    pub(super) fn new(order: Arc<IdleOrder<Arc<Self>>>) -> Arc<Self> {
        let state = Mutex::new(State { phase: Phase::Busy, writing: None });
        let connection = Arc::new(Self { order, state, evicted: Notify::new() });
        connection.become_idle(&mut connection.state());
        connection
    }

    /// Evicts this connection, which has already been removed from the order.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    pub(super) async fn was_evicted(&self) {
        self.evicted.notified().await;
    }

    /// Begins a request. Returns false if the connection is already being evicted.
    pub(super) fn begin(&self) -> bool {
        self.leave_the_order(Phase::Busy)
    }

    /// Enters a phase that cannot be evicted. Returns false if the connection is already being evicted.
    fn leave_the_order(&self, phase: Phase) -> bool {
        let mut state = self.state();
        let place = match state.phase {
            Phase::Idle { place, .. } | Phase::Head { place, .. } | Phase::Refused { place } => Some(place),
            Phase::Busy | Phase::Answered | Phase::Ended => None,
        };
        state.phase = phase;
        place.is_none_or(|place| self.order.take(place).is_some())
    }

    /// Notes that the answer is complete.
    fn answered(&self) {
        let mut state = self.state();
        if let Phase::Refused { place } = state.phase {
            // If it has already been taken, the connection is about to end.
            self.order.take(place);
        }
        if matches!(state.phase, Phase::Busy | Phase::Refused { .. }) {
            state.phase = Phase::Answered;
        }
    }

    /// Notes that all pending bytes are written.
    fn flushed(self: &Arc<Self>) {
        let mut state = self.state();
        state.writing = None;
        if matches!(state.phase, Phase::Answered) {
            self.become_idle(&mut state);
        }
    }

    fn refused(self: &Arc<Self>) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Busy) {
            state.phase = Phase::Refused { place: self.order.add(Arc::clone(self)) };
        }
    }

    fn become_idle(self: &Arc<Self>, state: &mut State) {
        let place = self.order.add(Arc::clone(self));
        state.phase = Phase::Idle { since: Instant::now(), place };
    }

    fn note_read(&self) {
        let mut state = self.state();
        if let Phase::Idle { place, .. } = state.phase {
            state.phase = Phase::Head { since: Instant::now(), place };
        }
    }

    /// Returns whether no request is in flight, so that pending bytes can only be the parser's own answer to bytes that are not a
    /// request. If so, the phase changes: the client gets as long to read the answer as it has to send a head.
    fn begins_own_refusal(&self) -> bool {
        let mut state = self.state();
        let place = match state.phase {
            Phase::Idle { place, .. } => place,
            Phase::Head { .. } => return true,
            Phase::Busy | Phase::Refused { .. } | Phase::Answered | Phase::Ended => return false,
        };
        state.phase = Phase::Head { since: Instant::now(), place };
        true
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        let mut state = self.state();
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(writing) = &mut state.writing {
                    writing.moved(*bytes, Instant::now());
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                state.writing.get_or_insert_with(|| Transfer::begin(Instant::now()));
            }
        }
    }

    /// Returns the latest time for the next check, or `None` if the client has missed its deadline.
    pub(super) fn look(&self, patience: Patience, now: Instant) -> Option<Instant> {
        let state = self.state();
        let of_phase = match state.phase {
            Phase::Idle { since, .. } => Some(since + patience.idle),
            Phase::Head { since, .. } => Some(since + patience.client),
            Phase::Busy | Phase::Refused { .. } | Phase::Answered | Phase::Ended => None,
        };
        let of_answer = state.writing.map(|writing| writing.deadline(patience.client));
        let deadline = of_phase.into_iter().chain(of_answer).min();
        let next = now + patience.between_looks();
        match deadline {
            Some(deadline) if deadline <= now => None,
            Some(deadline) => Some(deadline.min(next)),
            None => Some(next),
        }
    }

    /// Notes that the connection has ended and cannot be evicted any more.
    pub(super) fn ended(&self) {
        self.leave_the_order(Phase::Ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Ignores poisoning: no operation under this lock leaves anything half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Request extension: the connection that a request came on.
pub(super) struct OfRequest(pub(super) Arc<Connection>);

impl OnlyLeftover for OfRequest {
    fn only_leftover(&self) {
        self.0.refused();
    }
}

/// The byte stream of a connection, observed.
pub(super) struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
    unreadable: Option<Arc<Unreadable>>,
    /// The answer sent in place of the parser's own.
    refusal: Option<Refusal>,
}

impl Watched {
    /// Observes a stream. `unreadable`, if given, builds the answers to bytes that are not a request.
    pub(super) fn new(
        stream: TcpStream,
        connection: Arc<Connection>,
        unreadable: Option<Arc<Unreadable>>,
    ) -> Self {
        Self { stream, connection, unreadable, refusal: None }
    }

    /// Returns whether the bytes that hyper writes are its own error answer, and prepares the answer that replaces it.
    fn replaces(&mut self, parsers_answer: &[u8]) -> bool {
        if self.refusal.is_none()
            && let Some(unreadable) = &self.unreadable
            && self.connection.begins_own_refusal()
        {
            self.refusal = Some(Refusal::new(unreadable, parsers_answer));
        }
        self.refusal.is_some()
    }

    /// Writes the answer that replaces `length` bytes of hyper's.
    fn poll_refuse(&mut self, context: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        let Self { stream, connection, refusal: Some(refusal), .. } = self else {
            return Poll::Ready(Ok(length));
        };
        while !refusal.rest().is_empty() {
            let written = Pin::new(&mut *stream).poll_write(context, refusal.rest());
            connection.note_written(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => refusal.wrote(bytes),
            }
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.note_read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return self.poll_refuse(context, bytes.len());
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.connection.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(parts.first().map_or(&[], |part| part)) {
            return self.poll_refuse(context, parts.iter().map(|part| part.len()).sum());
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.connection.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Flushes the stream, and notes that all pending bytes are written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if polled.is_ready() {
            self.connection.flushed();
        }
        polled
    }

    /// Shuts down the server's side. After a refusal, reads and discards further bytes until the client stops or misses its
    /// deadline (lingering close): closing at once would reset the connection, and the client might not see the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, refusal, .. } = &mut *self;
        let Some(refusal) = refusal else { return Pin::new(stream).poll_shutdown(context) };
        if !refusal.is_shut() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            refusal.shut();
        }
        let mut thrown_away = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// An answer's body that notifies the connection of its end.
pub(super) struct Answer<B> {
    body: B,
    connection: Arc<Connection>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.connection.answered();
    }
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the connection was to make room for another one")]
    Evicted,
    #[error("the server ended")]
    ServerEnded(#[from] JoinError),
}

impl From<Infallible> for NoAnswer {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
