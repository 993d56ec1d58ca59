//! [`LatestValues`] on DynamoDB: one item per resource, in a table of its own.
//!
//! | attribute | |
//! | --- | --- |
//! | `pk`, `sk` | the key: `USER#TYPE`, and `key#KEY`. Items of one `pk` are in the order of their keys' bytes |
//! | `time`, `id` | the version: the event time in milliseconds, and the event's id |
//! | `event` | the event as it is stored, if it is not longer than [`INLINE`] |
//! | `object` | the key of a longer event's object in S3 |
//!
//! A value is raised by one conditional write: it takes the place of a lower version only. So neither the order of writes nor
//! their number matters, and a write whose answer was lost can be repeated. If it then finds its own version, it was done.
//!
//! An object is put before the item that refers to it, and removed after another item has taken its place, or after the write
//! of its own item has lost. A reader that finds no object reads the item again.

mod forgetting;
mod objects;
mod retention;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    operation::{delete_item::DeleteItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout_at};
use weir_core::{
    EventType, LatestKey, Random, Username,
    latest::{self, LatestValue, Resource},
    ports::{LatestValues, LatestValuesAdmin, PortError, ReadLatest},
};

use crate::{
    batch_get::{MAX_GET, batch_get},
    counts::table::Item,
    errors::{malformed, port_error},
};
use objects::Objects;
pub use retention::OldLatestValues;

const RAISING: &str = "raising latest values";
const READING: &str = "reading latest values";
const REMOVING: &str = "removing a latest value";

/// The longest event that is kept in its item, in bytes. Writing 8 KB costs as much as putting an object.
const INLINE: usize = 8 << 10;

/// The most values of a call that are raised at once, and the most objects that are read at once.
const CONCURRENT: usize = 32;

/// The default time limit of raising values: a client waits for the answer.
const RAISED_WITHIN: Duration = Duration::from_secs(3);

/// The most reads of a value whose object is missing. The object was removed because a newer value took its place.
const TRIES: usize = 5;

/// The prefix of sort keys, which may not be empty.
const KEY: &str = "key#";

/// A table of latest values, and the bucket with the objects of large ones.
#[derive(Clone)]
pub struct DynamoLatest {
    client: Client,
    table: String,
    objects: Objects,
    random: Arc<dyn Random>,
    raised_within: Duration,
}

impl DynamoLatest {
    pub(crate) fn new(config: &SdkConfig, table: &str, bucket: &str, random: Arc<dyn Random>) -> Self {
        Self {
            client: Client::new(config),
            table: table.to_owned(),
            objects: Objects::new(config, bucket),
            random,
            raised_within: RAISED_WITHIN,
        }
    }

    /// Sets the time limit of raising values.
    #[must_use]
    pub fn raising_within(self, raised_within: Duration) -> Self {
        Self { raised_within, ..self }
    }

    /// Raises a value, and removes the object that nothing refers to any more.
    async fn raise_one(&self, value: &LatestValue, deadline: Instant) -> Result<(), PortError> {
        let late = |_| Err(PortError::unavailable(RAISING, "it took too long"));
        let unused = timeout_at(deadline, self.write(value)).await.unwrap_or_else(late)?;
        if let Some(object) = unused {
            // The value is raised, even if this fails.
            let _ = timeout_at(deadline, self.objects.remove(&object)).await;
        }
        Ok(())
    }

    /// Writes a value, unless the stored one is as new or newer. Returns the object that nothing refers to any more.
    async fn write(&self, value: &LatestValue) -> Result<Option<String>, PortError> {
        let event = value.event();
        let is_large = event.len() > INLINE;
        let (kept, other, content) = if is_large {
            ("object", "event", self.objects.put(&value.resource, event).await?)
        } else {
            let text = std::str::from_utf8(event).map_err(|error| malformed(RAISING, error.to_string()))?;
            ("event", "object", text.to_owned())
        };
        let raised = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(&value.resource)))
            .update_expression("SET #time = :time, #id = :id, #kept = :content REMOVE #other")
            .condition_expression(
                "attribute_not_exists(pk) OR #time < :time OR (#time = :time AND #id < :id)",
            )
            .expression_attribute_names("#time", "time")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#kept", kept)
            .expression_attribute_names("#other", other)
            .expression_attribute_values(":time", time(value))
            .expression_attribute_values(":id", id(value))
            .expression_attribute_values(":content", AttributeValue::S(content.clone()))
            .return_values(ReturnValue::AllOld)
            .set_return_values_on_condition_check_failure(
                is_large.then_some(ReturnValuesOnConditionCheckFailure::AllOld),
            )
            .send()
            .await;
        let error = match raised {
            Ok(answer) => return Ok(answer.attributes().and_then(object_of).cloned()),
            Err(error) => error,
        };
        match error.as_service_error() {
            // The stored value is newer, or it is this one: an earlier attempt took effect, and its answer was lost.
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let is_unused = |stored: &Item| is_large && object_of(stored) != Some(&content);
                Ok(failed.item().is_some_and(is_unused).then_some(content))
            }
            // The write may have taken effect, so the object stays.
            _ => Err(port_error(RAISING, &error)),
        }
    }

    /// Returns the values of at most [`MAX_GET`] different resources; those without one are left out.
    async fn get(&self, resources: &[Resource]) -> Result<Vec<LatestValue>, PortError> {
        let items = self.items(resources.iter().map(item_key).collect()).await?;
        self.values(items).await
    }

    async fn items(&self, keys: Vec<Item>) -> Result<Vec<Item>, PortError> {
        batch_get(&self.client, &self.random, READING, &self.table, keys).await
    }

    /// Returns the values of items, in their order.
    async fn values(&self, items: Vec<Item>) -> Result<Vec<LatestValue>, PortError> {
        let values: Vec<_> = items.into_iter().map(|item| self.value(item)).collect();
        let values: Vec<Option<LatestValue>> =
            stream::iter(values).buffered(CONCURRENT).try_collect().await?;
        Ok(values.into_iter().flatten().collect())
    }

    /// Returns the value of an item, with the event from its object if it is a large one; `None` if it was removed meanwhile.
    async fn value(&self, mut item: Item) -> Result<Option<LatestValue>, PortError> {
        for _ in 0..TRIES {
            let resource = resource_of(&item)?;
            let event = match (text(&item, "event"), object_of(&item)) {
                (Some(event), _) => Some(Bytes::from(event.clone())),
                (None, Some(object)) => self.objects.get(object).await?,
                (None, None) => return Err(malformed(READING, "an item without its event")),
            };
            if let Some(event) = event {
                let value = LatestValue::read(resource.key, event);
                return value.map(Some).map_err(|error| malformed(READING, error.to_string()));
            }
            // A newer value took the place of this one, and its object was removed.
            match self.items(vec![item_key(&resource)]).await?.pop() {
                Some(newer) => item = newer,
                None => return Ok(None),
            }
        }
        Err(PortError::unavailable(READING, "the object of a value is missing"))
    }
}

#[async_trait]
impl LatestValues for DynamoLatest {
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>> {
        let newest = latest::newest(values.iter().cloned());
        let deadline = Instant::now() + self.raised_within;
        let raising: Vec<_> = newest
            .iter()
            .map(|value| async move { (&value.resource, self.raise_one(value, deadline).await) })
            .collect();
        let raised: HashMap<&Resource, Result<(), PortError>> =
            stream::iter(raising).buffer_unordered(CONCURRENT).collect().await;
        values.iter().map(|value| raised[&value.resource].clone()).collect()
    }
}

#[async_trait]
impl ReadLatest for DynamoLatest {
    async fn read(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        // A request that names a key twice would be refused.
        let mut different: Vec<&LatestKey> = keys.iter().collect();
        different.sort_unstable();
        different.dedup();
        let resource = |key| Resource { username: username.clone(), event_type: event_type.clone(), key };
        let resources: Vec<Resource> = different.into_iter().map(|key| resource(key.clone())).collect();
        let getting = resources.chunks(MAX_GET).map(|chunk| self.get(chunk)).collect::<Vec<_>>();
        let found: Vec<Vec<LatestValue>> =
            stream::iter(getting).buffer_unordered(CONCURRENT).try_collect().await?;
        let found: HashMap<LatestKey, LatestValue> =
            found.into_iter().flatten().map(|value| (value.resource.key.clone(), value)).collect();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        let (mut values, mut start) = (Vec::new(), None);
        // No key sorts before the bare prefix.
        let last_key = after.map_or_else(|| "key".to_owned(), sort_key);
        while values.len() < limit {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND sk > :last")
                .expression_attribute_values(":pk", AttributeValue::S(partition_key(username, event_type)))
                .expression_attribute_values(":last", AttributeValue::S(last_key.clone()))
                .limit(i32::try_from(limit - values.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(READING, &error))?;
            start = page.last_evaluated_key;
            values.extend(self.values(page.items.unwrap_or_default()).await?);
            if start.is_none() {
                break;
            }
        }
        Ok(values)
    }
}

#[async_trait]
impl LatestValuesAdmin for DynamoLatest {
    async fn remove(&self, value: &LatestValue) -> Result<(), PortError> {
        let removed = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item_key(&value.resource)))
            .condition_expression("#time = :time AND #id = :id")
            .expression_attribute_names("#time", "time")
            .expression_attribute_names("#id", "id")
            .expression_attribute_values(":time", time(value))
            .expression_attribute_values(":id", id(value))
            .return_values(ReturnValue::AllOld)
            .send()
            .await;
        match removed {
            Ok(answer) => {
                if let Some(object) = answer.attributes().and_then(object_of) {
                    self.objects.remove(object).await;
                }
                Ok(())
            }
            Err(error) => match error.as_service_error() {
                // It is removed already, or another value took its place.
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(port_error(REMOVING, &error)),
            },
        }
    }
}

fn partition_key(username: &Username, event_type: &EventType) -> String {
    format!("{username}#{event_type}")
}

fn sort_key(key: &LatestKey) -> String {
    format!("{KEY}{key}")
}

fn item_key(Resource { username, event_type, key }: &Resource) -> Item {
    [("pk", partition_key(username, event_type)), ("sk", sort_key(key))]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .into()
}

/// Returns the resource of an item.
fn resource_of(item: &Item) -> Result<Resource, PortError> {
    let malformed = || malformed(READING, "an item with another key");
    let (username, event_type) = text(item, "pk").and_then(|pk| pk.split_once('#')).ok_or_else(malformed)?;
    let key = text(item, "sk").and_then(|sk| sk.strip_prefix(KEY)).ok_or_else(malformed)?;
    Ok(Resource {
        username: username.parse().map_err(|_| malformed())?,
        event_type: event_type.parse().map_err(|_| malformed())?,
        key: key.parse().map_err(|_| malformed())?,
    })
}

/// Returns the key of the object that an item refers to.
fn object_of(item: &Item) -> Option<&String> {
    text(item, "object")
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a String> {
    item.get(name)?.as_s().ok()
}

fn time(value: &LatestValue) -> AttributeValue {
    AttributeValue::N(value.version.time.millis().to_string())
}

fn id(value: &LatestValue) -> AttributeValue {
    AttributeValue::S(value.version.event_id.to_string())
}
