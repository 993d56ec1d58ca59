//! Runs a client's SQL on the database of its own rows, in a DuckDB that can open nothing else.

use collector::{NotAnswered, QueryFormat};

use super::{How, Query, copied::DATABASE, not_answered};
use crate::child::Failure;

/// Returns the answer's bytes.
pub(super) fn answer(query: &Query, has_tables: bool) -> Result<Vec<u8>, NotAnswered> {
    let script = format!("{}SELECT * FROM query(getvariable('weir_sql'));\n", query.lock());
    let mode = match query.format {
        QueryFormat::Json => "-json",
        QueryFormat::Csv => "-csv",
    };
    let arguments = ["-readonly", DATABASE, mode, "-nullvalue", ""];
    let arguments = if has_tables { &arguments[..] } else { &arguments[2..] };
    // The script is a file of the query's folder, and nothing is written.
    let how = How { arguments, directory: query.folder.path(), reads: &[], file_limit: 0 };
    let answer = query.duckdb(&script, &how).map_err(why)?;
    Ok(as_sent(query.format, answer))
}

/// Returns DuckDB's answer in the form in which it is sent.
pub(super) fn as_sent(format: QueryFormat, answer: Vec<u8>) -> Vec<u8> {
    match format {
        QueryFormat::Csv => answer,
        // DuckDB prints nothing where there is no row.
        QueryFormat::Json if answer.trim_ascii().is_empty() => b"[]".to_vec(),
        QueryFormat::Json => valid_json(&answer),
    }
}

/// Returns why DuckDB gave no answer. An error that it reports is the SQL's.
pub(super) fn why(failure: Failure) -> NotAnswered {
    match failure {
        Failure::Ended { status, said } => NotAnswered::Sql(match status.code() {
            Some(1) if !said.is_empty() => message(&said),
            _ => {
                "DuckDB ended without an answer: the query may need more memory than it may have.".to_owned()
            }
        }),
        failure => not_answered(failure),
    }
}

/// Returns the beginning of DuckDB's message: what follows quotes Weir's own SQL, gives advice for operators, or has the paths of
/// this machine.
fn message(said: &str) -> String {
    let end = ["\n\n", "\nLINE ", "\nStack Trace", "\nDatabase is launched"];
    let end = end.iter().filter_map(|end| said.find(end)).min().unwrap_or(said.len());
    let message = said[..end].trim();
    match message {
        internal if internal.starts_with("INTERNAL Error") => "DuckDB failed at this query.".to_owned(),
        message => message.to_owned(),
    }
}

/// Makes DuckDB's JSON valid: it writes NaN and infinity, which JSON does not have, as bare words. They become null.
pub(crate) fn valid_json(answer: &[u8]) -> Vec<u8> {
    let is_word = |byte: &u8| byte.is_ascii_alphabetic();
    let mut valid = Vec::with_capacity(answer.len());
    let mut rest = answer;
    let mut in_text = false;
    while let Some((&byte, behind)) = rest.split_first() {
        match byte {
            b'\\' if in_text => {
                let (escape, behind) = rest.split_at(rest.len().min(2));
                valid.extend_from_slice(escape);
                rest = behind;
                continue;
            }
            b'"' => in_text = !in_text,
            b'N' | b'I' | b'n' | b'i' if !in_text => {
                let length = rest.iter().take_while(|byte| is_word(byte)).count();
                if valid.last() == Some(&b'-') {
                    valid.pop();
                }
                valid.extend_from_slice(b"null");
                rest = &rest[length..];
                continue;
            }
            _ => {}
        }
        valid.push(byte);
        rest = behind;
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_become_null_and_nothing_else_changes() {
        let valid = |text: &str| String::from_utf8(valid_json(text.as_bytes())).unwrap();
        assert_eq!(
            valid(
                r#"[{"a":NaN,"b":-Infinity,"c":[Infinity,nan,-1e300],"N\\":"NaN \" NaN","d":null,"e":true}]"#
            ),
            r#"[{"a":null,"b":null,"c":[null,null,-1e300],"N\\":"NaN \" NaN","d":null,"e":true}]"#
        );
        assert_eq!(valid("\"\\"), "\"\\");
    }

    #[test]
    fn a_message_is_what_is_wrong_and_no_more() {
        let said = "Catalog Error: Table with name x does not exist!\nDid you mean \"y\"?\n\nLINE 1: SELECT * FROM query(\n";
        assert_eq!(message(said), "Catalog Error: Table with name x does not exist!\nDid you mean \"y\"?");
        assert_eq!(
            message("INTERNAL Error: x\n\nStack Trace:\n/home/a/duckdb"),
            "DuckDB failed at this query."
        );
    }
}
