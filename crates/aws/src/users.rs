//! [`Users`] and [`UserAdmin`] on DynamoDB: one item a user, by `username`, with `version`, `access_keys` (JSON) and
//! `saved_by`, which distinguishes one save from another.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValue, Select},
};
use weir_core::{
    Random, Username,
    ports::{PortError, Saved, UserAdmin, Users},
    users::{StoredUser, User},
};

use crate::{
    counts::table::Item,
    errors::{malformed, port_error},
};

const WHAT: &str = "reading a user";

/// A table of users.
#[derive(Clone)]
pub struct DynamoUsers {
    client: Client,
    table: String,
    random: Arc<dyn Random>,
}

impl DynamoUsers {
    pub(crate) fn new(client: Client, table: &str, random: Arc<dyn Random>) -> Self {
        Self { client, table: table.to_owned(), random }
    }

    async fn item(&self, username: &Username) -> Result<Option<Item>, PortError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("username", AttributeValue::S(username.to_string()))
            // A new key must work at once, and a removed one must not.
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| port_error(WHAT, &error))?;
        Ok(found.item)
    }

    /// Returns the names of all users, and reads nothing else of them.
    pub async fn names(&self) -> Result<Vec<Username>, PortError> {
        let (mut names, mut start) = (Vec::new(), None);
        loop {
            let page = self.client.scan().table_name(&self.table).consistent_read(true);
            let page = page.select(Select::SpecificAttributes).projection_expression("username");
            let page = page.set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| port_error("listing users", &error))?;
            for item in page.items() {
                let name = item.get("username").and_then(|value| value.as_s().ok());
                let name = name.ok_or_else(|| malformed(WHAT, "an item without username"))?;
                names.push(name.parse().map_err(|error| malformed(WHAT, format!("{error}")))?);
            }
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                names.sort();
                return Ok(names);
            }
        }
    }
}

#[async_trait]
impl Users for DynamoUsers {
    async fn stored(&self, username: &Username) -> Result<Option<StoredUser>, PortError> {
        self.item(username).await?.as_ref().map(read).transpose()
    }
}

#[async_trait]
impl UserAdmin for DynamoUsers {
    async fn save(&self, user: &User) -> Result<Saved, PortError> {
        let what = "saving a user";
        let access_keys =
            serde_json::to_string(&user.access_keys).map_err(|error| malformed(what, error.to_string()))?;
        // The token distinguishes this save from every other, even of the same content.
        let mut token = [0; 8];
        self.random.fill(&mut token);
        let token = u64::from_le_bytes(token).to_string();
        let mut put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("username", AttributeValue::S(user.username.to_string()))
            .item("version", AttributeValue::N((user.version + 1).to_string()))
            .item("access_keys", AttributeValue::S(access_keys))
            .item("saved_by", AttributeValue::S(token.clone()));
        put = if user.version == 0 {
            put.condition_expression("attribute_not_exists(username)")
        } else {
            put.condition_expression("version = :seen")
                .expression_attribute_values(":seen", AttributeValue::N(user.version.to_string()))
        };
        match put.send().await {
            Ok(_) => Ok(Saved::Yes),
            Err(error) => match error.as_service_error() {
                // The SDK retries after a lost answer: the item that the retry finds may be its own.
                Some(PutItemError::ConditionalCheckFailedException(_)) => {
                    let stored = self.item(&user.username).await?;
                    let by = stored
                        .as_ref()
                        .and_then(|item| item.get("saved_by"))
                        .and_then(|value| value.as_s().ok());
                    Ok(if by == Some(&token) { Saved::Yes } else { Saved::Outdated })
                }
                _ => Err(port_error(what, &error)),
            },
        }
    }

    async fn remove(&self, username: &Username) -> Result<bool, PortError> {
        let removed = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("username", AttributeValue::S(username.to_string()))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| port_error("removing a user", &error))?;
        Ok(removed.attributes().is_some_and(|old| !old.is_empty()))
    }

    async fn list(&self) -> Result<Vec<User>, PortError> {
        let mut users = Vec::new();
        let mut start = None;
        loop {
            let page = self.client.scan().table_name(&self.table).consistent_read(true);
            let page = page.set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| port_error("listing users", &error))?;
            for item in page.items() {
                users.push(read(item)?.read().map_err(|error| malformed(WHAT, error.to_string()))?);
            }
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                users.sort_by(|a: &User, b: &User| a.username.cmp(&b.username));
                return Ok(users);
            }
        }
    }
}

fn read(item: &Item) -> Result<StoredUser, PortError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let version =
        item.get("version").and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok());
    let (Some(username), Some(access_keys), Some(version)) = (text("username"), text("access_keys"), version)
    else {
        return Err(malformed(WHAT, "an item without username, version or access_keys"));
    };
    let username = username.parse().map_err(|error| malformed(WHAT, format!("{error}")))?;
    Ok(StoredUser { username, access_keys: access_keys.clone(), version })
}
