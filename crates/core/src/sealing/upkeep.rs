//! Removes what is no longer read: replaced generations, notes, what a sealing left that died, and JSON of sealed days. Has days read
//! from JSON again, so that they are sealed anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{Generation, JsonRemoval, Manifest, SealedDays};
use crate::{Day, Timestamp, ports::PortError};

/// How long a replaced generation stays, for queries that began before.
pub const KEPT_MILLIS: u64 = 24 * 3_600_000;

/// Removes what is no longer read: generations that were replaced more than a day ago, notes of objects that were taken over
/// as long ago, and what a sealing left that died.
pub async fn tidy(days: &dyn SealedDays, now: Timestamp) -> Result<(), PortError> {
    let mut manifest = days.manifest().await?;
    let is_old = |at: Timestamp| at.plus_millis(KEPT_MILLIS) <= now;
    let count = manifest.replaced.len();
    let old: Vec<_> = manifest.replaced.iter().copied().filter(|old| is_old(old.at)).collect();
    for old in &old {
        days.remove_generation(old.day, old.generation).await?;
    }
    manifest.replaced.retain(|it| !old.contains(it));
    if manifest.replaced.len() < count {
        days.swap(&manifest).await?;
    }
    remove_unknown(days, &manifest).await?;
    for (day, noted) in days.notes().await? {
        let is_done = |current: &&Generation| is_old(current.sealed_at) && !has_no_json(current);
        if let Some(current) = manifest.days.get(&day).filter(is_done) {
            let covered = days.covered(day, current.number).await?;
            let done: BTreeSet<String> = noted.intersection(&covered).cloned().collect();
            if !done.is_empty() {
                days.remove_notes(day, &done).await?;
            }
        }
    }
    Ok(())
}

/// Has sealed days read from JSON, so that the next sealing seals them anew without a look at their Parquet. All of their JSON must be
/// there: `objects` has the paths. Their earlier generations are not known any more. Days that are not sealed, and those that are read
/// from JSON already, are left alone. The caller has the turn.
pub async fn read_from_json(
    days: &dyn SealedDays,
    objects: &BTreeMap<Day, BTreeSet<String>>,
) -> Result<(), PortError> {
    let mut manifest = days.manifest().await?;
    let mut has_changed = false;
    for (day, objects) in objects {
        let Some(current) = manifest.days.get(day) else { continue };
        // One that covers nothing is read from JSON: of a forgetting that died.
        if current.objects == 0 {
            has_changed |= manifest.forget_replaced(*day);
            continue;
        }
        for object in objects {
            days.note(*day, object).await?;
        }
        let number = manifest.next(*day);
        // A sealing that died may have left files under this number.
        days.remove_generation(*day, number).await?;
        days.cover(*day, number, &BTreeSet::new()).await?;
        manifest.replace_at_once(*day, Generation::of_nothing(number));
        has_changed = true;
    }
    if has_changed {
        days.swap(&manifest).await?;
    }
    Ok(())
}

/// Removes the generations that a sealing left which died before the manifest had them.
pub(super) async fn remove_unknown(days: &dyn SealedDays, manifest: &Manifest) -> Result<(), PortError> {
    for (day, number) in days.generations().await? {
        if !manifest.keeps(day, number) {
            days.remove_generation(day, number).await?;
        }
    }
    Ok(())
}

/// Returns whether all JSON that a generation covers was removed. An object that it covers and that is noted was put back, and
/// [`expire_json`] removes it with its note.
fn has_no_json(generation: &Generation) -> bool {
    generation.json_expired && !generation.json_left
}

/// Removes the JSON of days before `before` that was sealed more than a day ago; returns how many days.
///
/// Only generations that were made until `read_since` count as sealed: a reader may still read JSON of days that were sealed
/// later. A batch that is filed again puts its objects back, and they are removed again, as their notes tell.
pub async fn expire_json(
    days: &dyn SealedDays,
    removal: &dyn JsonRemoval,
    before: Day,
    read_since: Timestamp,
    now: Timestamp,
) -> Result<u64, PortError> {
    let mut manifest = days.manifest().await?;
    let is_due = |generation: &Generation| {
        let is_read = generation.sealed_at <= read_since;
        generation.json_left && is_read && generation.sealed_at.plus_millis(KEPT_MILLIS) <= now
    };
    let due: Vec<Day> =
        manifest.days.range(..before).filter(|(_, it)| is_due(it)).map(|(day, _)| *day).collect();
    for day in &due {
        let Some(number) = manifest.days.get(day).map(|generation| generation.number) else { continue };
        // Said first, so that no reader takes what is left for all of the day.
        if let Some(generation) = manifest.days.get_mut(day).filter(|it| !it.json_expired) {
            generation.json_expired = true;
            days.swap(&manifest).await?;
        }
        removal.remove(&days.covered(*day, number).await?).await?;
        if let Some(generation) = manifest.days.get_mut(day) {
            generation.json_left = false;
        }
        days.swap(&manifest).await?;
    }
    for (day, noted) in days.notes().await? {
        if let Some(current) = manifest.days.get(&day).filter(|it| has_no_json(it)) {
            let covered = days.covered(day, current.number).await?;
            let back: BTreeSet<String> = noted.intersection(&covered).cloned().collect();
            if !back.is_empty() {
                removal.remove(&back).await?;
                days.remove_notes(day, &back).await?;
            }
        }
    }
    Ok(due.len() as u64)
}
