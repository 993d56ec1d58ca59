//! [`Books`] on DynamoDB: every count of the table, and corrections that do not overwrite concurrent increments.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue};
use futures_util::future::try_join;
use weir_core::{
    Counter, EventType, Hour, Increment, Timestamp, Username,
    books::{Breakdown, Correction, TypeCounts},
    counts::KeysRequest,
    ports::{Books, BooksAdmin, LiveCounts, PortError, SettledCounts},
};

use super::table::{DynamoCounts, FORGOTTEN, Item, ItemKey, REJECTED};
use crate::errors::{malformed, port_error};

const READING: &str = "reading the counts";
const CORRECTING: &str = "correcting a count";

/// The most tries of a correction that finds less than it read.
const TRIES: u32 = 10;

#[async_trait]
impl Books for DynamoCounts {
    /// Reads the keys of the whole table, except those of batch markers, rejected events and what was forgotten: there is no list of users who
    /// have counts.
    async fn counted(&self) -> Result<BTreeSet<(Username, EventType)>, PortError> {
        let mut counted = BTreeSet::new();
        let mut start: Option<Item> = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .consistent_read(true)
                .projection_expression("pk, sk")
                .filter_expression(
                    "NOT begins_with(pk, :batch) AND NOT begins_with(pk, :rejected) AND NOT begins_with(pk, :forgotten)",
                )
                .expression_attribute_values(":forgotten", AttributeValue::S(FORGOTTEN.to_owned()))
                .expression_attribute_values(":batch", AttributeValue::S("batch#".to_owned()))
                .expression_attribute_values(":rejected", AttributeValue::S(REJECTED.to_owned()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(READING, &error))?;
            for item in page.items() {
                let text =
                    |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
                let (Some(pk), Some(sk)) = (text("pk"), text("sk")) else {
                    return Err(malformed(READING, "an item without its key"));
                };
                counted.insert(self.whose(pk, sk).map_err(|reason| malformed(READING, reason))?);
            }
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                return Ok(counted);
            }
        }
    }

    async fn counts_of(&self, username: &Username, event_type: &EventType) -> Result<TypeCounts, PortError> {
        let total = Counter { username: username.clone(), event_type: event_type.clone(), key: None };
        let everything = KeysRequest { after: None, limit: usize::MAX };
        let (first, last) = (Timestamp::saturating(0).hour(), Timestamp::saturating(u64::MAX).hour());
        let live =
            try_join(self.read(std::slice::from_ref(&total)), self.keys(username, event_type, &everything));
        let settled_total = async {
            let item_key = ItemKey::settled_total(username, event_type);
            Ok(self
                .get_many(std::slice::from_ref(&item_key))
                .await?
                .get(&item_key)
                .copied()
                .unwrap_or_default())
        };
        let settled = try_join(settled_total, hours(self, username, event_type, first, last));
        let ((totals, keys), (settled, settled_hours)) = try_join(live, settled).await?;
        let keys = keys.into_iter().map(|count| (count.key, count.count)).collect();
        let live = Breakdown { total: totals.first().copied().unwrap_or_default(), keys };
        Ok(TypeCounts { live, settled, settled_hours, under_way: None })
    }
}

/// Returns the settled counts of a type by hour.
async fn hours(
    counts: &DynamoCounts,
    username: &Username,
    event_type: &EventType,
    first: Hour,
    last: Hour,
) -> Result<std::collections::BTreeMap<Hour, u64>, PortError> {
    SettledCounts::hours(counts, username, event_type, first, last).await
}

#[async_trait]
impl BooksAdmin for DynamoCounts {
    /// Applies the corrections one after the other. A correction adds to a count, as an increment does, and never sets it.
    async fn correct(&self, corrections: &[Correction]) -> Result<(), PortError> {
        for Correction { counter, by } in corrections {
            match u64::try_from(*by) {
                Ok(by) => self.raise(&[Increment { counter: counter.clone(), by }]).await?,
                Err(_) => self.lower(counter, by.unsigned_abs()).await?,
            }
        }
        Ok(())
    }
}

impl DynamoCounts {
    /// Returns the user and the type of the item that has these keys.
    fn whose(&self, pk: &str, sk: &str) -> Result<(Username, EventType), String> {
        let parts: Vec<&str> = pk.split('#').collect();
        let of_type = sk.strip_prefix("type#").unwrap_or(sk);
        let (username, event_type, shard) = match parts[..] {
            ["live", username, shard] => (username, of_type, Some(shard)),
            ["key", username, event_type, shard] => (username, event_type, Some(shard)),
            ["settled", username] => (username, of_type, None),
            ["settled", username, event_type] => (username, event_type, None),
            _ => return Err(format!("an item with the key {pk}")),
        };
        if let Some(shard) = shard
            && shard.parse().is_ok_and(|shard: u16| shard >= self.shards.get())
        {
            return Err(format!("{pk} is a shard that is not read: WEIR_COUNTER_SHARDS is {}", self.shards));
        }
        let name = |error: weir_core::NameError| format!("{pk}: {error}");
        Ok((username.parse().map_err(name)?, event_type.parse().map_err(name)?))
    }

    /// Takes from the largest shards first, and from no shard more than it has: a shard below zero could not be read.
    async fn lower(&self, counter: &Counter, by: u64) -> Result<(), PortError> {
        let item_keys: Vec<ItemKey> = self.all_shards().map(|shard| ItemKey::live(counter, shard)).collect();
        let mut left = by;
        for _ in 0..TRIES {
            let found = self.get_all(&item_keys).await?;
            if found.iter().map(|(_, count)| count).sum::<u64>() < left {
                return Err(PortError::broken(CORRECTING, format!("{left} are to be taken from less")));
            }
            for (item_key, count) in &found {
                let take = left.min(*count);
                if take > 0 && self.take(item_key, take).await? {
                    left -= take;
                }
            }
            if left == 0 {
                return Ok(());
            }
        }
        Err(PortError::unavailable(CORRECTING, "it goes down while it is corrected"))
    }

    /// Returns the counts of some items, largest first.
    async fn get_all(&self, item_keys: &[ItemKey]) -> Result<Vec<(ItemKey, u64)>, PortError> {
        let mut found: Vec<(ItemKey, u64)> = self.get_many(item_keys).await?.into_iter().collect();
        found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(found)
    }

    /// Takes `by` from one item, unless it has less by now.
    async fn take(&self, item_key: &ItemKey, by: u64) -> Result<bool, PortError> {
        let number = |text: String| AttributeValue::N(text);
        let taken = self
            .once
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key.key()))
            .update_expression("ADD n :less")
            .condition_expression("n >= :by")
            .expression_attribute_values(":less", number(format!("-{by}")))
            .expression_attribute_values(":by", number(by.to_string()))
            .send()
            .await;
        match taken {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(port_error(CORRECTING, &error)),
            },
        }
    }
}
