//! Answers computed beforehand: which ones there are.
//!
//! - here: their SQL files, built in or of a folder;
//! - `compute`: DuckDB answers on one machine; `running`: its process, which a stop ends;
//! - `athena`: Athena answers on AWS;
//! - `publish`: `weir publish`, and what it shares with the schedule of `weir serve`.
//!
//! The package `publisher` checks the rows and lays them out.

#[cfg(feature = "aws")]
mod athena;
mod compute;
pub(crate) mod publish;
mod running;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use weir_core::{AnswerName, Catalog, answers::Definition};

pub(crate) use running::Running;

/// An answer and the text of its file.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) definition: Definition,
    pub(crate) sql: String,
}

/// A built-in answer: name, text, and the event types that it reads by name.
type BuiltIn = (&'static str, &'static str, &'static [&'static str]);

const BUILT_IN: [BuiltIn; 2] = [
    ("daily_counts", include_str!("../answers/daily_counts.sql"), &[]),
    ("model_accuracy", include_str!("../answers/model_accuracy.sql"), &["prediction", "outcome"]),
];

/// Reads the answers of a folder, by name; without one, the built-in answers for the types that the catalog has.
pub(crate) fn read(folder: Option<&Path>, catalog: &Catalog) -> Result<Vec<Answer>> {
    let Some(folder) = folder else { return built_in(catalog) };
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read the answers {}", folder.display()))?;
    let mut answers = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name: AnswerName = name.parse().with_context(|| path.display().to_string())?;
        let sql = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        answers.push(answer(name, sql).with_context(|| format!("in {}", folder.display()))?);
    }
    if answers.is_empty() {
        bail!("{} has no answers: files that end in .sql", folder.display());
    }
    answers.sort_by(|one, other| one.definition.name.cmp(&other.definition.name));
    Ok(answers)
}

fn built_in(catalog: &Catalog) -> Result<Vec<Answer>> {
    let has = |name: &&str| name.parse().is_ok_and(|event_type| catalog.get(&event_type).is_some());
    let fitting = BUILT_IN.iter().filter(|(.., types)| types.iter().all(has));
    fitting.map(|(name, sql, _)| answer(name.parse()?, (*sql).to_owned())).collect()
}

fn answer(name: AnswerName, sql: String) -> Result<Answer> {
    Ok(Answer { definition: Definition::read(name, &sql)?, sql })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_answers_are_those_for_the_catalogs_types() {
        let names = |catalog: &Catalog| -> Vec<String> {
            let answers = read(None, catalog).unwrap();
            answers.iter().map(|answer| answer.definition.name.to_string()).collect()
        };
        assert_eq!(names(&Catalog::built_in().unwrap()), ["daily_counts", "model_accuracy"]);
        let other = r#"{"type": "object", "x-weir": {"route": "/a"}}"#;
        assert_eq!(names(&Catalog::read([("a.json", other)]).unwrap()), ["daily_counts"]);
    }
}
