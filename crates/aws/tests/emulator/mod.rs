//! A local AWS for one test, and what speaks to it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

mod process;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_firehose::config::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use weir_aws::Aws;
use weir_core::{SystemClock, SystemRandom};

pub use process::*;

/// A running emulator; dropping it ends it.
pub struct Emulator {
    process: process::Process,
}

impl Emulator {
    /// Starts one, with the stream, the tables and the buckets.
    pub async fn start() -> Self {
        let started = tokio::task::spawn_blocking(process::Process::start).await;
        Self { process: started.unwrap() }
    }

    /// A configuration for it; over another HTTP client, if one is given.
    pub fn config(&self, client: Option<SharedHttpClient>) -> SdkConfig {
        let client = client.unwrap_or_else(|| aws_smithy_http_client::Builder::new().build_http());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.process.endpoint)
            .credentials_provider(aws_sdk_firehose::config::SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "test",
            )))
            .http_client(client)
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
                aws_smithy_async::rt::sleep::TokioSleep::new(),
            ))
            .time_source(aws_smithy_async::time::SystemTimeSource::new())
            // More tries than usual, and quicker ones: tests make calls fail far more often than AWS does.
            .retry_config(
                aws_config::retry::RetryConfig::standard()
                    .with_max_attempts(8)
                    .with_initial_backoff(Duration::from_millis(20)),
            )
            .build()
    }

    pub fn aws(&self) -> Aws {
        Aws::new(self.config(None), Arc::new(SystemRandom), Arc::new(SystemClock))
    }

    /// Makes one more table of counts.
    pub async fn make_counts(&self, table: &str) {
        use aws_sdk_dynamodb::types::{
            AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        };
        let mut call =
            self.dynamo().create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            call = call
                .attribute_definitions(attribute.attribute_type(ScalarAttributeType::S).build().unwrap())
                .key_schema(KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap());
        }
        call.send().await.unwrap();
    }

    /// All items of a table of counts that have a number.
    pub async fn counts(&self, table: &str) -> Vec<(String, i64)> {
        let page = self.dynamo().scan().table_name(table).send().await.unwrap();
        let item = |item: &std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>| {
            let number = item.get("n")?.as_n().unwrap().parse().unwrap();
            Some((format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap()), number))
        };
        page.items().iter().filter_map(item).collect()
    }

    /// The objects that the table of latest values refers to, in their order.
    pub async fn objects_of_latest_values(&self) -> Vec<String> {
        let page = self.dynamo().scan().table_name(LATEST).send().await.unwrap();
        assert!(page.last_evaluated_key().is_none(), "too many values for a test");
        let objects = page.items().iter().filter_map(|item| item.get("object"));
        let mut objects: Vec<String> = objects.map(|object| object.as_s().unwrap().clone()).collect();
        objects.sort_unstable();
        objects
    }

    /// Removes an item of a table of counts.
    pub async fn remove(&self, table: &str, pk: &str, sk: &str) {
        use aws_sdk_dynamodb::types::AttributeValue::S;
        let call = self.dynamo().delete_item().table_name(table);
        call.key("pk", S(pk.to_owned())).key("sk", S(sk.to_owned())).send().await.unwrap();
    }

    /// The keys of a bucket's objects.
    pub async fn objects(&self, bucket: &str) -> Vec<String> {
        let page = self.s3().list_objects_v2().bucket(bucket).send().await.unwrap();
        page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// The partition keys of a table's items that have an end.
    pub async fn expiring(&self, table: &str) -> Vec<String> {
        let page = self.dynamo().scan().table_name(table).send().await.unwrap();
        let ends = page.items().iter().filter(|item| item.contains_key("expires"));
        ends.map(|item| item["pk"].as_s().unwrap().clone()).collect()
    }

    fn dynamo(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config(None))
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config(None)).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }
}

pub fn shards(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}
