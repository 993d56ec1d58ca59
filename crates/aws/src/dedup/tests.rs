use std::sync::Mutex;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::SystemTimeSource,
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
use serde_json::Value;
use weir_core::{Event, ManualClock, SeededRandom, Stamp};

use super::*;
use crate::Aws;

const DATE: &str = "Fri, 20 Nov 2026 13:00:00 GMT";
const THEN: u64 = 1_795_179_600_000;
const TWO_DAYS: u64 = 172_800_000;

/// A table that records all calls and returns the answers of a list, one for each call; the last answer repeats.
#[derive(Debug, Clone)]
struct Table(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    calls: Vec<(String, Value)>,
    answers: Vec<Answer>,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    /// The call succeeds, and its answer has this time.
    Done(Option<&'static str>),
    /// The call is denied.
    Denied,
    /// The connection breaks.
    Broken,
}

impl Table {
    fn answering(answers: &[Answer]) -> Self {
        Self(Arc::new(Mutex::new(State { calls: Vec::new(), answers: answers.to_vec() })))
    }

    /// Returns the operations that were called.
    fn operations(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.iter().map(|(operation, _)| operation.clone()).collect()
    }

    /// Returns the end of each claim.
    fn claimed_until(&self) -> Vec<u64> {
        let state = self.0.lock().unwrap();
        let claims = state.calls.iter().filter(|(operation, _)| operation == "PutItem");
        claims.map(|(_, call)| call["Item"]["until"]["N"].as_str().unwrap().parse().unwrap()).collect()
    }
}

impl HttpClient for Table {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut state = self.0.lock().unwrap();
        let operation = request.headers().get("x-amz-target").unwrap().rsplit('.').next().unwrap().to_owned();
        state.calls.push((operation, serde_json::from_slice(request.body().bytes().unwrap()).unwrap()));
        let answer = if state.answers.len() > 1 { state.answers.remove(0) } else { state.answers[0] };
        let answered = |status: u16, body: &'static str, date: Option<&'static str>| {
            let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            if let Some(date) = date {
                answer.headers_mut().insert("date", date);
            }
            Ok(answer)
        };
        HttpConnectorFuture::ready(match answer {
            Answer::Done(date) => answered(200, "{}", date),
            Answer::Denied => answered(400, r#"{"__type":"AccessDeniedException"}"#, Some(DATE)),
            Answer::Broken => Err(ConnectorError::io(std::io::Error::other("it broke").into())),
        })
    }
}

/// The recent ids of a machine with this clock.
fn ids(table: &Table, clock: &Arc<ManualClock>) -> RecentIds {
    let credentials = Credentials::new("test", "test", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://aws.invalid")
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(SharedHttpClient::new(table.clone()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SystemTimeSource::new())
        .build();
    Aws::new(config, Arc::new(SeededRandom::new(1)), clock.clone()).recent_ids("recent")
}

fn clock(millis: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::saturating(millis)))
}

/// Claims an event, with or without an id of its client.
async fn claim(ids: &RecentIds, with_id: bool) -> Claim {
    let id = if with_id { r#","event_id":"e-1""# } else { "" };
    let text = format!(r#"{{"event_type":"t"{id}}}"#);
    let (event, at) = (Event::read(&text).unwrap(), Timestamp::saturating(THEN));
    let stamp = Stamp::new("ethan".parse().unwrap(), event.event_id.clone(), at, &SeededRandom::new(2));
    let record = Record::accepted(&event, &"t".parse().unwrap(), None, stamp);
    let mut claims = ids.claim(&[record], Instant::now() + Duration::from_mins(1)).await;
    claims.claims.remove(0)
}

#[tokio::test(start_paused = true)]
async fn the_first_claim_of_a_process_goes_by_the_time_that_the_table_tells_and_not_by_its_own_clock() {
    for wrong in [THEN - TWO_DAYS, THEN + TWO_DAYS] {
        let table = Table::answering(&[Answer::Done(Some(DATE))]);
        let ids = ids(&table, &clock(wrong));
        for _ in 0..2 {
            assert!(matches!(claim(&ids, true).await, Claim::Own(_)));
        }
        assert_eq!(table.operations(), ["GetItem", "PutItem", "PutItem"], "the time is asked for once");
        assert_eq!(table.claimed_until(), [THEN + 30_000; 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_is_asked_for_again_once_the_machines_clock_has_jumped() {
    let table = Table::answering(&[Answer::Done(Some(DATE))]);
    let clock = clock(THEN);
    let ids = ids(&table, &clock);
    claim(&ids, true).await;
    clock.jump(60_000);
    claim(&ids, true).await;
    assert_eq!(table.operations(), ["GetItem", "PutItem", "GetItem", "PutItem"]);
    assert_eq!(table.claimed_until(), [THEN + 30_000; 2]);
}

#[tokio::test(start_paused = true)]
async fn events_without_an_id_of_the_clients_ask_for_no_time() {
    let table = Table::answering(&[Answer::Done(Some(DATE))]);
    assert!(matches!(claim(&ids(&table, &clock(THEN)), false).await, Claim::Free));
    assert!(table.operations().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_the_time_as_well() {
    let table = Table::answering(&[Answer::Denied, Answer::Done(Some(DATE))]);
    assert!(matches!(claim(&ids(&table, &clock(0)), true).await, Claim::Own(_)));
    assert_eq!(table.claimed_until(), [THEN + 30_000]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_by_a_clock_that_no_answer_has_set() {
    let table = Table::answering(&[Answer::Broken]);
    let claimed = claim(&ids(&table, &clock(THEN)), true).await;
    assert!(matches!(claimed, Claim::Refused(PortError::Unavailable { .. })), "{claimed:?}");
    assert!(table.operations().iter().all(|operation| operation == "GetItem"), "{:?}", table.operations());
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_time_leave_the_machines_clock() {
    let table = Table::answering(&[Answer::Done(None)]);
    let ids = ids(&table, &clock(5_000));
    for _ in 0..2 {
        claim(&ids, true).await;
    }
    assert_eq!(table.operations(), ["GetItem", "PutItem", "PutItem"]);
    assert_eq!(table.claimed_until(), [35_000; 2]);
}
