//! A store that is put back from a copy, at random moments of random histories that each follow from a seed: events that come and come
//! again, batches cut by size and by hand, sudden ends, a wall clock that jumps, and copies of several ages.
//!
//! Lost is only what the copy does not have and no batch in raw had when the copy was put back. Everything else is in raw once, is
//! known when it comes again, and is handed out to be filed; and no file in raw ever changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use weir_core::{
    BatchKey, ManualClock, Random, SeededRandom, Timestamp,
    conformance::dedup::event,
    ports::{Appended, Stream},
};
use weir_embedded::{Deliveries, Embedded, Flush, OpenError, is_served};

/// A batch has some ten events.
const FLUSH: Flush = Flush { every: Duration::from_hours(1), size: 1500 };

const HOUR: i64 = 3_600_000;

/// All files below a folder, by their paths.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

struct History {
    dice: SeededRandom,
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    engine: Option<(Embedded, Deliveries)>,
    /// The events that the store or raw has, by their numbers.
    known: BTreeSet<u64>,
    next: u64,
    /// Copies of the store, with the events that were known when they were made. Those that a later history has left behind are gone.
    copies: Vec<(PathBuf, BTreeSet<u64>)>,
    made: usize,
    /// How the files in raw were when they were seen first.
    raw: BTreeMap<PathBuf, Vec<u8>>,
    handed_out: BTreeSet<BatchKey>,
    /// What was done, for a failure.
    told: Vec<String>,
}

impl History {
    fn begin(seed: u64) -> Self {
        let mut history = Self {
            dice: SeededRandom::new(seed),
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(Timestamp::saturating(1_795_179_605_007))),
            engine: None,
            known: BTreeSet::new(),
            next: 0,
            copies: Vec::new(),
            made: 0,
            raw: BTreeMap::new(),
            handed_out: BTreeSet::new(),
            told: vec![format!("seed {seed}")],
        };
        history.open();
        history
    }

    fn throw(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.dice.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn open(&mut self) {
        let opened = Embedded::open(&self.data(), FLUSH, self.clock.clone());
        self.engine = Some(opened.map_err(|error: OpenError| format!("{error}: {:#?}", self.told)).unwrap());
    }

    /// Ends the engine as suddenly as can be done within a process, and waits until its threads are gone.
    async fn end(&mut self) {
        self.take_deliveries().await;
        let (engine, mut deliveries) = self.engine.take().unwrap();
        drop(engine);
        while let Some(batch) = deliveries.next().await {
            self.handed_out.insert(batch);
        }
        while is_served(&self.data()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes what is handed out now; some of it is filed.
    async fn take_deliveries(&mut self) {
        let (engine, mut deliveries) = self.engine.take().unwrap();
        while let Ok(Some(batch)) = tokio::time::timeout(Duration::ZERO, deliveries.next()).await {
            if self.throw(2) == 0 {
                engine.filed(&batch).await.unwrap();
            }
            self.handed_out.insert(batch);
        }
        self.engine = Some((engine, deliveries));
    }

    /// Sends some new events and some that were sent before.
    async fn append(&mut self) {
        let mut numbers: BTreeSet<u64> = (0..self.throw(4)).map(|more| self.next + more).collect();
        self.next += 4;
        numbers.extend((0..self.throw(4)).map(|_| self.throw(self.next)));
        let username = "u".parse().unwrap();
        let records = numbers.iter().map(|number| event(&username, &format!("e-{number}"), "")).collect();
        let outcomes = self.engine.as_ref().unwrap().0.append(records).await;
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            let is_new = self.known.insert(number);
            let expected = if is_new { Appended::Counted } else { Appended::Duplicate { stored: None } };
            assert_eq!(format!("{outcome:?}"), format!("{expected:?}"), "{number}: {:#?}", self.told);
        }
    }

    fn copy(&mut self) {
        let copy = self.folder.path().join(format!("copy-{}", self.made));
        self.made += 1;
        let db = rusqlite::Connection::open(self.data().join("events.db")).unwrap();
        db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        self.copies.push((copy, self.known.clone()));
    }

    async fn put_back(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let which = usize::try_from(self.throw(self.copies.len() as u64)).unwrap();
        self.copies.truncate(which + 1);
        self.end().await;
        for name in ["events.db", "events.db-wal", "events.db-shm"] {
            let _ = fs::remove_file(self.data().join(name));
        }
        let (copy, known) = &self.copies[which];
        fs::copy(copy, self.data().join("events.db")).unwrap();
        self.known = known.iter().copied().chain(self.in_raw().into_keys()).collect();
        self.open();
    }

    /// The events in raw, and how often each is there.
    fn in_raw(&self) -> BTreeMap<u64, usize> {
        let mut found = BTreeMap::new();
        for (line, times) in super::lines_in_raw(&self.data()) {
            let id = line.split_once("\"e-").unwrap().1.split_once('"').unwrap().0;
            *found.entry(id.parse().unwrap()).or_default() += times;
        }
        found
    }

    fn look_at_raw(&mut self) {
        let now = files(&self.data().join("raw"));
        for (path, bytes) in &self.raw {
            assert!(now.get(path) == Some(bytes), "{} has changed: {:#?}", path.display(), self.told);
        }
        self.raw = now;
    }

    async fn go_on(&mut self) {
        let what =
            ["append", "append", "append", "append", "flush", "end", "jump", "copy", "put back", "file"];
        let what = what[usize::try_from(self.throw(what.len() as u64)).unwrap()];
        self.told.push(format!("{what}, {} known", self.known.len()));
        match what {
            "append" => self.append().await,
            "flush" => self.engine.as_ref().unwrap().0.flush().await.unwrap(),
            "end" => {
                self.end().await;
                self.open();
            }
            "jump" => {
                self.clock.advance(self.throw(600_000));
                // Within a day, so that all ids are of the last day by any clock.
                self.clock.jump(if self.throw(2) == 0 { -HOUR } else { HOUR });
            }
            "copy" => self.copy(),
            "put back" => self.put_back().await,
            _ => self.take_deliveries().await,
        }
        self.look_at_raw();
    }

    async fn finish(mut self) {
        self.engine.as_ref().unwrap().0.stop().await.unwrap();
        let (_, mut deliveries) = self.engine.take().unwrap();
        while let Some(batch) = deliveries.next().await {
            self.handed_out.insert(batch);
        }
        self.look_at_raw();
        let expected: BTreeMap<u64, usize> = self.known.iter().map(|number| (*number, 1)).collect();
        assert_eq!(self.in_raw(), expected, "{:#?}", self.told);
        let raw = self.data().join("raw");
        for path in self.raw.keys() {
            let key = BatchKey::new(path.strip_prefix(&raw).unwrap().to_str().unwrap());
            assert!(self.handed_out.contains(&key), "{key} was never handed out: {:#?}", self.told);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_put_back_from_a_copy_at_any_moment_loses_what_neither_it_nor_raw_has_and_repeats_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, seeds) = (number("WEIR_SIM_FIRST").unwrap_or(1), number("WEIR_SIM_SEEDS").unwrap_or(8));
    for seed in first..first + seeds {
        let mut history = History::begin(seed);
        for _ in 0..60 {
            history.go_on().await;
        }
        history.finish().await;
    }
}
