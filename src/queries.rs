//! Queries in SQL that clients send over HTTP (`POST /query`), over their own rows.
//!
//! The SQL is untrusted, and DuckDB is a large program. So three children of DuckDB share the work, each with limits of time,
//! memory and output, with no environment, and locked before it sees anything of a client's:
//!
//! 1. `parsed`: one parses the SQL, and Weir refuses what it does not know to be harmless;
//! 2. `copied`: one copies the caller's rows of the tables that the SQL names into a database of their own. It runs no SQL but
//!    Weir's;
//! 3. `answered`: one runs the SQL on that database. It has never had another user's rows, and can open no other file.
//!
//! `keyed` counts the keys of a range by SQL of Weir's own, on the files of the lake.
//!
//! The kernel keeps each of them in a sandbox, as far as it can.
//!
//! The SQL comes as base64 inside an SQL literal, so no character of it reaches the parser of DuckDB's command line.

mod answered;
mod copied;
mod keyed;
mod parsed;
mod places;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub(crate) use answered::valid_json;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use axum::body::Bytes;
use base64::{Engine, prelude::BASE64_STANDARD};
use collector::{KeysOfRange, NotAnswered, Queries, QueryAnswer, QueryFormat, RangeKeys};
use futures_util::stream;
use tracing::warn;
use weir_core::{
    Catalog, Partition, Username,
    ports::{Content, PortError},
    sealing::Reads,
};

use crate::{
    child::{self, Environment, Failure, Program, Running, Sandbox},
    query::{DuckDb, tables},
};
use places::{Place, Places};

/// The bounds of a query: its time, the memory of DuckDB, and the size of its answer.
const LONGEST: Duration = Duration::from_secs(30);
const MEMORY: u64 = 512 << 20;
const MOST_ANSWERED: u64 = 16 << 20;

/// What a process may have of its own. DuckDB keeps to its own limit but for short moments.
const MEMORY_OF_PROCESS: u64 = MEMORY * 3;

/// Answers are sent piece by piece.
const PIECE: usize = 64 << 10;

/// The queries of clients over a data folder that this process serves.
pub(crate) struct OwnRows(Arc<Inner>);

struct Inner {
    data: PathBuf,
    /// The folder of the lake, absolute.
    lake: PathBuf,
    /// The folder for the databases of queries.
    scratch: PathBuf,
    duckdb: String,
    /// Whether the kernel keeps the children from the rest of the machine.
    is_sandboxed: bool,
    catalog: Arc<Catalog>,
    places: Arc<Places>,
    /// The places for counting the keys of a range, in addition to those of clients' queries.
    counting: Arc<Places>,
    /// How many bytes the disk has for databases.
    room: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// A query on its way through the three children.
struct Query {
    inner: Arc<Inner>,
    of: tables::Lake,
    sql: String,
    format: QueryFormat,
    running: Arc<Running>,
    until: Instant,
    /// Its own folder, which is removed with it.
    folder: tempfile::TempDir,
}

impl OwnRows {
    /// Prepares queries, at most so many at once, and tries one: so that a DuckDB that cannot be locked is noticed here.
    pub(crate) fn start(
        data: &Path,
        duckdb: &DuckDb,
        catalog: Arc<Catalog>,
        most: usize,
        room: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self> {
        if !duckdb.is_there() {
            bail!("queries need the DuckDB command line (pip install duckdb-cli)");
        }
        let duckdb = duckdb.program().to_str().context("the path of DuckDB is not UTF-8")?.to_owned();
        let (lake, scratch) = (data.join("lake"), data.join("queries"));
        // What a killed server left.
        if scratch.exists() {
            fs::remove_dir_all(&scratch)
                .with_context(|| format!("{} cannot be removed", scratch.display()))?;
        }
        for folder in [&lake, &scratch] {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let (lake, scratch) = (lake.canonicalize()?, scratch.canonicalize()?);
        let (data, places, counting) =
            (data.to_owned(), Arc::new(Places::new(most)), Arc::new(Places::new(most)));
        let is_sandboxed = Sandbox::is_enforced();
        let room = Box::new(room);
        let mut inner = Inner { data, lake, scratch, duckdb, is_sandboxed, catalog, places, counting, room };
        if !is_sandboxed {
            warn!(
                "clients' queries run without a sandbox of the system, as this kernel has no Landlock: DuckDB's own locks remain"
            );
        }
        let mut queries = Self(Arc::new(inner));
        // Twice, as a machine may be slow or full for a moment.
        let probed = if is_sandboxed { queries.probe().or_else(|_| queries.probe()) } else { Ok(()) };
        if let Err(reason) = probed {
            // As where the program is a script, whose interpreter would need half of the machine.
            warn!(
                reason = format!("{reason:#}"),
                "clients' queries run without a sandbox of the system, as this DuckDB does not run in one"
            );
            inner = Arc::into_inner(queries.0).context("a probe is over")?;
            inner.is_sandboxed = false;
            queries = Self(Arc::new(inner));
        }
        queries.probe()?;
        Ok(queries)
    }

    /// Tries a query that reads nothing.
    fn probe(&self) -> Result<()> {
        let of = tables::Lake { reads: Reads::default(), sealed: String::new(), only: None };
        let probe = self.query(of, "SELECT 1 AS works".to_owned(), QueryFormat::Json, Arc::default())?;
        let answer = probe.run().context("DuckDB cannot be locked: version 1.5 or later is needed")?;
        if answer.trim_ascii() != b"[{\"works\":1}]" {
            bail!("DuckDB does not answer as expected: version 1.5 or later is needed");
        }
        Ok(())
    }

    fn query(
        &self,
        of: tables::Lake,
        sql: String,
        format: QueryFormat,
        running: Arc<Running>,
    ) -> Result<Query, PortError> {
        let folder = tempfile::tempdir_in(&self.0.scratch);
        let folder = folder.map_err(|error| PortError::unavailable("answering a query", error))?;
        let until = Instant::now() + LONGEST;
        Ok(Query { inner: Arc::clone(&self.0), of, sql, format, running, until, folder })
    }
}

#[async_trait]
impl Queries for OwnRows {
    async fn answer(
        &self,
        username: &Username,
        sql: String,
        format: QueryFormat,
    ) -> Result<QueryAnswer, NotAnswered> {
        let place = Places::take(&self.0.places, username).ok_or(NotAnswered::TooMany)?;
        let running = Arc::new(Running::default());
        // A client that hangs up drops this future.
        let _ended = EndOnDrop(Arc::clone(&running));
        let of = tables::Lake::now(&self.0.data, &self.0.lake).await;
        let mut of = of.map_err(|error| PortError::unavailable("answering a query", error))?;
        of.only = Some(username.clone());
        let query = self.query(of, sql, format, running)?;
        // The place is free once the children have ended, and the answer has been sent.
        let answering = tokio::task::spawn_blocking(move || query.run().map(|answer| (answer, place)));
        let answered = answering.await.map_err(|error| PortError::broken("answering a query", error))?;
        let (answer, place) = answered?;
        Ok(QueryAnswer { length: answer.len() as u64, content: pieces(answer.into(), place) })
    }

    async fn keys(&self, username: &Username, request: KeysOfRange) -> Result<RangeKeys, NotAnswered> {
        let place = Places::take(&self.0.counting, username).ok_or(NotAnswered::TooMany)?;
        let running = Arc::new(Running::default());
        let _ended = EndOnDrop(Arc::clone(&running));
        let of = tables::Lake::now(&self.0.data, &self.0.lake).await;
        let mut of = of.map_err(|error| PortError::unavailable("counting keys", error))?;
        of.only = Some(username.clone());
        let query = self.query(of, String::new(), QueryFormat::Json, running)?;
        let counting = tokio::task::spawn_blocking(move || {
            let _place = place;
            keyed::keys(&query, &request)
        });
        counting.await.map_err(|error| PortError::broken("counting keys", error))?
    }
}

struct EndOnDrop(Arc<Running>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Cuts an answer into pieces. It has its place until it is sent, so that slow clients hold a bounded number of answers.
fn pieces(answer: Bytes, place: Place) -> Content {
    Box::pin(stream::try_unfold((answer, place), async |(mut answer, place)| {
        if answer.is_empty() {
            return Ok(None);
        }
        let piece = answer.split_to(answer.len().min(PIECE));
        Ok(Some((piece, (answer, place))))
    }))
}

impl Query {
    fn run(&self) -> Result<Vec<u8>, NotAnswered> {
        let views = tables::views(&self.inner.catalog, &self.inner.lake, &self.of, &|_| true);
        let views = views.map_err(|error| PortError::unavailable("reading the lake", error))?;
        let names: Vec<&str> = views.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = parsed::tables(self, &names)?;
        if !wanted.is_empty() {
            copied::copy(self, views.iter().filter(|(name, _)| wanted.contains(name)))?;
        }
        answered::answer(self, !wanted.is_empty())
    }

    /// Runs DuckDB on a script of this query's folder.
    fn duckdb(&self, script: &str, how: &How<'_>) -> Result<Vec<u8>, Failure> {
        let path = self.folder.path().join("script.sql");
        fs::write(&path, script).map_err(Failure::Output)?;
        let command = [self.inner.duckdb.as_str()].into_iter().chain(how.arguments.iter().copied());
        let command = command.chain(["-no-init", "-batch", "-bail", "-no-stdin", "-c"]);
        let read = DuckDb::read_script(&path);
        let command: Vec<String> = command.chain([read.as_str()]).map(str::to_owned).collect();
        let reads: Vec<&Path> = how.reads.iter().map(PathBuf::as_path).chain([self.folder.path()]).collect();
        let runs = [Path::new(&self.inner.duckdb)];
        let writes = [self.folder.path()];
        let writes = if how.file_limit > 0 { &writes[..] } else { &[] };
        let sandbox = Sandbox { runs: &runs, reads: &reads, writes };
        let program = Program {
            command: &command,
            directory: how.directory,
            environment: Environment::None,
            time_limit: self.until.saturating_duration_since(Instant::now()),
            memory_limit: MEMORY_OF_PROCESS,
            output_limit: MOST_ANSWERED,
            file_limit: Some(how.file_limit),
            sandbox: self.inner.is_sandboxed.then_some(sandbox),
        };
        child::run(&program, &[], |_| Ok(()), &self.running)
    }

    /// Returns the folders with the rows of the query's user: sealed days have those of other users, too.
    fn rows_in(&self) -> Vec<PathBuf> {
        let Inner { lake, .. } = &*self.inner;
        let json = match &self.of.only {
            Some(user) => lake.join(format!("{}{user}", Partition::PREFIX)),
            None => lake.clone(),
        };
        vec![json, lake.join(&self.of.sealed)]
    }

    /// Returns the SQL that keeps DuckDB within its limits.
    fn limits() -> String {
        // Half of the machine is left to requests.
        let threads = thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        format!("SET memory_limit = '{MEMORY}B';\nSET threads = {threads};\n")
    }

    /// Returns the SQL that takes all access away, for good, and puts the client's SQL into the variable `weir_sql`.
    fn lock(&self) -> String {
        format!(
            "{}SET temp_directory = '';\nSET autoinstall_known_extensions = false;\n\
             SET autoload_known_extensions = false;\nSET allow_community_extensions = false;\n\
             SET extension_directories = [];\nSET extension_directory = '';\nSET secret_directory = '';\n\
             SET enable_external_access = false;\nSET lock_configuration = true;\n\
             SET VARIABLE weir_sql = decode(from_base64('{}'));\n",
            Self::limits(),
            BASE64_STANDARD.encode(&self.sql)
        )
    }
}

/// How one of the children runs.
struct How<'a> {
    arguments: &'a [&'a str],
    directory: &'a Path,
    /// What it reads, besides the query's folder.
    reads: &'a [PathBuf],
    /// The bytes that a file which it writes into the query's folder may have.
    file_limit: u64,
}

/// Returns why a child of a query failed, other than by an error that DuckDB reports.
fn not_answered(failure: Failure) -> NotAnswered {
    match failure {
        Failure::TooSlow(_) => NotAnswered::TooSlow(LONGEST),
        Failure::TooMuch(limit) => NotAnswered::TooLarge(limit),
        failure => PortError::unavailable("answering a query", failure).into(),
    }
}

#[cfg(test)]
mod tests;
