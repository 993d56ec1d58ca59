//! Weir's ports on Firehose, DynamoDB and S3.
//!
//! | port | here | |
//! | --- | --- | --- |
//! | `Stream` | [`FirehoseStream`] | a request's events packed into few Firehose records; only refused ones sent again |
//! | | [`RecentIds`] | one item per event whose client gave it an id; a repeat is not stored again |
//! | `LiveCounts`, `Settlement`, `SettledCounts`, `Books` | [`DynamoCounts`] | one item per counter; a batch settles in transactions with markers |
//! | `RecentRejected` | [`DynamoCounts`] | one item per request, gone after a week |
//! | `NewestEvents` | `S3Newest` | the objects of this hour and the previous one, and the noted rejected events |
//! | `Receipts` | `S3Receipts` | the batches around an event's time, and the recent ids |
//! | `LatestValues`, `LatestValuesAdmin` | [`DynamoLatest`] | one item per resource, raised if the stored one is older; a large event in an object |
//! | `Users`, `UserAdmin` | [`DynamoUsers`] | one item per user, saved if its version is the one that was read |
//! | `Raw`, `Lake`, `Quarantine` | [`S3Raw`], [`S3Lake`], [`S3Quarantine`] | streamed both ways |
//! | `Answers`, `AnswersAdmin` | [`S3Answers`], [`S3AnswersAdmin`] | generations as objects, read by ranges; the pointer swapped on a condition |
//! | `Forgotten` | `S3Forgotten` | a list of tombstones as an object, believed for a minute |
//! | `SealedDays` | [`S3SealedDays`] | objects; the manifest swapped on a condition |
//! | `Stream`, `LiveCounts`, `SettledCounts`, `RecentRejected`, `LatestValues` | [`Batching`] | callers at the same time share calls |
//! | `Health` | [`AwsHealth`] | asks both services, now and then |
//!
//! `athena` queries the lake, with the feature `athena`. `own_rows` and `queries` are for queries of clients: the one makes questions
//! of their SQL, the other asks Athena, for few of a user's at once.
//!
//! [`Aws`] makes them all from one configuration; make it once, before the first invocation.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
#[cfg(feature = "athena")]
pub mod athena;
mod backoff;
mod batch_get;
mod batching;
mod calls;
mod counts;
mod dedup;
mod errors;
mod forgotten;
mod health;
mod latest;
mod newest;
mod objects;
pub mod own_rows;
pub mod queries;
mod receipts;
mod recent_rejected;
mod s3_calls;
mod sealed;
mod signed_calls;
mod stream;
mod users;

use std::{env, num::NonZeroU16, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use weir_core::{
    Clock, Random, SystemClock, SystemRandom,
    ports::{Forgotten, Ports},
};

pub use answers::{Page, Pages, S3Answers, S3AnswersAdmin, Standing};
pub use batching::{Batched, Batching, BatchingStats, GATHERING};
pub use calls::Calls;
pub use counts::forgetting::{CountsToLower, Lowered, LoweredCount};
pub use counts::table::DynamoCounts;
pub use dedup::RecentIds;
pub use errors::explained;
pub use forgotten::{BELIEVED, ForgottenAdmin, PendingForgetting};
pub use health::AwsHealth;
pub use latest::{DynamoLatest, OldLatestValues};
pub use objects::{
    Put, QUARANTINE_PREFIX, RAW_PREFIX, S3Batches, S3Files, S3Lake, S3Quarantine, S3Raw, SEALED_AFTER_MILLIS,
    StoredBatch, UsersAndTypes,
};
pub use sealed::{S3SealedDays, SealedFile, SealingTurn};
pub use stream::{
    FirehoseStream, Retries,
    packing::{Entry, pack},
};
pub use users::DynamoUsers;

use dedup::service_clock::ServiceClock;
use forgotten::S3Forgotten;
use newest::S3Newest;
use receipts::S3Receipts;
use s3_calls::S3Calls;

/// The clients of the services that Weir uses.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    random: Arc<dyn Random>,
    clock: Arc<dyn Clock>,
}

/// The names of what the collector's ports are made of.
#[derive(Debug, Clone)]
pub struct Names {
    /// The delivery stream.
    pub stream: String,
    /// The table of recent ids.
    pub recent_ids: String,
    /// The table of counts.
    pub counts: String,
    /// The number of items that a hot counter is spread over (see [`Aws::counts`]).
    pub shards: NonZeroU16,
    /// The table of latest values.
    pub latest: String,
    /// The bucket that the stream delivers into.
    pub raw: String,
    /// The bucket of the lake, which has the answers and the objects of large latest values, too.
    pub lake: String,
    /// Whether a user's events are in a bucket of the user's own, if there is one.
    pub bucket_per_user: bool,
}

/// The time limits for connecting, and for one attempt of a call: a call to a slower service is retried.
const CONNECT: Duration = Duration::from_secs(2);
const ATTEMPT: Duration = Duration::from_secs(5);

impl Aws {
    /// Reads the standard `AWS_*` variables and files. `AWS_ENDPOINT_URL` names another AWS, such as an emulator.
    pub async fn from_env() -> Self {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(https())
            .timeout_config(timeouts())
            .load()
            .await;
        Self::new(config, Arc::new(SystemRandom), Arc::new(SystemClock))
    }

    /// Reads the variables that Lambda sets, and `AWS_ENDPOINT_URL`, and nothing else. The SDK's other sources of credentials
    /// would double the size of a function's program.
    #[must_use]
    pub fn on_lambda() -> Self {
        let variable = |name| env::var(name).ok();
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(SharedCredentialsProvider::new(
                EnvironmentVariableCredentialsProvider::new(),
            ))
            .http_client(https())
            .timeout_config(timeouts());
        config.set_region(variable("AWS_REGION").map(Region::new));
        config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
        Self::new(config.build(), Arc::new(SystemRandom), Arc::new(SystemClock))
    }

    /// Uses a configuration as it is.
    #[must_use]
    pub fn new(config: SdkConfig, random: Arc<dyn Random>, clock: Arc<dyn Clock>) -> Self {
        Self { config, random, clock }
    }

    /// Counts the calls of the clients that it makes from now on.
    #[must_use]
    pub fn counted(mut self) -> (Self, Calls) {
        let calls = Calls::default();
        if let Some(client) = self.config.http_client() {
            let client = calls.counting(client);
            self.config = self.config.to_builder().http_client(client).build();
        }
        (self, calls)
    }

    /// Returns the configuration, for clients of services that are not behind a port of Weir's.
    #[must_use]
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Returns a delivery stream. Records that it has not accepted after `give_up_after` are refused; that must be less than
    /// a caller waits.
    #[must_use]
    pub fn stream(&self, name: &str, give_up_after: Duration) -> FirehoseStream {
        // The stream retries by itself, as only it knows which records were refused.
        let config = self.config.to_builder().retry_config(RetryConfig::disabled()).build();
        FirehoseStream::new(aws_sdk_firehose::Client::new(&config), name, give_up_after, self.random.clone())
    }

    /// Returns a table of recent ids, for [`FirehoseStream::remembering`]. It goes by DynamoDB's clock, read from its
    /// answers, and not by the machine's.
    #[must_use]
    pub fn recent_ids(&self, table: &str) -> RecentIds {
        let clock = ServiceClock::new(self.clock.clone());
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config).interceptor(clock.clone()).build();
        RecentIds::new(aws_sdk_dynamodb::Client::from_conf(config), table, clock, self.random.clone())
    }

    /// Returns a table of counts. A hot counter is spread over `shards` items: 1,000 writes a second each. The number may
    /// grow and must never shrink, as counts in shards that are no longer read are lost.
    #[must_use]
    pub fn counts(&self, table: &str, shards: NonZeroU16) -> DynamoCounts {
        DynamoCounts::new(&self.config, table, shards, self.random.clone(), self.clock.clone())
    }

    /// Returns the collector's ports, and the retries of its stream, which gives up storing after `give_up_after`.
    #[must_use]
    pub fn ports(&self, names: &Names, give_up_after: Duration) -> (Ports, Retries) {
        let of_lake = S3Calls::new(&self.config, &names.lake);
        let forgotten: Arc<dyn Forgotten> = Arc::new(S3Forgotten::new(of_lake, self.clock.clone()));
        let ids = self.recent_ids(&names.recent_ids).without(forgotten.clone());
        let stream = self.stream(&names.stream, give_up_after).remembering(ids.clone());
        let retries = stream.retries();
        let counts = Arc::new(self.counts(&names.counts, names.shards));
        let newest = Arc::new(S3Newest::new(
            &self.config,
            &names.lake,
            names.bucket_per_user,
            counts.clone(),
            self.clock.clone(),
        ));
        let raw = S3Calls::new(&self.config, &names.raw);
        let receipts = S3Receipts::new(raw, newest.clone(), ids, forgotten);
        let ports = Ports {
            stream: Arc::new(stream),
            live: counts.clone(),
            minutes: newest.clone(),
            settled: counts.clone(),
            rejected: counts,
            newest: newest.clone(),
            follow: newest,
            receipts: Arc::new(receipts),
            answers: Arc::new(self.answers(&names.lake)),
            latest: Arc::new(self.latest(&names.latest, &names.lake)),
            health: Arc::new(self.health(&names.stream, &names.counts)),
        };
        (ports, retries)
    }

    /// Returns a table of latest values. The events of large ones are in objects of `bucket`.
    #[must_use]
    pub fn latest(&self, table: &str, bucket: &str) -> DynamoLatest {
        DynamoLatest::new(&self.config, table, bucket, self.random.clone())
    }

    /// Returns the same table and bucket, as retention removes old values.
    #[must_use]
    pub fn old_latest(&self, table: &str, bucket: &str) -> OldLatestValues {
        OldLatestValues::new(aws_sdk_dynamodb::Client::new(&self.config), table, self.s3(), bucket)
    }

    /// Returns the answers that are published in a bucket.
    #[must_use]
    pub fn answers(&self, bucket: &str) -> S3Answers {
        S3Answers::new(&self.config, bucket)
    }

    /// Returns the answers of a bucket, to publish there.
    #[must_use]
    pub fn answers_admin(&self, bucket: &str) -> S3AnswersAdmin {
        S3AnswersAdmin::new(self.answers(bucket), self.s3(), bucket)
    }

    /// Returns Athena: a workgroup, and the database that queries see.
    #[cfg(feature = "athena")]
    #[must_use]
    pub fn athena(&self, workgroup: &str, database: &str) -> athena::Athena {
        athena::Athena::new(&self.config, workgroup, database)
    }

    /// Returns the workgroup for queries of clients. The table of recent ids has the places of each user's queries; the bucket has the
    /// answers.
    #[must_use]
    pub fn client_queries(&self, workgroup: &str, names: &Names) -> queries::ClientQueries {
        let names = [workgroup, &names.recent_ids, &names.raw];
        queries::ClientQueries::new(&self.config, names, self.random.clone(), self.clock.clone())
    }

    /// Returns a table of users.
    #[must_use]
    pub fn users(&self, table: &str) -> DynamoUsers {
        DynamoUsers::new(aws_sdk_dynamodb::Client::new(&self.config), table, self.random.clone())
    }

    /// Returns the bucket that the stream delivers into.
    #[must_use]
    pub fn raw(&self, bucket: &str) -> S3Raw {
        S3Raw::new(self.s3(), bucket)
    }

    /// Returns the bucket of the lake; with `bucket_per_user`, partitions go into `<username>-raw-events` instead, if that
    /// bucket exists.
    #[must_use]
    pub fn lake(&self, bucket: &str, bucket_per_user: bool) -> S3Lake {
        S3Lake::new(self.s3(), bucket, bucket_per_user, self.clock.clone())
    }

    /// Returns the sealed days of the lake in a bucket.
    #[must_use]
    pub fn sealed_days(&self, bucket: &str) -> S3SealedDays {
        S3SealedDays::new(self.s3(), bucket)
    }

    /// Returns what was forgotten, for the fan-out. It is in the lake's bucket.
    #[must_use]
    pub fn forgotten(&self, lake: &str) -> impl Forgotten + use<> {
        S3Forgotten::new(self.files(lake), self.clock.clone())
    }

    /// Returns what was forgotten, to add to it.
    #[must_use]
    pub fn forgotten_admin(&self, lake: &str) -> ForgottenAdmin {
        ForgottenAdmin::new(self.files(lake), self.sealed_days(lake), self.random.clone())
    }

    /// Returns the objects below a prefix of a bucket.
    #[must_use]
    pub fn objects_below(&self, bucket: &str, prefix: &str) -> S3Batches {
        S3Batches::below(self.s3(), bucket, prefix)
    }

    /// Returns the files of tools in a bucket.
    #[must_use]
    pub fn files(&self, bucket: &str) -> S3Files {
        S3Files::new(self.s3(), bucket)
    }

    /// Returns the bucket for batches that cannot be filed.
    #[must_use]
    pub fn quarantine(&self, bucket: &str) -> S3Quarantine {
        S3Quarantine::new(self.s3(), bucket)
    }

    /// Returns the batches of a bucket and what is in quarantine there, as retention takes lines out of them.
    #[must_use]
    pub fn batches(&self, bucket: &str) -> [S3Batches; 2] {
        [S3Batches::raw(self.s3(), bucket), S3Batches::quarantine(self.s3(), bucket)]
    }

    /// Returns the health check of a stream and a table of counts.
    #[must_use]
    pub fn health(&self, stream: &str, counts_table: &str) -> AwsHealth {
        let firehose = aws_sdk_firehose::Client::new(&self.config);
        AwsHealth::new(firehose, stream, aws_sdk_dynamodb::Client::new(&self.config), counts_table)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        // Objects are large at times: a transfer is bounded by its progress, not by its duration.
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).build();
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .timeout_config(timeouts)
            // An endpoint other than S3's own has no host name for each bucket.
            .force_path_style(self.config.endpoint_url().is_some())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }
}

fn https() -> SharedHttpClient {
    // ring: aws-lc gathers entropy at its start, which costs a cold start tens of milliseconds.
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build()
}
