//! [`LatestValues`]: the stored latest values, and those of events that are in the journal.
//!
//! A commit writes no latest value: the row of the journal says which of its events are the newest of their resources
//! (`journal::latest`), and the overlay has them in memory. They enter the table in the transaction that removes the row, each
//! unless a newer one is there. A reader takes the newer of both. The order of these steps does not matter, so a reader needs
//! no watermark: it takes the overlay first, and a value that leaves the overlay meanwhile is in the table.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use weir_core::{
    EventType, LatestKey, Username,
    latest::{LatestValue, Resource},
    ports::{LatestValues, LatestValuesAdmin, PortError, ReadLatest},
};

use crate::{counts::books::BooksOnDisk, engine::Embedded, journal::latest, store::name};

const READING: &str = "reading latest values";
const RAISING: &str = "raising latest values";

#[async_trait]
impl LatestValues for Embedded {
    /// Raises the stored values directly. The collector does not need it here, as
    /// [`weir_core::ports::Stream::append`] raises what it stores.
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>> {
        if values.is_empty() {
            return Vec::new();
        }
        let raised = values.to_vec();
        let raised = self.inner.journal.work(RAISING, move |db| raise(db, &raised)).await;
        vec![raised; values.len()]
    }
}

#[async_trait]
impl ReadLatest for Embedded {
    async fn read(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        let resources = resources(username, event_type, keys);
        let snapshot = self.inner.overlay.snapshot();
        let read = move |db: &Connection| read(db, &resources, |resource| snapshot.latest(resource));
        self.inner.readers.read(READING, read).await
    }

    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        let page = Page::new(username, event_type, after, limit);
        let snapshot = self.inner.overlay.snapshot();
        let list = move |db: &Connection| {
            let moving = snapshot.latest_of(&page.username, &page.event_type, page.after.as_ref());
            page.read(db, moving)
        };
        self.inner.readers.read(READING, list).await
    }
}

/// A data folder that another process may be serving has no overlay here: it is read from the journal.
#[async_trait]
impl ReadLatest for BooksOnDisk {
    async fn read(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        let resources = resources(username, event_type, keys);
        let read = move |db: &Connection| {
            if !is_kept(db)? {
                return Ok(vec![None; resources.len()]);
            }
            let newest = latest::in_journal(db)?;
            read(db, &resources, |resource| newest.get(resource))
        };
        self.0.read(READING, read).await
    }

    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        let page = Page::new(username, event_type, after, limit);
        let list = move |db: &Connection| {
            if !is_kept(db)? {
                return Ok(Vec::new());
            }
            let newest = latest::in_journal(db)?;
            let later = newest.after(&page.username, &page.event_type, page.after.as_ref());
            page.read(db, later.map(|value| (value.resource.key.clone(), value)).collect())
        };
        self.0.read(READING, list).await
    }
}

#[async_trait]
impl LatestValuesAdmin for Embedded {
    /// Removes the stored value only. A value whose event is still in the journal stays, as that event is proof of it.
    async fn remove(&self, value: &LatestValue) -> Result<(), PortError> {
        let value = value.clone();
        let remove = move |db: &Connection| {
            let Resource { username, event_type, key } = &value.resource;
            db.prepare_cached(
                "DELETE FROM latest_values
                 WHERE username = ?1 AND event_type = ?2 AND key = ?3 AND time = ?4 AND event_id = ?5",
            )?
            .execute(params![
                username.as_str(),
                event_type.as_str(),
                key.as_str(),
                value.version.time.millis(),
                value.version.event_id.as_str()
            ])
            .map(drop)
        };
        self.inner.journal.work("removing a latest value", remove).await
    }
}

/// Returns whether the folder keeps latest values; a folder of an earlier version of Weir does not.
fn is_kept(db: &Connection) -> rusqlite::Result<bool> {
    db.table_exists(None, "latest_values")
}

fn resources(username: &Username, event_type: &EventType, keys: &[LatestKey]) -> Vec<Resource> {
    let resource = |key: &LatestKey| Resource {
        username: username.clone(),
        event_type: event_type.clone(),
        key: key.clone(),
    };
    keys.iter().map(resource).collect()
}

/// Reads stored values, or those in the journal (`moving`) where they are newer.
fn read(
    db: &Connection,
    resources: &[Resource],
    moving: impl Fn(&Resource) -> Option<LatestValue>,
) -> rusqlite::Result<Vec<Option<LatestValue>>> {
    resources.iter().map(|resource| Ok(newer(moving(resource), stored(db, resource)?))).collect()
}

/// A part of a list.
struct Page {
    username: Username,
    event_type: EventType,
    after: Option<LatestKey>,
    limit: usize,
}

impl Page {
    fn new(username: &Username, event_type: &EventType, after: Option<&LatestKey>, limit: usize) -> Self {
        let (username, event_type) = (username.clone(), event_type.clone());
        Self { username, event_type, after: after.cloned(), limit }
    }

    /// Reads the stored values, and adds those in the journal that are after `after` (`moving`).
    fn read(
        &self,
        db: &Connection,
        mut moving: BTreeMap<LatestKey, LatestValue>,
    ) -> rusqlite::Result<Vec<LatestValue>> {
        let mut rows = db.prepare_cached(
            "SELECT key, event FROM latest_values WHERE username = ?1 AND event_type = ?2 AND (key > ?3 OR ?4)
             ORDER BY key LIMIT ?5",
        )?;
        let (user, of) = (self.username.as_str(), self.event_type.as_str());
        let from = self.after.as_ref().map_or("", LatestKey::as_str);
        let rows = rows.query_map(params![user, of, from, self.after.is_none(), self.limit], value)?;
        for row in rows {
            let row = row?;
            let key = row.resource.key.clone();
            let newest = newer(moving.remove(&key), Some(row));
            moving.extend(newest.map(|newest| (key, newest)));
        }
        Ok(moving.into_values().take(self.limit).collect())
    }
}

fn newer(one: Option<LatestValue>, other: Option<LatestValue>) -> Option<LatestValue> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one.version > other.version { one } else { other }),
        (one, other) => one.or(other),
    }
}

fn stored(db: &Connection, resource: &Resource) -> rusqlite::Result<Option<LatestValue>> {
    let Resource { username, event_type, key } = resource;
    db.prepare_cached(
        "SELECT key, event FROM latest_values WHERE username = ?1 AND event_type = ?2 AND key = ?3",
    )?
    .query_row([username.as_str(), event_type.as_str(), key.as_str()], value)
    .optional()
}

/// Reads a value from the columns `key` and `event`.
fn value(row: &Row<'_>) -> rusqlite::Result<LatestValue> {
    let event = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
    LatestValue::read(name(row, 0)?, event).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, error.into())
    })
}

/// Raises the stored values.
pub(crate) fn raise(db: &Connection, values: &[LatestValue]) -> rusqlite::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let mut raise = db.prepare_cached(
        "INSERT INTO latest_values VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET time = excluded.time, event_id = excluded.event_id, event = excluded.event
         WHERE (excluded.time, excluded.event_id) > (time, event_id)",
    )?;
    for value in values {
        let Resource { username, event_type, key } = &value.resource;
        raise.execute(params![
            username.as_str(),
            event_type.as_str(),
            key.as_str(),
            value.version.time.millis(),
            value.version.event_id.as_str(),
            &value.event()[..]
        ])?;
    }
    Ok(())
}

/// Removes all latest values of a type whose `latest_by` has changed. Called before the journal is read.
pub(crate) fn forget_type(db: &Connection, event_type: &EventType) -> rusqlite::Result<()> {
    latest::forget_type(db, event_type)?;
    db.execute("DELETE FROM latest_values WHERE event_type = ?1", [event_type.as_str()]).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use weir_core::{Catalog, Event, Record, Stamp, SystemClock, Timestamp, ports::Stream};

    use super::*;
    use crate::{Deliveries, Flush, OpenError};

    fn record(event_type: &str, key: &str, time: u64) -> Record {
        let stamp = Stamp {
            username: "ann".parse().unwrap(),
            event_id: format!("e-{time}").parse().unwrap(),
            received_at: Timestamp::saturating(time),
        };
        let event = Event::read("{}").unwrap();
        let record = Record::accepted(&event, &event_type.parse().unwrap(), None, stamp);
        record.latest_under(Some(LatestKey::of(key)))
    }

    fn catalog(latest_by: &str) -> Catalog {
        let file = |name: &str, latest_by: &str| {
            format!(
                r#"{{"type": "object", "properties": {{"a": {{"type": "string"}}, "b": {{"type": "string"}}}},
                     "x-weir": {{"route": "/{name}", "latest_by": "{latest_by}"}}}}"#
            )
        };
        let (one, other) = (file("one", latest_by), file("other", "a"));
        Catalog::read([("one.json", &*one), ("other.json", &*other)]).unwrap()
    }

    /// Opens a folder, in whose journal everything stays. The threads of the engine before hold it until they end.
    async fn open(folder: &std::path::Path, catalog: &Catalog) -> (Embedded, Deliveries) {
        loop {
            let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
            match Embedded::open_with_catalog(folder, flush, Arc::new(SystemClock), catalog) {
                Ok((engine, deliveries, _)) => return (engine, deliveries),
                Err(OpenError::InUse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn times(engine: &Embedded, event_type: &str) -> Vec<(String, u64)> {
        let (ann, event_type) = ("ann".parse().unwrap(), event_type.parse().unwrap());
        let listed = engine.list(&ann, &event_type, None, 9).await.unwrap();
        listed
            .into_iter()
            .map(|value| (value.resource.key.to_string(), value.version.time.millis()))
            .collect()
    }

    fn expected(times: &[(&str, u64)]) -> Vec<(String, u64)> {
        times.iter().map(|(key, time)| ((*key).to_owned(), *time)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn values_in_the_journal_outlive_a_process_and_another_field_removes_those_of_its_type_only() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, deliveries) = open(folder.path(), &catalog("a")).await;
        // In the table: of x a newer one than the journal has, of y an older one.
        engine.append(vec![record("one", "x", 9), record("one", "y", 1), record("other", "z", 1)]).await;
        engine.flush().await.unwrap();
        let rows = vec![
            record("one", "x", 5),
            record("other", "z", 7),
            record("one", "y", 6),
            record("one", "y", 3),
        ];
        engine.append(rows).await;
        engine.append(vec![record("one", "w", 2)]).await;
        let of_one = expected(&[("w", 2), ("x", 9), ("y", 6)]);
        assert_eq!(times(&engine, "one").await, of_one);
        drop((engine, deliveries));
        let (engine, deliveries) = open(folder.path(), &catalog("a")).await;
        assert_eq!(times(&engine, "one").await, of_one);
        let (on_disk, ..) = crate::open_books(folder.path()).unwrap();
        let listed = on_disk.list(&"ann".parse().unwrap(), &"one".parse().unwrap(), None, 9).await.unwrap();
        assert_eq!(listed.len(), 3);
        drop((engine, deliveries));
        let (engine, deliveries) = open(folder.path(), &catalog("b")).await;
        assert_eq!(times(&engine, "one").await, expected(&[]));
        assert_eq!(times(&engine, "other").await, expected(&[("z", 7)]));
        engine.append(vec![record("one", "new", 4)]).await;
        drop((engine, deliveries));
        let (engine, _deliveries) = open(folder.path(), &catalog("b")).await;
        assert_eq!(times(&engine, "one").await, expected(&[("new", 4)]));
    }
}
