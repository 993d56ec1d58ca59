//! The moment of a snapshot: which files of raw, lake and quarantine it knows.

use std::{collections::HashSet, path::Path};

use rusqlite::Connection;

use crate::{objects::batches, store};

/// The batches that a copied `events.db` knows.
pub(super) struct Moment {
    /// The last event that is in a batch of the snapshot.
    last: u64,
    /// Batches that are cut and not written yet, as far as the snapshot knows. Their events are in its journal, and the next
    /// start writes them: an object of such a batch in the lake would be ahead of all counts.
    unwritten: HashSet<(u64, u64)>,
}

impl Moment {
    /// Reads the moment from the copy. `strays` is the last event in raw before the snapshot.
    pub(super) fn of(events: &Path, strays: u64) -> rusqlite::Result<Self> {
        let db = store::open_reader(events)?;
        let mut unwritten = db.prepare("SELECT first, last FROM batches WHERE NOT written")?;
        let unwritten = unwritten.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let unwritten = unwritten.collect::<rusqlite::Result<_>>()?;
        Ok(Self { last: last_in_batches(&db)?.max(strays), unwritten })
    }

    /// Returns whether a file belongs to the snapshot. A file without a range in its name was put there by an operator, and
    /// is kept.
    pub(super) fn has(&self, name: &str) -> bool {
        let range = batches::range(name).or_else(|| batches::range_of_object(name));
        range.is_none_or(|(first, last)| last <= self.last && !self.unwritten.contains(&(first, last)))
    }
}

/// Returns the last event that is in a batch of the store.
pub(super) fn known(events: &Path) -> rusqlite::Result<u64> {
    last_in_batches(&store::open_reader(events)?)
}

fn last_in_batches(db: &Connection) -> rusqlite::Result<u64> {
    let format: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let in_raw = if format >= store::FORMAT_WITH_IN_RAW { "in_raw" } else { "0" };
    let last =
        format!("SELECT max(applied, {in_raw}, coalesce((SELECT max(last) FROM batches), 0)) FROM progress");
    db.query_row(&last, [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use weir_core::BatchKey;

    use super::*;

    #[test]
    fn files_of_later_and_of_unwritten_batches_are_left_out_and_foreign_ones_are_kept() {
        let moment = Moment { last: 20, unwritten: HashSet::from([(11, 20)]) };
        for (first, last, is_in) in [(1, 10, true), (11, 20, false), (21, 30, false)] {
            let key = BatchKey::new(format!("2026/11/20/13/{first:020}-{last:020}.json.gz"));
            assert_eq!(moment.has(key.as_str()), is_in, "{key}");
            let object = format!("username=u/t/year=2026/month=11/day=20/hour=13/{}.json.gz", key.id());
            assert_eq!(moment.has(&object), is_in, "{object}");
        }
        assert!(moment.has("2026/11/20/13/mine.json.gz") && moment.has("username=u/note.txt"));
    }
}
