//! The collector on Lambda: the API over Firehose and DynamoDB, behind API Gateway.

use std::{num::NonZeroU16, process::ExitCode, sync::Arc, time::Duration};

use authorizer::Authorizer;
use collector::{
    AthenaQueries, Collector, Drift, Gateway, GatewayAuthentication, Host, Limits, Observe, Origins, Queries,
    Taken,
};
use mimalloc::MiMalloc;
use parking_lot::Mutex;
use weir_aws::{Aws, Batching, BatchingStats, Names, Retries};
use weir_core::{Catalog, Clock, SystemClock, SystemRandom, Timestamp};
use weir_lambda::{Environment, Metrics, StartError};

/// A click makes some hundreds of small allocations, mostly the SDK's: mimalloc takes a tenth less CPU for them than the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the stream is retried. API Gateway gives up after 30 seconds and a client often sooner: the client should learn
/// that its events are not stored. The function's timeout must be longer, with time to remember the events' ids (3 seconds
/// at the most) and for the counts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);

/// The time limit for storing and counting together. Thousands of events with ids and keys of their own take tens of
/// thousands of calls; the function's timeout of 15 seconds would end them without an answer, though the events are stored.
const COUNTED_WITHIN: Duration = Duration::from_secs(13);

/// How long verified keys of vendors' clients stay cached, as in the authorizer function.
const CREDENTIALS_CACHED: Duration = Duration::from_mins(1);

/// The least time between two reports of shared calls: each line costs money.
const REPORT_EVERY: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    weir_lambda::run(|environment| {
        let (gateway, sharing) = gateway(environment)?;
        Ok(move |event| {
            let (gateway, sharing) = (gateway.clone(), sharing.clone());
            async move {
                let answer = gateway.answer(event).await;
                if let Some(sharing) = sharing {
                    sharing.report();
                }
                answer.inspect_err(|error| tracing::error!(%error, "no answer"))
            }
        })
    })
    .await
}

fn gateway(environment: &Environment) -> Result<(Gateway, Option<Arc<Sharing>>), StartError> {
    let names = Names {
        stream: environment.text("WEIR_STREAM")?,
        recent_ids: environment.text("WEIR_IDS_TABLE")?,
        counts: environment.text("WEIR_COUNTS_TABLE")?,
        shards: environment.or("WEIR_COUNTER_SHARDS", NonZeroU16::MIN)?,
        latest: environment.text("WEIR_LATEST_TABLE")?,
        raw: environment.text("WEIR_RAW_BUCKET")?,
        lake: environment.text("WEIR_LAKE_BUCKET")?,
        bucket_per_user: environment.or("WEIR_BUCKET_PER_USER", false)?,
    };
    let origins = environment.or("WEIR_ALLOW_ORIGINS", Origins::Any)?;
    let clock = Arc::new(SystemClock);
    let metrics = Metrics::of_function(environment, clock.clone())?;

    let aws = Aws::on_lambda();
    let users = Arc::new(aws.users(&environment.text("WEIR_USERS_TABLE")?));
    let authorizer = Authorizer::new(users, clock.clone(), &SystemRandom, CREDENTIALS_CACHED);
    let (mut ports, retries) = aws.ports(&names, GIVE_UP_AFTER);
    // A single invocation at a time has no other to share calls with.
    let sharing = (environment.invocations_at_once() > 1).then(|| {
        let batching = Batching::default();
        ports = batching.ports(ports.clone());
        let (metrics, clock) = (metrics.clone(), clock.clone());
        Arc::new(Sharing { metrics, batching, clock, last_report: Mutex::new(Timestamp::saturating(0)) })
    });
    let catalog = Catalog::built_in()?;
    let secret = if catalog.needs_secret() { Some(environment.required("WEIR_SECRET")?) } else { None };
    let catalog = Arc::new(catalog.with_secret(secret));
    collector::check_routes(&catalog)?;
    let queries = queries(environment, &aws, &names, &catalog, &clock)?;
    let host = Host {
        authenticate: Arc::new(GatewayAuthentication::new(clock.clone()).checking_keys(authorizer)),
        observe: Arc::new(Measure { metrics, retries }),
        clock,
        random: Arc::new(SystemRandom),
        runs: Arc::new(()),
        queries,
        counted_within: Some(COUNTED_WITHIN),
        keep_days: Some(environment.or("WEIR_KEEP_DAYS", 0)?).filter(|days| *days > 0),
    };
    let collector = Collector { catalog, ports, host, limits: Limits::default() };
    // API Gateway answers preflight requests by the same list. Posts that need no preflight are checked here.
    Ok((Gateway::new(collector::router(collector, &origins)), sharing))
}

/// Returns the answers to queries: where there is a workgroup for them, Athena's.
fn queries(
    environment: &Environment,
    aws: &Aws,
    names: &Names,
    catalog: &Arc<Catalog>,
    clock: &Arc<SystemClock>,
) -> Result<Arc<dyn Queries>, StartError> {
    let workgroup: String = environment.or("WEIR_QUERY_WORKGROUP", String::new())?;
    if workgroup.is_empty() {
        return Ok(Arc::new(()));
    }
    let database = environment.text("WEIR_GLUE_DATABASE")?;
    let calls = aws.client_queries(&workgroup, names);
    Ok(Arc::new(AthenaQueries::new(calls, database, catalog.clone(), clock.clone())))
}

/// Emits metrics of the outcomes of events, and of the difference between live and settled counts.
struct Measure {
    metrics: Metrics,
    retries: Retries,
}

impl Observe for Measure {
    /// Where several invocations share calls, the retries of the stream are those of all of them.
    fn taken(&self, taken: &Taken) {
        self.metrics.count(&[
            ("EventsAccepted", taken.events.stored as u64),
            ("EventsDuplicate", taken.events.duplicates as u64),
            ("EventsRejected", taken.events.rejected as u64),
            ("EventsNotStored", taken.events.not_stored as u64),
            ("CountFailures", taken.count_failures as u64),
            ("StreamRetries", self.retries.take()),
        ]);
    }

    /// The difference for the user that reads; of these values, the largest says most.
    fn drift(&self, drift: &Drift) {
        self.metrics.count(&[("CountsUnderWay", drift.under_way), ("CountsMissing", drift.missing)]);
    }
}

/// Emits metrics of shared calls: the requests of several invocations, and the calls that they took.
struct Sharing {
    metrics: Metrics,
    batching: Batching,
    clock: Arc<dyn Clock>,
    /// The time of the last report.
    last_report: Mutex<Timestamp>,
}

impl Sharing {
    /// Reports, unless the last report was a moment ago: a later invocation then reports the rest.
    fn report(&self) {
        let now = self.clock.now();
        {
            let mut last_report = self.last_report.lock();
            if u128::from(now.millis().saturating_sub(last_report.millis())) < REPORT_EVERY.as_millis() {
                return;
            }
            *last_report = now;
        }
        let BatchingStats { reads, increments, appends } = self.batching.take_stats();
        self.metrics.count(&[
            ("ReadRequests", reads.requests),
            ("ReadCalls", reads.calls),
            ("IncrementRequests", increments.requests),
            ("IncrementCalls", increments.calls),
            ("AppendRequests", appends.requests),
            ("AppendCalls", appends.calls),
        ]);
    }
}
