//! The places of a user's queries in Athena, of which so many may be under way at once.
//!
//! They are an item of the table of recent ids, whose key can be no event's, and which goes a day after the user's last query:
//!
//! | attribute | |
//! | --- | --- |
//! | `id` | the key: `USERNAME/~queries` |
//! | `place_0`, … | the id of a query; or `TOKEN@MILLISECONDS`, the request that is about to start one and when it took the place; or `free` |
//! | `expires` | the time from which DynamoDB may remove the item, in seconds |
//!
//! A place is taken before the query is started, and on the condition that it is still as it was read, so no race takes one twice. A
//! query that has ended leaves its place to the next one that needs it: nothing is written when an answer is read.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{Client, operation::update_item::UpdateItemError, types::AttributeValue};
use weir_core::{Clock, Timestamp, Username, ports::PortError};

use crate::errors::port_error;

/// The most queries of a user that are under way at once.
pub const MOST_OF_USER: usize = 5;

/// The attributes of the places.
const NAMES: [&str; MOST_OF_USER] = ["place_0", "place_1", "place_2", "place_3", "place_4"];

/// The milliseconds for which a request that is about to start a query holds its place: longer than it can take.
const STARTING: u64 = 60_000;

/// The seconds after which the item may go. Each query has ended before.
const KEPT: u64 = 86_400;

const FREE: &str = "free";

/// A table with places.
#[derive(Clone)]
pub(super) struct Places {
    client: Client,
    table: String,
    clock: Arc<dyn Clock>,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    name: &'static str,
    /// What it has; `None` before it was first taken.
    has: Option<String>,
}

/// The use of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use<'a> {
    /// It has nothing.
    Free,
    /// A request is about to start a query.
    Starting,
    /// It has this query, which may have ended.
    Query(&'a str),
}

impl Place {
    /// Returns what the place is used for.
    pub(super) fn used(&self, now: Timestamp) -> Use<'_> {
        match self.has.as_deref() {
            None | Some(FREE) => Use::Free,
            Some(has) => match has.rsplit_once('@') {
                Some((_, since)) => {
                    let since = since.parse().unwrap_or(0);
                    if now.millis().saturating_sub(since) > STARTING { Use::Free } else { Use::Starting }
                }
                None => Use::Query(has),
            },
        }
    }
}

impl Places {
    pub(super) fn new(client: Client, table: &str, clock: Arc<dyn Clock>) -> Self {
        Self { client, table: table.to_owned(), clock }
    }

    /// Returns a user's places.
    pub(super) async fn of(&self, username: &Username) -> Result<Vec<Place>, PortError> {
        let read = self.client.get_item().table_name(&self.table).key("id", key(username));
        let read = read.consistent_read(true).send().await;
        let read = read.map_err(|error| port_error("reading how many queries run", &error))?;
        let nothing = HashMap::new();
        let item = read.item().unwrap_or(&nothing);
        let has = |name: &str| item.get(name)?.as_s().ok().cloned();
        Ok(NAMES.into_iter().map(|name| Place { name, has: has(name) }).collect())
    }

    /// Takes a place for a query that is about to be started; `None` if another request has taken it.
    pub(super) async fn take(
        &self,
        username: &Username,
        place: &Place,
        token: &str,
    ) -> Result<Option<Place>, PortError> {
        self.change(username, place, format!("{token}@{}", self.clock.now().millis())).await
    }

    /// Notes the query that was started for a place; `None` if the place was taken away meanwhile.
    pub(super) async fn fill(
        &self,
        username: &Username,
        taken: &Place,
        query: &str,
    ) -> Result<Option<Place>, PortError> {
        self.change(username, taken, query.to_owned()).await
    }

    /// Leaves a place that was taken. If that fails, it is free after a minute.
    pub(super) async fn leave(&self, username: &Username, taken: &Place) {
        if let Err(error) = self.change(username, taken, FREE.to_owned()).await {
            tracing::warn!(%error, "a place for a query is free in a minute only");
        }
    }

    async fn change(
        &self,
        username: &Username,
        place: &Place,
        to: String,
    ) -> Result<Option<Place>, PortError> {
        let expires = self.clock.now().millis() / 1000 + KEPT;
        // What this call itself has put there: an earlier attempt took effect, and its answer was lost.
        let (was, from) = match &place.has {
            None => ("attribute_not_exists(#place)", None),
            Some(has) => ("#place = :from", Some(AttributeValue::S(has.clone()))),
        };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", key(username))
            .update_expression("SET #place = :to, #expires = :expires")
            .condition_expression(format!("{was} OR #place = :to"))
            .expression_attribute_names("#place", place.name)
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":to", AttributeValue::S(to.clone()))
            .expression_attribute_values(":expires", AttributeValue::N(expires.to_string()));
        if let Some(from) = from {
            update = update.expression_attribute_values(":from", from);
        }
        match update.send().await {
            Ok(_) => Ok(Some(Place { name: place.name, has: Some(to) })),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(UpdateItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(port_error("noting that a query runs", &error)),
        }
    }
}

fn key(username: &Username) -> AttributeValue {
    AttributeValue::S(format!("{}/~queries", username.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_starts_a_query_holds_its_place_for_a_minute() {
        let used = |has: Option<&str>, now: u64| {
            let place = Place { name: NAMES[0], has: has.map(str::to_owned) };
            format!("{:?}", place.used(Timestamp::saturating(now)))
        };
        assert_eq!(used(None, 0), "Free");
        assert_eq!(used(Some("free"), 0), "Free");
        assert_eq!(used(Some("0a@1000"), 900), "Starting");
        assert_eq!(used(Some("0a@1000"), 61_000), "Starting");
        assert_eq!(used(Some("0a@1000"), 61_001), "Free");
        assert_eq!(used(Some("0a@x"), 61_001), "Free");
        assert_eq!(used(Some("2f1c-9a52"), u64::MAX), "Query(\"2f1c-9a52\")");
    }
}
