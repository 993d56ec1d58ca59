//! Finds the events to forget, and what their going changes. It reads only.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    io::{self, BufRead},
    path::Path,
};

use bytes::Bytes;
use rusqlite::{Connection, params};
use weir_core::{
    Catalog, CountedValue, Day, EventType, Format, InstallationSecret, Partition, RecordHead,
    catalog::Definition,
    dedup::{Identity, IdentityDigest},
    forgotten::{self, ForgetRequest, Tombstone},
    latest::{LatestValue, Newest, Resource},
    quarantined_line,
    rejected::RejectedEvent,
    sealing::SealedRows,
};

use super::{ForgetError, sealed::SealedDays};
use crate::{
    folder::{Folder, gzip},
    served_types::stored_catalog,
    store::{self, name},
};

/// How many names are listed at a time.
const PAGE: usize = 1000;

/// What bots' events are counted by.
const BOTS_KEY: &str = "event_type";

/// What goes.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) tombstones: HashSet<Tombstone>,
    /// The digests of the ids that clients gave.
    pub(super) ids: BTreeSet<IdentityDigest>,
    /// The events that leave the lake, by partition.
    pub(super) events: BTreeMap<Partition, u64>,
    /// The events that leave the lake, by type, field and value of the field: of each field that counts are kept by.
    pub(super) keys: BTreeMap<(EventType, String, CountedValue), u64>,
    /// The latest values that go.
    pub(super) latest: BTreeSet<Resource>,
    /// Those that take their place.
    pub(super) newest: Newest,
    /// The rows of recent rejected events.
    pub(super) rejected: Vec<i64>,
    /// The field that each type's counts by key are by.
    pub(super) counted_by: BTreeMap<EventType, String>,
    /// The sealed days of which events go, and whether all JSON of the day is there.
    pub(super) days: BTreeMap<Day, bool>,
}

impl Plan {
    /// Returns how many events of each type leave the lake.
    pub(super) fn events_by_type(&self) -> Vec<(EventType, u64)> {
        let mut by_type = BTreeMap::<&EventType, u64>::new();
        // A bot's event counts once more as a bot's.
        for (partition, count) in self.events.iter().filter(|(partition, _)| !partition.event_type.is_bots())
        {
            *by_type.entry(&partition.event_type).or_default() += count;
        }
        by_type.into_iter().map(|(event_type, count)| (event_type.clone(), count)).collect()
    }
}

struct Planner<'a> {
    request: &'a ForgetRequest,
    secret: &'a InstallationSecret,
    sealed: &'a SealedDays,
    plan: Plan,
}

pub(super) fn plan(
    db: &Connection,
    path: &Path,
    request: &ForgetRequest,
    secret: &InstallationSecret,
    sealed: &SealedDays,
    rows: &dyn SealedRows,
) -> Result<Plan, ForgetError> {
    let at_store = path.join("events.db");
    let in_store = store::at(&at_store);
    let mut planner = Planner { request, secret, sealed, plan: Plan::default() };
    let whose = Partition::folder_of_user(&request.username);
    let (raw, lake, quarantine) = (path.join("raw"), path.join("lake").join(&whose), path.join("quarantine"));
    for folder in [&raw, &lake] {
        each_line(folder, &mut |_, line| planner.note(line))?;
    }
    let only_copies = sealed.only_copies();
    let each_sealed = |take: &mut dyn FnMut(&Partition, &[u8])| {
        if only_copies.is_empty() { Ok(()) } else { rows.each(&only_copies, &request.username, take) }
    };
    each_sealed(&mut |_, line| planner.note(line))?;
    each_line(&quarantine, &mut |_, entry| {
        if let Some(line) = quarantined_line(entry) {
            planner.note(&line);
        }
    })?;

    let mut catalog = Catalog::default();
    for one in stored_catalog(path)? {
        catalog.add_earlier(&one.event_type, &one.text);
    }
    planner.rejected(db).map_err(&in_store)?;
    planner.latest(db).map_err(&in_store)?;
    let fields = planner.counted_fields(db, &catalog).map_err(&in_store)?;
    each_line(&lake, &mut |name, line| {
        // Settled counts are by the place of the object.
        let object = format!("{whose}/{name}");
        let place = object.rsplit_once('/').and_then(|(folder, _)| folder.parse::<Partition>().ok());
        // What a sealed day has is counted there.
        if !place.as_ref().is_some_and(|it| sealed.has_object(Day::of(it.hour), &object)) {
            planner.count(place.as_ref(), line, &fields, &catalog);
        }
    })?;
    each_sealed(&mut |place, line| planner.count(Some(place), line, &fields, &catalog))?;
    Ok(planner.plan)
}

impl Planner<'_> {
    /// Looks at a line of raw or of the lake.
    fn note(&mut self, line: &[u8]) {
        match RecordHead::read(line) {
            Ok(head) if self.request.means(&head, line) => self.bury(&head),
            Err(_) if self.request.means_line(line) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                self.plan.tombstones.insert(forgotten::tombstone_of_line(self.secret, line));
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn bury(&mut self, head: &RecordHead) {
        self.touch(&head.partition);
        let identity = head.identity();
        let tombstone = self.tombstone(head);
        self.plan.tombstones.insert(tombstone);
        if identity.is_given() {
            let digest = identity.digest();
            self.plan.tombstones.insert(forgotten::tombstone_of_id(self.secret, &digest));
            self.plan.ids.insert(digest);
        }
    }

    /// Notes that the sealed files of a partition's day, if there are any, have such an event.
    fn touch(&mut self, partition: &Partition) {
        let day = Day::of(partition.hour);
        if self.sealed.has(day) {
            self.plan.days.insert(day, self.sealed.is_as_json(day));
        }
    }

    fn tombstone(&self, head: &RecordHead) -> Tombstone {
        let event_type = &head.partition.event_type;
        forgotten::tombstone_of_event(self.secret, &head.identity(), event_type, head.received_at)
    }

    /// Finds the rejected events that are shown.
    fn rejected(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut rows = db.prepare("SELECT id, event FROM recent_rejected WHERE username = ?1")?;
        let mut rows = rows.query([self.request.username.as_str()])?;
        while let Some(row) = rows.next()? {
            let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
            let Ok(event) = serde_json::from_str::<RejectedEvent>(&text) else { continue };
            let (username, event_id) = (&self.request.username, &event.event_id);
            let identity = Identity::Rejected { username, event_id };
            let rejected = EventType::rejected();
            let tombstone =
                forgotten::tombstone_of_event(self.secret, &identity, &rejected, event.received_at);
            let claimed = event.event_type.as_ref().map(EventType::as_str);
            if self.plan.tombstones.contains(&tombstone) || self.request.means_sent(claimed, &event.event) {
                self.plan.rejected.push(id);
            }
        }
        Ok(())
    }

    /// Finds the latest values.
    fn latest(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut rows = db.prepare("SELECT event_type, key, event FROM latest_values WHERE username = ?1")?;
        let mut rows = rows.query([self.request.username.as_str()])?;
        while let Some(row) = rows.next()? {
            let line = row.get_ref(2)?.as_blob()?;
            let Ok(head) = RecordHead::read(line) else { continue };
            if self.is_gone(&head) || self.request.means(&head, line) {
                let username = self.request.username.clone();
                self.plan.latest.insert(Resource { username, event_type: name(row, 0)?, key: name(row, 1)? });
            }
        }
        Ok(())
    }

    fn is_gone(&self, head: &RecordHead) -> bool {
        self.plan.tombstones.contains(&self.tombstone(head))
    }

    /// Returns the fields by which the user's events are, or were, counted.
    fn counted_fields(
        &mut self,
        db: &Connection,
        catalog: &Catalog,
    ) -> rusqlite::Result<BTreeMap<EventType, BTreeSet<String>>> {
        let mut fields: BTreeMap<EventType, BTreeSet<String>> = BTreeMap::new();
        self.plan.counted_by.insert(EventType::bots(), BOTS_KEY.to_owned());
        for definition in catalog.iter() {
            if let Some(field) = definition.count_by() {
                let event_type = definition.event_type().clone();
                self.plan.counted_by.insert(event_type.clone(), field.to_owned());
                fields.entry(event_type).or_default().insert(field.to_owned());
            }
        }
        let mut rows =
            db.prepare("SELECT DISTINCT event_type, field FROM earlier_keys WHERE username = ?1")?;
        let mut rows = rows.query(params![self.request.username.as_str()])?;
        while let Some(row) = rows.next()? {
            fields.entry(name(row, 0)?).or_default().insert(row.get(1)?);
        }
        Ok(fields)
    }

    /// Counts a line of the lake, if it goes; otherwise it may become the latest value of its resource.
    fn count(
        &mut self,
        place: Option<&Partition>,
        line: &[u8],
        fields: &BTreeMap<EventType, BTreeSet<String>>,
        catalog: &Catalog,
    ) {
        let Ok(head) = RecordHead::read(line) else { return };
        let event_type = &head.partition.event_type;
        if !self.is_gone(&head) {
            let key = catalog.get(event_type).and_then(|definition| latest_key(definition, line));
            if let Some(key) = key
                && self.plan.latest.contains(&key_of(&head, key.clone()))
                && let Ok(value) = LatestValue::read(key, Bytes::copy_from_slice(line))
            {
                self.plan.newest.raise(value);
            }
            return;
        }
        let partition = place.unwrap_or(&head.partition).clone();
        self.touch(&partition);
        if head.is_of_a_bot {
            let of_bots = Partition { event_type: EventType::bots(), ..partition.clone() };
            *self.plan.events.entry(of_bots).or_default() += 1;
            let key = CountedValue::of(event_type.as_str());
            *self.plan.keys.entry((EventType::bots(), BOTS_KEY.to_owned(), key)).or_default() += 1;
        }
        *self.plan.events.entry(partition).or_default() += 1;
        let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        for field in fields.get(event_type).into_iter().flatten() {
            if let Some(text) = line.get(field).and_then(serde_json::Value::as_str) {
                let key = (event_type.clone(), field.clone(), CountedValue::of(text));
                *self.plan.keys.entry(key).or_default() += 1;
            }
        }
    }
}

fn latest_key(definition: &Definition, line: &[u8]) -> Option<weir_core::LatestKey> {
    definition.latest_by()?;
    definition.latest_key_of_stored(line)
}

fn key_of(head: &RecordHead, key: weir_core::LatestKey) -> Resource {
    let Partition { username, event_type, .. } = &head.partition;
    Resource { username: username.clone(), event_type: event_type.clone(), key }
}

/// Passes on each line of the gzip files below a folder, with the file's name. A file that cannot be read to its end is an error.
pub(super) fn each_line(folder: &Path, take: &mut dyn FnMut(&str, &[u8])) -> Result<(), ForgetError> {
    let mut line = Vec::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        // Weir put no other files there.
        if Format::of_file(name.rsplit('/').next().unwrap_or(&name)).is_none() {
            continue;
        }
        let mut read = || -> io::Result<()> {
            let mut lines = gzip::lines(&path)?;
            loop {
                line.clear();
                if lines.read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
                take(&name, &line);
            }
        };
        read().map_err(|source| ForgetError::Unreadable { path: path.clone(), source })?;
    }
    Ok(())
}

/// Returns the names of all files below a folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, ForgetError> {
    let unreadable = |source| ForgetError::Unreadable { path: folder.to_owned(), source };
    if fs::metadata(folder).is_err() {
        return Ok(Vec::new());
    }
    let below = Folder::existing(folder);
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = below.list(all.last().map(String::as_str), PAGE).map_err(unreadable)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
