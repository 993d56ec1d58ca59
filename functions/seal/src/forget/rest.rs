//! What follows from forgotten events: counts by key, latest values, recent ids, rejected events that are shown, and rows that queries
//! left.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use weir_aws::{S3Batches, StoredBatch};
use weir_core::{
    CountedValue, EventType, Partition, RecordHead, Timestamp,
    forgotten::{ForgetRequest, ForgottenEvents, Which},
    ports::{LiveCounts, PortError, SettledCounts},
    rejected::RejectedEvent,
};

use super::{CONCURRENT, Forget, ForgetAmounts, ForgetError, Lease, look::Found};

const READING: &str = "reading a large latest value";

impl Forget {
    /// Removes the counts that name a forgotten value, whatever they are: no event with it is left. `types` are those of the events: one
    /// that left the catalog has no total any more.
    pub(super) async fn remove_keys(
        &self,
        request: &ForgetRequest,
        mut types: BTreeSet<EventType>,
    ) -> Result<(), PortError> {
        let user = &request.username;
        let settled = SettledCounts::totals(&self.counts, user).await?.by_type;
        types.extend(settled.keys().cloned());
        types.extend(LiveCounts::totals(&self.counts, user).await?.into_keys());
        types.extend(self.catalog.iter().map(|definition| definition.event_type().clone()));
        types.extend(request.event_type.clone());
        for event_type in types.iter().filter(|event_type| request.is_of_type(event_type)) {
            match &request.which {
                // A type of which events came meanwhile keeps its counts by key.
                Which::All if settled.get(event_type).is_none_or(|count| *count == 0) => {
                    self.counts.remove_keys(user, event_type, None).await?;
                }
                Which::All => {}
                Which::Where { field, values } => {
                    // A type that left the catalog may have been counted by any field.
                    let counted_by =
                        self.catalog.get(event_type).map(|definition| definition.count_by() == Some(field));
                    if counted_by.unwrap_or(!event_type.is_bots()) {
                        let keys: Vec<_> = values.iter().map(|value| CountedValue::of(value)).collect();
                        self.counts.remove_keys(user, event_type, Some(&keys)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes latest values, rejected events that are shown, and recent ids.
    pub(super) async fn remove_what_follows(
        &self,
        (request, began): (&ForgetRequest, Timestamp),
        gone: &ForgottenEvents,
        found: &Found,
        amounts: &mut ForgetAmounts,
    ) -> Result<(), PortError> {
        let user = &request.username;
        for value in &found.latest {
            self.latest.replace(value, found.newest.get(&value.resource).as_ref()).await?;
            amounts.latest += 1;
        }
        let is_gone = |event: &RejectedEvent| {
            let (username, at) = (user.clone(), event.received_at);
            let partition = Partition { username, event_type: EventType::rejected(), hour: at.hour() };
            let event_id = event.event_id.clone();
            let head = RecordHead { partition, event_id, received_at: at, time: at, is_of_a_bot: false };
            let claimed = event.event_type.as_ref().map(EventType::as_str);
            gone.has(&head) || (at <= began && request.means_sent(claimed, &event.event))
        };
        amounts.rejected += self.counts.forget_rejected(user, &is_gone).await?;
        let is_meant = |line: &str| means((request, began), gone, line.as_bytes());
        amounts.ids += self.ids.forget(user, &found.ids, &is_meant).await?;
        Ok(())
    }

    /// Removes the objects of large latest values that are gone, and the rows that queries and functions left, of all users: they may
    /// be of anything. Returns how many objects of rows there were.
    pub(super) async fn remove_results(
        &self,
        (request, began): (&ForgetRequest, Timestamp),
        gone: &ForgottenEvents,
        lease: &Lease<'_>,
    ) -> Result<u64, ForgetError> {
        for place in (self.large)(&request.username) {
            for object in place.stored(&|_| true).await? {
                lease.keep().await?;
                // All versions of it are the same, as its name is its content's digest.
                let line = content(&place, &object).await?;
                if line.is_some_and(|line| means((request, began), gone, &line)) {
                    place.remove(&object).await?;
                }
            }
        }
        let mut removed = 0;
        for place in &self.results {
            let objects = place.stored(&|_| true).await?;
            let removing = objects.iter().map(|object| async move {
                lease.keep().await?;
                place.remove(object).await?;
                Ok::<_, ForgetError>(())
            });
            stream::iter(removing).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
            removed += objects.len() as u64;
        }
        Ok(removed)
    }
}

/// Returns whether a stored line, or a part of one, is meant.
fn means((request, began): (&ForgetRequest, Timestamp), gone: &ForgottenEvents, line: &[u8]) -> bool {
    match RecordHead::read(line) {
        Ok(head) => gone.has(&head) || (head.received_at <= began && request.means(&head, line)),
        Err(_) => request.means_line(line),
    }
}

/// Returns the content of an object that may have been removed; `None` if only markers of its removal are left.
async fn content(place: &S3Batches, object: &StoredBatch) -> Result<Option<Vec<u8>>, PortError> {
    let opened = match (object.current(), object.earlier().first()) {
        (Some(_), _) => place.open(object).await,
        (None, Some(version)) => place.open_earlier(object, version).await,
        (None, None) => return Ok(None),
    };
    let mut pieces = match opened {
        // The value was raised meanwhile, which removes its earlier object.
        Err(PortError::NotFound { .. }) => return Ok(None),
        opened => opened?,
    };
    let mut content = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| PortError::unavailable(READING, error))?;
        content.extend_from_slice(&piece);
    }
    Ok(Some(content))
}
