//! Merging runs: eight of a size become one, so that a lookup has few to ask however many ids are known.
//!
//! A merge goes on with the commits that come anyway, a slice each. There is one for each class of sizes, so a large one does not
//! hold up small ones. Its result replaces its inputs in the transaction of the last slice. A merge that a crash or a failed commit
//! cuts short leaves pages that belong to no run, and is begun again.

use rusqlite::Connection;

use super::run::{ENTRIES_PER_PAGE, Entry, Run, Writing, entries, read_page, take_out};

/// The number of runs of a class that are merged into one.
const FAN_IN: usize = 8;

/// Returns the class of a run by its size: each is eight times as large as the one before.
fn class(ids: u64, smallest: u64) -> u32 {
    (ids.max(smallest) / smallest).ilog2() / FAN_IN.ilog2()
}

/// A merge that is under way.
pub(super) struct Merge {
    class: u32,
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
    /// Begins a merge of runs of one class and one generation of which there are enough, if none of these classes is being merged.
    pub(super) fn among(runs: &[&Run], under_way: &[Self], smallest: u64, number: u64) -> Option<Self> {
        let place = |run: &Run| (class(run.ids, smallest), run.generation);
        let is_busy = |class: u32| under_way.iter().any(|merge| merge.class == class);
        let mut places: Vec<(u32, u64)> = runs.iter().map(|run| place(run)).collect();
        places.retain(|(class, _)| !is_busy(*class));
        places.sort_unstable();
        let same = *places.chunk_by(|one, other| one == other).find(|same| same.len() >= FAN_IN)?.first()?;
        let inputs = runs.iter().filter(|run| place(run) == same).take(FAN_IN);
        let ids = inputs.clone().map(|run| run.ids).sum();
        let input =
            |run: &&Run| Input { run: run.number, pages: run.pages(), next_page: 0, left: Vec::new() };
        Some(Self {
            class: same.0,
            inputs: inputs.map(input).collect(),
            output: Writing::begin(number, same.1, ids),
        })
    }

    /// Merges up to `ids` ids, or, once all are merged, writes a part of the filter; returns whether nothing is left to do.
    pub(super) fn step(&mut self, db: &Connection, ids: u64) -> rusqlite::Result<bool> {
        for _ in 0..ids {
            for input in &mut self.inputs {
                input.fill(db)?;
            }
            let heads = self.inputs.iter_mut().filter(|input| !input.left.is_empty());
            let Some(least) = heads.min_by_key(|input| input.left.last().copied()) else {
                let pieces = usize::try_from(ids).unwrap_or(usize::MAX) / ENTRIES_PER_PAGE + 1;
                return self.output.write_filter(db, pieces);
            };
            if let Some(entry) = least.left.pop() {
                self.output.add(db, &entry)?;
            }
        }
        Ok(false)
    }

    /// Makes the output a run of the store in place of the inputs; returns it.
    pub(super) fn end(self, db: &Connection) -> rusqlite::Result<Run> {
        for run in self.inputs() {
            take_out(db, run)?;
        }
        self.output.end(db)
    }

    /// Returns the numbers of the runs that it merges.
    pub(super) fn inputs(&self) -> impl Iterator<Item = u64> {
        self.inputs.iter().map(|input| input.run)
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
            let page = read_page(db, self.run, self.next_page, |page| entries(page).rev().collect())?;
            if page.is_none() {
                tracing::error!(
                    run = self.run,
                    page = self.next_page,
                    "a page of recent ids is missing in events.db"
                );
            }
            self.left = page.unwrap_or_default();
            self.next_page += 1;
        }
        Ok(())
    }
}
