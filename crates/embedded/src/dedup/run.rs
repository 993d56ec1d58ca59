//! Runs: sorted digests of identities, each with the number of its event, in pages of the store.
//!
//! A run is written once, page after page, so a new id costs its own bytes and not a page. A lookup asks the run's filter
//! first, and then reads the one page that can have the digest.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use weir_core::dedup::IdentityDigest;

use super::filter::Filter;

/// A digest, and the number of its event.
pub(super) type Entry = (IdentityDigest, u64);

/// The number of an event that an earlier version stored without one.
pub(super) const UNNUMBERED: u64 = u64::MAX;

/// The bytes of an entry: its digest, and its number with the lowest byte first.
pub(super) const ENTRY_BYTES: usize = 24;

/// The entries of a page: with them, a row of `id_pages` takes one page of `SQLite`, of 4096 bytes.
pub(super) const ENTRIES_PER_PAGE: usize = 166;

/// A run with more ids has no filter: it would take more memory than the page reads are worth.
const LARGEST_FILTERED: u64 = 1 << 24;

/// A page's number in the store has its run above these bits, and its place in the run below.
const PAGE_BITS: u32 = 32;

/// The entries of a page, or of a row of `fresh_ids`.
pub(super) fn entries(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Entry> + ExactSizeIterator {
    bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(entry)
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> Entry {
    let digest = std::array::from_fn(|at| bytes[at]);
    (digest, u64::from_le_bytes(std::array::from_fn(|at| bytes[16 + at])))
}

/// Appends an entry to a page, or to a row of `fresh_ids`.
pub(super) fn push(bytes: &mut Vec<u8>, (digest, event): &Entry) {
    bytes.extend_from_slice(digest);
    bytes.extend_from_slice(&event.to_le_bytes());
}

/// Finds a digest in a sorted page.
fn find(page: &[u8], digest: &IdentityDigest) -> Option<u64> {
    let entries = page.as_chunks::<ENTRY_BYTES>().0;
    let at = entries.binary_search_by(|bytes| bytes[..16].cmp(digest)).ok()?;
    Some(entry(&entries[at]).1)
}

/// The first eight bytes of a digest, by which pages are found.
fn fence(digest: &IdentityDigest) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

/// A run, without its pages.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) ids: u64,
    /// The beginning of each page's first digest.
    fences: Vec<u64>,
    filter: Filter,
}

/// Whether runs are read with their filters: for many lookups, or for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filters {
    Read,
    Left,
}

impl Run {
    /// Reads the runs of the store, in the order in which they were written.
    pub(super) fn all(db: &Connection, filters: Filters) -> rusqlite::Result<Vec<Self>> {
        let mut runs = db.prepare_cached(
            "SELECT run, generation, ids, fences, CASE WHEN ?1 THEN filter ELSE x'' END
             FROM id_runs JOIN id_indexes USING (run) ORDER BY run",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            let fences = row.get_ref(3)?.as_blob()?.as_chunks().0;
            Ok(Self {
                number: row.get(0)?,
                generation: row.get(1)?,
                ids: row.get(2)?,
                fences: fences.iter().map(|fence| u64::from_be_bytes(*fence)).collect(),
                filter: Filter::read(row.get_ref(4)?.as_blob()?),
            })
        };
        runs.query_map([filters == Filters::Read], read)?.collect()
    }

    /// Returns the event's number if the run has the digest.
    pub(super) fn find(&self, db: &Connection, digest: &IdentityDigest) -> rusqlite::Result<Option<u64>> {
        if !self.filter.may_have(digest) {
            return Ok(None);
        }
        for page in self.pages_with(digest) {
            if let Some(found) = read_page(db, self.number, page, |page| find(page, digest))?.flatten() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns the pages that can have the digest: one, or several whose digests begin alike.
    fn pages_with(&self, digest: &IdentityDigest) -> std::ops::Range<u64> {
        let fence = fence(digest);
        let first = self.fences.partition_point(|begin| *begin < fence).saturating_sub(1);
        let end = self.fences.partition_point(|begin| *begin <= fence);
        first as u64..end as u64
    }

    /// Removes digests; returns how many it had.
    pub(super) fn remove(
        &self,
        db: &Connection,
        digests: &BTreeSet<IdentityDigest>,
    ) -> rusqlite::Result<u64> {
        let mut removed = 0;
        for digest in digests.iter().filter(|digest| self.filter.may_have(digest)) {
            for page in self.pages_with(digest) {
                let without = read_page(db, self.number, page, |page| without(page, digest))?.flatten();
                if let Some(left) = without {
                    db.prepare_cached("UPDATE id_pages SET ids = ?2 WHERE page = ?1")?
                        .execute(params![page_number(self.number, page), left])?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    pub(super) fn pages(&self) -> u64 {
        self.fences.len() as u64
    }
}

/// Returns the entries without the digest's; `None` if it is not among them.
pub(super) fn without(bytes: &[u8], digest: &IdentityDigest) -> Option<Vec<u8>> {
    let mut left = Vec::with_capacity(bytes.len());
    entries(bytes).filter(|(other, _)| other != digest).for_each(|entry| push(&mut left, &entry));
    (left.len() < bytes.len()).then_some(left)
}

fn page_number(run: u64, page: u64) -> u64 {
    run << PAGE_BITS | page
}

/// Passes a page on; returns `None` if the store does not have it.
pub(super) fn read_page<T>(
    db: &Connection,
    run: u64,
    page: u64,
    read: impl FnOnce(&[u8]) -> T,
) -> rusqlite::Result<Option<T>> {
    db.prepare_cached("SELECT ids FROM id_pages WHERE page = ?1")?
        .query_row([page_number(run, page)], |row| Ok(read(row.get_ref(0)?.as_blob()?)))
        .optional()
}

/// A run while it is written.
#[derive(Debug)]
pub(super) struct Writing {
    run: Run,
    page: Vec<u8>,
}

impl Writing {
    /// Begins a run of no more than so many ids.
    pub(super) fn begin(number: u64, generation: u64, at_most: u64) -> Self {
        let filter =
            if at_most > LARGEST_FILTERED { Filter::of_anything() } else { Filter::with_room_for(at_most) };
        Self { run: Run { number, generation, ids: 0, fences: Vec::new(), filter }, page: Vec::new() }
    }

    /// Adds the entry that comes next in the order of digests.
    pub(super) fn add(&mut self, db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
        if self.page.is_empty() {
            self.run.fences.push(fence(&entry.0));
        }
        push(&mut self.page, entry);
        self.run.filter.add(&entry.0);
        self.run.ids += 1;
        if self.page.len() == ENTRIES_PER_PAGE * ENTRY_BYTES { self.write_page(db) } else { Ok(()) }
    }

    fn write_page(&mut self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT INTO id_pages (page, ids) VALUES (?1, ?2)")?
            .execute(params![page_number(self.run.number, self.run.pages() - 1), self.page])?;
        self.page.clear();
        Ok(())
    }

    /// Writes what is left, and makes the run one of the store's.
    pub(super) fn end(mut self, db: &Connection) -> rusqlite::Result<Run> {
        if !self.page.is_empty() {
            self.write_page(db)?;
        }
        let Run { number, generation, ids, fences, filter } = &self.run;
        let fences: Vec<u8> = fences.iter().flat_map(|fence| fence.to_be_bytes()).collect();
        db.prepare_cached("INSERT INTO id_indexes (run, fences, filter) VALUES (?1, ?2, ?3)")?
            .execute(params![number, fences, filter.bytes()])?;
        db.prepare_cached("INSERT INTO id_runs (run, generation, ids) VALUES (?1, ?2, ?3)")?
            .execute([number, generation, ids])?;
        Ok(self.run)
    }

    pub(super) fn number(&self) -> u64 {
        self.run.number
    }

    pub(super) fn generation(&self) -> u64 {
        self.run.generation
    }
}

/// Returns the numbers of runs that have pages or an index and are no run of the store any more, or are not yet whole.
pub(super) fn left_over(db: &Connection) -> rusqlite::Result<Vec<u64>> {
    let is_run = |run: u64| -> rusqlite::Result<bool> {
        db.query_row("SELECT EXISTS (SELECT 1 FROM id_runs WHERE run = ?1)", [run], |row| row.get(0))
    };
    let mut left_over = db
        .prepare("SELECT run FROM id_indexes WHERE run NOT IN (SELECT run FROM id_runs)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<u64>>>()?;
    let mut next = db.prepare("SELECT page FROM id_pages WHERE page >= ?1 ORDER BY page LIMIT 1")?;
    let mut from = 0;
    while let Some(page) = next.query_row([from], |row| row.get::<_, u64>(0)).optional()? {
        let run = page >> PAGE_BITS;
        if !is_run(run)? && !left_over.contains(&run) {
            left_over.push(run);
        }
        from = page_number(run + 1, 0);
    }
    Ok(left_over)
}

/// Removes at most so many pages of a run that is none of the store's any more, and then its index; returns
/// whether nothing of it is left.
pub(super) fn remove_pages(db: &Connection, run: u64, at_most: usize) -> rusqlite::Result<bool> {
    let removed = db
        .prepare_cached(
            "DELETE FROM id_pages WHERE page IN
             (SELECT page FROM id_pages WHERE page >= ?1 AND page < ?2 ORDER BY page LIMIT ?3)",
        )?
        .execute(params![page_number(run, 0), page_number(run + 1, 0), at_most])?;
    let all = removed < at_most;
    if all {
        db.prepare_cached("DELETE FROM id_indexes WHERE run = ?1")?.execute([run])?;
    }
    Ok(all)
}
