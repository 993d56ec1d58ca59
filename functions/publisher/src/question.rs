//! What Athena is asked for an answer.
//!
//! A table of Athena's wants a user in WHERE (its `username` is injected). An answer is over all users, as on one machine, so
//! each table that it names is put before it as a common table expression of the same name: the rows of all users.

use weir_aws::athena::is_select;
use weir_core::{
    Catalog, Timestamp, Username,
    answers::{ColumnName, Definition},
    sql::{literal, quoted},
};

use crate::error::{AnswerError, wrong};

type Result<T> = std::result::Result<T, AnswerError>;

/// The name of an answer's query in the question.
const QUERY: &str = "weir_answer";

/// The table of invalid events.
const REJECTED: &str = "rejected";

/// The most users that a table can be asked for at once.
/// (<https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>)
const MOST_USERS: usize = 1000;

/// The most bytes that Athena takes as a query. (<https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>)
const LONGEST: usize = 262_144;

/// What questions share.
pub struct Question<'a> {
    /// The types, whose names are those of tables.
    pub catalog: &'a Catalog,
    /// The database of the tables.
    pub database: &'a str,
    /// All users.
    pub users: &'a [Username],
}

impl Question<'_> {
    /// Returns what Athena is asked for an answer, whose file is `sql`.
    pub fn of(&self, definition: &Definition, sql: &str, now: Timestamp) -> Result<String> {
        if !is_select(sql) {
            return Err(wrong("the lake is read-only: a query is a SELECT"));
        }
        let query = without_end(sql)?;
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
        let slot = definition.slot.iter().map(ColumnName::as_str);
        let columns = definition.stored_path().into_iter().chain(slot);
        let order: Vec<String> =
            columns.map(|column| format!("CAST({} AS VARCHAR)", quoted(column))).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let question = format!("WITH {}\nSELECT * FROM {QUERY}{order}", parts.join(",\n"));
        if question.len() > LONGEST {
            return Err(wrong(format!(
                "the query with the names of all users has {} bytes: Athena takes {LONGEST}",
                question.len()
            )));
        }
        Ok(question)
    }

    /// Returns the rest of a SELECT of all rows of a table. Years to come are left out: Athena would look into every hour of
    /// them.
    fn rows_of(&self, table: &str, now: Timestamp) -> Result<String> {
        if self.users.len() > MOST_USERS {
            return Err(wrong(format!(
                "there are {} users: Athena takes {MOST_USERS} in one query",
                self.users.len()
            )));
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

/// Returns a statement without the semicolon at its end and the comments after it. A second statement is an error.
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
                return Err(wrong("an answer is one SELECT: there is something after its semicolon"));
            }
            end = sql.len() - rest.len() + length;
        }
        rest = &rest[length..];
    }
    Ok(&sql[..end])
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
        let of = |question: &Question<'_>, sql: &str| {
            question.of(&Definition::read("a".parse().unwrap(), sql).unwrap(), sql, now)
        };
        let sql = "-- slot: day\nSELECT username, day, count(*) AS n FROM Page_View GROUP BY 1, 2;";
        assert_eq!(
            of(&question, sql).unwrap(),
            "WITH \"page_view\" AS (SELECT * FROM \"weir_x\".\"page_view\" WHERE username IN ('ann', 'bob') AND year <= \
             2026),\nweir_answer AS (\n-- slot: day\nSELECT username, day, count(*) AS n FROM Page_View GROUP BY 1, \
             2\n)\nSELECT * FROM weir_answer ORDER BY CAST(\"username\" AS VARCHAR), CAST(\"day\" AS VARCHAR)"
        );
        let all = of(&question, "SELECT username FROM events").unwrap();
        assert!(
            all.contains("'rejected' AS event_type") && all.contains("'button_click' AS event_type"),
            "{all}"
        );
        let groups = of(&question, "SELECT group_id, count(*) FROM \"group\" GROUP BY 1").unwrap();
        assert!(groups.contains("\"group\" AS (SELECT"), "{groups}");
        let without_users = Question { users: &[], ..question };
        let none = of(&without_users, "SELECT username FROM page_view").unwrap();
        assert!(none.contains("WHERE username IN ('') AND year"), "{none}");
    }
}
