//! [`LiveCounts`]: the stored counts plus the overlay.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use weir_core::{
    CountedValue, Counter, EventType, Increment, Username,
    counts::{KeyCount, KeysRequest},
    ports::{LiveCounts, PortError},
};

use super::stored::{self, applied};
use crate::{engine::Embedded, store::name};

const WHAT: &str = "reading counts";

#[async_trait]
impl LiveCounts for Embedded {
    /// Raises the stored counts directly. The collector does not need it here, as [`weir_core::ports::Stream::append`] counts
    /// what it stores.
    async fn raise(&self, increments: &[Increment]) -> Result<(), PortError> {
        let increments = increments.to_vec();
        self.inner.journal.work("raising counts", move |db| stored::raise(db, &increments)).await
    }

    async fn read(&self, counters: &[Counter]) -> Result<Vec<u64>, PortError> {
        let counters = counters.to_vec();
        let snapshot = self.inner.overlay.snapshot();
        let query = move |db: &Connection| {
            let applied = applied(db)?;
            let add = |counter| Ok(stored::count(db, counter)? + snapshot.count(counter, applied));
            counters.iter().map(add).collect()
        };
        self.inner.readers.read(WHAT, query).await
    }

    async fn totals(&self, username: &Username) -> Result<BTreeMap<EventType, u64>, PortError> {
        let username = username.clone();
        let snapshot = self.inner.overlay.snapshot();
        let query = move |db: &Connection| {
            let mut totals = snapshot.totals(&username, applied(db)?);
            let mut rows =
                db.prepare_cached("SELECT event_type, count FROM live_totals WHERE username = ?1")?;
            let rows =
                rows.query_map([username.as_str()], |row| Ok((name(row, 0)?, row.get::<_, u64>(1)?)))?;
            for row in rows {
                let (event_type, count) = row?;
                *totals.entry(event_type).or_default() += count;
            }
            Ok(totals)
        };
        self.inner.readers.read(WHAT, query).await
    }

    async fn keys(
        &self,
        username: &Username,
        event_type: &EventType,
        request: &KeysRequest,
    ) -> Result<Vec<KeyCount>, PortError> {
        let (username, event_type, request) = (username.clone(), event_type.clone(), request.clone());
        let snapshot = self.inner.overlay.snapshot();
        let query = move |db: &Connection| {
            let moving = snapshot.keys(&username, &event_type, applied(db)?);
            largest_keys(db, &username, &event_type, moving, &request)
        };
        self.inner.readers.read(WHAT, query).await
    }
}

/// Returns a page of keys. Keys in `moving` are placed by the sum of both parts; the others are in the index in their final
/// order already, so that reading a page's worth of them is enough.
fn largest_keys(
    db: &Connection,
    username: &Username,
    event_type: &EventType,
    moving: BTreeMap<CountedValue, u64>,
    request: &KeysRequest,
) -> rusqlite::Result<Vec<KeyCount>> {
    let mut page: Vec<KeyCount> = Vec::new();
    let still = |key: &CountedValue| !moving.contains_key(key);
    let after = request.after.as_ref();
    // SQLite counts in i64.
    let from = after.map_or(i64::MAX, |after| i64::try_from(after.count).unwrap_or(i64::MAX));
    let mut rows = db.prepare_cached(
        "SELECT key, count FROM live_keys
         WHERE username = ?1 AND event_type = ?2 AND count <= ?3 AND (count < ?3 OR key > ?4 OR ?5)
         ORDER BY count DESC, key",
    )?;
    let from_key = after.map_or("", |after| after.key.as_str());
    let mut rows =
        rows.query(params![username.as_str(), event_type.as_str(), from, from_key, after.is_none()])?;
    while page.len() < request.limit
        && let Some(row) = rows.next()?
    {
        let count = KeyCount { key: name(row, 0)?, count: row.get(1)? };
        if still(&count.key) {
            page.push(count);
        }
    }
    for (key, more) in moving {
        let counter = Counter { username: username.clone(), event_type: event_type.clone(), key: Some(key) };
        let count = stored::count(db, &counter)? + more;
        page.extend(counter.key.map(|key| KeyCount { key, count }));
    }
    Ok(request.page(page))
}
