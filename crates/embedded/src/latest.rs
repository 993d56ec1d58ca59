//! [`LatestValues`]: the stored latest values, and those of events that are in the journal.
//!
//! A commit writes no latest value: the row of the journal says which of its events are the newest of their resources
//! (`journal::latest`), and the overlay has them in memory. They enter the table in the transaction that removes the row, each
//! unless a newer one is there. Reading takes the newer of both. In which order that happens does not matter, so a reader
//! needs no watermark: it takes the overlay first, and what leaves the overlay meanwhile is in the table.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use weir_core::{
    EventType, LatestKey, Username,
    latest::{LatestValue, Resource},
    ports::{LatestValues, LatestValuesAdmin, PortError},
};

use crate::{engine::Embedded, journal::latest, store::Readers};

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

    async fn read(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        let resource = |key: &LatestKey| Resource {
            username: username.clone(),
            event_type: event_type.clone(),
            key: key.clone(),
        };
        let resources: Vec<Resource> = keys.iter().map(resource).collect();
        let snapshot = self.inner.overlay.snapshot();
        let query = move |db: &Connection| {
            let read = |resource: &Resource| Ok(newer(snapshot.latest(resource), stored(db, resource)?));
            resources.iter().map(read).collect()
        };
        self.inner.readers.read(READING, query).await
    }

    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        let snapshot = self.inner.overlay.snapshot();
        let moving = snapshot.latest_of(username, event_type, after);
        list(&self.inner.readers, username, event_type, after, limit, moving).await
    }
}

#[async_trait]
impl LatestValuesAdmin for Embedded {
    /// A value of an event in the journal stays: it is what that event makes it.
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

/// Lists the stored values, with those that are on their way.
async fn list(
    readers: &Readers,
    username: &Username,
    event_type: &EventType,
    after: Option<&LatestKey>,
    limit: usize,
    mut moving: BTreeMap<LatestKey, LatestValue>,
) -> Result<Vec<LatestValue>, PortError> {
    let (username, event_type, after) = (username.clone(), event_type.clone(), after.cloned());
    let query = move |db: &Connection| {
        let mut rows = db.prepare_cached(
            "SELECT key, event FROM latest_values WHERE username = ?1 AND event_type = ?2 AND (key > ?3 OR ?4)
             ORDER BY key LIMIT ?5",
        )?;
        let from = after.as_ref().map_or("", LatestKey::as_str);
        let rows = rows.query_map(
            params![username.as_str(), event_type.as_str(), from, after.is_none(), limit],
            |row| value(row, 0),
        )?;
        for row in rows {
            let row = row?;
            let key = row.resource.key.clone();
            let newest = newer(moving.remove(&key), Some(row));
            moving.extend(newest.map(|newest| (key, newest)));
        }
        Ok(moving.into_values().take(limit).collect())
    };
    readers.read(READING, query).await
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
    .query_row([username.as_str(), event_type.as_str(), key.as_str()], |row| value(row, 0))
    .optional()
}

/// Reads a value from the columns `key` and `event`, of which `key` is this one.
fn value(row: &Row<'_>, key: usize) -> rusqlite::Result<LatestValue> {
    let event = Bytes::copy_from_slice(row.get_ref(key + 1)?.as_blob()?);
    LatestValue::read(crate::store::name(row, key)?, event).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(key + 1, rusqlite::types::Type::Blob, error.into())
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

/// Removes all latest values of a type, which are by a field that it is not kept by any more. The journal has not been read
/// yet.
pub(crate) fn forget_type(db: &Connection, event_type: &EventType) -> rusqlite::Result<()> {
    latest::forget_type(db, event_type)?;
    db.execute("DELETE FROM latest_values WHERE event_type = ?1", [event_type.as_str()]).map(drop)
}
