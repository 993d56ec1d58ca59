//! Removes latest values of events that are older than their type is kept.
//!
//! An item goes first, and its object behind it. A run that dies in between leaves an object that no item refers to. So objects
//! are looked for in the bucket, with all their versions, and not by the items that are removed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{
    Client, error::SdkError, operation::delete_item::DeleteItemError, types::AttributeValue,
};
use weir_core::{Day, EventType, Timestamp, latest::Resource, ports::PortError};

use super::{item_key, object_of, objects::PREFIX, resource_of};
use crate::{
    counts::table::Item,
    errors::{malformed, port_error},
    objects::versions::{remove_all, versions},
};

const READING: &str = "reading old latest values";
const REMOVING: &str = "removing old latest values";

/// An object that is younger may get its item yet.
const YOUNG_MILLIS: u64 = 24 * 3_600_000;

/// The table of latest values and its bucket, as retention removes values.
#[derive(Clone)]
pub struct OldLatestValues {
    dynamo: Client,
    table: String,
    s3: aws_sdk_s3::Client,
    bucket: String,
}

impl OldLatestValues {
    pub(crate) fn new(dynamo: Client, table: &str, s3: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self { dynamo, table: table.to_owned(), s3, bucket: bucket.to_owned() }
    }

    /// Removes the values of events before the first days of their types; returns how many. It reads the whole table.
    pub async fn remove(
        &self,
        first_days: &BTreeMap<EventType, Day>,
        now: Timestamp,
    ) -> Result<u64, PortError> {
        let Some(last) = first_days.values().max() else { return Ok(0) };
        let (mut removed, mut kept, mut start) = (0, BTreeSet::new(), None);
        loop {
            let page = self
                .dynamo
                .scan()
                .table_name(&self.table)
                .projection_expression("pk, sk, #time, #object")
                .filter_expression("#time < :last OR attribute_exists(#object)")
                .expression_attribute_names("#time", "time")
                .expression_attribute_names("#object", "object")
                .expression_attribute_values(":last", start_of(*last))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(READING, &error))?;
            for item in page.items() {
                let resource = resource_of(item)?;
                let Some(first) = first_days.get(&resource.event_type) else { continue };
                if time_of(item)? >= first.first_hour().start().millis() {
                    kept.extend(object_of(item).cloned());
                } else if self.remove_item(&resource, *first).await? {
                    removed += 1;
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        self.remove_objects(first_days, &kept, now).await?;
        Ok(removed)
    }

    /// Removes an item, unless a newer value took its place; returns whether it did.
    async fn remove_item(&self, resource: &Resource, first: Day) -> Result<bool, PortError> {
        let removed = self
            .dynamo
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item_key(resource)))
            .condition_expression("#time < :first")
            .expression_attribute_names("#time", "time")
            .expression_attribute_values(":first", start_of(first))
            .send()
            .await;
        match removed {
            Ok(_) => Ok(true),
            Err(error) if is_newer(&error) => Ok(false),
            Err(error) => Err(port_error(REMOVING, &error)),
        }
    }

    /// Removes the objects of these types to which no item refers.
    async fn remove_objects(
        &self,
        first_days: &BTreeMap<EventType, Day>,
        kept: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<(), PortError> {
        let is_wanted = |key: &str| {
            let event_type = key.strip_prefix(PREFIX).and_then(|path| path.split('/').nth(1)?.parse().ok());
            event_type.is_some_and(|event_type| first_days.contains_key::<EventType>(&event_type))
                && !kept.contains(key)
        };
        // One list for all: it takes a call for each thousand versions, however many users and types there are.
        let mut found = versions(&self.s3, &self.bucket, PREFIX, &is_wanted).await?;
        found.retain(|_, versions| {
            let put_at = versions.current.as_ref().map(|current| current.put_at);
            put_at.is_none_or(|at| at.plus_millis(YOUNG_MILLIS) <= now)
        });
        remove_all(&self.s3, &self.bucket, found).await
    }
}

fn start_of(day: Day) -> AttributeValue {
    AttributeValue::N(day.first_hour().start().millis().to_string())
}

fn time_of(item: &Item) -> Result<u64, PortError> {
    let time = item.get("time").and_then(|time| time.as_n().ok()?.parse().ok());
    time.ok_or_else(|| malformed(READING, "an item without its time"))
}

fn is_newer<R>(error: &SdkError<DeleteItemError, R>) -> bool {
    matches!(error.as_service_error(), Some(DeleteItemError::ConditionalCheckFailedException(_)))
}
