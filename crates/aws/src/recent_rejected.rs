//! [`RecentRejected`] on DynamoDB: one item for each request with rejected events, which has the newest of them as JSON.
//!
//! The list is best effort: an event is stored and answered whether or not it could be noted. So noting is one call without
//! retries. Items expire after a week, by the table's time to live.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::AttributeValue};
use weir_core::{
    Record, Timestamp, Username,
    ports::{PortError, RecentRejected},
    rejected::{MAX_SHOWN, RejectedEvent},
};

use crate::{
    counts::table::{DynamoCounts, Item, ItemKey, REJECTED},
    errors::{malformed, port_error},
};

const NOTING: &str = "noting rejected events";
const READING: &str = "reading rejected events";
const REMOVING: &str = "removing rejected events";

/// The most events of one request that are noted.
const OF_A_REQUEST: usize = 10;

/// The most bytes of an item. Each KiB is a write unit of one partition key, which takes 1,000 a second
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>): larger items of a
/// client that sends nothing but bad events would throttle the table, and ring the alarm for counts.
const MAX_BYTES: usize = 64 << 10;

/// The time for which an item is kept, in seconds.
const KEPT: u64 = 7 * 24 * 60 * 60;

/// The time limit of noting: a client waits for the answer.
const LONGEST: Duration = Duration::from_secs(2);

#[async_trait]
impl RecentRejected for DynamoCounts {
    async fn note(&self, records: &[Record]) -> Result<(), PortError> {
        let Some(newest) = records.iter().rev().find(|record| record.is_rejected()) else { return Ok(()) };
        let username = &newest.counter().username;
        let item_key = ItemKey { pk: format!("{REJECTED}{username}"), sk: newest.event_id().to_string() };
        let expires = newest.received_at().millis() / 1000 + KEPT;
        let events = as_json(&RejectedEvent::newest(records, OF_A_REQUEST));
        let noting = self
            .once
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key.key()))
            .update_expression("SET #events = :events, #expires = :expires")
            .expression_attribute_names("#events", "events")
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":events", AttributeValue::S(events))
            .expression_attribute_values(":expires", AttributeValue::N(expires.to_string()))
            .send();
        match tokio::time::timeout(LONGEST, noting).await {
            Ok(noted) => noted.map(drop).map_err(|error| port_error(NOTING, &error)),
            Err(_) => Err(PortError::unavailable(NOTING, "it took too long")),
        }
    }

    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError> {
        let limit = limit.min(MAX_SHOWN);
        // An expired item is skipped even if DynamoDB has not removed it yet.
        let now = self.clock.now().millis() / 1000;
        let (mut found, mut start) = (Vec::new(), None);
        while found.len() < limit {
            let page = self
                .noted(username)
                // The ids that Weir makes sort by time.
                .scan_index_forward(false)
                // Each item has at least one event.
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(READING, &error))?;
            for item in page.items() {
                let (expires, events) = read(item)?;
                if expires > now {
                    found.extend(events);
                }
            }
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

impl DynamoCounts {
    /// Returns the query for what was noted of a user.
    fn noted(&self, username: &Username) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(format!("{REJECTED}{username}")))
    }

    /// Removes what was noted of requests that came before a time, and returns how many there were. What is older than a week
    /// expires by itself.
    pub async fn remove_rejected(&self, username: &Username, before: Timestamp) -> Result<u64, PortError> {
        let expires = AttributeValue::N((before.millis() / 1000 + KEPT).to_string());
        let (mut removed, mut start) = (0, None);
        loop {
            let page = self
                .noted(username)
                .filter_expression("#expires < :expires")
                .projection_expression("pk, sk")
                .expression_attribute_names("#expires", "expires")
                .expression_attribute_values(":expires", expires.clone())
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(READING, &error))?;
            start = page.last_evaluated_key;
            for item_key in page.items.unwrap_or_default() {
                let removing = self.client.delete_item().table_name(&self.table).set_key(Some(item_key));
                removing.send().await.map_err(|error| port_error(REMOVING, &error))?;
                removed += 1;
            }
            if start.is_none() {
                return Ok(removed);
            }
        }
    }

    /// Takes events that are gone out of what was noted of a user, and returns how many there were.
    pub async fn forget_rejected(
        &self,
        username: &Username,
        is_gone: &(dyn Fn(&RejectedEvent) -> bool + Sync),
    ) -> Result<u64, PortError> {
        let mut removed = 0;
        for (sk, item) in self.items(READING, format!("{REJECTED}{username}"), None).await? {
            let (_, events) = read(&item)?;
            let (gone, left): (Vec<_>, Vec<_>) = events.into_iter().partition(is_gone);
            if gone.is_empty() {
                continue;
            }
            let item_key = ItemKey { pk: format!("{REJECTED}{username}"), sk }.key();
            // An item is written once, so none changes meanwhile.
            if left.is_empty() {
                let removing = self.client.delete_item().table_name(&self.table).set_key(Some(item_key));
                removing.send().await.map_err(|error| port_error(REMOVING, &error))?;
            } else {
                let update = self.client.update_item().table_name(&self.table).set_key(Some(item_key));
                let update = update.update_expression("SET #events = :events");
                let update = update.expression_attribute_names("#events", "events");
                let events = AttributeValue::S(as_json(&left));
                let update = update.expression_attribute_values(":events", events).send().await;
                update.map_err(|error| port_error(REMOVING, &error))?;
            }
            removed += gone.len() as u64;
        }
        Ok(removed)
    }

    /// Returns the time before which requests with rejected events have expired.
    #[must_use]
    pub fn rejected_expired_before(now: Timestamp) -> Timestamp {
        Timestamp::saturating(now.millis().saturating_sub(KEPT * 1000))
    }
}

/// Returns the first events as a JSON array: as many as fit an item.
fn as_json(events: &[RejectedEvent]) -> String {
    let mut text = String::from("[");
    for event in events {
        let event = serde_json::to_string(event).expect("plain data serialises");
        if text.len() + event.len() > MAX_BYTES {
            break;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text += &event;
    }
    text.push(']');
    text
}

/// Returns when an item expires, and its events.
fn read(item: &Item) -> Result<(u64, Vec<RejectedEvent>), PortError> {
    let expires = item.get("expires").and_then(|value| value.as_n().ok()?.parse().ok());
    let events = item.get("events").and_then(|value| serde_json::from_str(value.as_s().ok()?).ok());
    expires.zip(events).ok_or_else(|| malformed(READING, "an item without its events"))
}

#[cfg(test)]
mod tests {
    use weir_core::{Violation, rejected::MAX_TEXT};

    use super::*;

    #[test]
    fn of_the_largest_events_as_many_are_noted_as_cost_little_and_one_at_least() {
        let worst = "\u{1}".repeat(400);
        let event = RejectedEvent {
            event_id: "e-1".parse().unwrap(),
            event_type: None,
            received_at: Timestamp::saturating(1),
            errors: vec![Violation::new(worst.clone(), worst); 10],
            event: "\u{1}".repeat(MAX_TEXT),
            truncated: true,
        };
        let text = as_json(&vec![event.clone(); OF_A_REQUEST]);
        assert!(text.len() <= MAX_BYTES + 1, "{}", text.len());
        let read: Vec<RejectedEvent> = serde_json::from_str(&text).unwrap();
        assert!(!read.is_empty() && read.iter().all(|read| *read == event), "{}", read.len());
        assert_eq!(as_json(&[]), "[]");
    }
}
