//! Follows events by their number in the sequence: none is missed, and none comes twice. [`Sequence`] is a position in it.
//! From there, [`Follower`] continues outside the process that stores the events, and `following` inside it.
//!
//! New rows of the journal are read from `events.db`, which cannot be written here. If rows were moved into a batch
//! meanwhile, their events are read from its file, which existed before the rows were removed; its name gives their numbers.

use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension};

use crate::{
    folder::{gzip, lines::is_empty},
    objects::batches::{self, Hours},
    store::{self, StoreError, at},
};

/// The bytes of lines read in one transaction, a row more or less: lines are passed on only after it, as their consumer may
/// be slow, and the log grows as long as a reader holds an old state.
const PAGE: usize = 4 << 20;

/// Reads a data folder's events, one after the other.
pub struct Follower {
    db: Connection,
    database: PathBuf,
    sequence: Sequence,
    has_in_raw: bool,
}

/// A position in the sequence of events, from which they are read.
pub(crate) struct Sequence {
    pub(crate) raw: PathBuf,
    /// The number of the next event.
    pub(crate) next: u64,
}

/// Why events cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The batches cannot be listed.
    #[error("cannot read {}: {source}", .path.display())]
    Raw {
        /// Their folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The consumer of the events wants no more.
    #[error(transparent)]
    Taker(io::Error),
}

/// An item for the consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed<'a> {
    /// The line of the next event, without its end.
    Line(&'a [u8]),
    /// This many events cannot be read: their batch was removed from raw, or is damaged.
    Gone(u64),
}

/// The result of one look into the store.
pub(crate) struct Look {
    /// The last event in the store.
    end: u64,
    /// Rows that continue at the position: the first and the last of their events, and their lines.
    rows: Vec<(u64, u64, Vec<u8>)>,
    /// The first event of the journal, if it is after that position.
    journal: Option<u64>,
}

impl Follower {
    /// Opens a data folder, served or not, after its last event.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = path.join("events.db");
        store::check_format(&database)?;
        let open = || -> rusqlite::Result<_> {
            let db = store::open_reader(&database)?;
            let format: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
            let has_in_raw = format >= store::FORMAT_WITH_IN_RAW;
            let end = read_end(&db, has_in_raw)?;
            Ok((db, has_in_raw, end))
        };
        let (db, has_in_raw, end) = open().map_err(at(&database))?;
        let sequence = Sequence { raw: path.join("raw"), next: end + 1 };
        Ok(Self { db, database, sequence, has_in_raw })
    }

    /// Returns the number of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.sequence.next
    }

    /// Goes back by this many events.
    pub fn back(&mut self, events: u64) {
        self.sequence.next = self.sequence.next.saturating_sub(events).max(1);
    }

    /// Passes on all new events.
    pub fn poll(&mut self, mut take: impl FnMut(Followed<'_>) -> io::Result<()>) -> Result<(), FollowError> {
        loop {
            let look = self.look().map_err(at(&self.database))?;
            if look.is_at_the_end(self.sequence.next) {
                return Ok(());
            }
            self.sequence.pass_on(look, &mut |_, followed| take(followed))?;
        }
    }

    fn look(&mut self) -> rusqlite::Result<Look> {
        let db = self.db.transaction()?;
        look(&db, self.sequence.next, self.has_in_raw, PAGE)
    }
}

impl Look {
    /// Returns whether no event has this number or a later one yet.
    pub(crate) fn is_at_the_end(&self, next: u64) -> bool {
        self.rows.is_empty() && next > self.end
    }

    /// Returns the number of the last event in the store.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

/// Looks for events from the number `next` on, in one transaction: `page` bytes of lines, exceeded by one row at the most.
pub(crate) fn look(db: &Connection, next: u64, has_in_raw: bool, page: usize) -> rusqlite::Result<Look> {
    let mut look = Look { end: read_end(db, has_in_raw)?, rows: Vec::new(), journal: None };
    if next > look.end {
        return Ok(look);
    }
    // The row that has the next event, or the first row after it.
    let begin = "SELECT max(first) FROM journal WHERE first <= ?1";
    let begin: Option<u64> = db.prepare_cached(begin)?.query_row([next], |row| row.get(0))?;
    let mut rows =
        db.prepare_cached("SELECT first, last, lines FROM journal WHERE first >= ?1 ORDER BY first")?;
    let mut rows = rows.query([begin.unwrap_or(next)])?;
    let (mut next, mut bytes) = (next, 0);
    while let Some(row) = rows.next()? {
        let (first, last): (u64, u64) = (row.get(0)?, row.get(1)?);
        if last < next {
            continue;
        }
        if first > next {
            look.journal = Some(first);
            break;
        }
        let lines: Vec<u8> = row.get(2)?;
        bytes += lines.len();
        look.rows.push((first, last, lines));
        next = last + 1;
        if bytes >= page {
            break;
        }
    }
    Ok(look)
}

/// A consumer of the events, each with its number. The event at which it fails is read again next.
type Take<'a> = dyn FnMut(u64, Followed<'_>) -> io::Result<()> + 'a;

impl Sequence {
    /// Passes on the events that were found: those of the rows or, if the rows begin later, of the next batch.
    pub(crate) fn pass_on(&mut self, look: Look, take: &mut Take<'_>) -> Result<(), FollowError> {
        let Look { end, rows, journal } = look;
        if rows.is_empty() {
            self.read_batch(journal.map_or(end, |first| first - 1), take)?;
        }
        for (first, last, lines) in rows {
            self.hand_over(first, last, &mut lines.as_slice(), take)?;
        }
        Ok(())
    }

    /// Passes on events from the batch that has the next one, or from the first batch after it; none of them is after
    /// `until`.
    fn read_batch(&mut self, until: u64, take: &mut Take<'_>) -> Result<(), FollowError> {
        let earliest = |hours| -> Result<_, FollowError> {
            let batches = batches::after(&self.raw, self.next - 1, hours);
            let batches = batches.map_err(|source| FollowError::Raw { path: self.raw.clone(), source })?;
            Ok(batches.into_iter().next().filter(|(first, ..)| *first <= until))
        };
        let mut found = earliest(Hours::Latest)?;
        // A clock that was set back puts a batch into an hour before those of earlier batches.
        if found.as_ref().is_none_or(|(first, ..)| *first > self.next) {
            found = earliest(Hours::All)?;
        }
        let Some((first, last, raw_key)) = found else { return self.skip(until, take) };
        if first > self.next {
            self.skip(first - 1, take)?;
        }
        match gzip::lines(&self.raw.join(raw_key)) {
            Ok(mut lines) => self.hand_over(first, last, &mut lines, take),
            Err(_) => self.skip(last, take),
        }
    }

    /// Passes on the lines of the events from `first` to `last`, from the next event on.
    fn hand_over(
        &mut self,
        first: u64,
        last: u64,
        lines: &mut impl BufRead,
        take: &mut Take<'_>,
    ) -> Result<(), FollowError> {
        let mut line = Vec::new();
        for number in first..=last {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(1..) if number < self.next => {}
                // Its event was forgotten, or was kept for fewer days than others.
                Ok(1..) if is_empty(&line) => self.next = number + 1,
                Ok(1..) => {
                    let text = line.strip_suffix(b"\n").unwrap_or(&line);
                    take(number, Followed::Line(text)).map_err(FollowError::Taker)?;
                    self.next = number + 1;
                }
                // The file is damaged, or has fewer events than its name says.
                Ok(0) | Err(_) => return self.skip(last, take),
            }
        }
        Ok(())
    }

    /// Skips events that cannot be read.
    fn skip(&mut self, last: u64, take: &mut Take<'_>) -> Result<(), FollowError> {
        take(self.next, Followed::Gone(last + 1 - self.next)).map_err(FollowError::Taker)?;
        self.next = last + 1;
        Ok(())
    }
}

/// Returns the last event that the store knows of.
fn read_end(db: &Connection, has_in_raw: bool) -> rusqlite::Result<u64> {
    let mut end = 0;
    let in_raw = if has_in_raw { "in_raw" } else { "0" };
    for last in [
        format!("SELECT max(applied, {in_raw}) FROM progress"),
        "SELECT last FROM batches ORDER BY first DESC LIMIT 1".to_owned(),
        "SELECT last FROM journal ORDER BY first DESC LIMIT 1".to_owned(),
    ] {
        let last: Option<u64> = db.prepare_cached(&last)?.query_row([], |row| row.get(0)).optional()?;
        end = last.unwrap_or(0).max(end);
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use weir_core::{conformance::dedup::event, ports::Stream};

    use super::*;
    use crate::{Embedded, Flush};

    fn ids(follower: &mut Follower) -> Vec<String> {
        let mut ids = Vec::new();
        let took = follower.poll(|followed| {
            ids.push(match followed {
                Followed::Line(line) => {
                    weir_core::RecordHead::read(line).unwrap().event_id.as_str().to_owned()
                }
                Followed::Gone(events) => format!("{events} gone"),
            });
            Ok(())
        });
        took.unwrap();
        ids
    }

    fn named(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
        numbers.map(|number| format!("e-{number}")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_are_found_in_the_journal_and_in_raw_and_what_is_gone_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) =
            Embedded::open(folder.path(), flush, Arc::new(weir_core::SystemClock)).unwrap();
        let user = "u".parse().unwrap();
        let append = async |numbers: std::ops::RangeInclusive<u32>| {
            let events = named(numbers).iter().map(|id| event(&user, id, "")).collect();
            assert!(engine.append(events).await.iter().all(weir_core::ports::Appended::is_durable));
        };
        let mut early = Follower::open(folder.path()).unwrap();
        assert_eq!(ids(&mut early), [""; 0]);
        append(1..=3).await;
        append(4..=5).await;
        let mut in_the_middle = Follower::open(folder.path()).unwrap();
        in_the_middle.back(2);
        assert_eq!(in_the_middle.next(), 4);
        assert_eq!(ids(&mut in_the_middle), named(4..=5));
        engine.flush().await.unwrap();
        append(6..=7).await;
        engine.flush().await.unwrap();
        append(8..=9).await;
        assert_eq!(ids(&mut early), named(1..=9));
        assert_eq!(ids(&mut in_the_middle), named(6..=9));
        assert_eq!(ids(&mut early), [""; 0]);

        // Starts in the middle of a batch.
        let mut late = Follower::open(folder.path()).unwrap();
        late.back(6);
        assert_eq!(ids(&mut late), named(4..=9));
        late.back(100);
        std::fs::remove_file(folder.path().join("raw").join(batch(folder.path(), 0))).unwrap();
        assert_eq!(ids(&mut late), [vec!["5 gone".to_owned()], named(6..=9)].concat());
        std::fs::remove_dir_all(folder.path().join("raw")).unwrap();
        late.back(4);
        assert_eq!(ids(&mut late), [vec!["2 gone".to_owned()], named(8..=9)].concat());
    }

    fn batch(folder: &Path, index: usize) -> String {
        batches::after(&folder.join("raw"), 0, Hours::Latest).unwrap().remove(index).2
    }
}
