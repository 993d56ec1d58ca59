//! The work of sealing on one machine: the lake's folders, and DuckDB, which writes a type's files in a process of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{ChildStdout, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use weir_core::{
    Catalog, Day, EventType, Partition, Timestamp, Username,
    ports::PortError,
    sealing::{
        DayObjects, IsRemoved, JsonRemoval, Removal, SealedColumn, SealedType, SettledDay, ToWrite, Work,
        Written,
    },
};
use weir_embedded::{BooksOnDisk, LakeFolder, SealedFolder, SealingTurn};

use super::{
    rows::Left,
    sql::{FileBefore, Limits, Printed, Statement},
};
use crate::{
    answers::Running,
    query::{DuckDb, tables},
    stderr::Stderr,
};

/// The compressed bytes of JSON for which one more thread of DuckDB is worthwhile: about as many events as a row group of
/// Parquet has.
const JSON_FOR_A_THREAD: u64 = 4 << 20;

/// One type of a day that is to be written.
pub(super) struct TypeToWrite<'a> {
    pub(super) event_type: EventType,
    pub(super) before: Option<&'a SealedType>,
    /// Objects of JSON.
    pub(super) objects: Vec<String>,
    /// The rows of the generation before that are left out.
    pub(super) left: Left,
}

pub(crate) struct DuckDbWork {
    duckdb: DuckDb,
    pub(super) catalog: Catalog,
    books: BooksOnDisk,
    pub(super) lake: LakeFolder,
    /// The folder of the lake, absolute.
    lake_path: PathBuf,
    pub(super) sealed: SealedFolder,
    /// The folder of sealed days, absolute.
    pub(super) sealed_path: PathBuf,
    turn: Arc<SealingTurn>,
    memory: u64,
    threads: usize,
    running: Arc<Running>,
    data: PathBuf,
    /// What was put into quarantine before goes, where retention removes events.
    pub(super) quarantined_before: Option<Timestamp>,
}

impl DuckDbWork {
    pub(crate) fn new(
        data: &Path,
        catalog: Catalog,
        turn: Arc<SealingTurn>,
        memory: u64,
        threads: usize,
        running: Arc<Running>,
    ) -> Result<Self> {
        let (books, _, lake) = weir_embedded::open_books(data)?;
        let sealed = SealedFolder::of(data);
        let absolute = |path: &Path| -> Result<PathBuf> {
            fs::create_dir_all(path)
                .and_then(|()| path.canonicalize())
                .with_context(|| format!("cannot use {}", path.display()))
        };
        let (lake_path, sealed_path) = (absolute(&data.join("lake"))?, absolute(sealed.path())?);
        let duckdb = DuckDb::find();
        Ok(Self {
            duckdb,
            catalog,
            books,
            lake,
            lake_path,
            sealed,
            sealed_path,
            turn,
            memory,
            threads,
            running,
            data: data.to_owned(),
            quarantined_before: None,
        })
    }

    /// Writes a generation.
    fn generation(&self, to_write: &ToWrite<'_>) -> Result<Written> {
        let ToWrite { day, number, before, added, covered } = *to_write;
        let folder = SealedFolder::generation(day, number);
        let path = self.sealed_path.join(&folder);
        // What a sealing that died left there.
        remove_folder(&path)?;
        fs::create_dir_all(&path)?;
        let mut objects: BTreeMap<EventType, Vec<String>> = BTreeMap::new();
        for object in added {
            if let Some(event_type) = Partition::type_of(object) {
                objects.entry(event_type).or_default().push(object.clone());
            }
        }
        let earlier = before.into_iter().flat_map(|before| before.types.keys().cloned());
        let names: BTreeSet<EventType> = objects.keys().cloned().chain(earlier).collect();
        let types: Vec<TypeToWrite<'_>> = names
            .into_iter()
            .map(|event_type| TypeToWrite {
                before: before.and_then(|before| before.types.get(&event_type)),
                objects: objects.remove(&event_type).unwrap_or_default(),
                left: Left::new(),
                event_type,
            })
            .collect();
        let wrote = self.types((day, number), &types)?;
        let mut written = Written::default();
        for (of_type, (sealed, read)) in types.into_iter().zip(wrote) {
            let event_type = of_type.event_type;
            written.read.extend(read.into_iter().map(|(user, events)| ((user, event_type.clone()), events)));
            if sealed.rows + sealed.repeats > 0 {
                written.types.insert(event_type, sealed);
            }
        }
        self.sealed.finish(day, number, covered)?;
        Ok(written)
    }

    /// Writes the files of each type without the rows that are left out. One process of DuckDB writes them all, as starting
    /// one takes longer than writing a small day. Returns, for each type, how many events of each user were read.
    pub(super) fn types(
        &self,
        (day, number): (Day, u64),
        types: &[TypeToWrite<'_>],
    ) -> Result<Vec<(SealedType, BTreeMap<Username, u64>)>> {
        if types.is_empty() {
            return Ok(Vec::new());
        }
        let sealed = self.seen_from_lake()?;
        let in_lake = |path: &str| format!("{sealed}/{path}");
        let work = self.sealed_path.join(SealedFolder::WORK);
        remove_folder(&work)?;
        fs::create_dir_all(&work)?;
        let temporary = in_lake(SealedFolder::WORK);
        let limits = Limits { memory: self.memory, temporary: &temporary, threads: self.threads_for(types)? };
        let mut script = limits.script();
        for (nth, of_type) in types.iter().enumerate() {
            let [events, repeats] = SealedFolder::of_type(day, number, &of_type.event_type);
            let files_before = self.files_before(nth, of_type, &sealed)?;
            let line_before = of_type.before.map_or("", |before| before.line.as_str());
            script += &Statement {
                table: &tables::Table::to_seal(&of_type.event_type, &self.catalog),
                objects: &of_type.objects,
                before: (!files_before.is_empty()).then_some((line_before, &files_before[..])),
                events: &in_lake(&events),
                repeats: &in_lake(&repeats),
            }
            .script();
        }
        let mut output = String::new();
        let asked = self.ask_for(&script, |mut stdout| {
            stdout.read_to_string(&mut output).context("DuckDB's answer cannot be read").map(drop)
        });
        if let Err(error) = asked {
            let failed = types.get(Printed::begun(&output).saturating_sub(1));
            let failed = failed.map_or("", |of_type| of_type.event_type.as_str());
            return Err(error.context(format!("{failed} of {day}")));
        }
        remove_folder(&work)?;
        let printed = Printed::read(&output)?;
        if printed.len() != types.len() {
            bail!("DuckDB wrote {} of {} types of {day}", printed.len(), types.len());
        }
        let wrote = types.iter().zip(printed).map(|(of_type, printed)| {
            let event_type = &of_type.event_type;
            let kept = self.kept((day, number), event_type, &printed);
            Ok((kept.with_context(|| format!("{event_type} of {day}"))?, printed.read))
        });
        wrote.collect()
    }

    /// Returns the number of threads of DuckDB for this work. On a small day, several threads take twice the CPU of one, and
    /// are slower.
    fn threads_for(&self, types: &[TypeToWrite<'_>]) -> io::Result<usize> {
        let mut bytes = 0;
        for of_type in types {
            bytes += of_type.before.map_or(0, |before| before.bytes);
            for object in &of_type.objects {
                bytes += fs::metadata(self.lake_path.join(object))?.len();
            }
        }
        Ok(usize::try_from(bytes / JSON_FOR_A_THREAD).unwrap_or(usize::MAX).clamp(1, self.threads))
    }

    /// Returns the files of the generation before, each with a file of the numbers of the rows to leave out.
    fn files_before(&self, nth: usize, of_type: &TypeToWrite<'_>, sealed: &str) -> Result<Vec<FileBefore>> {
        let mut files_before = Vec::new();
        for file in
            of_type.before.into_iter().flat_map(|before| before.files.iter().chain(&before.repeat_files))
        {
            let numbers = match of_type.left.get(file) {
                Some(numbers) => {
                    let list = format!("{}/rows-{nth}-{}", SealedFolder::WORK, files_before.len());
                    let text: String = numbers.iter().map(|number| format!("{number}\n")).collect();
                    fs::write(self.sealed_path.join(&list), text)?;
                    Some(format!("{sealed}/{list}"))
                }
                None => None,
            };
            files_before.push((format!("{sealed}/{file}"), numbers));
        }
        Ok(files_before)
    }

    /// Returns the files that were written for a type. DuckDB makes a file even if there are no rows; that file is removed.
    fn kept(
        &self,
        (day, number): (Day, u64),
        event_type: &EventType,
        printed: &Printed,
    ) -> Result<SealedType> {
        let counted = |rows: Option<u64>| rows.context("DuckDB did not count what it wrote");
        let (rows, repeats) = (counted(printed.rows)?, counted(printed.repeats)?);
        let kept = |rows: u64, folder: &str| -> Result<Vec<String>> {
            if rows > 0 {
                return self.files(folder);
            }
            remove_folder(&self.sealed_path.join(folder))?;
            Ok(Vec::new())
        };
        let [events_in, repeats_in] = SealedFolder::of_type(day, number, event_type);
        let (files, repeat_files) = (kept(rows, &events_in)?, kept(repeats, &repeats_in)?);
        let bytes = files.iter().chain(&repeat_files).map(|file| fs::metadata(self.sealed_path.join(file)));
        let bytes = bytes.map(|found| Ok(found?.len())).sum::<io::Result<u64>>()?;
        let table = tables::Table::to_seal(event_type, &self.catalog);
        let columns = table
            .columns
            .iter()
            .map(|column| SealedColumn { name: column.name.clone(), expression: column.expression() });
        Ok(SealedType {
            line: table.free("weir_line"),
            columns: columns.collect(),
            files,
            repeat_files,
            rows,
            repeats,
            bytes,
        })
    }

    /// Returns the path of the folder of sealed days, as DuckDB sees it.
    pub(super) fn seen_from_lake(&self) -> io::Result<String> {
        tables::seen_from(&self.lake_path, &self.sealed_path)
    }

    /// Returns the files in a folder below that of sealed days.
    fn files(&self, folder: &str) -> Result<Vec<String>> {
        let mut files = Vec::new();
        match fs::read_dir(self.sealed_path.join(folder)) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry?.file_name();
                    files.push(format!("{folder}/{}", name.to_string_lossy()));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        // By their numbers, which have no leading zeros.
        files.sort_by_key(|file| (file.len(), file.clone()));
        Ok(files)
    }

    /// Runs a script in the lake's folder, while `read` reads what it prints.
    pub(super) fn ask_for(&self, script: &str, read: impl FnOnce(ChildStdout) -> Result<()>) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        file.write_all(script.as_bytes()).context("cannot write a temporary file")?;
        let mut command = self.duckdb.command();
        command.current_dir(&self.lake_path).args(["-list", "-noheader", "-separator", "\t", "-c"]);
        command.arg(DuckDb::read_script(file.path()));
        // It reads nothing from there, but holds the turn if this process dies before it.
        if let Some(turn) = self.turn.to_share()? {
            command.stdin(turn);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let pipes = self.running.start(&mut command, |child| {
            child.stdout.take().zip(child.stderr.take()).ok_or_else(|| ErrorKind::BrokenPipe.into())
        });
        let (stdout, stderr) = pipes.map_err(|error| self.duckdb.missing_for("sealing needs", error))?;
        let errors = Stderr::of(stderr);
        if let Err(error) = read(stdout) {
            self.running.give_up();
            return Err(error);
        }
        let status = self.running.wait().context("it was stopped")?;
        let error = errors.text();
        if !status.success() {
            bail!("DuckDB cannot seal: {error}");
        }
        Ok(())
    }
}

pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> PortError {
    move |error| PortError::unavailable(what, error)
}

#[async_trait]
impl DayObjects for DuckDbWork {
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError> {
        self.lake.days(until).map_err(failed("listing the lake's days"))
    }

    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        self.lake.of_day(day).map_err(failed("listing a day of the lake"))
    }

    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        self.books.settled_day(day, batches).await
    }
}

#[async_trait]
impl Work for DuckDbWork {
    async fn write(&self, to_write: ToWrite<'_>) -> Result<Written, PortError> {
        let written = self.generation(&to_write);
        written.map_err(|error| PortError::broken("writing a sealed day", format!("{error:#}")))
    }
}

#[async_trait]
impl JsonRemoval for DuckDbWork {
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.lake.remove(objects).map_err(failed("removing the JSON of a sealed day"))
    }
}

#[async_trait]
impl Removal for DuckDbWork {
    async fn strip(&self, batches: &BTreeSet<String>, is_removed: IsRemoved<'_>) -> Result<u64, PortError> {
        let stripped = weir_embedded::strip_batches(&self.data, batches, self.quarantined_before, is_removed);
        stripped.map_err(failed("removing events from batches"))
    }
}
