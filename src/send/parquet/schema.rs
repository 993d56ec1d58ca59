//! The columns of a file, and the number of its rows, as DuckDB describes them.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use weir_core::sql::literal;

use super::{
    printed::{Column, Kind},
    reading::{FILE, Reading, rows},
};

/// The most columns of a file, and the most bytes that describe them.
const MOST_COLUMNS: usize = 10_000;
const LONGEST: u64 = 16 << 20;

/// The description of a file.
pub(super) struct Schema {
    pub(super) columns: Vec<Column>,
    pub(super) rows: u64,
}

/// A line of DuckDB's description of a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Described {
    Column(String, String),
    /// A node of the file's schema, and the number of its children.
    Node(String, Option<usize>),
    Rows(u64),
}

/// Returns the query for the description.
pub(super) fn query() -> String {
    let (file, rows) = (literal(FILE), rows());
    format!(
        "SELECT to_json({{'column': [column_name, column_type]}}) FROM (DESCRIBE SELECT * FROM {rows});\n\
         SELECT to_json({{'node': json_array(name, num_children)}}) FROM parquet_schema({file});\n\
         SELECT to_json({{'rows': num_rows}}) FROM parquet_file_metadata({file});\n"
    )
}

/// Reads the description that DuckDB prints.
pub(super) fn read(printed: Reading) -> Result<Schema> {
    let (mut columns, mut nodes, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut printed = BufReader::new(printed).take(LONGEST);
    for line in printed.by_ref().lines() {
        let line = line.context("DuckDB's answer cannot be read")?;
        match serde_json::from_str(&line).context("DuckDB's answer is not understood")? {
            Described::Column(name, of) => columns.push(Column { name, kind: Kind::of(&of) }),
            Described::Node(name, children) => nodes.push((name, children.unwrap_or_default())),
            Described::Rows(number) => rows = number,
        }
        if columns.len() > MOST_COLUMNS {
            bail!("it has more than {MOST_COLUMNS} columns");
        }
    }
    if printed.limit() == 0 {
        bail!("the names of its columns are too long");
    }
    printed.into_inner().into_inner().end()?;
    refuse_unless_distinct(&top(&nodes))?;
    Ok(Schema { columns, rows })
}

/// Returns the names at the top of a schema. Its nodes are listed depth first: each is followed by its children.
fn top(nodes: &[(String, usize)]) -> Vec<&str> {
    let (mut top, mut below) = (Vec::new(), 0_usize);
    for (name, children) in nodes.iter().skip(1) {
        if below == 0 {
            top.push(name.as_str());
        } else {
            below -= 1;
        }
        below += children;
    }
    top
}

/// Refuses names that differ only in case: SQL cannot tell them apart.
fn refuse_unless_distinct(names: &[&str]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.to_lowercase())) {
        Some(name) => {
            bail!("it has two columns named {name:?}, ignoring case: SQL cannot tell them apart")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_at_the_top_of_a_schema_are_its_columns_however_deep_it_is() {
        let node = |(name, children): (&str, usize)| (name.to_owned(), children);
        let nodes = [
            ("schema", 4),
            ("a", 0),
            ("l", 1),
            ("list", 1),
            ("element", 0),
            ("s", 2),
            ("x", 0),
            ("y", 1),
            ("z", 0),
            ("b", 0),
        ];
        let nodes = nodes.map(node);
        assert_eq!(top(&nodes), ["a", "l", "s", "b"]);
        assert!(refuse_unless_distinct(&top(&nodes)).is_ok());
        assert!(refuse_unless_distinct(&["a", "b", "A"]).unwrap_err().to_string().contains("\"A\""));
    }
}
