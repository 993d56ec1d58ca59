//! Finds the batches in an invocation's event: S3 notifies a queue of the objects that were created, and Lambda hands the queue's
//! messages over. Each holds a notification of one object or several.
//!
//! Notifications come at least once and in any order, and so they may: filing a batch again changes nothing. Keys in them are
//! form-encoded: in `a+b%2Bc`, the first plus is a space and the second a plus
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
//!
//! A message that is not understood is an error and never passed over: if it is about a batch, that batch's events would be
//! lost unnoticed.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use weir_core::BatchKey;

/// The place of all batches. An object elsewhere is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPlace {
    /// The bucket.
    pub bucket: String,
    /// The prefix of the keys of batches.
    pub prefix: &'static str,
}

/// A message of the queue. It succeeds if all of its batches are filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The queue's name for it; empty if the queue gave none, which in an answer stands for all messages.
    pub id: String,
    /// The batches to file.
    pub batches: Vec<Result<BatchKey, NotificationError>>,
}

/// Why an event, or a part of it, is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// The event does not hold a queue's messages.
    #[error("the event is not one of an SQS queue")]
    NotAQueue,
    /// The text of a message is not JSON.
    #[error("a message is not JSON")]
    NotJson,
    /// The text of a message is JSON, but of another kind.
    #[error("a message is not a notification of S3")]
    Unknown,
    /// A notification does not name its object.
    #[error("a notification of S3 names no {0}")]
    Incomplete(&'static str),
    /// An object's key is not UTF-8 once it is decoded.
    #[error("the key {key:?} in a notification is not UTF-8")]
    Key {
        /// The key as it came.
        key: String,
    },
}

impl Message {
    /// Reads the messages in the function's event.
    pub fn read_all(event: &Value, raw: &RawPlace) -> Result<Vec<Self>, NotificationError> {
        let records = event["Records"].as_array().ok_or(NotificationError::NotAQueue)?;
        if records.iter().any(|record| record["eventSource"] != "aws:sqs") {
            return Err(NotificationError::NotAQueue);
        }
        Ok(records.iter().map(|record| Self::read(record, raw)).collect())
    }

    fn read(record: &Value, raw: &RawPlace) -> Self {
        let id = record["messageId"].as_str().unwrap_or_default().to_owned();
        let batches = raw.batches_in(&record["body"]).unwrap_or_else(|error| vec![Err(error)]);
        Self { id, batches }
    }
}

impl RawPlace {
    fn batches_in(
        &self,
        body: &Value,
    ) -> Result<Vec<Result<BatchKey, NotificationError>>, NotificationError> {
        let text = body.as_str().ok_or(NotificationError::NotJson)?;
        let event: Value = serde_json::from_str(text).map_err(|_| NotificationError::NotJson)?;
        if event["Event"] == "s3:TestEvent" {
            tracing::info!("S3 has tested whether its notifications come");
            return Ok(Vec::new());
        }
        let records = event["Records"].as_array().ok_or(NotificationError::Unknown)?;
        Ok(records.iter().filter_map(|record| self.batch(record).transpose()).collect())
    }

    /// Returns the batch that was created, if the object is one.
    fn batch(&self, record: &Value) -> Result<Option<BatchKey>, NotificationError> {
        let object = &record["s3"];
        if !object.is_object() {
            return Err(NotificationError::Unknown);
        }
        let event = record["eventName"].as_str().unwrap_or("ObjectCreated");
        if !event.strip_prefix("s3:").unwrap_or(event).starts_with("ObjectCreated") {
            tracing::warn!(event, "passed over: nothing was created; notify of creations only");
            return Ok(None);
        }
        let bucket = object["bucket"]["name"].as_str().ok_or(NotificationError::Incomplete("bucket"))?;
        let key = object["object"]["key"].as_str().ok_or(NotificationError::Incomplete("key"))?;
        // In this order, or an encoded plus would become a space.
        let spaced = key.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8();
        let key = decoded.map_err(|_| NotificationError::Key { key: key.to_owned() })?;
        if bucket != self.bucket || !key.starts_with(self.prefix) {
            tracing::warn!(
                bucket,
                key = key.as_ref(),
                "passed over: no batch lies there; notify of the raw bucket's {} only",
                self.prefix
            );
            return Ok(None);
        }
        Ok(Some(BatchKey::new(key)))
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Batches = Vec<Result<BatchKey, NotificationError>>;

    fn read(event: &Value) -> Result<Vec<Message>, NotificationError> {
        Message::read_all(event, &RawPlace { bucket: "weir-raw".to_owned(), prefix: "raw/" })
    }

    /// Reads the notification as the only message of a queue.
    fn batches(notification: &Value) -> Batches {
        let mut messages = read(&queue(&[message("1", notification)])).unwrap();
        assert_eq!(messages.len(), 1);
        messages.remove(0).batches
    }

    fn queue(messages: &[Value]) -> Value {
        json!({"Records": messages})
    }

    /// A message as Lambda hands it over, by the example of its documentation.
    fn message(id: &str, body: &Value) -> Value {
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        json!({
            "messageId": id,
            "receiptHandle": "AQEB",
            "body": body,
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:raw",
            "awsRegion": "us-east-1",
        })
    }

    /// A record as S3 sends it, by the example of its documentation.
    fn record(bucket: &str, key: &str, name: &str) -> Value {
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-20T13:05:00.000Z",
            "eventName": name,
            "userIdentity": {"principalId": "AWS:AROAEXAMPLE:weir"},
            "requestParameters": {"sourceIPAddress": "192.0.2.1"},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "raw",
                "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}, "arn": format!("arn:aws:s3:::{bucket}")},
                "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5"},
            },
        })
    }

    fn created(key: &str) -> Value {
        record("weir-raw", key, "ObjectCreated:Put")
    }

    fn s3(records: &[Value]) -> Value {
        json!({"Records": records})
    }

    fn test_event() -> Value {
        json!({
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": "2026-11-20T13:00:00.000Z",
            "Bucket": "weir-raw",
            "RequestId": "5582815E1AEA5ADF",
            "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "all of them are compared with it")]
    fn batch(key: &str) -> Result<BatchKey, NotificationError> {
        Ok(BatchKey::new(key))
    }

    #[test]
    fn each_message_of_a_queue_stands_for_itself() {
        let event = queue(&[
            message(
                "1",
                &s3(&[
                    created("raw/a.gz"),
                    record("weir-raw", "raw/b.gz", "ObjectCreated:CompleteMultipartUpload"),
                ]),
            ),
            message("2", &test_event()),
            message("3", &json!("nonsense")),
            message("4", &s3(&[created("raw/e.gz"), json!({})])),
        ]);
        let expected: [(&str, Batches); 4] = [
            ("1", vec![batch("raw/a.gz"), batch("raw/b.gz")]),
            ("2", vec![]),
            ("3", vec![Err(NotificationError::NotJson)]),
            ("4", vec![batch("raw/e.gz"), Err(NotificationError::Unknown)]),
        ];
        let expected = expected.map(|(id, batches)| Message { id: id.to_owned(), batches });
        assert_eq!(read(&event).unwrap(), expected);
    }

    #[test]
    fn a_message_without_id_or_text_fails() {
        let event = json!({"Records": [{"eventSource": "aws:sqs"}, {"eventSource": "aws:sqs", "messageId": 7, "body": 8}]});
        let failed = Message { id: String::new(), batches: vec![Err(NotificationError::NotJson)] };
        assert_eq!(read(&event).unwrap(), [failed.clone(), failed]);
    }

    #[test]
    fn keys_are_decoded() {
        for (encoded, key) in [
            ("raw/a+b.gz", "raw/a b.gz"),
            ("raw/a%20b.gz", "raw/a b.gz"),
            ("raw/a%2Bb.gz", "raw/a+b.gz"),
            ("raw/100%25+%2B.gz", "raw/100% +.gz"),
            ("raw/%C3%A9t%C3%A9.gz", "raw/été.gz"),
            ("raw%2Fa.gz", "raw/a.gz"),
        ] {
            assert_eq!(batches(&s3(&[created(encoded)])), [batch(key)]);
        }
        let error = NotificationError::Key { key: "raw/+%FF".to_owned() };
        assert_eq!(batches(&s3(&[created("raw/+%FF")])), [Err(error)]);
    }

    #[test]
    fn an_object_that_is_no_batch_is_passed_over() {
        for record in [
            record("another", "raw/a.gz", "ObjectCreated:Put"),
            created("quarantine/a.gz"),
            created("errors/raw/a.gz"),
            record("weir-raw", "raw/a.gz", "ObjectRemoved:Delete"),
            record("weir-raw", "raw/a.gz", "LifecycleExpiration:Delete"),
        ] {
            assert_eq!(batches(&s3(&[record, created("raw/b.gz")])), [batch("raw/b.gz")]);
        }
    }

    #[test]
    fn other_messages_are_an_error() {
        for body in [
            json!(null),
            json!([]),
            json!({}),
            json!({"Records": "x"}),
            json!({"source": "aws.s3", "detail-type": "Object Created"}),
            json!({"Type": "Notification", "Message": s3(&[created("raw/a.gz")]).to_string()}),
        ] {
            assert_eq!(batches(&body), [Err(NotificationError::Unknown)], "{body}");
        }
        let nameless = json!({"Records": [7, {"s3": {}}, {"s3": {"bucket": {"name": "weir-raw"}, "object": {"key": 7}}}]});
        let expected = [
            Err(NotificationError::Unknown),
            Err(NotificationError::Incomplete("bucket")),
            Err(NotificationError::Incomplete("key")),
        ];
        assert_eq!(batches(&nameless), expected);
    }

    #[test]
    fn other_events_are_an_error() {
        for event in [
            json!(null),
            json!("x"),
            json!([]),
            json!({}),
            json!({"Records": "x"}),
            json!({"Records": [7]}),
            test_event(),
            s3(&[created("raw/a.gz")]),
        ] {
            assert_eq!(read(&event), Err(NotificationError::NotAQueue), "{event}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let words = ["aws:sqs", "aws:s3", "ObjectCreated", "raw/%F", "weir-raw", "{}", "[]"];
        let text = prop_oneof![
            "\\PC{0,20}".prop_map(Value::from),
            prop::sample::select(words.to_vec()).prop_map(Value::from)
        ];
        let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), text];
        let names = prop::sample::select(vec![
            "Records",
            "eventSource",
            "messageId",
            "body",
            "s3",
            "bucket",
            "name",
            "object",
            "key",
            "Event",
            "eventName",
        ]);
        leaf.prop_recursive(5, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner.clone()), 0..6).prop_map(|members| {
                    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }),
                inner.prop_map(|inner| Value::from(inner.to_string())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_understood_or_an_error(event in any_json()) {
            let _ = read(&event);
            let all: Batches = batches(&event);
            prop_assert!(all.into_iter().flatten().all(|batch| batch.as_str().starts_with("raw/")));
        }

        #[test]
        fn any_key_is_decoded_as_it_was(name in "\\PC{1,40}") {
            let key = format!("raw/{name}");
            let percent = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
            for encoded in [percent.replace("%20", "+"), percent] {
                prop_assert_eq!(batches(&s3(&[created(&encoded)])), vec![batch(&key)]);
            }
        }
    }
}
