//! Takes forgotten events out of objects, in all their versions. It follows from the tombstones alone.

use fan_out::{Without, WithoutError, each_line, lines_without};
use futures_util::{StreamExt, TryStreamExt, stream};
use weir_aws::{S3Batches, StoredBatch};
use weir_core::{BatchKey, Username, forgotten::ForgottenEvents, ports::PortError, quarantined_line};

use super::{
    CONCURRENT, Forget, ForgetError, Lease,
    look::{Found, TRIES, unreadable},
};

const REWRITING: &str = "taking events out of an object";

/// Tells whether a line goes.
type IsGone<'a> = &'a (dyn Fn(&[u8]) -> bool + Sync);

/// The objects of one kind.
struct Objects<'a> {
    place: &'a S3Batches,
    /// Whether an empty line stays in the place of a line that goes.
    are_batches: bool,
    is_gone: IsGone<'a>,
}

impl Forget {
    pub(super) async fn rewrite_quarantine(
        &self,
        gone: &ForgottenEvents,
        found: &Found,
        lease: &Lease<'_>,
    ) -> Result<u64, ForgetError> {
        let is_gone = |entry: &[u8]| quarantined_line(entry).is_some_and(|line| gone.has_stored(&line));
        let objects = Objects { place: &self.quarantine, are_batches: false, is_gone: &is_gone };
        objects.rewrite(found, lease).await
    }

    pub(super) async fn rewrite_lake(
        &self,
        username: &Username,
        gone: &ForgottenEvents,
        found: &Found,
        lease: &Lease<'_>,
    ) -> Result<u64, ForgetError> {
        let is_gone = |line: &[u8]| gone.has_stored(line);
        let mut changed = 0;
        for place in self.lake_of(username).await? {
            let objects = Objects { place: &place, are_batches: false, is_gone: &is_gone };
            changed += objects.rewrite(found, lease).await?;
        }
        Ok(changed)
    }

    pub(super) async fn rewrite_raw(
        &self,
        gone: &ForgottenEvents,
        found: &Found,
        lease: &Lease<'_>,
    ) -> Result<u64, ForgetError> {
        let is_gone = |line: &[u8]| gone.has_stored(line);
        let objects = Objects { place: &self.raw, are_batches: true, is_gone: &is_gone };
        objects.rewrite(found, lease).await
    }
}

impl Objects<'_> {
    /// Changes all objects that are not known to have no such line; returns how many changed.
    async fn rewrite(&self, found: &Found, lease: &Lease<'_>) -> Result<u64, ForgetError> {
        let objects = self.place.stored(&|_| true).await?;
        let rewriting = objects.into_iter().map(|object| async move {
            lease.keep().await?;
            let key = object.key.clone();
            let mut object = Some(object);
            for _ in 0..TRIES {
                let Some(listed) = &object else { return Ok(0) };
                match self.object(listed, found).await {
                    // Another one took its place meanwhile.
                    Err(ForgetError::Port(PortError::NotFound { .. })) => {
                        object = self.place.stored_at(&key).await?;
                    }
                    changed => return changed.map(u64::from),
                }
            }
            Err(PortError::unavailable(REWRITING, format!("{key} is replaced all the time")).into())
        });
        stream::iter(rewriting)
            .buffer_unordered(CONCURRENT)
            .try_fold(0, |sum, changed| async move { Ok(sum + changed) })
            .await
    }

    async fn object(&self, object: &StoredBatch, found: &Found) -> Result<bool, ForgetError> {
        if object.current().is_some_and(|version| !found.is_clean(&object.key, &version)) {
            let content = self.place.open(object).await?;
            let batch = self.are_batches.then(|| BatchKey::new(object.key.as_str()));
            let mut is_gone = |line: &[u8]| (self.is_gone)(line);
            let without = lines_without(content, batch.as_ref(), &mut is_gone).await;
            match without.map_err(|error| unreadable(object, &error))? {
                Without::Same => {}
                Without::Nothing => {
                    self.place.remove(object).await?;
                    return Ok(true);
                }
                Without::Rest { length, content } => {
                    self.place.replace(object, length, content).await?;
                    return Ok(true);
                }
            }
        }
        let mut going = Vec::new();
        for version in object.earlier().iter().filter(|version| !found.is_clean(&object.key, version)) {
            let content = self.place.open_earlier(object, version).await?;
            let mut has_any = false;
            match each_line(content, &mut |line| has_any |= (self.is_gone)(line)).await {
                // It may have such events.
                Err(WithoutError::Damaged(_)) => has_any = true,
                read => read.map_err(|error| unreadable(object, &error))?,
            }
            if has_any {
                going.push(version.clone());
            }
        }
        let has_changed = !going.is_empty();
        // Of an object without versions, the markers of its removal go: one that died may have left them.
        if has_changed || (object.current().is_none() && object.earlier().is_empty()) {
            self.place.remove_some(object, going).await?;
        }
        Ok(has_changed)
    }
}
