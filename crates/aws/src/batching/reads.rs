//! Batching of counter reads: one call for all waiting callers, with each counter once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt, future::try_join_all, stream};
use weir_core::{
    Counter,
    ports::{LiveCounts, PortError},
};

use super::{batcher::Batcher, settings::Settings, single_flight::answered, stats::Stats};

const READING: &str = "reading counts";

/// The most counters that a call reads: as many as DynamoDB returns at once
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
const MOST: usize = 100;

/// The number of counters that are read at once when each is read by itself.
const APART: usize = 16;

/// Reads that share calls.
pub(super) struct Reads {
    batcher: Batcher<(), Vec<Counter>, Result<Vec<u64>, PortError>>,
    settings: Settings,
}

impl Reads {
    pub(super) fn new(inner: Arc<dyn LiveCounts>, settings: &Settings) -> Self {
        let stats = settings.stats.clone();
        let batcher = Batcher::new(settings.limits(), fitting, move |(), requests| {
            Box::pin(read(inner.clone(), requests, stats.clone()))
        });
        Self { batcher, settings: settings.clone() }
    }

    pub(super) async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        let parts = counters.chunks(MOST).map(|part| {
            self.settings.stats.reads.request();
            answered(READING, self.settings.read_within, self.batcher.ask((), part.to_vec()))
        });
        Ok(try_join_all(parts).await?.concat())
    }
}

/// Returns how many of the requests ask for [`MOST`] different counters or fewer.
fn fitting(requests: &mut dyn Iterator<Item = &Vec<Counter>>) -> usize {
    let mut counters = HashSet::new();
    requests
        .take_while(|request| {
            counters.extend(*request);
            counters.len() <= MOST
        })
        .count()
}

async fn read(
    inner: Arc<dyn LiveCounts>,
    requests: Vec<Vec<Counter>>,
    stats: Arc<Stats>,
) -> Vec<Result<Vec<u64>, PortError>> {
    let mut counters = Vec::new();
    let mut positions = HashMap::new();
    for counter in requests.iter().flatten() {
        positions.entry(counter).or_insert_with(|| {
            counters.push(counter.clone());
            counters.len() - 1
        });
    }
    stats.reads.call();
    let counts: Vec<Result<u64, PortError>> = match inner.read(&counters).await {
        Ok(counts) => counts.into_iter().map(Ok).collect(),
        // One broken count must not fail callers who read other counts.
        Err(PortError::Broken { .. }) if requests.len() > 1 => apart(&*inner, &counters, &stats).await,
        Err(error) => vec![Err(error); counters.len()],
    };
    // A count that the engine did not return is not known to be zero.
    let count = |counter| counts.get(positions[counter]).cloned().unwrap_or_else(|| Err(missing()));
    requests.iter().map(|request| request.iter().map(count).collect()).collect()
}

/// Reads each counter by itself.
async fn apart(inner: &dyn LiveCounts, counters: &[Counter], stats: &Stats) -> Vec<Result<u64, PortError>> {
    let reading = counters.iter().map(async |counter| {
        stats.reads.call();
        inner.read(std::slice::from_ref(counter)).await?.first().copied().ok_or_else(missing)
    });
    stream::iter(reading.collect::<Vec<_>>()).buffered(APART).collect().await
}

fn missing() -> PortError {
    PortError::broken(READING, "a count is not answered")
}
