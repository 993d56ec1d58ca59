//! The table of counts: the key of each count.
//!
//! | what | `pk` | `sk` | attribute |
//! | --- | --- | --- | --- |
//! | a type's live total | `live#USER#SHARD` | `type#TYPE` | `n` |
//! | a key's live count | `key#USER#TYPE#SHARD` | `key#KEY` | `n` |
//! | a type's settled total | `settled#USER` | `type#TYPE` | `n`, and `settled_at`: when it was raised last (ms) |
//! | an hour's settled count | `settled#USER#TYPE` | `hour#0000498661` (hours since 1970) | `n` |
//! | a batch's marker | `batch#BATCH` | `chunk#N` | `chunks`: how many the batch has; earlier versions did not note it |
//! | how many events were forgotten | `forgotten#USER` | `type#TYPE` | `n` (`forgetting`) |
//! | a request's rejected events | `rejected#USER` | the newest one's id | `events`, `expires` |
//!
//! Names of users and types hold no `#`, so no two of these keys can be confused. Markers have no time to live: a batch that
//! is filed again years later must find its own, and a million of them cost a few cents a month. Only rejected events have
//! one (`expires`, in seconds): they are not counts, and lists of counts skip them.

use std::{collections::HashMap, num::NonZeroU16, sync::Arc};

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use weir_core::{Clock, Counter, EventType, Hour, Random, Username, ports::PortError};

use crate::errors::{malformed, port_error};

/// The prefix of the partition keys of rejected events.
pub(crate) const REJECTED: &str = "rejected#";

/// The prefix of the partition keys of what was forgotten (`forgetting`).
pub(crate) const FORGOTTEN: &str = "forgotten#";

/// The attribute of a marker that says how many chunks its batch has.
pub(crate) const CHUNKS: &str = "chunks";

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A table of counts, live and settled.
#[derive(Clone)]
pub struct DynamoCounts {
    pub(crate) client: Client,
    /// The client for calls that must not take effect twice: it never retries.
    pub(crate) once: Client,
    pub(crate) table: String,
    pub(crate) shards: NonZeroU16,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl DynamoCounts {
    pub(crate) fn new(
        config: &SdkConfig,
        table: &str,
        shards: NonZeroU16,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let once = config.to_builder().retry_config(RetryConfig::disabled()).build();
        Self {
            client: Client::new(config),
            once: Client::new(&once),
            table: table.to_owned(),
            shards,
            random,
            clock,
        }
    }

    /// Returns any number below `bound`.
    pub(crate) fn below(&self, bound: u16) -> u16 {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        u16::try_from(u32::from_le_bytes(bytes) % u32::from(bound.max(1))).unwrap_or_default()
    }

    /// Returns the counts of one partition key, between two sort keys if they are given, by sort key.
    pub(crate) async fn query(
        &self,
        what: &'static str,
        pk: String,
        between: Option<(String, String)>,
    ) -> Result<Vec<(String, u64)>, PortError> {
        let items = self.items(what, pk, between).await?;
        items.into_iter().map(|(sk, item)| Ok((sk, number(what, &item)?))).collect()
    }

    /// Returns all items of one partition key, between two sort keys if they are given; every page of them.
    pub(crate) async fn items(
        &self,
        what: &'static str,
        pk: String,
        between: Option<(String, String)>,
    ) -> Result<Vec<(String, Item)>, PortError> {
        let mut found = Vec::new();
        let mut start = None;
        loop {
            let query = self.client.query().table_name(&self.table).consistent_read(true);
            let query = query.expression_attribute_values(":pk", AttributeValue::S(pk.clone()));
            let query = match &between {
                None => query.key_condition_expression("pk = :pk"),
                Some((first, last)) => query
                    .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                    .expression_attribute_values(":first", AttributeValue::S(first.clone()))
                    .expression_attribute_values(":last", AttributeValue::S(last.clone())),
            };
            let page = query.set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| port_error(what, &error))?;
            start = page.last_evaluated_key().cloned();
            for item in page.items.unwrap_or_default() {
                let sk = item.get("sk").and_then(|value| value.as_s().ok()).cloned();
                found.push((sk.ok_or_else(|| malformed(what, "an item without sk"))?, item));
            }
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Returns the count of an item.
pub(crate) fn number(what: &'static str, item: &Item) -> Result<u64, PortError> {
    let number = item.get("n").and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| malformed(what, "an item without n"))
}

/// Keys of the table's items.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ItemKey {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl ItemKey {
    pub(crate) fn live(counter: &Counter, shard: u16) -> Self {
        let Counter { username, event_type, key } = counter;
        match key {
            None => Self { pk: live_totals(username, shard), sk: format!("type#{event_type}") },
            Some(key) => Self { pk: live_keys(username, event_type, shard), sk: format!("key#{key}") },
        }
    }

    pub(crate) fn settled_total(username: &Username, event_type: &EventType) -> Self {
        Self { pk: settled_totals(username), sk: format!("type#{event_type}") }
    }

    /// Returns whether this is one of a user's settled totals.
    pub(crate) fn is_settled_total(&self) -> bool {
        self.pk.starts_with("settled#") && self.sk.starts_with("type#")
    }

    pub(crate) fn settled_hour(username: &Username, event_type: &EventType, hour: Hour) -> Self {
        Self { pk: settled_hours(username, event_type), sk: hour_key(hour) }
    }

    /// Returns the key of the marker of a batch's chunk.
    pub(crate) fn chunk(batch: &str, number: usize) -> Self {
        Self { pk: format!("batch#{batch}"), sk: format!("chunk#{number}") }
    }

    pub(crate) fn key(&self) -> Item {
        [("pk", &self.pk), ("sk", &self.sk)]
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.clone())))
            .into()
    }
}

pub(crate) fn live_totals(username: &Username, shard: u16) -> String {
    format!("live#{username}#{shard}")
}

pub(crate) fn live_keys(username: &Username, event_type: &EventType, shard: u16) -> String {
    format!("key#{username}#{event_type}#{shard}")
}

pub(crate) fn settled_totals(username: &Username) -> String {
    format!("settled#{username}")
}

pub(crate) fn settled_hours(username: &Username, event_type: &EventType) -> String {
    format!("settled#{username}#{event_type}")
}

/// Pads the hour, so that hours sort as their numbers do.
pub(crate) fn hour_key(hour: Hour) -> String {
    format!("hour#{:010}", hour.since_epoch())
}

/// Returns the event type of a sort key `type#TYPE`.
pub(crate) fn event_type(what: &'static str, sk: &str) -> Result<EventType, PortError> {
    let name = sk.strip_prefix("type#").unwrap_or(sk);
    name.parse().map_err(|error| malformed(what, format!("{sk}: {error}")))
}
