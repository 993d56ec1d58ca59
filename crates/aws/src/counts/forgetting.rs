//! Lowers counts by forgotten events, once: in transactions with markers, as a batch is settled.
//!
//! | what | `pk` | `sk` | attribute |
//! | --- | --- | --- | --- |
//! | how many events of a type were forgotten | `forgotten#USER` | `type#TYPE` | `n` |
//! | a marker of a forgetting under way | `forgotten#USER` | `run#RUN#N` | |
//!
//! A marker says that a chunk of the counts was lowered. A forgetting that died is repeated with the same chunks, which were kept, and
//! removes its markers at its end. A count never falls below zero, and one that falls to zero is removed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{
    operation::{delete_item::DeleteItemError, transact_write_items::TransactWriteItemsError},
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use serde::{Deserialize, Serialize};
use weir_core::{CountedValue, Counter, EventType, Hour, Username, ports::PortError};

use super::table::{DynamoCounts, FORGOTTEN, ItemKey, event_type, live_keys, number};
use crate::errors::{malformed, port_error};

const LOWERING: &str = "lowering counts by forgotten events";
const READING: &str = "reading how many events were forgotten";

/// How many counts are lowered in one transaction, and the most items that it takes beside the marker.
const CHUNK: usize = 16;
const MAX_ITEMS: usize = 99;

/// The shards of a counter with which a chunk surely fits a transaction.
const FEW_SHARDS: u16 = 4;

/// The most tries of a chunk whose counts change meanwhile.
const TRIES: u32 = 20;

/// A count that is lowered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    /// The type of the events.
    pub event_type: EventType,
    /// Which of the type's counts.
    pub count: LoweredCount,
    /// By how much.
    pub by: u64,
}

/// A count of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoweredCount {
    /// The settled count of an hour, in hours since 1970.
    Hour(u64),
    /// The settled and the live total.
    Total,
    /// The live count of a key.
    Key(String),
    /// The number of forgotten events, which is raised.
    Forgotten,
}

/// Counts to lower, in the order of the chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsToLower {
    /// The user whose counts these are.
    pub username: Username,
    /// The name of the forgetting, which is used once.
    pub run: String,
    /// The counts.
    pub lowered: Vec<Lowered>,
    /// How many of them are lowered in one transaction: the same in each attempt. 0 is what an earlier version wrote, and stands for
    /// what the number of shards of now asks for.
    #[serde(default)]
    pub chunk: usize,
}

impl CountsToLower {
    /// Returns how many events of each type are forgotten.
    pub fn forgotten(&self) -> impl Iterator<Item = (&EventType, u64)> {
        let forgotten = self.lowered.iter().filter(|lowered| lowered.count == LoweredCount::Forgotten);
        forgotten.map(|lowered| (&lowered.event_type, lowered.by))
    }

    /// Returns the types of the counts.
    #[must_use]
    pub fn types(&self) -> BTreeSet<EventType> {
        self.lowered.iter().map(|lowered| lowered.event_type.clone()).collect()
    }
}

impl DynamoCounts {
    /// Returns how many counts fit a transaction.
    #[must_use]
    pub fn counts_of_a_chunk(&self) -> usize {
        if self.shards.get() > FEW_SHARDS { 1 } else { CHUNK }
    }

    /// Lowers counts; those that were lowered in the same run are left alone.
    pub async fn lower_by_forgotten(&self, counts: &CountsToLower) -> Result<(), PortError> {
        let size = if counts.chunk == 0 { self.counts_of_a_chunk() } else { counts.chunk };
        for (number, chunk) in counts.lowered.chunks(size).enumerate() {
            self.lower_chunk(counts, number, chunk).await?;
        }
        for lowered in &counts.lowered {
            for item_key in self.items_of(&counts.username, lowered)? {
                self.remove_zero(&item_key).await?;
            }
        }
        Ok(())
    }

    /// Returns the items of a count, the settled one first.
    fn items_of(&self, username: &Username, lowered: &Lowered) -> Result<Vec<ItemKey>, PortError> {
        let Lowered { event_type, count, .. } = lowered;
        let live = |key: Option<CountedValue>| {
            let counter = Counter { username: username.clone(), event_type: event_type.clone(), key };
            self.all_shards().map(|shard| ItemKey::live(&counter, shard)).collect::<Vec<_>>()
        };
        Ok(match count {
            LoweredCount::Forgotten => Vec::new(),
            LoweredCount::Hour(hour) => {
                let hour =
                    Hour::from_epoch(*hour).map_err(|_| malformed(LOWERING, "an hour is not valid"))?;
                vec![ItemKey::settled_hour(username, event_type, hour)]
            }
            LoweredCount::Total => {
                let settled = ItemKey::settled_total(username, event_type);
                std::iter::once(settled).chain(live(None)).collect()
            }
            LoweredCount::Key(key) => live(Some(CountedValue::of(key))),
        })
    }

    async fn lower_chunk(
        &self,
        counts: &CountsToLower,
        number: usize,
        chunk: &[Lowered],
    ) -> Result<(), PortError> {
        for _ in 0..TRIES {
            let takes = self.takes(&counts.username, chunk).await?;
            if takes.len() > MAX_ITEMS - CHUNK {
                // More shards than a transaction takes: the number is the same in one of them.
                self.gather(&counts.username, chunk).await?;
                continue;
            }
            let marker = marker(counts, number);
            let broken = |error: aws_sdk_dynamodb::error::BuildError| malformed(LOWERING, error.to_string());
            let put = Put::builder().table_name(&self.table).set_item(Some(marker.key()));
            let put = put.condition_expression("attribute_not_exists(pk)").build().map_err(broken)?;
            let mut call = self.client.transact_write_items();
            call = call.transact_items(TransactWriteItem::builder().put(put).build());
            for (item_key, take) in &takes {
                let update = Update::builder().table_name(&self.table).set_key(Some(item_key.key()));
                let update = update.update_expression("ADD n :less").condition_expression("n >= :by");
                let update = update.expression_attribute_values(":less", number_of(&format!("-{take}")));
                let update = update.expression_attribute_values(":by", number_of(&take.to_string()));
                let update = update.build().map_err(broken)?;
                call = call.transact_items(TransactWriteItem::builder().update(update).build());
            }
            for Lowered { event_type, by, .. } in
                chunk.iter().filter(|it| it.count == LoweredCount::Forgotten)
            {
                let update = Update::builder().table_name(&self.table);
                let update = update.set_key(Some(forgotten_total(&counts.username, event_type).key()));
                let update = update.update_expression("ADD n :by");
                let update = update.expression_attribute_values(":by", number_of(&by.to_string()));
                let update = update.build().map_err(broken)?;
                call = call.transact_items(TransactWriteItem::builder().update(update).build());
            }
            let Err(error) = call.send().await else { return Ok(()) };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(port_error(LOWERING, &error));
            };
            // The first item is the marker's: an earlier run, or an attempt whose answer was lost, lowered them.
            let reasons = cancelled.cancellation_reasons();
            if reasons.first().and_then(|reason| reason.code()) == Some("ConditionalCheckFailed") {
                return Ok(());
            }
            // Otherwise a count changed meanwhile.
        }
        Err(PortError::unavailable(LOWERING, "the counts change all the time"))
    }

    /// Returns by how much each item is lowered: the largest shards first, and none below zero.
    async fn takes(
        &self,
        username: &Username,
        chunk: &[Lowered],
    ) -> Result<BTreeMap<ItemKey, u64>, PortError> {
        let mut takes = BTreeMap::new();
        for lowered in chunk {
            let mut items = self.items_of(username, lowered)?;
            let found = self.get_many(&items).await?;
            let count = |item: &ItemKey| found.get(item).copied().unwrap_or_default();
            if lowered.count == LoweredCount::Total {
                // The settled total falls by itself, and the shards of the live one together.
                let settled = items.remove(0);
                let take = count(&settled).min(lowered.by);
                takes.insert(settled, take);
            }
            items.sort_by_key(|item| std::cmp::Reverse(count(item)));
            let mut left = lowered.by;
            for item in items {
                let take = count(&item).min(left);
                left -= take;
                takes.insert(item, take);
            }
        }
        takes.retain(|_, take| *take > 0);
        Ok(takes)
    }

    /// Moves the live counts that are lowered into one shard each.
    async fn gather(&self, username: &Username, chunk: &[Lowered]) -> Result<(), PortError> {
        for lowered in chunk {
            let mut items = self.items_of(username, lowered)?;
            if lowered.count == LoweredCount::Total {
                items.remove(0);
            }
            let found = self.get_many(&items).await?;
            let Some((first, rest)) = items.split_first() else { continue };
            for item in rest {
                let Some(count) = found.get(item).filter(|count| **count > 0) else { continue };
                self.move_count(item, first, *count).await?;
            }
        }
        Ok(())
    }

    /// Moves a part of a count from one shard to another, unless it is not there any more.
    async fn move_count(&self, from: &ItemKey, to: &ItemKey, count: u64) -> Result<(), PortError> {
        let broken = |error: aws_sdk_dynamodb::error::BuildError| malformed(LOWERING, error.to_string());
        let less = Update::builder().table_name(&self.table).set_key(Some(from.key()));
        let less = less.update_expression("ADD n :less").condition_expression("n >= :by");
        let less = less.expression_attribute_values(":less", number_of(&format!("-{count}")));
        let less =
            less.expression_attribute_values(":by", number_of(&count.to_string())).build().map_err(broken)?;
        let more = Update::builder().table_name(&self.table).set_key(Some(to.key()));
        let more = more.update_expression("ADD n :by");
        let more =
            more.expression_attribute_values(":by", number_of(&count.to_string())).build().map_err(broken)?;
        let updates = [less, more].map(|update| TransactWriteItem::builder().update(update).build());
        let moved = self.client.transact_write_items().set_transact_items(Some(updates.into())).send().await;
        match moved {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(_)) => Ok(()),
                _ => Err(port_error(LOWERING, &error)),
            },
        }
    }

    async fn remove_zero(&self, item_key: &ItemKey) -> Result<(), PortError> {
        let removing = self.client.delete_item().table_name(&self.table).set_key(Some(item_key.key()));
        let removing = removing.condition_expression("n = :zero");
        let removed = removing.expression_attribute_values(":zero", number_of("0")).send().await;
        match removed {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(port_error(LOWERING, &error)),
            },
        }
    }

    /// Removes the live counts of a type by these keys, whatever they are; all of them without keys.
    pub async fn remove_keys(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: Option<&[CountedValue]>,
    ) -> Result<(), PortError> {
        for shard in self.all_shards() {
            let pk = live_keys(username, event_type, shard);
            for (sk, _) in self.items(LOWERING, pk.clone(), None).await? {
                let is_named = |keys: &[CountedValue]| keys.iter().any(|key| sk == format!("key#{key}"));
                if keys.is_none_or(is_named) {
                    let item_key = ItemKey { pk: pk.clone(), sk }.key();
                    let removing = self.client.delete_item().table_name(&self.table).set_key(Some(item_key));
                    removing.send().await.map_err(|error| port_error(LOWERING, &error))?;
                }
            }
        }
        Ok(())
    }

    /// Removes the markers of forgettings of a user, which have ended.
    pub async fn remove_markers(&self, username: &Username) -> Result<(), PortError> {
        let pk = forgotten_of(username);
        let between = Some(("run#".to_owned(), "run$".to_owned()));
        for (sk, _) in self.items(LOWERING, pk.clone(), between).await? {
            let item_key = ItemKey { pk: pk.clone(), sk }.key();
            let removing = self.client.delete_item().table_name(&self.table).set_key(Some(item_key));
            removing.send().await.map_err(|error| port_error(LOWERING, &error))?;
        }
        Ok(())
    }

    /// Returns how many events were forgotten, by user and type. It reads the keys of the whole table.
    pub async fn all_forgotten(&self) -> Result<BTreeMap<(Username, EventType), u64>, PortError> {
        let (mut found, mut start) = (BTreeMap::new(), None);
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .consistent_read(true)
                .filter_expression("begins_with(pk, :forgotten) AND begins_with(sk, :type)")
                .expression_attribute_values(":forgotten", AttributeValue::S(FORGOTTEN.to_owned()))
                .expression_attribute_values(":type", AttributeValue::S("type#".to_owned()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(READING, &error))?;
            for item in page.items() {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
                let user = text("pk").and_then(|pk| pk.strip_prefix(FORGOTTEN)?.parse().ok());
                let user = user.ok_or_else(|| malformed(READING, "an item without its user"))?;
                let of = event_type(READING, text("sk").map_or("", String::as_str))?;
                found.insert((user, of), number(READING, item)?);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}

fn number_of(text: &str) -> AttributeValue {
    AttributeValue::N(text.to_owned())
}

fn forgotten_of(username: &Username) -> String {
    format!("{FORGOTTEN}{username}")
}

fn forgotten_total(username: &Username, event_type: &EventType) -> ItemKey {
    ItemKey { pk: forgotten_of(username), sk: format!("type#{event_type}") }
}

fn marker(counts: &CountsToLower, number: usize) -> ItemKey {
    ItemKey { pk: forgotten_of(&counts.username), sk: format!("run#{}#{number:06}", counts.run) }
}
