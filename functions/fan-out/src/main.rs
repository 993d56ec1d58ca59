//! The fan-out on Lambda: files the batches that S3 says were created.
//!
//! A message that fails comes again, and in the end lies in the dead-letter queue, where somebody sees it. That holds
//! for what trying again cannot help, too: a batch that is not there may be one that was lost.

use std::{num::NonZeroU16, process::ExitCode, sync::Arc};

use fan_out::{FanOut, Filed, Mention, Notification, RawPlace};
use serde_json::{Value, json};
use weir_aws::{Aws, RAW_PREFIX};
use weir_core::{BatchKey, SystemClock, ports::Settled};
use weir_lambda::{Environment, Metrics, StartError};

/// Two threads: one reads and writes what the other works on.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    weir_lambda::run(|environment| {
        let function = Arc::new(Function::new(environment)?);
        Ok(move |event: Value| {
            let function = function.clone();
            async move { function.answer(&event).await }
        })
    })
    .await
}

struct Function {
    fan_out: FanOut,
    raw: RawPlace,
    metrics: Metrics,
}

/// What an invocation outside of a queue ends with, so that Lambda tries it again.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the invocation's batches could not be filed; the log says why")]
struct NotFiled(u64);

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
            // Shards are for live counts.
            Arc::new(aws.counts(&counts, NonZeroU16::MIN)),
        );
        Ok(Self { fan_out, raw: RawPlace { bucket: raw, prefix: RAW_PREFIX }, metrics })
    }

    async fn answer(&self, event: &Value) -> Result<Value, NotFiled> {
        let mut sum = Sum::default();
        let answer = match Notification::read(event, &self.raw) {
            Notification::Direct(batches) => match self.file(batches, &mut sum).await {
                0 => Ok(json!({})),
                failed => Err(NotFiled(failed)),
            },
            Notification::Queue(messages) => {
                let mut failed = Vec::new();
                for message in messages {
                    if self.file(message.batches, &mut sum).await > 0 {
                        failed.push(json!({"itemIdentifier": message.id}));
                    }
                }
                Ok(json!({"batchItemFailures": failed}))
            }
        };
        self.metrics.count(&[
            ("BatchesFiled", sum.batches),
            ("BatchesFailed", sum.failed),
            ("EventsFiled", sum.events),
            ("PartitionsWritten", sum.partitions),
            ("RepeatsDropped", sum.repeats),
            ("BatchesQuarantined", sum.partly),
            ("LinesQuarantined", sum.quarantined),
        ]);
        answer
    }

    /// Files batches, one after the other: each takes much memory. Says how many could not be filed.
    async fn file(&self, mentions: Vec<Mention>, sum: &mut Sum) -> u64 {
        let mut failed = 0;
        for mention in mentions {
            match mention {
                Ok(batch) => match self.fan_out.file(&batch).await {
                    Ok(done) => {
                        sum.add(&batch, &done);
                        continue;
                    }
                    Err(error) => tracing::error!(%batch, %error, "a batch cannot be filed"),
                },
                Err(error) => tracing::error!(%error, "a notification is not understood"),
            }
            failed += 1;
        }
        sum.failed += failed;
        failed
    }
}

/// What an invocation did. What was settled before was counted then.
#[derive(Default)]
struct Sum {
    batches: u64,
    failed: u64,
    events: u64,
    partitions: u64,
    repeats: u64,
    /// Batches of which a part, lines or bytes, lies in quarantine.
    partly: u64,
    quarantined: u64,
}

impl Sum {
    fn add(&mut self, batch: &BatchKey, filed: &Filed) {
        let &Filed {
            events, partitions, quarantined_lines: lines, quarantined_bytes: bytes, bytes_read, ..
        } = filed;
        let again = filed.settled == Settled::Before;
        tracing::info!(%batch, events, partitions, bytes_read, again, "filed");
        if lines + bytes > 0 {
            tracing::error!(%batch, lines, bytes, damage = ?filed.damage, "a part could not be filed: see quarantine");
        }
        self.partitions += partitions as u64;
        if !again {
            self.batches += 1;
            self.events += events;
            self.repeats += filed.repeats;
            self.partly += u64::from(lines + bytes > 0);
            self.quarantined += lines;
        }
    }
}
