//! The latest values in a row of the journal: the newest event of each resource, and the offset of that event's line.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use rusqlite::{Connection, Error, params, types::Type};
use weir_core::{
    EventType, LatestKey, RecordHead,
    latest::{LatestValue, Newest, Resource},
};

/// The newest events of a row.
#[derive(Default)]
pub(crate) struct RowLatest(BTreeMap<Resource, RowValue>);

struct RowValue {
    value: LatestValue,
    /// The offset of its line in the row's lines.
    at: usize,
}

impl RowLatest {
    /// Adds a value whose line begins at this offset, unless that of its resource is as new or newer.
    pub(crate) fn raise(&mut self, value: LatestValue, at: usize) {
        match self.0.entry(value.resource.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(RowValue { value, at });
            }
            Entry::Occupied(mut entry) if entry.get().value.version < value.version => {
                entry.insert(RowValue { value, at });
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Adds those of another row, whose lines are appended at this offset.
    pub(crate) fn append(&mut self, other: Self, at: usize) {
        if self.0.is_empty() && at == 0 {
            *self = other;
            return;
        }
        for place in other.0.into_values() {
            self.raise(place.value, at + place.at);
        }
    }

    /// Returns the column of the journal: each key, and the offset of its line (JSON); null for a row without latest values.
    pub(crate) fn column(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let places: Vec<(&LatestKey, usize)> =
            self.0.iter().map(|(resource, place)| (&resource.key, place.at)).collect();
        Some(serde_json::to_string(&places).expect("plain data serialises"))
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = LatestValue> {
        self.0.into_values().map(|place| place.value)
    }
}

/// Reads the column of a row with these lines.
pub(crate) fn read(column: &str, lines: &[u8]) -> rusqlite::Result<Vec<LatestValue>> {
    let malformed = |error| Error::FromSqlConversionFailure(0, Type::Text, error);
    let places: Vec<(LatestKey, usize)> =
        serde_json::from_str(column).map_err(|error| malformed(error.into()))?;
    places
        .into_iter()
        .map(|(key, at)| {
            let line = Bytes::copy_from_slice(line_at(lines, at));
            LatestValue::read(key, line).map_err(|error| malformed(error.into()))
        })
        .collect()
}

fn line_at(lines: &[u8], at: usize) -> &[u8] {
    let rest = lines.get(at..).unwrap_or_default();
    rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Returns the newest events of the whole journal.
pub(crate) fn in_journal(db: &Connection) -> rusqlite::Result<Newest> {
    let mut newest = Newest::default();
    // A folder that an earlier version of Weir serves has none.
    if !db.column_exists(None, "journal", "latest")? {
        return Ok(newest);
    }
    let mut rows = db.prepare_cached("SELECT latest, lines FROM journal WHERE latest IS NOT NULL")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let values = read(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?)?;
        newest.extend(values);
    }
    Ok(newest)
}

/// Removes the latest values of a type from the journal; the events stay. Called before the journal is read.
pub(crate) fn forget_type(db: &Connection, event_type: &EventType) -> rusqlite::Result<()> {
    let mut rows = db.prepare("SELECT first, latest, lines FROM journal WHERE latest IS NOT NULL")?;
    let mut rows = rows.query([])?;
    let malformed = |error| Error::FromSqlConversionFailure(1, Type::Text, Box::new(error));
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let mut places: Vec<(LatestKey, usize)> =
            serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(malformed)?;
        let lines = row.get_ref(2)?.as_blob()?;
        let before = places.len();
        places.retain(|(_, at)| {
            let head = RecordHead::read(line_at(lines, *at));
            head.is_ok_and(|head| head.partition.event_type != *event_type)
        });
        if places.len() < before {
            let rest = serde_json::to_string(&places).map_err(malformed)?;
            changed.push((row.get::<_, u64>(0)?, (!places.is_empty()).then_some(rest)));
        }
    }
    let mut update = db.prepare("UPDATE journal SET latest = ?2 WHERE first = ?1")?;
    for (first, rest) in changed {
        update.execute(params![first, rest])?;
    }
    Ok(())
}
