//! Batching of counter reads: one call for all waiting callers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::try_join_all, stream};
use tokio::sync::oneshot;
use weir_core::{
    Counter,
    ports::{LiveCounts, PortError},
};

use crate::{
    Coalescing,
    lanes::{Lanes, Load},
    same::answered,
    work::Counted,
};

const READING: &str = "reading counts";

/// The most counters that a call reads: as many as DynamoDB returns at once
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
const MOST: usize = 100;

/// How many counters are read at once when each is read by itself.
const APART: usize = 16;

/// The counters to read, each once, and the callers who want them.
#[derive(Default)]
struct Wanted {
    counters: Vec<Counter>,
    places: HashMap<Counter, usize>,
    callers: Vec<Caller>,
}

struct Caller {
    /// The positions of the caller's counters.
    places: Vec<usize>,
    tell: oneshot::Sender<Result<Vec<u64>, PortError>>,
}

impl Load for Wanted {
    type Part = Vec<Counter>;
    type Answer = Result<Vec<u64>, PortError>;

    fn has_room_for(&self, part: &Vec<Counter>) -> bool {
        let new = part.iter().filter(|counter| !self.places.contains_key(counter)).count();
        self.counters.len() + new <= MOST
    }

    fn take(&mut self, part: Vec<Counter>, tell: oneshot::Sender<Self::Answer>) {
        let place = |counter: Counter| {
            *self.places.entry(counter).or_insert_with_key(|counter| {
                self.counters.push(counter.clone());
                self.counters.len() - 1
            })
        };
        let places = part.into_iter().map(place).collect();
        self.callers.push(Caller { places, tell });
    }
}

/// Reads that share calls.
pub(crate) struct Reads {
    lanes: Lanes<(), Wanted>,
    within: Duration,
    counted: Arc<Counted>,
}

impl Reads {
    pub(crate) fn new(inner: Arc<dyn LiveCounts>, coalescing: &Coalescing) -> Self {
        let counted = coalescing.counted.clone();
        let lanes = Lanes::new(coalescing.rules(), move |(), wanted| {
            Box::pin(read(inner.clone(), wanted, counted.clone()))
        });
        Self { lanes, within: coalescing.read_within, counted: coalescing.counted.clone() }
    }

    pub(crate) async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        let parts = counters.chunks(MOST).map(|part| {
            self.counted.reads.request();
            answered(READING, self.within, self.lanes.join((), part.to_vec()))
        });
        Ok(try_join_all(parts).await?.concat())
    }
}

async fn read(inner: Arc<dyn LiveCounts>, wanted: Wanted, counted: Arc<Counted>) {
    counted.reads.call();
    let counts: Vec<Result<u64, PortError>> = match inner.read(&wanted.counters).await {
        Ok(counts) => counts.into_iter().map(Ok).collect(),
        // One broken count must not fail callers who read other counts.
        Err(PortError::Broken { .. }) if wanted.callers.len() > 1 => {
            apart(&*inner, &wanted.counters, &counted).await
        }
        Err(error) => wanted.counters.iter().map(|_| Err(error.clone())).collect(),
    };
    for Caller { places, tell } in wanted.callers {
        // A count that the engine did not return is not known to be zero.
        let count = |place| counts.get(place).cloned().unwrap_or_else(|| Err(none()));
        let _ = tell.send(places.into_iter().map(count).collect());
    }
}

/// Reads each counter by itself.
async fn apart(
    inner: &dyn LiveCounts,
    counters: &[Counter],
    counted: &Counted,
) -> Vec<Result<u64, PortError>> {
    let reading = counters.iter().map(async |counter| {
        counted.reads.call();
        inner.read(std::slice::from_ref(counter)).await?.first().copied().ok_or_else(none)
    });
    stream::iter(reading.collect::<Vec<_>>()).buffered(APART).collect().await
}

fn none() -> PortError {
    PortError::broken(READING, "a count is not answered")
}
