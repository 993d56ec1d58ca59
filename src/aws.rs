//! The engine on AWS, configured by the environment: the stack's outputs print these variables.

use std::{env, num::NonZeroU16, time::Duration};

use anyhow::{Context, Result, bail};
use weir_aws::{Aws, DynamoCounts, DynamoUsers, Names, S3Lake, S3Quarantine, S3Raw};
use weir_core::ports::Ports;

use crate::query::athena::Athena;

/// How long storing events is retried before the client is asked to retry.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);

/// The stores for serving.
pub(crate) struct Serving {
    pub(crate) ports: Ports,
    pub(crate) users: DynamoUsers,
}

pub(crate) async fn serving() -> Result<Serving> {
    let names = Names {
        stream: name("WEIR_STREAM")?,
        recent_ids: name("WEIR_IDS_TABLE")?,
        counts: name("WEIR_COUNTS_TABLE")?,
        shards: shards()?,
    };
    let users = name("WEIR_USERS_TABLE")?;
    let aws = Aws::from_env().await;
    let (ports, _) = aws.ports(&names, GIVE_UP_AFTER);
    Ok(Serving { ports, users: aws.users(&users) })
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

/// Returns the batches.
pub(crate) async fn raw() -> Result<S3Raw> {
    let bucket = name("WEIR_RAW_BUCKET")?;
    Ok(Aws::from_env().await.raw(&bucket))
}

/// Returns the stores for filing: raw, lake, quarantine, counts.
pub(crate) async fn filing() -> Result<(S3Raw, S3Lake, S3Quarantine, DynamoCounts)> {
    let (raw, lake, counts) =
        (name("WEIR_RAW_BUCKET")?, name("WEIR_LAKE_BUCKET")?, name("WEIR_COUNTS_TABLE")?);
    let per_user = match env::var("WEIR_BUCKET_PER_USER").as_deref() {
        Err(_) | Ok("" | "false") => false,
        Ok("true") => true,
        Ok(other) => bail!("WEIR_BUCKET_PER_USER is true or false, not {other:?}"),
    };
    let aws = Aws::from_env().await;
    Ok((aws.raw(&raw), aws.lake(&lake, per_user), aws.quarantine(&raw), aws.counts(&counts, shards()?)))
}

/// Returns the workgroup and the database of the tables for queries.
pub(crate) async fn athena() -> Result<Athena> {
    let (workgroup, database) = (name("WEIR_WORKGROUP")?, name("WEIR_GLUE_DATABASE")?);
    Ok(Athena::new(&Aws::from_env().await, workgroup, database))
}

fn name(variable: &str) -> Result<String> {
    env::var(variable).ok().filter(|value| !value.is_empty()).with_context(|| {
        format!("the engine on AWS needs the variable {variable}: the stack's output Environment has it")
    })
}

fn shards() -> Result<NonZeroU16> {
    match env::var("WEIR_COUNTER_SHARDS") {
        Err(_) => Ok(NonZeroU16::MIN),
        Ok(text) => {
            text.parse().with_context(|| format!("WEIR_COUNTER_SHARDS is a number from 1, not {text:?}"))
        }
    }
}
