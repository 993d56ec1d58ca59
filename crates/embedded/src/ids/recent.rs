//! Dedup: the identities of recently stored events, so that a repeat is recognised.
//!
//! Their digests are in the table `recent_ids`, by generation. A generation is current for 24 hours in which a server runs;
//! then a new one begins, and the one before the last is forgotten. An identity is looked up in the current generation and in
//! the one before it, so each is remembered for 24 hours at least and 48 at most. These hours are of a monotonic clock
//! ([`Clock::elapsed`](weir_core::Clock::elapsed)), and the time in which no server runs does not count. So no identity is
//! forgotten early because the wall clock is wrong, as after a start without a battery or before NTP has set it.
//!
//! Identities are written in the transaction that stores their events. Old generations are deleted slice by slice, with the
//! commits that come anyway: the end of a generation causes no pause.

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, params};
use weir_core::{forgotten::ForgottenEvents, repeats::IdentityDigest};

/// The least number of hours for which an identity is remembered.
pub(super) const REMEMBERED_HOURS: u64 = 24;

/// The time for which a generation is the current one.
const GENERATION: Duration = Duration::from_hours(REMEMBERED_HOURS);

/// The age of a generation is saved this often. After a crash the generation lasts longer by at most as much.
const SAVED_EVERY: Duration = Duration::from_mins(1);

/// The least number of old rows that a commit deletes; a commit that adds more deletes as many as it adds.
const SLICE: u64 = 1000;

/// The current generation, and the ones already deleted.
pub(crate) struct RecentIds {
    current: u64,
    /// How long the generation has been the current one.
    age: Duration,
    /// The clock's last reading.
    read_at: Duration,
    /// The generation and the age that the store has.
    saved: (u64, Duration),
    /// The store holds nothing of generations before this one.
    forgotten: u64,
    /// Events that were forgotten on request: a retry of one is a repeat, however late it comes.
    gone: Arc<ForgottenEvents>,
}

impl RecentIds {
    /// Reads the generations from the store; `now` is the reading of a monotonic clock.
    pub(crate) fn open(db: &Connection, now: Duration) -> rusqlite::Result<Self> {
        let (current, age): (u64, u64) =
            db.query_row("SELECT id_generation, id_elapsed FROM progress", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let age = Duration::from_millis(age);
        let gone = Arc::default();
        Ok(Self { current, age, read_at: now, saved: (current, age), forgotten: 0, gone })
    }

    /// Treats a retry of one of these events as a repeat.
    pub(crate) fn without(self, gone: Arc<ForgottenEvents>) -> Self {
        Self { gone, ..self }
    }

    /// Adds the time that has passed, before a commit; begins a new generation if the current one is old enough.
    pub(crate) fn turn_to(&mut self, now: Duration) {
        self.age += now.saturating_sub(self.read_at);
        self.read_at = now;
        if self.age >= GENERATION {
            // After two such periods without a commit, the current generation is too old even to be the previous one.
            self.current += if self.age >= 2 * GENERATION { 2 } else { 1 };
            self.age = Duration::ZERO;
        }
    }

    fn previous(&self) -> u64 {
        self.current.saturating_sub(1)
    }

    /// Remembers an identity, with the number of its event; returns false if it was known.
    pub(crate) fn remember(
        &self,
        db: &Connection,
        id: &IdentityDigest,
        event: u64,
    ) -> rusqlite::Result<bool> {
        if self.gone.has_id(id) {
            return Ok(false);
        }
        let known: bool = db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM recent_ids WHERE generation = ?1 AND id = ?2)")?
            .query_row(params![self.previous(), id], |row| row.get(0))?;
        if known {
            return Ok(false);
        }
        let added = db
            .prepare_cached("INSERT OR IGNORE INTO recent_ids (generation, id, event) VALUES (?1, ?2, ?3)")?
            .execute(params![self.current, id, event])?;
        Ok(added > 0)
    }

    /// Saves the current generation and its age in the transaction of a commit, if that is worth a page.
    pub(crate) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        if !self.is_to_save() {
            return Ok(());
        }
        let age = u64::try_from(self.age.as_millis()).unwrap_or(0);
        db.prepare_cached("UPDATE progress SET id_generation = ?1, id_elapsed = ?2")?
            .execute([self.current, age])
            .map(drop)
    }

    fn is_to_save(&self) -> bool {
        self.current != self.saved.0 || self.age >= self.saved.1 + SAVED_EVERY
    }

    /// Deletes a slice of the generations before the previous one, in a commit that adds this many events; returns whether
    /// some may be left.
    pub(crate) fn forget(&self, db: &Connection, events: u64) -> rusqlite::Result<bool> {
        if self.forgotten >= self.previous() {
            return Ok(false);
        }
        let slice = SLICE.max(events);
        let deleted = db
            .prepare_cached(
                "DELETE FROM recent_ids WHERE (generation, id) IN
                 (SELECT generation, id FROM recent_ids WHERE generation < ?1 ORDER BY generation, id LIMIT ?2)",
            )?
            .execute(params![self.previous(), slice])?;
        Ok(deleted as u64 >= slice)
    }

    /// Notes that a commit succeeded: its transaction has the saved values; `all_forgotten` says that no generation before
    /// the previous one is left.
    pub(crate) fn committed(&mut self, all_forgotten: bool) {
        if self.is_to_save() {
            self.saved = (self.current, self.age);
        }
        if all_forgotten {
            self.forgotten = self.previous();
        }
    }
}
