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
    sealing::{IsRemoved, Removal, SealedColumn, SealedType, SettledDay, ToWrite, Work, Written},
};
use weir_embedded::{BooksOnDisk, LakeFolder, SealedFolder, SealingTurn};

use super::{rows::Left, sql::Statement};
use crate::{
    answers::Running,
    query::{DuckDb, tables},
    stderr::Stderr,
};

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
        let types: BTreeSet<EventType> = objects.keys().cloned().chain(earlier).collect();
        let mut written = Written::default();
        for event_type in types {
            let before = before.and_then(|before| before.types.get(&event_type));
            let objects = objects.remove(&event_type).unwrap_or_default();
            let wrote = self.event_type((day, number), &event_type, before, &objects, &Left::new());
            let (sealed, read) = wrote.with_context(|| format!("{event_type} of {day}"))?;
            written.read.extend(read.into_iter().map(|(user, events)| ((user, event_type.clone()), events)));
            if sealed.rows + sealed.repeats > 0 {
                written.types.insert(event_type, sealed);
            }
        }
        self.sealed.finish(day, number, covered)?;
        Ok(written)
    }

    /// Writes one type's files without the rows that are left out, and returns how many events of each user were read.
    pub(super) fn event_type(
        &self,
        (day, number): (Day, u64),
        event_type: &EventType,
        before: Option<&SealedType>,
        objects: &[String],
        left: &Left,
    ) -> Result<(SealedType, BTreeMap<Username, u64>)> {
        let table = tables::Table::to_seal(event_type, &self.catalog);
        let sealed = self.seen_from_lake()?;
        let line_before = before.map_or("", |before| before.line.as_str());
        let [events, repeats] = SealedFolder::of_type(day, number, event_type);
        let work = self.sealed_path.join(SealedFolder::WORK);
        remove_folder(&work)?;
        fs::create_dir_all(&work)?;
        let mut files_before = Vec::new();
        for file in before.into_iter().flat_map(|before| before.files.iter().chain(&before.repeat_files)) {
            let numbers = match left.get(file) {
                Some(numbers) => {
                    let list = format!("{}/rows-{}", SealedFolder::WORK, files_before.len());
                    let text: String = numbers.iter().map(|number| format!("{number}\n")).collect();
                    fs::write(self.sealed_path.join(&list), text)?;
                    Some(format!("{sealed}/{list}"))
                }
                None => None,
            };
            files_before.push((format!("{sealed}/{file}"), numbers));
        }
        let in_lake = |path: &str| format!("{sealed}/{path}");
        let statement = Statement {
            table: &table,
            objects,
            before: (!files_before.is_empty()).then_some((line_before, &files_before[..])),
            events: &in_lake(&events),
            repeats: &in_lake(&repeats),
            memory: self.memory,
            temporary: &in_lake(SealedFolder::WORK),
            threads: self.threads,
        };
        let output = self.ask(&statement.script())?;
        remove_folder(&work)?;
        let mut read = BTreeMap::new();
        for line in output.lines() {
            let (user, events) = line.split_once('\t').context("DuckDB's answer is not understood")?;
            read.insert(user.parse()?, events.parse()?);
        }
        let (files, repeat_files) = (self.files(&events)?, self.files(&repeats)?);
        let rows = self.count(&sealed, &files)?;
        let repeat_rows = self.count(&sealed, &repeat_files)?;
        // DuckDB makes a file without rows, too.
        let kept = |rows: u64, folder: &str, files: Vec<String>| -> Result<Vec<String>> {
            if rows > 0 {
                return Ok(files);
            }
            remove_folder(&self.sealed_path.join(folder))?;
            Ok(Vec::new())
        };
        let (files, repeat_files) = (kept(rows, &events, files)?, kept(repeat_rows, &repeats, repeat_files)?);
        let bytes = files.iter().chain(&repeat_files).map(|file| fs::metadata(self.sealed_path.join(file)));
        let bytes = bytes.map(|found| Ok(found?.len())).sum::<io::Result<u64>>()?;
        let columns = table
            .columns
            .iter()
            .map(|column| SealedColumn { name: column.name.clone(), expression: column.expression() });
        let sealed = SealedType {
            line: table.free("weir_line"),
            columns: columns.collect(),
            files,
            repeat_files,
            rows,
            repeats: repeat_rows,
            bytes,
        };
        Ok((sealed, read))
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

    /// Counts the rows of files, as they were written.
    fn count(&self, sealed: &str, files: &[String]) -> Result<u64> {
        if files.is_empty() {
            return Ok(0);
        }
        let files: Vec<String> = files.iter().map(|file| format!("{sealed}/{file}")).collect();
        let query = format!("SELECT count(*) FROM read_parquet({});", tables::list(&files));
        let output = self.ask(&query)?;
        output.trim().parse().context("DuckDB's answer is not understood")
    }

    /// Runs a script in the lake's folder, and returns what it prints.
    fn ask(&self, script: &str) -> Result<String> {
        let mut output = String::new();
        self.ask_for(script, |mut stdout| {
            stdout.read_to_string(&mut output).context("DuckDB's answer cannot be read").map(drop)
        })?;
        Ok(output)
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
        let (stdout, stderr) = pipes.map_err(|error| self.duckdb.missing(error))?;
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
impl Work for DuckDbWork {
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError> {
        self.lake.days(until).map_err(failed("listing the lake's days"))
    }

    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        self.lake.of_day(day).map_err(failed("listing a day of the lake"))
    }

    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        self.books.settled_day(day, batches).await
    }

    async fn write(&self, to_write: ToWrite<'_>) -> Result<Written, PortError> {
        let written = self.generation(&to_write);
        written.map_err(|error| PortError::broken("writing a sealed day", format!("{error:#}")))
    }
}

#[async_trait]
impl Removal for DuckDbWork {
    async fn remove(&self, objects: &BTreeSet<String>) -> Result<(), PortError> {
        self.lake.remove(objects).map_err(failed("removing the JSON of a sealed day"))
    }

    async fn strip(&self, batches: &BTreeSet<String>, is_removed: IsRemoved<'_>) -> Result<u64, PortError> {
        let stripped = weir_embedded::strip_batches(&self.data, batches, self.quarantined_before, is_removed);
        stripped.map_err(failed("removing events from batches"))
    }
}
