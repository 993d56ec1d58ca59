//! The tables that a query sees: views over the lake's files.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;
use weir_core::{Catalog, catalog::Definition};

use super::duckdb::literal;

/// A column: its name, how the file is read, and what the query gets.
struct Column {
    name: String,
    read_as: &'static str,
    shown_as: String,
}

impl Column {
    fn plain(name: &str, read_as: &'static str) -> Self {
        Self { name: name.to_owned(), read_as, shown_as: quoted(name) }
    }

    /// A column of a schema's type. Numbers and truth values are read as JSON first: one that does not fit (JSON
    /// knows integers of any size) is null then, instead of failing every query.
    fn of_schema(name: &str, schema: &Value) -> Self {
        let names: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
            }
            _ => Vec::new(),
        };
        let cast = |to: &str| Self {
            name: name.to_owned(),
            read_as: "JSON",
            shown_as: format!("TRY_CAST({column} AS {to}) AS {column}", column = quoted(name)),
        };
        match names[..] {
            ["string"] => Self::plain(name, "VARCHAR"),
            ["integer"] => cast("BIGINT"),
            ["number"] => cast("DOUBLE"),
            ["boolean"] => cast("BOOLEAN"),
            _ => Self::plain(name, "JSON"),
        }
    }
}

/// The SQL that makes the tables, and then takes away the means to touch anything but the lake.
pub(super) fn setup(catalog: &Catalog, lake: &Path) -> String {
    let mut sql = String::new();
    for definition in catalog.iter() {
        let name = definition.event_type().as_str();
        sql += &table(lake, name, name, "read_json", &columns_of(definition));
    }
    let rejected = [
        ("claimed_type", "VARCHAR"),
        ("errors", "JSON"),
        ("body", "VARCHAR"),
        ("body_base64", "VARCHAR"),
        ("truncated", "BOOLEAN"),
    ];
    let rejected: Vec<Column> =
        stamped().into_iter().chain(rejected.map(|(name, read_as)| Column::plain(name, read_as))).collect();
    sql += &table(lake, "rejected", "rejected", "read_json", &rejected);
    let whole = Column { name: "event".to_owned(), read_as: "JSON", shown_as: "json AS event".to_owned() };
    let event_type = Column {
        name: "event_type".to_owned(),
        read_as: "VARCHAR",
        shown_as: "json ->> 'event_type' AS event_type".to_owned(),
    };
    sql += &table(lake, "events", "*", "read_ndjson_objects", &[event_type, whole]);
    // What does not fit into memory, DuckDB would keep in a folder that it lets queries read, too: they have none.
    // It asks twice: for the pattern as it is written, and for the files that it finds.
    let _ = write!(
        sql,
        "SET temp_directory = ''; SET allowed_directories = [{}, {}]; SET enable_external_access = false; SET lock_configuration = true;",
        literal(&lake.display().to_string()),
        literal(&as_pattern(lake)),
    );
    sql
}

/// A folder in a pattern: its own path may hold what a pattern takes for more than itself.
fn as_pattern(folder: &Path) -> String {
    let literally = |c: char| if "[*?".contains(c) { format!("[{c}]") } else { c.into() };
    folder.display().to_string().chars().map(literally).collect()
}

fn stamped() -> Vec<Column> {
    ["event_id", "received_at", "occurred_at"]
        .map(|name| Column::plain(name, if name == "event_id" { "VARCHAR" } else { "BIGINT" }))
        .into()
}

fn columns_of(definition: &Definition) -> Vec<Column> {
    let properties = definition.schema().get("properties").and_then(Value::as_object);
    let own = properties.into_iter().flatten();
    stamped().into_iter().chain(own.map(|(name, schema)| Column::of_schema(name, schema))).collect()
}

/// A view over the files of one type's folders (or of all, for `*`).
fn table(lake: &Path, view: &str, folder: &str, reader: &str, columns: &[Column]) -> String {
    const PARTITION: &str = "username, year, month, day, hour";
    let shown: Vec<&str> = columns.iter().map(|column| column.shown_as.as_str()).collect();
    let shown = shown.join(", ");
    if !has_files(lake, folder) {
        // DuckDB refuses a pattern that no file has; the table is there all the same, with the same columns.
        let nothing =
            columns.iter().map(|column| format!("NULL::{} AS {}", column.read_as, quoted(&column.name)));
        let nothing: Vec<String> = nothing.chain(["NULL::JSON AS json".to_owned()]).collect();
        return format!(
            "CREATE VIEW {} AS SELECT {shown}, NULL::VARCHAR AS username, NULL::BIGINT AS year, \
             NULL::BIGINT AS month, NULL::BIGINT AS day, NULL::BIGINT AS hour FROM (SELECT {}) WHERE false;\n",
            quoted(view),
            nothing.join(", "),
        );
    }
    let lake = as_pattern(lake);
    let files = format!("{lake}/username=*/{folder}/year=*/month=*/day=*/hour=*/*.json.gz");
    let read_as = columns.iter().map(|column| format!("{}: '{}'", literal(&column.name), column.read_as));
    let columns = match reader {
        "read_json" => format!(", columns = {{{}}}", read_as.collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    };
    format!(
        "CREATE VIEW {} AS SELECT {shown}, {PARTITION} FROM {reader}({}, format = 'newline_delimited', \
         compression = 'gzip'{columns}, hive_partitioning = true, hive_types = {{username: VARCHAR, \
         year: BIGINT, month: BIGINT, day: BIGINT, hour: BIGINT}});\n",
        quoted(view),
        literal(&files),
    )
}

/// Whether any user has a folder of the type; a folder is only made for a file in it.
fn has_files(lake: &Path, folder: &str) -> bool {
    let users = fs::read_dir(lake).into_iter().flatten().flatten();
    let has = |user: fs::DirEntry| if folder == "*" { true } else { user.path().join(folder).is_dir() };
    users.into_iter().any(has)
}

/// A name as SQL writes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
