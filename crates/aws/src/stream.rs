//! [`Stream`] on Firehose.
//!
//! `PutRecordBatch` answers 200 even for a partial success: its answers follow the order of the entries, and only entries
//! with an error code were refused. Only these are retried. A call whose answer was lost may have taken effect; sending it
//! again may repeat its events, and not sending it again may lose them, so it is sent again.
//!
//! Dedup: events with an id of the client's are sent only if they were not stored before (`dedup`).

pub(crate) mod packing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_firehose::{
    Client,
    operation::put_record_batch::{PutRecordBatchError, PutRecordBatchOutput},
    primitives::Blob,
    types::Record as FirehoseRecord,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use weir_core::{
    Random, Record,
    ports::{Appended, PortError, Stream},
};

use crate::{
    backoff::Backoff,
    dedup::RecentIds,
    errors::{Effect, effect, port_error},
};
use packing::{Entry, pack};

const WHAT: &str = "storing events";

/// The back-off before the first retry, and the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A delivery stream.
#[derive(Clone)]
pub struct FirehoseStream {
    client: Client,
    name: String,
    give_up_after: Duration,
    random: Arc<dyn Random>,
    retries: Retries,
    ids: Option<RecentIds>,
}

/// The counter of a stream's retries; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Retries(Arc<AtomicU64>);

impl Retries {
    /// Returns the retries since the last time, and resets their number.
    #[must_use]
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl FirehoseStream {
    pub(crate) fn new(client: Client, name: &str, give_up_after: Duration, random: Arc<dyn Random>) -> Self {
        Self { client, name: name.to_owned(), give_up_after, random, retries: Retries::default(), ids: None }
    }

    /// Returns the same stream with dedup: an event that is sent again is stored once.
    #[must_use]
    pub fn remembering(self, ids: RecentIds) -> Self {
        Self { ids: Some(ids), ..self }
    }

    /// Returns the counter of retries, which goes on counting.
    #[must_use]
    pub fn retries(&self) -> Retries {
        self.retries.clone()
    }

    /// Sends the entries of one call until all are accepted or time is up; returns the outcome of each entry.
    async fn send(&self, mut entries: Vec<Entry>, deadline: Instant) -> Vec<(Entry, Result<(), PortError>)> {
        let mut settled = Vec::with_capacity(entries.len());
        let mut backoff = Backoff::new(&self.random, FIRST_BACKOFF, LONGEST_BACKOFF);
        loop {
            // A call that hangs must not take longer than the caller waits, nor lose the outcomes of entries already accepted.
            let Ok(answer) = timeout_at(deadline, self.put(&entries)).await else {
                let late = || PortError::unavailable(WHAT, "it took too long");
                settled.extend(entries.into_iter().map(|entry| (entry, Err(late()))));
                return settled;
            };
            let refused = match answer {
                Ok(answer) => {
                    let (taken, refused) = divide(entries, &answer);
                    settled.extend(taken.into_iter().map(|entry| (entry, Ok(()))));
                    refused
                }
                Err(error) => {
                    let reason = port_error(WHAT, &error);
                    if effect(&error) == Effect::Refused {
                        settled.extend(entries.into_iter().map(|entry| (entry, Err(reason.clone()))));
                        return settled;
                    }
                    entries.into_iter().map(|entry| (entry, reason.clone())).collect()
                }
            };
            if refused.is_empty() {
                return settled;
            }
            let wait = backoff.next();
            if Instant::now() + wait >= deadline {
                settled.extend(refused.into_iter().map(|(entry, error)| (entry, Err(error))));
                return settled;
            }
            tokio::time::sleep(wait).await;
            self.retries.0.fetch_add(1, Ordering::Relaxed);
            entries = refused.into_iter().map(|(entry, _)| entry).collect();
        }
    }

    async fn put(
        &self,
        entries: &[Entry],
    ) -> Result<PutRecordBatchOutput, SdkError<PutRecordBatchError, HttpResponse>> {
        let record = |entry: &Entry| FirehoseRecord::builder().data(Blob::new(entry.lines.clone())).build();
        let records = entries.iter().map(record).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(SdkError::construction_failure)?;
        self.client
            .put_record_batch()
            .delivery_stream_name(&self.name)
            .set_records(Some(records))
            .send()
            .await
    }
}

/// Divides the entries into those accepted, and those refused with the reason.
fn divide(entries: Vec<Entry>, answer: &PutRecordBatchOutput) -> (Vec<Entry>, Vec<(Entry, PortError)>) {
    if answer.failed_put_count() == 0 {
        return (entries, Vec::new());
    }
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    let mut answers = answer.request_responses().iter();
    for entry in entries {
        // An entry without an answer of its own is not known to be accepted.
        match answers.next() {
            Some(answer) if answer.error_code().is_none() => taken.push(entry),
            answer => {
                let code = answer.and_then(|answer| answer.error_code()).unwrap_or("no answer");
                let message = answer.and_then(|answer| answer.error_message()).unwrap_or_default();
                refused.push((entry, PortError::unavailable(WHAT, format!("{code}: {message}"))));
            }
        }
    }
    (taken, refused)
}

impl FirehoseStream {
    /// Stores all of these records.
    async fn store(&self, records: &[Record], deadline: Instant) -> Vec<Appended> {
        let never_sent = || Appended::Refused(PortError::unavailable(WHAT, "it was not sent"));
        let mut outcomes: Vec<Appended> = records.iter().map(|_| never_sent()).collect();
        let calls = pack(records).into_iter().map(|entries| self.send(entries, deadline));
        let sent = join_all(calls).await;
        for (entry, fate) in sent.into_iter().flatten() {
            let outcome = match fate {
                Ok(()) => Appended::Stored,
                Err(error) => Appended::Refused(error),
            };
            outcomes[entry.events].fill(outcome);
        }
        outcomes
    }
}

#[async_trait]
impl Stream for FirehoseStream {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        let deadline = Instant::now() + self.give_up_after;
        let Some(ids) = self.ids.as_ref().filter(|_| records.iter().any(Record::may_repeat)) else {
            return self.store(&records, deadline).await;
        };
        // Claiming gets half of the time: claimed events must still be stored, or the claims are in vain.
        let claims = ids.claim(&records, Instant::now() + self.give_up_after / 2).await;
        let to_store: Vec<Record> = claims.to_store().map(|index| records[index].clone()).collect();
        let outcomes = self.store(&to_store, deadline).await;
        ids.settle(claims, outcomes).await
    }
}
