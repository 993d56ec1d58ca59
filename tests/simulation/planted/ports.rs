//! Bugs between a function and an engine's ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use flate2::{
    Compression,
    read::{GzDecoder, MultiGzDecoder},
    write::GzEncoder,
};
use futures_util::{StreamExt, stream};
use weir_core::{
    BatchId, BatchKey, Counter, EventId, EventType, Increment, LatestKey, Record, Username,
    counts::{KeyCount, KeysRequest, increments},
    latest::LatestValue,
    ports::{
        Appended, Content, LatestValues, LiveCounts, PortError, Quarantine, Raw, ReadLatest, Receipts,
        RecentRejected, Stream,
    },
    receipt::{Receipt, ReceiptStatus},
    rejected::RejectedEvent,
};

use super::Bug;
use crate::{operator::USERS, world::World};

/// A port with a bug in front of it.
struct Buggy<P: ?Sized> {
    bug: Bug,
    inner: Arc<P>,
    live: Option<Arc<dyn LiveCounts>>,
}

/// Puts a bug in front of a port, if it belongs there.
fn bug_of(world: &World, here: &[Bug]) -> Option<Bug> {
    world.bug.filter(|bug| here.contains(bug))
}

pub(crate) fn stream(world: &World, inner: Arc<dyn Stream>, live: Arc<dyn LiveCounts>) -> Arc<dyn Stream> {
    let bugs = [
        Bug::AcknowledgedUnstored,
        Bug::RejectedNotKept,
        Bug::CountedBeforeStored,
        Bug::RepeatRaisesNothing,
        Bug::RepeatRaisesItself,
    ];
    match bug_of(world, &bugs) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: Some(live) }),
        None => inner,
    }
}

pub(crate) fn live(world: &World, inner: Arc<dyn LiveCounts>) -> Arc<dyn LiveCounts> {
    match bug_of(world, &[Bug::RaisedAgain, Bug::CountsOfAnother, Bug::CountedOnce]) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: None }),
        None => inner,
    }
}

pub(crate) fn rejected(world: &World, inner: Arc<dyn RecentRejected>) -> Arc<dyn RecentRejected> {
    match bug_of(world, &[Bug::RejectedOfAnother]) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: None }),
        None => inner,
    }
}

pub(crate) fn receipts(world: &World, inner: Arc<dyn Receipts>) -> Arc<dyn Receipts> {
    match bug_of(
        world,
        &[Bug::ReceiptOfAnother, Bug::ReceiptTooEarly, Bug::ReceiptOfMadeOnly, Bug::ReceiptOfSomeMissing],
    ) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: None }),
        None => inner,
    }
}

pub(crate) fn latest(world: &World, inner: Arc<dyn LatestValues>) -> Arc<dyn LatestValues> {
    match bug_of(world, &[Bug::LatestNotRaised]) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: None }),
        None => inner,
    }
}

pub(crate) fn raw(world: &World, inner: Arc<dyn Raw>) -> Arc<dyn Raw> {
    let bugs = [
        Bug::BadLineEnds,
        Bug::FirstMemberOnly,
        Bug::TornTakenForWhole,
        Bug::ToldIdTakenForRepeat,
        Bug::DamageFiledInPart,
    ];
    match bug_of(world, &bugs) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: None }),
        None => inner,
    }
}

pub(crate) fn quarantine(world: &World, inner: Arc<dyn Quarantine>) -> Arc<dyn Quarantine> {
    match bug_of(world, &[Bug::BadLineFails, Bug::BadLineDropped]) {
        Some(bug) => Arc::new(Buggy { bug, inner, live: None }),
        None => inner,
    }
}

#[async_trait]
impl Stream for Buggy<dyn Stream> {
    async fn append(&self, records: Vec<Record>) -> Vec<Appended> {
        match self.bug {
            Bug::AcknowledgedUnstored => {
                let appended = self.inner.append(records).await;
                appended.into_iter().map(|_| Appended::Stored).collect()
            }
            Bug::RejectedNotKept => {
                let kept: Vec<Record> = records
                    .iter()
                    .filter(|record| !record.counter().event_type.is_rejected())
                    .cloned()
                    .collect();
                let mut appended = self.inner.append(kept).await.into_iter();
                let mut fate = |record: &Record| {
                    if record.counter().event_type.is_rejected() {
                        Appended::Counted
                    } else {
                        appended.next().unwrap()
                    }
                };
                records.iter().map(&mut fate).collect()
            }
            Bug::RepeatRaisesNothing | Bug::RepeatRaisesItself => {
                let appended = self.inner.append(records.clone()).await;
                let repeat = |(record, appended): (&Record, Appended)| match appended {
                    Appended::Duplicate { .. } => {
                        let itself = LatestValue::of(record).filter(|_| self.bug == Bug::RepeatRaisesItself);
                        Appended::Duplicate { stored: itself.map(Box::new) }
                    }
                    other => other,
                };
                records.iter().zip(appended).map(repeat).collect()
            }
            _ => {
                let live = self.live.as_ref().unwrap();
                let _ = live.raise(&increments(&records)).await;
                let counted = |appended| match appended {
                    Appended::Stored => Appended::Counted,
                    other => other,
                };
                self.inner.append(records).await.into_iter().map(counted).collect()
            }
        }
    }
}

#[async_trait]
impl LiveCounts for Buggy<dyn LiveCounts> {
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        let once: Vec<Increment> = increments
            .iter()
            .map(|increment| Increment { counter: increment.counter.clone(), by: 1 })
            .collect();
        let increments = if self.bug == Bug::CountedOnce { &once } else { increments };
        let raised = self.inner.raise(increments).await;
        if raised.is_err() && self.bug == Bug::RaisedAgain {
            self.inner.raise(increments).await
        } else {
            raised
        }
    }

    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        let mut counters = counters.to_vec();
        if self.bug == Bug::CountsOfAnother {
            for counter in &mut counters {
                counter.username = USERS[0].parse().unwrap();
            }
        }
        self.inner.read(&counters).await
    }

    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        self.inner.totals(username).await
    }

    async fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError> {
        self.inner.keys(username, event_type, request).await
    }
}

#[async_trait]
impl RecentRejected for Buggy<dyn RecentRejected> {
    async fn note(&self, records: &[Record]) -> Result<(), PortError> {
        self.inner.note(records).await
    }

    async fn latest(&self, _: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError> {
        self.inner.latest(&USERS[0].parse().unwrap(), limit).await
    }
}

/// Returns whether an id is in a 64th of all ids, spread evenly.
fn is_one_in_64(event_id: &EventId) -> bool {
    event_id.as_str().bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 64 == 0
}

#[async_trait]
impl Receipts for Buggy<dyn Receipts> {
    async fn receipt(
        &self,
        username: &Username,
        event_id: &EventId,
        types: &[EventType],
    ) -> Result<Option<Receipt>, PortError> {
        match self.bug {
            Bug::ReceiptOfAnother => {
                for user in USERS {
                    let found = self.inner.receipt(&user.parse().unwrap(), event_id, types).await?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Ok(None)
            }
            Bug::ReceiptOfSomeMissing if is_one_in_64(event_id) => Ok(None),
            Bug::ReceiptOfMadeOnly if event_id.generated_at().is_none() => Ok(None),
            Bug::ReceiptTooEarly => {
                let mut found = self.inner.receipt(username, event_id, types).await?;
                if let Some(receipt) = found.as_mut().filter(|it| it.status == ReceiptStatus::Stored) {
                    receipt.status = ReceiptStatus::Filed;
                }
                Ok(found)
            }
            _ => self.inner.receipt(username, event_id, types).await,
        }
    }
}

#[async_trait]
impl ReadLatest for Buggy<dyn LatestValues> {
    async fn read(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        self.inner.read(username, event_type, keys).await
    }

    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        self.inner.list(username, event_type, after, limit).await
    }
}

#[async_trait]
impl LatestValues for Buggy<dyn LatestValues> {
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>> {
        self.inner.raise(values).await.into_iter().map(|_| Ok(())).collect()
    }
}

#[async_trait]
impl Raw for Buggy<dyn Raw> {
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError> {
        let pieces: Vec<io::Result<Bytes>> = self.inner.open(batch).await?.collect().await;
        if self.bug == Bug::TornTakenForWhole {
            return Ok(Box::pin(stream::iter(pieces.into_iter().flatten().map(Ok))));
        }
        let Ok(whole) = pieces.iter().map(|piece| piece.as_ref().cloned()).collect::<Result<Vec<Bytes>, _>>()
        else {
            return Ok(Box::pin(stream::iter(pieces)));
        };
        let object = whole.concat();
        let mut text = Vec::new();
        let read = match self.bug {
            Bug::FirstMemberOnly => GzDecoder::new(&object[..]).read_to_end(&mut text),
            _ => MultiGzDecoder::new(&object[..]).read_to_end(&mut text),
        };
        if read.is_err() {
            if self.bug == Bug::DamageFiledInPart && !text.is_empty() {
                text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
                return Ok(content(zipped(&text)));
            }
            return Ok(content(object));
        }
        if self.bug == Bug::ToldIdTakenForRepeat {
            let mut seen = BTreeSet::new();
            let mut is_new = |line: &&[u8]| {
                serde_json::from_slice::<serde_json::Value>(line).map_or(true, |record| {
                    seen.insert(["username", "event_id"].map(|name| record[name].to_string()))
                })
            };
            text =
                text.split_inclusive(|byte| *byte == b'\n').filter(&mut is_new).flatten().copied().collect();
        }
        if self.bug == Bug::BadLineEnds {
            let mut good =
                text.split_inclusive(|byte| *byte == b'\n').take_while(|line| line.starts_with(b"{\"time"));
            text = good.by_ref().flatten().copied().collect();
        }
        Ok(content(zipped(&text)))
    }
}

#[async_trait]
impl Quarantine for Buggy<dyn Quarantine> {
    async fn put(&self, _: &BatchId, _: u64, _: Content) -> Result<(), PortError> {
        match self.bug {
            Bug::BadLineFails => Err(PortError::broken("filing a bad line", "planted")),
            _ => Ok(()),
        }
    }
}

pub(crate) fn content(bytes: Vec<u8>) -> Content {
    Box::pin(stream::iter([Ok(Bytes::from(bytes))]))
}

pub(crate) fn zipped(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    io::Write::write_all(&mut gzip, text).unwrap();
    gzip.finish().unwrap()
}
