//! Latest values of stored events, where the engine leaves them to the collector: raised after the append and before any event
//! is acknowledged.
//!
//! An event whose value could not be raised is not acknowledged, though it is stored: its client sends it again. The repeat is
//! a duplicate, for which the engine returns the stored record, and that is raised then. So whatever fails in between, and in
//! whatever order requests come, no acknowledged event is newer than its resource's latest value.

use std::collections::BTreeMap;

use tokio::time::{Instant, timeout_at};
use weir_core::{
    Record,
    latest::{self, LatestValue, Resource},
    ports::{Appended, PortError},
};

use crate::Collector;

impl Collector {
    /// Raises the latest values of a request's records, the newest of each resource in one call. Returns, for each record,
    /// the error if its value was not raised.
    pub(super) async fn raise_latest(
        &self,
        began: Instant,
        records: &[Record],
        appended: &[Appended],
    ) -> Vec<Option<PortError>> {
        let values: Vec<Option<LatestValue>> =
            records.iter().zip(appended).map(|(record, appended)| appended.to_raise(record)).collect();
        let newest = latest::newest(values.iter().flatten().cloned());
        if newest.is_empty() {
            return Vec::new();
        }
        let raising = self.ports.latest.raise(&newest);
        let raised = match self.host.counted_within {
            None => raising.await,
            Some(within) => timeout_at(began + within, raising).await.unwrap_or_else(|_| {
                let late = || Err(PortError::unavailable("raising latest values", "it took too long"));
                newest.iter().map(|_| late()).collect()
            }),
        };
        let failed: BTreeMap<&Resource, PortError> = newest
            .iter()
            .zip(raised)
            .filter_map(|(value, raised)| Some((&value.resource, raised.err()?)))
            .collect();
        let Some(error) = failed.values().next() else { return Vec::new() };
        // An older event of the same resource waits as well: the newer one, which stands for it, is not raised.
        let errors: Vec<Option<PortError>> =
            values.iter().map(|value| failed.get(&value.as_ref()?.resource).cloned()).collect();
        let events = errors.iter().flatten().count();
        tracing::error!(%error, events, "stored events were not acknowledged: their latest values were not raised");
        errors
    }
}
