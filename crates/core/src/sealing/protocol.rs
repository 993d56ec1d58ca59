//! The steps of putting objects and of sealing days, over the ports that an engine implements.
//!
//! A process may die between any two calls of a port: what it did until then changes nothing that is read, and the next
//! sealing begins again. One sealing runs at a time; objects are put meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{Generation, Manifest, Reads, SealedType, day_of};
use crate::{Clock, Day, EventType, LakeObject, Partition, Timestamp, Username, ports::PortError};

/// How often the list of settled batches is read again if batches are settled meanwhile.
const TRIES: u32 = 20;

/// A day's events, by user and type.
pub type RowsByType = BTreeMap<(Username, EventType), u64>;

/// Manifest, notes and lists of sealed days. All writes are durable when they return, and each takes effect as a whole or not at
/// all.
#[async_trait]
pub trait SealedDays: Send + Sync {
    /// Returns the manifest; the default one if nothing was sealed yet.
    async fn manifest(&self) -> Result<Manifest, PortError>;
    /// Swaps the manifest.
    async fn swap(&self, manifest: &Manifest) -> Result<(), PortError>;
    /// Returns the day before which objects are noted when they are put. It is read for every object.
    async fn noted_until(&self) -> Result<Day, PortError>;
    /// Sets that day.
    async fn announce(&self, noted_until: Day) -> Result<(), PortError>;
    /// Notes an object that is or will be put for a day.
    async fn note(&self, day: Day, object: &str) -> Result<(), PortError>;
    /// Returns all noted objects.
    async fn notes(&self) -> Result<BTreeMap<Day, BTreeSet<String>>, PortError>;
    /// Removes notes.
    async fn remove_notes(&self, day: Day, objects: &BTreeSet<String>) -> Result<(), PortError>;
    /// Returns the paths of the objects that a generation covers.
    async fn covered(&self, day: Day, generation: u64) -> Result<BTreeSet<String>, PortError>;
    /// Removes a generation's files; it may be gone, or half there.
    async fn remove_generation(&self, day: Day, generation: u64) -> Result<(), PortError>;
    /// Returns every generation of which there are files.
    async fn generations(&self) -> Result<BTreeSet<(Day, u64)>, PortError>;
    /// Replaces the list of the objects that a generation covers.
    async fn cover(&self, day: Day, generation: u64, objects: &BTreeSet<String>) -> Result<(), PortError>;
    /// Removes a type's files from a generation; they may be gone.
    async fn remove_type(&self, day: Day, generation: u64, event_type: &EventType) -> Result<(), PortError>;
}

/// The settled counts of a day at one moment, and which batches were settled then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledDay {
    /// Each user's settled events of each type.
    pub counts: RowsByType,
    /// Those of the batches asked for that were settled.
    pub batches: BTreeSet<String>,
}

/// What a generation is made of.
#[derive(Debug, Clone)]
pub struct ToWrite<'a> {
    /// The day.
    pub day: Day,
    /// The number of the new generation.
    pub number: u64,
    /// The generation before, whose rows are taken over.
    pub before: Option<&'a Generation>,
    /// The objects whose lines are added.
    pub added: &'a BTreeSet<String>,
    /// All objects that the new generation covers, which are listed beside its files.
    pub covered: &'a BTreeSet<String>,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The files, by type.
    pub types: BTreeMap<EventType, SealedType>,
    /// The events that were read: rows and repeats.
    pub read: RowsByType,
}

/// Lists the objects of days, and says which of their batches are settled.
#[async_trait]
pub trait DayObjects: Send + Sync {
    /// Returns the days before `until` that have objects.
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError>;
    /// Returns the paths of a day's objects.
    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError>;
    /// Returns the settled counts of a day, and which of these batches are settled, both of one moment.
    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError>;
}

/// Reads the objects of a day, and writes the rows of a generation.
#[async_trait]
pub trait Work: DayObjects {
    /// Writes a generation. Its files are durable when this returns.
    async fn write(&self, to_write: ToWrite<'_>) -> Result<Written, PortError>;
}

/// Removes JSON that sealing no longer needs.
#[async_trait]
pub trait JsonRemoval: Send + Sync {
    /// Removes objects, which may be gone.
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError>;
}

/// Removes events whose retention is over.
#[async_trait]
pub trait Removal: JsonRemoval {
    /// Removes the lines of removed events from batches, wherever they are kept as they came; returns how many batches changed.
    async fn strip(&self, batches: &BTreeSet<String>, is_removed: IsRemoved<'_>) -> Result<u64, PortError>;
}

/// Tells whether retention removed an event.
pub type IsRemoved<'a> = &'a (dyn Fn(&Partition) -> bool + Send + Sync);

/// Why a day was not sealed. Nothing that is read has changed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The engine failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The day's objects do not have the events that were settled.
    #[error(
        "{day} is not sealed: the lake has {found} of {username}'s {event_type}, and {settled} were settled. `weir audit` \
         tells what is missing"
    )]
    Differs {
        /// The day.
        day: Day,
        /// Whose events differ.
        username: Username,
        /// Their type.
        event_type: EventType,
        /// How many are in the lake.
        found: u64,
        /// How many were settled.
        settled: u64,
    },
    /// The files that were written do not have the rows that were read.
    #[error(
        "{day} is not sealed: {rows} rows and {repeats} repeats were written of {read} events that were read"
    )]
    Incomplete {
        /// The day.
        day: Day,
        /// The rows in the files.
        rows: u64,
        /// The repeats in the files.
        repeats: u64,
        /// The events that were read.
        read: u64,
    },
    /// Batches were settled faster than they could be listed.
    #[error("{0} is not sealed: it gets events all the time. Try again later")]
    Busy(Day),
}

/// A day that was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The day.
    pub day: Day,
    /// The number of its generation.
    pub generation: u64,
    /// How many events it has without repeats.
    pub rows: u64,
    /// How many repeats were left out.
    pub repeats: u64,
    /// How many objects were added.
    pub objects: u64,
    /// The size of its files.
    pub bytes: u64,
}

/// Puts an object into the lake, and notes it if its day is sealed, or is being sealed.
///
/// The day is looked at before, so that a note comes before its object; and after, because a sealing may have begun in between
/// whose list does not have the object.
///
/// It is generic, so that the program of a function that only puts objects contains no other code of sealing.
pub async fn put(
    days: &(impl SealedDays + ?Sized),
    path: &str,
    put: impl Future<Output = Result<(), PortError>> + Send,
) -> Result<(), PortError> {
    let Some(day) = day_of(path) else { return put.await };
    let is_noted = day < days.noted_until().await?;
    if is_noted {
        days.note(day, path).await?;
    }
    put.await?;
    if !is_noted && day < days.noted_until().await? {
        days.note(day, path).await?;
    }
    Ok(())
}

/// Returns the first day that is not over for this long.
#[must_use]
pub fn over(now: Timestamp, millis: u64) -> Day {
    Day::of(Timestamp::saturating(now.millis().saturating_sub(millis)).hour())
}

/// A sealing.
pub struct Sealing<'a> {
    /// Manifest and notes.
    pub days: &'a dyn SealedDays,
    /// The objects and the SQL engine.
    pub work: &'a dyn Work,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// Whether a day is sealed although its objects do not have the events that were settled.
    pub accept_differences: bool,
}

/// Seals all days before `until` that are not sealed yet, and seals days with late objects again. Calls `done` for each.
pub async fn seal(
    sealing: &Sealing<'_>,
    until: Day,
    done: &mut (dyn FnMut(Sealed) + Send),
) -> Result<(), SealError> {
    seal_open(sealing, until, done).await?;
    seal_late(sealing, done).await
}

/// Seals all days before `until` that are not sealed yet, in their order. Calls `done` for each.
pub async fn seal_open(
    sealing: &Sealing<'_>,
    until: Day,
    done: &mut (dyn FnMut(Sealed) + Send),
) -> Result<(), SealError> {
    let Sealing { days, work, .. } = *sealing;
    // From here on, what is put for these days is noted.
    if days.noted_until().await? < until {
        days.announce(until).await?;
    }
    let watermark = days.manifest().await?.sealed_until;
    for day in work.days(until).await?.into_iter().filter(|day| *day >= watermark) {
        if let Some(sealed) = sealing.day(day, MadeOf::Before).await? {
            done(sealed);
        }
    }
    let mut manifest = days.manifest().await?;
    if manifest.sealed_until < until {
        manifest.sealed_until = until;
        days.swap(&manifest).await?;
    }
    Ok(())
}

/// Seals the days with late objects again. Calls `done` for each. Goes on with other days if one cannot be sealed again; returns the
/// first such error at the end.
pub async fn seal_late(
    sealing: &Sealing<'_>,
    done: &mut (dyn FnMut(Sealed) + Send),
) -> Result<(), SealError> {
    let late: BTreeSet<Day> =
        Reads::now(sealing.days).await?.late.iter().filter_map(|path| day_of(path)).collect();
    let mut failed = None;
    for day in late {
        match sealing.day(day, MadeOf::Before).await {
            Ok(sealed) => sealed.into_iter().for_each(&mut *done),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Seals a day anew from its JSON, without a look at its Parquet, as when a file of it is damaged. The generation before stays for a
/// day. Nothing has changed if the day's JSON does not have all events that were settled. Returns `None` if the day is not sealed, or has
/// events that retention is to remove first: its list of objects says which.
pub async fn seal_again(sealing: &Sealing<'_>, day: Day) -> Result<Option<Sealed>, SealError> {
    let manifest = sealing.days.manifest().await?;
    let is_removed = |event_type: &EventType| manifest.is_removed(day, event_type);
    match manifest.days.get(&day) {
        Some(generation) if !generation.types.keys().any(is_removed) => sealing.day(day, MadeOf::Json).await,
        _ => Ok(None),
    }
}

/// What a generation is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MadeOf {
    /// The generation before, and the objects that it does not cover.
    Before,
    /// All objects of the day.
    Json,
}

impl Sealing<'_> {
    /// Makes a generation of a day and makes it the current one; `None` if there is nothing new in it.
    async fn day(&self, day: Day, from: MadeOf) -> Result<Option<Sealed>, SealError> {
        let mut manifest = self.days.manifest().await?;
        let (mut inside, mut settled) = self.settled(day).await?;
        // What retention removed is not sealed, if there is still some of it.
        inside.retain(|object| !manifest.is_object_removed(object));
        settled.counts.retain(|(_, event_type), _| !manifest.is_removed(day, event_type));
        let mut before = manifest.days.get(&day).filter(|_| from == MadeOf::Before).cloned();
        if let Some(before) = &mut before {
            before.types.retain(|event_type, _| !manifest.is_removed(day, event_type));
        }
        let before = before.as_ref();
        let known = match before {
            Some(before) => self.days.covered(day, before.number).await?,
            None => BTreeSet::new(),
        };
        let added: BTreeSet<String> = inside.difference(&known).cloned().collect();
        let mut sealed = None;
        if added.is_empty() && from == MadeOf::Before {
            self.note_rest(&manifest, day, &known).await?;
        } else {
            let covered: BTreeSet<String> = known.union(&added).cloned().collect();
            let number = manifest.next(day);
            let to_write = ToWrite { day, number, before, added: &added, covered: &covered };
            let Written { types, read } = self.work.write(to_write).await?;
            self.check(day, &types, &read, &settled.counts)?;
            let sum = |of: fn(&SealedType) -> u64| types.values().map(of).sum();
            sealed = Some(Sealed {
                day,
                generation: number,
                rows: sum(|it| it.rows),
                repeats: sum(|it| it.repeats),
                objects: added.len() as u64,
                bytes: sum(|it| it.bytes),
            });
            let json_expired = before.is_some_and(|before| before.json_expired);
            let (objects, now) = (covered.len() as u64, self.clock.now());
            let generation =
                Generation { number, sealed_at: now, objects, json_expired, json_left: true, types };
            self.note_rest(&manifest, day, &covered).await?;
            manifest.set(day, generation, now);
        }
        let watermark = manifest.sealed_until.max(day.next());
        if sealed.is_some() || watermark > manifest.sealed_until {
            manifest.sealed_until = watermark;
            self.days.swap(&manifest).await?;
        }
        Ok(sealed)
    }

    /// Returns a day's objects of settled batches, and what was settled at that moment.
    async fn settled(&self, day: Day) -> Result<(BTreeSet<String>, SettledDay), SealError> {
        let mut listed = self.work.objects(day).await?;
        for _ in 0..TRIES {
            let asked = batches(&listed);
            let settled = self.work.settled(day, &asked).await?;
            // A batch is settled after its last object is put, so this list has all objects of settled batches.
            listed = self.work.objects(day).await?;
            if batches(&listed).is_subset(&asked) {
                let inside = |path: &&String| {
                    LakeObject::at(path).is_some_and(|object| settled.batches.contains(object.batch))
                };
                return Ok((listed.iter().filter(inside).cloned().collect(), settled));
            }
        }
        Err(SealError::Busy(day))
    }

    /// Compares what was read with what was settled, and what was written with what was read.
    fn check(
        &self,
        day: Day,
        types: &BTreeMap<EventType, SealedType>,
        read: &RowsByType,
        settled: &RowsByType,
    ) -> Result<(), SealError> {
        // Also the types of which nothing was written.
        let all: BTreeSet<&EventType> = types.keys().chain(read.keys().map(|(_, its)| its)).collect();
        for event_type in all {
            let (rows, repeats) = types.get(event_type).map_or((0, 0), |it| (it.rows, it.repeats));
            let of_type = read.iter().filter(|((_, its), _)| its == event_type).map(|(_, count)| *count);
            let read = of_type.sum();
            if rows + repeats != read {
                return Err(SealError::Incomplete { day, rows, repeats, read });
            }
        }
        if self.accept_differences {
            return Ok(());
        }
        // Those of bots are settled once more under a name of theirs, and are among those of the types here.
        for whose in read.keys().chain(settled.keys()).filter(|(_, event_type)| !event_type.is_bots()) {
            let of = |rows: &RowsByType| rows.get(whose).copied().unwrap_or_default();
            let (found, settled) = (of(read), of(settled));
            if found != settled {
                let (username, event_type) = whose.clone();
                return Err(SealError::Differs { day, username, event_type, found, settled });
            }
        }
        Ok(())
    }

    /// Notes the objects of a day that the generation does not cover: they may have been put before the day was announced.
    async fn note_rest(
        &self,
        manifest: &Manifest,
        day: Day,
        covered: &BTreeSet<String>,
    ) -> Result<(), SealError> {
        let noted = self.days.notes().await?.remove(&day).unwrap_or_default();
        for object in self.work.objects(day).await? {
            let is_read = !covered.contains(&object) && !manifest.is_object_removed(&object);
            if is_read && !noted.contains(&object) {
                self.days.note(day, &object).await?;
            }
        }
        Ok(())
    }
}

/// Returns the batches of objects.
pub(super) fn batches<'a>(objects: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    objects.into_iter().filter_map(|path| Some(LakeObject::at(path)?.batch.to_owned())).collect()
}
