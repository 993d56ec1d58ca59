//! `weir publish` on AWS: Athena computes, and generations are put into the lake's bucket.

use std::process::ExitCode;

use anyhow::{Result, bail};
use publisher::{Question, Rows, Spooled, Stored};
use weir_core::{
    Clock, SystemClock, Timestamp,
    sql::{Column, Row},
};

use super::{
    Answer,
    publish::{chosen, describe},
};
use crate::{
    aws, catalog,
    cli::PublishArgs,
    printed,
    query::athena::{self, Sink},
};

/// Runs `weir publish`.
pub(super) async fn run(args: &PublishArgs) -> Result<ExitCode> {
    if args.wait.is_some() {
        bail!("--wait means nothing on AWS: events are filed after the stack's BufferSeconds");
    }
    let catalog = catalog::read(args.catalog.folder())?;
    let mut answers = chosen(super::read(args.answers.folder(), &catalog)?, args.name.as_deref())?;
    if args.answers.folder().is_none() {
        // They are over all hours, of each of which Athena lists the objects, for each user and type: once an hour is too dear.
        answers = answers.into_iter().map(without_schedule).collect::<Result<_>>()?;
    }
    let (store, database, has_cdn) = (aws::answers().await?, aws::database()?, aws::has_cdn()?);
    let users = aws::users().await?.names().await?;
    let mut failed = false;
    for answer in &answers {
        let name = &answer.definition.name;
        // Publishers take no turns, so this is from before the answer is computed.
        let published_at = SystemClock.now();
        let question = Question { catalog: &catalog, database: &database, users: &users };
        let spooled = match compute(answer, &question, published_at).await {
            Ok(Ended::Computed(spooled)) => Ok(spooled),
            Ok(Ended::Stopped(code)) => return Ok(ExitCode::from(code)),
            Err(error) => Err(error),
        };
        let published = async {
            let of = (&answer.definition, answer.sql.as_str());
            Ok(publisher::publish(&store, of, &spooled?, published_at, has_cdn, false).await?)
        };
        match published.await {
            Ok(stored) => printed::line(format_args!("{name}: {}", told(&stored))),
            // The others are published all the same.
            Err(error) => {
                failed = true;
                eprintln!("weir: {name}: {}", crate::told_in_lines(&error));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns an answer that a schedule never computes.
fn without_schedule(answer: Answer) -> Result<Answer> {
    let lines = answer.sql.split_inclusive('\n').filter(|line| !line.starts_with("-- every:"));
    super::answer(answer.definition.name, lines.collect())
}

fn told(stored: &Stored) -> String {
    let told = describe(stored.rows, stored.length, stored.left_out);
    match stored.pages {
        Some(pages) => format!("{told}; {} of {} pages are new", pages.put, pages.all),
        None => told,
    }
}

enum Ended {
    Computed(Spooled),
    /// A signal came.
    Stopped(u8),
}

async fn compute(answer: &Answer, question: &Question<'_>, now: Timestamp) -> Result<Ended> {
    let sql = question.of(&answer.definition, &answer.sql, now)?;
    let mut laying = Laying(Rows::new(&answer.definition)?);
    match athena::ask(&sql, &mut laying).await? {
        Some(code) => Ok(Ended::Stopped(code)),
        None => Ok(Ended::Computed(laying.0.finish()?)),
    }
}

/// Spools Athena's rows.
struct Laying<'a>(Rows<'a>);

impl Sink for Laying<'_> {
    fn shows_rows(&self) -> bool {
        false
    }

    fn begin(&mut self, columns: Vec<Column>) -> Result<bool> {
        self.0.begin(columns)?;
        Ok(true)
    }

    fn row(&mut self, row: Row) -> Result<bool> {
        self.0.row(row)?;
        Ok(true)
    }

    fn pause(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use weir_core::Catalog;

    use super::*;

    #[test]
    fn the_built_in_answers_are_published_on_aws_by_hand_only() {
        for answer in super::super::read(None, &Catalog::built_in().unwrap()).unwrap() {
            assert!(answer.definition.every.is_some());
            let title = answer.definition.title.clone();
            let by_hand = without_schedule(answer).unwrap();
            assert_eq!((by_hand.definition.every, by_hand.definition.title), (None, title));
            assert!(by_hand.sql.contains("SELECT"));
        }
    }
}
