//! Removes objects of the lake: JSON of sealed days, and events whose retention is over.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_core::{ports::PortError, sealing::JsonRemoval};

use super::{
    S3Lake,
    versions::{remove, remove_all, versions},
};

#[async_trait]
impl JsonRemoval for S3Lake {
    /// Removes objects of the shared bucket. It keeps them as earlier versions for a while.
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        let objects: Vec<_> = objects.iter().map(|object| (object.clone(), None)).collect();
        remove(&self.client, &self.bucket, objects).await
    }
}

impl S3Lake {
    /// Removes all versions of objects of the shared bucket; returns how many of them there were.
    pub async fn remove_versions(&self, objects: &BTreeSet<String>) -> Result<u64, PortError> {
        let day_of = |object: &String| {
            let (hour, _) = object.rsplit_once('/')?;
            Some(format!("{}/", hour.rsplit_once('/')?.0))
        };
        let days: BTreeSet<String> = objects.iter().filter_map(day_of).collect();
        let mut removed = 0;
        for day in days {
            let found = versions(&self.client, &self.bucket, &day, &|key| objects.contains(key)).await?;
            removed += found.len() as u64;
            remove_all(&self.client, &self.bucket, found).await?;
        }
        Ok(removed)
    }
}
