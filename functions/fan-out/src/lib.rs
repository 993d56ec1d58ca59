//! The fan-out: a batch of mixed events becomes one object per user, event type and hour.
//!
//! [`FanOut::file`] reads and splits the whole batch. It then puts the objects into the lake, and after them the lines that
//! could not be filed into quarantine. Only then does it settle the counts, which are therefore never ahead of the lake. The
//! names and bytes of all objects depend on the batch's key and bytes alone (another version of the compressor may make other
//! bytes of the same lines); the fan-out does not read the catalog. So after a run that died at any point, was repeated, or
//! ran beside another, one more run puts everything right.
//!
//! No line of a damaged batch is filed: quarantine names the batch with the reason, raw keeps its bytes, and once it is repaired,
//! it can be filed like any other.
//!
//! Read in this order: `reader` decompresses an object, and `lines` finds the lines in its text; `splitter` sorts them into
//! partitions in bounded memory, without those that `dedup` has seen; `object` and `spool` compress them; `quarantined` writes
//! the entries of quarantine. `without` takes lines out of a batch, for retention, and `whole` where events are forgotten. `notification` finds the batches in the events that Lambda gets from the queue, and `messages`
//! files them in time.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod dedup;
mod error;
mod lines;
#[cfg(test)]
mod memory;
mod messages;
mod notification;
mod object;
mod quarantined;
mod reader;
mod splitter;
mod spool;
#[cfg(test)]
mod tests;
mod whole;
mod without;

use std::{collections::BTreeMap, future::ready, sync::Arc};

use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tracing::{Instrument, field::Empty};
use weir_core::{
    BatchKey, Partition,
    ports::{Forgotten, Lake, PortError, Quarantine, Raw, Settled, Settlement},
    trace::TRACED,
};

pub use error::FanOutError;
pub use messages::NotFiled;
pub use notification::{Message, NotificationError, RawPlace};
use object::Draft;
pub use reader::{Damage, Flaw};
use reader::{ReadError, Reader};
use splitter::{Limits, Split, Splitter};
use spool::Compressor;
pub use whole::{each_line, lines_without};
pub use without::{Without, WithoutError, batch_without, quarantined_without};

/// The most puts under way at once: permits of a semaphore. A put to S3 takes about 100 ms however small the object is, and a
/// batch may have tens of thousands of partitions.
const PUTS_AT_ONCE: usize = 64;

/// The bytes in memory that one permit stands for. A part of a large object is 8 MiB, and 64 of those would be the function's
/// whole memory.
const BYTES_A_PERMIT: u64 = 2 << 20;

/// The number of failed puts after which the rest of the batch is left to the next attempt: then the lake itself is down.
const MOST_FAILURES: usize = 16;

/// The permits of the largest object: its engine holds one part in memory at a time.
const MOST_PERMITS: u32 = 4;

/// Files batches.
#[derive(Clone)]
pub struct FanOut {
    raw: Arc<dyn Raw>,
    lake: Arc<dyn Lake>,
    quarantine: Arc<dyn Quarantine>,
    settlement: Arc<dyn Settlement>,
    forgotten: Option<Arc<dyn Forgotten>>,
}

/// The outcome of filing a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// The batch's events in the lake.
    pub events: u64,
    /// The partitions that they are in.
    pub partitions: usize,
    /// The lines that were dropped, because their events came earlier in the batch.
    pub repeats: u64,
    /// The lines that were dropped, because their events were forgotten.
    pub forgotten: u64,
    /// The blank lines. Each may be in the place of an event that was taken out of the batch.
    pub blank: u64,
    /// The batch's lines in quarantine.
    pub quarantined_lines: u64,
    /// The bytes of the batch's object.
    pub bytes_read: u64,
    /// Whether this run raised the counts, or another one had; `None` if there are no events to count.
    pub settled: Option<Settled>,
}

impl FanOut {
    /// Makes a fan-out from `raw` to `lake`, `quarantine` and `settlement`.
    #[must_use]
    pub fn new(
        raw: Arc<dyn Raw>,
        lake: Arc<dyn Lake>,
        quarantine: Arc<dyn Quarantine>,
        settlement: Arc<dyn Settlement>,
    ) -> Self {
        Self { raw, lake, quarantine, settlement, forgotten: None }
    }

    /// Returns the same fan-out, which files no event that was forgotten.
    #[must_use]
    pub fn without(self, forgotten: Arc<dyn Forgotten>) -> Self {
        Self { forgotten: Some(forgotten), ..self }
    }

    /// Files a batch; filing it again, or at the same time, changes nothing.
    ///
    /// Between the ports' answers it computes, and it reads and writes a temporary file in pieces, all on the thread that
    /// polls it: on a server, give it a thread of its own. However large the batch, it takes some eighty megabytes of memory;
    /// the temporary file is as large as all objects together.
    pub async fn file(&self, batch: &BatchKey) -> Result<Filed, FanOutError> {
        let filing = tracing::debug_span!(
            target: TRACED,
            "batch",
            weir.batch = batch.as_str(),
            weir.events = Empty,
            weir.partitions = Empty,
            weir.quarantined_lines = Empty,
            otel.status_code = Empty,
        );
        let filed = self.read_and_put(batch).instrument(filing.clone()).await;
        match &filed {
            Ok(filed) => {
                filing.record("weir.events", filed.events.cast_signed());
                filing.record("weir.partitions", filed.partitions.cast_signed());
                filing.record("weir.quarantined_lines", filed.quarantined_lines.cast_signed());
            }
            Err(_) => {
                filing.record("otel.status_code", "ERROR");
            }
        }
        filed
    }

    async fn read_and_put(&self, batch: &BatchKey) -> Result<Filed, FanOutError> {
        let (bytes_read, split) = match self.split(batch).await {
            // Nothing of it is in the lake yet.
            Err(FanOutError::Damaged { damage, .. }) => return self.quarantine_object(batch, damage).await,
            other => other?,
        };
        let Split { partitions, bots, quarantine, spool, quarantined_lines, repeats, forgotten, blank } =
            split;
        if repeats > 0 {
            tracing::debug!(%batch, repeats, "lines that came again were dropped");
        }
        let id = batch.id();
        let mut tallies: BTreeMap<Partition, u64> =
            partitions.iter().map(|(at, object)| (at.clone(), object.lines())).collect();
        let (events, objects) = (tallies.values().sum(), tallies.len());
        tallies.extend(bots);

        let puts_under_way = Semaphore::new(PUTS_AT_ONCE);
        let puts = partitions.into_iter().map(|(partition, object)| {
            let (id, spool, puts_under_way) = (&id, &spool, &puts_under_way);
            // The partition's user is left out: a trace names no user.
            let putting = tracing::debug_span!(
                target: TRACED,
                "partition",
                weir.event_type = partition.event_type.as_str(),
                weir.lines = object.lines().cast_signed(),
            );
            async move {
                let _permits = puts_under_way.acquire_many(permits(object.length())).await;
                let put = self.lake.put(&partition, id, object.length(), object.into_content(spool));
                let answer = put.instrument(putting).await;
                answer.map_err(|source| FanOutError::Lake { batch: batch.clone(), partition, source })
            }
        });
        // A partition that cannot be put does not keep the others from being filed; the batch fails all the same.
        let failures = stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).filter_map(|put| ready(put.err()));
        if let Some(failure) = failures.take(MOST_FAILURES).collect::<Vec<_>>().await.into_iter().next() {
            return Err(failure);
        }

        if let Some(object) = quarantine {
            let answer = self.quarantine.put(&id, object.length(), object.into_content(&spool)).await;
            answer.map_err(|source| FanOutError::Quarantine { batch: batch.clone(), source })?;
        }

        // A batch without events is not settled. It may be an object that lost its first bytes, and with them its format, and
        // its events must be counted once it is repaired.
        let settled = match tallies.len() {
            0 => None,
            _ => Some(self.settlement.settle(&id, &tallies).await)
                .transpose()
                .map_err(|source| FanOutError::Settle { batch: batch.clone(), source })?,
        };
        Ok(Filed {
            events,
            partitions: objects,
            repeats,
            forgotten,
            blank,
            quarantined_lines,
            bytes_read,
            settled,
        })
    }

    /// Reads a batch and splits it. Returns its size in bytes, too.
    async fn split(&self, batch: &BatchKey) -> Result<(u64, Split), FanOutError> {
        let content = self.raw.open(batch).await;
        let mut content = content.map_err(|source| match source {
            PortError::NotFound { .. } => FanOutError::NoSuchBatch { batch: batch.clone() },
            source => FanOutError::Open { batch: batch.clone(), source },
        })?;
        let spool = |source| FanOutError::Spool { batch: batch.clone(), source };
        let failed = |error| match error {
            ReadError::Damaged(damage) => FanOutError::Damaged { batch: batch.clone(), damage },
            ReadError::Sink(source) => spool(source),
        };
        let forgotten = match &self.forgotten {
            None => None,
            Some(forgotten) => Some(forgotten.forgotten().await)
                .transpose()
                .map_err(|source| FanOutError::Forgotten { batch: batch.clone(), source })?,
        };
        let splitter = Splitter::new(batch, Limits::USUAL).without(forgotten);
        let (mut reader, mut splitter) = (Reader::new(), splitter);
        while let Some(bytes) = content.next().await {
            let bytes = bytes.map_err(|source| FanOutError::Read { batch: batch.clone(), source })?;
            reader.push(&bytes, &mut splitter).map_err(failed)?;
            // While bytes arrive faster than they are read, nothing else yields to the timer that ends the invocation.
            tokio::task::coop::consume_budget().await;
        }
        let bytes_read = reader.finish(&mut splitter).map_err(failed)?;
        Ok((bytes_read, splitter.finish().map_err(spool)?))
    }

    /// Puts the name of a damaged batch into quarantine, with the reason. Its bytes stay in raw.
    async fn quarantine_object(&self, batch: &BatchKey, damage: Damage) -> Result<Filed, FanOutError> {
        let mut entry = Vec::new();
        quarantined::write_object(batch.as_str(), &damage.to_string(), &mut entry);
        let (mut draft, mut compressor) = (Draft::default(), Compressor::new());
        draft.add(&entry);
        let object = draft.finish(&mut compressor);
        let object = object.map_err(|source| FanOutError::Spool { batch: batch.clone(), source })?;
        let content = (object.length(), object.into_content(&compressor.into_spool()));
        let answer = self.quarantine.put(&batch.id(), content.0, content.1).await;
        answer.map_err(|source| FanOutError::Quarantine { batch: batch.clone(), source })?;
        Err(FanOutError::Damaged { batch: batch.clone(), damage })
    }
}

/// Returns the permits that a put of `length` bytes takes.
fn permits(length: u64) -> u32 {
    u32::try_from(length.div_ceil(BYTES_A_PERMIT)).unwrap_or(MOST_PERMITS).clamp(1, MOST_PERMITS)
}
