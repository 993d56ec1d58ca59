//! Dedup: the identities of recently stored events, so that a repeat is recognised.
//!
//! An identity is remembered in a generation, for 24 hours at least and 48 at most (`generations`). New identities are in memory,
//! and in a row of the table `fresh_ids` that the transaction of their events appends. Once there are enough of them, they become
//! a sorted run (`run`), and runs are merged (`merge`). So a new id costs its own bytes a few times and no page of its own, and a
//! lookup asks the memory and a filter of each run.
//!
//! All of this happens in the transactions of commits that come anyway. A run is written in one of them; merges and the removal of
//! old runs go on by a slice in each, so neither a large merge nor the end of a generation causes a pause. After a failed commit the
//! memory is as before, but for merges that the transaction went on with: their place in the runs is in memory only, so they are
//! given up.

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

/// Each merge goes on by 1/256 of a smallest run in each commit, and by twice the ids that the commit adds: so it has ended by the time
/// half as many ids have come in.
const MERGED_PART: u64 = 256;
const MERGED_PER_ID: u64 = 2;

/// How many pages of old runs a commit removes, and how many more for each page of ids that it adds.
const REMOVED_PAGES: usize = 6;
const REMOVED_PER_PAGE: usize = 8;

/// The number of fresh identities that become a run.
const SMALLEST: u64 = 1 << 16;

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
    /// The merges that are under way, one for each class of sizes.
    merges: Vec<Merge>,
    next_run: u64,
    /// The number of fresh identities that become a run: [`SMALLEST`], and less in tests.
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
    /// The outputs of the merges that it went on with.
    outputs: Vec<u64>,
    /// The output of a merge that it began.
    begun: Option<u64>,
    /// The runs that merges ended with.
    merged: Vec<Run>,
    /// The runs that are in the store no more: they were merged, or are of a generation that has ended.
    taken_out: Vec<u64>,
    /// The runs of which no page is left.
    removed: Vec<u64>,
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
            merges: Vec::new(),
            next_run: last_run.map_or(0, |last| last + 1),
            smallest: SMALLEST,
            left_over,
            doing: Doing::default(),
            gone: Arc::default(),
        };
        ids.read_fresh(db)?;
        Ok(ids)
    }

    /// Reads the identities that are in no run. They are all of one generation: the commit that adds the first one of the next
    /// makes them a run.
    fn read_fresh(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut rows = db.prepare("SELECT row, generation, ids FROM fresh_ids ORDER BY row")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            (self.last_row, self.fresh_generation) = (row.get(0)?, row.get(1)?);
            self.fresh.extend(run::entries(row.get_ref(2)?.as_blob()?));
        }
        Ok(())
    }

    /// Treats a retry of one of these events as a repeat.
    pub(crate) fn without(self, gone: Arc<ForgottenEvents>) -> Self {
        Self { gone, ..self }
    }

    /// Makes runs of `smallest` identities.
    #[cfg(test)]
    pub(super) fn with_runs_of(self, smallest: u64) -> Self {
        Self { smallest, ..self }
    }

    /// Adds the time that has passed, before a commit. Sets the fresh ids aside for a run if there are enough, or if their generation
    /// has ended.
    pub(crate) fn turn_to(&mut self, now: Duration) {
        self.generations.turn_to(now);
        let current = self.generations.current();
        if self.fresh.is_empty() {
            self.fresh_generation = current;
        }
        let is_full = self.fresh.len() as u64 >= self.smallest || self.fresh_generation != current;
        // No id is added until the run is stored: the same transaction stores both.
        if is_full && self.full.is_none() {
            let ids = std::mem::take(&mut self.fresh);
            self.full = Some(Full { generation: self.fresh_generation, ids, last_row: self.last_row });
            self.fresh_generation = current;
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

    /// Saves the age of the generation where no transaction stores events. If it fails, the next one does it.
    pub(crate) fn save_age(&mut self, db: &Connection, now: Duration) {
        self.turn_to(now);
        if self.generations.save(db).is_ok() {
            self.generations.saved();
        }
    }

    /// Stores the identities that were added, in the transaction of their events. Goes on with what is to be done: a run, merges,
    /// the removal of old ones.
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
        self.go_on_merging(db, self.smallest.div_ceil(MERGED_PART) + MERGED_PER_ID * added as u64)?;
        self.remove_left_over(db, REMOVED_PAGES + REMOVED_PER_PAGE * added / ENTRIES_PER_PAGE)
    }

    fn store_full(&mut self, db: &Connection) -> rusqlite::Result<Option<Run>> {
        let Some(full) = &self.full else { return Ok(None) };
        let mut ids: Vec<Entry> = full.ids.iter().map(|(id, event)| (*id, *event)).collect();
        ids.sort_unstable();
        let mut run = Writing::begin(self.next_run, full.generation, ids.len() as u64);
        self.next_run += 1;
        for entry in &ids {
            run.add(db, entry)?;
        }
        db.prepare_cached("DELETE FROM fresh_ids WHERE row <= ?1")?.execute([full.last_row])?;
        run.end(db).map(Some)
    }

    /// Takes the runs of generations that have ended out of the store. Merges of them are given up, whether the transaction
    /// succeeds or not: the next one would do the same.
    fn expire(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let generations = &self.generations;
        for run in self.runs.iter().filter(|run| !generations.remembers(run.generation)) {
            run::take_out(db, run.number)?;
            self.doing.taken_out.push(run.number);
        }
        let ended = self.merges.extract_if(.., |merge| !generations.remembers(merge.generation()));
        self.left_over.extend(ended.map(|merge| merge.output()));
        Ok(())
    }

    fn go_on_merging(&mut self, db: &Connection, ids: u64) -> rusqlite::Result<()> {
        let runs = self.runs.iter().filter(|run| self.generations.remembers(run.generation));
        if let Some(merge) =
            Merge::among(&runs.collect::<Vec<_>>(), &self.merges, self.smallest, self.next_run)
        {
            self.doing.begun = Some(merge.output());
            self.merges.push(merge);
            self.next_run += 1;
        }
        let mut at = 0;
        while let Some(merge) = self.merges.get_mut(at) {
            self.doing.outputs.push(merge.output());
            if merge.step(db, ids)? {
                let merge = self.merges.swap_remove(at);
                self.doing.taken_out.extend(merge.inputs());
                self.doing.merged.push(merge.end(db)?);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn remove_left_over(&mut self, db: &Connection, pages: usize) -> rusqlite::Result<()> {
        let mut left = pages;
        for run in &self.left_over {
            let removed = run::remove_pages(db, *run, left)?;
            if removed == left {
                break;
            }
            self.doing.removed.push(*run);
            // A look at a run without pages costs something, too.
            left -= removed.max(1);
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Notes that the transaction was committed.
    pub(crate) fn committed(&mut self) {
        let Doing { added, filled, merged, taken_out, removed, .. } = std::mem::take(&mut self.doing);
        self.generations.saved();
        self.last_row += u64::from(!added.is_empty());
        if filled.is_some() {
            self.full = None;
        }
        self.runs.retain(|run| !taken_out.contains(&run.number));
        self.runs.extend(filled.into_iter().chain(merged));
        self.left_over.retain(|run| !removed.contains(run));
        self.left_over.extend(taken_out);
    }

    /// Notes that the transaction failed: nothing of it is in the store.
    pub(crate) fn rolled_back(&mut self) {
        let Doing { added, outputs, begun, .. } = std::mem::take(&mut self.doing);
        for (id, _) in added {
            self.fresh.remove(&id);
        }
        self.merges.retain(|merge| !outputs.contains(&merge.output()));
        // Of a merge that it began, nothing is in the store.
        self.left_over.extend(outputs.into_iter().filter(|output| Some(*output) != begun));
    }

    /// Returns the runs of which the store may have pages that no run has.
    #[cfg(test)]
    pub(super) fn unfinished(&self) -> Vec<u64> {
        self.merges.iter().map(Merge::output).chain(self.left_over.iter().copied()).collect()
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
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
        for run in Run::all(db, Filters::Skipped)?.iter().filter(|run| generations.remembers(run.generation))
        {
            if let Some(event) = run.find(db, id)? {
                return Ok(event.into());
            }
        }
        Ok(Self::No)
    }
}

/// Removes identities from the store, in a transaction of its caller while no server runs; returns how many there were. A run that
/// has one is written anew: its fences and its filter would say that it had it.
pub(crate) fn remove(db: &Connection, ids: &BTreeSet<IdentityDigest>) -> rusqlite::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    for run in run::left_over(db)? {
        remove_whole(db, run)?;
    }
    let mut removed = 0;
    let mut rows = db.prepare("SELECT row, ids FROM fresh_ids")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (row, bytes) in rows.collect::<rusqlite::Result<Vec<(u64, Vec<u8>)>>>()? {
        let mut left = Vec::new();
        run::entries(&bytes)
            .filter(|(id, _)| !ids.contains(id))
            .for_each(|entry| run::push(&mut left, &entry));
        if left.len() < bytes.len() {
            removed += ((bytes.len() - left.len()) / run::ENTRY_BYTES) as u64;
            db.prepare_cached("UPDATE fresh_ids SET ids = ?2 WHERE row = ?1")?.execute(params![row, left])?;
        }
    }
    let runs = Run::all(db, Filters::Read)?;
    let mut next_run = runs.last().map_or(0, |run| run.number + 1);
    for run in runs {
        let without = run.without(db, ids, next_run)?;
        if let Some(without) = without {
            removed += run.ids - without.ids;
            next_run += 1;
            run::take_out(db, run.number)?;
            remove_whole(db, run.number)?;
        }
    }
    Ok(removed)
}

fn remove_whole(db: &Connection, run: u64) -> rusqlite::Result<()> {
    const SLICE: usize = 1000;
    while run::remove_pages(db, run, SLICE)? == SLICE {}
    Ok(())
}
