//! [`Receipts`] from the journal and raw.
//!
//! The id that a client gave is remembered with its event's number, which names the journal's row and the batch. The id that
//! Weir made has the time of arrival: batches are found by the hours in whose folders they are, and in these by the time of their
//! first event, as both follow that order but for the time that a request waits.

use std::{
    io::{self, BufRead},
    sync::Arc,
};

use async_trait::async_trait;
use rusqlite::Connection;
use weir_core::{
    BatchKey, EventId, EventType, Format, RecordHead, Timestamp, Username,
    ports::{PortError, Receipts},
    receipt::{self, Found, Receipt, ReceiptStatus},
};

use crate::{
    dedup::recent::Remembered,
    engine::{Embedded, Inner},
    folder::{gzip, lines},
    objects::batches,
};

const WHAT: &str = "looking for an event";

/// How far the order of numbers is from that of times of arrival, in milliseconds: a request waits up to 30 seconds to be
/// stored.
const SLACK: u64 = 60_000;

/// The most hours with batches that are looked through after an id's own: a batch is cut and written within minutes, or when the
/// server starts again.
const HOURS: usize = 3;

/// The bytes of lines after which a search by time ends.
const ENOUGH: usize = 256 << 20;

/// A search for one event.
struct Search {
    username: Username,
    event_id: EventId,
    /// Whether a client's event is remembered under the id.
    remembered: Remembered,
}

impl Remembered {
    fn number(self) -> Option<u64> {
        match self {
            Self::At(number) => Some(number),
            Self::No | Self::Somewhere => None,
        }
    }
}

impl Search {
    fn in_line(&self, inner: &Inner, line: &[u8]) -> Option<Found> {
        Found::in_line(&self.username, &self.event_id, line, &inner.gone)
    }

    /// Looks up the id, and looks through the journal.
    fn in_store(&mut self, inner: &Inner, db: &Connection) -> rusqlite::Result<Option<Found>> {
        let digest = receipt::digest_of_given(&self.username, &self.event_id);
        self.remembered = Remembered::find(db, &digest)?;
        let number = self.remembered.number();
        if number.is_none() && self.event_id.generated_at().is_none() {
            return Ok(None);
        }
        let (first, last) = number.map_or((0, i64::MAX as u64), |number| (number, number));
        let mut rows = db.prepare_cached(
            "SELECT lines FROM journal WHERE first <= ?2 AND last >= ?1 ORDER BY first DESC",
        )?;
        let mut rows = rows.query([first, last])?;
        while let Some(row) = rows.next()? {
            let lines = row.get_ref(0)?.as_blob()?;
            let found = lines.split(|&byte| byte == b'\n').find_map(|line| self.in_line(inner, line));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Looks through raw; returns the event with its batch, or the batch that has it and cannot be read.
    fn in_raw(&self, inner: &Inner) -> io::Result<Option<(Option<Found>, String)>> {
        if let Some(number) = self.remembered.number() {
            let found = batches::after(inner.raw.path(), number.saturating_sub(1), batches::Hours::Latest)?
                .into_iter()
                .next();
            let Some((_, _, batch)) = found.filter(|(first, ..)| *first <= number) else { return Ok(None) };
            let found = self.in_batch(inner, &batch).map_or(None, |(found, _)| found);
            return Ok(Some((found, batch)));
        }
        let Some(at) = self.event_id.generated_at() else { return Ok(None) };
        let batches = batches::of_hours(inner.raw.path(), at.hour(), inner.clock.now().hour(), HOURS)?;
        // A batch without events counts as begun with the next one that has some, so that the times are in order.
        let begins = |at: usize| first_time(inner, &batches[at..]).map_or(u64::MAX, Timestamp::millis);
        let indices: Vec<usize> = (0..batches.len()).collect();
        let until = |millis: u64| indices.partition_point(|&at| begins(at) <= millis);
        let usual = until(at.millis());
        let (from, to) =
            (until(at.millis().saturating_sub(SLACK)).saturating_sub(1), until(at.millis() + SLACK));
        // The batch that should have it, then those after it, then those before it.
        let usual = usual.saturating_sub(1).max(from);
        let mut read = 0;
        for batch in (usual..to).chain((from..usual).rev()).filter_map(|index| batches.get(index)) {
            let Ok((found, bytes)) = self.in_batch(inner, batch) else { continue };
            if found.is_some() {
                return Ok(Some((found, batch.clone())));
            }
            read += bytes;
            if read >= ENOUGH {
                break;
            }
        }
        Ok(None)
    }

    fn in_batch(&self, inner: &Inner, batch: &str) -> io::Result<(Option<Found>, usize)> {
        let mut lines = gzip::lines_of(inner.raw.file(batch)?);
        let (mut line, mut read) = (Vec::new(), 0);
        while lines.read_until(b'\n', &mut line)? > 0 {
            if let Some(found) = self.in_line(inner, &line) {
                return Ok((Some(found), read));
            }
            read += line.len();
            line.clear();
        }
        Ok((None, read))
    }
}

/// Returns the time of arrival of the first event in these batches.
fn first_time(inner: &Inner, batches: &[String]) -> Option<Timestamp> {
    batches.iter().find_map(|batch| {
        let mut batch = gzip::lines_of(inner.raw.file(batch).ok()?);
        RecordHead::read(&lines::first(&mut batch).ok()??).ok().map(|head| head.received_at)
    })
}

#[async_trait]
impl Receipts for Embedded {
    async fn receipt(
        &self,
        username: &Username,
        event_id: &EventId,
        types: &[EventType],
    ) -> Result<Option<Receipt>, PortError> {
        let rejected = EventType::rejected();
        if receipt::is_forgotten(&self.inner.gone, username, event_id, types.iter().chain([&rejected])) {
            return Ok(Some(Receipt::without_line(event_id, ReceiptStatus::Forgotten, None)));
        }
        let _turn = self.inner.searches.acquire().await;
        let mut search =
            Search { username: username.clone(), event_id: event_id.clone(), remembered: Remembered::No };
        let inner = Arc::clone(&self.inner);
        let in_store = move |db: &Connection| {
            let found = search.in_store(&inner, db)?;
            Ok((search, found))
        };
        let (search, found) = self.inner.readers.read(WHAT, in_store).await?;
        if let Some(found) = found {
            return Ok(Some(found.receipt(false, None)));
        }
        let remembered = search.remembered != Remembered::No;
        let inner = Arc::clone(&self.inner);
        let in_raw = tokio::task::spawn_blocking(move || search.in_raw(&inner)).await;
        let found =
            in_raw.map_err(|panicked_or_stopped| PortError::unavailable(WHAT, panicked_or_stopped))?;
        let found = found.map_err(|error| PortError::unavailable(WHAT, error))?;
        let Some((found, batch)) = found else {
            let stored = || Receipt::without_line(event_id, ReceiptStatus::Stored, None);
            return Ok(remembered.then(stored));
        };
        let key = BatchKey::new(batch);
        let Some(found) = found else {
            let quarantined = Format::default().file(key.id());
            let is_there = self.inner.path.join("quarantine").join(quarantined).exists();
            let (status, reason) = if is_there {
                (ReceiptStatus::Quarantined, Some("its batch cannot be read"))
            } else {
                (ReceiptStatus::Stored, None)
            };
            return Ok(Some(Receipt::without_line(event_id, status, reason)));
        };
        let raw_key = key.as_str().to_owned();
        let waits = move |db: &Connection| -> rusqlite::Result<bool> {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM batches WHERE raw_key = ?1) OR EXISTS (SELECT 1 FROM given_up WHERE raw_key = ?1)",
            )?
            .query_row([raw_key], |row| row.get(0))
        };
        let is_filed = !self.inner.readers.read(WHAT, waits).await?;
        // Once its day is sealed, an event is in the day's files.
        let object = is_filed.then(|| found.object(&key));
        let object = object.filter(|object| self.inner.path.join("lake").join(object).exists());
        Ok(Some(found.receipt(is_filed, object)))
    }
}
