//! Single-flight: one call for all callers with the same request.

use std::{hash::Hash, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use weir_core::ports::PortError;

use super::{
    batcher::{Batcher, Dropped},
    settings::Settings,
};

/// Requests of one kind; those with equal keys are the same.
pub(super) struct SingleFlight<K, T> {
    batcher: Batcher<K, (), Result<T, PortError>>,
    what: &'static str,
    settings: Settings,
}

impl<K, T> SingleFlight<K, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    T: Clone + Send + 'static,
{
    pub(super) fn new<P: Send + Sync + ?Sized + 'static>(
        settings: &Settings,
        what: &'static str,
        port: Arc<P>,
        ask: impl Fn(Arc<P>, K) -> BoxFuture<'static, Result<T, PortError>> + Send + Sync + 'static,
    ) -> Self {
        let stats = settings.stats.clone();
        let batcher = Batcher::new(
            settings.limits(),
            |callers| callers.count(),
            move |key, callers: Vec<()>| {
                stats.reads.call();
                let answer = ask(port.clone(), key);
                Box::pin(async move { vec![answer.await; callers.len()] })
            },
        );
        Self { batcher, what, settings: settings.clone() }
    }

    pub(super) async fn ask(&self, key: K) -> Result<T, PortError> {
        self.settings.stats.reads.request();
        answered(self.what, self.settings.read_within, self.batcher.ask(key, ())).await
    }
}

/// Waits for the answer to a read, at most for `within`. A read that timed out or broke off is an error that allows a
/// retry.
pub(super) async fn answered<T>(
    what: &'static str,
    within: Duration,
    answer: impl Future<Output = Result<Result<T, PortError>, Dropped>>,
) -> Result<T, PortError> {
    match timeout(within, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Dropped)) => Err(PortError::unavailable(what, "the shared call broke off, or was never made")),
        Err(_) => Err(PortError::unavailable(what, "it took too long")),
    }
}
