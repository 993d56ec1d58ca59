//! Retention: removes the events of days that are older than their type is kept.
//!
//! The manifest has a watermark for each type. It moves in one step, and from then on no reader reads the type's events of earlier
//! days, wherever they still are. They are removed after it, from the batches that they came in first, and from what names these
//! batches last. So whatever dies in between, the next retention finds what is left, as it finds events that came late for such a day.

use std::collections::{BTreeMap, BTreeSet};

use super::{DayObjects, Manifest, Removal, SealedDays, over, protocol::batches, upkeep::remove_unknown};
use crate::{Catalog, Day, EventType, Partition, Timestamp, catalog::Definition, ports::PortError};

/// The number of batches that are stripped together, unless one day has more. What was removed with them needs not be found again
/// if the retention dies later.
const BATCHES: usize = 2000;

const DAY_MILLIS: u64 = 24 * 3_600_000;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many days had such events.
    pub days: u64,
    /// How many objects of JSON were removed.
    pub objects: u64,
    /// How many batches changed, or were removed.
    pub batches: u64,
}

/// What goes of one day.
#[derive(Default)]
struct OfDay {
    /// The objects of JSON.
    objects: BTreeSet<String>,
    /// The objects that its generation covers.
    covered: BTreeSet<String>,
}

/// Returns the first day of each type whose events are kept, of the types that are not kept for ever. `of_all` is the number of
/// days for types that do not say so themselves; it is applied to those in the lake, in sealed days and in the catalog.
#[must_use]
pub fn first_days(
    in_lake: impl IntoIterator<Item = EventType>,
    manifest: &Manifest,
    catalog: &Catalog,
    of_all: Option<u32>,
    now: Timestamp,
) -> BTreeMap<EventType, Day> {
    let sealed = manifest.days.values().flat_map(|generation| generation.types.keys().cloned());
    let known = catalog.iter().map(|definition| definition.event_type().clone());
    let first = in_lake.into_iter().chain(sealed).chain(known).filter_map(|event_type| {
        let of_type = catalog.get(&event_type).and_then(Definition::keep_days);
        let first = over(now, u64::from(of_type.or(of_all)?).saturating_mul(DAY_MILLIS));
        Some((event_type, first))
    });
    first.collect()
}

/// Returns whether events of a time are kept, of a type whose events are kept for so many days after the end of the event's day.
#[must_use]
pub fn is_kept(time: Timestamp, days: u32, now: Timestamp) -> bool {
    Day::of(time.hour()) >= over(now, u64::from(days).saturating_mul(DAY_MILLIS))
}

/// Removes the events of each type of days before its day. A watermark that is further on stays.
pub async fn retain(
    days: &dyn SealedDays,
    objects: &dyn DayObjects,
    removal: &dyn Removal,
    first_days: &BTreeMap<EventType, Day>,
) -> Result<Removed, PortError> {
    set_first_days(days, first_days).await?;
    remove_earlier(days, objects, removal).await
}

/// Moves the watermarks to the types' first days. A watermark that is further on stays.
pub async fn set_first_days(
    days: &dyn SealedDays,
    first_days: &BTreeMap<EventType, Day>,
) -> Result<(), PortError> {
    let mut manifest = days.manifest().await?;
    let mut has_moved = false;
    for (event_type, first) in first_days {
        if manifest.first_day(event_type) < *first {
            manifest.removed.insert(event_type.clone(), *first);
            has_moved = true;
        }
    }
    if has_moved {
        days.swap(&manifest).await?;
    }
    Ok(())
}

/// Removes the events before the watermarks.
pub async fn remove_earlier(
    days: &dyn SealedDays,
    objects: &dyn DayObjects,
    removal: &dyn Removal,
) -> Result<Removed, PortError> {
    let manifest = days.manifest().await?;
    if !manifest.removed.is_empty() {
        // They may have such events, and no entry names them.
        remove_unknown(days, &manifest).await?;
    }
    let mut found = removed(days, objects, &manifest).await?.into_iter().peekable();
    let mut total = Removed::default();
    let is_removed =
        |partition: &Partition| manifest.is_removed(Day::of(partition.hour), &partition.event_type);
    // Also those that are kept for other reasons are looked at, so this comes even if there are none.
    let mut is_first = true;
    while is_first || found.peek().is_some() {
        is_first = false;
        let (mut names, mut some) = (BTreeSet::new(), Vec::new());
        while let Some((day, of_day)) = found.next_if(|_| names.len() < BATCHES) {
            names.extend(batches(of_day.objects.iter().chain(&of_day.covered)));
            some.push((day, of_day));
        }
        total.batches += removal.strip(&names, &is_removed).await?;
        for (day, OfDay { objects, covered }) in some {
            total.days += 1;
            total.objects += objects.len() as u64;
            let all = objects.union(&covered).cloned().collect();
            // Also of what is covered there may be something left: earlier versions, or objects that were put back.
            removal.remove(&all).await?;
            days.remove_notes(day, &all).await?;
            remove_of_sealed(days, day, &covered).await?;
        }
    }
    Ok(total)
}

/// Finds what is left of removed events, by day.
async fn removed(
    days: &dyn SealedDays,
    objects: &dyn DayObjects,
    manifest: &Manifest,
) -> Result<BTreeMap<Day, OfDay>, PortError> {
    let mut found = BTreeMap::new();
    let Some(until) = manifest.removed.values().copied().max() else { return Ok(found) };
    let sealed = manifest.days.range(..until).map(|(day, _)| *day);
    let with_objects = objects.days(until).await?;
    let all: BTreeSet<Day> = with_objects.iter().copied().chain(sealed).collect();
    for day in all {
        let mut of_day = OfDay::default();
        let mut put = if with_objects.contains(&day) { objects.objects(day).await? } else { BTreeSet::new() };
        put.retain(|object| manifest.is_object_removed(object));
        if !put.is_empty() {
            // A batch on its way is filed as it is, so that its counts are those of its events; the next retention has them.
            let settled = objects.settled(day, &batches(&put)).await?.batches;
            put.retain(|object| batches([object]).is_subset(&settled));
            of_day.objects = put;
        }
        let generation = manifest.days.get(&day);
        let is_removed = |event_type: &EventType| manifest.is_removed(day, event_type);
        let sealed = generation.filter(|it| it.types.keys().any(is_removed));
        if let Some(generation) = sealed {
            of_day.covered = days.covered(day, generation.number).await?;
            of_day.covered.retain(|object| manifest.is_object_removed(object));
        }
        if sealed.is_some() || !of_day.objects.is_empty() {
            found.insert(day, of_day);
        }
    }
    Ok(found)
}

/// Removes the files of removed types from a sealed day, and the day with its last type.
async fn remove_of_sealed(
    days: &dyn SealedDays,
    day: Day,
    covered: &BTreeSet<String>,
) -> Result<(), PortError> {
    let mut manifest = days.manifest().await?;
    let Some(generation) = manifest.days.get(&day).cloned() else { return Ok(()) };
    let gone = generation.types.keys().filter(|event_type| manifest.is_removed(day, event_type));
    let gone: Vec<EventType> = gone.cloned().collect();
    if gone.is_empty() {
        return Ok(());
    }
    let mut rest = days.covered(day, generation.number).await?;
    rest.retain(|object| !covered.contains(object));
    days.cover(day, generation.number, &rest).await?;
    for (_, number) in days.generations().await?.into_iter().filter(|(of, _)| *of == day) {
        for event_type in &gone {
            days.remove_type(day, number, event_type).await?;
        }
    }
    // Last: the entry says that there is something to remove.
    let is_empty = generation.types.len() == gone.len() && rest.is_empty();
    if let Some(generation) = manifest.days.get_mut(&day).filter(|_| !is_empty) {
        generation.types.retain(|event_type, _| !gone.contains(event_type));
        generation.objects = rest.len() as u64;
    } else {
        manifest.days.remove(&day);
        manifest.replaced.retain(|old| old.day != day);
    }
    days.swap(&manifest).await?;
    if is_empty {
        for (_, number) in days.generations().await?.into_iter().filter(|(of, _)| *of == day) {
            days.remove_generation(day, number).await?;
        }
    }
    Ok(())
}
