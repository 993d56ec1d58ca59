//! What goes on at the same time: filing, sealing and reading; and the checks.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::{
    Clock, Day,
    sealing::{self, Reads, SealError, SealedDays, Sealing, day_of},
};

use super::{
    SealingBug, Task,
    store::{Line, Store, TYPE, first_day},
};

pub(super) enum Actor {
    Filer(Filer),
    Sealer(Sealer),
    Reader(Reader),
}

impl Actor {
    /// Begins, or begins again after a death.
    pub(super) fn begin(&self) -> Task {
        match self {
            Self::Filer(Filer { store }) => Box::pin(file(store.clone())),
            Self::Sealer(Sealer { store }) => Box::pin(seal(store.clone())),
            Self::Reader(Reader { store }) => Box::pin(read(store.clone())),
        }
    }
}

pub(super) struct Filer {
    store: Store,
}

pub(super) struct Sealer {
    store: Store,
}

pub(super) struct Reader {
    store: Store,
}

impl Filer {
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }
}

impl Sealer {
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }
}

impl Reader {
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }
}

/// Files a batch: a new one, or one that was not settled as its filer died. Now and then one that was settled is filed again.
async fn file(store: Store) {
    let batch = {
        let state = store.state();
        let unsettled: Vec<_> = state.unsettled.clone();
        let settled: Vec<_> = state.settled.values().cloned().collect();
        drop(state);
        if !unsettled.is_empty() && store.dice.chance(600) {
            store.dice.pick(&unsettled).clone()
        } else if !settled.is_empty() && store.dice.chance(100) {
            store.dice.pick(&settled).clone()
        } else {
            let batch = store.cut();
            store.state().unsettled.push(batch.clone());
            batch
        }
    };
    // Retention may have taken lines out of it.
    let as_kept = store.state().raw.get(&batch.name).cloned().unwrap_or_default();
    for (path, lines) in &as_kept {
        sealing::put(&store, path, store.put(path, lines)).await.unwrap();
    }
    store.settle(&batch).await;
}

/// Seals up to a day; before it, removes what is old, and events that are not kept any longer; after it, JSON.
async fn seal(store: Store) {
    let Some(_turn) = store.turn() else { return };
    let sealing = Sealing { days: &store, work: &store, clock: &*store.clock, accept_differences: false };
    if store.dice.chance(300)
        && let Err(error) = sealing::tidy(&store, store.clock.now()).await
    {
        return store.broke("sealing goes on", error.to_string());
    }
    if store.dice.chance(50) {
        let first = if store.dice.chance(500) { first_day().next() } else { first_day().next().next() };
        sealing::retain(&store, &store, &store, &BTreeMap::from([(TYPE.parse().unwrap(), first)]))
            .await
            .unwrap();
    }
    if store.dice.chance(50) {
        again(&store, &sealing).await;
    }
    let mut until = first_day();
    for _ in 0..store.dice.range(0..4) {
        until = until.next();
    }
    match sealing::seal(&sealing, until, &mut |_| ()).await {
        Ok(()) | Err(SealError::Busy(_)) => {}
        Err(error) => store.broke("sealing goes on", error.to_string()),
    }
    if store.dice.chance(200) {
        sealing::expire_json(&store, &store, until, store.clock.now(), store.clock.now()).await.unwrap();
    }
}

/// Seals days anew, as `weir seal --again` does.
async fn again(store: &Store, sealing: &Sealing<'_>) {
    for (day, generation) in store.manifest().await.unwrap().days {
        match sealing::seal_again(sealing, day).await {
            Ok(_) | Err(SealError::Busy(_)) => {}
            Err(SealError::Differs { .. }) if generation.json_expired => {}
            Err(error) => store.broke("sealing goes on", error.to_string()),
        }
    }
}

/// Reads all events as a query does: first what is to be read, then the files, one after the other.
async fn read(store: Store) {
    let settled: BTreeSet<Seen> = {
        let state = store.state();
        let objects = state.settled.values().flat_map(|batch| &batch.objects);
        objects.flat_map(|(path, lines)| of_day(day_of(path).unwrap(), lines)).collect()
    };
    let began = store.clock.now();
    let reads = match Reads::now(&store).await {
        Ok(reads) => reads,
        Err(_) if began.plus_millis(sealing::KEPT_MILLIS) < store.clock.now() => return,
        Err(error) => return store.broke("a reader finds its files", error.to_string()),
    };
    // A query fails if its files are removed before it has read them.
    let fails = || store.state().has_removed_more_than(&reads);
    let mut seen: Vec<Seen> = Vec::new();
    for (day, generation) in &reads.manifest.days {
        if reads.manifest.sealed().all(|(of, ..)| of != *day) {
            continue;
        }
        store.step().await;
        let rows = store.state().generations.get(&(*day, generation.number)).cloned();
        match rows {
            _ if fails() => return,
            Some(rows) => seen.extend(of_day(*day, &rows.events)),
            // A query that runs for a day may come too late.
            None if began.plus_millis(sealing::KEPT_MILLIS) < store.clock.now() => return,
            None => store.broke("a reader finds its files", format!("{day}, {}", generation.number)),
        }
    }
    // DuckDB lists the patterns of all days at one moment, or one after the other.
    let paths: Vec<String> = store.state().lake.keys().cloned().collect();
    let as_json = |path: &&String| {
        reads.as_json(path) || store.has(SealingBug::RemovedIsRead) && reads.manifest.is_object_removed(path)
    };
    for path in paths.iter().filter(as_json) {
        store.step().await;
        let lines = store.state().lake.get(path).cloned();
        match lines {
            _ if fails() => return,
            Some(lines) => seen.extend(of_day(day_of(path).unwrap(), &lines)),
            None if began.plus_millis(sealing::KEPT_MILLIS) < store.clock.now() => return,
            None => store.broke("a reader finds its files", path.clone()),
        }
    }
    if began.plus_millis(sealing::KEPT_MILLIS) < store.clock.now() {
        return;
    }
    check_seen(&store, &reads, &seen, &settled);
}

/// A line that is seen, with the day of its place.
type Seen = (Day, Line);

fn of_day(day: Day, lines: &[Line]) -> Vec<Seen> {
    lines.iter().map(|line| (day, line.clone())).collect()
}

fn check_seen(store: &Store, reads: &Reads, seen: &[Seen], settled: &BTreeSet<Seen>) {
    let first = reads.manifest.first_day(&TYPE.parse().unwrap());
    let mut numbers: BTreeMap<u64, u32> = BTreeMap::new();
    for (day, line) in seen {
        *numbers.entry(line.number).or_default() += 1;
        if *day < first {
            store.broke("removed events are not read", format!("line {} of {day}", line.number));
        }
    }
    for (number, times) in numbers.into_iter().filter(|(_, times)| *times > 1) {
        store.broke("no event is seen twice", format!("line {number} {times} times"));
    }
    let ids = |lines: &mut dyn Iterator<Item = &Seen>| -> BTreeSet<(Day, u64)> {
        lines.filter(|(day, _)| *day >= first).map(|(day, line)| (*day, line.id)).collect()
    };
    if let Some((day, missing)) = ids(&mut settled.iter()).difference(&ids(&mut seen.iter())).next() {
        let details = format!("event {missing} of {day}, sealed until {}", reads.manifest.sealed_until);
        store.broke("each event is seen", details);
    }
}

/// Returns a place that still has an event of a day before `first`.
fn left_of_removed(store: &Store, first: Day) -> Option<String> {
    let state = store.state();
    let raw = state.raw.values().flatten().filter(|(_, lines)| !lines.is_empty()).map(|(path, _)| path);
    let object = raw.chain(state.lake.keys()).find(|path| day_of(path).unwrap() < first).cloned();
    let sealed = state.generations.iter().find(|((day, _), rows)| *day < first && !rows.events.is_empty());
    object.or_else(|| sealed.map(|((day, _), _)| day.to_string()))
}

/// Files and seals all there is, and checks what is sealed then.
pub(super) async fn check_end(store: Store) {
    loop {
        let Some(batch) = store.state().unsettled.first().cloned() else { break };
        let as_kept = store.state().raw.get(&batch.name).cloned().unwrap_or_default();
        for (path, lines) in &as_kept {
            sealing::put(&store, path, store.put(path, lines)).await.unwrap();
        }
        store.settle(&batch).await;
    }
    let sealing = Sealing { days: &store, work: &store, clock: &*store.clock, accept_differences: false };
    let until = first_day().next().next().next().next();
    // What came late for removed days goes with the next retention, which is as far as the last one.
    sealing::retain(&store, &store, &store, &BTreeMap::new()).await.unwrap();
    for _ in 0..2 {
        if let Err(error) = sealing::seal(&sealing, until, &mut |_| ()).await {
            store.broke("sealing goes on", error.to_string());
        }
    }
    let Ok(reads) = Reads::now(&store).await else {
        return store.broke("a reader finds its files", "at the end".to_owned());
    };
    if !reads.late.is_empty() || reads.manifest.sealed_until != until {
        store.broke("sealing goes on", format!("late: {:?}", reads.late));
    }
    let first = reads.manifest.first_day(&TYPE.parse().unwrap());
    if let Some(left) = left_of_removed(&store, first) {
        store.broke("removed events are nowhere", left);
    }
    let mut per_day: BTreeMap<Day, (BTreeSet<u64>, usize)> = BTreeMap::new();
    for (path, lines) in store.state().settled.values().flat_map(|batch| &batch.objects) {
        let day = day_of(path).unwrap();
        if day < first {
            continue;
        }
        let (ids, count) = per_day.entry(day).or_default();
        ids.extend(lines.iter().map(|line| line.id));
        *count += lines.len();
    }
    for (day, (ids, count)) in per_day {
        let number = reads.manifest.days.get(&day).map_or(0, |generation| generation.number);
        let rows = store.state().generations.get(&(day, number)).cloned().unwrap_or_default();
        let found: BTreeSet<u64> = rows.events.iter().map(|line| line.id).collect();
        if found.len() < rows.events.len() {
            store.broke("sealed days have no repeats", day.to_string());
        }
        if found != ids || rows.events.len() + rows.repeats.len() != count {
            store.broke("each event is seen", format!("{day} at the end"));
        }
    }
    // JSON goes, and once more where batches are filed again. An object whose filer dies once it has noted it comes after that.
    for is_again in [false, true] {
        store.clock.advance(sealing::KEPT_MILLIS);
        let now = store.clock.now();
        sealing::expire_json(&store, &store, until, now, now).await.unwrap();
        let left = store.state().lake.keys().next().cloned();
        if let Some(left) = left.filter(|_| is_again) {
            store.broke("JSON of sealed days goes", left);
        }
        let settled: Vec<_> = store.state().settled.keys().cloned().collect();
        for name in settled {
            let as_kept = store.state().raw.get(&name).cloned().unwrap_or_default();
            for (path, lines) in &as_kept {
                sealing::put(&store, path, store.put(path, lines)).await.unwrap();
            }
        }
    }
}
