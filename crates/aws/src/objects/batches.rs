//! Batches in raw, objects of quarantine and others, as retention and forgetting take lines out of them: with all their versions.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use weir_core::{
    Timestamp,
    ports::{Content, PortError},
};

use super::{
    QUARANTINE_PREFIX, RAW_PREFIX, list, pieces, upload,
    versions::{Versions, remove_all, versions},
};
use crate::errors::{malformed, port_error};

const OPENING: &str = "opening a batch";

/// The objects below a prefix of a bucket.
#[derive(Clone)]
pub struct S3Batches {
    client: Client,
    bucket: String,
    prefix: String,
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

    /// Returns the version that is read, by its id and the tag of its content; `None` if the object was removed.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        let current = self.versions.current.as_ref()?;
        Some(format!("{} {}", current.id, current.tag.as_deref().unwrap_or_default()))
    }

    /// Returns the ids of the earlier versions, without the markers of removals.
    #[must_use]
    pub fn earlier(&self) -> &[String] {
        &self.versions.earlier
    }
}

impl S3Batches {
    pub(crate) fn raw(client: Client, bucket: &str) -> Self {
        Self::below(client, bucket, RAW_PREFIX)
    }

    pub(crate) fn quarantine(client: Client, bucket: &str) -> Self {
        Self::below(client, bucket, QUARANTINE_PREFIX)
    }

    pub(crate) fn below(client: Client, bucket: &str, prefix: &str) -> Self {
        Self { client, bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    /// Lists the objects whose keys are wanted, those included of which only earlier versions are left.
    pub async fn stored(
        &self,
        is_wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vec<StoredBatch>, PortError> {
        let found = versions(&self.client, &self.bucket, &self.prefix, is_wanted).await?;
        Ok(found.into_iter().map(|(key, versions)| StoredBatch { key, versions }).collect())
    }

    /// Returns whether the bucket exists.
    pub async fn exists(&self) -> Result<bool, PortError> {
        match list(&self.client, &self.bucket, &self.prefix, None, 1).await {
            Ok(_) => Ok(true),
            Err(PortError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists an object with all its versions; `None` if there are none.
    pub async fn stored_at(&self, key: &str) -> Result<Option<StoredBatch>, PortError> {
        let found = versions(&self.client, &self.bucket, key, &|it| it == key).await?;
        Ok(found.into_iter().next().map(|(key, versions)| StoredBatch { key, versions }))
    }

    /// Opens the version that was listed. It is not found if another one took its place meanwhile.
    pub async fn open(&self, batch: &StoredBatch) -> Result<Content, PortError> {
        let opening = self.client.get_object().bucket(&self.bucket).key(&batch.key).if_match(tag(batch)?);
        match opening.send().await {
            Ok(opened) => Ok(pieces(opened.body)),
            Err(error) if error.code().is_some_and(|code| upload::SWAPPED.contains(&code)) => {
                Err(PortError::NotFound { what: batch.key.clone() })
            }
            Err(error) => Err(port_error(OPENING, &error)),
        }
    }

    /// Opens an earlier version. It is not found if it was removed meanwhile.
    pub async fn open_earlier(&self, batch: &StoredBatch, id: &str) -> Result<Content, PortError> {
        let opening = self.client.get_object().bucket(&self.bucket).key(&batch.key).version_id(id);
        match opening.send().await {
            Ok(opened) => Ok(pieces(opened.body)),
            Err(error) if matches!(error.code(), Some("NoSuchVersion" | "NoSuchKey")) => {
                Err(PortError::NotFound { what: batch.key.clone() })
            }
            Err(error) => Err(port_error(OPENING, &error)),
        }
    }

    /// Replaces an object, and removes all other versions. It is not found if another one took its place meanwhile.
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
        let earlier = Versions { current: None, ..batch.versions.clone() };
        remove_all(&self.client, &self.bucket, BTreeMap::from([(batch.key.clone(), earlier)])).await
    }

    /// Removes some of the earlier versions of an object. With the last version of a removed object, the markers of its removal go.
    pub async fn remove_some(&self, batch: &StoredBatch, ids: Vec<String>) -> Result<(), PortError> {
        let is_last = batch.versions.current.is_none() && ids.len() == batch.versions.earlier.len();
        let markers = if is_last { batch.versions.markers.clone() } else { Vec::new() };
        let some = Versions { current: None, earlier: ids, markers };
        remove_all(&self.client, &self.bucket, BTreeMap::from([(batch.key.clone(), some)])).await
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
