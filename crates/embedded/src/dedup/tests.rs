//! Recent ids against a model, with runs of a few ids, so that all of them are merged, expire and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};
use weir_core::{Random, SeededRandom, dedup::IdentityDigest};

use super::{
    recent::{RecentIds, Remembered, remove},
    run::{Filters, Run, left_over},
};
use crate::store;

/// A merge of eight such runs has several pages.
const SMALLEST: u64 = 64;

/// The ids that clients send.
const IDS: u64 = 20_000;

fn digest(number: u64) -> IdentityDigest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(number.to_le_bytes())[..16]);
    digest
}

/// Writing to one of these fails in the middle of a commit.
const FAILING: [&str; 5] = ["fresh_ids", "id_pages", "id_filters", "id_runs", "DELETE"];

fn failing(table: &str) -> String {
    let (table, act) = match table {
        "DELETE" => ("id_runs", "DELETE"),
        table => (table, "INSERT"),
    };
    format!("CREATE TRIGGER fails BEFORE {act} ON {table} BEGIN SELECT RAISE(FAIL, 'full'); END")
}

struct World {
    db: Connection,
    ids: RecentIds,
    now: Duration,
    random: SeededRandom,
    /// The generation in which each id was remembered last, and its event.
    model: BTreeMap<u64, (u64, u64)>,
    generation: u64,
    next_event: u64,
    failure: u64,
    /// Filters that still have a forgotten id.
    wrong: usize,
}

impl World {
    fn new(path: &std::path::Path, seed: u64) -> Self {
        let db = store::open(path).unwrap();
        db.pragma_update(None, "synchronous", "OFF").unwrap();
        let ids = RecentIds::open(&db, Duration::ZERO).unwrap().with_runs_of(SMALLEST);
        let (random, model) = (SeededRandom::new(seed), BTreeMap::new());
        Self {
            db,
            ids,
            now: Duration::ZERO,
            random,
            model,
            generation: 1,
            next_event: 1,
            failure: 0,
            wrong: 0,
        }
    }

    fn below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
    }

    fn knows(&self, id: u64) -> Option<u64> {
        let (generation, event) = self.model.get(&id)?;
        (generation + 1 >= self.generation).then_some(*event)
    }

    fn commit(&mut self, fails: bool) {
        self.commit_of((0..self.random_size()).map(|_| self.below(IDS)).collect(), fails);
    }

    /// Commits some ids. A commit may fail before anything is stored, somewhere in between, or in the end.
    fn commit_of(&mut self, sent: Vec<u64>, fails: bool) {
        let before = fails.then(|| (self.model.clone(), self.next_event));
        self.ids.turn_to(self.now);
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        for id in sent {
            let known = self.model.get(&id).is_some_and(|(stored, _)| stored + 1 >= self.generation);
            let is_new = self.ids.remember(&transaction, &digest(id), self.next_event).unwrap();
            assert_eq!(is_new, !known, "{id}");
            if is_new {
                self.model.insert(id, (self.generation, self.next_event));
                self.next_event += 1;
            }
        }
        let Some(before) = before else {
            self.ids.store(&transaction).unwrap();
            transaction.commit().unwrap();
            self.ids.committed();
            self.nothing_is_lost_sight_of();
            return;
        };
        // Where nothing is written to the table, storing succeeds, and the commit fails.
        match self.failure % 8 {
            0 => {}
            at => {
                if let Some(table) = FAILING.get(usize::try_from(at).unwrap() - 1) {
                    transaction.execute_batch(&failing(table)).unwrap();
                }
                let _ = self.ids.store(&transaction);
            }
        }
        transaction.rollback().unwrap();
        self.failure += 1;
        self.ids.rolled_back();
        (self.model, self.next_event) = before;
        self.nothing_is_lost_sight_of();
    }

    /// What is left of runs is known, so that it will be removed.
    fn nothing_is_lost_sight_of(&self) {
        let known = self.ids.unfinished();
        for run in left_over(&self.db).unwrap() {
            assert!(known.contains(&run), "run {run} is left over, known are {known:?}");
        }
        let stored = Run::all(&self.db, Filters::Skipped).unwrap().into_iter().map(|run| run.number);
        let known: BTreeSet<u64> = self.ids.runs().iter().map(|run| run.number).collect();
        assert_eq!(stored.collect::<BTreeSet<_>>(), known);
        assert!(known.len() < 60, "merges are behind: {} runs", known.len());
    }

    fn random_size(&self) -> u64 {
        [0, 1, 20, 150][usize::try_from(self.below(4)).unwrap()]
    }

    fn reopen(&mut self) {
        self.ids = RecentIds::open(&self.db, self.now).unwrap().with_runs_of(SMALLEST);
    }

    /// Begins a generation. Nothing saves its beginning but a commit.
    fn turn(&mut self) {
        let turns = 1 + self.below(2);
        self.now += Duration::from_hours(24) * u32::try_from(turns).unwrap();
        self.generation += turns;
        self.commit(false);
    }

    fn forget(&mut self) {
        let some: Vec<u64> = (0..3).map(|_| self.below(IDS)).collect();
        let transaction = self.db.transaction().unwrap();
        remove(&transaction, &some.iter().map(|id| digest(*id)).collect()).unwrap();
        transaction.commit().unwrap();
        for id in &some {
            self.model.remove(id);
            assert!(!self.is_in_a_file(*id), "{id}");
            self.wrong += self.filters_with(*id);
        }
        self.reopen();
    }

    fn is_in_a_file(&self, id: u64) -> bool {
        let anywhere = "SELECT EXISTS (SELECT 1 FROM fresh_ids WHERE instr(ids, ?1))
             OR EXISTS (SELECT 1 FROM id_pages WHERE instr(ids, ?1))
             OR EXISTS (SELECT 1 FROM id_runs WHERE instr(fences, substr(?1, 1, 8)))";
        self.db.query_row(anywhere, [digest(id)], |row| row.get(0)).unwrap()
    }

    /// Returns how many filters have an id: wrong ones are few.
    fn filters_with(&self, id: u64) -> usize {
        let runs = Run::all(&self.db, Filters::Read).unwrap();
        runs.iter().filter(|run| run.may_have(&digest(id))).count()
    }

    fn check(&self) {
        for id in (0..IDS).step_by(101) {
            let known = Remembered::find(&self.db, &digest(id)).unwrap();
            assert_eq!(known, self.knows(id).map_or(Remembered::No, Remembered::At), "{id}");
        }
    }
}

#[test]
fn an_id_is_known_exactly_as_long_as_it_has_to_be_whatever_fails_between() {
    let mut merged = 0;
    for seed in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(&folder.path().join("events.db"), seed);
        for _ in 0..150 {
            match world.below(40) {
                0 => world.turn(),
                1..=2 => world.reopen(),
                3..=4 => world.forget(),
                5..=9 => world.commit(true),
                _ => world.commit(false),
            }
        }
        world.check();
        assert!(world.wrong < 3, "filters have {} of the forgotten ids", world.wrong);
        // What is left to do ends, and leaves few runs and nothing else.
        for _ in 0..300 {
            world.commit(false);
        }
        world.check();
        let runs = Run::all(&world.db, Filters::Skipped).unwrap();
        merged += runs.iter().filter(|run| run.ids > 8 * SMALLEST).count();
        world.now += Duration::from_hours(48);
        world.generation += 2;
        for _ in 0..300 {
            world.commit_of(Vec::new(), false);
        }
        let expired = Run::all(&world.db, Filters::Skipped)
            .unwrap()
            .iter()
            .filter(|run| run.generation + 1 < world.generation)
            .count();
        assert_eq!((expired, left_over(&world.db).unwrap()), (0, Vec::new()), "seed {seed}");
    }
    assert!(merged > 16, "{merged}");
}

#[test]
fn ids_that_begin_alike_are_found_though_they_are_on_several_pages() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(&folder.path().join("events.db"), 0);
    let alike = |end: u64| {
        let mut digest = [7; 16];
        digest[8..].copy_from_slice(&end.to_be_bytes());
        digest
    };
    let transaction = world.db.transaction().unwrap();
    for end in 0..1000 {
        assert!(world.ids.remember(&transaction, &alike(end), end).unwrap());
    }
    world.ids.store(&transaction).unwrap();
    transaction.commit().unwrap();
    world.ids.committed();
    // The second commit makes the run.
    world.commit(false);
    assert_eq!(Run::all(&world.db, Filters::Skipped).unwrap()[0].pages(), 7);
    for end in 0..1000 {
        assert_eq!(Remembered::find(&world.db, &alike(end)).unwrap(), Remembered::At(end));
        assert!(!world.ids.remember(&world.db, &alike(end), end).unwrap());
    }
    assert_eq!(Remembered::find(&world.db, &alike(1000)).unwrap(), Remembered::No);
}
