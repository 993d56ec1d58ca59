//! `weir publish`: computes answers and makes them the published ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow, bail};
use bytesize::ByteSize;
use weir_core::{Catalog, Clock, SystemClock, answers::Published, ports::AnswersAdmin};
use weir_embedded::AnswersFolder;

use publisher::{Computed, content};

use super::{Answer, Running, compute::Computing};
use crate::{
    catalog,
    cli::{EngineName, PublishArgs},
    counted::counted,
    data, printed,
    query::{DuckDb, tables},
};

/// Runs `weir publish`.
pub(crate) async fn run(args: &PublishArgs) -> Result<ExitCode> {
    match args.place.engine {
        EngineName::Embedded => here(args).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => super::athena::run(args).await,
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

/// Publishes in a data folder.
async fn here(args: &PublishArgs) -> Result<ExitCode> {
    let data = args.place.data.as_path();
    let named = args.catalog.folder().map(|folder| catalog::read(Some(folder))).transpose()?;
    data::must_have_events(data)?;
    let catalog = catalog::with_stored(named, data)?;
    let answers = chosen(super::read(args.answers.folder(), &catalog)?, args.name.as_deref())?;
    let duckdb = DuckDb::find();
    duckdb.wait_for_filing(data, args.wait).await?;
    let publisher = Publisher::new(data, None)?;
    let running = Running::default();
    let mut failed = false;
    for answer in &answers {
        let name = &answer.definition.name;
        match publisher.publish(&duckdb, &catalog, answer, &running, &SystemClock).await {
            Ok(told) => printed::line(format_args!("{name}: {told}")),
            // The others are published all the same.
            Err(error) => {
                failed = true;
                eprintln!("weir: {name}: {}", crate::told_in_lines(&error));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns the answer of that name, or all of them.
pub(super) fn chosen(answers: Vec<Answer>, name: Option<&str>) -> Result<Vec<Answer>> {
    let Some(name) = name else { return Ok(answers) };
    let names: Vec<&str> = answers.iter().map(|answer| answer.definition.name.as_str()).collect();
    let Some(at) = names.iter().position(|known| *known == name) else {
        bail!("there is no answer {name:?}: there are {}", names.join(", "));
    };
    Ok(answers.into_iter().skip(at).take(1).collect())
}

/// Computes answers over a data folder and publishes them there.
pub(crate) struct Publisher {
    answers: AnswersFolder,
    data: PathBuf,
    lake: PathBuf,
    temporary: PathBuf,
    threads: Option<usize>,
}

impl Publisher {
    /// `threads` bounds DuckDB's.
    pub(crate) fn new(data: &Path, threads: Option<usize>) -> Result<Self> {
        let folder = |name: &str| -> Result<PathBuf> {
            let path = data.join(name);
            fs::create_dir_all(&path)
                .and_then(|()| path.canonicalize())
                .with_context(|| format!("cannot use {}", path.display()))
        };
        let answers = AnswersFolder::of(data);
        Ok(Self {
            answers,
            data: data.to_owned(),
            lake: folder("lake")?,
            temporary: folder("answers")?,
            threads,
        })
    }

    /// Computes an answer and publishes it; returns what is said of it.
    pub(crate) async fn publish(
        &self,
        duckdb: &DuckDb,
        catalog: &Catalog,
        answer: &Answer,
        running: &Running,
        clock: &dyn Clock,
    ) -> Result<String> {
        let _turn = self.answers.turn().context("cannot take turns with others that publish")?;
        let of = tables::Lake::now(&self.data, &self.lake).await?;
        let computing = Computing {
            duckdb,
            catalog,
            lake: &self.lake,
            of,
            temporary: &self.temporary,
            threads: self.threads,
            running,
        };
        let Computed { file, length, generation, rows, left_out } = computing.compute(answer)?;
        let published = Published {
            name: answer.definition.name.clone(),
            generation,
            published_at: clock.now(),
            sql: answer.sql.clone(),
        };
        let stored = self.answers.publish(&published, length, content(file)).await;
        stored.map_err(|error| anyhow!(error))?;
        Ok(describe(rows, length, left_out))
    }
}

/// Describes a publication for people.
pub(super) fn describe(rows: u64, length: u64, left_out: u64) -> String {
    let mut told = format!("{}, {}", counted(rows, "row", "rows"), ByteSize::b(length).display().si());
    if left_out > 0 {
        told += &format!(
            "; {} left out: a value of the path or the slot is NULL, or one of the path is empty",
            counted(left_out, "row was", "rows were")
        );
    }
    told
}
