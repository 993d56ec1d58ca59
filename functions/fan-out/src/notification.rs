//! Which batches an invocation is about.
//!
//! S3 says that an object was created in one of two forms: its own, or EventBridge's. Either comes to the function
//! directly, or as the text of an SNS message, or of an SQS message, or of an SNS message in an SQS message. All of
//! these are read, and each may hold several objects. Notifications come at least once and in any order, and so they
//! may: filing a batch again changes nothing.
//!
//! What S3 itself says is form-encoded: in `a+b%2Bc`, the first is a space and the second a plus. What EventBridge says
//! is not encoded at all. (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>)
//!
//! What cannot be understood is an error and not passed over: perhaps it was about a batch, and then its events would
//! be lost without anybody noticing.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use weir_core::BatchKey;

/// Where batches lie. What lies elsewhere is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPlace {
    /// The bucket.
    pub bucket: String,
    /// How the keys of batches begin.
    pub prefix: &'static str,
}

/// What an invocation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// Batches. The invocation succeeds if all of them are filed.
    Direct(Vec<Mention>),
    /// Messages of a queue. Each succeeds or fails by itself.
    Queue(Vec<Message>),
}

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What the queue calls it; empty if the queue does not say, which in an answer stands for all messages.
    pub id: String,
    /// What it is about.
    pub batches: Vec<Mention>,
}

/// A batch to file, or what was not understood.
pub type Mention = Result<BatchKey, NotificationError>;

/// A notification that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// The text of a message is no JSON.
    #[error("a message is no JSON")]
    NotJson,
    /// It says nothing about objects.
    #[error("this is no notification of S3, nor a message that holds one")]
    Unknown,
    /// It does not name the object.
    #[error("a notification of S3 names no {0}")]
    Incomplete(&'static str),
    /// The object's key is no text once it is decoded.
    #[error("the key {key:?} in a notification is not UTF-8")]
    Key {
        /// The key as it came.
        key: String,
    },
}

/// How deep messages are looked for in messages: an event in an SNS message in an SQS message is the third.
const DEPTH: usize = 3;

impl Notification {
    /// Reads the function's event.
    #[must_use]
    pub fn read(event: &Value, raw: &RawPlace) -> Self {
        match event["Records"].as_array() {
            Some(records) if records.iter().any(|record| record["eventSource"] == "aws:sqs") => {
                Self::Queue(records.iter().map(|record| Message::read(record, raw)).collect())
            }
            _ => Self::Direct(raw.mentions(event, DEPTH)),
        }
    }
}

impl Message {
    fn read(record: &Value, raw: &RawPlace) -> Self {
        let id = record["messageId"].as_str().unwrap_or_default().to_owned();
        Self { id, batches: raw.in_text(&record["body"], DEPTH) }
    }
}

impl RawPlace {
    fn mentions(&self, event: &Value, depth: usize) -> Vec<Mention> {
        let Some(depth) = depth.checked_sub(1) else { return unknown() };
        if event["Event"] == "s3:TestEvent" {
            tracing::info!("S3 has tested whether its notifications come");
            return Vec::new();
        }
        if let Some(records) = event["Records"].as_array() {
            let read = |record: &Value| match record {
                record if record["s3"].is_object() => self.of_s3(record).into_iter().collect(),
                record if record["Sns"].is_object() => self.in_text(&record["Sns"]["Message"], depth),
                _ => unknown(),
            };
            return records.iter().flat_map(read).collect();
        }
        if event["Type"] == "Notification" {
            return self.in_text(&event["Message"], depth);
        }
        if event["source"] == "aws.s3" {
            return self.of_eventbridge(event).into_iter().collect();
        }
        unknown()
    }

    fn in_text(&self, text: &Value, depth: usize) -> Vec<Mention> {
        match text.as_str().map(serde_json::from_str::<Value>) {
            Some(Ok(event)) => self.mentions(&event, depth),
            Some(Err(_)) | None => vec![Err(NotificationError::NotJson)],
        }
    }

    /// A record of S3's own.
    fn of_s3(&self, record: &Value) -> Option<Mention> {
        let name = record["eventName"].as_str().unwrap_or("ObjectCreated");
        let is_creation = name.strip_prefix("s3:").unwrap_or(name).starts_with("ObjectCreated");
        self.object(is_creation.then_some(&record["s3"]), name, |key| {
            // In this order, or an encoded plus would become a space.
            let key = key.replace('+', " ");
            let decoded = percent_decode_str(&key).decode_utf8();
            decoded.map(String::from).map_err(|_| NotificationError::Key { key: key.clone() })
        })
    }

    /// An event of EventBridge.
    fn of_eventbridge(&self, event: &Value) -> Option<Mention> {
        let name = event["detail-type"].as_str().unwrap_or_default();
        let is_creation = name == "Object Created";
        self.object(is_creation.then_some(&event["detail"]), name, |key| Ok(key.to_owned()))
    }

    /// The batch that was created, if it is one.
    fn object(
        &self,
        created: Option<&Value>,
        event: &str,
        decode: impl Fn(&str) -> Result<String, NotificationError>,
    ) -> Option<Mention> {
        let Some(object) = created else {
            tracing::warn!(event, "passed over: nothing was created; notify of creations only");
            return None;
        };
        let Some(bucket) = object["bucket"]["name"].as_str() else {
            return Some(Err(NotificationError::Incomplete("bucket")));
        };
        let Some(key) = object["object"]["key"].as_str() else {
            return Some(Err(NotificationError::Incomplete("key")));
        };
        let key = match decode(key) {
            Ok(key) => key,
            Err(error) => return Some(Err(error)),
        };
        if bucket != self.bucket || !key.starts_with(self.prefix) {
            tracing::warn!(
                bucket,
                key,
                "passed over: no batch lies there; notify of the raw bucket's {} only",
                self.prefix
            );
            return None;
        }
        Some(Ok(BatchKey::new(key)))
    }
}

fn unknown() -> Vec<Mention> {
    vec![Err(NotificationError::Unknown)]
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn raw() -> RawPlace {
        RawPlace { bucket: "weir-raw".to_owned(), prefix: "raw/" }
    }

    fn read(event: &Value) -> Notification {
        Notification::read(event, &raw())
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

    fn eventbridge(bucket: &str, key: &str, kind: &str) -> Value {
        json!({
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": kind,
            "source": "aws.s3",
            "account": "123456789012",
            "time": "2026-11-20T13:05:00Z",
            "region": "us-east-1",
            "resources": [format!("arn:aws:s3:::{bucket}")],
            "detail": {
                "version": "0",
                "bucket": {"name": bucket},
                "object": {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": "0061"},
                "reason": "PutObject",
            },
        })
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

    fn sns(message: &Value) -> Value {
        json!({
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:raw",
            "Subject": "Amazon S3 Notification",
            "Message": message.to_string(),
            "Timestamp": "2026-11-20T13:05:00.000Z",
        })
    }

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

    #[expect(clippy::unnecessary_wraps, reason = "a mention is what all of them compare with")]
    fn batch(key: &str) -> Mention {
        Ok(BatchKey::new(key))
    }

    #[test]
    fn all_objects_of_s3_itself_are_batches() {
        let event = s3(&[
            created("raw/a.gz"),
            record("weir-raw", "raw/b.gz", "ObjectCreated:CompleteMultipartUpload"),
        ]);
        assert_eq!(read(&event), Notification::Direct(vec![batch("raw/a.gz"), batch("raw/b.gz")]));
    }

    #[test]
    fn an_object_of_eventbridge_is_a_batch_and_its_key_is_as_it_stands() {
        let event = eventbridge("weir-raw", "raw/a+b %2B.gz", "Object Created");
        assert_eq!(read(&event), Notification::Direct(vec![batch("raw/a+b %2B.gz")]));
    }

    #[test]
    fn what_s3_itself_says_is_decoded() {
        for (encoded, key) in [
            ("raw/a+b.gz", "raw/a b.gz"),
            ("raw/a%20b.gz", "raw/a b.gz"),
            ("raw/a%2Bb.gz", "raw/a+b.gz"),
            ("raw/100%25+%2B.gz", "raw/100% +.gz"),
            ("raw/%C3%A9t%C3%A9.gz", "raw/été.gz"),
            ("raw%2Fa.gz", "raw/a.gz"),
        ] {
            assert_eq!(read(&s3(&[created(encoded)])), Notification::Direct(vec![batch(key)]));
        }
        let error = NotificationError::Key { key: "raw/%FF".to_owned() };
        assert_eq!(read(&s3(&[created("raw/%FF")])), Notification::Direct(vec![Err(error)]));
    }

    #[test]
    fn each_message_of_a_queue_stands_for_itself() {
        let event = json!({"Records": [
            message("1", &s3(&[created("raw/a.gz"), created("raw/b.gz")])),
            message("2", &test_event()),
            message("3", &json!("nonsense")),
            message("4", &sns(&s3(&[created("raw/c.gz")]))),
            message("5", &eventbridge("weir-raw", "raw/d.gz", "Object Created")),
            message("6", &s3(&[created("raw/e.gz"), json!({})])),
        ]});
        let Notification::Queue(messages) = read(&event) else { panic!() };
        let told: Vec<(&str, Vec<Mention>)> =
            messages.iter().map(|message| (message.id.as_str(), message.batches.clone())).collect();
        assert_eq!(
            told,
            [
                ("1", vec![batch("raw/a.gz"), batch("raw/b.gz")]),
                ("2", vec![]),
                ("3", vec![Err(NotificationError::NotJson)]),
                ("4", vec![batch("raw/c.gz")]),
                ("5", vec![batch("raw/d.gz")]),
                ("6", vec![batch("raw/e.gz"), Err(NotificationError::Unknown)]),
            ]
        );
    }

    #[test]
    fn a_message_without_id_or_text_fails() {
        let event = json!({"Records": [{"eventSource": "aws:sqs"}, {"eventSource": "aws:sqs", "messageId": 7, "body": 8}]});
        let failed = Message { id: String::new(), batches: vec![Err(NotificationError::NotJson)] };
        assert_eq!(read(&event), Notification::Queue(vec![failed.clone(), failed]));
    }

    #[test]
    fn sns_may_call_itself() {
        let notification = sns(&s3(&[created("raw/a.gz")]));
        let event =
            json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification}]});
        assert_eq!(read(&event), Notification::Direct(vec![batch("raw/a.gz")]));
    }

    #[test]
    fn a_test_is_acknowledged() {
        assert_eq!(read(&test_event()), Notification::Direct(vec![]));
        let event = json!({"Records": [message("1", &sns(&test_event()))]});
        assert_eq!(read(&event), Notification::Queue(vec![Message { id: "1".to_owned(), batches: vec![] }]));
    }

    #[test]
    fn what_is_no_batch_is_passed_over() {
        for record in [
            record("another", "raw/a.gz", "ObjectCreated:Put"),
            created("quarantine/a.gz"),
            created("errors/raw/a.gz"),
            record("weir-raw", "raw/a.gz", "ObjectRemoved:Delete"),
            record("weir-raw", "raw/a.gz", "LifecycleExpiration:Delete"),
        ] {
            assert_eq!(
                read(&s3(&[record, created("raw/b.gz")])),
                Notification::Direct(vec![batch("raw/b.gz")])
            );
        }
        for event in [
            eventbridge("another", "raw/a.gz", "Object Created"),
            eventbridge("weir-raw", "lake/a.gz", "Object Created"),
            eventbridge("weir-raw", "raw/a.gz", "Object Deleted"),
        ] {
            assert_eq!(read(&event), Notification::Direct(vec![]));
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for event in [
            json!(null),
            json!("x"),
            json!([]),
            json!({}),
            json!({"Records": "x"}),
            json!({"Records": [7]}),
            json!({"source": "aws.ec2", "detail-type": "Object Created"}),
            json!({"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe"}),
        ] {
            assert_eq!(read(&event), Notification::Direct(vec![Err(NotificationError::Unknown)]), "{event}");
        }
        let nameless =
            json!({"Records": [{"s3": {}}, {"s3": {"bucket": {"name": "weir-raw"}, "object": {"key": 7}}}]});
        assert_eq!(
            read(&nameless),
            Notification::Direct(vec![
                Err(NotificationError::Incomplete("bucket")),
                Err(NotificationError::Incomplete("key")),
            ])
        );
    }

    #[test]
    fn messages_in_messages_have_an_end() {
        let mut event = s3(&[created("raw/a.gz")]);
        for _ in 0..DEPTH {
            event = sns(&event);
        }
        assert_eq!(read(&event), Notification::Direct(vec![Err(NotificationError::Unknown)]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "\\PC{0,20}".prop_map(Value::from),
            prop::sample::select(vec![
                "aws:sqs",
                "aws:s3",
                "aws.s3",
                "Notification",
                "raw/%F",
                "weir-raw",
                "{}",
                "[]"
            ])
            .prop_map(Value::from),
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
            "Sns",
            "Message",
            "Type",
            "source",
            "detail",
            "detail-type",
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
        fn whatever_comes_is_understood_or_an_error(event in any_json()) {
            let mentions = match read(&event) {
                Notification::Direct(mentions) => mentions,
                Notification::Queue(messages) => messages.into_iter().flat_map(|message| message.batches).collect(),
            };
            prop_assert!(mentions.into_iter().flatten().all(|batch| batch.as_str().starts_with("raw/")));
        }

        #[test]
        fn a_key_is_the_same_in_every_form(name in "\\PC{1,40}") {
            let key = format!("raw/{name}");
            let percent = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
            let plus = percent.replace("%20", "+");
            for event in [
                s3(&[created(&percent)]),
                s3(&[created(&plus)]),
                sns(&s3(&[created(&plus)])),
                eventbridge("weir-raw", &key, "Object Created"),
            ] {
                prop_assert_eq!(read(&event), Notification::Direct(vec![batch(&key)]));
            }
        }
    }
}
