//! Runs the fan-out over every batch that the engine delivers, on a thread of its own: it works on files and
//! compresses, and requests must not wait for that.

use std::{io, sync::Arc, thread, time::Duration};

use fan_out::{FanOut, FanOutError};
use tokio::{runtime::Handle, sync::oneshot};
use weir_core::BatchKey;
use weir_embedded::{Deliveries, Embedded};

/// The first and the longest wait between tries: what fails here is mostly a disk that is full.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The thread that files batches.
pub(crate) struct Filing {
    done: oneshot::Receiver<bool>,
}

impl Filing {
    pub(crate) fn start(engine: Embedded, mut deliveries: Deliveries) -> io::Result<Self> {
        let (raw, lake, quarantine) = engine.folders();
        let fan_out =
            FanOut::new(Arc::new(raw), Arc::new(lake), Arc::new(quarantine), Arc::new(engine.clone()));
        let (finished, done) = oneshot::channel();
        let runtime = Handle::current();
        thread::Builder::new().name("weir-filing".to_owned()).spawn(move || {
            let all = runtime.block_on(async {
                let mut all = true;
                while let Some(batch) = deliveries.next().await {
                    all &= file(&fan_out, &engine, &batch).await;
                }
                all
            });
            // Nobody waits if the server ended in another way.
            let _ = finished.send(all);
        })?;
        Ok(Self { done })
    }

    /// Waits for the last batch; says whether all were filed. The engine must have been stopped.
    pub(crate) async fn finish(self) -> bool {
        self.done.await.unwrap_or(false)
    }
}

/// Files one batch, trying again until it is done: it is handed out at the next start otherwise. Says whether it is.
async fn file(fan_out: &FanOut, engine: &Embedded, batch: &BatchKey) -> bool {
    let mut wait = FIRST_RETRY;
    loop {
        let filed = match fan_out.file(batch).await {
            Ok(filed) => engine.filed(batch).await.map(|()| filed).map_err(|error| error.to_string()),
            Err(error @ FanOutError::NoSuchBatch { .. }) => {
                tracing::error!(%batch, %error, "a batch is gone from raw and cannot be filed");
                return false;
            }
            Err(error) => Err(error.to_string()),
        };
        match filed {
            Ok(filed) => {
                let (lines, bytes) = (filed.quarantined_lines, filed.quarantined_bytes);
                if lines + bytes > 0 {
                    tracing::error!(%batch, lines, bytes, "a part could not be filed: see quarantine");
                }
                tracing::debug!(%batch, events = filed.events, partitions = filed.partitions, "filed");
                return true;
            }
            Err(error) => tracing::error!(%batch, error, "a batch cannot be filed yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}
