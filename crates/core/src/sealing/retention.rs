//! Retention: removes the events of days that are older than their type is kept.
//!
//! The manifest has a watermark for each type. It moves in one step, and from then on no reader reads the type's events of earlier
//! days, wherever they still are. They are removed after it, from the batches that they came in first, and from what names these
//! batches last. So whatever dies in between, the next retention finds what is left, as it finds events that came late for such a day.

use std::collections::{BTreeMap, BTreeSet};

use super::{Manifest, Removal, Sealing, protocol::batches};
use crate::{Day, EventType, Partition, ports::PortError};

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

/// Removes the events of each type of days before its day. A watermark that is further on stays.
pub async fn retain(
    sealing: &Sealing<'_>,
    removal: &dyn Removal,
    first_days: &BTreeMap<EventType, Day>,
) -> Result<Removed, PortError> {
    let days = sealing.days;
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
    let found = sealing.removed(&manifest).await?;
    let paths = found.values().flat_map(|of| of.objects.iter().chain(&of.covered)).cloned().collect();
    let names = batches(&paths);
    let mut removed = Removed { days: found.len() as u64, ..Removed::default() };
    // Also those that are kept for other reasons are looked at, so this comes even if there are none.
    let is_removed =
        |partition: &Partition| manifest.is_removed(Day::of(partition.hour), &partition.event_type);
    removed.batches = removal.strip(&names, &is_removed).await?;
    for (day, OfDay { objects, covered }) in found {
        removed.objects += objects.len() as u64;
        removal.remove(&objects).await?;
        days.remove_notes(day, &objects.union(&covered).cloned().collect()).await?;
        sealing.remove_of_sealed(day, &covered).await?;
    }
    Ok(removed)
}

impl Sealing<'_> {
    /// Finds what is left of removed events, by day.
    async fn removed(&self, manifest: &Manifest) -> Result<BTreeMap<Day, OfDay>, PortError> {
        let mut found = BTreeMap::new();
        let Some(until) = manifest.removed.values().copied().max() else { return Ok(found) };
        let sealed = manifest.days.range(..until).map(|(day, _)| *day);
        let days: BTreeSet<Day> = self.work.days(until).await?.into_iter().chain(sealed).collect();
        for day in days {
            let mut of_day = OfDay::default();
            let mut objects = self.work.objects(day).await?;
            objects.retain(|object| manifest.is_object_removed(object));
            if !objects.is_empty() {
                // A batch on its way is filed as it is, so that its counts are those of its events; the next retention has them.
                let settled = self.work.settled(day, &batches(&objects)).await?.batches;
                objects.retain(|object| batches(&BTreeSet::from([object.clone()])).is_subset(&settled));
                of_day.objects = objects;
            }
            let generation = manifest.days.get(&day);
            let is_removed = |event_type: &EventType| manifest.is_removed(day, event_type);
            let sealed = generation.filter(|it| it.types.keys().any(is_removed));
            if let Some(generation) = sealed {
                of_day.covered = self.days.covered(day, generation.number).await?;
                of_day.covered.retain(|object| manifest.is_object_removed(object));
            }
            if sealed.is_some() || !of_day.objects.is_empty() {
                found.insert(day, of_day);
            }
        }
        Ok(found)
    }

    /// Removes the files of removed types from a sealed day, and the day with its last type.
    async fn remove_of_sealed(&self, day: Day, covered: &BTreeSet<String>) -> Result<(), PortError> {
        let mut manifest = self.days.manifest().await?;
        let Some(generation) = manifest.days.get(&day).cloned() else { return Ok(()) };
        let gone = generation.types.keys().filter(|event_type| manifest.is_removed(day, event_type));
        let gone: Vec<EventType> = gone.cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut rest = self.days.covered(day, generation.number).await?;
        rest.retain(|object| !covered.contains(object));
        self.days.cover(day, generation.number, &rest).await?;
        for (_, number) in self.days.generations().await?.into_iter().filter(|(of, _)| *of == day) {
            for event_type in &gone {
                self.days.remove_type(day, number, event_type).await?;
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
        self.days.swap(&manifest).await?;
        if is_empty {
            for (_, number) in self.days.generations().await?.into_iter().filter(|(of, _)| *of == day) {
                self.days.remove_generation(day, number).await?;
            }
        }
        Ok(())
    }
}
