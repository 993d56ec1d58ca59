//! The folders of a data folder, and the SQL engine, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use async_trait::async_trait;
use weir_core::{
    BatchKey, Day, EventType, LakeObject, ManualClock, Partition, Timestamp,
    ports::PortError,
    sealing::{
        DayObjects, IsRemoved, JsonRemoval, Manifest, Reads, Removal, SealedDays, SealedType, SettledDay,
        ToWrite, Work, Written, day_of,
    },
};

use super::SealingBug;
use crate::dice::Dice;

/// One stored line. Lines with the same id are repeats of one event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) id: u64,
    /// Tells lines apart.
    pub(super) number: u64,
}

/// The rows of a generation.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) covered: BTreeSet<String>,
    pub(super) events: Vec<Line>,
    pub(super) repeats: Vec<Line>,
}

/// A batch: its name, and the lines of each of its objects.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) name: String,
    pub(super) objects: BTreeMap<String, Vec<Line>>,
}

#[derive(Default)]
pub(super) struct State {
    manifest: Manifest,
    noted_until: Option<Day>,
    notes: BTreeMap<Day, BTreeSet<String>>,
    pub(super) generations: BTreeMap<(Day, u64), Rows>,
    /// Generations whose files are not whole yet: a bug.
    unwritten: BTreeMap<(Day, u64), Rows>,
    pub(super) lake: BTreeMap<String, Vec<Line>>,
    /// The lines of each batch, by the objects that they belong to.
    pub(super) raw: BTreeMap<String, BTreeMap<String, Vec<Line>>>,
    pub(super) settled: BTreeMap<String, Batch>,
    /// Batches that were cut and are not settled.
    pub(super) unsettled: Vec<Batch>,
    pub(super) lines: u64,
    /// The objects that were removed at some time.
    removed: BTreeSet<String>,
    broken: Vec<(&'static str, String)>,
    turn: bool,
}

#[derive(Clone)]
pub(super) struct Store {
    state: Arc<Mutex<State>>,
    pub(super) dice: Arc<Dice>,
    pub(super) clock: Arc<ManualClock>,
    bug: Option<SealingBug>,
}

/// The turn to seal, which ends with its holder.
pub(super) struct Turn(Store);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().turn = false;
    }
}

pub(super) const USER: &str = "ann";
pub(super) const TYPE: &str = "click";

/// The first day of the world.
pub(super) fn first_day() -> Day {
    "2026-11-20".parse().unwrap()
}

impl State {
    /// Returns whether retention has gone on since it was decided what to read.
    pub(super) fn has_removed_more_than(&self, reads: &Reads) -> bool {
        self.manifest.removed != reads.manifest.removed
    }
}

impl Store {
    pub(super) fn new(dice: Arc<Dice>, bug: Option<SealingBug>) -> Self {
        let start = first_day().first_hour().start().plus_millis(3 * 86_400_000);
        Self { state: Arc::default(), dice, clock: Arc::new(ManualClock::at(start)), bug }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn has(&self, bug: SealingBug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn broke(&self, check: &'static str, details: String) {
        self.state().broken.push((check, details));
    }

    pub(super) fn broken(&self) -> Vec<(&'static str, String)> {
        self.state().broken.clone()
    }

    pub(super) fn turn(&self) -> Option<Turn> {
        let mut state = self.state();
        (!std::mem::replace(&mut state.turn, true)).then(|| Turn(self.clone()))
    }

    /// Lets time pass: a second, or some hours.
    pub(super) fn tick(&self, long: bool) {
        self.clock.advance(if long { self.dice.range(1..8) * 3_600_000 } else { 1000 });
        let mut state = self.state();
        if self.dice.chance(100) {
            let unwritten = std::mem::take(&mut state.unwritten);
            state.generations.extend(unwritten);
        }
    }

    /// Cuts a batch of a few events, of days of the past; some were sent before.
    pub(super) fn cut(&self) -> Batch {
        let mut state = self.state();
        let number = state.lines;
        let name = BatchKey::new(format!("{number:06}.json.gz")).id();
        let mut objects: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for _ in 0..self.dice.range(1..4) {
            state.lines += 1;
            // An id is of a day, as a repeat has its event's time; ids repeat often, as there are few.
            let id = self.dice.range(0..40);
            let day = if self.dice.chance(500) { id % 4 } else { id % 3 };
            let at = Timestamp::saturating(first_day().first_hour().start().millis() + day * 86_400_000);
            let partition = Partition {
                username: USER.parse().unwrap(),
                event_type: TYPE.parse().unwrap(),
                hour: at.hour(),
            };
            objects.entry(partition.object(&name)).or_default().push(Line { id, number: state.lines });
        }
        state.raw.insert(name.to_string(), objects.clone());
        Batch { name: name.to_string(), objects }
    }

    pub(super) async fn put(&self, path: &str, lines: &[Line]) -> Result<(), PortError> {
        self.step().await;
        self.state().lake.insert(path.to_owned(), lines.to_vec());
        self.step().await;
        Ok(())
    }

    pub(super) async fn settle(&self, batch: &Batch) {
        self.step().await;
        let mut state = self.state();
        state.unsettled.retain(|it| it.name != batch.name);
        state.settled.insert(batch.name.clone(), batch.clone());
    }

    /// A point at which anything else can happen.
    pub(super) async fn step(&self) {
        struct Once(bool);
        impl Future for Once {
            type Output = ();

            fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
            }
        }
        Once(false).await;
    }
}

#[async_trait]
impl SealedDays for Store {
    async fn manifest(&self) -> Result<Manifest, PortError> {
        self.step().await;
        Ok(self.state().manifest.clone())
    }

    async fn swap(&self, manifest: &Manifest) -> Result<(), PortError> {
        self.step().await;
        if self.has(SealingBug::ManifestTorn) {
            self.state().manifest.sealed_until = manifest.sealed_until;
            self.step().await;
        }
        self.replace(manifest);
        self.step().await;
        Ok(())
    }

    async fn noted_until(&self) -> Result<Day, PortError> {
        self.step().await;
        Ok(self.state().noted_until.unwrap_or(Day::FIRST))
    }

    async fn announce(&self, noted_until: Day) -> Result<(), PortError> {
        self.step().await;
        self.state().noted_until = Some(noted_until);
        self.step().await;
        Ok(())
    }

    async fn note(&self, day: Day, object: &str) -> Result<(), PortError> {
        self.step().await;
        let mut state = self.state();
        // The sealing's own notes come once the object is there; those of the filing, before or after it.
        let is_put = state.lake.contains_key(object);
        let missed =
            self.has(SealingBug::LateObjectNotNoted) || self.has(SealingBug::NotedOnlyBefore) && is_put;
        if !missed {
            state.notes.entry(day).or_default().insert(object.to_owned());
        }
        Ok(())
    }

    async fn notes(&self) -> Result<BTreeMap<Day, BTreeSet<String>>, PortError> {
        self.step().await;
        Ok(self.state().notes.clone())
    }

    async fn remove_notes(&self, day: Day, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.step().await;
        if let Some(noted) = self.state().notes.get_mut(&day) {
            noted.retain(|object| !objects.contains(object));
        }
        Ok(())
    }

    async fn covered(&self, day: Day, generation: u64) -> Result<BTreeSet<String>, PortError> {
        self.step().await;
        if self.has(SealingBug::NothingCovered) {
            return Ok(BTreeSet::new());
        }
        let state = self.state();
        let rows =
            state.generations.get(&(day, generation)).or_else(|| state.unwritten.get(&(day, generation)));
        rows.map(|rows| rows.covered.clone())
            .ok_or_else(|| PortError::NotFound { what: format!("generation {generation} of {day}") })
    }

    async fn remove_generation(&self, day: Day, generation: u64) -> Result<(), PortError> {
        self.step().await;
        self.state().generations.remove(&(day, generation));
        Ok(())
    }

    async fn generations(&self) -> Result<BTreeSet<(Day, u64)>, PortError> {
        self.step().await;
        Ok(self.state().generations.keys().copied().collect())
    }

    async fn cover(&self, day: Day, generation: u64, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.step().await;
        self.state().generations.entry((day, generation)).or_default().covered.clone_from(objects);
        Ok(())
    }

    async fn remove_type(&self, day: Day, generation: u64, _: &EventType) -> Result<(), PortError> {
        self.step().await;
        if let Some(rows) = self.state().generations.get_mut(&(day, generation)) {
            (rows.events, rows.repeats) = Default::default();
        }
        Ok(())
    }
}

#[async_trait]
impl DayObjects for Store {
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError> {
        self.step().await;
        Ok(self.state().lake.keys().filter_map(|path| day_of(path)).filter(|day| *day < until).collect())
    }

    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        self.step().await;
        Ok(self.state().lake.keys().filter(|path| day_of(path) == Some(day)).cloned().collect())
    }

    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        self.step().await;
        let state = self.state();
        let objects = state.settled.values().flat_map(|batch| &batch.objects);
        let events: usize =
            objects.filter(|(path, _)| day_of(path) == Some(day)).map(|(_, lines)| lines.len()).sum();
        let whose = (USER.parse().unwrap(), TYPE.parse().unwrap());
        let counts = if events == 0 { BTreeMap::new() } else { BTreeMap::from([(whose, events as u64)]) };
        let is_settled = |batch: &&String| {
            self.has(SealingBug::UnsettledTaken) || state.settled.contains_key(batch.as_str())
        };
        Ok(SettledDay { counts, batches: batches.iter().filter(is_settled).cloned().collect() })
    }
}

#[async_trait]
impl Work for Store {
    async fn write(&self, to_write: ToWrite<'_>) -> Result<Written, PortError> {
        self.step().await;
        let written = self.write_rows(&to_write);
        self.step().await;
        Ok(written)
    }
}

#[async_trait]
impl JsonRemoval for Store {
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.step().await;
        {
            let mut state = self.state();
            let is_kept = |path: &String| {
                !objects.contains(path)
                    || self.has(SealingBug::JsonPutBackStays) && state.removed.contains(path)
            };
            let kept: BTreeSet<String> = state.lake.keys().filter(|path| is_kept(path)).cloned().collect();
            state.lake.retain(|path, _| kept.contains(path));
            state.removed.extend(objects.iter().cloned());
        }
        self.step().await;
        Ok(())
    }
}

#[async_trait]
impl Removal for Store {
    async fn strip(&self, batches: &BTreeSet<String>, is_removed: IsRemoved<'_>) -> Result<u64, PortError> {
        self.step().await;
        if self.has(SealingBug::BatchNotStripped) {
            return Ok(0);
        }
        for lines in
            self.state().raw.iter_mut().filter(|(name, _)| batches.contains(*name)).map(|(_, lines)| lines)
        {
            lines.retain(|path, _| LakeObject::at(path).is_none_or(|object| !is_removed(&object.partition)));
        }
        Ok(batches.len() as u64)
    }
}

impl Store {
    fn replace(&self, manifest: &Manifest) {
        let mut state = self.state();
        state.manifest = manifest.clone();
        if self.has(SealingBug::RemovedWatermarkLost) && self.dice.chance(100) {
            state.manifest.removed.clear();
        }
        if self.has(SealingBug::ReplacedRemovedAtOnce) {
            state.generations.retain(|(day, number), _| {
                manifest.days.get(day).is_none_or(|current| current.number <= *number)
            });
        }
    }

    fn write_rows(&self, to_write: &ToWrite<'_>) -> Written {
        let ToWrite { day, number, before, added, covered } = *to_write;
        let mut state = self.state();
        let before = before.and_then(|before| state.generations.get(&(day, before.number))).cloned();
        let Rows { events, repeats, .. } = before.unwrap_or_default();
        let mut lines: Vec<Line> = events.into_iter().chain(repeats).collect();
        let objects = added.iter().filter_map(|path| state.lake.get(path));
        lines.extend(objects.flatten().cloned());
        lines.sort_by_key(|line| line.number);
        let mut rows = Rows { covered: covered.clone(), ..Rows::default() };
        let mut seen = BTreeSet::new();
        let read = lines.len() as u64;
        for line in lines {
            let is_new = seen.insert(line.id) || self.has(SealingBug::RepeatKept);
            if is_new { rows.events.push(line) } else { rows.repeats.push(line) }
        }
        let sealed = SealedType {
            line: "line".to_owned(),
            columns: [].into(),
            files: vec![format!("{day}/{number}")],
            repeat_files: Vec::new(),
            rows: rows.events.len() as u64,
            repeats: rows.repeats.len() as u64,
            bytes: 0,
        };
        let files = if self.has(SealingBug::WatermarkBeforeFiles) {
            &mut state.unwritten
        } else {
            &mut state.generations
        };
        files.insert((day, number), rows);
        let whose = (USER.parse().unwrap(), TYPE.parse().unwrap());
        let mut types = BTreeMap::from([(TYPE.parse().unwrap(), sealed)]);
        if self.has(SealingBug::NothingWritten) {
            types.clear();
        }
        Written { types, read: BTreeMap::from([(whose, read)]) }
    }
}
