//! [`Settlement`] and [`SettledCounts`]: the counts and the mark that the batch is settled change in one transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use weir_core::{
    BatchId, EventType, Hour, Partition, Timestamp, Username,
    counts::SettledTotals,
    ports::{PortError, Settled, SettledCounts, Settlement},
};

use super::stored::hour;
use crate::{engine::Embedded, store::name};

#[async_trait]
impl Settlement for Embedded {
    async fn settle(&self, batch: &BatchId, events: &BTreeMap<Partition, u64>) -> Result<Settled, PortError> {
        let (batch, events, now) = (batch.clone(), events.clone(), self.inner.clock.now());
        self.inner.journal.work("settling a batch", move |db| settle(db, &batch, &events, now)).await
    }
}

#[async_trait]
impl SettledCounts for Embedded {
    async fn totals(&self, username: &Username) -> Result<SettledTotals, PortError> {
        let username = username.clone();
        let query = move |db: &Connection| {
            let mut totals = SettledTotals::default();
            let mut rows = db.prepare_cached(
                "SELECT event_type, count, settled_at FROM settled_totals WHERE username = ?1",
            )?;
            let mut rows = rows.query([username.as_str()])?;
            while let Some(row) = rows.next()? {
                totals.by_type.insert(name(row, 0)?, row.get(1)?);
                let settled_at: Option<u64> = row.get(2)?;
                totals.settled_at = totals.settled_at.max(settled_at.map(Timestamp::saturating));
            }
            Ok(totals)
        };
        self.inner.readers.read("reading settled counts", query).await
    }

    async fn hours(
        &self,
        username: &Username,
        event_type: &EventType,
        first: Hour,
        last: Hour,
    ) -> Result<BTreeMap<Hour, u64>, PortError> {
        let (username, event_type) = (username.clone(), event_type.clone());
        let query = move |db: &Connection| {
            db.prepare_cached(
                "SELECT hour, count FROM settled_hours
                 WHERE username = ?1 AND event_type = ?2 AND hour BETWEEN ?3 AND ?4",
            )?
            .query_map(
                params![username.as_str(), event_type.as_str(), first.since_epoch(), last.since_epoch()],
                |row| Ok((hour(row.get(0)?)?, row.get(1)?)),
            )?
            .collect()
        };
        self.inner.readers.read("reading settled counts", query).await
    }
}

fn settle(
    db: &Connection,
    batch: &BatchId,
    events: &BTreeMap<Partition, u64>,
    now: Timestamp,
) -> rusqlite::Result<Settled> {
    let new =
        db.prepare_cached("INSERT OR IGNORE INTO settled_batches VALUES (?1)")?.execute([batch.as_str()])?;
    if new == 0 {
        return Ok(Settled::Before);
    }
    let mut hours = db.prepare_cached(
        "INSERT INTO settled_hours VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (username, event_type, hour) DO UPDATE SET count = count + excluded.count",
    )?;
    let mut totals = db.prepare_cached(
        "INSERT INTO settled_totals (username, event_type, count, settled_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (username, event_type)
         DO UPDATE SET count = count + excluded.count, settled_at = excluded.settled_at",
    )?;
    for (Partition { username, event_type, hour }, count) in events {
        hours.execute(params![username.as_str(), event_type.as_str(), hour.since_epoch(), count])?;
        totals.execute(params![username.as_str(), event_type.as_str(), count, now.millis()])?;
    }
    Ok(Settled::Now)
}
