//! The identities of events that were stored lately, so that one that comes again is known.
//!
//! They lie in the table `recent_ids` by the day on which they were stored, and are looked for in today's and
//! yesterday's: so each is known for 24 hours at least and 48 at most. They are written in the transaction that stores
//! their events. Older days are deleted slice by slice, with the commits that come anyway: no day's end makes a pause,
//! and what waits to be deleted shrinks with every commit.

use rusqlite::{Connection, params};
use weir_core::Timestamp;

/// An identity's digest.
pub(crate) type Id = [u8; 16];

const DAY: u64 = 24 * 60 * 60 * 1000;

/// So many old rows a commit deletes at least; if it adds more than that, as many as it adds.
const SLICE: u64 = 1000;

/// Which days count, and which are gone.
pub(crate) struct RecentIds {
    /// Today, in days since 1970.
    today: u64,
    /// There is nothing of earlier days than this one.
    forgotten: u64,
}

impl RecentIds {
    /// As the store has them: the last day is the one that was today.
    pub(crate) fn open(db: &Connection) -> rusqlite::Result<Self> {
        let last: Option<u64> = db.query_row("SELECT max(day) FROM recent_ids", [], |row| row.get(0))?;
        Ok(Self { today: last.unwrap_or(0), forgotten: 0 })
    }

    /// Before a commit: what day it is.
    pub(crate) fn turn_to(&mut self, now: Timestamp) {
        let day = now.millis() / DAY;
        // A clock that is set back over midnight, before a start perhaps, would look for what was just remembered in the
        // wrong days.
        if day + 1 != self.today {
            self.today = day;
        }
    }

    fn yesterday(&self) -> u64 {
        self.today.saturating_sub(1)
    }

    /// Remembers an identity; false if it is known.
    pub(crate) fn remember(&self, db: &Connection, id: &Id) -> rusqlite::Result<bool> {
        let known: bool = db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM recent_ids WHERE day = ?1 AND id = ?2)")?
            .query_row(params![self.yesterday(), id], |row| row.get(0))?;
        if known {
            return Ok(false);
        }
        let added = db
            .prepare_cached("INSERT OR IGNORE INTO recent_ids (day, id) VALUES (?1, ?2)")?
            .execute(params![self.today, id])?;
        Ok(added > 0)
    }

    /// Deletes a slice of what is older than yesterday, in a commit that adds so many events; says whether something
    /// may be left.
    pub(crate) fn forget(&self, db: &Connection, events: u64) -> rusqlite::Result<bool> {
        if self.forgotten >= self.yesterday() {
            return Ok(false);
        }
        let slice = SLICE.max(events);
        let deleted = db
            .prepare_cached(
                "DELETE FROM recent_ids WHERE (day, id) IN
                 (SELECT day, id FROM recent_ids WHERE day < ?1 ORDER BY day, id LIMIT ?2)",
            )?
            .execute(params![self.yesterday(), slice])?;
        Ok(deleted as u64 >= slice)
    }

    /// After a commit that left nothing older than yesterday.
    pub(crate) fn all_forgotten(&mut self) {
        self.forgotten = self.yesterday();
    }
}
