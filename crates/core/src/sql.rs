//! SQL: the rows that an engine answers with, and how names and texts are quoted.

use serde_json::value::RawValue;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type of its texts.
    pub kind: Kind,
}

/// The type of a column's texts, which JSON output needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers and booleans are printed unquoted if JSON can write them; `NaN` is a text. A table has them at the left, as
    /// DuckDB's tables do.
    Number,
    /// Counts are numbers that a table has at the right, with their digits grouped by thousands.
    Count,
    /// JSON is printed as it is, too.
    Json,
    /// Everything else, including decimal numbers: JSON readers would round them.
    Text,
}

/// A row: a text for each column, or `None` for NULL.
pub type Row = Vec<Option<String>>;

/// Formats a row as a JSON object.
#[must_use]
pub fn object(columns: &[Column], row: &Row) -> String {
    let members = columns
        .iter()
        .zip(row)
        .map(|(column, cell)| format!("{}:{}", text(&column.name), json(column.kind, cell.as_deref())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn json(kind: Kind, cell: Option<&str>) -> String {
    match (kind, cell) {
        (_, None) => "null".to_owned(),
        (Kind::Number | Kind::Count | Kind::Json, Some(cell))
            if serde_json::from_str::<&RawValue>(cell).is_ok() =>
        {
            cell.to_owned()
        }
        (_, Some(cell)) => text(cell),
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Quotes a name as an SQL identifier.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as an SQL literal.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
