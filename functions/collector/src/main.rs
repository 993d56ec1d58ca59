//! The collector on Lambda: the API over Firehose and DynamoDB, behind API Gateway.

use std::{num::NonZeroU16, process::ExitCode, sync::Arc, time::Duration};

use collector::{Collector, Drift, Gateway, GatewayAuthentication, Observe, Origins, Taken};
use mimalloc::MiMalloc;
use weir_aws::{Aws, FirehoseStream};
use weir_core::{Catalog, SystemClock, SystemRandom};
use weir_lambda::{Environment, Metrics, StartError};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the stream is tried. API Gateway gives up after 30 seconds and a client often sooner: it should learn that
/// its events are not stored, and not wonder. The function's timeout must be longer, with time for remembering which
/// they were (3 seconds at the most) and for the counts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    weir_lambda::run(|environment| {
        let gateway = gateway(environment)?;
        Ok(move |event| {
            let gateway = gateway.clone();
            async move { gateway.answer(event).await.inspect_err(|error| tracing::error!(%error, "no answer")) }
        })
    })
    .await
}

fn gateway(environment: &Environment) -> Result<Gateway, StartError> {
    let stream = environment.text("WEIR_STREAM")?;
    let ids_table = environment.text("WEIR_IDS_TABLE")?;
    let counts_table = environment.text("WEIR_COUNTS_TABLE")?;
    let shards = environment.or("WEIR_COUNTER_SHARDS", NonZeroU16::MIN)?;
    let clock = Arc::new(SystemClock);
    let metrics = Metrics::of_function(environment, clock.clone())?;

    let aws = Aws::on_lambda();
    let health = aws.health(&stream, &counts_table);
    let ids = aws.recent_ids(&ids_table, clock.clone());
    let stream = aws.stream(&stream, GIVE_UP_AFTER).remembering(ids);
    let counts = Arc::new(aws.counts(&counts_table, shards));
    let collector = Collector {
        catalog: Arc::new(Catalog::built_in()?),
        stream: Arc::new(stream.clone()),
        live: counts.clone(),
        settled: counts.clone(),
        rejected: counts,
        health: Arc::new(health),
        authenticate: Arc::new(GatewayAuthentication),
        observe: Arc::new(Measure { metrics, stream }),
        clock,
        random: Arc::new(SystemRandom),
    };
    // API Gateway answers for CORS where it is set to; where it is not, pages of all origins may call, as they have
    // to bring credentials anyway.
    Ok(Gateway::new(collector::router(collector, &Origins::Any)))
}

/// Makes metrics of what became of events, and of how far the counts are apart.
struct Measure {
    metrics: Metrics,
    stream: FirehoseStream,
}

impl Observe for Measure {
    fn taken(&self, taken: &Taken) {
        self.metrics.count(&[
            ("EventsAccepted", taken.accepted as u64),
            ("EventsDuplicate", taken.duplicates as u64),
            ("EventsRejected", taken.rejected as u64),
            ("EventsNotStored", taken.not_stored as u64),
            ("CountFailures", taken.count_failures as u64),
            ("StreamRetries", self.stream.take_retries()),
        ]);
    }

    /// Of whoever asks: the largest says most.
    fn drift(&self, drift: &Drift) {
        self.metrics.count(&[("CountsUnderWay", drift.under_way), ("CountsMissing", drift.missing)]);
    }
}
