//! Dedup: the identities of recently stored events, so that a repeat is recognised.
//!
//! An identity is remembered in a generation, for 24 hours at least and 48 at most (`generations`). New identities are in memory,
//! and in a row of the table `fresh_ids` that the transaction of their events appends. Once there are enough of them, they become
//! a sorted run (`run`), and runs are merged (`merge`). So a new id costs its own bytes a few times and no page of its own, and a
//! lookup asks the memory and a filter of each run.
//!
//! All of this happens in the transactions of commits that come anyway, a slice each: neither a run nor the end of a generation
//! causes a pause. After a failed commit the memory is what it was before.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry as Place},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, params};
use weir_core::{dedup::IdentityDigest, forgotten::ForgottenEvents};

use super::{
    generations::Generations,
    merge::Merge,
    run::{self, ENTRIES_PER_PAGE, Entry, Filters, Run, UNNUMBERED, Writing},
};

/// The part of a smallest run that a commit merges at least, and the pages of old runs that it removes. A commit that adds ids
/// does more.
const MERGED_PART: u64 = 256;
const REMOVED_PAGES: usize = 6;

/// So many identities become a run, which takes a few milliseconds.
const SMALLEST: u64 = 1 << 16;

/// For each id that is added, so many are merged: each is merged once a class, of which there are four.
const MERGED_PER_ID: usize = 4;

/// The recent identities.
pub(crate) struct RecentIds {
    generations: Generations,
    /// The identities that are in no run, and their generation.
    fresh: HashMap<IdentityDigest, u64>,
    fresh_generation: u64,
    /// Identities that become a run with the next commit.
    full: Option<Full>,
    /// The last row of `fresh_ids`.
    last_row: u64,
    runs: Vec<Run>,
    merge: Option<Merge>,
    next_run: u64,
    /// So many fresh identities become a run.
    smallest: u64,
    /// Runs of which there are only pages left, which are to be removed.
    left_over: Vec<u64>,
    /// Effects of the transaction that is under way.
    doing: Doing,
    /// Events that were forgotten on request: a retry of one is a repeat, however late it comes.
    gone: Arc<ForgottenEvents>,
}

struct Full {
    generation: u64,
    ids: HashMap<IdentityDigest, u64>,
    last_row: u64,
}

#[derive(Default)]
struct Doing {
    added: Vec<Entry>,
    /// The run that `full` became.
    filled: Option<Run>,
    /// The run that a merge wrote, or goes on to write.
    output: Option<u64>,
    /// The result of a merge, and its inputs.
    merged: Option<(Run, Vec<u64>)>,
    expired: Vec<u64>,
    /// The run of which no page is left.
    removed: Option<u64>,
}

impl RecentIds {
    /// Reads the recent identities; `now` is the reading of a monotonic clock.
    pub(crate) fn open(db: &Connection, now: Duration) -> rusqlite::Result<Self> {
        let (runs, left_over) = (Run::all(db, Filters::Read)?, run::left_over(db)?);
        let last_run = runs.iter().map(|run| run.number).chain(left_over.iter().copied()).max();
        let generations = Generations::open(db, now)?;
        let mut ids = Self {
            fresh: HashMap::new(),
            fresh_generation: generations.current(),
            generations,
            full: None,
            last_row: 0,
            runs,
            merge: None,
            next_run: last_run.map_or(0, |last| last + 1),
            smallest: SMALLEST,
            left_over,
            doing: Doing::default(),
            gone: Arc::default(),
        };
        ids.read_fresh(db)?;
        Ok(ids)
    }

    /// Reads the identities that are in no run. Those of an earlier generation become one.
    fn read_fresh(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut rows = db.prepare("SELECT row, generation, ids FROM fresh_ids ORDER BY row")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let generation = row.get(1)?;
            if generation != self.fresh_generation {
                self.fill();
                self.fresh_generation = generation;
            }
            self.last_row = row.get(0)?;
            self.fresh.extend(run::entries(row.get_ref(2)?.as_blob()?));
        }
        Ok(())
    }

    /// Treats a retry of one of these events as a repeat.
    pub(crate) fn without(self, gone: Arc<ForgottenEvents>) -> Self {
        Self { gone, ..self }
    }

    /// Makes runs of so many identities, for tests.
    #[cfg(test)]
    pub(super) fn with_runs_of(self, smallest: u64) -> Self {
        Self { smallest, ..self }
    }

    /// Adds the time that has passed, before a commit. Begins a new generation if the current one is old enough.
    pub(crate) fn turn_to(&mut self, now: Duration) {
        self.generations.turn_to(now);
        if self.fresh.len() as u64 >= self.smallest || self.fresh_generation != self.generations.current() {
            self.fill();
            // While an earlier run cannot be stored, these ids stay, and are remembered as if they were new.
            self.fresh_generation = self.generations.current();
        }
    }

    /// Sets the fresh ids aside for a run, unless others wait to become one.
    fn fill(&mut self) {
        if self.full.is_none() && !self.fresh.is_empty() {
            let (generation, last_row) = (self.fresh_generation, self.last_row);
            self.full = Some(Full { generation, ids: std::mem::take(&mut self.fresh), last_row });
        }
    }

    /// Remembers an identity, with the number of its event; returns false if it was known.
    pub(crate) fn remember(
        &mut self,
        db: &Connection,
        id: &IdentityDigest,
        event: u64,
    ) -> rusqlite::Result<bool> {
        if self.gone.has_id(id) || self.is_in_older(db, id)? {
            return Ok(false);
        }
        let Place::Vacant(place) = self.fresh.entry(*id) else { return Ok(false) };
        place.insert(event);
        self.doing.added.push((*id, event));
        Ok(true)
    }

    /// Returns whether an identity is remembered, and is not one of the fresh ones.
    fn is_in_older(&self, db: &Connection, id: &IdentityDigest) -> rusqlite::Result<bool> {
        let full = self.full.as_ref().filter(|full| self.generations.remembers(full.generation));
        if full.is_some_and(|full| full.ids.contains_key(id)) {
            return Ok(true);
        }
        for run in self.runs.iter().rev().filter(|run| self.generations.remembers(run.generation)) {
            if run.find(db, id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores the identities that were added, in the transaction of their events. Goes on with what is to be done: a run, a
    /// merge, the removal of old ones.
    pub(crate) fn store(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.generations.save(db)?;
        let added = self.doing.added.len();
        if added > 0 {
            let mut ids = Vec::with_capacity(added * run::ENTRY_BYTES);
            self.doing.added.iter().for_each(|entry| run::push(&mut ids, entry));
            db.prepare_cached("INSERT INTO fresh_ids (row, generation, ids) VALUES (?1, ?2, ?3)")?
                .execute(params![self.last_row + 1, self.fresh_generation, ids])?;
        }
        self.doing.filled = self.store_full(db)?;
        self.expire(db)?;
        self.go_on_merging(db, self.smallest.div_ceil(MERGED_PART) + (MERGED_PER_ID * added) as u64)?;
        self.remove_left_over(db, REMOVED_PAGES + MERGED_PER_ID * added / ENTRIES_PER_PAGE)
    }

    fn store_full(&mut self, db: &Connection) -> rusqlite::Result<Option<Run>> {
        let Some(full) = &self.full else { return Ok(None) };
        let mut ids: Vec<Entry> = full.ids.iter().map(|(id, event)| (*id, *event)).collect();
        ids.sort_unstable();
        let mut run = Writing::begin(self.next_run, full.generation, ids.len() as u64);
        // A number is used once, so that what a failed commit leaves belongs to no other run.
        self.next_run += 1;
        for entry in &ids {
            run.add(db, entry)?;
        }
        db.prepare_cached("DELETE FROM fresh_ids WHERE row <= ?1")?.execute([full.last_row])?;
        run.end(db).map(Some)
    }

    /// Takes the runs of earlier generations out of the store. Their pages go later.
    fn expire(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let expired = self.runs.iter().filter(|run| !self.generations.remembers(run.generation));
        self.doing.expired = expired.map(|run| run.number).collect();
        for run in &self.doing.expired {
            db.prepare_cached("DELETE FROM id_runs WHERE run = ?1")?.execute([run])?;
        }
        if self.merge.as_ref().is_some_and(|merge| !self.generations.remembers(merge.generation())) {
            self.left_over.extend(self.merge.take().map(|merge| merge.output()));
        }
        Ok(())
    }

    fn go_on_merging(&mut self, db: &Connection, ids: u64) -> rusqlite::Result<()> {
        if self.merge.is_none() {
            let runs = self.runs.iter().filter(|run| self.generations.remembers(run.generation));
            self.merge = Merge::among(&runs.collect::<Vec<_>>(), self.smallest, self.next_run);
            self.next_run += u64::from(self.merge.is_some());
        }
        let Some(merge) = &mut self.merge else { return Ok(()) };
        self.doing.output = Some(merge.output());
        if merge.step(db, ids)? {
            self.doing.merged = self.merge.take().map(|merge| merge.end(db)).transpose()?;
        }
        Ok(())
    }

    fn remove_left_over(&mut self, db: &Connection, pages: usize) -> rusqlite::Result<()> {
        if let Some(run) = self.left_over.first()
            && run::remove_pages(db, *run, pages)?
        {
            self.doing.removed = Some(*run);
        }
        Ok(())
    }

    /// Notes that the transaction was committed.
    pub(crate) fn committed(&mut self) {
        let Doing { added, filled, merged, expired, removed, .. } = std::mem::take(&mut self.doing);
        self.generations.committed();
        self.last_row += u64::from(!added.is_empty());
        if filled.is_some() {
            self.full = None;
        }
        let (merged, inputs) = merged.map_or((None, Vec::new()), |(run, inputs)| (Some(run), inputs));
        self.runs.retain(|run| !expired.contains(&run.number) && !inputs.contains(&run.number));
        self.runs.extend(filled.into_iter().chain(merged));
        self.left_over.retain(|run| Some(*run) != removed);
        self.left_over.extend(expired.into_iter().chain(inputs));
    }

    /// Notes that the transaction failed: nothing of it is in the store.
    pub(crate) fn rolled_back(&mut self) {
        let Doing { added, output, .. } = std::mem::take(&mut self.doing);
        for (id, _) in added {
            self.fresh.remove(&id);
        }
        // A merge has no way back. The pages that it wrote earlier are left over.
        self.merge = None;
        self.left_over.extend(output);
    }
}

/// Whether an identity is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    No,
    /// An earlier version stored its event, without a number.
    Somewhere,
    /// As this number of the sequence, or in the batch that begins with it.
    At(u64),
}

impl From<u64> for Remembered {
    fn from(event: u64) -> Self {
        if event == UNNUMBERED { Self::Somewhere } else { Self::At(event) }
    }
}

impl Remembered {
    /// Looks an identity up in the store.
    pub(crate) fn find(db: &Connection, id: &IdentityDigest) -> rusqlite::Result<Self> {
        let generations = Generations::open(db, Duration::ZERO)?;
        let mut rows = db.prepare_cached("SELECT generation, ids FROM fresh_ids ORDER BY row DESC")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            if !generations.remembers(row.get(0)?) {
                break;
            }
            let mut entries = run::entries(row.get_ref(1)?.as_blob()?);
            if let Some((_, event)) = entries.find(|(other, _)| other == id) {
                return Ok(event.into());
            }
        }
        for run in Run::all(db, Filters::Left)?.iter().filter(|run| generations.remembers(run.generation)) {
            if let Some(event) = run.find(db, id)? {
                return Ok(event.into());
            }
        }
        Ok(Self::No)
    }
}

/// Removes identities from the store, in a transaction of its own caller while no server runs; returns how many there were.
pub(crate) fn remove(db: &Connection, ids: &BTreeSet<IdentityDigest>) -> rusqlite::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    for run in run::left_over(db)? {
        while !run::remove_pages(db, run, 1000)? {}
    }
    let mut removed = 0;
    let mut rows = db.prepare("SELECT row, ids FROM fresh_ids")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (row, mut bytes) in rows.collect::<rusqlite::Result<Vec<(u64, Vec<u8>)>>>()? {
        let found = run::entries(&bytes).map(|(id, _)| id).filter(|id| ids.contains(id));
        for id in found.collect::<Vec<_>>() {
            bytes = run::without(&bytes, &id).unwrap_or(bytes);
            db.prepare_cached("UPDATE fresh_ids SET ids = ?2 WHERE row = ?1")?
                .execute(params![row, bytes])?;
            removed += 1;
        }
    }
    for run in Run::all(db, Filters::Read)? {
        removed += run.remove(db, ids)?;
    }
    Ok(removed)
}
