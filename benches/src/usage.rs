//! What is charged for, counted: from the calls that AWS saw.

use std::collections::BTreeMap;

use anyhow::bail;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use weir_lambda::testing::Call;

use crate::prices::Item;

/// A GB in its smallest reading, so the reported bills are upper bounds.
pub(crate) const GB: f64 = 1e9;

/// How many of each item.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Usage(BTreeMap<Item, f64>);

impl Usage {
    /// Adds some of an item.
    pub(crate) fn add(&mut self, item: Item, number: f64) {
        *self.0.entry(item).or_default() += number;
    }

    /// Adds all of another one, so many times.
    pub(crate) fn add_all(&mut self, other: &Self, times: f64) {
        for (item, number) in &other.0 {
            self.add(*item, number * times);
        }
    }

    /// All items that there are some of.
    pub(crate) fn items(&self) -> impl Iterator<Item = (Item, f64)> {
        self.0.iter().map(|(item, number)| (*item, *number)).filter(|(_, number)| *number > 0.0)
    }

    /// Counts a call. One whose price is not known is an error: it must not be taken for free.
    pub(crate) fn count(&mut self, call: &Call) -> anyhow::Result<()> {
        let operation = call.target.split_once('.').map_or("", |(_, operation)| operation);
        match (operation, call.method.as_str()) {
            ("PutRecordBatch", _) => {
                let json = call.json();
                for record in json["Records"].as_array().into_iter().flatten() {
                    let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap_or_default())?;
                    self.add(Item::StreamGb, as_f64(data.len().div_ceil(STEP).max(1) * STEP) / GB);
                }
            }
            ("PutItem" | "UpdateItem" | "DeleteItem", _) => {
                self.add(Item::Writes, as_f64(units(&call.json(), 1024)));
            }
            ("TransactWriteItems", _) => {
                let json = call.json();
                for item in json["TransactItems"].as_array().into_iter().flatten() {
                    self.add(Item::Writes, as_f64(2 * units(item, 1024)));
                }
            }
            // What is read is one small item in all that is measured.
            ("GetItem", _) => {
                let consistent = call.json()["ConsistentRead"] == true;
                self.add(Item::Reads, if consistent { 1.0 } else { 0.5 });
            }
            ("", "GET") => self.add(Item::Gets, 1.0),
            ("", "PUT" | "POST") => self.add(Item::Puts, 1.0),
            (operation, method) => {
                bail!("no price is stated for this call: {method} {operation} {}", call.path)
            }
        }
        Ok(())
    }
}

/// The stream's price is by so many bytes of each record.
const STEP: usize = 5 << 10;

/// Request units of a write, of so many bytes each: from the strings and numbers of the call, which are at least as long
/// as the item that is written.
fn units(call: &Value, bytes: usize) -> usize {
    fn length(value: &Value) -> usize {
        match value {
            Value::Object(members) => members.iter().map(|(name, value)| name.len() + length(value)).sum(),
            Value::Array(values) => values.iter().map(length).sum(),
            Value::String(text) => text.len(),
            _ => 1,
        }
    }
    length(call).div_ceil(bytes).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
pub(crate) fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::default_trait_access, reason = "the type is another package's")]
    fn counted(target: &str, method: &str, body: &Value) -> anyhow::Result<Vec<(Item, f64)>> {
        let call = Call {
            target: target.to_owned(),
            method: method.to_owned(),
            path: "/".to_owned(),
            headers: Default::default(),
            body: body.to_string().into(),
        };
        let mut usage = Usage::default();
        usage.count(&call)?;
        Ok(usage.items().collect())
    }

    #[test]
    fn each_record_of_the_stream_is_rounded_up_by_itself() {
        let record = |bytes| json!({"Data": BASE64_STANDARD.encode(vec![b'x'; bytes])});
        for (records, steps) in
            [(vec![1], 1.0), (vec![5120], 1.0), (vec![5121], 2.0), (vec![1, 1, 5121], 4.0)]
        {
            let body = json!({"Records": records.iter().map(|bytes| record(*bytes)).collect::<Vec<_>>()});
            let used = counted("Firehose_20150804.PutRecordBatch", "POST", &body).unwrap();
            assert_eq!(used, [(Item::StreamGb, steps * 5120.0 / GB)]);
        }
    }

    #[test]
    fn a_write_costs_by_its_size_and_twice_in_a_transaction() {
        let item = |bytes| json!({"Item": {"id": {"S": "x".repeat(bytes)}}});
        for (bytes, units) in [(10, 1.0), (1000, 1.0), (1024, 2.0), (5000, 5.0)] {
            assert_eq!(counted("D.PutItem", "POST", &item(bytes)).unwrap(), [(Item::Writes, units)]);
            let transaction = json!({"TransactItems": [item(bytes), item(10)]});
            let used = counted("D.TransactWriteItems", "POST", &transaction).unwrap();
            assert_eq!(used, [(Item::Writes, 2.0 * units + 2.0)]);
        }
    }

    #[test]
    fn a_call_without_a_stated_price_is_not_free() {
        let error = counted("DynamoDB_20120810.Scan", "POST", &json!({})).unwrap_err();
        assert_eq!(error.to_string(), "no price is stated for this call: POST Scan /");
        assert!(counted("", "DELETE", &json!({})).is_err());
    }
}
