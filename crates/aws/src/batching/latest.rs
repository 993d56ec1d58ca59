//! Latest values behind batching.
//!
//! Raised values of one resource share a call with the newest of them: once that is stored, none of the others would change
//! anything. Reads of one user's type share a call with each key once; equal lists are one call.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use weir_core::{
    EventType, LatestKey, Username,
    latest::{self, LatestValue, Resource},
    ports::{LatestValues, PortError, ReadLatest},
};

use super::{
    batcher::{Batcher, Dropped, Limits},
    settings::Settings,
    single_flight::{SingleFlight, answered},
    stats::Stats,
};

const RAISING: &str = "raising latest values";
const READING: &str = "reading latest values";

/// The most calls under way for one resource: a resource that hangs leaves the others their permits.
const OF_A_RESOURCE: u32 = 4;

/// The most keys that a call reads: as many as DynamoDB returns at once.
const MOST: usize = 100;

/// The user, the type, the key to go on after, and the limit.
type List = (Username, EventType, Option<LatestKey>, usize);

type Found = Result<Vec<Option<LatestValue>>, PortError>;

/// Latest values that share calls.
pub(super) struct BatchedLatestValues {
    raises: Batcher<Resource, LatestValue, Result<(), PortError>>,
    reads: Batcher<(Username, EventType), Vec<LatestKey>, Found>,
    lists: SingleFlight<List, Vec<LatestValue>>,
    settings: Settings,
}

impl BatchedLatestValues {
    pub(super) fn new(inner: Arc<dyn LatestValues>, settings: &Settings) -> Self {
        let (port, stats) = (inner.clone(), settings.stats.clone());
        let limits = Limits { of_a_key: OF_A_RESOURCE, ..settings.limits() };
        let raises = Batcher::new(
            limits,
            |values| values.count(),
            move |_, values| Box::pin(raise(port.clone(), values, stats.clone())),
        );
        let (port, stats) = (inner.clone(), settings.stats.clone());
        let reads = Batcher::new(settings.limits(), fitting, move |of, requests| {
            Box::pin(read(port.clone(), of, requests, stats.clone()))
        });
        let lists = SingleFlight::new(settings, READING, inner, |inner, list: List| {
            let (username, event_type, after, limit) = list;
            Box::pin(async move { inner.list(&username, &event_type, after.as_ref(), limit).await })
        });
        Self { raises, reads, lists, settings: settings.clone() }
    }
}

#[async_trait]
impl LatestValues for BatchedLatestValues {
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>> {
        let raising = values.iter().map(|value| {
            self.settings.stats.increments.request();
            self.raises.ask(value.resource.clone(), value.clone())
        });
        let dropped =
            |Dropped| PortError::unavailable(RAISING, "the shared call broke off, or was never made");
        join_all(raising).await.into_iter().map(|raised| raised.map_err(dropped).flatten()).collect()
    }
}

#[async_trait]
impl ReadLatest for BatchedLatestValues {
    async fn read(&self, username: &Username, event_type: &EventType, keys: &[LatestKey]) -> Found {
        let parts = keys.chunks(MOST).map(|part| {
            self.settings.stats.reads.request();
            let asked = self.reads.ask((username.clone(), event_type.clone()), part.to_vec());
            answered(READING, self.settings.read_within, asked)
        });
        Ok(try_join_all(parts).await?.concat())
    }

    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        self.lists.ask((username.clone(), event_type.clone(), after.cloned(), limit)).await
    }
}

/// Raises the newest of a resource's values, for all callers.
async fn raise(
    inner: Arc<dyn LatestValues>,
    values: Vec<LatestValue>,
    stats: Arc<Stats>,
) -> Vec<Result<(), PortError>> {
    let callers = values.len();
    // All are of one resource.
    let newest = latest::newest(values);
    stats.increments.call();
    let raised = inner.raise(&newest).await.pop();
    let raised = raised.unwrap_or_else(|| Err(PortError::broken(RAISING, "a value has no outcome")));
    vec![raised; callers]
}

/// Returns how many of the requests ask for [`MOST`] different keys or fewer.
fn fitting(requests: &mut dyn Iterator<Item = &Vec<LatestKey>>) -> usize {
    let mut keys = HashSet::new();
    requests
        .take_while(|request| {
            keys.extend(*request);
            keys.len() <= MOST
        })
        .count()
}

/// Reads the keys of all requests in one call, each key once.
async fn read(
    inner: Arc<dyn LatestValues>,
    (username, event_type): (Username, EventType),
    requests: Vec<Vec<LatestKey>>,
    stats: Arc<Stats>,
) -> Vec<Found> {
    let different: HashSet<&LatestKey> = requests.iter().flatten().collect();
    let keys: Vec<LatestKey> = different.into_iter().cloned().collect();
    stats.reads.call();
    match inner.read(&username, &event_type, &keys).await {
        Ok(values) => {
            let values: HashMap<LatestKey, Option<LatestValue>> = keys.into_iter().zip(values).collect();
            let value = |key| values.get(key).cloned().flatten();
            requests.iter().map(|request| Ok(request.iter().map(value).collect())).collect()
        }
        // One broken value must not fail callers who read other values.
        Err(PortError::Broken { .. }) if requests.len() > 1 => {
            let apart = requests.iter().map(|keys| {
                stats.reads.call();
                inner.read(&username, &event_type, keys)
            });
            join_all(apart).await
        }
        Err(error) => vec![Err(error); requests.len()],
    }
}
