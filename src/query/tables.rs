//! The tables that a query sees: views over the lake's files.
//!
//! DuckDB runs in the lake's folder and addresses its files by relative paths. So the columns `username` to `hour` come
//! only from the lake's own folders, and no character of the path before them acts as a glob pattern.

use std::{
    collections::BTreeSet,
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::Path,
};

use serde_json::{Value, json};
use weir_core::{Catalog, EventType, Format, Partition, catalog::Definition, event::BOT};

/// A column: its name, the type it is read as, and its expression.
struct Column {
    name: String,
    read_as: &'static str,
    shown_as: String,
}

impl Column {
    fn plain(name: &str, read_as: &'static str) -> Self {
        Self { name: name.to_owned(), read_as, shown_as: quoted(name) }
    }

    /// Returns a column that is computed from the whole event, `json`.
    fn of_whole(name: &str, read_as: &'static str, expression: &str) -> Self {
        Self { name: name.to_owned(), read_as, shown_as: format!("{expression} AS {}", quoted(name)) }
    }

    /// Returns a column from a type's schema. Numbers and booleans are read as JSON first: one that does not fit (JSON allows
    /// integers of any size) becomes null, instead of failing every query.
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

/// Returns the SQL that creates the tables, and then removes access to everything but the lake. It runs in the lake's
/// folder.
pub(crate) fn setup(catalog: &Catalog, lake: &Path) -> io::Result<String> {
    let filled = types_with_files(lake)?;
    let mut sql = String::new();
    for definition in catalog.iter() {
        let name = definition.event_type().as_str();
        sql += &table(name, name, filled.contains(name), "read_json", &columns_of(definition));
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
    sql += &table("rejected", "rejected", filled.contains("rejected"), "read_json", &rejected);
    // Types missing from the catalog: their fields are unknown, so each event is exposed as a whole.
    let known = |name: &str| name == "rejected" || catalog.iter().any(|d| d.event_type().as_str() == name);
    for name in filled.iter().filter(|name| !known(name)) {
        let columns = [
            Column::of_whole("event_id", "VARCHAR", "json ->> 'event_id'"),
            Column::of_whole(
                "time",
                "BIGINT",
                "COALESCE(TRY_CAST(json ->> 'time' AS BIGINT), TRY_CAST(json ->> 'received_at' AS BIGINT))",
            ),
            Column::of_whole("received_at", "BIGINT", "TRY_CAST(json ->> 'received_at' AS BIGINT)"),
            Column::of_whole("occurred_at", "BIGINT", "TRY_CAST(json ->> 'occurred_at' AS BIGINT)"),
            Column::of_whole("event", "JSON", "json"),
        ];
        sql += &table(name, name, true, "read_ndjson_objects", &columns);
    }
    let whole = [
        Column::of_whole("event_type", "VARCHAR", "json ->> 'event_type'"),
        Column::of_whole("event", "JSON", "json"),
    ];
    sql += &table("events", "*", !filled.is_empty(), "read_ndjson_objects", &whole);
    // DuckDB would spill to a folder that queries may read, so there is no such folder.
    sql += "SET temp_directory = ''; SET allowed_directories = ['.']; SET enable_external_access = false; \
            SET lock_configuration = true;";
    Ok(sql)
}

/// Returns the stamped columns. The time of events that were stored before `time` was stamped is `received_at`; a `time` in them
/// can be anything, as the client wrote it.
fn stamped() -> Vec<Column> {
    let time = "COALESCE(TRY_CAST(CAST(\"time\" AS VARCHAR) AS BIGINT), received_at) AS \"time\"";
    vec![
        Column::plain("event_id", "VARCHAR"),
        Column { name: "time".to_owned(), read_as: "JSON", shown_as: time.to_owned() },
        Column::plain("received_at", "BIGINT"),
        Column::plain("occurred_at", "BIGINT"),
    ]
}

fn columns_of(definition: &Definition) -> Vec<Column> {
    let own = definition.fields().map(|(name, schema)| Column::of_schema(name, schema));
    stamped().into_iter().chain(mark(definition)).chain(own).collect()
}

/// Returns the column of the mark of bots' events, unless the type has a field of this name. In events without the mark a field
/// that the type does not name can have it, with any value.
fn mark(definition: &Definition) -> Option<Column> {
    let is_free = definition.fields().all(|(name, _)| !name.eq_ignore_ascii_case(BOT));
    is_free.then(|| Column::of_schema(BOT, &json!({"type": "boolean"})))
}

/// Returns the SQL of a view over the files of one type's folders (or of all, for `*`).
fn table(view: &str, folder: &str, has_files: bool, reader: &str, columns: &[Column]) -> String {
    let partition =
        Partition::COLUMNS.map(|column| (column, if column == "username" { "VARCHAR" } else { "BIGINT" }));
    let shown: Vec<&str> = columns.iter().map(|column| column.shown_as.as_str()).collect();
    let shown = shown.join(", ");
    if !has_files {
        // DuckDB refuses a glob without a match; the empty table exists all the same, with the same columns.
        let nothing =
            columns.iter().map(|column| format!("NULL::{} AS {}", column.read_as, quoted(&column.name)));
        let nothing: Vec<String> = nothing.chain(["NULL::JSON AS json".to_owned()]).collect();
        return format!(
            "CREATE VIEW {} AS SELECT {shown}, {} FROM (SELECT {}) WHERE false;\n",
            quoted(view),
            partition.map(|(column, read_as)| format!("NULL::{read_as} AS {column}")).join(", "),
            nothing.join(", "),
        );
    }
    let files = Partition::pattern(folder, Format::JsonGz);
    let read_as = columns.iter().map(|column| format!("{}: '{}'", literal(&column.name), column.read_as));
    let columns = match reader {
        "read_json" => format!(", columns = {{{}}}", read_as.collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    };
    format!(
        "CREATE VIEW {} AS SELECT {shown}, {} FROM {reader}({}, {}{columns}, hive_partitioning = true, \
         hive_types = {{{}}});\n",
        quoted(view),
        Partition::COLUMNS.join(", "),
        literal(&files),
        read_as_format(Format::JsonGz),
        partition.map(|(column, read_as)| format!("{column}: {read_as}")).join(", "),
    )
}

/// Returns the options with which DuckDB's readers of JSON read files of a format.
fn read_as_format(format: Format) -> &'static str {
    match format {
        Format::JsonGz => "format = 'newline_delimited', compression = 'gzip'",
    }
}

/// Returns the types of which any user has a file. A folder alone does not count: it may have been emptied.
fn types_with_files(lake: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for user in entries(lake)?.iter().filter(|user| has_prefix(user, Partition::PREFIX)) {
        for folder in entries(&user.path())? {
            // Weir creates no other folder there; a stray one by another hand is skipped.
            let name = folder.file_name().into_string().ok().filter(|name| name.parse::<EventType>().is_ok());
            if let Some(name) = name.filter(|name| !found.contains(name))
                && has_a_file(&folder.path(), &Partition::HOUR_FOLDERS)?
            {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

/// Returns whether there is an event file so many folders below.
fn has_a_file(folder: &Path, below: &[&str]) -> io::Result<bool> {
    let entries = entries(folder)?;
    let Some((prefix, below)) = below.split_first() else {
        return Ok(entries.iter().any(|file| Format::of_file(&file.file_name().to_string_lossy()).is_some()));
    };
    for entry in entries.iter().filter(|entry| has_prefix(entry, prefix)) {
        if has_a_file(&entry.path(), below)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_prefix(entry: &DirEntry, prefix: &str) -> bool {
    entry.file_name().to_string_lossy().starts_with(prefix)
}

/// Lists a folder; empty if it is gone, or is a file. An unreadable folder is an error: its events would be missing
/// silently.
fn entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display()))),
        entries => entries,
    }
}

/// Quotes any name as an SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
/// Quotes a text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
