//! Runs: sorted digests of identities, each with the number of its event, in pages of the store.
//!
//! A run is written once, page after page, so a new id costs its own bytes and not a page. A lookup asks the run's filter
//! first, and then reads the one page that can have the digest. The filter is in pieces as large as a page, so that it can be
//! written and removed bit by bit as well.

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

/// The number of a page, or of a piece of a filter, has its run above these bits, and its place in the run below.
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
    Skipped,
}

impl Run {
    /// Reads the runs of the store, in the order in which they were begun.
    pub(super) fn all(db: &Connection, filters: Filters) -> rusqlite::Result<Vec<Self>> {
        let mut runs = db.prepare_cached("SELECT run, generation, ids, fences FROM id_runs ORDER BY run")?;
        let read = |row: &rusqlite::Row<'_>| {
            let number = row.get(0)?;
            let fences = row.get_ref(3)?.as_blob()?.as_chunks().0;
            Ok(Self {
                number,
                generation: row.get(1)?,
                ids: row.get(2)?,
                fences: fences.iter().map(|fence| u64::from_be_bytes(*fence)).collect(),
                filter: match filters {
                    Filters::Read => read_filter(db, number)?,
                    Filters::Skipped => Filter::of_anything(),
                },
            })
        };
        runs.query_map([], read)?.collect()
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

    /// Returns the pages that can have the digest: one, or several whose digests begin alike. Fences are in the order of pages.
    fn pages_with(&self, digest: &IdentityDigest) -> std::ops::Range<u64> {
        let fence = fence(digest);
        let first = self.fences.partition_point(|begin| *begin < fence).saturating_sub(1);
        let end = self.fences.partition_point(|begin| *begin <= fence);
        first as u64..end as u64
    }

    /// Writes the run anew without these digests, if it has one of them; returns what it wrote.
    pub(super) fn without(
        &self,
        db: &Connection,
        digests: &BTreeSet<IdentityDigest>,
        number: u64,
    ) -> rusqlite::Result<Option<Self>> {
        let mut has_one = false;
        for digest in digests {
            has_one = has_one || self.find(db, digest)?.is_some();
        }
        if !has_one {
            return Ok(None);
        }
        let mut run = Writing::begin(number, self.generation, self.ids);
        for page in 0..self.pages() {
            let all = read_page(db, self.number, page, |page| entries(page).collect::<Vec<_>>())?;
            for entry in all.iter().flatten().filter(|(id, _)| !digests.contains(id)) {
                run.add(db, entry)?;
            }
        }
        run.end(db).map(Some)
    }

    #[cfg(test)]
    pub(super) fn may_have(&self, digest: &IdentityDigest) -> bool {
        self.filter.may_have(digest)
    }

    pub(super) fn pages(&self) -> u64 {
        self.fences.len() as u64
    }
}

fn read_filter(db: &Connection, run: u64) -> rusqlite::Result<Filter> {
    let mut pieces =
        db.prepare_cached("SELECT bits FROM id_filters WHERE piece >= ?1 AND piece < ?2 ORDER BY piece")?;
    let mut pieces = pieces.query([page_number(run, 0), page_number(run + 1, 0)])?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next()? {
        bytes.extend_from_slice(piece.get_ref(0)?.as_blob()?);
    }
    Ok(Filter::read(&bytes))
}

fn page_number(run: u64, page: u64) -> u64 {
    run << PAGE_BITS | page
}

/// Calls `read` with the bytes of a page; returns `None` if the store does not have the page.
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
    /// The pieces of the filter that are written.
    pieces: usize,
}

impl Writing {
    /// Begins a run of up to `at_most` ids.
    pub(super) fn begin(number: u64, generation: u64, at_most: u64) -> Self {
        let filter =
            if at_most > LARGEST_FILTERED { Filter::of_anything() } else { Filter::with_room_for(at_most) };
        let run = Run { number, generation, ids: 0, fences: Vec::new(), filter };
        Self { run, page: Vec::new(), pieces: 0 }
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

    /// Writes up to `at_most` pieces of the filter, once all entries were added; returns whether the filter is written whole.
    pub(super) fn write_filter(&mut self, db: &Connection, at_most: usize) -> rusqlite::Result<bool> {
        for _ in 0..at_most {
            let Some(bits) = self.run.filter.piece(self.pieces) else { return Ok(true) };
            db.prepare_cached("INSERT INTO id_filters (piece, bits) VALUES (?1, ?2)")?
                .execute(params![page_number(self.run.number, self.pieces as u64), bits])?;
            self.pieces += 1;
        }
        Ok(false)
    }

    /// Writes what is left, and makes the run one of the store's.
    pub(super) fn end(mut self, db: &Connection) -> rusqlite::Result<Run> {
        if !self.page.is_empty() {
            self.write_page(db)?;
        }
        while !self.write_filter(db, ENTRIES_PER_PAGE)? {}
        let Run { number, generation, ids, fences, .. } = &self.run;
        let fences: Vec<u8> = fences.iter().flat_map(|fence| fence.to_be_bytes()).collect();
        db.prepare_cached("INSERT INTO id_runs (run, generation, ids, fences) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![number, generation, ids, fences])?;
        Ok(self.run)
    }

    pub(super) fn number(&self) -> u64 {
        self.run.number
    }

    pub(super) fn generation(&self) -> u64 {
        self.run.generation
    }
}

/// Takes a run off the store's list. Its pages are left over then.
pub(super) fn take_out(db: &Connection, run: u64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM id_runs WHERE run = ?1")?.execute([run]).map(drop)
}

/// Returns the numbers of runs that have pages or filter pieces in the store and that the store does not list: they were merged, have
/// expired, or were never finished.
pub(super) fn left_over(db: &Connection) -> rusqlite::Result<Vec<u64>> {
    let mut left_over = Vec::new();
    let mut is_run = db.prepare("SELECT EXISTS (SELECT 1 FROM id_runs WHERE run = ?1)")?;
    for first in [
        "SELECT page FROM id_pages WHERE page >= ?1 ORDER BY page LIMIT 1",
        "SELECT piece FROM id_filters WHERE piece >= ?1 ORDER BY piece LIMIT 1",
    ] {
        let mut first = db.prepare(first)?;
        let mut from = 0;
        while let Some(number) = first.query_row([from], |row| row.get::<_, u64>(0)).optional()? {
            let run = number >> PAGE_BITS;
            if !left_over.contains(&run) && !is_run.query_row([run], |row| row.get::<_, bool>(0))? {
                left_over.push(run);
            }
            from = page_number(run + 1, 0);
        }
    }
    Ok(left_over)
}

/// Removes up to `at_most` pages and filter pieces of a run that the store does not list; returns how many it removed. Fewer than
/// `at_most` means that nothing of the run is left.
pub(super) fn remove_pages(db: &Connection, run: u64, at_most: usize) -> rusqlite::Result<usize> {
    let mut removed = 0;
    for of_run in [
        "DELETE FROM id_pages WHERE page IN
         (SELECT page FROM id_pages WHERE page >= ?1 AND page < ?2 ORDER BY page LIMIT ?3)",
        "DELETE FROM id_filters WHERE piece IN
         (SELECT piece FROM id_filters WHERE piece >= ?1 AND piece < ?2 ORDER BY piece LIMIT ?3)",
    ] {
        let (first, end) = (page_number(run, 0), page_number(run + 1, 0));
        removed += db.prepare_cached(of_run)?.execute(params![first, end, at_most - removed])?;
    }
    Ok(removed)
}
