//! The engine on AWS, configured by the environment: the stack's outputs print these variables. `cached_grants` clears API
//! Gateway's cache; `executions` runs the stack's state machine; `signed` calls services without an SDK client.

mod cached_grants;
mod executions;
mod signed;

use std::{collections::BTreeMap, env, num::NonZeroU16, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use seal::{Forget, Places, Seal};
use weir_aws::{
    Aws, Batching, Calls, DynamoCounts, DynamoLatest, DynamoUsers, Names, S3AnswersAdmin, S3Files, S3Lake,
    S3Quarantine, S3Raw, S3SealedDays, athena::Athena,
};
use weir_core::{
    Catalog, Clock, InstallationSecret, Random,
    ports::{Forgotten, Ports},
};

pub(crate) use cached_grants::CachedGrants;
pub(crate) use executions::{Execution, Executions};

/// How long storing events is retried before the client is asked to retry.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);

/// The stores for serving. Concurrent requests share calls.
pub(crate) struct Serving {
    pub(crate) ports: Ports,
    pub(crate) stats: EngineStats,
    pub(crate) users: DynamoUsers,
}

/// The requests to the engine, and the calls to AWS that it made for them.
pub(crate) struct EngineStats {
    batching: Batching,
    calls: Calls,
}

/// Returns the stores for serving, whose requests gather for `gathering` at the most.
pub(crate) async fn serving(gathering: Duration) -> Result<Serving> {
    let names = Names {
        stream: name("WEIR_STREAM")?,
        recent_ids: name("WEIR_IDS_TABLE")?,
        counts: name("WEIR_COUNTS_TABLE")?,
        shards: shards()?,
        latest: name("WEIR_LATEST_TABLE")?,
        raw: name("WEIR_RAW_BUCKET")?,
        lake: name("WEIR_LAKE_BUCKET")?,
        bucket_per_user: env::var("WEIR_BUCKET_PER_USER").is_ok_and(|value| value == "true"),
    };
    let users = name("WEIR_USERS_TABLE")?;
    let (aws, calls) = Aws::from_env().await.counted();
    let (ports, _) = aws.ports(&names, GIVE_UP_AFTER);
    let batching = Batching::default().gathering_for(gathering);
    let ports = batching.ports(ports);
    Ok(Serving { ports, stats: EngineStats { batching, calls }, users: aws.users(&users) })
}

impl EngineStats {
    /// Returns each kind of operation with the requests and the shared calls since the last time.
    pub(crate) fn take_shared(&self) -> [(&'static str, u64, u64); 3] {
        let stats = self.batching.take_stats();
        [("read", stats.reads), ("increment", stats.increments), ("append", stats.appends)]
            .map(|(kind, batched)| (kind, batched.requests, batched.calls))
    }

    /// Returns the calls of AWS since the last time, by operation.
    pub(crate) fn take_calls(&self) -> BTreeMap<String, u64> {
        self.calls.take()
    }
}

/// Returns the secret of the installation, for types whose values are hashed.
pub(crate) fn secret() -> Result<InstallationSecret> {
    let secret = name("WEIR_SECRET")?;
    secret.parse().context("the environment variable WEIR_SECRET is not valid")
}

pub(crate) async fn users() -> Result<DynamoUsers> {
    let table = name("WEIR_USERS_TABLE")?;
    Ok(Aws::from_env().await.users(&table))
}

/// Returns the counts.
pub(crate) async fn counts() -> Result<DynamoCounts> {
    let table = name("WEIR_COUNTS_TABLE")?;
    Ok(Aws::from_env().await.counts(&table, shards()?))
}

/// Returns the latest values.
pub(crate) async fn latest() -> Result<DynamoLatest> {
    let (table, bucket) = (name("WEIR_LATEST_TABLE")?, name("WEIR_LAKE_BUCKET")?);
    Ok(Aws::from_env().await.latest(&table, &bucket))
}

/// Returns the answers, to publish there.
pub(crate) async fn answers() -> Result<S3AnswersAdmin> {
    let bucket = name("WEIR_LAKE_BUCKET")?;
    Ok(Aws::from_env().await.answers_admin(&bucket))
}

/// Returns whether the stack has a CDN, which reads pages of public answers.
pub(crate) fn has_cdn() -> Result<bool> {
    truth("WEIR_CDN")
}

/// Returns the name of the database of Athena's tables.
pub(crate) fn database() -> Result<String> {
    name("WEIR_GLUE_DATABASE")
}

/// Returns the batches.
pub(crate) async fn raw() -> Result<S3Raw> {
    let bucket = name("WEIR_RAW_BUCKET")?;
    Ok(Aws::from_env().await.raw(&bucket))
}

/// Returns the stores for filing: raw, lake, quarantine, counts.
pub(crate) async fn filing() -> Result<(S3Raw, S3Lake, S3Quarantine, DynamoCounts)> {
    let (raw, lake, counts) =
        (name("WEIR_RAW_BUCKET")?, name("WEIR_LAKE_BUCKET")?, name("WEIR_COUNTS_TABLE")?);
    let per_user = truth("WEIR_BUCKET_PER_USER")?;
    let aws = Aws::from_env().await;
    Ok((aws.raw(&raw), aws.lake(&lake, per_user), aws.quarantine(&raw), aws.counts(&counts, shards()?)))
}

/// Returns what was forgotten.
pub(crate) async fn forgotten() -> Result<Arc<dyn Forgotten>> {
    let lake = name("WEIR_LAKE_BUCKET")?;
    Ok(Arc::new(Aws::from_env().await.forgotten(&lake)))
}

/// Returns what forgets events. `catalogs` are the same, for it and for sealing days again.
pub(crate) async fn forget(
    catalogs: [Catalog; 2],
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Forget> {
    let places = Places {
        raw: name("WEIR_RAW_BUCKET")?,
        lake: name("WEIR_LAKE_BUCKET")?,
        bucket_per_user: truth("WEIR_BUCKET_PER_USER")?,
        counts: (name("WEIR_COUNTS_TABLE")?, shards()?),
        recent_ids: name("WEIR_IDS_TABLE")?,
        latest: name("WEIR_LATEST_TABLE")?,
    };
    let aws = Aws::from_env().await;
    let [catalog, of_sealing] = catalogs;
    let forget = Forget::new(&aws, &places, catalog, clock.clone(), random.clone());
    if places.bucket_per_user {
        return Ok(forget);
    }
    let names = seal::Names {
        lake: places.lake,
        raw: places.raw,
        counts: places.counts.0,
        latest: places.latest,
        workgroup: name("WEIR_WORKGROUP")?,
        database: database()?,
    };
    Ok(forget.sealing(Seal::new(&aws, &names, of_sealing, clock, random)))
}

/// Returns the sealed days of the lake; `None` where users have buckets of their own, as no days are sealed there.
pub(crate) async fn sealed_days() -> Result<Option<S3SealedDays>> {
    let bucket = name("WEIR_LAKE_BUCKET")?;
    if truth("WEIR_BUCKET_PER_USER")? {
        return Ok(None);
    }
    Ok(Some(Aws::from_env().await.sealed_days(&bucket)))
}

/// Returns Athena, with the stack's workgroup and database.
pub(crate) async fn athena() -> Result<Athena> {
    let (workgroup, database) = (name("WEIR_WORKGROUP")?, database()?);
    Ok(Aws::from_env().await.athena(&workgroup, &database))
}

/// Where functions are mapped over objects.
pub(crate) struct Mapping {
    /// The files of functions and runs.
    pub(crate) files: S3Files,
    pub(crate) executions: Executions,
    pub(crate) lake: S3Lake,
    pub(crate) lake_bucket: String,
    pub(crate) raw_bucket: String,
}

pub(crate) async fn mapping() -> Result<Mapping> {
    let (machine, raw, lake_bucket) =
        (name("WEIR_MAP_MACHINE")?, name("WEIR_RAW_BUCKET")?, name("WEIR_LAKE_BUCKET")?);
    if truth("WEIR_BUCKET_PER_USER")? {
        bail!("functions are mapped over the stack's own lake: with BucketPerUser, use Athena");
    }
    let aws = Aws::from_env().await;
    let (files, lake) = (aws.files(&raw), aws.lake(&lake_bucket, false));
    Ok(Mapping { files, executions: Executions::new(aws, machine), lake, lake_bucket, raw_bucket: raw })
}

fn name(variable: &str) -> Result<String> {
    env::var(variable).ok().filter(|value| !value.is_empty()).with_context(|| {
        format!("the engine on AWS needs the variable {variable}: the stack's output Environment has it")
    })
}

fn truth(variable: &str) -> Result<bool> {
    match env::var(variable).as_deref() {
        Err(_) | Ok("" | "false") => Ok(false),
        Ok("true") => Ok(true),
        Ok(other) => bail!("{variable} is true or false, not {other:?}"),
    }
}

fn shards() -> Result<NonZeroU16> {
    match env::var("WEIR_COUNTER_SHARDS") {
        Err(_) => Ok(NonZeroU16::MIN),
        Ok(text) => {
            text.parse().with_context(|| format!("WEIR_COUNTER_SHARDS is a number from 1, not {text:?}"))
        }
    }
}
