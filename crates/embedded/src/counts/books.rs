//! [`Books`]: all counts of the store, each answer from one read transaction. So an event is in exactly one place: in the
//! journal, in a batch that is not settled, or settled.

use std::{collections::BTreeSet, path::Path};

use async_trait::async_trait;
use rusqlite::{Connection, Error, params};
use weir_core::{
    BatchKey, Counter, Day, EventType, Increment, Username,
    books::{Correction, TypeCounts, UnderWay},
    latest::LatestValue,
    ports::{Books, BooksAdmin, PortError},
    sealing::SettledDay,
};

use super::stored::hour;
use crate::{
    engine::Embedded,
    folder::Folder,
    journal::latest,
    objects::{LakeFolder, RawFolder},
    sealed::SealedFolder,
    store::{self, Readers, StoreError, name},
};

const WHAT: &str = "reading the counts";

/// The books of a data folder that another process may be serving.
#[derive(Clone)]
pub struct BooksOnDisk(pub(crate) Readers);

/// Opens a data folder for reading, served or not: its counts, its batches and its lake.
pub fn open_books(path: &Path) -> Result<(BooksOnDisk, RawFolder, LakeFolder), StoreError> {
    let database = path.join("events.db");
    store::check_format(&database)?;
    let folder = Folder::existing(path);
    let (raw, lake) =
        (RawFolder::new(folder.sub("raw")), LakeFolder::new(folder.sub("lake"), SealedFolder::of(path)));
    Ok((BooksOnDisk(Readers::new(database)), raw, lake))
}

impl BooksOnDisk {
    /// Returns the settled counts of a day, and which of these batches are settled, both of one moment.
    pub async fn settled_day(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        let batches = batches.clone();
        self.0.read(WHAT, move |db| settled_day(db, day, &batches)).await
    }
}

#[async_trait]
impl Books for BooksOnDisk {
    async fn counted(&self) -> Result<BTreeSet<(Username, EventType)>, PortError> {
        self.0.read(WHAT, counted).await
    }

    async fn counts_of(&self, username: &Username, event_type: &EventType) -> Result<TypeCounts, PortError> {
        let (username, event_type) = (username.clone(), event_type.clone());
        self.0.read(WHAT, move |db| counts_of(db, &username, &event_type)).await
    }

    async fn latest_in_stream(
        &self,
        username: &Username,
        event_type: &EventType,
    ) -> Result<Vec<LatestValue>, PortError> {
        let (username, event_type) = (username.clone(), event_type.clone());
        self.0.read(WHAT, move |db| latest_in_stream(db, &username, &event_type)).await
    }
}

#[async_trait]
impl Books for Embedded {
    async fn counted(&self) -> Result<BTreeSet<(Username, EventType)>, PortError> {
        self.inner.readers.read(WHAT, counted).await
    }

    async fn counts_of(&self, username: &Username, event_type: &EventType) -> Result<TypeCounts, PortError> {
        let (username, event_type) = (username.clone(), event_type.clone());
        self.inner.readers.read(WHAT, move |db| counts_of(db, &username, &event_type)).await
    }

    async fn latest_in_stream(
        &self,
        username: &Username,
        event_type: &EventType,
    ) -> Result<Vec<LatestValue>, PortError> {
        let (username, event_type) = (username.clone(), event_type.clone());
        self.inner.readers.read(WHAT, move |db| latest_in_stream(db, &username, &event_type)).await
    }
}

#[async_trait]
impl BooksAdmin for Embedded {
    /// Makes all corrections in one transaction, or none.
    async fn correct(&self, corrections: &[Correction]) -> Result<(), PortError> {
        let corrections = corrections.to_vec();
        self.inner.journal.work("correcting counts", move |db| correct(db, &corrections)).await
    }
}

fn counted(db: &Connection) -> rusqlite::Result<BTreeSet<(Username, EventType)>> {
    let mut stored = db.prepare(
        "SELECT username, event_type FROM live_totals UNION SELECT username, event_type FROM live_keys
         UNION SELECT username, event_type FROM settled_totals UNION SELECT username, event_type FROM settled_hours",
    )?;
    let stored = stored.query_map([], |row| Ok((name(row, 0)?, name(row, 1)?)))?;
    let mut counted: BTreeSet<_> = stored.collect::<rusqlite::Result<_>>()?;
    each_journal_row(db, |_, increments| {
        counted.extend(increments.into_iter().map(|by| (by.counter.username, by.counter.event_type)));
    })?;
    Ok(counted)
}

fn settled_day(db: &Connection, day: Day, batches: &BTreeSet<String>) -> rusqlite::Result<SettledDay> {
    let mut settled = SettledDay::default();
    // Its key begins with user and type, so each of these is looked up by itself.
    let mut count = db.prepare(
        "SELECT sum(count) FROM settled_hours WHERE username = ?1 AND event_type = ?2 AND hour BETWEEN ?3 AND ?4",
    )?;
    let (first, last) = (day.first_hour().since_epoch(), day.last_hour().since_epoch());
    let mut whose = db.prepare("SELECT username, event_type FROM settled_totals")?;
    let mut whose = whose.query([])?;
    while let Some(row) = whose.next()? {
        let (username, event_type): (Username, EventType) = (name(row, 0)?, name(row, 1)?);
        let events: Option<u64> = count
            .query_row(params![username.as_str(), event_type.as_str(), first, last], |row| row.get(0))?;
        if let Some(events) = events.filter(|events| *events > 0) {
            settled.counts.insert((username, event_type), events);
        }
    }
    let mut is_settled = db.prepare("SELECT EXISTS (SELECT 1 FROM settled_batches WHERE batch = ?1)")?;
    for batch in batches {
        if is_settled.query_row([batch], |row| row.get(0))? {
            settled.batches.insert(batch.clone());
        }
    }
    Ok(settled)
}

fn counts_of(db: &Connection, username: &Username, event_type: &EventType) -> rusqlite::Result<TypeCounts> {
    let whose = params![username.as_str(), event_type.as_str()];
    let total = |table: &str| -> rusqlite::Result<u64> {
        let sum =
            format!("SELECT coalesce(sum(count), 0) FROM {table} WHERE username = ?1 AND event_type = ?2");
        db.prepare_cached(&sum)?.query_row(whose, |row| row.get(0))
    };
    let mut counts = TypeCounts { settled: total("settled_totals")?, ..TypeCounts::default() };
    counts.live.total = total("live_totals")?;
    counts.live.keys = db
        .prepare_cached("SELECT key, count FROM live_keys WHERE username = ?1 AND event_type = ?2")?
        .query_map(whose, |row| Ok((name(row, 0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    counts.settled_hours = db
        .prepare_cached("SELECT hour, count FROM settled_hours WHERE username = ?1 AND event_type = ?2")?
        .query_map(whose, |row| Ok((hour(row.get(0)?)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;

    let mut under_way = UnderWay::default();
    let mut written = Vec::new();
    let mut batches =
        db.prepare_cached("SELECT first, last, raw_key FROM batches WHERE written ORDER BY first")?;
    let mut batches = batches.query([])?;
    let mut is_settled =
        db.prepare_cached("SELECT EXISTS (SELECT 1 FROM settled_batches WHERE batch = ?1)")?;
    while let Some(row) = batches.next()? {
        let (first, last): (u64, u64) = (row.get(0)?, row.get(1)?);
        written.push(first..=last);
        let batch = BatchKey::new(row.get::<_, String>(2)?);
        if !is_settled.query_row([batch.id().as_str()], |row| row.get::<_, bool>(0))? {
            under_way.unsettled.push(batch);
        }
    }
    each_journal_row(db, |first, increments| {
        // A written batch may be partly gone from the journal, so its events are taken from its file only.
        let in_a_batch = written.iter().any(|batch| batch.contains(&first));
        let own = |by: &&Increment| by.counter.username == *username && by.counter.event_type == *event_type;
        for increment in increments.iter().filter(own) {
            counts.live.raise(increment);
            if !in_a_batch {
                under_way.in_stream.raise(increment);
            }
        }
    })?;
    counts.under_way = Some(under_way);
    Ok(counts)
}

fn latest_in_stream(
    db: &Connection,
    username: &Username,
    event_type: &EventType,
) -> rusqlite::Result<Vec<LatestValue>> {
    Ok(latest::in_journal(db)?.after(username, event_type, None).collect())
}

fn each_journal_row(db: &Connection, mut take: impl FnMut(u64, Vec<Increment>)) -> rusqlite::Result<()> {
    let mut rows = db.prepare_cached("SELECT first, increments FROM journal ORDER BY first")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let increments = serde_json::from_str(row.get_ref(1)?.as_str()?);
        let increments = increments.map_err(|error| {
            Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
        })?;
        take(row.get(0)?, increments);
    }
    Ok(())
}

fn correct(db: &Connection, corrections: &[Correction]) -> rusqlite::Result<()> {
    for Correction { counter: Counter { username, event_type, key }, by } in corrections {
        let (username, event_type) = (username.as_str(), event_type.as_str());
        let sum: i64 = match key {
            None => db
                .prepare_cached(
                    "INSERT INTO live_totals VALUES (?1, ?2, ?3)
                     ON CONFLICT (username, event_type) DO UPDATE SET count = count + excluded.count
                     RETURNING count",
                )?
                .query_row(params![username, event_type, by], |row| row.get(0))?,
            Some(key) => db
                .prepare_cached(
                    "INSERT INTO live_keys VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (username, event_type, key) DO UPDATE SET count = count + excluded.count
                     RETURNING count",
                )?
                .query_row(params![username, event_type, key.as_str(), by], |row| row.get(0))?,
        };
        if sum < 0 {
            // A failed correction rolls back all of them.
            return Err(Error::ToSqlConversionFailure("a correction would take more than there is".into()));
        }
        db.prepare_cached("DELETE FROM live_totals WHERE username = ?1 AND event_type = ?2 AND count = 0")?
            .execute([username, event_type])?;
        db.prepare_cached("DELETE FROM live_keys WHERE username = ?1 AND event_type = ?2 AND count = 0")?
            .execute([username, event_type])?;
    }
    Ok(())
}
