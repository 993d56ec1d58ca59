//! The catalog that a data folder is served with, kept in its store: it makes earlier events readable, and a change of the
//! catalog is noticed.
//!
//! Counts by key belong to the field that they were made by. If a type is counted by another field than before, its counts by
//! key are set aside under the old one, including those still in the journal, and come back with that field. Latest values by
//! another field than before are removed: they follow from the lake, and `weir audit --repair` makes those of the new field.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, params};
use weir_core::{
    Catalog, EventType, Increment,
    catalog::{Breakage, Definition},
};

use crate::{
    latest,
    store::{self, StoreError, name},
};

/// An event type that a data folder is, or was, served with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredType {
    /// Its name.
    pub event_type: EventType,
    /// Its file in the catalog.
    pub text: String,
    /// Whether it was in the catalog when the folder was last served.
    pub is_served: bool,
    counted_by: Option<String>,
}

/// Returns the types that a data folder is, or was, served with; an empty list if no server has saved any.
pub fn stored_catalog(path: &Path) -> Result<Vec<StoredType>, StoreError> {
    let database = path.join("events.db");
    let read = || {
        let db = store::open_reader(&database)?;
        // An earlier version of Weir saves no types.
        if db.table_exists(None, "served_types")? { all(&db) } else { Ok(Vec::new()) }
    };
    read().map_err(store::at(&database))
}

fn all(db: &Connection) -> rusqlite::Result<Vec<StoredType>> {
    let mut rows = db.prepare("SELECT event_type, text, counted_by, is_served FROM served_types")?;
    let rows = rows.query_map([], |row| {
        Ok(StoredType {
            event_type: name(row, 0)?,
            text: row.get(1)?,
            counted_by: row.get(2)?,
            is_served: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Saves the catalog that the folder is served with from now on; returns what it changes for stored events. The journal has
/// not been read yet, so its increments may be changed.
pub(crate) fn note(db: &mut Connection, catalog: &Catalog) -> rusqlite::Result<Vec<Breakage>> {
    let transaction = db.transaction()?;
    let stored = all(&transaction)?;
    // Nothing is written where nothing changed: a server must start on a full disk, too.
    if is_noted(&stored, catalog) {
        return Ok(Vec::new());
    }
    // A type that was gone is compared once it is back.
    let mut earlier = Catalog::default();
    for one in stored.iter().filter(|one| one.is_served || catalog.get(&one.event_type).is_some()) {
        earlier.add_earlier(&one.event_type, &one.text);
    }
    let stored: BTreeMap<&EventType, &StoredType> = stored.iter().map(|one| (&one.event_type, one)).collect();
    transaction.execute("UPDATE served_types SET is_served = 0 WHERE is_served", [])?;
    for definition in catalog.iter() {
        let (event_type, count_by) = (definition.event_type(), definition.count_by());
        if let Some(before) = stored.get(event_type)
            && before.counted_by.as_deref() != count_by
        {
            set_keys_aside(&transaction, event_type, before.counted_by.as_deref())?;
            bring_keys_back(&transaction, event_type, count_by)?;
        }
        let latest_by = earlier.get(event_type).and_then(Definition::latest_by);
        if latest_by.is_some() && latest_by != definition.latest_by() {
            latest::forget_type(&transaction, event_type)?;
        }
        transaction.execute(
            "INSERT INTO served_types VALUES (?1, ?2, ?3, 1)
             ON CONFLICT DO UPDATE SET text = excluded.text, counted_by = excluded.counted_by, is_served = 1",
            params![event_type.as_str(), definition.text(), count_by],
        )?;
    }
    transaction.commit()?;
    Ok(catalog.breakages(&earlier))
}

/// Returns whether a catalog is the one that was noted last.
fn is_noted(stored: &[StoredType], catalog: &Catalog) -> bool {
    let served: Vec<_> = stored.iter().filter(|one| one.is_served).collect();
    served.len() == catalog.iter().count()
        && served.iter().all(|one| {
            catalog.get(&one.event_type).is_some_and(|definition| {
                definition.text() == one.text && definition.count_by() == one.counted_by.as_deref()
            })
        })
}

/// Moves a type's counts by key out of those that are read. A type without a counted field has no such counts.
fn set_keys_aside(db: &Connection, event_type: &EventType, field: Option<&str>) -> rusqlite::Result<()> {
    let Some(field) = field else { return Ok(()) };
    let mut add = db.prepare(
        "INSERT INTO earlier_keys VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for Increment { counter, by } in take_from_journal(db, event_type)? {
        let key = counter.key.as_ref().map(weir_core::CountedValue::as_str);
        add.execute(params![counter.username.as_str(), event_type.as_str(), field, key, by])?;
    }
    db.execute(
        "INSERT INTO earlier_keys SELECT username, event_type, ?2, key, count FROM live_keys WHERE event_type = ?1
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
        [event_type.as_str(), field],
    )?;
    db.execute("DELETE FROM live_keys WHERE event_type = ?1", [event_type.as_str()]).map(drop)
}

/// Removes the increments of a type's keys from the journal; the events stay.
fn take_from_journal(db: &Connection, event_type: &EventType) -> rusqlite::Result<Vec<Increment>> {
    let mut rows = db.prepare("SELECT first, increments FROM journal")?;
    let mut rows = rows.query([])?;
    let mut update = db.prepare("UPDATE journal SET increments = ?2 WHERE first = ?1")?;
    let mut taken = Vec::new();
    let malformed =
        |error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error));
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let increments: Vec<Increment> =
            serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(malformed)?;
        let of_keys = |by: &Increment| by.counter.event_type == *event_type && by.counter.key.is_some();
        let (keys, rest): (Vec<_>, Vec<_>) = increments.into_iter().partition(of_keys);
        if !keys.is_empty() {
            changed.push((row.get::<_, u64>(0)?, serde_json::to_string(&rest).map_err(malformed)?));
            taken.extend(keys);
        }
    }
    for (first, rest) in changed {
        update.execute(params![first, rest])?;
    }
    Ok(taken)
}

/// Moves counts by a field, set aside earlier, back to the counts that are read.
fn bring_keys_back(db: &Connection, event_type: &EventType, field: Option<&str>) -> rusqlite::Result<()> {
    let of_field = params![event_type.as_str(), field];
    db.execute(
        "INSERT INTO live_keys SELECT username, event_type, key, count FROM earlier_keys
         WHERE event_type = ?1 AND field = ?2
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
        of_field,
    )?;
    db.execute("DELETE FROM earlier_keys WHERE event_type = ?1 AND field = ?2", of_field).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_with_the_catalog_of_the_last_start_writes_nothing_and_one_with_another_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut db = store::open(&folder.path().join("events.db")).unwrap();
        let changes = |db: &Connection| -> u64 {
            db.query_row("SELECT total_changes()", [], |row| row.get(0)).unwrap()
        };
        let schema = |count_by: &str| {
            format!(
                r#"{{"type": "object", "properties": {{"a": {{"type": "string"}}, "b": {{"type": "string"}}}},
                     "x-weir": {{"route": "/signup", "count_by": "{count_by}"}}}}"#
            )
        };
        let catalog = |count_by| Catalog::read([("signup.json", &*schema(count_by))]).unwrap();
        note(&mut db, &catalog("a")).unwrap();
        let before = changes(&db);
        assert!(before > 0);
        note(&mut db, &catalog("a")).unwrap();
        assert_eq!(changes(&db), before);
        for other in [catalog("b"), Catalog::built_in().unwrap(), Catalog::default(), catalog("b")] {
            let before = changes(&db);
            note(&mut db, &other).unwrap();
            assert!(changes(&db) > before);
        }
    }
}
