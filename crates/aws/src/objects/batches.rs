//! Batches in raw and objects of quarantine, as retention takes lines out of them: with all their versions.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use weir_core::{
    Timestamp,
    ports::{Content, PortError},
};

use super::{
    QUARANTINE_PREFIX, RAW_PREFIX, pieces, upload,
    versions::{Versions, remove_all, versions},
};
use crate::errors::{malformed, port_error};

const OPENING: &str = "opening a batch";

/// The objects below a prefix of the raw bucket.
#[derive(Clone)]
pub struct S3Batches {
    client: Client,
    bucket: String,
    prefix: &'static str,
}

/// An object with all its versions, as it was listed.
#[derive(Debug, Clone)]
pub struct StoredBatch {
    /// Its key.
    pub key: String,
    versions: Versions,
}

impl StoredBatch {
    /// Returns when it was put; `None` if it was removed, and only earlier versions are left.
    #[must_use]
    pub fn put_at(&self) -> Option<Timestamp> {
        self.versions.current.as_ref().map(|current| current.put_at)
    }
}

impl S3Batches {
    pub(crate) fn raw(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned(), prefix: RAW_PREFIX }
    }

    pub(crate) fn quarantine(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned(), prefix: QUARANTINE_PREFIX }
    }

    /// Lists the objects whose keys are wanted, those included of which only earlier versions are left.
    pub async fn stored(
        &self,
        is_wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vec<StoredBatch>, PortError> {
        let found = versions(&self.client, &self.bucket, self.prefix, is_wanted).await?;
        Ok(found.into_iter().map(|(key, versions)| StoredBatch { key, versions }).collect())
    }

    /// Opens the version that was listed. Fails if another one took its place meanwhile.
    pub async fn open(&self, batch: &StoredBatch) -> Result<Content, PortError> {
        let opening = self.client.get_object().bucket(&self.bucket).key(&batch.key).if_match(tag(batch)?);
        let opened = opening.send().await.map_err(|error| port_error(OPENING, &error))?;
        Ok(pieces(opened.body))
    }

    /// Replaces an object, and removes the versions that were listed. Fails if another one took its place meanwhile.
    pub async fn replace(&self, batch: &StoredBatch, length: u64, content: Content) -> Result<(), PortError> {
        let (bucket, tag) = (self.bucket.as_str(), tag(batch)?);
        upload::put(&self.client, &[bucket], &batch.key, length, content, Some(tag)).await?;
        // Listed again: a bucket without versions has no other one than the new one.
        let found = versions(&self.client, bucket, &batch.key, &|key| key == batch.key).await?;
        for versions in found.into_values() {
            self.remove_earlier(&StoredBatch { key: batch.key.clone(), versions }).await?;
        }
        Ok(())
    }

    /// Removes the earlier versions of an object.
    pub async fn remove_earlier(&self, batch: &StoredBatch) -> Result<(), PortError> {
        let earlier = Versions { current: None, earlier: batch.versions.earlier.clone() };
        remove_all(&self.client, &self.bucket, BTreeMap::from([(batch.key.clone(), earlier)])).await
    }

    /// Removes all versions that were listed.
    pub async fn remove(&self, batch: &StoredBatch) -> Result<(), PortError> {
        let all = BTreeMap::from([(batch.key.clone(), batch.versions.clone())]);
        remove_all(&self.client, &self.bucket, all).await
    }
}

fn tag(batch: &StoredBatch) -> Result<&str, PortError> {
    let current = batch.versions.current.as_ref();
    let current = current.ok_or_else(|| PortError::NotFound { what: batch.key.clone() })?;
    current.tag.as_deref().ok_or_else(|| malformed(OPENING, "an object without a tag"))
}
