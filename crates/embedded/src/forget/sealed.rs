//! Sealed days, while events are forgotten. Only those that hold such an event change, and no generation of theirs stays.
//!
//! - A day of which all JSON is there is **read from JSON** from then on, and sealed again by the next sealing: its objects are noted
//!   as late ones, and its next generation covers nothing.
//! - Where a sealed day is the only copy of its events, its next generation is **written** from the one before, without the events
//!   ([`SealedRows`]).
//!
//! In both, the manifest changes in one step, before it the day is read as it was, and after it without the events.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use weir_core::{
    Day, Username,
    forgotten::ForgottenEvents,
    sealing::{Generation, Manifest, SealedRows, ToWrite},
};

use super::{ForgetError, Watched, rewrite::remove_all, step};
use crate::{folder::Folder, objects::LakeFolder, sealed::SealedFolder};

/// The sealed days of a folder, while it is looked for events to forget.
pub(super) struct SealedDays {
    manifest: Manifest,
    /// The days of which JSON is missing, and what their generations cover.
    only_sealed: BTreeMap<Day, BTreeSet<String>>,
}

impl SealedDays {
    pub(super) fn read(path: &Path) -> Result<Self, ForgetError> {
        let (sealed, lake) = (SealedFolder::of(path), path.join("lake"));
        let failed = |source| unreadable(sealed.path(), source);
        let manifest = sealed.read_manifest().map_err(failed)?;
        let mut only_sealed = BTreeMap::new();
        for (day, generation) in &manifest.days {
            let covered = sealed.read_covered(*day, generation.number).map_err(failed)?;
            if generation.json_expired || covered.iter().any(|object| !lake.join(object).is_file()) {
                only_sealed.insert(*day, covered);
            }
        }
        Ok(Self { manifest, only_sealed })
    }

    /// Returns whether there are sealed files of a day.
    pub(super) fn has(&self, day: Day) -> bool {
        self.manifest.days.contains_key(&day)
    }

    /// Returns whether all events of a day are there as JSON.
    pub(super) fn is_as_json(&self, day: Day) -> bool {
        !self.only_sealed.contains_key(&day)
    }

    /// Returns whether an object's events are taken from Parquet.
    pub(super) fn has_object(&self, day: Day, object: &str) -> bool {
        self.only_sealed.get(&day).is_some_and(|covered| covered.contains(object))
    }

    /// Returns the generations that are the only copies of their events.
    pub(super) fn only_copies(&self) -> Vec<&Generation> {
        self.only_sealed.keys().filter_map(|day| self.manifest.days.get(day)).collect()
    }
}

/// What goes, and the means to take it out of sealed days.
pub(super) struct Removal<'a> {
    pub(super) path: &'a Path,
    pub(super) user: &'a Username,
    pub(super) gone: &'a ForgottenEvents,
    /// The days with such an event, and whether all of their JSON is there.
    pub(super) days: &'a BTreeMap<Day, bool>,
    /// `None` if no engine is there: then no day may need one.
    pub(super) rows: Option<&'a dyn SealedRows>,
}

impl Removal<'_> {
    /// Takes the events out of sealed days; returns how many days changed.
    pub(super) fn remove(&self, watch: Watched<'_>) -> Result<u64, ForgetError> {
        let sealed = SealedFolder::of(self.path);
        let failed = |source| unchanged(sealed.path(), source);
        remove_all(&sealed.path().join(SealedFolder::WORK))?;
        let mut changed = self.read_from_json(&sealed, watch)?;
        for day in self.days.iter().filter(|(_, as_json)| !**as_json).map(|(day, _)| *day) {
            step(watch, "sealed")?;
            changed += u64::from(self.write(&sealed, day)?);
        }
        step(watch, "generations")?;
        // Also what no manifest names, as a sealing left it that died.
        let manifest = sealed.read_manifest().map_err(failed)?;
        for (day, number) in sealed.list_generations().map_err(failed)? {
            if !manifest.keeps(day, number) {
                sealed.remove(day, number).map_err(failed)?;
            }
        }
        Ok(changed)
    }

    /// Has the days read from JSON whose JSON is all there.
    fn read_from_json(&self, sealed: &SealedFolder, watch: Watched<'_>) -> Result<u64, ForgetError> {
        let failed = |source| unchanged(sealed.path(), source);
        let lake = LakeFolder::new(Folder::existing(self.path).sub("lake"), sealed.clone());
        let mut manifest = sealed.read_manifest().map_err(failed)?;
        let mut changed = 0;
        for day in self.days.iter().filter(|(_, as_json)| **as_json).map(|(day, _)| *day) {
            let Some(current) = manifest.days.get(&day) else { continue };
            // One that covers nothing is of the same forgetting, or of a sealing, which died.
            if current.objects == 0 {
                changed += u64::from(manifest.forget_replaced(day));
                continue;
            }
            step(watch, "sealed")?;
            sealed.write_notes(day, &lake.of_day(day).map_err(failed)?).map_err(failed)?;
            let number = manifest.next(day);
            // A sealing that died may have left files under this number.
            sealed.remove(day, number).map_err(failed)?;
            sealed.finish(day, number, &BTreeSet::new()).map_err(failed)?;
            manifest.replace_at_once(day, Generation::of_nothing(number));
            changed += 1;
        }
        if changed > 0 {
            step(watch, "swap")?;
            sealed.write_manifest(&manifest).map_err(failed)?;
        }
        Ok(changed)
    }

    /// Writes a day without the events; returns whether it had any.
    fn write(&self, sealed: &SealedFolder, day: Day) -> Result<bool, ForgetError> {
        let failed = |source| unchanged(sealed.path(), source);
        let mut manifest = sealed.read_manifest().map_err(failed)?;
        let (Some(before), Some(rows)) = (manifest.days.get(&day).cloned(), self.rows) else {
            return Ok(false);
        };
        let covered = sealed.read_covered(day, before.number).map_err(failed)?;
        let (number, added) = (manifest.next(day), BTreeSet::new());
        let to_write = ToWrite { day, number, before: Some(&before), added: &added, covered: &covered };
        let written = rows.write_without(to_write, self.user, &mut |line| self.gone.has_stored(line))?;
        let has_changed = written.is_some();
        let current = match written {
            Some(types) => Generation { number, types, ..before },
            None => before,
        };
        // Earlier generations of the day go in any case.
        manifest.replace_at_once(day, current);
        sealed.write_manifest(&manifest).map_err(failed)?;
        Ok(has_changed)
    }
}

/// Returns all sealed days: an earlier version notes of a forgetting only that all of them change.
pub(super) fn all_days(path: &Path) -> Result<BTreeMap<Day, bool>, ForgetError> {
    let sealed = SealedFolder::of(path);
    let manifest = sealed.read_manifest().map_err(|source| unreadable(sealed.path(), source))?;
    Ok(manifest.days.into_keys().map(|day| (day, true)).collect())
}

fn unchanged(path: &Path, source: io::Error) -> ForgetError {
    ForgetError::Unchanged { path: path.to_owned(), source }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> ForgetError {
    ForgetError::Unreadable { path: path.to_owned(), source }
}
