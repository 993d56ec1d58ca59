//! Generations of identities: a current one, which lasts for 24 hours in which a server runs, and the one before it.
//!
//! These hours are of a monotonic clock ([`Clock::elapsed`](weir_core::Clock::elapsed)), and the time in which no server runs
//! does not count. So no identity is forgotten early because the wall clock is wrong, as after a start without a battery or
//! before NTP has set it.

use std::time::Duration;

use rusqlite::Connection;

/// The least number of hours for which an identity is remembered.
pub(super) const REMEMBERED_HOURS: u64 = 24;

/// The time for which a generation is the current one.
const GENERATION: Duration = Duration::from_hours(REMEMBERED_HOURS);

/// The age of a generation is saved this often, with the commits that come; a server without any saves it each hour
/// ([`RecentIds::save_age`](super::recent::RecentIds::save_age)). After a crash the generation lasts longer by at most as much.
const SAVED_EVERY: Duration = Duration::from_mins(1);

/// The current generation, and its age.
#[derive(Debug)]
pub(super) struct Generations {
    current: u64,
    /// How long the generation has been the current one.
    age: Duration,
    /// The clock's last reading.
    read_at: Duration,
    /// The generation and the age that the store has.
    saved: (u64, Duration),
}

impl Generations {
    /// Reads the current generation from the store; `now` is the reading of a monotonic clock.
    pub(super) fn open(db: &Connection, now: Duration) -> rusqlite::Result<Self> {
        let (current, age): (u64, u64) =
            db.query_row("SELECT id_generation, id_elapsed FROM progress", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let age = Duration::from_millis(age);
        Ok(Self { current, age, read_at: now, saved: (current, age) })
    }

    /// Adds the time that has passed. A new generation begins for each 24 hours of it.
    pub(super) fn turn_to(&mut self, now: Duration) {
        self.age += now.saturating_sub(self.read_at);
        self.read_at = now;
        while self.age >= GENERATION {
            self.current += 1;
            self.age -= GENERATION;
        }
    }

    pub(super) fn current(&self) -> u64 {
        self.current
    }

    /// Returns whether identities of a generation are still remembered.
    pub(super) fn remembers(&self, generation: u64) -> bool {
        generation + 1 >= self.current
    }

    /// Saves the current generation and its age in the transaction of a commit, if that is worth a page.
    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
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

    /// Notes that the saved values are in the store.
    pub(super) fn saved(&mut self) {
        if self.is_to_save() {
            self.saved = (self.current, self.age);
        }
    }
}
