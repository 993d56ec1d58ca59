//! The ports in memory, for tests: they can be told to fail, and hold the fan-out to its order.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{StreamExt, stream};
use proptest::sample::Index;
use serde_json::Value;
use weir_core::{
    BatchId, BatchKey, Hour, Partition, Username,
    ports::{Content, Lake, PortError, Quarantine, Raw, Settled, Settlement},
};

use crate::FanOut;

/// Runs a future to its end.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A gzip member, as others write them.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The bytes, in pieces.
pub(crate) fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A stored line, without its newline.
pub(crate) fn record(user: &str, event_type: &str, hour: u64, id: &str) -> String {
    let received_at = hour * 3_600_000 + 1;
    let whose = format!(r#""event_id":"{id}","username":"{user}","event_type":"{event_type}""#);
    format!(r#"{{{whose},"received_at":{received_at},"x":"é"}}"#)
}

pub(crate) fn partition(user: &str, event_type: &str, hour: u64) -> Partition {
    Partition {
        username: user.parse().unwrap(),
        event_type: event_type.parse().unwrap(),
        hour: Hour::from_epoch(hour).unwrap(),
    }
}

/// The lines of an object, each of which must end.
pub(crate) fn lines(object: &[u8]) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(object).read_to_string(&mut text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

/// What all ports hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) lake: BTreeMap<(Partition, BatchId), Bytes>,
    pub(crate) quarantine: BTreeMap<BatchId, Bytes>,
    pub(crate) settled: BTreeMap<BatchId, BTreeMap<Partition, u64>>,
}

impl State {
    /// All lines of a partition.
    pub(crate) fn lines(&self, wanted: &Partition) -> Vec<String> {
        let own = self.lake.iter().filter(|((partition, _), _)| partition == wanted);
        own.flat_map(|(_, object)| lines(object)).collect()
    }

    /// The lake's lines by partition.
    pub(crate) fn lake_lines(&self) -> BTreeMap<Partition, Vec<String>> {
        self.lake.keys().map(|(partition, _)| (partition.clone(), self.lines(partition))).collect()
    }

    /// All entries in quarantine.
    pub(crate) fn quarantined(&self) -> Vec<Value> {
        let entries = self.quarantine.values().flat_map(|object| lines(object));
        entries.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Without having done anything.
    Undone,
    /// Having done all of it: the answer was lost.
    Done,
}

/// All ports in one.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    batches: BTreeMap<BatchKey, Vec<Bytes>>,
    state: State,
    calls: usize,
    failing: Option<(usize, Failure)>,
    closed_to: Option<Username>,
}

impl Memory {
    /// Ports with one batch in raw, whose content comes in the pieces given.
    pub(crate) fn with(batch: &BatchKey, pieces: &[&[u8]]) -> Arc<Self> {
        let memory = Self::default();
        let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        memory.inner().batches.insert(batch.clone(), pieces);
        Arc::new(memory)
    }

    /// Replaces a batch in raw.
    pub(crate) fn replace(&self, batch: &BatchKey, object: &[u8]) {
        self.inner().batches.insert(batch.clone(), vec![Bytes::copy_from_slice(object)]);
    }

    pub(crate) fn fan_out(self: &Arc<Self>) -> FanOut {
        FanOut::new(self.clone(), self.clone(), self.clone(), self.clone())
    }

    pub(crate) fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// How often any port was called; every piece of a batch is a call too.
    pub(crate) fn calls(&self) -> usize {
        self.inner().calls
    }

    /// Lets the call after `calls` more fail.
    pub(crate) fn fail_after(&self, calls: usize, failure: Failure) {
        let mut inner = self.inner();
        inner.failing = Some((inner.calls + calls, failure));
    }

    /// Lets every put of a user's events fail, or those of no user any more.
    pub(crate) fn close_to(&self, user: Option<&str>) {
        self.inner().closed_to = user.map(|user| user.parse().unwrap());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Counts a call, does it, and lets others run in between.
    async fn call<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> Result<T, PortError> {
        tokio::task::yield_now().await;
        let answer = {
            let mut inner = self.inner();
            let failure = inner.failing.filter(|(at, _)| *at == inner.calls).map(|(_, failure)| failure);
            inner.calls += 1;
            if failure == Some(Failure::Undone) {
                return Err(PortError::unavailable("the test", "it fails"));
            }
            let answer = act(&mut inner);
            match failure {
                None => Ok(answer),
                Some(_) => Err(PortError::unavailable("the test", "it fails")),
            }
        };
        tokio::task::yield_now().await;
        answer
    }
}

async fn collect(length: u64, mut content: Content) -> Result<Bytes, PortError> {
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await {
        bytes.extend(piece.map_err(|error| PortError::unavailable("the test", error))?);
        tokio::task::yield_now().await;
    }
    assert_eq!(bytes.len() as u64, length);
    Ok(bytes.into())
}

#[async_trait]
impl Raw for Memory {
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError> {
        let pieces = self.call(|inner| inner.batches.get(batch).cloned()).await?;
        let pieces = pieces.ok_or(PortError::NotFound { what: batch.to_string() })?;
        // Whether reading a piece fails is decided when the batch is opened, as nothing here can be borrowed
        // later.
        let mut inner = self.inner();
        let contents: Vec<_> = pieces
            .into_iter()
            .map(|piece| {
                inner.calls += 1;
                let fails = inner.failing.is_some_and(|(at, _)| at + 1 == inner.calls);
                if fails { Err(std::io::Error::other("it breaks off")) } else { Ok(piece) }
            })
            .collect();
        Ok(Box::pin(stream::iter(contents)))
    }
}

#[async_trait]
impl Lake for Memory {
    async fn put(
        &self,
        partition: &Partition,
        batch: &BatchId,
        length: u64,
        content: Content,
    ) -> Result<(), PortError> {
        let bytes = collect(length, content).await?;
        if self.inner().closed_to.as_ref() == Some(&partition.username) {
            return Err(PortError::broken("the test", "closed to this user"));
        }
        let place = (partition.clone(), batch.clone());
        self.call(|inner| inner.state.lake.insert(place, bytes)).await.map(drop)
    }
}

#[async_trait]
impl Quarantine for Memory {
    async fn put(&self, batch: &BatchId, length: u64, content: Content) -> Result<(), PortError> {
        let bytes = collect(length, content).await?;
        self.call(|inner| {
            assert!(!inner.state.settled.contains_key(batch) || inner.state.quarantine.contains_key(batch));
            inner.state.quarantine.insert(batch.clone(), bytes);
        })
        .await
    }
}

#[async_trait]
impl Settlement for Memory {
    async fn settle(
        &self,
        batch: &BatchId,
        tallies: &BTreeMap<Partition, u64>,
    ) -> Result<Settled, PortError> {
        self.call(|inner| {
            // Never ahead of the lake, never behind it, and always the same.
            for (partition, tally) in tallies {
                let object = &inner.state.lake[&(partition.clone(), batch.clone())];
                assert_eq!(lines(object).len() as u64, *tally);
            }
            let objects = inner.state.lake.keys().filter(|(_, of)| of == batch);
            assert_eq!(objects.count(), tallies.len());
            match inner.state.settled.insert(batch.clone(), tallies.clone()) {
                None => Settled::Now,
                Some(before) => {
                    assert_eq!(before, *tallies);
                    Settled::Before
                }
            }
        })
        .await
    }
}
