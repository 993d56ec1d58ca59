//! [`LiveCounts`] on DynamoDB.
//!
//! `ADD` is not idempotent, so the SDK's own retries are off: an increment is retried only where it is known to have had no
//! effect.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use weir_core::{
    CountedValue, Counter, EventType, Increment, Username,
    counts::{KeyCount, KeysRequest},
    ports::{LiveCounts, PortError},
};

use super::table::{DynamoCounts, Item, ItemKey, event_type, live_keys, live_totals, number};
use crate::{
    backoff::Backoff,
    batch_get::{MAX_GET, batch_get},
    errors::{Effect, effect, malformed, port_error},
};

const RAISING: &str = "raising counts";
const READING: &str = "reading counts";

/// The most increments of a request that are under way at once.
const CONCURRENT: usize = 32;

/// The most tries of an increment that took no effect, and the waits between two tries.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(60);
const LONGEST_WAIT: Duration = Duration::from_millis(240);

impl DynamoCounts {
    async fn add(&self, increment: &Increment) -> Result<(), PortError> {
        let item_key = ItemKey::live(&increment.counter, self.below(self.shards.get()));
        let (mut tries, mut backoff) = (0, Backoff::new(&self.random, FIRST_WAIT, LONGEST_WAIT));
        loop {
            let added = self
                .once
                .update_item()
                .table_name(&self.table)
                .set_key(Some(item_key.key()))
                .update_expression("ADD n :by")
                .expression_attribute_values(":by", AttributeValue::N(increment.by.to_string()))
                .send()
                .await;
            let Err(error) = added else { return Ok(()) };
            tries += 1;
            if tries >= TRIES || effect(&error) != Effect::None {
                return Err(port_error(RAISING, &error));
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Returns the counts of any number of items; items without a count are left out.
    pub(crate) async fn get_many(&self, item_keys: &[ItemKey]) -> Result<HashMap<ItemKey, u64>, PortError> {
        let getting: Vec<_> = item_keys.chunks(MAX_GET).map(|chunk| self.get(chunk)).collect();
        let found: Vec<HashMap<ItemKey, u64>> =
            stream::iter(getting).buffer_unordered(CONCURRENT).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Returns the counts of at most [`MAX_GET`] items.
    async fn get(&self, item_keys: &[ItemKey]) -> Result<HashMap<ItemKey, u64>, PortError> {
        let wanted = item_keys.iter().map(ItemKey::key).collect();
        let items = batch_get(&self.client, &self.random, READING, &self.table, wanted).await?;
        let count = |item: &Item| {
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
            let (Some(pk), Some(sk)) = (text("pk"), text("sk")) else {
                return Err(malformed(READING, "an item without its key"));
            };
            Ok((ItemKey { pk, sk }, number(READING, item)?))
        };
        items.iter().map(count).collect()
    }

    pub(crate) fn all_shards(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.shards.get()
    }
}

#[async_trait]
impl LiveCounts for DynamoCounts {
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        // Tries all of them, even if some fail; the first failure is returned.
        let adding: Vec<_> = increments.iter().map(|increment| self.add(increment)).collect();
        let results: Vec<Result<(), PortError>> =
            stream::iter(adding).buffer_unordered(CONCURRENT).collect().await;
        results.into_iter().collect()
    }

    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        let item_keys = |counter: &Counter| -> Vec<ItemKey> {
            self.all_shards().map(|shard| ItemKey::live(counter, shard)).collect()
        };
        // A request that names an item twice would be refused.
        let mut wanted: Vec<ItemKey> = counters.iter().flat_map(item_keys).collect();
        wanted.sort();
        wanted.dedup();
        let found = self.get_many(&wanted).await?;
        let count = |item_key: &ItemKey| found.get(item_key).copied().unwrap_or_default();
        Ok(counters.iter().map(|counter| item_keys(counter).iter().map(count).sum()).collect())
    }

    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        let shards = self.all_shards().map(|shard| self.query(READING, live_totals(username, shard), None));
        let mut totals = BTreeMap::new();
        for (sk, count) in try_join_all(shards).await?.into_iter().flatten() {
            *totals.entry(event_type(READING, &sk)?).or_default() += count;
        }
        // A count that a correction lowered to zero is left out.
        totals.retain(|_, count| *count > 0);
        Ok(totals)
    }

    /// Reads all of the type's keys, as the table does not order them by count.
    async fn keys(
        &self,
        username: &Username,
        of: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError> {
        let shards = self.all_shards().map(|shard| self.query(READING, live_keys(username, of, shard), None));
        let mut sums: BTreeMap<CountedValue, u64> = BTreeMap::new();
        for (sk, count) in try_join_all(shards).await?.into_iter().flatten() {
            let key = sk.strip_prefix("key#").unwrap_or(&sk);
            let key = key.parse().map_err(|error| malformed(READING, format!("{error}")))?;
            *sums.entry(key).or_default() += count;
        }
        let counts = sums.into_iter().map(|(key, count)| KeyCount { key, count });
        Ok(request.page(counts.filter(|it| it.count > 0)))
    }
}
