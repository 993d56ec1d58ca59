//! All connections: the limit on their number, and eviction and load shedding at that limit.
//!
//! At the limit, the connection that has been idle for longest is evicted for a new one. If none is idle, the new one gets
//! a 503 asking it to retry. So neither idle nor slow clients keep others out, as long as there are fewer requests in
//! flight than connections allowed.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use collector::{TellOnlyLeftover, Unreadable};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::ServiceExt;

use super::{
    connection::{Answer, Connection, NoAnswer, OfRequest, Patience, Watched},
    idle::IdleOrder,
    metrics::ConnectionMetrics,
    pace::Paced,
};

/// Read buffer per connection; a request's head must fit.
const BUFFER: usize = 32 << 10;

/// How many clients at once get a refusal for lack of room, and how long that may take; more are cut off.
const TURNED_AWAY_AT_ONCE: usize = 64;
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(2);

/// How long an eviction may take: the connection only has to be dropped.
const MAKES_ROOM_WITHIN: Duration = Duration::from_secs(1);

/// The listen backlog. With the usual 128, the clients of a burst wait for seconds until they retry.
const WAITING_TO_BE_TAKEN: u32 = 4096;

/// Pause when accepting fails, mostly for lack of file descriptors: until an evicted connection has ended, or conditions
/// improve.
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_millis(1);
const UNTIL_IT_IS_BETTER: Duration = Duration::from_millis(100);

/// How often the log reports that there is no room.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Listens on an address.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Without it, a server could not restart while its predecessor's connections linger. On systems other than Unix the
    // option means something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_TO_BE_TAKEN)
}

/// The server's connections.
pub(super) struct Connections {
    app: Router,
    no_room: Router,
    patience: Patience,
    limit: usize,
    places: Arc<Semaphore>,
    idle: Arc<IdleOrder<Arc<Connection>>>,
    turned_away: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    metrics: ConnectionMetrics,
    unreadable: Option<Arc<Unreadable>>,
}

impl Connections {
    /// Allows at most `limit` connections to `app`; `no_room` answers in its place when they are used up.
    pub(super) fn new(app: Router, no_room: Router, limit: usize, patience: Patience) -> Self {
        // More than any system has file descriptors; a semaphore has a limit, too.
        let limit = limit.clamp(1, u32::MAX as usize >> 1);
        Self {
            app,
            no_room,
            patience,
            limit,
            places: Arc::new(Semaphore::new(limit)),
            idle: Arc::new(IdleOrder::new()),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
            stop: watch::Sender::new(false),
            metrics: ConnectionMetrics::default(),
            unreadable: None,
        }
    }

    /// Lets `unreadable` answer bytes that are not a request.
    pub(super) fn explaining(self, unreadable: Unreadable) -> Self {
        Self { unreadable: Some(Arc::new(unreadable)), ..self }
    }

    /// Counts connections in these metrics.
    pub(super) fn counted(self, metrics: ConnectionMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Accepts connections until `stop`; then answers the requests in flight, and ends.
    pub(super) async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            never = self.accept(&listener) => match never {},
        }
        drop(listener);
        self.stop.send_replace(true);
        // All permits are free once all connections have ended; the semaphore is never closed.
        let _ = self.places.acquire_many(u32::try_from(self.limit).unwrap_or(u32::MAX)).await;
    }

    async fn accept(&self, listener: &TcpListener) -> std::convert::Infallible {
        let (mut full, mut failed) = (RateLimit::default(), RateLimit::default());
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(place) = self.place().await {
                        self.take(stream, peer, place);
                    } else {
                        let connections = self.limit;
                        full.once_in_a_while(|| {
                            tracing::warn!(
                                connections,
                                "all have requests under way: others are turned away"
                            );
                        });
                        self.turn_away(stream);
                    }
                }
                // The client went away.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    failed.once_in_a_while(|| tracing::error!(%error, "connections cannot be taken"));
                    let wait = match self.idle.take_longest() {
                        Some(longest) => {
                            longest.evict();
                            self.metrics.closed_for_room.inc();
                            UNTIL_THERE_IS_ROOM
                        }
                        None => UNTIL_IT_IS_BETTER,
                    };
                    sleep(wait).await;
                }
            }
        }
    }

    /// Gets a permit for a new connection: a free one, or that of the connection idle for longest, which is evicted.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        self.idle.take_longest()?.evict();
        self.metrics.closed_for_room.inc();
        timeout(MAKES_ROOM_WITHIN, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // Answers are written at once, so Nagle's algorithm only delays. Where the option cannot be set, answers are merely
        // later.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(Arc::clone(&self.idle));
        let io = Watched::new(stream, Arc::clone(&connection), self.unreadable.clone());
        let (app, patience, stop) = (self.app.clone(), self.patience, self.stop.subscribe());
        let open = Open::of(Arc::clone(&connection), &self.metrics);
        tokio::spawn(async move {
            let place = Arc::new(place);
            one(io, peer, app, &connection, &place, patience, stop).await;
            drop(open);
        });
    }

    fn turn_away(&self, stream: TcpStream) {
        self.metrics.turned_away.inc();
        let Ok(turn) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        let no_room = self.no_room.clone();
        // It never has to make room for another connection, so it gets an order of its own.
        let connection = Connection::new(Arc::new(IdleOrder::new()));
        let io = Watched::new(stream, Arc::clone(&connection), self.unreadable.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                connection.begin();
                no_room.clone().oneshot(request.map(Body::new))
            });
            let mut builder = builder();
            let told = builder.keep_alive(false).serve_connection(TokioIo::new(io), service);
            // A client that takes longer, or goes away, gets no answer.
            let _ = timeout(TURNED_AWAY_WITHIN, told).await;
            drop(turn);
        });
    }
}

/// An open connection; dropping it notes its end, also after a panic.
struct Open {
    connection: Arc<Connection>,
    metrics: ConnectionMetrics,
}

impl Open {
    fn of(connection: Arc<Connection>, metrics: &ConnectionMetrics) -> Self {
        metrics.now.inc();
        Self { connection, metrics: metrics.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.ended();
        self.metrics.now.dec();
    }
}

/// Serves one connection until its end.
///
/// A request runs to its end even if its client disconnects, and holds its resources, including its connection's permit,
/// until then. So reconnecting gets a client no more concurrency than staying connected. And no event is stored by halves,
/// without its id being remembered or its count raised.
async fn one(
    io: Watched,
    peer: SocketAddr,
    app: Router,
    connection: &Arc<Connection>,
    place: &Arc<OwnedSemaphorePermit>,
    patience: Patience,
    mut stop: watch::Receiver<bool>,
) {
    let of_request = Arc::new(OfRequest(Arc::clone(connection)));
    let tell = TellOnlyLeftover { who: of_request, patience: patience.client };
    let service = service_fn(|request: Request<Incoming>| {
        let tell = tell.clone();
        let (begun, app, connection) = (connection.begin(), app.clone(), Arc::clone(connection));
        let place = Arc::clone(place);
        async move {
            if !begun {
                return Err(NoAnswer::Evicted);
            }
            let mut request = request.map(|body| Body::new(Paced::new(body, patience.client)));
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(tell);
            collector::tidy(request.uri_mut());
            let mut answering = Box::pin(async move {
                let answer = app.oneshot(request).await;
                drop(place);
                answer.map(|answer| answer.map(|body| Answer::new(body, connection)))
            });
            // A task of its own would cost the wake-up of another thread, so only requests that have to wait get one.
            match poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await {
                Poll::Ready(answer) => Ok(answer?),
                Poll::Pending => Ok(tokio::spawn(answering).await??),
            }
        }
    });
    let served = builder().serve_connection(TokioIo::new(io), service);
    tokio::pin!(served);
    let look = sleep_until(Instant::now() + patience.between_looks());
    tokio::pin!(look);
    loop {
        tokio::select! {
            biased;
            () = connection.was_evicted() => break,
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                break;
            }
            Ok(()) = stop.changed() => served.as_mut().graceful_shutdown(),
            () = look.as_mut() => match connection.look(patience, Instant::now()) {
                Some(next) => look.as_mut().reset(next),
                None => break,
            },
        }
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // `connection` enforces the time for heads: hyper's timeout would count idle connections as slow ones.
    builder.header_read_timeout(None).max_buf_size(BUFFER);
    // A client may close its own side after a whole request, as `nc -N` does, and still gets its answer.
    builder.half_close(true);
    builder
}

/// Returns whether only the connection being accepted failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Limits how often a message is logged, by when it last was.
#[derive(Default)]
struct RateLimit(Option<Instant>);

impl RateLimit {
    fn once_in_a_while(&mut self, log: impl FnOnce()) {
        if self.0.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            self.0 = Some(Instant::now());
            log();
        }
    }
}
