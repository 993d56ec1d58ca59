//! The checks, and the bugs that are planted into the folder.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use weir_core::{EventType, RecordHead, Username, dedup::IdentityDigest, ports::Books};
use weir_embedded::SealedFolder;

use super::{ForgettingBug, parquet::lines_of, steps::World};

pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

impl World {
    /// Checks what is there once all is filed.
    pub(super) async fn check(&mut self) {
        self.file_all().await;
        self.check_lake().await;
        self.check_counts().await;
        self.check_bytes();
        if let Some(id) = self.remembered_id() {
            self.broke("no id of a forgotten event is remembered", id);
        }
    }

    /// Reads all events as a query does.
    async fn check_lake(&mut self) {
        let (data, sealed) = (self.data(), SealedFolder::of(&self.data()));
        let reads = sealed.reads().await.unwrap();
        let mut lines = Vec::new();
        for (.., of_type) in reads.manifest.sealed() {
            let files = of_type.files.iter().chain(&of_type.repeat_files);
            lines.extend(files.flat_map(|file| lines_of(&sealed.path().join(file))));
        }
        let lake = data.join("lake");
        for path in files_below(&lake) {
            if reads.as_json(path.strip_prefix(&lake).unwrap().to_str().unwrap()) {
                lines.extend(lines_of(&path));
            }
        }
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines {
            *found.entry(RecordHead::read(line.as_bytes()).unwrap().event_id.to_string()).or_default() += 1;
        }
        for (id, times) in &found {
            if self.forgotten.contains_key(id) {
                self.broke("forgotten events never come back", id);
            } else if *times > 1 {
                self.broke("no event is seen twice", id);
            }
        }
        if let Some((id, sent)) = self.kept.clone().iter().find(|(id, _)| !found.contains_key(*id)) {
            self.broke("no other event is lost", format!("{id} {sent:?}"));
        }
    }

    async fn check_counts(&mut self) {
        let (books, ..) = weir_embedded::open_books(&self.data()).unwrap();
        for (user, event_type) in
            ["ann", "bob"].into_iter().flat_map(|user| [(user, "click"), (user, "view")])
        {
            let (user, event_type): (Username, EventType) =
                (user.parse().unwrap(), event_type.parse().unwrap());
            let counts = books.counts_of(&user, &event_type).await.unwrap();
            let own = self.kept.values().filter(|sent| sent.user == user && sent.event_type == event_type);
            let (mut total, mut keys) = (0, BTreeMap::<String, u64>::new());
            for sent in own {
                total += 1;
                if event_type.as_str() == "click" {
                    *keys.entry(sent.who()).or_default() += 1;
                }
            }
            let live: BTreeMap<String, u64> =
                counts.live.keys.iter().map(|(key, count)| (key.as_str().to_owned(), *count)).collect();
            let hours: u64 = counts.settled_hours.values().sum();
            if (counts.live.total, counts.settled, hours, &live) != (total, total, total, &keys) {
                let details = format!("{user} {event_type}: {total} {keys:?}, and {counts:?}");
                self.broke("counts are those of what is left", details);
            }
        }
    }

    fn check_bytes(&mut self) {
        let marks: Vec<String> = self.forgotten.values().map(super::steps::Sent::mark).collect();
        for path in files_below(&self.data()) {
            // A server that was dropped may still remove SQLite's files.
            let Ok(bytes) = fs::read(&path) else { continue };
            let mut text = Vec::new();
            let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text);
            text.extend(bytes);
            let text = String::from_utf8_lossy(&text);
            if let Some(mark) = marks.iter().find(|mark| text.contains(*mark)) {
                self.broke("forgotten events are in no file", format!("{mark} in {}", path.display()));
            }
        }
    }

    fn remembered_id(&self) -> Option<String> {
        let db = Connection::open(self.data().join("events.db")).unwrap();
        let mut has = db
            .prepare(
                "SELECT EXISTS (SELECT 1 FROM fresh_ids WHERE instr(ids, ?1))
                     OR EXISTS (SELECT 1 FROM id_pages WHERE instr(ids, ?1))",
            )
            .unwrap();
        let mut is_there = |id: &IdentityDigest| has.query_row([id], |row| row.get::<_, bool>(0)).unwrap();
        self.ids.iter().find(|id| is_there(id)).map(|id| format!("{id:x?}"))
    }
}

/// What a planted bug puts back once events are forgotten.
pub(super) struct Plants {
    rows: Vec<(&'static str, Rows)>,
}

/// The rows of a table.
type Rows = Vec<Vec<rusqlite::types::Value>>;

impl Plants {
    pub(super) fn before(world: &World) -> Self {
        let tables: &[&'static str] = match world.bug {
            Some(ForgettingBug::IdsKept) => &["fresh_ids", "id_pages"],
            Some(ForgettingBug::CountsNotLowered) => &["live_totals"],
            Some(ForgettingBug::KeysNotLowered) => &["live_keys"],
            _ => &[],
        };
        let db = Connection::open(world.data().join("events.db")).unwrap();
        let read = |table: &&'static str| {
            let mut rows = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = rows.column_count();
            let rows = rows.query_map([], |row| (0..columns).map(|at| row.get(at)).collect()).unwrap();
            (*table, rows.collect::<rusqlite::Result<_>>().unwrap())
        };
        Self { rows: tables.iter().map(read).collect() }
    }

    /// A death may leave nothing that says that there is something to finish.
    pub(super) fn after_a_death(world: &World) {
        if world.has(ForgettingBug::FinishNotResumed) {
            let db = Connection::open(world.data().join("events.db")).unwrap();
            db.execute_batch("DELETE FROM forgetting; DELETE FROM forgetting_days").unwrap();
        }
    }

    pub(super) fn after(&self, world: &World) {
        let db = Connection::open(world.data().join("events.db")).unwrap();
        if world.has(ForgettingBug::TombstonesNotWritten) {
            db.execute("DELETE FROM tombstones", []).unwrap();
        }
        if world.has(ForgettingBug::LateObjectsNotNoted) {
            let _ = fs::remove_dir_all(world.data().join("sealed/notes"));
        }
        for (table, rows) in &self.rows {
            for row in rows {
                let places = vec!["?"; row.len()].join(", ");
                let sql = format!("INSERT OR REPLACE INTO {table} VALUES ({places})");
                db.execute(&sql, rusqlite::params_from_iter(row)).unwrap();
            }
        }
    }
}
