//! The pages of an answer, and the size of its file in S3.

use serde::Deserialize;
use weir_core::sql::{Column, Kind, Row};

/// A page of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What the next page is asked for by, if there is one.
    pub next: Option<String>,
}

// A cell takes 24 bytes and its text. As a tree of JSON it would take some hundreds, and a page can have a million cells.

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    result_set: ResultSet,
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ResultSet {
    rows: Vec<Line>,
    result_set_metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Line {
    data: Vec<Cell>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Cell {
    var_char_value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    column_info: Vec<Info>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Info {
    name: String,
    r#type: String,
}

/// Reads a page. The first row of the first page has the names of the columns.
pub(super) fn page(content: &[u8], is_first: bool) -> Result<Page, serde_json::Error> {
    let Answer { result_set, next_token } = serde_json::from_slice(content)?;
    let columns = result_set.result_set_metadata.column_info.into_iter();
    let columns: Vec<Column> =
        columns.map(|info| Column { kind: kind(&info.r#type), name: info.name }).collect();
    let row = |line: Line| -> Row { line.data.into_iter().map(|cell| cell.var_char_value).collect() };
    let mut rows: Vec<Row> = result_set.rows.into_iter().map(row).collect();
    let is_header = |row: &Row| {
        let names = columns.iter().map(|column| Some(column.name.as_str()));
        row.iter().map(Option::as_deref).eq(names)
    };
    if is_first && rows.first().is_some_and(is_header) {
        rows.remove(0);
    }
    Ok(Page { columns, rows, next: next_token })
}

/// Returns the type of a column's texts by the name of its type in Athena.
pub(crate) fn kind(name: &str) -> Kind {
    match name {
        "tinyint" | "smallint" | "integer" | "int" | "bigint" | "float" | "real" | "double" | "boolean" => {
            Kind::Number
        }
        "json" => Kind::Json,
        _ => Kind::Text,
    }
}
