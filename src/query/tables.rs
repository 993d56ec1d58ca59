//! The tables that a query sees: views over the lake's JSON and the Parquet of sealed days.
//!
//! DuckDB runs in the lake's folder and addresses its files by relative paths. So the columns `username` to `hour` come
//! only from the lake's own folders, and no character of the path before them acts as a glob pattern.
//!
//! - `columns`: a type's columns, and how each is read from a stored line;
//! - `files`: the files of JSON that are read; `sealed`: those of Parquet.

mod columns;
mod files;
mod sealed;

use std::{collections::BTreeSet, io, path::Path};

use anyhow::{Context, Result};
use weir_core::{Catalog, EventType, Format, Username, sealing::Reads};

use columns::PARTITION;
pub(crate) use columns::{Table, names, structure};
pub(crate) use sealed::{sealed_day_in, seen_from};
pub(crate) use weir_core::sql::{literal, quoted};

/// The table of all events.
const EVENTS: &str = "events";

/// The lake at one moment: its files, and what is read of them.
pub(crate) struct Lake {
    /// The sealed days and the late objects.
    pub(crate) reads: Reads,
    /// The path of the folder of sealed days, as DuckDB sees it from the lake's folder.
    pub(crate) sealed: String,
    /// The only user whose rows are read; `None` for all users.
    pub(crate) only: Option<Username>,
}

impl Lake {
    /// Decides what is read of a data folder's lake from now on.
    pub(crate) async fn now(data: &Path, lake: &Path) -> Result<Self> {
        let folder = weir_embedded::SealedFolder::of(data);
        let reads = folder.reads().await?;
        Ok(Self {
            reads,
            sealed: seen_from(lake, folder.path()).context("cannot read the sealed days")?,
            only: None,
        })
    }
}

/// Returns the SQL that creates the tables that are wanted by their names, and then removes access to everything but the lake. It
/// runs in the lake's folder.
pub(crate) fn setup(
    catalog: &Catalog,
    lake: &Path,
    of: &Lake,
    is_wanted: IsWanted<'_>,
) -> io::Result<String> {
    let mut sql: String = views(catalog, lake, of, is_wanted)?.into_iter().map(|(_, sql)| sql).collect();
    let has_sealed = !sealed::groups(&of.reads.manifest).is_empty();
    let sealed = if has_sealed { format!(", {}", literal(&of.sealed)) } else { String::new() };
    // DuckDB would spill to a folder that queries may read, so there is no such folder.
    sql += &format!(
        "SET temp_directory = ''; SET allowed_directories = ['.'{sealed}]; SET enable_external_access = false; \
         SET lock_configuration = true;"
    );
    Ok(sql)
}

/// Tells by its name whether a table is wanted.
pub(crate) type IsWanted<'a> = &'a dyn Fn(&str) -> bool;

/// Returns the tables that are wanted: the name of each, and the SQL of its view. Folders of no other type are looked into.
pub(crate) fn views(
    catalog: &Catalog,
    lake: &Path,
    of: &Lake,
    is_wanted: IsWanted<'_>,
) -> io::Result<Vec<(String, String)>> {
    let all_are_wanted = is_wanted(EVENTS);
    let json = files::of_types(lake, of, &|name| all_are_wanted || is_wanted(name))?;
    let groups = sealed::groups(&of.reads.manifest);
    let mut views = Vec::new();
    let known =
        catalog.iter().map(|definition| definition.event_type().clone()).chain([EventType::rejected()]);
    let known: Vec<EventType> = known.collect();
    // Types missing from the catalog: their fields are unknown, so each event is exposed as a whole.
    let unknown = json.keys().cloned().chain(groups.keys().map(ToString::to_string));
    let unknown = unknown.filter(|name| !known.iter().any(|known| known.as_str() == name));
    let unknown: BTreeSet<String> = unknown.collect();
    let unknown = unknown.iter().filter_map(|name| name.parse().ok());
    for event_type in known.iter().cloned().chain(unknown).filter(|event_type| is_wanted(event_type.as_str()))
    {
        let table = Table::of(&event_type, catalog);
        let mut parts = Vec::new();
        if let Some(files) = json.get(event_type.as_str()) {
            parts.push(from_json(&table, files));
        }
        let sealed = groups.get(&event_type).into_iter().flatten();
        parts.extend(sealed.map(|group| group.select(&table, of)));
        views.push((event_type.to_string(), view(event_type.as_str(), &table, parts)));
    }
    if !all_are_wanted {
        return Ok(views);
    }
    let whole = Table::whole();
    let mut parts = Vec::new();
    if !json.is_empty() {
        let files = files::of_all(&json, of);
        parts.push(from_json(&whole, &files));
    }
    for (event_type, groups) in &groups {
        parts.extend(groups.iter().map(|group| group.select_whole(event_type, of)));
    }
    views.push((EVENTS.to_owned(), view(EVENTS, &whole, parts)));
    Ok(views)
}

/// Returns the SQL of a view over its parts. DuckDB refuses a glob without a match; a table without files exists all the same,
/// with the same columns.
fn view(name: &str, table: &Table, parts: Vec<String>) -> String {
    let parts = if parts.is_empty() { vec![nothing(table)] } else { parts };
    format!(
        "CREATE VIEW {} AS SELECT {}, {} FROM ({});\n",
        quoted(name),
        table.with_dates(),
        names(),
        parts.join("\nUNION ALL ")
    )
}

fn nothing(table: &Table) -> String {
    let columns = table.columns.iter();
    let nothing = columns.map(|column| format!("NULL::{} AS {}", column.read_as, quoted(&column.name)));
    let nothing: Vec<String> = nothing.chain(["NULL::JSON AS json".to_owned()]).collect();
    format!(
        "SELECT {}, {} FROM (SELECT {}) WHERE false",
        table.shown(),
        PARTITION.map(|(column, read_as)| format!("NULL::{read_as} AS {column}")).join(", "),
        nothing.join(", "),
    )
}

/// Returns the SELECT over files of JSON.
fn from_json(table: &Table, files: &[String]) -> String {
    let columns = if table.has_fields {
        let read_as = table.columns.iter();
        let read_as = read_as.map(|column| format!("{}: '{}'", literal(&column.name), column.read_as));
        format!(", columns = {{{}}}", read_as.collect::<Vec<_>>().join(", "))
    } else {
        String::new()
    };
    let reader = if table.has_fields { "read_json" } else { "read_ndjson_objects" };
    format!(
        "SELECT {}, {} FROM {reader}({}, {}{columns}, {})",
        table.shown(),
        names(),
        list(files),
        read_as_format(Format::JsonGz),
        hive()
    )
}

/// Returns the options with which DuckDB's readers of JSON take the columns of the lake's folders.
pub(crate) fn hive() -> String {
    let types = PARTITION.map(|(column, read_as)| format!("{column}: {read_as}")).join(", ");
    format!("hive_partitioning = true, hive_types = {{{types}}}")
}

/// Returns the options with which DuckDB's readers of JSON read files of a format.
pub(crate) fn read_as_format(format: Format) -> &'static str {
    match format {
        Format::JsonGz => "format = 'newline_delimited', compression = 'gzip'",
    }
}

/// Returns an SQL list of texts; a single one stands alone.
pub(crate) fn list(texts: &[String]) -> String {
    match texts {
        [text] => literal(text),
        texts => format!("[{}]", texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ")),
    }
}
