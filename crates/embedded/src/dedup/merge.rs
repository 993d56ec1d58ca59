//! Merging runs: eight of a size become one, so that a lookup has few to ask however many ids are known.
//!
//! A merge goes on with the commits that come anyway, a slice each. Its result replaces its inputs in the transaction of the
//! last slice. A merge that a death or a failed commit stops leaves pages that no run has, and is begun again.

use rusqlite::Connection;

use super::run::{Entry, Run, Writing, entries, read_page};

/// So many runs of a size are merged.
const FAN_IN: usize = 8;

/// Returns the class of a run by its size: each is eight times as large as the one before.
fn class(ids: u64, smallest: u64) -> u32 {
    (ids.max(smallest) / smallest).ilog2() / FAN_IN.ilog2()
}

/// A merge that is under way.
pub(super) struct Merge {
    inputs: Vec<Input>,
    output: Writing,
}

struct Input {
    run: u64,
    pages: u64,
    next_page: u64,
    /// The entries of the current page that are left, the next one last.
    left: Vec<Entry>,
}

impl Merge {
    /// Begins a merge of the smallest runs of one generation of which there are enough.
    pub(super) fn among(runs: &[&Run], smallest: u64, number: u64) -> Option<Self> {
        let size = |run: &Run| (class(run.ids, smallest), run.generation);
        let mut sizes: Vec<(u32, u64)> = runs.iter().map(|run| size(run)).collect();
        sizes.sort_unstable();
        let same = *sizes.chunk_by(|one, other| one == other).find(|same| same.len() >= FAN_IN)?.first()?;
        let inputs = runs.iter().filter(|run| size(run) == same).take(FAN_IN);
        let ids = inputs.clone().map(|run| run.ids).sum();
        let input =
            |run: &&Run| Input { run: run.number, pages: run.pages(), next_page: 0, left: Vec::new() };
        Some(Self { inputs: inputs.map(input).collect(), output: Writing::begin(number, same.1, ids) })
    }

    /// Merges as many ids; returns whether that were all.
    pub(super) fn step(&mut self, db: &Connection, ids: u64) -> rusqlite::Result<bool> {
        for _ in 0..ids {
            for input in &mut self.inputs {
                input.fill(db)?;
            }
            let heads = self.inputs.iter_mut().filter(|input| !input.left.is_empty());
            let Some(least) = heads.min_by_key(|input| input.left.last().copied()) else { return Ok(true) };
            if let Some(entry) = least.left.pop() {
                self.output.add(db, &entry)?;
            }
        }
        Ok(false)
    }

    /// Makes the output a run of the store in place of the inputs; returns it with the numbers of the inputs.
    pub(super) fn end(self, db: &Connection) -> rusqlite::Result<(Run, Vec<u64>)> {
        let inputs: Vec<u64> = self.inputs.iter().map(|input| input.run).collect();
        for input in &inputs {
            db.prepare_cached("DELETE FROM id_runs WHERE run = ?1")?.execute([input])?;
        }
        Ok((self.output.end(db)?, inputs))
    }

    /// Returns the number of the run that it writes.
    pub(super) fn output(&self) -> u64 {
        self.output.number()
    }

    pub(super) fn generation(&self) -> u64 {
        self.output.generation()
    }
}

impl Input {
    fn fill(&mut self, db: &Connection) -> rusqlite::Result<()> {
        while self.left.is_empty() && self.next_page < self.pages {
            self.left = read_page(db, self.run, self.next_page, |page| entries(page).rev().collect())?
                .unwrap_or_default();
            self.next_page += 1;
        }
        Ok(())
    }
}
