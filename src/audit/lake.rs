//! Recounts the lake: lists its users and types, and counts their events by reading every object.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    task::JoinSet,
};
use weir_core::{
    BatchKey, Catalog, CountedValue, Day, EventType, Format, Hour, LakeObject, Partition, RecordHead,
    Username,
    books::Breakdown,
    latest::Newest,
    ports::{LakeObjects, PortError, Raw},
    sealing::{Generation, Manifest, Reads},
};

use super::{
    compare::InLake,
    hours::Hours,
    objects::{Fault, FaultKind, Recounted, read_lines, recount, value_of},
    progress::Progress,
    sealed::Sealed,
};

/// The number of objects that are read concurrently: enough to hide S3's latency, at one or two hundred kilobytes each.
const AT_ONCE: usize = 16;

/// How many paths are listed per page.
const PAGE: usize = 1000;

/// The most tries of an object whose read broke off, and the pause in between.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(500);

/// A bad object.
#[derive(Debug)]
pub(super) struct BadObject {
    pub(super) path: String,
    /// The fault in its content; `None` if the object does not belong in the lake at all.
    pub(super) fault: Option<Fault>,
}

/// The recount of one user's type.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) in_lake: InLake,
    /// The number of bots' events by hour.
    bots: BTreeMap<Hour, u64>,
    /// The newest event of each resource.
    pub(super) latest: Newest,
    pub(super) bad: Vec<BadObject>,
}

/// The counts and latest values of one user's type in some batches.
#[derive(Debug, Clone, Default)]
pub(super) struct InBatches {
    pub(super) breakdown: Breakdown,
    /// The newest event of each resource.
    pub(super) latest: Newest,
}

/// The content of a batch, by user and type.
type Contents = BTreeMap<(Username, EventType), InBatches>;

pub(super) struct Recounter {
    pub(super) lake: Arc<dyn LakeObjects>,
    raw: Arc<dyn Raw>,
    catalog: Arc<Catalog>,
    sealed: Sealed,
    pub(super) progress: Arc<Progress>,
    places: Arc<Semaphore>,
    /// The contents of unsettled batches: there are few of them, and each is read once.
    unsettled: AsyncMutex<HashMap<BatchKey, Contents>>,
    /// The batches that could not be read.
    pub(super) bad_batches: Mutex<Vec<BadObject>>,
}

impl Recounter {
    pub(super) fn new(
        lake: Arc<dyn LakeObjects>,
        raw: Arc<dyn Raw>,
        catalog: Arc<Catalog>,
        sealed: Sealed,
    ) -> Self {
        Self {
            lake,
            raw,
            catalog,
            sealed,
            progress: Arc::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            unsettled: AsyncMutex::default(),
            bad_batches: Mutex::default(),
        }
    }

    /// Returns the manifest of sealed days.
    pub(super) async fn manifest(&self) -> Result<Manifest> {
        if let Some(folder) = &self.sealed.folder {
            return Ok(folder.reads().await?.manifest);
        }
        match &self.sealed.bucket {
            Some(days) => Ok(days.manifest().await?),
            None => Ok(Manifest::default()),
        }
    }

    /// Returns the days of which a type's events are in Parquet that is not recounted.
    pub(super) fn only_in_parquet(&self, manifest: &Manifest, event_type: &EventType) -> BTreeSet<Day> {
        if self.sealed.bucket.is_none() {
            return BTreeSet::new();
        }
        let has_some = |generation: &Generation| {
            generation.json_expired && (event_type.is_bots() || generation.types.contains_key(event_type))
        };
        manifest.days.iter().filter(|(_, it)| has_some(it)).map(|(day, _)| *day).collect()
    }

    /// Returns whether the catalog counts events of a type by a key.
    pub(super) fn has_keys(&self, event_type: &EventType) -> bool {
        event_type.is_bots()
            || self.catalog.get(event_type).is_some_and(|definition| definition.count_by().is_some())
    }

    /// Returns whether the catalog keeps latest values of a type.
    pub(super) fn has_latest(&self, event_type: &EventType) -> bool {
        self.catalog.get(event_type).is_some_and(|definition| definition.latest_by().is_some())
    }

    /// Returns the users with anything in the shared lake, and paths that belong to no user.
    pub(super) async fn users(&self) -> Result<(BTreeSet<Username>, Vec<BadObject>), PortError> {
        let (mut users, mut strays) = (BTreeSet::new(), Vec::new());
        let mut after = None;
        while let Some(path) = self.lake.list(after.as_deref(), 1).await?.pop() {
            after = Some(if let Some(user) = Partition::user_of(&path) {
                let after = after_all_of(&Partition::folder_of_user(&user));
                users.insert(user);
                after
            } else {
                strays.push(BadObject { path: path.clone(), fault: None });
                path
            });
        }
        Ok((users, strays))
    }

    /// Returns the types of which a user has anything in the lake, and paths that belong to no type.
    pub(super) async fn types(
        &self,
        user: &Username,
    ) -> Result<(BTreeSet<EventType>, Vec<BadObject>), PortError> {
        let (mut types, mut strays) = (BTreeSet::new(), Vec::new());
        let mut after = None;
        while let Some(path) = self.lake.list_of(user, after.as_deref(), 1).await?.pop() {
            after = Some(if let Some(event_type) = Partition::type_of(&path) {
                let after = after_all_of(&Partition::folder_of_type(user, &event_type));
                types.insert(event_type);
                after
            } else {
                strays.push(BadObject { path: path.clone(), fault: None });
                path
            });
        }
        Ok((types, strays))
    }

    /// Recounts one user's type in the lake, leaving out what these batches added there.
    pub(super) async fn recount(
        &self,
        user: &Username,
        event_type: &EventType,
        hours: Hours,
        but: &[BatchKey],
    ) -> Result<Found> {
        if event_type.is_bots() {
            self.recount_bots(user, hours, but).await
        } else {
            self.recount_type(user, event_type, hours, but).await
        }
    }

    /// Recounts a user's events of bots. They are among those of all types, whose objects are read once more for it.
    async fn recount_bots(&self, user: &Username, hours: Hours, but: &[BatchKey]) -> Result<Found> {
        let mut found = Found::default();
        for event_type in self.types(user).await?.0 {
            // Bad objects are reported with their type.
            let bots = self.recount_type(user, &event_type, hours, but).await?.bots;
            let total: u64 = bots.values().sum();
            if total > 0 {
                let InLake { breakdown, hours } = &mut found.in_lake;
                breakdown.total += total;
                breakdown.keys.insert(CountedValue::of(event_type.as_str()), total);
                for (hour, count) in bots {
                    *hours.entry(hour).or_default() += count;
                }
            }
        }
        Ok(found)
    }

    async fn recount_type(
        &self,
        user: &Username,
        event_type: &EventType,
        hours: Hours,
        but: &[BatchKey],
    ) -> Result<Found> {
        let folder = format!("{}/", Partition::folder_of_type(user, event_type));
        let but: BTreeSet<String> = but.iter().map(|batch| batch.id().to_string()).collect();
        let mut found = Found::default();
        let reads = match &self.sealed.folder {
            Some(sealed) => sealed.reads().await?,
            None => Reads::default(),
        };
        let mut reading: JoinSet<Result<(String, Hour, Recounted)>> = JoinSet::new();
        let mut after = folder.clone();
        'pages: loop {
            let page = self.lake.list_of(user, Some(&after), PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            for path in page {
                if !path.starts_with(&folder) {
                    break 'pages;
                }
                match LakeObject::at(&path) {
                    Some(object) if but.contains(object.batch) => {}
                    Some(_) if !reads.as_json(&path) => {}
                    Some(LakeObject { partition, format: Format::JsonGz, .. }) => {
                        if hours.have(partition.hour) {
                            let place = Arc::clone(&self.places).acquire_owned().await?;
                            let (lake, catalog) = (Arc::clone(&self.lake), Arc::clone(&self.catalog));
                            reading.spawn(async move {
                                let recounted = read(&*lake, &catalog, &path, &partition).await;
                                drop(place);
                                Ok((path, partition.hour, recounted?))
                            });
                        }
                    }
                    None => found.bad.push(BadObject { path, fault: None }),
                }
                while let Some(done) = reading.try_join_next() {
                    self.add(&mut found, done??);
                }
            }
        }
        while let Some(done) = reading.join_next().await {
            self.add(&mut found, done??);
        }
        if let Some(sealed) = self.sealed.folder.clone().filter(|_| !reads.manifest.days.is_empty()) {
            let place = Arc::clone(&self.places).acquire_owned().await?;
            let (user, event_type, catalog) = (user.clone(), event_type.clone(), Arc::clone(&self.catalog));
            let recounted = tokio::task::spawn_blocking(move || {
                let definition = catalog.get(&event_type);
                let recounted = sealed.recount(&reads, &user, &event_type, hours, definition);
                drop(place);
                recounted
            });
            for (hour, recounted) in recounted.await?? {
                self.add(&mut found, (format!("sealed/{}", Day::of(hour)), hour, recounted));
            }
        }
        found.bad.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn add(&self, found: &mut Found, (path, hour, recounted): (String, Hour, Recounted)) {
        let Recounted { events, bots, keys, latest, bytes, faults } = recounted;
        found.latest.extend(latest.into_values());
        self.progress.objects.fetch_add(1, Ordering::Relaxed);
        self.progress.events.fetch_add(events, Ordering::Relaxed);
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        found
            .bad
            .extend(faults.into_iter().map(|fault| BadObject { path: path.clone(), fault: Some(fault) }));
        if events > 0 {
            *found.in_lake.hours.entry(hour).or_default() += events;
            found.in_lake.breakdown.total += events;
        }
        if bots > 0 {
            *found.bots.entry(hour).or_default() += bots;
        }
        for (key, count) in keys {
            // A key that `key_of_stored` found always parses.
            if let Ok(key) = key.parse::<CountedValue>() {
                *found.in_lake.breakdown.keys.entry(key).or_default() += count;
            }
        }
    }

    /// Returns what some raw batches hold of one user's type.
    pub(super) async fn in_batches(
        &self,
        batches: &[BatchKey],
        of: &(Username, EventType),
    ) -> Result<InBatches> {
        let mut sum = InBatches::default();
        for batch in batches {
            let mut known = self.unsettled.lock().await;
            if !known.contains_key(batch) {
                let contents = self.read_batch(batch).await?;
                known.insert(batch.clone(), contents);
            }
            if let Some(own) = known.get(batch).and_then(|contents| contents.get(of)) {
                sum.breakdown.total += own.breakdown.total;
                for (key, count) in &own.breakdown.keys {
                    *sum.breakdown.keys.entry(key.clone()).or_default() += count;
                }
                sum.latest.extend(own.latest.iter());
            }
        }
        Ok(sum)
    }

    async fn read_batch(&self, batch: &BatchKey) -> Result<Contents> {
        let mut contents = Contents::new();
        let bad = |kind, detail: String| {
            let fault = Some(Fault { kind, lines: None, detail });
            let path = format!("raw/{batch}");
            self.bad_batches.lock().expect("no holder of the lock panics").push(BadObject { path, fault });
        };
        let content = match self.raw.open(batch).await {
            Err(error @ PortError::NotFound { .. }) => {
                bad(FaultKind::Damaged, error.to_string());
                return Ok(contents);
            }
            content => content?,
        };
        let seen = read_lines(content, |_, line| {
            let Ok(RecordHead { partition, is_of_a_bot, .. }) = RecordHead::read(line) else { return };
            if is_of_a_bot {
                let of_bots = contents.entry((partition.username.clone(), EventType::bots())).or_default();
                of_bots.breakdown.total += 1;
                let key = CountedValue::of(partition.event_type.as_str());
                *of_bots.breakdown.keys.entry(key).or_default() += 1;
            }
            let definition = self.catalog.get(&partition.event_type);
            let key = definition.and_then(|definition| definition.key_of_stored(line));
            let value = definition.and_then(|definition| value_of(definition, line));
            let content = contents.entry((partition.username, partition.event_type)).or_default();
            content.latest.extend(value);
            content.breakdown.total += 1;
            if let Some(key) = key.and_then(|key| key.parse::<CountedValue>().ok()) {
                *content.breakdown.keys.entry(key).or_default() += 1;
            }
        });
        let seen = seen.await.with_context(|| format!("reading the batch {batch}"))?;
        if let Err(damage) = seen.sound {
            bad(FaultKind::Damaged, damage);
        }
        Ok(contents)
    }
}

/// Returns a path that sorts after everything in a folder, and before everything later.
fn after_all_of(folder: &str) -> String {
    // In ASCII, 0 follows the slash.
    format!("{folder}0")
}

/// Reads an object, retrying if the read breaks off.
async fn read(
    lake: &dyn LakeObjects,
    catalog: &Catalog,
    path: &str,
    partition: &Partition,
) -> Result<Recounted> {
    let mut tried = 0;
    loop {
        tried += 1;
        let recounted = async {
            let content = lake.open_path(path).await.map_err(io::Error::other)?;
            recount(content, partition, catalog.get(&partition.event_type)).await
        };
        match recounted.await {
            Ok(recounted) => return Ok(recounted),
            Err(error) if tried >= TRIES => return Err(error).with_context(|| format!("reading {path}")),
            Err(_) => tokio::time::sleep(WAIT).await,
        }
    }
}
