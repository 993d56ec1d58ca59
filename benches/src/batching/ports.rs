//! The same through the ports, in this process: with sharing, and without.

use std::{
    num::NonZeroU16,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};
use weir_aws::{Aws, Batching, GATHERING};
use weir_core::{
    Counter, Event, Increment, Record, Stamp, SystemClock, SystemRandom, Timestamp,
    ports::{Appended, LiveCounts, Stream},
};
use weir_lambda::testing::StubAws;

use super::{COUNTERS, Options, Took, stub};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reads,
    Increments,
    Appends,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Increments => "increments",
            Self::Appends => "appends",
        }
    }

    /// The operation of AWS that it takes.
    fn operation(self) -> &'static str {
        match self {
            Self::Reads => "BatchGetItem",
            Self::Increments => "UpdateItem",
            Self::Appends => "PutRecordBatch",
        }
    }
}

/// The ports that are asked.
#[derive(Clone)]
struct Ports {
    live: Arc<dyn LiveCounts>,
    stream: Arc<dyn Stream>,
}

/// How many are under way at once where each makes a call of its own: as many connections are open then.
const AT_ONCE: usize = 64;

/// How long a caller of a shared read waits: the machine may be slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// All at once, sharing calls.
pub(super) async fn shared(kind: Kind, options: &Options) -> anyhow::Result<Took> {
    let (aws, ports) = engine(options);
    let gathering = options.gathering.map_or(GATHERING, Duration::from_millis);
    let batching = Batching::default().gathering_for(gathering).reading_within(PATIENCE);
    let ports = Ports { live: batching.live_counts(ports.live), stream: batching.stream(ports.stream) };
    ask(kind, options, &aws, &ports, Semaphore::MAX_PERMITS).await
}

/// Each with a call of its own.
pub(super) async fn apart(kind: Kind, options: &Options) -> anyhow::Result<Took> {
    let (aws, ports) = engine(options);
    ask(kind, options, &aws, &ports, AT_ONCE).await
}

fn engine(options: &Options) -> (StubAws, Ports) {
    let stub = stub::start(options.latency(), json!({}));
    let credentials = Credentials::new("test", "test", None, None, "bench");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(stub.url())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let aws = Aws::new(config, Arc::new(SystemRandom), Arc::new(SystemClock));
    let ports = Ports {
        live: Arc::new(aws.counts(stub::COUNTS, NonZeroU16::MIN)),
        stream: Arc::new(aws.stream(stub::STREAM, PATIENCE)),
    };
    (stub, ports)
}

async fn ask(
    kind: Kind,
    options: &Options,
    aws: &StubAws,
    ports: &Ports,
    at_once: usize,
) -> anyhow::Result<Took> {
    let places = Arc::new(Semaphore::new(at_once));
    let (begun, mut asking) = (Instant::now(), JoinSet::new());
    for number in 0..options.requests {
        let (ports, places) = (ports.clone(), places.clone());
        let after = Duration::from_millis(options.over) * number / options.requests;
        asking.spawn(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let _place = places.acquire().await.context("it is never closed")?;
            let begun = Instant::now();
            one(kind, number as usize, &ports).await?;
            anyhow::Ok(begun.elapsed())
        });
    }
    let mut waits = Vec::with_capacity(options.requests as usize);
    while let Some(wait) = asking.join_next().await {
        waits.push(wait.context("a request panicked")??);
    }
    let all = begun.elapsed();
    let calls = vec![("calls of AWS", "requests a call", stub::calls(aws, 0, kind.operation()))];
    Ok(Took { waits, all, calls })
}

/// One request, and whether it was answered well.
async fn one(kind: Kind, number: usize, ports: &Ports) -> anyhow::Result<()> {
    match kind {
        Kind::Reads => {
            let counts = ports.live.read(&[counter(number)?]).await?;
            ensure!(counts == [stub::COUNT], "the count is {counts:?}");
        }
        Kind::Increments => ports.live.raise(&[Increment { counter: counter(number)?, by: 1 }]).await?,
        Kind::Appends => {
            let stored = ports.stream.append(vec![record(number)?]).await;
            ensure!(matches!(stored[..], [Appended::Stored]), "not stored: {stored:?}");
        }
    }
    Ok(())
}

fn counter(number: usize) -> anyhow::Result<Counter> {
    let key = Some(format!("button-{}", number % COUNTERS).parse()?);
    Ok(Counter { username: "ethan".parse()?, event_type: "button_click".parse()?, key })
}

fn record(number: usize) -> anyhow::Result<Record> {
    let text = format!(r#"{{"session_id":"session-{number}","button_id":"button-{}"}}"#, number % COUNTERS);
    let event = Event::read(&text).ok().context("it is an event")?;
    let stamp = Stamp {
        username: "ethan".parse()?,
        event_id: format!("event-{number}").parse()?,
        received_at: Timestamp::saturating(1_795_179_605_007),
    };
    Ok(Record::accepted(&event, &"button_click".parse()?, None, stamp))
}
