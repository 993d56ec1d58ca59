//! Batching of increments: one call with the sum for each counter.
//!
//! Each counter has calls of its own, so an error of one counter reaches only its own callers. A caller is answered once
//! its increment is done, or is not known to be: it waits as long as it would without others.

use std::sync::Arc;

use futures_util::future::join_all;
use weir_core::{
    Counter, Increment,
    ports::{LiveCounts, PortError},
};

use super::{
    batcher::{Batcher, Dropped, Limits},
    settings::Settings,
};

const RAISING: &str = "raising counts";

/// The most calls under way for one counter: a counter that hangs leaves the others their permits.
const OF_A_COUNTER: u32 = 4;

/// Increments that share calls.
pub(super) struct Increments {
    batcher: Batcher<Counter, u64, Result<(), PortError>>,
    settings: Settings,
}

impl Increments {
    pub(super) fn new(inner: Arc<dyn LiveCounts>, settings: &Settings) -> Self {
        let stats = settings.stats.clone();
        let limits = Limits { of_a_key: OF_A_COUNTER, ..settings.limits() };
        let batcher = Batcher::new(limits, fitting, move |counter, requests: Vec<u64>| {
            let (inner, stats) = (inner.clone(), stats.clone());
            Box::pin(async move {
                stats.increments.call();
                let raised = inner.raise(&[Increment { counter, by: requests.iter().sum() }]).await;
                vec![raised; requests.len()]
            })
        });
        Self { batcher, settings: settings.clone() }
    }

    pub(super) async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        let raising = increments.iter().map(|increment| {
            self.settings.stats.increments.request();
            self.batcher.ask(increment.counter.clone(), increment.by)
        });
        // Waits for all of them, even if some fail; the first failure is returned.
        let raised = join_all(raising).await;
        raised.into_iter().try_for_each(|raised| match raised {
            Ok(raised) => raised,
            Err(Dropped) => {
                Err(PortError::unavailable(RAISING, "the shared call broke off, or was never made"))
            }
        })
    }
}

/// Returns how many of the increments have a sum that is a number.
fn fitting(requests: &mut dyn Iterator<Item = &u64>) -> usize {
    let mut sum = Some(0_u64);
    requests
        .take_while(|by| {
            sum = sum.and_then(|sum| sum.checked_add(**by));
            sum.is_some()
        })
        .count()
}
