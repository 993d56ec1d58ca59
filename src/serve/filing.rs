//! Runs the fan-out over every batch that the engine delivers, on a thread of its own: filing works on files and
//! compresses, and must not block requests.

use std::{io, sync::Arc, thread, time::Duration};

use fan_out::{Damage, FanOut, FanOutError};
use tokio::{runtime::Builder, sync::oneshot};
use weir_core::BatchKey;
use weir_embedded::{Deliveries, Embedded, give_way_to_requests};

use super::metrics::FilingMetrics;

/// The first and the longest back-off between retries: the usual cause of failure is a full disk.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The filing thread.
pub(crate) struct Filing {
    done: oneshot::Receiver<bool>,
}

impl Filing {
    pub(crate) fn start(
        engine: Embedded,
        mut deliveries: Deliveries,
        metrics: FilingMetrics,
    ) -> io::Result<Self> {
        let (raw, lake, quarantine) = engine.folders();
        let fan_out =
            FanOut::new(Arc::new(raw), Arc::new(lake), Arc::new(quarantine), Arc::new(engine.clone()))
                .without(Arc::new(engine.clone()));
        let (finished, done) = oneshot::channel();
        // A runtime of its own: the server's is shut down at the end, and retries continue after that.
        let runtime = Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("weir-filing".to_owned()).spawn(move || {
            give_way_to_requests();
            let all = runtime.block_on(async {
                let mut all = true;
                while let Some(batch) = deliveries.next().await {
                    all &= file(&fan_out, &engine, &batch, &metrics).await;
                }
                all
            });
            // The receiver is gone if the server ended in another way.
            let _ = finished.send(all);
        })?;
        Ok(Self { done })
    }

    /// Waits for the last batch; returns whether all were filed. The engine must have been stopped.
    pub(crate) async fn finish(self) -> bool {
        self.done.await.unwrap_or(false)
    }
}

/// Files one batch, retrying until it is done; otherwise it is redelivered at the next start. Returns whether it was filed.
async fn file(fan_out: &FanOut, engine: &Embedded, batch: &BatchKey, metrics: &FilingMetrics) -> bool {
    let mut wait = FIRST_RETRY;
    loop {
        let filed = match fan_out.file(batch).await {
            Ok(filed) => engine.filed(batch).await.map(|()| filed).map_err(|error| error.to_string()),
            // Trying again would find the same damage.
            Err(FanOutError::Damaged { damage, .. }) => match engine.filed(batch).await {
                Ok(()) => {
                    metrics.damaged.inc();
                    tell_of_damage(batch, 0, Some(damage));
                    return false;
                }
                Err(error) => Err(error.to_string()),
            },
            Err(error @ FanOutError::NoSuchBatch { .. }) => {
                match engine.give_up(batch, &error.to_string()).await {
                    Ok(()) => {
                        metrics.given_up.inc();
                        tell_of_missing(batch);
                        return false;
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        match filed {
            Ok(filed) => {
                metrics.filed.inc();
                metrics.quarantined_lines.inc_by(filed.quarantined_lines);
                let lines = filed.quarantined_lines;
                if lines > 0 {
                    tracing::error!(%batch, lines, "a part could not be filed: see quarantine");
                }
                // An event that was forgotten is left out, or leaves a blank line.
                let left_out = filed.repeats + filed.forgotten + filed.blank;
                tell_of_damage(batch, filed.events + left_out + lines, None);
                tracing::debug!(%batch, events = filed.events, partitions = filed.partitions, "filed");
                return true;
            }
            Err(error) => tracing::error!(%batch, error, "a batch cannot be filed yet"),
        }
        metrics.failed.inc();
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

fn tell_of_missing(batch: &BatchKey) {
    let events = weir_embedded::events_in(batch);
    tracing::error!(
        %batch,
        events,
        "a batch is gone from raw and is given up: put its file back and start again to have it filed; `weir audit` tells \
         what is missing"
    );
}

/// Logs a batch that is damaged, or has fewer events than its name says: the missing ones were acknowledged.
fn tell_of_damage(batch: &BatchKey, found: u64, damage: Option<Damage>) {
    let missing = weir_embedded::events_in(batch).map_or(0, |events| events.saturating_sub(found));
    if missing == 0 && damage.is_none() {
        return;
    }
    let damage = damage.map(|damage| damage.to_string());
    tracing::error!(
        %batch,
        missing,
        damage,
        "a batch in raw is damaged: so many of its events are missing, and only a copy of its file has them"
    );
}
