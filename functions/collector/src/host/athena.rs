//! Queries on AWS: Athena answers them, later. Their SQL is printed anew over the user's own rows ([`weir_aws::own_rows`]).
//!
//! Nothing is remembered here. A query's id is Athena's, and Athena keeps the query's text: by its beginning, which no client can
//! write, a query is the user's or does not exist.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::body::Bytes;
use futures_util::stream;
use weir_aws::{
    own_rows::{self, MOST_ROWS, OwnRows},
    queries::{ClientQueries, Execution, MOST_OF_USER, NotStarted, PAGE, State},
};
use weir_core::{
    Catalog, Clock, Username,
    ports::PortError,
    sql::{Column, Kind, Row, object},
};

use super::queries::{
    NotAnswered, Queries, QueryAnswer, QueryAsked, QueryFormat, QueryProgress, QueryStarted,
};

/// The most bytes of an answer. API Gateway takes 6 MB from a function, in a JSON text: there, a quote or a line's end takes two bytes.
const MOST_BYTES: usize = 4 << 20;

/// The most bytes of an answer's file in S3. It is CSV with each value in quotes, so its size is at most three times that of the answer: an
/// empty text takes three bytes there, and one here. A larger one is refused before any of it is read.
const MOST_IN_S3: u64 = 3 * MOST_BYTES as u64;

/// The most values on a page of an answer, each of which takes some 50 bytes of memory beside its text. An answer's columns are known only
/// from its first page, so of a file that is not small, that page has few rows.
const CELLS: usize = 200_000;
const SMALL: u64 = 1 << 20;
const FIRST: usize = 20;

/// The time limit for reading an answer: the function has 15 seconds.
const READING: Duration = Duration::from_secs(11);

/// The queries of clients in Athena.
pub struct AthenaQueries {
    calls: ClientQueries,
    database: String,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
}

impl AthenaQueries {
    /// Returns the queries of a workgroup over the tables of a database.
    #[must_use]
    pub fn new(calls: ClientQueries, database: String, catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Self {
        Self { calls, database, catalog, clock }
    }

    /// Returns a query of this user.
    async fn execution(&self, username: &Username, id: &str) -> Result<Execution, NotAnswered> {
        let is_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_id {
            return Err(NotAnswered::NoSuchQuery);
        }
        let found = self.calls.find(id).await?;
        found.filter(|execution| own_rows::is_of(&execution.sql, username)).ok_or(NotAnswered::NoSuchQuery)
    }

    /// Reads an answer, page by page.
    async fn read(
        &self,
        id: &str,
        execution: &Execution,
        format: QueryFormat,
    ) -> Result<QueryAnswer, NotAnswered> {
        let mut rows = match self.calls.size(execution).await? {
            Some(size) if size > MOST_IN_S3 => return Err(NotAnswered::TooLarge(MOST_BYTES as u64)),
            Some(size) if size <= SMALL => PAGE,
            // The local AWS of the tests has a file somewhere else. Where it is gone, after a week, Athena has no page either.
            Some(_) | None => FIRST,
        };
        let mut text: Option<Text> = None;
        let mut next = None;
        loop {
            let page = self.calls.page(id, next.as_deref(), rows).await?.ok_or(NotAnswered::NoSuchQuery)?;
            rows = (CELLS / page.columns.len().max(1)).clamp(1, PAGE);
            let text = text.get_or_insert_with(|| Text::new(format, page.columns));
            for row in page.rows {
                text.row(row)?;
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let text = text.map(Text::finish).unwrap_or_default();
        let length = text.len() as u64;
        let content = stream::iter([Ok(Bytes::from(text))]);
        Ok(QueryAnswer { length, content: Box::pin(content) })
    }
}

#[async_trait]
impl Queries for AthenaQueries {
    fn are_answered_later(&self) -> bool {
        true
    }

    fn count_keys(&self) -> bool {
        false
    }

    async fn start(&self, username: &Username, asked: QueryAsked) -> Result<QueryStarted, NotAnswered> {
        let QueryAsked { sql, from, to, may_begin_later } = asked;
        let (catalog, database) = (&*self.catalog, &*self.database);
        let own = OwnRows { catalog, database, username, from, to, may_begin_later };
        let question = own.question(&sql).map_err(|refused| NotAnswered::Sql(refused.to_string()))?;
        let started = self.calls.start(username, &question.sql).await;
        let id = started.map_err(|why| match why {
            NotStarted::Refused(message) => failed(&message),
            NotStarted::TooMany => NotAnswered::TooMany,
            NotStarted::TooManyOfUser => NotAnswered::TooManyOfUser(MOST_OF_USER),
            NotStarted::Failed(error) => NotAnswered::Failed(error),
        })?;
        Ok(QueryStarted { id, from: question.from })
    }

    async fn find(
        &self,
        username: &Username,
        id: &str,
        format: QueryFormat,
    ) -> Result<QueryProgress, NotAnswered> {
        let execution = self.execution(username, id).await?;
        match execution.state {
            State::Answered => match tokio::time::timeout(READING, self.read(id, &execution, format)).await {
                Ok(answer) => answer.map(QueryProgress::Answered),
                Err(_) => Err(PortError::unavailable("reading an answer", "Athena is slow").into()),
            },
            State::Running if execution.is_overdue(self.clock.now()) => {
                self.calls.stop(id).await?;
                Err(NotAnswered::Stopped)
            }
            State::Running => Ok(QueryProgress::Running),
            State::Stopped => Err(NotAnswered::Stopped),
            State::TooMuch => Err(NotAnswered::TooManyRows),
            State::Failed(reason) => Err(failed(&reason)),
        }
    }

    async fn stop(&self, username: &Username, id: &str) -> Result<(), NotAnswered> {
        let execution = self.execution(username, id).await?;
        if execution.state == State::Running {
            self.calls.stop(id).await?;
        }
        Ok(())
    }
}

/// Returns why a query failed. A fault of the operator's, or of Athena's, is no fault of the SQL.
fn failed(reason: &str) -> NotAnswered {
    // Reasons with these codes quote what the client wrote or stored.
    let of_sql = [
        "INVALID_",
        "SYNTAX_ERROR",
        "TYPE_MISMATCH",
        "DIVISION_BY_ZERO",
        "NUMERIC_VALUE_OUT_OF_RANGE",
        "FUNCTION_",
        "COLUMN_",
    ];
    let is_of_sql = of_sql.iter().any(|code| reason.starts_with(code));
    let is_of_operator = ["access denied", "not authorized to perform", "insufficient permissions"];
    let small = reason.to_lowercase();
    if !is_of_sql && is_of_operator.iter().any(|text| small.contains(text)) {
        return PortError::broken("a query in Athena", reason.to_owned()).into();
    }
    if reason.starts_with("GENERIC_INTERNAL_ERROR") {
        return PortError::unavailable("a query in Athena", reason.to_owned()).into();
    }
    NotAnswered::Sql(message(reason))
}

/// Returns Athena's message for clients: what follows is advice for operators, places in Weir's text, or the names of objects.
fn message(reason: &str) -> String {
    let end = ["This query ran against", "s3://", "\n", "If a data manifest file"];
    let end = end.iter().filter_map(|end| reason.find(end)).min().unwrap_or(reason.len());
    let mut message = reason[..end].trim().to_owned();
    // `line 3:15: ` is a place in the question.
    while let Some(at) = message.find("line ") {
        let rest = &message[at + 5..];
        let place = rest.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(rest.len());
        if place == 0 || !rest[..place].contains(':') {
            break;
        }
        message = format!("{}{}", &message[..at], rest[place..].trim_start());
    }
    if message.is_empty() { "Athena cannot answer this query.".to_owned() } else { message }
}

/// The text of an answer, row by row.
struct Text {
    format: QueryFormat,
    columns: Vec<Column>,
    content: String,
    /// Its size in the answer to API Gateway.
    size: usize,
    rows: usize,
}

impl Text {
    fn new(format: QueryFormat, columns: Vec<Column>) -> Self {
        let content = match format {
            QueryFormat::Json => "[".to_owned(),
            QueryFormat::Csv => line(columns.iter().map(|column| Some(column.name.as_str())), columns.len()),
        };
        Self { format, columns, content, size: 0, rows: 0 }
    }

    fn row(&mut self, mut row: Row) -> Result<(), NotAnswered> {
        self.rows += 1;
        if self.rows > MOST_ROWS {
            return Err(NotAnswered::TooLong(MOST_ROWS));
        }
        let text = match self.format {
            QueryFormat::Json => {
                // JSON has no such numbers.
                for (column, cell) in self.columns.iter().zip(&mut row) {
                    let is_none = |cell: &String| ["NaN", "Infinity", "-Infinity"].contains(&&**cell);
                    if column.kind == Kind::Number && cell.as_ref().is_some_and(is_none) {
                        *cell = None;
                    }
                }
                let separator = if self.rows == 1 { "" } else { ",\n" };
                format!("{separator}{}", object(&self.columns, &row))
            }
            QueryFormat::Csv => line(row.iter().map(Option::as_deref), row.len()),
        };
        self.size += text
            .bytes()
            .map(|byte| if byte < b' ' { 6 } else { 1 + usize::from(b"\"\\".contains(&byte)) })
            .sum::<usize>();
        if self.size > MOST_BYTES {
            return Err(NotAnswered::TooLarge(MOST_BYTES as u64));
        }
        self.content += &text;
        Ok(())
    }

    fn finish(mut self) -> String {
        if self.format == QueryFormat::Json {
            self.content.push(']');
        }
        self.content
    }
}

/// Returns a line of CSV. A row with one empty value is in quotes: it would be an empty line.
fn line<'a>(cells: impl Iterator<Item = Option<&'a str>>, count: usize) -> String {
    let cell = |cell: Option<&str>| match cell.unwrap_or_default() {
        "" if count == 1 => "\"\"".to_owned(),
        text if text.contains(['"', ',', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
        text => text.to_owned(),
    };
    format!("{}\n", cells.map(cell).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_is_wrong_with_the_sql_and_nothing_of_the_lake() {
        for (reason, said) in [
            (
                "COLUMN_NOT_FOUND: line 4:8: Column 'x' cannot be resolved or requester is not authorized to access requested \
                 resources. This query ran against the \"weir\" database",
                "COLUMN_NOT_FOUND: Column 'x' cannot be resolved or requester is not authorized to access requested resources.",
            ),
            ("line 1:2: mismatched input 'a'", "mismatched input 'a'"),
            (
                "INVALID_CAST_ARGUMENT: Cannot cast 'Access Denied' to BIGINT",
                "INVALID_CAST_ARGUMENT: Cannot cast 'Access Denied' to BIGINT",
            ),
            ("HIVE_BAD_DATA: Error in s3://weir/username=eve/x", "HIVE_BAD_DATA: Error in"),
            ("the line was 3 long", "the line was 3 long"),
            ("", "Athena cannot answer this query."),
        ] {
            let NotAnswered::Sql(message) = failed(reason) else { panic!("{reason}") };
            assert_eq!(message, said);
        }
        let denied =
            "HIVE_METASTORE_ERROR: User: arn:aws:sts::1:x is not authorized to perform: glue:GetTable";
        assert!(matches!(failed(denied), NotAnswered::Failed(PortError::Broken { .. })));
        let broken = failed("GENERIC_INTERNAL_ERROR: null");
        assert!(matches!(broken, NotAnswered::Failed(PortError::Unavailable { .. })));
    }

    #[test]
    fn an_answer_is_json_or_csv_and_bounded() {
        let columns = vec![
            Column { name: "a,b".to_owned(), kind: Kind::Text },
            Column { name: "n".to_owned(), kind: Kind::Number },
        ];
        let rows = [
            vec![Some("it's \"so\"".to_owned()), Some("1.5".to_owned())],
            vec![None, Some("NaN".to_owned())],
        ];
        let of = |format| {
            let mut text = Text::new(format, columns.clone());
            for row in rows.clone() {
                text.row(row).unwrap();
            }
            text.finish()
        };
        assert_eq!(
            of(QueryFormat::Json),
            "[{\"a,b\":\"it's \\\"so\\\"\",\"n\":1.5},\n{\"a,b\":null,\"n\":null}]"
        );
        assert_eq!(of(QueryFormat::Csv), "\"a,b\",n\n\"it's \"\"so\"\"\",1.5\n,NaN\n");
        assert_eq!(Text::new(QueryFormat::Json, columns.clone()).finish(), "[]");
        assert_eq!(line([None].into_iter(), 1), "\"\"\n");

        let mut text = Text::new(QueryFormat::Csv, columns.clone());
        let wide = || vec![Some("\u{1}".repeat(100_000)), None];
        let refused = (0..10).map(|_| text.row(wide())).find_map(Result::err);
        assert!(matches!(refused, Some(NotAnswered::TooLarge(_))));
        let mut text = Text::new(QueryFormat::Csv, columns);
        let refused = (0..=MOST_ROWS).map(|_| text.row(vec![None, None])).find_map(Result::err);
        assert!(matches!(refused, Some(NotAnswered::TooLong(MOST_ROWS))));
    }
}
