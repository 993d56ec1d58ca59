//! Removes JSON of sealed days, and events that are not kept any longer. `weir_core::sealing` decides which of them are due, and
//! in which steps they go.
//!
//! Both buckets keep replaced and removed objects as earlier versions for a while. JSON of sealed days can be had back so. Of
//! events that are not kept any longer, all versions go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use fan_out::{Without, WithoutError, batch_without, quarantined_without};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use weir_aws::{DynamoCounts, S3Batches, S3Lake, StoredBatch, UsersAndTypes};
use weir_core::{
    BatchKey, Day, EventType, Format, RecordHead, Timestamp,
    ports::PortError,
    sealing::{DayObjects, IsRemoved, JsonRemoval, Manifest, Removal, SettledDay},
};

/// How many batches are read at the same time.
const CONCURRENT: usize = 4;

/// How often an object is stripped that another one takes the place of.
const TRIES: u32 = 5;

const REMOVING: &str = "removing what is due";
const STRIPPING: &str = "taking events out of a batch";

/// The time in which things are removed.
pub(crate) struct Time {
    pub(crate) ends: Instant,
    /// Whether something was left for the next run.
    pub(crate) is_over: AtomicBool,
    /// Whether anything was removed.
    pub(crate) has_removed: AtomicBool,
}

impl Time {
    /// Begins it: it lasts until `ends`.
    pub(crate) fn until(ends: Instant) -> Self {
        Self { ends, is_over: AtomicBool::new(false), has_removed: AtomicBool::new(false) }
    }

    fn note(&self, has_removed: bool) {
        self.has_removed.fetch_or(has_removed, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), PortError> {
        if Instant::now() < self.ends {
            return Ok(());
        }
        self.is_over.store(true, Ordering::Relaxed);
        Err(PortError::unavailable(REMOVING, "no time is left: the next run goes on"))
    }
}

/// Removes JSON of sealed days.
pub(crate) struct SealedJson<'a> {
    pub(crate) lake: &'a S3Lake,
    pub(crate) time: &'a Time,
}

#[async_trait]
impl JsonRemoval for SealedJson<'_> {
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.time.check()?;
        self.lake.remove(objects).await?;
        self.time.note(!objects.is_empty());
        Ok(())
    }
}

/// Removes events that are not kept any longer.
pub(crate) struct OldEvents<'a> {
    pub(crate) lake: &'a S3Lake,
    pub(crate) counts: &'a DynamoCounts,
    pub(crate) raw: &'a S3Batches,
    pub(crate) quarantine: &'a S3Batches,
    pub(crate) users: &'a UsersAndTypes,
    /// The manifest with the watermarks.
    pub(crate) manifest: &'a Manifest,
    /// What was put into quarantine before goes.
    pub(crate) quarantined_before: Option<Timestamp>,
    pub(crate) time: &'a Time,
}

impl OldEvents<'_> {
    /// Returns the users that have objects of these types.
    fn of_types(&self, is_wanted: impl Fn(&EventType) -> bool) -> UsersAndTypes {
        let own = self.users.iter().map(|(username, types)| {
            (username.clone(), types.iter().filter(|of| is_wanted(of)).cloned().collect())
        });
        own.collect()
    }

    /// Takes the removed events out of a batch if they are counted, and with `bad_too` the lines that are not records. Looks again if
    /// another object took its place meanwhile. Returns whether it changed; `None` if it cannot be read.
    async fn strip_batch(
        &self,
        mut batch: StoredBatch,
        which: (bool, bool),
        is_removed: IsRemoved<'_>,
    ) -> Result<Option<bool>, PortError> {
        for _ in 0..TRIES {
            match self.strip_listed_batch(&batch, which, is_removed).await {
                Err(PortError::NotFound { .. }) => match self.raw.stored_at(&batch.key).await? {
                    Some(other) => batch = other,
                    None => return Ok(Some(false)),
                },
                stripped => return stripped,
            }
        }
        Err(replaced(&batch.key))
    }

    async fn strip_listed_batch(
        &self,
        batch: &StoredBatch,
        (bad_too, is_counted): (bool, bool),
        is_removed: IsRemoved<'_>,
    ) -> Result<Option<bool>, PortError> {
        self.time.check()?;
        let key = BatchKey::new(batch.key.as_str());
        let mut is_gone = |head: Option<&RecordHead>| {
            head.map_or(bad_too, |head| is_counted && is_removed(&head.partition))
        };
        if batch.put_at().is_none() {
            return self.raw.remove(batch).await.map(|()| Some(false));
        }
        let content = self.raw.open(batch).await?;
        let without = batch_without(&key, content, &mut is_gone).await;
        if let Err(WithoutError::Damaged(damage)) = &without {
            tracing::warn!(batch = batch.key, %damage, "a damaged batch stays in raw although its events may be older than they are kept");
            return Ok(None);
        }
        change(self.raw, batch, without).await.map(Some)
    }

    /// Takes the removed events out of an object of quarantine. Looks again if another one took its place meanwhile, as its batch was
    /// filed again.
    async fn strip_quarantined(
        &self,
        mut object: StoredBatch,
        is_removed: IsRemoved<'_>,
    ) -> Result<bool, PortError> {
        for _ in 0..TRIES {
            match self.strip_listed_quarantined(&object, is_removed).await {
                Err(PortError::NotFound { .. }) => match self.quarantine.stored_at(&object.key).await? {
                    Some(other) => object = other,
                    None => return Ok(false),
                },
                stripped => return stripped,
            }
        }
        Err(replaced(&object.key))
    }

    async fn strip_listed_quarantined(
        &self,
        object: &StoredBatch,
        is_removed: IsRemoved<'_>,
    ) -> Result<bool, PortError> {
        self.time.check()?;
        if object.put_at().is_none() {
            return self.quarantine.remove(object).await.map(|()| false);
        }
        let content = self.quarantine.open(object).await?;
        let mut is_gone = |line: &[u8]| RecordHead::read(line).is_ok_and(|head| is_removed(&head.partition));
        let without = quarantined_without(content, &mut is_gone).await;
        change(self.quarantine, object, without).await
    }
}

/// The error for an object that another one took the place of again and again.
fn replaced(key: &str) -> PortError {
    PortError::unavailable(STRIPPING, format!("{key} is replaced all the time: the next run goes on"))
}

/// Stores what an object became; returns whether it changed.
async fn change(
    place: &S3Batches,
    object: &StoredBatch,
    without: Result<Without, WithoutError>,
) -> Result<bool, PortError> {
    let failed = |error| PortError::unavailable(STRIPPING, format!("{}: {error}", object.key));
    match without.map_err(failed)? {
        // Earlier versions may have what a run took out that died then.
        Without::Same => place.remove_earlier(object).await.map(|()| false),
        Without::Nothing => place.remove(object).await.map(|()| true),
        Without::Rest { length, content } => place.replace(object, length, content).await.map(|()| true),
    }
}

/// Returns the name of the batch that an object of quarantine is about.
fn quarantined_batch(key: &str) -> Option<&str> {
    Some(Format::of_file(key.rsplit('/').next()?)?.0)
}

#[async_trait]
impl DayObjects for OldEvents<'_> {
    /// Returns the days on which a type has objects from before its watermark.
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError> {
        let mut days = BTreeSet::new();
        for (event_type, first) in &self.manifest.removed {
            let own = self.of_types(|of| of == event_type);
            days.extend(self.lake.days(&own, Day::FIRST, until.min(*first)).await?);
        }
        Ok(days)
    }

    /// Returns the objects of types whose watermark is behind the day.
    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        self.time.check()?;
        self.lake.of_day(&self.of_types(|of| self.manifest.is_removed(day, of)), day).await
    }

    /// Returns which batches are settled, and no counts: removed events are not compared with them.
    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        self.counts.settled_day(&BTreeSet::new(), day, batches).await
    }
}

#[async_trait]
impl JsonRemoval for OldEvents<'_> {
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.time.check()?;
        let removed = self.lake.remove_versions(objects).await?;
        self.time.note(removed > 0);
        Ok(())
    }
}

#[async_trait]
impl Removal for OldEvents<'_> {
    async fn strip(&self, batches: &BTreeSet<String>, is_removed: IsRemoved<'_>) -> Result<u64, PortError> {
        self.time.check()?;
        let mut quarantined: BTreeMap<String, StoredBatch> = BTreeMap::new();
        for object in self.quarantine.stored(&|_| true).await? {
            if let Some(batch) = quarantined_batch(&object.key) {
                quarantined.insert(batch.to_owned(), object);
            }
        }
        let is_old = |batch: &str| {
            let put_at = quarantined.get(batch).and_then(StoredBatch::put_at);
            self.quarantined_before.zip(put_at).is_some_and(|(before, at)| at < before)
        };
        let old: BTreeSet<String> = quarantined.keys().filter(|batch| is_old(batch)).cloned().collect();
        if batches.is_empty() && old.is_empty() {
            return Ok(0);
        }
        // Events of others are counted when their batch is settled, and go after it.
        let settled = self.counts.settled_day(&BTreeSet::new(), Day::FIRST, &old).await?.batches;
        let (settled, is_old) = (&settled, &is_old);
        let is_wanted = |key: &str| {
            let id = BatchKey::new(key).id();
            batches.contains(id.as_str()) || is_old(id.as_str())
        };
        let stripping = self.raw.stored(&is_wanted).await?.into_iter().map(|batch| async move {
            let id = BatchKey::new(batch.key.as_str()).id();
            let is_counted = batches.contains(id.as_str()) || settled.contains(id.as_str());
            let which = (is_old(id.as_str()), is_counted);
            let stripped = self.strip_batch(batch, which, is_removed).await?;
            self.time.note(stripped == Some(true));
            Ok::<_, PortError>((id, stripped))
        });
        let stripped: Vec<_> = stream::iter(stripping).buffer_unordered(CONCURRENT).try_collect().await?;
        let mut changed = stripped.iter().filter(|(_, stripped)| *stripped == Some(true)).count() as u64;
        let damaged: BTreeSet<&str> =
            stripped.iter().filter(|(_, stripped)| stripped.is_none()).map(|(id, _)| id.as_str()).collect();
        for (batch, object) in &quarantined {
            if damaged.contains(batch.as_str()) {
                // It says why its batch is not filed.
                continue;
            }
            if is_old(batch) {
                self.quarantine.remove(object).await?;
                changed += 1;
            } else if batches.contains(batch) {
                changed += u64::from(self.strip_quarantined(object.clone(), is_removed).await?);
            }
        }
        Ok(changed)
    }
}
