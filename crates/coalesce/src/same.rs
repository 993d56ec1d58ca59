//! Single-flight: one call for all callers with the same request.

use std::{hash::Hash, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{sync::oneshot, time::timeout};
use weir_core::ports::PortError;

use crate::lanes::{Dropped, Lanes, Load, Rules};

/// The callers with the same request.
struct Askers<T>(Vec<oneshot::Sender<Result<T, PortError>>>);

impl<T> Default for Askers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Send + 'static> Load for Askers<T> {
    type Part = ();
    type Answer = Result<T, PortError>;

    fn has_room_for(&self, (): &()) -> bool {
        true
    }

    fn take(&mut self, (): (), caller: oneshot::Sender<Self::Answer>) {
        self.0.push(caller);
    }
}

/// Requests of one kind; those with equal keys are the same.
pub(crate) struct Same<K, T: Send + 'static> {
    lanes: Lanes<K, Askers<T>>,
    what: &'static str,
    within: Duration,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, T: Clone + Send + 'static> Same<K, T> {
    pub(crate) fn new(
        rules: Rules,
        what: &'static str,
        within: Duration,
        ask: impl Fn(K) -> BoxFuture<'static, Result<T, PortError>> + Send + Sync + 'static,
    ) -> Self {
        let lanes = Lanes::new(rules, move |key, askers: Askers<T>| {
            let asked = ask(key);
            Box::pin(async move {
                let answer = asked.await;
                for asker in askers.0 {
                    // A caller that went away needs no answer.
                    let _ = asker.send(answer.clone());
                }
            })
        });
        Self { lanes, what, within }
    }

    pub(crate) async fn ask(&self, key: K) -> Result<T, PortError> {
        answered(self.what, self.within, self.lanes.join(key, ())).await
    }
}

/// Waits for the answer to a read, at most for `within`. A read that timed out or broke off is an error that allows a
/// retry.
pub(crate) async fn answered<T>(
    what: &'static str,
    within: Duration,
    answer: impl Future<Output = Result<Result<T, PortError>, Dropped>>,
) -> Result<T, PortError> {
    match timeout(within, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Dropped)) => Err(PortError::unavailable(what, "the shared call broke off")),
        Err(_) => Err(PortError::unavailable(what, "it took too long")),
    }
}
