//! [`Raw`], [`Lake`] and [`Quarantine`] on S3.

mod batches;
mod days;
mod files;
mod removal;
pub(crate) mod upload;
pub(crate) mod versions;

use std::{io, sync::Arc};

use async_trait::async_trait;
use aws_sdk_s3::{Client, operation::get_object::GetObjectError, primitives::ByteStream};
use futures_util::stream;
use weir_core::{
    BatchId, BatchKey, Clock, Day, Format, Partition, Username,
    ports::{Content, Lake, LakeObjects, PortError, Quarantine, QuarantineObjects, Raw, RawObjects},
    sealing,
};

use crate::{errors::port_error, sealed::S3SealedDays};

pub use batches::{S3Batches, StoredBatch};
pub use days::UsersAndTypes;
pub use files::{Put, S3Files};

/// The prefix under which the stream puts batches. An object elsewhere is no batch.
pub const RAW_PREFIX: &str = "raw/";

/// The prefix, in the raw bucket, of batches that could not be filed: outside [`RAW_PREFIX`], whose objects start the
/// fan-out.
pub const QUARANTINE_PREFIX: &str = "quarantine/";

/// On AWS a day is sealed this long after its end at the earliest, in milliseconds: two days.
pub const SEALED_AFTER_MILLIS: u64 = 48 * 3_600_000;

/// An object of a day that ended less than this ago is put without a check which days are sealed. The difference to
/// [`SEALED_AFTER_MILLIS`] is a margin for clocks that differ, and for slow puts.
const SURELY_NOT_SEALED_MILLIS: u64 = SEALED_AFTER_MILLIS / 2;

/// The bucket of batches.
#[derive(Clone)]
pub struct S3Raw {
    client: Client,
    bucket: String,
}

/// The bucket, or buckets, of the lake.
#[derive(Clone)]
pub struct S3Lake {
    client: Client,
    bucket: String,
    per_user: bool,
    sealed: S3SealedDays,
    clock: Arc<dyn Clock>,
}

/// The bucket for batches that cannot be filed.
#[derive(Clone)]
pub struct S3Quarantine {
    client: Client,
    bucket: String,
}

impl S3Raw {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }
}

impl S3Quarantine {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }
}

impl S3Lake {
    pub(crate) fn new(client: Client, bucket: &str, per_user: bool, clock: Arc<dyn Clock>) -> Self {
        let sealed = S3SealedDays::new(client.clone(), bucket);
        Self { client, bucket: bucket.to_owned(), per_user, sealed, clock }
    }

    /// Returns whether a day may be sealed, or being sealed. Only days of the shared bucket are.
    fn may_be_sealed(&self, day: Day) -> bool {
        let now = self.clock.now().millis();
        !self.per_user && day.next().first_hour().start().millis() + SURELY_NOT_SEALED_MILLIS <= now
    }

    /// Returns the name of the user's own bucket, if buckets are per user.
    fn own_bucket(&self, username: &Username) -> Option<String> {
        self.per_user.then(|| format!("{username}-raw-events"))
    }

    /// Opens an object in the user's own bucket, if there is one, or in the shared bucket.
    async fn open_of(&self, username: Option<&Username>, key: &str) -> Result<Content, PortError> {
        if let Some(own) = username.and_then(|username| self.own_bucket(username)) {
            match open(&self.client, &own, key).await {
                Err(PortError::NotFound { .. }) => {}
                other => return other,
            }
        }
        open(&self.client, &self.bucket, key).await
    }
}

#[async_trait]
impl Raw for S3Raw {
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError> {
        open(&self.client, &self.bucket, batch.as_str()).await
    }
}

#[async_trait]
impl RawObjects for S3Raw {
    async fn list(&self, after: Option<&BatchKey>, limit: usize) -> Result<Vec<BatchKey>, PortError> {
        let keys = list(&self.client, &self.bucket, RAW_PREFIX, after.map(BatchKey::as_str), limit).await?;
        Ok(keys.into_iter().map(BatchKey::new).collect())
    }
}

#[async_trait]
impl Lake for S3Lake {
    async fn put(
        &self,
        partition: &Partition,
        batch: &BatchId,
        length: u64,
        content: Content,
    ) -> Result<(), PortError> {
        let own = self.own_bucket(&partition.username);
        let buckets: Vec<&str> = own.as_deref().into_iter().chain([self.bucket.as_str()]).collect();
        let path = partition.object(batch);
        let putting = upload::put(&self.client, &buckets, &path, length, content, None);
        if self.may_be_sealed(Day::of(partition.hour)) {
            return Box::pin(sealing::put(&self.sealed, &path, putting)).await;
        }
        putting.await
    }
}

#[async_trait]
impl LakeObjects for S3Lake {
    /// Lists the shared bucket only.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, PortError> {
        list(&self.client, &self.bucket, Partition::PREFIX, after, limit).await
    }
    /// Lists the user's own bucket and the shared one.
    async fn list_of(
        &self,
        username: &Username,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        let prefix = format!("{}/", Partition::folder_of_user(username));
        let mut keys = list(&self.client, &self.bucket, &prefix, after, limit).await?;
        if let Some(own) = self.own_bucket(username) {
            match list(&self.client, &own, &prefix, after, limit).await {
                Ok(more) => keys.extend(more),
                // This user has no bucket of their own.
                Err(PortError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            keys.sort_unstable();
            // A batch that was filed before the bucket was made, and again after it, is in both.
            keys.dedup();
            keys.truncate(limit);
        }
        Ok(keys)
    }

    async fn open_path(&self, path: &str) -> Result<Content, PortError> {
        self.open_of(Partition::user_of(path).as_ref(), path).await
    }
}

#[async_trait]
impl Quarantine for S3Quarantine {
    async fn put(&self, batch: &BatchId, length: u64, content: Content) -> Result<(), PortError> {
        upload::put(&self.client, &[&self.bucket], &quarantine_key(batch), length, content, None).await
    }
}

#[async_trait]
impl QuarantineObjects for S3Quarantine {
    async fn open(&self, batch: &BatchId) -> Result<Content, PortError> {
        open(&self.client, &self.bucket, &quarantine_key(batch)).await
    }
}

fn quarantine_key(batch: &BatchId) -> String {
    format!("{QUARANTINE_PREFIX}{}", Format::default().file(batch))
}

async fn open(client: &Client, bucket: &str, key: &str) -> Result<Content, PortError> {
    match client.get_object().bucket(bucket).key(key).send().await {
        Ok(object) => Ok(pieces(object.body)),
        Err(error) => {
            let missing = match error.as_service_error() {
                Some(GetObjectError::NoSuchKey(_)) => true,
                Some(other) => other.meta().code() == Some("NoSuchBucket"),
                None => false,
            };
            if missing {
                return Err(PortError::NotFound { what: format!("s3://{bucket}/{key}") });
            }
            Err(port_error("opening an object", &error))
        }
    }
}

fn pieces(body: ByteStream) -> Content {
    Box::pin(stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.next().await? {
            Ok(piece) => Some((Ok(piece), Some(body))),
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    }))
}

async fn list(
    client: &Client,
    bucket: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, PortError> {
    // S3 returns at most 1,000 keys a call.
    let mut keys: Vec<String> = Vec::new();
    let mut after = after.map(str::to_owned);
    while keys.len() < limit {
        let wanted = i32::try_from((limit - keys.len()).min(1000)).unwrap_or(1000);
        let page = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .max_keys(wanted)
            .set_start_after(after.clone());
        let page = page.send().await.map_err(|error| {
            let missing =
                error.as_service_error().is_some_and(|said| said.meta().code() == Some("NoSuchBucket"));
            if missing {
                return PortError::NotFound { what: format!("the bucket {bucket}") };
            }
            port_error("listing objects", &error)
        })?;
        let before = keys.len();
        keys.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
        after = keys.last().cloned().or(after);
        if keys.len() == before || page.is_truncated() != Some(true) {
            break;
        }
    }
    Ok(keys)
}
