//! [`Settlement`] and [`SettledCounts`] on DynamoDB.
//!
//! A transaction takes 100 items: the marker of a chunk of the batch, which must not exist yet, and up to 99 counts. The
//! chunks follow from the numbers of events alone, so settling is idempotent: settling the batch again makes the same
//! chunks and finds their markers.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use weir_core::{
    BatchId, EventType, Hour, Partition, Timestamp, Username,
    counts::SettledTotals,
    ports::{PortError, Settled, SettledCounts, Settlement},
};

use super::table::{
    CHUNKS, DynamoCounts, Item, ItemKey, event_type, hour_key, number, settled_hours, settled_totals,
};
use crate::{
    backoff::Backoff,
    errors::{is_throttled_part, malformed, port_error},
};

const SETTLING: &str = "settling a batch";
const READING: &str = "reading settled counts";

/// A transaction's items, less the marker.
const MAX_COUNTS: usize = 99;

/// The most tries of a transaction that conflicts with another one on the same items, and the waits between two tries.
const TRIES: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Splits the counts into chunks, in an order that depends on those numbers only. A type's total is in every chunk that has
/// hours of it, with their sum.
fn chunks(events: &BTreeMap<Partition, u64>) -> Vec<BTreeMap<ItemKey, u64>> {
    let mut chunks = vec![BTreeMap::new()];
    for (Partition { username, event_type, hour }, count) in events {
        let total = ItemKey::settled_total(username, event_type);
        let hour = ItemKey::settled_hour(username, event_type, *hour);
        let full = |chunk: &BTreeMap<ItemKey, u64>| {
            chunk.len() + 1 + usize::from(!chunk.contains_key(&total)) > MAX_COUNTS
        };
        if chunks.last().is_some_and(full) {
            chunks.push(BTreeMap::new());
        }
        if let Some(chunk) = chunks.last_mut() {
            *chunk.entry(total).or_default() += count;
            *chunk.entry(hour).or_default() += count;
        }
    }
    chunks
}

/// The marker of a chunk, with the number of the batch's chunks: the batch is settled once its last chunk is.
struct Marker {
    key: ItemKey,
    chunks: usize,
}

impl Marker {
    fn item(&self) -> Item {
        let mut item = self.key.key();
        item.insert(CHUNKS.to_owned(), AttributeValue::N(self.chunks.to_string()));
        item
    }
}

/// The outcome of one try.
enum Tried {
    Done(Settled),
    /// Another transaction was using the same items.
    Conflict,
}

impl DynamoCounts {
    async fn settle_chunk(
        &self,
        marker: &Marker,
        counts: &BTreeMap<ItemKey, u64>,
        now: Timestamp,
    ) -> Result<Settled, PortError> {
        let mut backoff = Backoff::new(&self.random, FIRST_WAIT, LONGEST_WAIT);
        for _ in 0..TRIES {
            if let Tried::Done(settled) = self.try_chunk(marker, counts, now).await? {
                return Ok(settled);
            }
            tokio::time::sleep(backoff.next()).await;
        }
        Err(PortError::unavailable(SETTLING, "other transactions are on the same counts"))
    }

    async fn try_chunk(
        &self,
        marker: &Marker,
        counts: &BTreeMap<ItemKey, u64>,
        now: Timestamp,
    ) -> Result<Tried, PortError> {
        let broken = |error: aws_sdk_dynamodb::error::BuildError| malformed(SETTLING, error.to_string());
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(marker.item()))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(broken)?;
        // The SDK gives all attempts of this one call the same token, so an attempt whose answer was lost does not take
        // effect twice; a further call finds the marker.
        let mut call =
            self.client.transact_write_items().transact_items(TransactWriteItem::builder().put(put).build());
        for (item_key, by) in counts {
            let update = Update::builder()
                .table_name(&self.table)
                .set_key(Some(item_key.key()))
                .expression_attribute_values(":by", AttributeValue::N(by.to_string()));
            // The time is kept on the totals, so that one read returns both.
            let update = if item_key.is_settled_total() {
                update
                    .update_expression("ADD n :by SET settled_at = :now")
                    .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
            } else {
                update.update_expression("ADD n :by")
            };
            let update = update.build().map_err(broken)?;
            call = call.transact_items(TransactWriteItem::builder().update(update).build());
        }
        match call.send().await {
            Ok(_) => Ok(Tried::Done(Settled::Now)),
            Err(error) => {
                let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                    error.as_service_error()
                else {
                    return Err(port_error(SETTLING, &error));
                };
                let codes: Vec<&str> =
                    cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect();
                // Only the marker has a condition.
                if codes.contains(&"ConditionalCheckFailed") {
                    Ok(Tried::Done(Settled::Before))
                } else if codes.iter().any(|code| *code == "TransactionConflict" || is_throttled_part(code)) {
                    Ok(Tried::Conflict)
                } else {
                    Err(port_error(SETTLING, &error))
                }
            }
        }
    }
}

#[async_trait]
impl Settlement for DynamoCounts {
    async fn settle(&self, batch: &BatchId, events: &BTreeMap<Partition, u64>) -> Result<Settled, PortError> {
        let (mut last, now) = (Settled::Before, self.clock.now());
        let chunks = chunks(events);
        for (number, counts) in chunks.iter().enumerate() {
            let marker = Marker { key: ItemKey::chunk(batch.as_str(), number), chunks: chunks.len() };
            // The batch is settled with its last chunk: the call that settled that chunk settled the batch.
            last = self.settle_chunk(&marker, counts, now).await?;
        }
        Ok(last)
    }
}

#[async_trait]
impl SettledCounts for DynamoCounts {
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError> {
        let mut totals = SettledTotals::default();
        for (sk, item) in self.items(READING, settled_totals(username), None).await? {
            totals.by_type.insert(event_type(READING, &sk)?, number(READING, &item)?);
            totals.settled_at = totals.settled_at.max(settled_at(&item)?);
        }
        Ok(totals)
    }

    async fn hours(
        &self,
        username: &Username,
        of: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError> {
        if first > last {
            return Ok(BTreeMap::new());
        }
        let between = Some((hour_key(first), hour_key(last)));
        let hours = self.query(READING, settled_hours(username, of), between).await?;
        let hour = |sk: &str| {
            let number = sk.strip_prefix("hour#").and_then(|number| number.parse().ok());
            number.and_then(|number| Hour::from_epoch(number).ok()).ok_or_else(|| malformed(READING, sk))
        };
        hours.into_iter().map(|(sk, count)| Ok((hour(&sk)?, count))).collect()
    }
}

/// Returns when a total was raised last; items from before that was noted have no such attribute.
fn settled_at(item: &Item) -> Result<Option<Timestamp>, PortError> {
    let Some(value) = item.get("settled_at") else { return Ok(None) };
    let millis = value.as_n().ok().and_then(|number| number.parse().ok());
    millis
        .map(|millis| Some(Timestamp::saturating(millis)))
        .ok_or_else(|| malformed(READING, "a time that is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_a_transaction_and_add_up() {
        let mut events = BTreeMap::new();
        for user in 0..3 {
            for of in ["a", "b"] {
                for hour in 0..70 {
                    let partition = Partition {
                        username: format!("u{user}").parse().unwrap(),
                        event_type: of.parse().unwrap(),
                        hour: Hour::from_epoch(498_000 + hour).unwrap(),
                    };
                    events.insert(partition, hour + 1);
                }
            }
        }
        let chunks = chunks(&events);
        assert!(chunks.iter().all(|chunk| chunk.len() <= 99));
        let sum = |wanted: &str| -> u64 {
            chunks
                .iter()
                .flatten()
                .filter(|(item_key, _)| item_key.sk.starts_with(wanted))
                .map(|(_, by)| by)
                .sum()
        };
        let all: u64 = events.values().sum();
        assert_eq!((sum("hour#"), sum("type#")), (all, all));
        let item_keys: Vec<&ItemKey> = chunks
            .iter()
            .flat_map(BTreeMap::keys)
            .filter(|item_key| item_key.sk.starts_with("hour#"))
            .collect();
        assert_eq!(item_keys.len(), events.len());
    }

    #[test]
    fn a_batch_without_partitions_has_one_empty_chunk() {
        assert_eq!(chunks(&BTreeMap::new()), [BTreeMap::new()]);
    }
}
