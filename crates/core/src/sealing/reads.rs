//! What a reader of the lake reads at one moment.

use std::collections::BTreeSet;

use super::{Manifest, SealedDays};
use crate::{Day, LakeObject, ports::PortError};

/// The generations and the late objects that a reader reads. Everything else of sealed days is left alone.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    /// The sealed days.
    pub manifest: Manifest,
    /// The paths of late objects. An object that was noted and not put yet is missing in the lake.
    pub late: BTreeSet<String>,
}

impl Reads {
    /// Decides what is read from now on.
    ///
    /// The manifest is read before the notes: a generation that takes over late objects leaves their notes for a day, so
    /// no object can be missing in both. A generation may be gone before its list is read, where events are forgotten: then it is
    /// decided anew.
    pub async fn now(days: &dyn SealedDays) -> Result<Self, PortError> {
        loop {
            let manifest = days.manifest().await?;
            match Self::of(days, manifest.clone()).await {
                Err(_) if days.manifest().await? != manifest => {}
                decided => return decided,
            }
        }
    }

    async fn of(days: &dyn SealedDays, manifest: Manifest) -> Result<Self, PortError> {
        let mut late = BTreeSet::new();
        if manifest.sealed_until > Day::FIRST {
            for (day, noted) in days.notes().await? {
                if day >= manifest.sealed_until {
                    continue;
                }
                let covered = match manifest.days.get(&day) {
                    Some(generation) => days.covered(day, generation.number).await?,
                    None => BTreeSet::new(),
                };
                let is_late =
                    |object: &String| !covered.contains(object) && !manifest.is_object_removed(object);
                late.extend(noted.into_iter().filter(is_late));
            }
        }
        Ok(Self { manifest, late })
    }

    /// Returns whether an object is read as JSON.
    #[must_use]
    pub fn as_json(&self, path: &str) -> bool {
        let is_not_sealed = || day_of(path).is_none_or(|day| day >= self.manifest.sealed_until);
        (is_not_sealed() || self.late.contains(path)) && !self.manifest.is_object_removed(path)
    }
}

/// Returns the day of an object of the lake, by its path.
#[must_use]
pub fn day_of(path: &str) -> Option<Day> {
    LakeObject::at(path).map(|object| Day::of(object.partition.hour))
}
