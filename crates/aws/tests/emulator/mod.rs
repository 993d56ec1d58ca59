//! A local AWS for one test, with the resources that Weir needs.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    net::TcpListener,
    num::NonZeroU16,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_firehose::config::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use weir_aws::Aws;
use weir_core::SystemRandom;

/// A running emulator; dropping it ends it.
pub struct Emulator {
    process: Child,
    pub endpoint: String,
    _folder: tempfile::TempDir,
}

pub const STREAM: &str = "weir-events";
pub const COUNTS: &str = "weir-counts";
pub const USERS: &str = "weir-users";
pub const RAW: &str = "weir-raw";
pub const LAKE: &str = "weir-lake";

impl Emulator {
    /// Starts one on a free port, with the stream, the tables and the buckets.
    pub async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/emulator/bin/ministack");
        assert!(program.exists(), "the emulator is not installed: run ./check once");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = format!("http://127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self { process, endpoint, _folder: folder };
        emulator.wait_until_ready().await;
        emulator.make_resources().await;
        emulator
    }

    async fn wait_until_ready(&self) {
        let health = format!("{}/_ministack/health", self.endpoint);
        for _ in 0..600 {
            if ureq::get(&health).call().is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the emulator did not start");
    }

    async fn make_resources(&self) {
        let config = self.config(None);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        for (table, keys) in [
            (COUNTS, &[("pk", KeyType::Hash), ("sk", KeyType::Range)][..]),
            (USERS, &[("username", KeyType::Hash)]),
        ] {
            let mut create =
                dynamodb.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
            for (name, kind) in keys {
                let attribute = AttributeDefinition::builder()
                    .attribute_name(*name)
                    .attribute_type(ScalarAttributeType::S);
                let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone());
                create =
                    create.attribute_definitions(attribute.build().unwrap()).key_schema(key.build().unwrap());
            }
            create.send().await.unwrap();
        }
        let s3 = self.s3();
        for bucket in [RAW, LAKE] {
            s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let firehose = aws_sdk_firehose::Client::new(&config);
        let destination = aws_sdk_firehose::types::ExtendedS3DestinationConfiguration::builder()
            .role_arn("arn:aws:iam::000000000000:role/firehose")
            .bucket_arn(format!("arn:aws:s3:::{RAW}"))
            .prefix("raw/");
        firehose
            .create_delivery_stream()
            .delivery_stream_name(STREAM)
            .extended_s3_destination_configuration(destination.build().unwrap())
            .send()
            .await
            .unwrap();
    }

    /// A configuration for it; over another HTTP client, if one is given.
    pub fn config(&self, client: Option<SharedHttpClient>) -> SdkConfig {
        let client = client.unwrap_or_else(|| aws_smithy_http_client::Builder::new().build_http());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
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
        Aws::new(self.config(None), Arc::new(SystemRandom))
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config(None)).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn shards(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}
