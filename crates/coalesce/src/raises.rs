//! Batching of increments: one call with the sum for each counter.
//!
//! Each counter has a lane and calls of its own, so an error of one counter reaches only its own callers. A caller is
//! answered once its increment is done, or is not known to be: it waits as long as it would without others.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};
use weir_core::{
    Counter, Increment,
    ports::{LiveCounts, PortError},
};

use crate::{
    Coalescing,
    lanes::{Dropped, Lanes, Load, Rules},
    work::Counted,
};

const RAISING: &str = "raising counts";

/// The most calls under way at once, and the most of them for one counter: a counter that hangs leaves the others their
/// places.
const AT_ONCE: usize = 128;
const OF_A_COUNTER: usize = 4;

/// How long an increment waits for a place before it is dropped, not done: a stored event must be acknowledged in time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The increments of one counter.
#[derive(Default)]
struct Sum {
    by: u64,
    callers: Vec<oneshot::Sender<Result<(), PortError>>>,
}

impl Load for Sum {
    type Part = u64;
    type Answer = Result<(), PortError>;

    fn has_room_for(&self, by: &u64) -> bool {
        self.by.checked_add(*by).is_some()
    }

    fn take(&mut self, by: u64, caller: oneshot::Sender<Self::Answer>) {
        self.by = self.by.saturating_add(by);
        self.callers.push(caller);
    }
}

/// Increments that share calls.
pub(crate) struct Raises {
    lanes: Lanes<Counter, Sum>,
    counted: Arc<Counted>,
}

impl Raises {
    pub(crate) fn new(inner: Arc<dyn LiveCounts>, coalescing: &Coalescing) -> Self {
        let rules = Rules {
            of_a_lane: OF_A_COUNTER,
            places: Some(Arc::new(Semaphore::new(AT_ONCE))),
            patience: PATIENCE,
            ..coalescing.rules()
        };
        let counted = coalescing.counted.clone();
        let lanes = Lanes::new(rules, move |counter, sum: Sum| {
            let (inner, counted) = (inner.clone(), counted.clone());
            Box::pin(async move {
                counted.raises.call();
                let raised = inner.raise(&[Increment { counter, by: sum.by }]).await;
                for caller in sum.callers {
                    // A caller that went away needs no answer.
                    let _ = caller.send(raised.clone());
                }
            })
        });
        Self { lanes, counted: coalescing.counted.clone() }
    }

    pub(crate) async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        let raising = increments.iter().map(|increment| {
            self.counted.raises.request();
            self.lanes.join(increment.counter.clone(), increment.by)
        });
        // Waits for all of them, even if some fail; the first failure is returned.
        let raised = join_all(raising).await;
        raised.into_iter().try_for_each(|raised| match raised {
            Ok(raised) => raised,
            Err(Dropped) => {
                Err(PortError::unavailable(RAISING, "the shared call did not come about, or broke off"))
            }
        })
    }
}
