//! `weir publish` on AWS: Athena computes, and generations are put into the lake's bucket.
//!
//! A table of Athena's wants a user in WHERE (its `username` is injected). An answer is over all users, as on one machine, so
//! each table that it names is put before it as a common table expression of the same name: the rows of all users.

use std::{env, io, iter, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{json, value::RawValue};
use weir_aws::{Page, S3AnswersAdmin};
use weir_core::{
    Catalog, Clock, SystemClock, Timestamp, Username,
    answers::{ColumnName, Definition, Published},
    ports::{AnswersAdmin, Publication, UserAdmin},
};

use super::{
    Answer,
    pages::Pages,
    publish::{chosen, content, describe},
    spool::{Computed, Spool, Spooled, lay_out, must_have_columns},
};
use crate::{
    aws, catalog,
    cli::PublishArgs,
    query::{
        athena::{self, Sink},
        rows::{Column, Kind, Row, object},
        tables::{literal, quoted},
    },
};

/// The name of an answer's query in the question.
const QUERY: &str = "weir_answer";

/// The table of invalid events.
const REJECTED: &str = "rejected";

/// The most users that a table can be asked for at once.
/// (<https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>)
const MOST_USERS: usize = 1000;

/// The most bytes that Athena takes as a query. (<https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>)
const LONGEST: usize = 262_144;

/// The most bytes that all rows below a path have. A response of Lambda has 6 MiB, and in it each quote of JSON is two bytes.
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>)
const LARGEST: u64 = 3_000_000;

/// Runs `weir publish`.
pub(super) async fn run(args: &PublishArgs) -> Result<ExitCode> {
    if args.wait.is_some() {
        bail!("--wait means nothing on AWS: events are filed after the stack's BufferSeconds");
    }
    let catalog = catalog::read(args.catalog.folder())?;
    let mut answers = super::read(args.answers.folder(), &catalog)?;
    if args.answers.folder().is_none() {
        answers.retain(|answer| super::is_for_athena(&answer.definition.name));
    }
    let answers = chosen(answers, args.name.as_deref())?;
    let (store, database, has_cdn) = (aws::answers().await?, aws::database()?, aws::has_cdn()?);
    let users: Vec<Username> =
        aws::users().await?.list().await?.into_iter().map(|user| user.username).collect();
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
        let published = async { publish(&store, answer, &spooled?, published_at, has_cdn).await };
        match published.await {
            Ok(told) => println!("{name}: {told}"),
            // The others are published all the same.
            Err(error) => {
                failed = true;
                eprintln!("weir: {name}: {}", crate::told_in_lines(&error));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn publish(
    store: &S3AnswersAdmin,
    Answer { definition, sql }: &Answer,
    spooled: &Spooled,
    published_at: Timestamp,
    has_cdn: bool,
) -> Result<String> {
    if spooled.largest() > LARGEST {
        bail!("the rows below one path have {} bytes: on AWS it is {LARGEST} at the most", spooled.largest());
    }
    let pages = (has_cdn && definition.public).then(|| Pages::of(spooled, definition)).transpose()?;
    let Computed { file, length, generation, rows, left_out } = lay_out(spooled, &env::temp_dir())?;
    let name = definition.name.clone();
    let published = Published { name, generation, published_at, sql: sql.clone() };
    let stored = store.publish(&published, length, content(file)).await;
    if stored.map_err(|error| anyhow!(error))? == Publication::Outdated {
        bail!("not published: by the clock of its publisher, what is published was computed later than this");
    }
    let told = describe(rows, length, left_out);
    if !has_cdn {
        return Ok(told);
    }
    // None, if it is public no longer.
    let none = || Box::new(iter::empty()) as Box<dyn Iterator<Item = io::Result<Page>>>;
    let pages = pages.as_ref().map(Pages::read).transpose()?.map_or_else(none, |pages| Box::new(pages));
    let put = store.put_pages(&definition.name, pages).await.context(
        "published, but not all of the CDN's pages were put: some are of the publication before. Publish again",
    )?;
    Ok(if definition.public { format!("{told}; {} of {} pages are new", put.put, put.all) } else { told })
}

enum Ended {
    Computed(Spooled),
    /// A signal came.
    Stopped(u8),
}

async fn compute(answer: &Answer, question: &Question<'_>, now: Timestamp) -> Result<Ended> {
    athena::refuse_unless_select(&answer.sql)?;
    let sql = question.of(answer, now)?;
    let mut laying = Laying::new(&answer.definition)?;
    match athena::ask(&sql, &mut laying).await? {
        Some(code) => Ok(Ended::Stopped(code)),
        None => Ok(Ended::Computed(laying.spool.finish()?)),
    }
}

/// What questions share.
struct Question<'a> {
    catalog: &'a Catalog,
    database: &'a str,
    users: &'a [Username],
}

impl Question<'_> {
    /// Returns what Athena is asked for an answer.
    fn of(&self, answer: &Answer, now: Timestamp) -> Result<String> {
        let query = without_end(&answer.sql)?;
        let words = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let names = |table: &str| match table {
            // SQL's own words, which nearly every query has. As the name of a table, such a word is quoted.
            "group" | "order" => query.to_ascii_lowercase().contains(&quoted(table)),
            _ => query.split(words).any(|word| word.eq_ignore_ascii_case(table)),
        };
        let types = self.catalog.iter().map(|definition| definition.event_type().as_str());
        let tables: Vec<&str> = types.chain([REJECTED]).collect();
        let mut parts = Vec::new();
        for table in tables.iter().filter(|table| names(table)) {
            parts.push(format!("{} AS (SELECT * {})", quoted(table), self.rows_of(table, now)?));
        }
        if names("events") {
            let columns = "username, event_id, time, received_at, occurred_at, year, month, day, hour";
            let of = |table: &&str| {
                let event_type = literal(table);
                Ok(format!("SELECT {event_type} AS event_type, {columns} {}", self.rows_of(table, now)?))
            };
            let all: Vec<String> = tables.iter().map(of).collect::<Result<_>>()?;
            parts.push(format!("events AS ({})", all.join(" UNION ALL ")));
        }
        parts.push(format!("{QUERY} AS (\n{query}\n)"));
        let Definition { slot, .. } = &answer.definition;
        let columns = answer.definition.stored_path().into_iter().chain(slot.iter().map(ColumnName::as_str));
        let order: Vec<String> =
            columns.map(|column| format!("CAST({} AS VARCHAR)", quoted(column))).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let question = format!("WITH {}\nSELECT * FROM {QUERY}{order}", parts.join(",\n"));
        if question.len() > LONGEST {
            bail!(
                "the query with the names of all users has {} bytes: Athena takes {LONGEST}",
                question.len()
            );
        }
        Ok(question)
    }

    /// Returns the rest of a SELECT of all rows of a table. Years to come are left out: Athena would look into every hour of
    /// them.
    fn rows_of(&self, table: &str, now: Timestamp) -> Result<String> {
        if self.users.len() > MOST_USERS {
            bail!("there are {} users: Athena takes {MOST_USERS} in one query", self.users.len());
        }
        let mut users: Vec<String> = self.users.iter().map(|user| literal(user.as_str())).collect();
        if users.is_empty() {
            // Without users there are no rows. Athena wants a username even so: no user has this one.
            users.push(literal(""));
        }
        let [year, ..] = now.hour().parts();
        Ok(format!(
            "FROM {}.{} WHERE username IN ({}) AND year <= {year}",
            quoted(self.database),
            quoted(table),
            users.join(", ")
        ))
    }
}

/// Returns a statement without the semicolon at its end and the comments behind it. A second statement is an error.
fn without_end(sql: &str) -> Result<&str> {
    let (mut rest, mut end, mut ended) = (sql, 0, false);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            // A quote that is doubled ends one text and begins the next.
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |at| at + 2),
            _ => first.len_utf8(),
        };
        let is_comment = rest.starts_with("--") || rest.starts_with("/*");
        if first == ';' {
            ended = true;
        } else if !is_comment && !first.is_whitespace() {
            if ended {
                bail!("an answer is one SELECT: there is something behind its semicolon");
            }
            end = sql.len() - rest.len() + length;
        }
        rest = &rest[length..];
    }
    Ok(&sql[..end])
}

/// Takes Athena's rows, and spools them to be laid out.
struct Laying<'a> {
    definition: &'a Definition,
    columns: Vec<Column>,
    /// The columns of the path and of the slot, by their places in a row.
    path: Vec<usize>,
    slot: Vec<usize>,
    spool: Spool<'a>,
}

impl<'a> Laying<'a> {
    fn new(definition: &'a Definition) -> Result<Self> {
        let spool = Spool::new(definition, &env::temp_dir())?;
        Ok(Self { definition, columns: Vec::new(), path: Vec::new(), slot: Vec::new(), spool })
    }
}

impl Sink for Laying<'_> {
    fn shows_rows(&self) -> bool {
        false
    }

    fn begin(&mut self, columns: Vec<Column>) -> Result<bool> {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        must_have_columns(&names, self.definition)?;
        let place = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        self.path = self.definition.stored_path().into_iter().filter_map(place).collect();
        self.slot = self.definition.slot.iter().filter_map(|column| place(column.as_str())).collect();
        self.columns = columns;
        Ok(true)
    }

    fn row(&mut self, mut row: Row) -> Result<bool> {
        row.resize(self.columns.len(), None);
        for (column, cell) in self.columns.iter().zip(&mut row) {
            let Some(text) = cell else { continue };
            let is_json = || serde_json::from_str::<&RawValue>(text).is_ok();
            match column.kind {
                Kind::Number | Kind::Count if !is_json() => {
                    bail!("the column {} holds a number that JSON cannot write, {text}", column.name)
                }
                // A row is one line.
                Kind::Json if text.contains(['\n', '\r', '\t']) => {
                    *text = serde_json::from_str::<serde_json::Value>(text)?.to_string();
                }
                _ => {}
            }
        }
        let of = |places: &[usize]| places.iter().map(|&at| row[at].as_deref()).collect::<Vec<_>>();
        let line = format!(
            "{}\t{}\t{}\n",
            json!(of(&self.path)),
            json!(of(&self.slot)),
            object(&self.columns, &row)
        );
        self.spool.line(&line)?;
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
    use super::*;

    #[test]
    fn the_end_of_a_statement_is_cut_off_and_what_looks_like_one_is_not() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            (
                "-- public: true\nSELECT ';' AS \";\" ;\n-- The end; of it.\n",
                "-- public: true\nSELECT ';' AS \";\"",
            ),
            ("SELECT 'it''s; -- so' /* ; */ ; ; /* end */ ", "SELECT 'it''s; -- so'"),
            ("SELECT 1 -- one;", "SELECT 1"),
            ("SELECT 'ü'; --", "SELECT 'ü'"),
            ("SELECT 'open", "SELECT 'open"),
        ] {
            assert_eq!(without_end(sql).unwrap(), expected);
        }
        assert!(without_end("SELECT 1; SELECT 2").is_err());
    }

    #[test]
    fn each_table_that_is_named_has_the_rows_of_all_users_and_no_other_is_asked_for() {
        let catalog = Catalog::built_in().unwrap();
        let users: Vec<Username> = ["ann", "bob"].map(|name| name.parse().unwrap()).into();
        let question = Question { catalog: &catalog, database: "weir_x", users: &users };
        let now = Timestamp::from_millis(1_795_179_605_007).unwrap();
        let answer = |sql: &str| super::super::answer("a".parse().unwrap(), sql.to_owned()).unwrap();
        let sql = "-- slot: day\nSELECT username, day, count(*) AS n FROM Page_View GROUP BY 1, 2;";
        assert_eq!(
            question.of(&answer(sql), now).unwrap(),
            "WITH \"page_view\" AS (SELECT * FROM \"weir_x\".\"page_view\" WHERE username IN ('ann', 'bob') AND year <= \
             2026),\nweir_answer AS (\n-- slot: day\nSELECT username, day, count(*) AS n FROM Page_View GROUP BY 1, \
             2\n)\nSELECT * FROM weir_answer ORDER BY CAST(\"username\" AS VARCHAR), CAST(\"day\" AS VARCHAR)"
        );
        let all = question.of(&answer("SELECT username FROM events"), now).unwrap();
        assert!(
            all.contains("'rejected' AS event_type") && all.contains("'button_click' AS event_type"),
            "{all}"
        );
        let groups =
            question.of(&answer("SELECT group_id, count(*) FROM \"group\" GROUP BY 1"), now).unwrap();
        assert!(groups.contains("\"group\" AS (SELECT"), "{groups}");
        let without_users = Question { users: &[], ..question };
        let none = without_users.of(&answer("SELECT username FROM page_view"), now).unwrap();
        assert!(none.contains("WHERE username IN ('') AND year"), "{none}");
    }
}
