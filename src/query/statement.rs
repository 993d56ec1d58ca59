//! What a query asks for: the rows of a SELECT, or the plan by which DuckDB finds them.
//!
//! Only the SELECT is checked (`one_select`), and only what was checked runs: `EXPLAIN` is put in front of it anew. So it does not
//! matter whether the words in front of a SELECT are found by DuckDB's own rules.

use anyhow::{Result, bail};

/// A query, without `EXPLAIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    /// The words to put in front of the SELECT; empty for its rows.
    words: &'static str,
    select: &'a str,
}

impl<'a> Statement<'a> {
    /// Takes the words `EXPLAIN` and `ANALYZE` off a query. Fails if the query is one of the commands of DuckDB's shell.
    pub(super) fn of(sql: &'a str) -> Result<Self> {
        if sql.trim_start().starts_with('.') {
            bail!(
                "commands that begin with a dot are those of DuckDB's shell, which `weir query` without SQL opens on a terminal. \
                 SHOW TABLES and DESCRIBE are SQL"
            );
        }
        let Some(explained) = behind("EXPLAIN", sql) else { return Ok(Self { words: "", select: sql }) };
        Ok(match behind("ANALYZE", explained) {
            Some(select) => Self { words: "EXPLAIN ANALYZE ", select },
            None => Self { words: "EXPLAIN ", select: explained },
        })
    }

    /// Returns what has to be one SELECT.
    pub(super) fn select(&self) -> &'a str {
        self.select
    }

    /// Returns whether the answer is a plan, and no rows.
    pub(super) fn is_of_plan(&self) -> bool {
        !self.words.is_empty()
    }

    /// Returns what DuckDB has to run.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.words, self.select)
    }
}

/// Returns what follows a word, if SQL begins with it. White space and comments may precede it.
fn behind<'a>(word: &str, sql: &'a str) -> Option<&'a str> {
    let mut rest = sql.trim_start();
    loop {
        let comment_end = if rest.starts_with("--") {
            rest.find(['\n', '\r'])? + 1
        } else if rest.starts_with("/*") {
            end_of_comment(rest)?
        } else {
            break;
        };
        rest = rest[comment_end..].trim_start();
    }
    let (begin, behind) = rest.split_at_checked(word.len())?;
    let is_whole = !behind.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    (begin.eq_ignore_ascii_case(word) && is_whole).then_some(behind)
}

/// Returns where a comment that begins with `/*` ends. Comments nest, as in PostgreSQL.
fn end_of_comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let pair = text.as_bytes().get(at..at + 2)?;
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_select_behind_explain_is_found_through_comments_and_what_runs_is_what_was_found() {
        for (sql, words, select) in [
            ("EXPLAIN SELECT 1", "EXPLAIN ", " SELECT 1"),
            (" explain\nanalyze FROM x", "EXPLAIN ANALYZE ", " FROM x"),
            ("-- why\n/* so\nslow */ Explain(SELECT 1)", "EXPLAIN ", "(SELECT 1)"),
            (
                "EXPLAIN /* it */ ANALYZE SELECT 1; DROP TABLE x",
                "EXPLAIN ANALYZE ",
                " SELECT 1; DROP TABLE x",
            ),
            ("EXPLAIN", "EXPLAIN ", ""),
            ("/* /* */ EXPLAIN SELECT 1 -- */ COPY x", "", "/* /* */ EXPLAIN SELECT 1 -- */ COPY x"),
            ("--\rCOPY x;\nEXPLAIN SELECT 1", "", "--\rCOPY x;\nEXPLAIN SELECT 1"),
            ("EXPLAINED", "", "EXPLAINED"),
            ("EXPLAIN_IT SELECT 1", "", "EXPLAIN_IT SELECT 1"),
            ("SELECT 'EXPLAIN'", "", "SELECT 'EXPLAIN'"),
            ("-- EXPLAIN SELECT 1", "", "-- EXPLAIN SELECT 1"),
            ("/* EXPLAIN", "", "/* EXPLAIN"),
            ("ÄÖÜß", "", "ÄÖÜß"),
            ("", "", ""),
        ] {
            let statement = Statement::of(sql).unwrap();
            assert_eq!((statement.words, statement.select()), (words, select), "{sql:?}");
            assert_eq!(statement.text(), format!("{words}{select}"));
        }
        assert!(Statement::of(" .tables").is_err());
        assert!(Statement::of("SELECT 1 . x").is_ok());
    }
}
