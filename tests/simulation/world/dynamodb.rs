//! DynamoDB: the calls that Weir makes, each done at one instant and whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::expression::{Item, meets, update};
use crate::dice::fnv;

/// A call's answer: a body, or an error's status, code and further members.
pub(crate) type Answer = Result<Value, (u16, &'static str, Value)>;

/// How long DynamoDB remembers the token of a transaction.
const TOKENS: u64 = 600_000;

/// So few items are on a page, that there are several.
const PAGE: usize = 3;

#[derive(Default)]
pub(crate) struct Tables {
    tables: BTreeMap<String, BTreeMap<Vec<String>, Item>>,
    tokens: BTreeMap<String, (u64, Value)>,
}

/// The attributes that are a table's key.
fn schema(table: &str) -> &'static [&'static str] {
    match table {
        "counts" | "latest" => &["pk", "sk"],
        "users" => &["username"],
        "recent" => &["id"],
        _ => panic!("there is no table {table}"),
    }
}

fn key(table: &str, item: &Value) -> Vec<String> {
    schema(table).iter().map(|name| item[name]["S"].as_str().unwrap().to_owned()).collect()
}

/// Whether an item has expired and is removed: DynamoDB removes some at once, and others days later.
fn is_removed(key: &[String], item: &Item, now: u64) -> bool {
    let expires = item["expires"]["N"].as_str().and_then(|seconds| seconds.parse::<u64>().ok());
    let at_once = fnv(0, key[0].as_bytes()).is_multiple_of(2);
    at_once && expires.is_some_and(|expires| expires * 1000 < now)
}

fn refused(code: &'static str) -> Answer {
    Err((400, code, json!({})))
}

impl Tables {
    /// All items of a table.
    pub(crate) fn items(&self, table: &str) -> impl Iterator<Item = &Item> {
        self.tables.get(table).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn call(&mut self, operation: &str, call: &Value, now: u64) -> Answer {
        if let Some(recent) = self.tables.get_mut("recent") {
            recent.retain(|key, item| !is_removed(key, item, now));
        }
        match operation {
            "GetItem" => Ok(self.get(call).map_or(json!({}), |item| json!({"Item": item}))),
            "BatchGetItem" => Ok(self.batch_get(call)),
            "Query" | "Scan" => Ok(self.page(operation, call)),
            "PutItem" | "UpdateItem" | "DeleteItem" => self.write(operation, call),
            "TransactWriteItems" => self.transact(call, now),
            _ => panic!("DynamoDB has no {operation} here"),
        }
    }

    fn table(&mut self, call: &Value) -> &mut BTreeMap<Vec<String>, Item> {
        self.tables.entry(call["TableName"].as_str().unwrap().to_owned()).or_default()
    }

    fn get(&mut self, call: &Value) -> Option<&mut Item> {
        let key = key(call["TableName"].as_str().unwrap(), &call["Key"]);
        self.table(call).get_mut(&key)
    }

    fn batch_get(&self, call: &Value) -> Value {
        let mut responses = serde_json::Map::new();
        for (table, wanted) in call["RequestItems"].as_object().unwrap() {
            let keys = wanted["Keys"].as_array().unwrap();
            assert!(keys.len() <= 100 && wanted["ConsistentRead"] == true);
            let items = self.tables.get(table);
            let found = keys.iter().filter_map(|wanted| items?.get(&key(table, wanted)));
            responses.insert(table.clone(), found.cloned().map(Value::Object).collect());
        }
        json!({"Responses": responses, "UnprocessedKeys": {}})
    }

    fn page(&mut self, operation: &str, call: &Value) -> Value {
        let table = call["TableName"].as_str().unwrap();
        let start = call["ExclusiveStartKey"].is_object().then(|| key(table, &call["ExclusiveStartKey"]));
        let condition = if operation == "Query" { "KeyConditionExpression" } else { "FilterExpression" };
        let forward = call["ScanIndexForward"] != false;
        let is_after = |at: &Vec<String>| {
            start.as_ref().is_none_or(|start| if forward { at > start } else { at < start })
        };
        let limit = call["Limit"].as_u64().map_or(PAGE, |limit| PAGE.min(usize::try_from(limit).unwrap()));
        let items = self.table(call);
        let found = items.iter().filter(|(at, item)| is_after(at) && meets(call, condition, item));
        let mut found: Box<dyn Iterator<Item = _>> =
            if forward { Box::new(found) } else { Box::new(found.rev()) };
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let mut answer = json!({"Items": page.iter().map(|(_, item)| item).collect::<Vec<_>>()});
        if found.next().is_some() {
            let (at, _) = page[limit - 1];
            let key =
                schema(table).iter().zip(at).map(|(name, value)| ((*name).to_owned(), json!({"S": value})));
            answer["LastEvaluatedKey"] = key.collect::<Item>().into();
        }
        answer
    }

    fn write(&mut self, operation: &str, call: &Value) -> Answer {
        let table = call["TableName"].as_str().unwrap();
        let put = operation == "PutItem";
        let key = key(table, if put { &call["Item"] } else { &call["Key"] });
        let stored = self.table(call).get(&key).cloned();
        if !meets(call, "ConditionExpression", stored.as_ref().unwrap_or(&Item::new())) {
            let shown = call["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
            let item = stored.filter(|_| shown).map_or(json!({}), |item| json!({"Item": item}));
            return Err((400, "ConditionalCheckFailedException", item));
        }
        let old = stored.clone().filter(|_| call["ReturnValues"] == "ALL_OLD");
        match operation {
            "PutItem" => drop(self.table(call).insert(key, call["Item"].as_object().unwrap().clone())),
            "DeleteItem" => drop(self.table(call).remove(&key)),
            _ => {
                let mut item = stored.unwrap_or_else(|| call["Key"].as_object().unwrap().clone());
                update(call, &mut item);
                self.table(call).insert(key, item);
            }
        }
        Ok(old.map_or(json!({}), |old| json!({"Attributes": old})))
    }

    fn transact(&mut self, call: &Value, now: u64) -> Answer {
        let items = call["TransactItems"].as_array().unwrap();
        assert!(items.len() <= 100, "{} items in a transaction", items.len());
        self.tokens.retain(|_, (since, _)| *since + TOKENS > now);
        if let Some(token) = call["ClientRequestToken"].as_str() {
            match self.tokens.get(token) {
                Some((_, before)) if before == call => return Ok(json!({})),
                Some(_) => return refused("IdempotentParameterMismatchException"),
                None => {}
            }
        }
        let writes: Vec<(&str, &Value)> = items
            .iter()
            .map(|item| match item.as_object().unwrap().iter().next().unwrap() {
                (kind, write) if kind == "Put" => ("PutItem", write),
                (kind, write) if kind == "Update" => ("UpdateItem", write),
                (kind, _) => panic!("a transaction has no {kind} here"),
            })
            .collect();
        let mut failed = false;
        let mut keys = std::collections::BTreeSet::new();
        let mut reasons = Vec::new();
        for (operation, write) in &writes {
            let table = write["TableName"].as_str().unwrap();
            let key = key(table, &write[if *operation == "PutItem" { "Item" } else { "Key" }]);
            let item = self.table(write).get(&key).cloned().unwrap_or_default();
            assert!(keys.insert((table, key)), "an item is twice in a transaction");
            let met = meets(write, "ConditionExpression", &item);
            failed |= !met;
            reasons.push(json!({"Code": if met { "None" } else { "ConditionalCheckFailed" }}));
        }
        if failed {
            return Err((400, "TransactionCanceledException", json!({"CancellationReasons": reasons})));
        }
        for (operation, write) in writes {
            self.write(operation, write)?;
        }
        if let Some(token) = call["ClientRequestToken"].as_str() {
            self.tokens.insert(token.to_owned(), (now, call.clone()));
        }
        Ok(json!({}))
    }
}
