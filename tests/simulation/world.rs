//! AWS, below the SDK: every call that the SDK makes comes here, and may go wrong here.

pub(crate) mod dynamodb;
mod expression;
pub(crate) mod firehose;
pub(crate) mod queue;
pub(crate) mod s3;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_config::{BehaviorVersion, Region, SdkConfig, timeout::TimeoutConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::SharedTimeSource,
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{DateTime, body::SdkBody, date_time::Format};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use std::time::Duration;

use crate::{
    clock::{SimulatedClock, wait},
    dice::Dice,
    faults::{Fault, Faults, ORIGIN, Origin, Raised, Service, Taken},
    luck::Luck,
    operations::{What, Who},
    planted::Bug,
    trace::Trace,
};

pub(crate) const RAW: &str = "weir-raw";
pub(crate) const LAKE: &str = "weir-lake";

/// Everything outside of Weir.
pub(crate) struct World {
    pub(crate) clock: SimulatedClock,
    pub(crate) luck: Arc<Luck>,
    /// For planted bugs.
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) bug: Option<Bug>,
    pub(crate) tables: Mutex<dynamodb::Tables>,
    pub(crate) stream: Mutex<firehose::Stream>,
    pub(crate) objects: Mutex<s3::Objects>,
    pub(crate) queue: Mutex<queue::Queue>,
    /// All origins of calls.
    pub(crate) origins: Mutex<Vec<Arc<Origin>>>,
    pub(crate) calls: AtomicU64,
}

impl World {
    pub(crate) fn new(
        luck: &Arc<Luck>,
        clock: SimulatedClock,
        bug: Option<Bug>,
        keeps_trace: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            clock,
            luck: luck.clone(),
            dice: Dice::new(0, "planted"),
            faults: Faults::new(luck),
            trace: Trace::new(keeps_trace),
            bug,
            tables: Mutex::default(),
            stream: Mutex::default(),
            objects: Mutex::new(s3::Objects::new(luck)),
            queue: Mutex::default(),
            origins: Mutex::default(),
            calls: AtomicU64::new(0),
        })
    }

    pub(crate) fn note(&self, what: &str) {
        self.trace.note(self.clock.millis(), what);
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn origin(&self, who: Who, may_die: bool) -> Arc<Origin> {
        let origin = self.faults.origin(who, may_die);
        self.origins.lock().unwrap().push(origin.clone());
        origin
    }

    /// The SDK's configuration: what `Aws::on_lambda` makes, but for the client, the time and the waiting.
    pub(crate) fn config(self: &Arc<Self>) -> SdkConfig {
        /// What the SDK keeps for the whole process (how many retries are left) it keeps by region.
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let credentials = Credentials::new("simulated", "simulated", None, None, "simulation");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(format!("run-{}", RUNS.fetch_add(1, Ordering::SeqCst))))
            .endpoint_url("http://aws.invalid")
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(SharedHttpClient::new(Client(self.clone())))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(SharedTimeSource::new(self.clock))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(2))
                    .operation_attempt_timeout(Duration::from_secs(5))
                    .build(),
            )
            .build()
    }

    /// One call, from its arrival to its answer.
    async fn call(self: Arc<Self>, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let asks_the_time = Call::read(&request).is_of_recent("GetItem");
        let mut answer = self.clone().answer(request).await?;
        // Every service says what time it is; the bugs stand for a program that does not listen, or not at first.
        let deaf = self.has(Bug::WallClockTrusted) || self.has(Bug::FirstClaimUntimed) && asks_the_time;
        if !deaf {
            let now = DateTime::from_millis(i64::try_from(self.clock.millis()).unwrap());
            answer.headers_mut().insert("date", now.fmt(Format::HttpDate).unwrap());
        }
        Ok(answer)
    }

    async fn answer(self: Arc<Self>, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let origin = ORIGIN.with(Arc::clone);
        let call = Call::read(&request);
        let fault = self.faults.draw(origin.who, call.service, call.operation());
        self.note(&format!(
            "{}: {call} {}",
            origin.who,
            fault.map_or_else(String::new, |fault| format!("{fault:?}"))
        ));
        if fault.is_some() {
            origin.disturb();
        }
        if call.is_of_recent("UpdateItem") {
            let id = call.body["Key"]["id"]["S"].as_str().unwrap();
            origin.tried_to_mark.lock().unwrap().push(id.to_owned());
        }
        wait(self.luck.number(origin.who, What::Arrives, 5, |dice| dice.range(1..12))).await;
        origin.boundary().await;
        match fault {
            Some(Fault::Throttle) => return Ok(call.throttled()),
            Some(Fault::Conflict) => {
                return Ok(Call::refused(400, "TransactionCanceledException", self.conflict()));
            }
            Some(Fault::ServerError { after: false }) => return Ok(call.failed()),
            Some(Fault::Break { after: false }) => return Err(broken()),
            Some(Fault::Slow { after: false, millis }) => wait(millis).await,
            _ => {}
        }
        let (answer, done) = self.apply(&call, &origin, fault).await;
        origin.boundary().await;
        wait(self.luck.number(origin.who, What::Returns, 3, |dice| dice.range(1..6))).await;
        match fault {
            Some(Fault::ServerError { after: true }) => return Ok(call.failed()),
            Some(Fault::Break { after: true }) => return Err(broken()),
            Some(Fault::Slow { after: true, millis }) => wait(millis).await,
            _ => {}
        }
        done();
        Ok(answer)
    }

    fn conflict(&self) -> Value {
        let code = if self.has(Bug::ConflictTakenForDone) {
            "ConditionalCheckFailed"
        } else {
            "TransactionConflict"
        };
        json!({"CancellationReasons": [{"Code": code}]})
    }

    /// Does what a call asks for. Beside the answer, it gives what is to be noted once the answer has come.
    async fn apply<'a>(
        &self,
        call: &Call,
        origin: &'a Origin,
        fault: Option<Fault>,
    ) -> (HttpResponse, Box<dyn FnOnce() + Send + 'a>) {
        let now = self.clock.millis();
        match call.service {
            Service::Firehose => {
                let body = self.planted_in_records(call);
                let refuse =
                    || fault == Some(Fault::Partial) && self.faults.chance(origin.who, What::Refused, 500);
                let (mut answer, lines) = self.stream.lock().unwrap().take(&body, now, refuse);
                if answer["FailedPutCount"] != 0 {
                    self.planted_in_answer(&mut answer);
                }
                let mut appended = origin.appended.lock().unwrap();
                let at = appended.len();
                appended.push(Taken { at: self.calls.load(Ordering::SeqCst), lines, told: false });

                (ok(&answer), Box::new(move || origin.appended.lock().unwrap()[at].told = true))
            }
            Service::DynamoDb => {
                let body = self.planted_in_write(call).await;
                let mut answer = self.tables.lock().unwrap().call(call.operation(), &body, now);
                self.planted_in_claim(&mut answer);
                let mut note: Box<dyn FnOnce() + Send + 'a> = Box::new(|| ());
                if body["TableName"] == "recent" {
                    note_id(origin, call.operation(), &body, answer.is_ok(), now);
                } else if call.operation() == "UpdateItem" {
                    let place = ["pk", "sk"]
                        .map(|name| body["Key"][name]["S"].as_str().unwrap_or_default().to_owned());
                    let by = body["ExpressionAttributeValues"][":by"]["N"].as_str();
                    if let Some(by) = by.and_then(|by| by.parse().ok()) {
                        let mut raised = origin.raised.lock().unwrap();
                        let at = raised.len();
                        raised.push(Raised { place: place.into(), by, told: false });
                        note = Box::new(move || origin.raised.lock().unwrap()[at].told = true);
                    }
                }
                let answer = match answer {
                    Ok(answer) => ok(&answer),
                    Err((status, code, members)) => Call::refused(status, code, members),
                };
                (answer, note)
            }
            Service::S3 => {
                let (mut status, mut body) =
                    self.objects.lock().unwrap().call(call.s3.as_ref().unwrap(), &call.bytes);
                if status == 403 && self.has(Bug::StrangersBucketFails) {
                    (status, body) = (400, s3::error("InvalidRequest"));
                }
                let body = if fault == Some(Fault::Torn) && body.len() > 1 {
                    torn(&body)
                } else {
                    SdkBody::from(body)
                };
                (response(status, body), Box::new(|| ()))
            }
        }
    }
}

/// Notes what an origin did about an event's id.
fn note_id(origin: &Origin, operation: &str, body: &Value, done: bool, now: u64) {
    let item = if operation == "PutItem" { &body["Item"] } else { &body["Key"] };
    let id = item["id"]["S"].as_str().unwrap().to_owned();
    match operation {
        "PutItem" if done => origin.claimed.lock().unwrap().push((now, id)),
        "UpdateItem" if done => origin.marked.lock().unwrap().push(id),
        _ => {}
    }
}

/// A call as it came.
pub(crate) struct Call {
    pub(crate) service: Service,
    target: String,
    s3: Option<s3::Call>,
    bytes: Bytes,
    pub(crate) body: Value,
}

impl Call {
    fn read(request: &HttpRequest) -> Self {
        let bytes = Bytes::copy_from_slice(request.body().bytes().expect("bodies are in memory"));
        let Some((service, target)) = request.headers().get("x-amz-target").and_then(|it| it.split_once('.'))
        else {
            let s3 = Some(s3::Call::read(request.method(), request.uri()));
            return Self { service: Service::S3, target: String::new(), s3, bytes, body: Value::Null };
        };
        let service = if service.starts_with("Firehose") { Service::Firehose } else { Service::DynamoDb };
        let body = serde_json::from_slice(&bytes).unwrap();
        Self { service, target: target.to_owned(), s3: None, bytes, body }
    }

    pub(crate) fn operation(&self) -> &str {
        self.s3.as_ref().map_or(&self.target, |s3| s3.operation)
    }

    /// Whether it is this operation on the table of recent ids.
    fn is_of_recent(&self, operation: &str) -> bool {
        self.body["TableName"] == "recent" && self.operation() == operation
    }

    fn throttled(&self) -> HttpResponse {
        match self.service {
            Service::S3 => response(503, s3::error("SlowDown").into()),
            _ => Self::refused(400, "ThrottlingException", json!({})),
        }
    }

    fn failed(&self) -> HttpResponse {
        match self.service {
            Service::S3 => response(500, s3::error("InternalError").into()),
            _ => Self::refused(500, "InternalServerError", json!({})),
        }
    }

    fn refused(status: u16, code: &str, mut members: Value) -> HttpResponse {
        members["__type"] = code.into();
        members["message"] = "on purpose".into();
        response(status, SdkBody::from(members.to_string()))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.s3 {
            Some(call) => write!(out, "{} ({} bytes)", call.name(), self.bytes.len()),
            // Keys are the same in every run; the order of members is not.
            None => write!(out, "{} {} ({} bytes)", self.target, self.body["Key"], self.bytes.len()),
        }
    }
}

fn ok(body: &Value) -> HttpResponse {
    response(200, SdkBody::from(body.to_string()))
}

fn response(status: u16, body: SdkBody) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), body)
}

fn broken() -> ConnectorError {
    ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into())
}

/// The first half of an object, and then the connection breaks.
fn torn(object: &Bytes) -> SdkBody {
    let half = http_body::Frame::data(object.slice(..object.len() / 2));
    let pieces = [Ok(half), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    SdkBody::from_body_1_x(http_body_util::StreamBody::new(stream::iter(pieces)))
}

/// Leads the SDK's calls into the world.
struct Client(Arc<World>);

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the simulated AWS")
    }
}

impl HttpClient for Client {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self(self.0.clone()))
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.0.clone().call(request))
    }
}
