//! Checks that a query is one SELECT. DuckDB itself parses the text: it can turn only a SELECT into a syntax tree.

use std::io::{self, BufRead, BufReader, Read};

use anyhow::anyhow;

use super::tables::literal;
use crate::terminal;

/// The beginning of DuckDB's error message if the rule is broken.
const BROKEN: &str = "weir: not one SELECT: ";

/// Returns the statement that fails unless a query is one SELECT. It prints nothing, so that the query can follow in the
/// same process. Starting a second process would take as long as a small query.
pub(super) fn check(sql: &str) -> String {
    format!(
        "SET VARIABLE weir_checked = (SELECT CASE WHEN found = '+' THEN true ELSE error({} || found) END FROM (SELECT \
         coalesce(tree ->> 'error_message', repeat('+', json_array_length(tree -> 'statements')::BIGINT)) AS found FROM (SELECT \
         json_serialize_sql({})::JSON AS tree)))",
        literal(BROKEN),
        literal(sql)
    )
}

/// What DuckDB said on standard error.
pub(super) enum Said {
    /// Nothing, or what was copied to Weir's own standard error as it arrived; with its first line.
    Copied(Vec<u8>),
    /// That the rule is broken; nothing was copied.
    Broken(anyhow::Error),
    /// That the query has to be asked again; nothing was copied.
    AskAgain,
}

/// Copies DuckDB's errors to standard error as they arrive, unless the first line says that the rule is broken or that the query
/// has to be asked again.
pub(super) fn copy_errors(from: impl Read, asks_again: impl Fn(&[u8]) -> bool) -> io::Result<Said> {
    let mut from = BufReader::new(from);
    let mut first = Vec::new();
    from.read_until(b'\n', &mut first)?;
    if let Some(broken) = broken(&first) {
        let mut message = broken.to_owned();
        from.read_to_string(&mut message)?;
        return Ok(Said::Broken(refusal(message.trim())));
    }
    if asks_again(&first) {
        io::copy(&mut from, &mut io::sink())?;
        return Ok(Said::AskAgain);
    }
    terminal::copy_lines(BufReader::new(first.as_slice().chain(from)), io::stderr())?;
    Ok(Said::Copied(first))
}

/// Returns how the rule is broken, if DuckDB says so on standard error.
pub(super) fn broken_in(errors: &[u8]) -> Option<anyhow::Error> {
    broken(errors).map(|message| refusal(message.trim()))
}

/// Returns all lines of the message that follows DuckDB's name for the error.
fn broken(errors: &[u8]) -> Option<&str> {
    let text = str::from_utf8(errors).ok()?;
    let (before, message) = text.split_once(BROKEN)?;
    (!before.contains('\n')).then_some(message)
}

fn refusal(message: &str) -> anyhow::Error {
    match message {
        "" => anyhow!("the query is empty"),
        many if many.bytes().all(|byte| byte == b'+') => anyhow!("a query is one statement"),
        only if only.starts_with("Only SELECT") => anyhow!("the lake is read-only: a query is a SELECT"),
        syntax => anyhow!("the query is not valid SQL: {syntax}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_rule_is_taken_out_of_the_errors_and_with_all_its_lines() {
        let broken = |errors: &str| broken_in(errors.as_bytes()).map(|error| error.to_string());
        let error =
            "Invalid Input Error: weir: not one SELECT: syntax error at or near \"SELEC\"\nLINE 1: SELEC 1\n";
        assert_eq!(
            broken(error).unwrap(),
            "the query is not valid SQL: syntax error at or near \"SELEC\"\nLINE 1: SELEC 1"
        );
        assert_eq!(
            broken("Invalid Input Error: weir: not one SELECT: ++\n").unwrap(),
            "a query is one statement"
        );
        assert_eq!(broken("Catalog Error: no table\nLINE 1: weir: not one SELECT: ++\n"), None);
    }
}
