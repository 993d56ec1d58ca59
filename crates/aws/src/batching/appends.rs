//! Batching of appends: one call carries the records of several small requests.
//!
//! Services bill a write as a multiple of some size, so records of different requests should share it. Large requests
//! gain nothing by that, and go by themselves.

use std::sync::Arc;

use async_trait::async_trait;
use weir_core::{
    Record,
    ports::{Appended, PortError, Stream},
};

use super::{
    batcher::{Batcher, Limits},
    settings::{AT_ONCE, Settings},
    stats::Stats,
};

const STORING: &str = "storing events";

/// An append of this many bytes goes by itself: rounding it up to 5 KB, as Firehose bills it, adds 4% at the most.
const LARGE: usize = 128 * 1024;

/// The upper bounds of one call.
const MOST_BYTES: usize = 2 << 20;
const MOST_RECORDS: usize = 500;

/// The upper bound for records with an identity: each of them is looked up, and all wait for the last one.
const MOST_IDENTITIES: usize = 64;

/// Records with an identity are batched apart from those without one: looking them up takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    WithIdentity,
    Without,
}

/// A stream that batches appends.
pub(super) struct BatchedStream {
    inner: Arc<dyn Stream>,
    batcher: Batcher<Kind, Vec<Record>, Vec<Appended>>,
    stats: Arc<Stats>,
}

impl BatchedStream {
    pub(super) fn new(inner: Arc<dyn Stream>, settings: &Settings) -> Self {
        let (shared, stats) = (inner.clone(), settings.stats.clone());
        let limits = Limits { of_a_key: AT_ONCE / 2, ..settings.limits() };
        let batcher = Batcher::new(limits, fitting, move |_, requests| {
            Box::pin(append(shared.clone(), requests, stats.clone()))
        });
        Self { inner, batcher, stats: settings.stats.clone() }
    }
}

#[async_trait]
impl Stream for BatchedStream {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        if records.is_empty() {
            return Vec::new();
        }
        self.stats.appends.request();
        let number = records.len();
        if bytes(&records) >= LARGE || number > MOST_RECORDS {
            self.stats.appends.call();
            return self.inner.append(records).await;
        }
        let outcomes = self.batcher.ask(kind(&records), records).await;
        outcomes.unwrap_or_else(|_| vec![Appended::Refused(broke_off()); number])
    }
}

/// Appends the records of all requests, and returns for each request the outcomes of its own records.
async fn append(inner: Arc<dyn Stream>, requests: Vec<Vec<Record>>, stats: Arc<Stats>) -> Vec<Vec<Appended>> {
    stats.appends.call();
    let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
    let mut outcomes = inner.append(requests.into_iter().flatten().collect()).await.into_iter();
    let own = |length| {
        let mut own: Vec<Appended> = outcomes.by_ref().take(length).collect();
        // A record without an answer is not known to be durable.
        own.resize_with(length, || Appended::Refused(broke_off()));
        own
    };
    lengths.into_iter().map(own).collect()
}

/// Returns how many of the requests, all of one kind, stay within the bounds of a call.
fn fitting(requests: &mut dyn Iterator<Item = &Vec<Record>>) -> usize {
    let (mut all_records, mut all_bytes) = (0, 0);
    requests
        .take_while(|request| {
            let most = match kind(request) {
                Kind::WithIdentity => MOST_IDENTITIES,
                Kind::Without => MOST_RECORDS,
            };
            all_records += request.len();
            all_bytes += bytes(request);
            all_records <= most && all_bytes <= MOST_BYTES
        })
        .count()
}

fn kind(records: &[Record]) -> Kind {
    if records.iter().any(Record::may_repeat) { Kind::WithIdentity } else { Kind::Without }
}

fn bytes(records: &[Record]) -> usize {
    records.iter().map(|record| record.line().len()).sum()
}

fn broke_off() -> PortError {
    PortError::unavailable(STORING, "the shared call broke off, or was never made")
}
