//! A lake on a local AWS with versions of objects, as the template has it, and an Athena over it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "it is for tests, each of which uses its part"
)]

use std::{io::Write, sync::Arc, time::Duration};

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use fan_out::{FanOut, Filed};
use flate2::{Compression, write::GzEncoder};
use seal::{Kept, Names, RunError, RunSummary, Seal};
use serde_json::json;
use tokio::time::Instant;
use weir_aws::{Aws, S3SealedDays, athena::Athena};
use weir_core::{
    BatchKey, Catalog, Clock, Day, ManualClock, SystemClock, SystemRandom,
    sealing::{Manifest, SealedDays},
};

use crate::{
    athena::StandIn,
    emulator::{COUNTS, Emulator, LAKE, LATEST, RAW, shards},
};

/// The time that a run has: that of a function on Lambda.
pub const LEFT: Duration = Duration::from_mins(15);

/// The longest time for which the turn of a run that died lasts.
pub const TURN_MILLIS: u64 = 17 * 60_000;

pub const DAY_MILLIS: u64 = 24 * 3_600_000;

/// A lake on a local AWS, and an Athena over it.
pub struct Weir {
    pub emulator: Emulator,
    athena: StandIn,
    pub clock: Arc<ManualClock>,
    pub batches: u64,
    pub kept: Kept,
    /// The types of the catalog that runs know: file and text.
    pub types: Vec<(&'static str, String)>,
}

/// An event of a click.
#[derive(Clone)]
pub struct Click {
    pub user: &'static str,
    pub id: &'static str,
    /// The number of days since it happened, and the hour of that day.
    pub days_ago: u64,
    pub hour: u64,
    pub button: &'static str,
}

pub const fn click(
    user: &'static str,
    id: &'static str,
    days_ago: u64,
    hour: u64,
    button: &'static str,
) -> Click {
    Click { user, id, days_ago, hour, button }
}

impl Weir {
    pub async fn start() -> Self {
        let emulator = Emulator::start().await;
        let endpoint = emulator.config(None).endpoint_url().unwrap().to_owned();
        let athena = tokio::task::spawn_blocking(move || StandIn::start(&endpoint, LAKE)).await.unwrap();
        for bucket in [RAW, LAKE] {
            let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let call = emulator.s3().put_bucket_versioning().bucket(bucket);
            call.versioning_configuration(versions).send().await.unwrap();
        }
        // At noon, so that some hours later is the same day.
        let noon = Day::of(SystemClock.now().hour()).first_hour().plus(12).start();
        let clock = Arc::new(ManualClock::at(noon));
        Self { emulator, athena, clock, batches: 0, kept: Kept::default(), types: types() }
    }

    pub fn today(&self) -> Day {
        Day::of(self.clock.now().hour())
    }

    pub fn aws(&self, client: Option<SharedHttpClient>) -> Aws {
        let is_dying = client.is_some();
        let mut config = self.emulator.config(client);
        if is_dying {
            let once = aws_config::retry::RetryConfig::disabled();
            config = config.to_builder().retry_config(once).build();
        }
        Aws::new(config, Arc::new(SystemRandom), self.clock.clone())
    }

    fn athena(&self, client: Option<SharedHttpClient>) -> Athena {
        let config = self.aws(client).config().to_builder().endpoint_url(&self.athena.endpoint).build();
        Aws::new(config, Arc::new(SystemRandom), self.clock.clone()).athena("weir", "weir")
    }

    pub fn seal_of(&self, client: Option<SharedHttpClient>, catalog: Catalog) -> Seal {
        let names = Names {
            lake: LAKE.to_owned(),
            raw: RAW.to_owned(),
            latest: LATEST.to_owned(),
            counts: COUNTS.to_owned(),
            workgroup: "weir".to_owned(),
            database: "weir".to_owned(),
        };
        let clock: Arc<dyn Clock> = self.clock.clone();
        let seal = Seal::new(&self.aws(client.clone()), &names, catalog, clock, Arc::new(SystemRandom));
        seal.keeping(self.kept).asking(self.athena(client))
    }

    pub async fn run(&self) -> Result<Option<RunSummary>, RunError> {
        self.seal_of(None, catalog_of(&self.types)).run(LEFT).await
    }

    pub fn days(&self) -> S3SealedDays {
        self.emulator.aws().sealed_days(LAKE)
    }

    pub async fn manifest(&self) -> Manifest {
        self.days().manifest().await.unwrap()
    }

    /// Files a batch of clicks and of other lines.
    pub async fn file(&mut self, clicks: &[Click], others: &[String]) {
        self.batches += 1;
        let lines = clicks.iter().map(|click| self.line(click)).chain(others.iter().cloned());
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let key = self.key();
        let put = self.emulator.s3().put_object().bucket(RAW).key(key.as_str());
        put.body(gzip.finish().unwrap().into()).send().await.unwrap();
        let bad = others.iter().filter(|line| !line.starts_with('{')).count() as u64;
        assert_eq!(self.file_again(&key).await.quarantined_lines, bad);
    }

    /// The key of the last batch.
    pub fn key(&self) -> BatchKey {
        BatchKey::new(format!("raw/2026/11/20/12/weir-{}.json.gz", self.batches))
    }

    /// Files a batch of raw.
    pub async fn file_again(&self, key: &BatchKey) -> Filed {
        let aws = self.aws(None);
        let fan_out = FanOut::new(
            Arc::new(aws.raw(RAW)),
            Arc::new(aws.lake(LAKE, false)),
            Arc::new(aws.quarantine(RAW)),
            Arc::new(aws.counts(COUNTS, shards(1))),
        );
        fan_out.file(key).await.unwrap()
    }

    pub fn line(&self, click: &Click) -> String {
        let Click { user, id, days_ago, hour, button } = *click;
        let time = self.time(days_ago, hour);
        json!({
            "username": user, "event_type": "button_click", "event_id": id, "received_at": time + self.batches,
            "time": time, "occurred_at": time, "session_id": "s\"1'", "button_id": button, "more": {"a": [1, "ü"]},
        })
        .to_string()
    }

    pub fn time(&self, days_ago: u64, hour: u64) -> u64 {
        self.today().minus(days_ago).first_hour().plus(hour).start().millis() + 7
    }

    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.athena(None).rows_until(sql, Instant::now() + LEFT).await.unwrap();
        let text = |row: Vec<Option<String>>| {
            row.into_iter().map(|cell| cell.unwrap_or("-".to_owned())).collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(text).collect()
    }

    /// The clicks that Athena's view has, of both users.
    pub async fn seen(&self) -> Vec<String> {
        self.rows(
            "SELECT username, event_id, \"hour\", button_id, session_id FROM weir_button_click WHERE username IN \
             ('ann', 'bob') ORDER BY username, event_id",
        )
        .await
    }
}

pub fn as_seen(clicks: &[Click]) -> Vec<String> {
    let row = |click: &Click| format!("{} {} {} {} s\"1'", click.user, click.id, click.hour, click.button);
    let mut rows: Vec<String> = clicks.iter().map(row).collect();
    rows.sort();
    rows
}

/// Two types of the built-in catalog: a view is made for each.
fn types() -> Vec<(&'static str, String)> {
    vec![("button_click.json", file("button_click")), ("page_view.json", file("page_view"))]
}

pub fn catalog() -> Catalog {
    catalog_of(&types())
}

fn catalog_of(types: &[(&str, String)]) -> Catalog {
    Catalog::read(types.iter().map(|(name, text)| (*name, text.as_str()))).unwrap()
}

pub fn file(name: &str) -> String {
    let path = format!("{}/../../catalog/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

pub const CLICKS: [Click; 6] = [
    click("ann", "a1", 4, 0, "buy"),
    click("ann", "a2", 4, 23, "sell"),
    click("bob", "b1", 4, 9, "buy"),
    click("ann", "a3", 3, 5, "buy"),
    click("bob", "b2", 1, 11, "sell"),
    click("bob", "b3", 0, 0, "buy"),
];
