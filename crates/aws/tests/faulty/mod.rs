//! An HTTP client for the SDK that goes wrong, by a plan and a seed: it stands between the real SDK and the emulator.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use weir_core::{Random, SeededRandom};

/// What can go wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is refused: too many calls.
    Throttle,
    /// It fails inside the service, without an effect.
    ServerError,
    /// The connection breaks before the call arrives.
    DropBefore,
    /// The call takes effect, and its answer is lost.
    DropAfter,
    /// It takes a while.
    Slow,
    /// `PutRecordBatch` takes a part of the records only.
    Partial,
}

/// Which faults there are, and how often: so many of 256 calls.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub faults: &'static [Fault],
    pub of_256: u8,
}

/// A faulty client, and what it did.
#[derive(Debug, Clone)]
pub struct Faulty(Arc<State>);

#[derive(Debug)]
struct State {
    inner: SharedHttpClient,
    plan: Plan,
    random: SeededRandom,
    on: std::sync::atomic::AtomicBool,
    done: Mutex<BTreeMap<Fault, u64>>,
    /// The lines of records that may be in raw although no caller had that answer.
    lost_answers: Mutex<Vec<Vec<u8>>>,
    /// The identities of events that may be in raw and are not known to be noted as stored.
    unmarked: Mutex<Vec<String>>,
    calls: AtomicU64,
}

impl Faulty {
    pub fn new(plan: Plan) -> Self {
        let inner = aws_smithy_http_client::Builder::new().build_http();
        Self(Arc::new(State {
            inner,
            plan,
            random: SeededRandom::new(plan.seed),
            on: true.into(),
            done: Mutex::default(),
            lost_answers: Mutex::default(),
            unmarked: Mutex::default(),
            calls: AtomicU64::new(0),
        }))
    }

    pub fn client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// From now on nothing goes wrong.
    pub fn stop(&self) {
        self.0.on.store(false, Ordering::SeqCst);
    }

    /// How often each fault happened.
    pub fn done(&self) -> BTreeMap<Fault, u64> {
        self.0.done.lock().unwrap().clone()
    }

    /// The records of calls that may have taken effect without an answer: it was dropped on purpose, or the caller
    /// did not wait for it.
    pub fn lost_answers(&self) -> Vec<Vec<u8>> {
        self.0.lost_answers.lock().unwrap().clone()
    }

    /// The identities of events of which a call that should have noted them as stored did not.
    pub fn unmarked(&self) -> Vec<String> {
        self.0.unmarked.lock().unwrap().clone()
    }

    fn pick(&self, of_firehose: bool) -> Option<Fault> {
        let Plan { faults, of_256, .. } = self.0.plan;
        let mut bytes = [0; 3];
        self.0.random.fill(&mut bytes);
        let fault = faults[usize::from(bytes[1]) % faults.len()];
        let wanted = self.0.on.load(Ordering::SeqCst) && bytes[0] < of_256;
        let fault = (wanted && (fault != Fault::Partial || of_firehose)).then_some(fault)?;
        *self.0.done.lock().unwrap().entry(fault).or_default() += 1;
        Some(fault)
    }
}

impl HttpClient for Faulty {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.0.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { faulty: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Connector {
    faulty: Faulty,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let of_firehose = target.ends_with("PutRecordBatch");
        // S3 alone speaks XML.
        let of_s3 = target.is_empty();
        let fault = self.faulty.pick(of_firehose);
        let (inner, faulty) = (self.inner.clone(), self.faulty.clone());
        let broken = || ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into());
        // Until it is answered, a mark may not be there.
        let mark = target.ends_with("UpdateItem").then(|| identity(&request)).flatten();
        let mark =
            mark.map(|id| Unanswered { faulty: faulty.clone(), identity: Some(id), records: Vec::new() });
        HttpConnectorFuture::new(async move {
            if fault == Some(Fault::Slow) {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            let mut refused = None;
            match fault {
                None | Some(Fault::Slow | Fault::DropAfter) => {}
                Some(Fault::Throttle) if of_s3 => return Ok(s3_refusal(503, "SlowDown")),
                Some(Fault::Throttle) => return Ok(refusal(400, "ThrottlingException")),
                Some(Fault::ServerError) if of_s3 => return Ok(s3_refusal(500, "InternalError")),
                Some(Fault::ServerError) => return Ok(refusal(500, "InternalServerError")),
                Some(Fault::DropBefore) => return Err(broken()),
                Some(Fault::Partial) => {
                    let (kept, thinned) = thin_out(&mut request, &faulty.0.random);
                    if kept == 0 {
                        return Ok(answer(200, &merged(&json!({"RequestResponses": []}), &thinned)));
                    }
                    refused = Some(thinned);
                }
            }
            if of_s3 {
                let answer = inner.call(request).await?;
                return if fault == Some(Fault::DropAfter) { Err(broken()) } else { Ok(answer) };
            }
            let records = if of_firehose { records(&request) } else { Vec::new() };
            let put = Unanswered { faulty: faulty.clone(), identity: None, records };
            let mut response = inner.call(request).await?;
            // Whole, so that no caller can give up between its head and its body.
            let body = read(response.take_body()).await;
            // A mark that was made is there, whether its maker learns of it or not.
            if let Some(mark) = mark
                && response.status().is_success()
            {
                mark.answered();
            }
            if fault == Some(Fault::DropAfter) {
                return Err(broken());
            }
            put.answered();
            if let Some(refused) = refused {
                let taken: Value = serde_json::from_slice(&body).unwrap();
                return Ok(answer(200, &merged(&taken, &refused)));
            }
            *response.body_mut() = SdkBody::from(body);
            Ok(response)
        })
    }
}

/// What a call is about, which counts as without an answer if this is dropped: also where its caller gave up.
struct Unanswered {
    faulty: Faulty,
    identity: Option<String>,
    records: Vec<Vec<u8>>,
}

impl Unanswered {
    fn answered(mut self) {
        self.identity = None;
        self.records.clear();
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let State { lost_answers, unmarked, .. } = &*self.faulty.0;
        lost_answers.lock().unwrap().append(&mut self.records);
        unmarked.lock().unwrap().extend(self.identity.take());
    }
}

/// Whose event a call notes as stored, if it does that.
fn identity(request: &HttpRequest) -> Option<String> {
    let body: Value = serde_json::from_slice(request.body().bytes()?).ok()?;
    body["UpdateExpression"]
        .as_str()?
        .contains(":stored")
        .then(|| body["Key"]["id"]["S"].as_str())?
        .map(str::to_owned)
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    answer(status, &json!({"__type": code, "message": "on purpose"}))
}

fn s3_refusal(status: u16, code: &str) -> HttpResponse {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
    response
}

async fn read(body: SdkBody) -> Vec<u8> {
    aws_sdk_s3::primitives::ByteStream::new(body).collect().await.unwrap().to_vec()
}

/// The bytes of a request's records.
fn records(request: &HttpRequest) -> Vec<Vec<u8>> {
    let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    let decode = |record: &Value| aws_smithy_types::base64::decode(record["Data"].as_str().unwrap()).unwrap();
    body["Records"].as_array().unwrap().iter().map(decode).collect()
}

/// Takes some records out of a request; answers with how many are left, and for each of all whether it was taken out.
fn thin_out(request: &mut HttpRequest, random: &SeededRandom) -> (usize, Vec<bool>) {
    let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    let records = body["Records"].as_array_mut().unwrap();
    let refused: Vec<bool> = records
        .iter()
        .map(|_| {
            let mut byte = [0];
            random.fill(&mut byte);
            byte[0] % 2 == 0
        })
        .collect();
    let mut next = refused.iter();
    records.retain(|_| !next.next().unwrap());
    let kept = records.len();
    let text = body.to_string();
    request.headers_mut().insert("content-length", text.len().to_string());
    *request.body_mut() = SdkBody::from(text);
    (kept, refused)
}

/// The service's answer for the records it got, with refusals for those it did not get in their places.
fn merged(taken: &Value, refused: &[bool]) -> Value {
    let mut taken = taken["RequestResponses"].as_array().unwrap().iter();
    let answers: Vec<Value> = refused
        .iter()
        .map(|refused| match refused {
            true => json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "on purpose"}),
            false => taken.next().unwrap().clone(),
        })
        .collect();
    let failed = refused.iter().filter(|refused| **refused).count();
    json!({"FailedPutCount": failed, "RequestResponses": answers})
}
