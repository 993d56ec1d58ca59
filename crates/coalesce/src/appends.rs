//! Batching of appends: one call carries the records of several small requests.
//!
//! Services bill a write as a multiple of some size, so records of different requests should share it. Large requests
//! gain nothing by that, and go by themselves.

use std::{mem, sync::Arc};

use async_trait::async_trait;
use tokio::sync::oneshot;
use weir_core::{
    Record,
    ports::{Appended, PortError, Stream},
};

use crate::{
    Coalescing,
    lanes::{Lanes, Load},
    work::Counted,
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

/// A batch of records, and the callers that they belong to.
#[derive(Default)]
struct Gathered {
    records: Vec<Record>,
    bytes: usize,
    callers: Vec<Caller>,
}

struct Caller {
    /// The number of the caller's own records; they follow those of the callers before it.
    records: usize,
    tell: oneshot::Sender<Vec<Appended>>,
}

impl Load for Gathered {
    type Part = Vec<Record>;
    type Answer = Vec<Appended>;

    fn has_room_for(&self, part: &Vec<Record>) -> bool {
        let most = match kind(part) {
            Kind::WithIdentity => MOST_IDENTITIES,
            Kind::Without => MOST_RECORDS,
        };
        self.records.len() + part.len() <= most && self.bytes + bytes(part) <= MOST_BYTES
    }

    fn take(&mut self, part: Vec<Record>, tell: oneshot::Sender<Self::Answer>) {
        self.bytes += bytes(&part);
        self.callers.push(Caller { records: part.len(), tell });
        self.records.extend(part);
    }
}

/// A stream that batches appends.
pub(crate) struct SharedStream {
    inner: Arc<dyn Stream>,
    lanes: Lanes<Kind, Gathered>,
    counted: Arc<Counted>,
}

impl SharedStream {
    pub(crate) fn new(inner: Arc<dyn Stream>, coalescing: &Coalescing) -> Self {
        let (counted, shared) = (coalescing.counted.clone(), inner.clone());
        let lanes = Lanes::new(coalescing.rules(), move |_, gathered| {
            Box::pin(append(shared.clone(), gathered, counted.clone()))
        });
        Self { inner, lanes, counted: coalescing.counted.clone() }
    }
}

#[async_trait]
impl Stream for SharedStream {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        if records.is_empty() {
            return Vec::new();
        }
        self.counted.appends.request();
        let (kind, number) = (kind(&records), records.len());
        if bytes(&records) >= LARGE || number > MOST_RECORDS {
            self.counted.appends.call();
            return self.inner.append(records).await;
        }
        let told = self.lanes.join(kind, records).await;
        told.unwrap_or_else(|_| vec![Appended::Refused(broke_off()); number])
    }
}

/// Appends a batch, and answers each caller with the outcome of its own records.
async fn append(inner: Arc<dyn Stream>, mut gathered: Gathered, counted: Arc<Counted>) {
    counted.appends.call();
    let mut outcomes = inner.append(mem::take(&mut gathered.records)).await.into_iter();
    for Caller { records, tell } in gathered.callers {
        let mut own: Vec<Appended> = outcomes.by_ref().take(records).collect();
        // A record without an answer is not known to be durable.
        own.resize_with(records, || Appended::Refused(broke_off()));
        // A caller that went away needs no answer.
        let _ = tell.send(own);
    }
}

fn kind(records: &[Record]) -> Kind {
    if records.iter().any(Record::may_repeat) { Kind::WithIdentity } else { Kind::Without }
}

fn bytes(records: &[Record]) -> usize {
    records.iter().map(|record| record.line().len()).sum()
}

fn broke_off() -> PortError {
    PortError::unavailable(STORING, "the shared call broke off")
}
