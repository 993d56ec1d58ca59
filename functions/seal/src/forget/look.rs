//! Looks for events to forget, in all versions of all objects. It changes nothing, but that it files batches that are not filed yet.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use fan_out::{WithoutError, each_line};
use futures_util::{StreamExt, stream};
use weir_aws::{S3Batches, StoredBatch};
use weir_core::{
    BatchKey, CountedValue, Day, EventType, InstallationSecret, LakeObject, Partition, RecordHead, Timestamp,
    Username,
    forgotten::{self, ForgetRequest, ForgottenEvents, Tombstone},
    latest::{LatestValue, Newest, Resource},
    ports::{Content, PortError, ReadLatest, SettledCounts},
    quarantined_line,
    sealing::day_of,
};

use super::{CONCURRENT, Forget, ForgetError, Lease};

/// How many latest values are read at a time.
const PAGE: usize = 500;

/// How often an object is looked at again that another one took the place of meanwhile.
pub(super) const TRIES: u32 = 10;

const LOOKING: &str = "looking for events to forget";

/// By what an event is found.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// A request, when it came, and the secret by which tombstones are made. Events that came later are not meant.
    Request(&'a ForgetRequest, Timestamp, &'a InstallationSecret),
    /// Tombstones, where an earlier forgetting is finished.
    Tombstones(&'a ForgottenEvents),
}

impl By<'_> {
    fn means(self, head: Option<&RecordHead>, line: &[u8]) -> bool {
        match (self, head) {
            (Self::Request(request, began, _), Some(head)) => {
                head.received_at <= began && request.means(head, line)
            }
            (Self::Request(request, ..), None) => request.means_line(line),
            (Self::Tombstones(gone), Some(head)) => gone.has(head),
            (Self::Tombstones(gone), None) => gone.has_line(line),
        }
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tombstones: HashSet<Tombstone>,
    /// The keys of the recent ids.
    pub(super) ids: BTreeSet<String>,
    /// The latest values that go.
    pub(super) latest: Vec<LatestValue>,
    /// Those that take their place.
    pub(super) newest: Newest,
    /// The versions of objects that have no such event, by key and version.
    clean: HashSet<(String, String)>,
    /// The events of objects in the lake, by their paths.
    lake: BTreeMap<String, (String, OfObjects)>,
}

impl Found {
    /// Returns whether a version of an object is known to have no such event.
    pub(super) fn is_clean(&self, key: &str, version: &str) -> bool {
        self.clean.contains(&(key.to_owned(), version.to_owned()))
    }

    /// Returns whether the lake has an object.
    pub(super) fn has_object(&self, path: &str) -> bool {
        self.lake.contains_key(path)
    }

    /// Takes in the events of objects as they were counted. An object that was filed again since is without them, and its counts have
    /// them.
    pub(super) fn add_counted(&mut self, counted: Counted) {
        for (path, of_object) in counted.0 {
            self.lake.entry(path).or_default().1 = of_object;
        }
    }

    /// Returns the days of such events in the lake.
    pub(super) fn days(&self) -> BTreeSet<Day> {
        let with = self.lake.iter().filter(|(_, (_, of_object))| !of_object.events.is_empty());
        with.filter_map(|(path, _)| day_of(path)).collect()
    }

    /// Returns how many events of each type were found in the lake.
    pub(super) fn by_type(&self) -> Vec<(EventType, u64)> {
        let mut by_type = BTreeMap::<&EventType, u64>::new();
        for (partition, by) in self.lake.values().flat_map(|(_, of_object)| &of_object.events) {
            // A bot's event counts once more as a bot's.
            if !partition.event_type.is_bots() {
                *by_type.entry(&partition.event_type).or_default() += by;
            }
        }
        by_type.into_iter().map(|(event_type, count)| (event_type.clone(), count)).collect()
    }

    /// Returns whether there is any such event.
    pub(super) fn has_any(&self) -> bool {
        !self.tombstones.is_empty() || !self.ids.is_empty() || !self.latest.is_empty()
    }

    fn merge(&mut self, notes: Notes) {
        self.tombstones.extend(notes.tombstones);
        self.ids.extend(notes.ids);
        self.newest.extend(notes.newest.iter());
        self.clean.extend(notes.clean);
        if let Some((version, of_object)) = notes.of_lake {
            self.lake.insert(notes.key, (version, of_object));
        }
    }
}

/// The events of objects of the lake that go, as they are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct OfObjects {
    pub(super) events: BTreeMap<Partition, u64>,
    /// By type and key.
    pub(super) keys: BTreeMap<(EventType, String), u64>,
}

impl OfObjects {
    fn add(&mut self, other: &Self) {
        for (partition, by) in &other.events {
            *self.events.entry(partition.clone()).or_default() += by;
        }
        for (key, by) in &other.keys {
            *self.keys.entry(key.clone()).or_default() += by;
        }
    }
}

/// The events of objects in the lake that go and are in the counts, by the objects' paths.
#[derive(Default)]
pub(super) struct Counted(pub(super) BTreeMap<String, OfObjects>);

/// What was found in one object.
#[derive(Default)]
struct Notes {
    key: String,
    tombstones: HashSet<Tombstone>,
    ids: BTreeSet<String>,
    newest: Newest,
    clean: Vec<(String, String)>,
    of_lake: Option<(String, OfObjects)>,
    /// Whether the version that is read has such an event.
    is_current: bool,
}

/// A kind of objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    Quarantine,
    Lake,
}

impl Forget {
    /// Looks everywhere. `types` are some that the user may have, beside those of the counts and of the catalog.
    pub(super) async fn look(
        &self,
        username: &Username,
        by: By<'_>,
        types: &BTreeSet<EventType>,
        lease: &Lease<'_>,
    ) -> Result<Found, ForgetError> {
        let latest = lease.during(Box::pin(self.latest_values(username, by, types))).await??;
        let mut found = Found { latest, ..Found::default() };
        let affected = found.latest.iter().map(|value| value.resource.clone()).collect();
        let raw = self.look_at(&self.raw, Kind::Raw, by, &affected, lease, &|_, _| true, &mut found).await?;
        // Their events must be counted before they are taken out of the counts.
        lease.during(Box::pin(self.file_all(raw))).await??;
        let quarantine = Kind::Quarantine;
        self.look_at(&self.quarantine, quarantine, by, &affected, lease, &|_, _| true, &mut found).await?;
        for place in self.lake_of(username).await? {
            self.look_at(&place, Kind::Lake, by, &affected, lease, &|_, _| true, &mut found).await?;
        }
        Ok(found)
    }

    /// Looks at objects of the lake that are others than they were: the fan-out may have put them since.
    pub(super) async fn look_again_at_the_lake(
        &self,
        username: &Username,
        gone: &ForgottenEvents,
        found: &mut Found,
        lease: &Lease<'_>,
    ) -> Result<(), ForgetError> {
        let by = By::Tombstones(gone);
        let affected = found.latest.iter().map(|value| value.resource.clone()).collect();
        for place in self.lake_of(username).await? {
            let mut seen = found.clean.clone();
            seen.extend(found.lake.iter().map(|(key, (version, _))| (key.clone(), version.clone())));
            let is_new = |key: &str, version: &str| !seen.contains(&(key.to_owned(), version.to_owned()));
            self.look_at(&place, Kind::Lake, by, &affected, lease, &is_new, found).await?;
        }
        Ok(())
    }

    /// Returns the events found in the lake that are in the counts already.
    pub(super) async fn counted(&self, found: &Found) -> Result<Counted, PortError> {
        let settled = self.settled_of(found).await?;
        let is_counted =
            |path: &String| LakeObject::at(path).is_some_and(|object| settled.contains(object.batch));
        let with_events = found.lake.iter().filter(|(_, (_, of_object))| !of_object.events.is_empty());
        let counted = with_events.filter(|(path, _)| is_counted(path));
        Ok(Counted(counted.map(|(path, (_, of_object))| (path.clone(), of_object.clone())).collect()))
    }

    /// Returns the places of a user's events in the lake that exist.
    pub(super) async fn lake_of(&self, username: &Username) -> Result<Vec<S3Batches>, PortError> {
        let mut places = Vec::new();
        for place in (self.lake)(username) {
            if place.exists().await? {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// Returns how the events of settled batches are counted that were found in the lake.
    pub(super) async fn settled(&self, found: &Found) -> Result<OfObjects, PortError> {
        let mut sum = OfObjects::default();
        for of_object in self.counted(found).await?.0.values() {
            sum.add(of_object);
        }
        Ok(sum)
    }

    /// Returns the batches of the objects found in the lake that are settled.
    async fn settled_of(&self, found: &Found) -> Result<BTreeSet<String>, PortError> {
        let batch = |path: &String| LakeObject::at(path).map(|object| object.batch.to_owned());
        let batches = found.lake.keys().filter_map(batch).collect();
        Ok(self.counts.settled_day(&BTreeSet::new(), Day::FIRST, &batches).await?.batches)
    }

    /// Files the batches that are not filed yet.
    async fn file_all(&self, batches: Vec<String>) -> Result<(), ForgetError> {
        let keys: BTreeMap<String, BatchKey> =
            batches.into_iter().map(BatchKey::new).map(|key| (key.id().as_str().to_owned(), key)).collect();
        let ids = keys.keys().cloned().collect();
        let settled = self.counts.settled_day(&BTreeSet::new(), Day::FIRST, &ids).await?.batches;
        for (_, key) in keys.iter().filter(|(id, _)| !settled.contains(*id)) {
            self.fan_out.file(key).await?;
        }
        Ok(())
    }

    /// Returns the latest values that are meant.
    async fn latest_values(
        &self,
        username: &Username,
        by: By<'_>,
        types: &BTreeSet<EventType>,
    ) -> Result<Vec<LatestValue>, PortError> {
        let mut types = types.clone();
        types.extend(SettledCounts::totals(&self.counts, username).await?.by_type.into_keys());
        types.extend(self.catalog.iter().map(|definition| definition.event_type().clone()));
        let mut meant = Vec::new();
        for event_type in types {
            let mut after = None;
            loop {
                let page = self.latest.list(username, &event_type, after.as_ref(), PAGE).await?;
                after = page.last().map(|value| value.resource.key.clone());
                let is_last = page.len() < PAGE;
                let is_meant = |value: &LatestValue| {
                    by.means(RecordHead::read(value.event()).ok().as_ref(), value.event())
                };
                meant.extend(page.into_iter().filter(is_meant));
                if is_last {
                    break;
                }
            }
        }
        Ok(meant)
    }

    /// Looks at the objects of a place; returns the keys of those whose current version has such an event. `is_wanted` decides by key
    /// and version.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is used once, and they have no other thing in common"
    )]
    async fn look_at(
        &self,
        place: &S3Batches,
        kind: Kind,
        by: By<'_>,
        affected: &BTreeSet<Resource>,
        lease: &Lease<'_>,
        is_wanted: &(dyn Fn(&str, &str) -> bool + Sync),
        found: &mut Found,
    ) -> Result<Vec<String>, ForgetError> {
        let objects = place.stored(&|_| true).await?;
        let looking = objects.iter().map(|object| async move {
            lease.keep().await?;
            let mut listed = Some(object.clone());
            for _ in 0..TRIES {
                let Some(object) = &listed else {
                    return Ok(Notes { key: object.key.clone(), ..Notes::default() });
                };
                match self.look_at_object(place, object, kind, by, affected, is_wanted).await {
                    // Another one took its place meanwhile, or a version is gone.
                    Err(ForgetError::Port(PortError::NotFound { .. })) => {
                        listed = place.stored_at(&object.key).await?;
                    }
                    noted => return noted,
                }
            }
            Err(PortError::unavailable(LOOKING, format!("{} is replaced all the time", object.key)).into())
        });
        let mut looking = stream::iter(looking).buffer_unordered(CONCURRENT);
        let mut with_events = Vec::new();
        while let Some(notes) = looking.next().await {
            let notes = notes?;
            if notes.is_current {
                with_events.push(notes.key.clone());
            }
            found.merge(notes);
        }
        Ok(with_events)
    }

    async fn look_at_object(
        &self,
        place: &S3Batches,
        object: &StoredBatch,
        kind: Kind,
        by: By<'_>,
        affected: &BTreeSet<Resource>,
        is_wanted: &(dyn Fn(&str, &str) -> bool + Sync),
    ) -> Result<Notes, ForgetError> {
        let mut notes = Notes { key: object.key.clone(), ..Notes::default() };
        for version in object.earlier().iter().filter(|version| is_wanted(&object.key, version)) {
            let content = place.open_earlier(object, version).await?;
            let mut has_any = false;
            let mut take = |line: &[u8]| has_any |= self.note(kind, line, by, None, affected, &mut notes);
            // An earlier version that cannot be read may have such events, and goes.
            let is_sound = match each_line(content, &mut take).await {
                Err(WithoutError::Damaged(_)) => false,
                read => read.map(|()| true).map_err(|error| unreadable(object, &error))?,
            };
            if is_sound && !has_any {
                notes.clean.push((object.key.clone(), version.clone()));
            }
        }
        let Some(version) = object.current().filter(|version| is_wanted(&object.key, version)) else {
            return Ok(notes);
        };
        let content: Content = place.open(object).await?;
        let (mut has_any, mut of_object) = (false, OfObjects::default());
        let mut take = |line: &[u8]| {
            has_any |= self.note(kind, line, by, Some(&mut of_object), affected, &mut notes);
        };
        each_line(content, &mut take).await.map_err(|error| unreadable(object, &error))?;
        if !has_any {
            notes.clean.push((object.key.clone(), version.clone()));
        }
        if kind == Kind::Lake {
            notes.of_lake = Some((version, of_object));
        }
        notes.is_current = has_any;
        Ok(notes)
    }

    /// Notes a line, and returns whether it is meant. `of_object` counts those of the version of an object that is read.
    fn note(
        &self,
        kind: Kind,
        line: &[u8],
        by: By<'_>,
        of_object: Option<&mut OfObjects>,
        affected: &BTreeSet<Resource>,
        notes: &mut Notes,
    ) -> bool {
        let quarantined = if kind == Kind::Quarantine { quarantined_line(line) } else { None };
        let line = match (kind, &quarantined) {
            (Kind::Quarantine, None) => return false,
            (Kind::Quarantine, Some(line)) => line.as_slice(),
            _ => line,
        };
        let head = RecordHead::read(line).ok();
        let is_meant = by.means(head.as_ref(), line);
        let Some(head) = head else {
            if is_meant && let By::Request(.., secret) = by {
                notes.tombstones.insert(forgotten::tombstone_of_line(secret, line));
            }
            return is_meant;
        };
        if !is_meant {
            if of_object.is_some() && kind == Kind::Lake && !affected.is_empty() {
                self.note_newest(&head, line, affected, &mut notes.newest);
            }
            return false;
        }
        let identity = head.identity();
        if let By::Request(.., secret) = by {
            let event_type = &head.partition.event_type;
            notes.tombstones.insert(forgotten::tombstone_of_event(
                secret,
                &identity,
                event_type,
                head.received_at,
            ));
            if identity.is_given() {
                notes.tombstones.insert(forgotten::tombstone_of_id(secret, &identity.digest()));
            }
        }
        notes.ids.extend(identity.to_remember());
        if let Some(of_object) = of_object.filter(|_| kind == Kind::Lake) {
            self.count(&notes.key, &head, line, of_object);
        }
        true
    }

    fn note_newest(
        &self,
        head: &RecordHead,
        line: &[u8],
        affected: &BTreeSet<Resource>,
        newest: &mut Newest,
    ) {
        let Partition { username, event_type, .. } = &head.partition;
        let definition = self.catalog.get(event_type).filter(|definition| definition.latest_by().is_some());
        let Some(key) = definition.and_then(|definition| definition.latest_key_of_stored(line)) else {
            return;
        };
        let resource =
            Resource { username: username.clone(), event_type: event_type.clone(), key: key.clone() };
        if affected.contains(&resource)
            && let Ok(value) = LatestValue::read(key, Bytes::copy_from_slice(line))
        {
            newest.raise(value);
        }
    }

    /// Counts an event of the lake as settling counted it: by the place of its object.
    fn count(&self, path: &str, head: &RecordHead, line: &[u8], of_object: &mut OfObjects) {
        let place = LakeObject::at(path).map(|object| object.partition);
        let partition = place.unwrap_or_else(|| head.partition.clone());
        let event_type = &head.partition.event_type;
        if head.is_of_a_bot {
            let of_bots = Partition { event_type: EventType::bots(), ..partition.clone() };
            *of_object.events.entry(of_bots).or_default() += 1;
            let key = CountedValue::of(event_type.as_str()).to_string();
            *of_object.keys.entry((EventType::bots(), key)).or_default() += 1;
        }
        *of_object.events.entry(partition).or_default() += 1;
        let definition = self.catalog.get(event_type);
        if let Some(key) = definition.and_then(|definition| definition.key_of_stored(line)) {
            let key = CountedValue::of(&key).to_string();
            *of_object.keys.entry((event_type.clone(), key)).or_default() += 1;
        }
    }
}

pub(super) fn unreadable(object: &StoredBatch, error: &WithoutError) -> ForgetError {
    match error {
        WithoutError::Damaged(_) => {
            ForgetError::Unreadable { object: object.key.clone(), reason: error.to_string() }
        }
        _ => PortError::unavailable(LOOKING, format!("{}: {error}", object.key)).into(),
    }
}
