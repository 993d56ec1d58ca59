//! The fan-out on Lambda: files the batches that S3 says were created.
//!
//! A message that fails comes again, and in the end lies in the dead-letter queue, which has an alarm. The same holds for a
//! missing batch, although trying again cannot help: it may have been lost.

use std::{num::NonZeroU16, process::ExitCode, sync::Arc, time::Duration};

use fan_out::{FanOut, FanOutError, Filed, Message, NotFiled, NotificationError, RawPlace};
use serde_json::{Value, json};
use weir_aws::{Aws, RAW_PREFIX};
use weir_core::{BatchKey, SystemClock, ports::Settled};
use weir_lambda::{Environment, Metrics, StartError};

/// Runs the function on two threads: one reads and writes while the other computes.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    weir_lambda::run_in_time(|environment| {
        let function = Arc::new(Function::new(environment)?);
        Ok(move |event: Value, left: Option<Duration>| {
            let function = function.clone();
            async move { function.answer(&event, left).await }
        })
    })
    .await
}

struct Function {
    fan_out: FanOut,
    raw: RawPlace,
    metrics: Metrics,
}

impl Function {
    fn new(environment: &Environment) -> Result<Self, StartError> {
        let raw = environment.text("WEIR_RAW_BUCKET")?;
        let lake = environment.text("WEIR_LAKE_BUCKET")?;
        let bucket_per_user = environment.or("WEIR_BUCKET_PER_USER", false)?;
        let counts = environment.text("WEIR_COUNTS_TABLE")?;
        let metrics = Metrics::of_function(environment, Arc::new(SystemClock))?;

        let aws = Aws::on_lambda();
        let fan_out = FanOut::new(
            Arc::new(aws.raw(&raw)),
            Arc::new(aws.lake(&lake, bucket_per_user)),
            Arc::new(aws.quarantine(&raw)),
            // Only live counts have shards.
            Arc::new(aws.counts(&counts, NonZeroU16::MIN)),
        )
        .without(Arc::new(aws.forgotten(&lake)));
        Ok(Self { fan_out, raw: RawPlace { bucket: raw, prefix: RAW_PREFIX }, metrics })
    }

    async fn answer(&self, event: &Value, left: Option<Duration>) -> Result<Value, NotificationError> {
        let messages = Message::read_all(event, &self.raw).inspect_err(|error| {
            tracing::error!(%error, "a notification is not understood");
        })?;
        let mut sum = Sum::default();
        let failed =
            self.fan_out.file_messages(messages, left, |batch, outcome| sum.add(batch, outcome)).await;
        self.metrics.count(&[
            ("BatchesFiled", sum.batches),
            ("BatchesFailed", sum.failed),
            ("EventsFiled", sum.events),
            ("PartitionsWritten", sum.partitions),
            ("RepeatsDropped", sum.repeats),
            ("BatchesQuarantined", sum.quarantined_batches),
            ("LinesQuarantined", sum.quarantined_lines),
        ]);
        let failed: Vec<Value> = failed.into_iter().map(|id| json!({"itemIdentifier": id})).collect();
        Ok(json!({"batchItemFailures": failed}))
    }
}

/// The metrics of an invocation. A batch that was settled before is left out, as it was counted then.
#[derive(Default)]
struct Sum {
    batches: u64,
    failed: u64,
    events: u64,
    partitions: u64,
    repeats: u64,
    /// Batches that are damaged, or of which some lines are in quarantine.
    quarantined_batches: u64,
    quarantined_lines: u64,
}

impl Sum {
    /// Logs and adds the outcome of a batch.
    fn add(&mut self, batch: Option<&BatchKey>, outcome: Result<&Filed, &NotFiled>) {
        let batch = batch.map_or("", BatchKey::as_str);
        match outcome {
            Ok(filed) => self.add_filed(batch, filed),
            Err(NotFiled::Failed(FanOutError::Damaged { damage, .. })) => {
                tracing::error!(batch, %damage, "a batch is damaged: nothing of it is filed");
                self.quarantined_batches += 1;
            }
            Err(NotFiled::Notification(error)) => {
                tracing::error!(%error, "a notification is not understood");
                self.failed += 1;
            }
            Err(error) => {
                tracing::error!(batch, %error, "a batch cannot be filed");
                self.failed += 1;
            }
        }
    }

    fn add_filed(&mut self, batch: &str, filed: &Filed) {
        let &Filed { events, partitions, quarantined_lines: lines, bytes_read, .. } = filed;
        let again = filed.settled == Some(Settled::Before);
        tracing::info!(batch, events, partitions, bytes_read, again, "filed");
        if lines > 0 {
            tracing::error!(batch, lines, "a part could not be filed: see quarantine");
        }
        self.partitions += partitions as u64;
        if !again {
            self.batches += 1;
            self.events += events;
            self.repeats += filed.repeats;
            self.quarantined_batches += u64::from(lines > 0);
            self.quarantined_lines += lines;
        }
    }
}
