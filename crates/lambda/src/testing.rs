//! Lambda and AWS for tests: runs a function's real program against a Runtime API that hands it the test's events,
//! and against an AWS that answers as the test says. Both listen on 127.0.0.1 and end with the test.

use std::{
    collections::HashMap,
    fmt::Debug,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use weir_core::{Clock, SystemClock};

/// The longest wait for anything: it only ends tests that hang.
const PATIENCE: Duration = Duration::from_mins(5);

/// A server on a free port of 127.0.0.1, which ends when it is dropped.
struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start(app: Router) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        listener.set_nonblocking(true).expect("sockets can be non-blocking");
        let (stop, stopped) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("there are resources for a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("it is non-blocking");
                tokio::select! {
                    ended = axum::serve(listener, app) => ended.expect("the server does not fail"),
                    // The test is over once a message comes or the sender is gone.
                    _ = stopped => {}
                }
            });
        });
        Self { address, _stop: stop }
    }
}

/// The outcome of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The function answered.
    Answer(Value),
    /// The function failed, with this error.
    Error(Value),
    /// The function reported that it cannot start, and why.
    CannotStart(Value),
    /// The function had not answered when its time was over, and was ended.
    TimedOut,
}

/// A running function.
pub struct Function {
    child: Child,
    events: tokio::sync::mpsc::UnboundedSender<Timed>,
    /// The number of events that it was handed.
    handed: u64,
    outcomes: Receiver<(String, Outcome)>,
    logs: Lines,
    metrics: Lines,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
    polled: Arc<OnceLock<Instant>>,
    _runtime_api: Server,
}

/// An event, and the time that its invocation has.
type Timed = (Value, Duration);

/// The lines that a program wrote.
type Lines = Arc<Mutex<Vec<String>>>;

impl Function {
    /// Runs a program as a function, with these environment variables and no others but those that Lambda sets.
    #[must_use]
    pub fn start(program: &str, variables: &[(&str, &str)]) -> Self {
        Self::run(Command::new(program), variables)
    }

    /// Works like `start`, for a command with arguments.
    #[must_use]
    pub fn run(mut command: Command, variables: &[(&str, &str)]) -> Self {
        let (events, queue) = tokio::sync::mpsc::unbounded_channel();
        let (tell, outcomes) = channel();
        let polled = Arc::new(OnceLock::new());
        let queue = Arc::new(AsyncMutex::new((0, queue)));
        let api = RuntimeApi { queue, tell, polled: polled.clone() };
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .route("/2018-06-01/runtime/init/error", post(cannot_start))
            .with_state(api);
        let runtime_api = Server::start(app);
        let started = Instant::now();
        let mut child = command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "function-under-test")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the function's program can be run");
        let (metrics, metrics_reader) = lines(child.stdout.take());
        let (logs, logs_reader) = lines(child.stderr.take());
        let readers = vec![metrics_reader, logs_reader];
        Self {
            child,
            events,
            handed: 0,
            outcomes,
            logs,
            metrics,
            readers,
            started,
            polled,
            _runtime_api: runtime_api,
        }
    }

    /// Returns the number of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it asks for its first event; returns how long after the start that was.
    #[must_use]
    pub fn first_poll(&self) -> Duration {
        for _ in 0..PATIENCE.as_millis() {
            if let Some(polled) = self.polled.get() {
                return polled.duration_since(self.started);
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("the function asks for no event; {}", self.told())
    }

    /// Hands it an event, and waits for the outcome.
    pub fn invoke(&mut self, event: Value) -> Outcome {
        self.hand(event);
        self.outcome()
    }

    /// Hands it an event, and ends the function if it has not answered within this time, as Lambda does.
    pub fn invoke_within(&mut self, event: Value, time: Duration) -> Outcome {
        self.hand_for(event, time);
        if let Ok((_, outcome)) = self.outcomes.recv_timeout(time) {
            return outcome;
        }
        // It may have ended already.
        let _ = self.child.kill();
        Outcome::TimedOut
    }

    /// Hands it events without waiting in between, as Lambda does if it takes several at once; returns the outcome of each,
    /// in their order.
    pub fn invoke_all(&mut self, events: impl IntoIterator<Item = Value>) -> Vec<Outcome> {
        let ids: Vec<String> = events.into_iter().map(|event| self.hand(event)).collect();
        let mut outcomes: HashMap<String, Outcome> = ids.iter().map(|_| self.next_outcome()).collect();
        let of = |id| outcomes.remove(id).expect("it says once what it makes of each");
        ids.iter().map(of).collect()
    }

    /// Hands it an event; returns the invocation's id.
    fn hand(&mut self, event: Value) -> String {
        self.hand_for(event, Duration::from_secs(30))
    }

    fn hand_for(&mut self, event: Value, time: Duration) -> String {
        self.events.send((event, time)).expect("the Runtime API runs as long as the function");
        self.handed += 1;
        invocation(self.handed)
    }

    /// Hands it an event that it must answer.
    pub fn answer(&mut self, event: Value) -> Value {
        match self.invoke(event) {
            Outcome::Answer(answer) => answer,
            other => panic!("no answer but {other:?}; {}", self.told()),
        }
    }

    /// Waits for the outcome of the last event, or of its start.
    pub fn outcome(&mut self) -> Outcome {
        self.next_outcome().1
    }

    fn next_outcome(&mut self) -> (String, Outcome) {
        for _ in 0..PATIENCE.as_millis() / 100 {
            match self.outcomes.recv_timeout(Duration::from_millis(100)) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last messages may still be under way.
                if let Ok(outcome) = self.outcomes.recv_timeout(Duration::from_secs(30)) {
                    return outcome;
                }
                panic!("the function ended: {status}; {}", self.told());
            }
        }
        panic!("the function says nothing; {}", self.told())
    }

    /// Waits for its end; returns whether it succeeded.
    pub fn succeeded(&mut self) -> bool {
        for _ in 0..PATIENCE.as_millis() / 10 {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.success();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the function does not end; {}", self.told())
    }

    /// Waits until it has logged a line that `wanted` accepts.
    pub fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(&self.logs, wanted)
    }

    /// Waits until it has written a metric line that `wanted` accepts.
    pub fn measured(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(&self.metrics, wanted)
    }

    /// Returns everything that it wrote until now: lines of the log, then of metrics.
    #[must_use]
    pub fn told(&self) -> String {
        let text = |lines: &Lines| lines.lock().join("\n");
        format!("log:\n{}\nmetrics:\n{}", text(&self.logs), text(&self.metrics))
    }

    /// Ends it; returns every line that it wrote, of logs and of metrics.
    #[must_use]
    pub fn end(mut self) -> Vec<String> {
        // It may have ended already.
        let _ = self.child.kill();
        for reader in self.readers.drain(..) {
            // Its output is complete once both ends are closed.
            reader.join().expect("reading lines does not panic");
        }
        let taken = |lines: &Lines| std::mem::take(&mut *lines.lock());
        [taken(&self.logs), taken(&self.metrics)].concat()
    }

    fn wait_for(&self, lines: &Lines, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..PATIENCE.as_millis() / 10 {
            for line in &*lines.lock() {
                let line: Value = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("a line is JSON, which this is not: {error}: {line}"));
                if wanted(&line) {
                    return line;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("there is no such line; {}", self.told())
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects the lines that a program writes.
fn lines(output: Option<impl Read + Send + 'static>) -> (Lines, JoinHandle<()>) {
    let lines = Lines::default();
    let collected = lines.clone();
    let output = output.expect("its output is piped");
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            collected.lock().push(line);
        }
    });
    (lines, reader)
}

#[derive(Clone)]
struct RuntimeApi {
    /// The number of events handed out, and the events that wait.
    queue: Arc<AsyncMutex<(u64, tokio::sync::mpsc::UnboundedReceiver<Timed>)>>,
    /// The channel for the outcome of each invocation.
    tell: Sender<(String, Outcome)>,
    /// When it was first asked for an event.
    polled: Arc<OnceLock<Instant>>,
}

async fn next(State(api): State<RuntimeApi>) -> Response {
    // Fails if it was asked before.
    let _ = api.polled.set(Instant::now());
    let (number, event) = {
        let mut queue = api.queue.lock().await;
        queue.0 += 1;
        (queue.0, queue.1.recv().await)
    };
    let Some((event, time)) = event else { return StatusCode::GONE.into_response() };
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let deadline = SystemClock.now().plus_millis(time).millis();
    let headers = [
        ("lambda-runtime-aws-request-id", invocation(number)),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:function-under-test".to_owned(),
        ),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
    ];
    (headers, event.to_string()).into_response()
}

/// Returns the id of the invocation with this number.
fn invocation(number: u64) -> String {
    format!("request-{number}")
}

async fn answered(State(api): State<RuntimeApi>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    told(&api, id, Outcome::Answer, &body)
}

async fn failed(State(api): State<RuntimeApi>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    told(&api, id, Outcome::Error, &body)
}

async fn cannot_start(State(api): State<RuntimeApi>, body: Bytes) -> StatusCode {
    told(&api, String::new(), Outcome::CannotStart, &body)
}

fn told(api: &RuntimeApi, id: String, outcome: fn(Value) -> Outcome, body: &[u8]) -> StatusCode {
    let body = serde_json::from_slice(body).unwrap_or_else(|error| Value::from(error.to_string()));
    // The test may be over.
    let _ = api.tell.send((id, outcome(body)));
    StatusCode::ACCEPTED
}

/// A call of AWS.
#[derive(Debug, Clone)]
pub struct Call {
    /// The operation of a service with a JSON protocol: `DynamoDB_20120810.GetItem`; empty for others.
    pub target: String,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// Returns the body of a JSON protocol.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON protocols have JSON bodies")
    }
}

/// An AWS that answers every call by a function, and remembers the calls.
pub struct StubAws {
    server: Server,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl StubAws {
    /// Starts it; `answer` returns status and body.
    #[must_use]
    pub fn start(answer: impl Fn(&Call) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::start_after(|_| Duration::ZERO, answer)
    }

    /// Works like `start`, but delays each answer by the time that `wait` returns: concurrent calls wait together.
    #[must_use]
    pub fn start_after(
        wait: impl Fn(&Call) -> Duration + Send + Sync + 'static,
        answer: impl Fn(&Call) -> (u16, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let ready = move |call: &Call| {
            let wait = wait(call);
            async move {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
            }
        };
        Self::start_once(ready, answer)
    }

    /// Works like `start`, but holds each answer back until the future that `ready` returns for its call is over.
    #[must_use]
    pub fn start_once<F: Future<Output = ()> + Send>(
        ready: impl Fn(&Call) -> F + Send + Sync + 'static,
        answer: impl Fn(&Call) -> (u16, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let remembered = calls.clone();
        let (ready, answer) = (Arc::new(ready), Arc::new(answer));
        let app = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let call = Call {
                target: header(&parts.headers, "x-amz-target"),
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                headers: parts.headers,
                body: to_bytes(body, usize::MAX).await.expect("the call comes whole"),
            };
            ready(&call).await;
            let (status, body) = answer(&call);
            remembered.lock().push(call);
            let status = StatusCode::from_u16(status).expect("the test gives a status");
            (status, Body::from(body)).into_response()
        });
        Self { server: Server::start(app), calls }
    }

    /// Returns the value for the environment variable `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Returns the calls until now.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
