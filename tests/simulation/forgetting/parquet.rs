//! What DuckDB does, in a folder: a day's rows are files of stored lines. Everything else of the folder is real.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use weir_core::{
    Day, EventType, Partition, RecordHead, Username,
    ports::PortError,
    sealing::{
        DayObjects, Generation, JsonRemoval, SealedRows, SealedType, SettledDay, ToWrite, Work, Written,
    },
};
use weir_embedded::{BooksOnDisk, LakeFolder, SealedFolder};

/// Plain files in the place of Parquet.
pub(super) struct PlainRows {
    pub(super) data: PathBuf,
    pub(super) books: BooksOnDisk,
    pub(super) lake: LakeFolder,
    /// A bug: forgotten rows stay.
    pub(super) keeps_all: bool,
}

pub(super) fn lines_of(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    let text = if path.extension().is_some_and(|it| it == "gz") {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        text
    } else {
        String::from_utf8(bytes).unwrap()
    };
    text.lines().map(ToOwned::to_owned).collect()
}

impl PlainRows {
    fn files(&self, of: &SealedType) -> Vec<PathBuf> {
        of.files.iter().chain(&of.repeat_files).map(|file| self.data.join("sealed").join(file)).collect()
    }

    /// Writes the lines of each type, without repeats of an id of a user.
    fn write_types(
        &self,
        day: Day,
        number: u64,
        lines: BTreeMap<EventType, Vec<String>>,
        covered: &BTreeSet<String>,
    ) -> BTreeMap<EventType, SealedType> {
        let sealed = SealedFolder::of(&self.data);
        let mut types = BTreeMap::new();
        let generation = sealed.path().join(SealedFolder::generation(day, number));
        let _ = fs::remove_dir_all(&generation);
        fs::create_dir_all(&generation).unwrap();
        for (event_type, lines) in lines.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            let mut seen = BTreeSet::new();
            let is_first = |line: &String| {
                let head = RecordHead::read(line.as_bytes()).unwrap();
                seen.insert((head.partition.username.clone(), head.identity().digest()))
            };
            let (events, repeats): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_first);
            let mut of_type = SealedType {
                line: "line".to_owned(),
                columns: [].into(),
                files: Vec::new(),
                repeat_files: Vec::new(),
                rows: events.len() as u64,
                repeats: repeats.len() as u64,
                bytes: 0,
            };
            let [of_events, of_repeats] = SealedFolder::of_type(day, number, &event_type);
            for (folder, lines, files) in
                [(of_events, events, &mut of_type.files), (of_repeats, repeats, &mut of_type.repeat_files)]
            {
                if !lines.is_empty() {
                    fs::create_dir_all(sealed.path().join(&folder)).unwrap();
                    let file = format!("{folder}/data_0.parquet");
                    fs::write(sealed.path().join(&file), lines.join("\n")).unwrap();
                    files.push(file);
                }
            }
            types.insert(event_type, of_type);
        }
        sealed.finish(day, number, covered).unwrap();
        types
    }
}

#[async_trait]
impl DayObjects for PlainRows {
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError> {
        Ok(self.lake.days(until).unwrap())
    }

    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        Ok(self.lake.of_day(day).unwrap())
    }

    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        self.books.settled_day(day, batches).await
    }
}

#[async_trait]
impl Work for PlainRows {
    async fn write(&self, to_write: ToWrite<'_>) -> Result<Written, PortError> {
        let ToWrite { day, number, before, added, covered } = to_write;
        let mut lines: BTreeMap<EventType, Vec<String>> = BTreeMap::new();
        for (event_type, of_type) in before.iter().flat_map(|before| &before.types) {
            let own = self.files(of_type).into_iter().flat_map(|file| lines_of(&file));
            lines.entry(event_type.clone()).or_default().extend(own);
        }
        for object in added {
            let own = lines_of(&self.data.join("lake").join(object));
            lines.entry(Partition::type_of(object).unwrap()).or_default().extend(own);
        }
        let mut read = BTreeMap::new();
        for (event_type, line) in
            lines.iter().flat_map(|(of, lines)| lines.iter().map(move |line| (of, line)))
        {
            let user = RecordHead::read(line.as_bytes()).unwrap().partition.username;
            *read.entry((user, event_type.clone())).or_default() += 1;
        }
        Ok(Written { types: self.write_types(day, number, lines, covered), read })
    }
}

#[async_trait]
impl JsonRemoval for PlainRows {
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.lake.remove(objects).unwrap();
        Ok(())
    }
}

impl SealedRows for PlainRows {
    fn each(
        &self,
        generations: &[&Generation],
        username: &Username,
        take: &mut dyn FnMut(&Partition, &[u8]),
    ) -> Result<(), PortError> {
        for of_type in generations.iter().flat_map(|generation| generation.types.values()) {
            for line in self.files(of_type).into_iter().flat_map(|file| lines_of(&file)) {
                let head = RecordHead::read(line.as_bytes()).unwrap();
                if head.partition.username == *username {
                    take(&head.partition, line.as_bytes());
                }
            }
        }
        Ok(())
    }

    fn write_without(
        &self,
        to_write: ToWrite<'_>,
        _: &Username,
        is_gone: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<BTreeMap<EventType, SealedType>>, PortError> {
        let ToWrite { day, number, before, covered, .. } = to_write;
        let (mut lines, mut has_gone) = (BTreeMap::new(), false);
        for (event_type, of_type) in &before.unwrap().types {
            let mut own: Vec<String> =
                self.files(of_type).into_iter().flat_map(|file| lines_of(&file)).collect();
            let count = own.len();
            own.retain(|line| self.keeps_all || !is_gone(line.as_bytes()));
            has_gone |= own.len() < count;
            lines.insert(event_type.clone(), own);
        }
        Ok(has_gone.then(|| self.write_types(day, number, lines, covered)))
    }
}
