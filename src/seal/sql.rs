//! The SQL by which DuckDB writes the files of one type and day.

use weir_core::Format;

use crate::query::tables::{Table, hive, list, literal, names, quoted, read_as_format, structure};

/// A new file begins at this size.
const FILE_BYTES: &str = "256MB";

/// A file of the generation before, and one with the numbers of its rows to leave out.
pub(super) type FileBefore = (String, Option<String>);

/// What is read and written. All paths are as DuckDB sees them from the lake's folder.
pub(super) struct Statement<'a> {
    pub(super) table: &'a Table,
    /// Objects of JSON.
    pub(super) objects: &'a [String],
    /// Files of the generation before, by the names of their columns with the stored line; each with a file that has the numbers of
    /// the rows to leave out.
    pub(super) before: Option<(&'a str, &'a [FileBefore])>,
    /// The folder for the files of the events, and the one for those of the repeats.
    pub(super) events: &'a str,
    pub(super) repeats: &'a str,
    pub(super) memory: u64,
    pub(super) temporary: &'a str,
    pub(super) threads: usize,
}

impl Statement<'_> {
    /// Returns the script. It prints a line for each user with the number of events that were read.
    pub(super) fn script(&self) -> String {
        let Self { table, memory, temporary, threads, .. } = self;
        let [line, age, file] = ["weir_line", "weir_age", "weir_file"].map(|name| quoted(&table.free(name)));
        let columns = self.columns();
        let made = made();
        let temporary = literal(temporary);
        format!(
            "SET memory_limit = '{memory}B'; SET temp_directory = {temporary}; SET threads = {threads};\n\
             CREATE TABLE weir_events AS SELECT {shown}, {partition}, {line}, {age}, {file} FROM \
             (SELECT unnest(json_transform({line}, {structure})), {partition}, {line}, {age}, {file} FROM ({source}));\n\
             CREATE TABLE weir_repeated AS WITH weir_ids AS (SELECT username, event_id FROM weir_events \
             WHERE event_id IS NOT NULL GROUP BY ALL HAVING count(*) > 1) SELECT username, event_id, {made} AS made \
             FROM weir_events SEMI JOIN weir_ids USING (username, event_id) GROUP BY ALL HAVING count(*) > 1;\n\
             CREATE TABLE weir_repeats AS SELECT weir_row FROM (SELECT e.rowid AS weir_row, row_number() OVER \
             (PARTITION BY e.username, e.event_id, r.made ORDER BY e.received_at, e.{age}, e.{file}, e.rowid) AS weir_nth \
             FROM weir_events AS e JOIN weir_repeated AS r ON e.username = r.username AND e.event_id = r.event_id \
             AND {made_of_e} = r.made) WHERE weir_nth > 1;\n\
             COPY (SELECT {columns} FROM weir_events AS e WHERE e.rowid NOT IN (SELECT weir_row FROM weir_repeats) \
             ORDER BY username, \"time\", event_id) TO {events} {format};\n\
             COPY (SELECT {columns} FROM weir_events AS e WHERE e.rowid IN (SELECT weir_row FROM weir_repeats) \
             ORDER BY username, \"time\", event_id) TO {repeats} {format};\n\
             SELECT username, count(*) FROM weir_events GROUP BY 1 ORDER BY 1;\n",
            source = self.source(&line, &age, &file),
            shown = table.shown(),
            partition = names(),
            structure = structure(&table.columns),
            made_of_e = made.replace("event_id", "e.event_id").replace("received_at", "e.received_at"),
            events = literal(self.events),
            repeats = literal(self.repeats),
            format = format_args!("(FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES '{FILE_BYTES}')"),
        )
    }

    /// Returns the columns of the files.
    fn columns(&self) -> String {
        let own = self.table.columns.iter().map(|column| quoted(&column.name));
        let line = quoted(&self.table.free("weir_line"));
        own.chain([names(), line]).collect::<Vec<_>>().join(", ")
    }

    /// Returns the SELECT of all lines. Of repeats, those that are in the generation before come first.
    fn source(&self, line: &str, age: &str, file: &str) -> String {
        let mut parts = Vec::new();
        if let Some((line_before, files)) = self.before.filter(|(_, files)| !files.is_empty()) {
            let select = |files: &str, condition: &str| {
                format!(
                    "SELECT {} AS {line}, {}, 0 AS {age}, '' AS {file} FROM read_parquet({files}, hive_partitioning = \
                     false{condition}",
                    quoted(line_before),
                    names(),
                )
            };
            let whole = files.iter().filter(|(_, without)| without.is_none()).map(|(file, _)| file.clone());
            let whole: Vec<String> = whole.collect();
            if !whole.is_empty() {
                parts.push(select(&list(&whole), ")"));
            }
            for (file, without) in files {
                let Some(without) = without else { continue };
                let numbers = format!(
                    ", file_row_number = true) WHERE file_row_number NOT IN (SELECT number FROM read_csv({}, header = \
                     false, columns = {{number: 'BIGINT'}}))",
                    literal(without)
                );
                parts.push(select(&literal(file), &numbers));
            }
        }
        if !self.objects.is_empty() {
            parts.push(format!(
                "SELECT CAST(json AS VARCHAR) AS {line}, {}, 1 AS {age}, filename AS {file} FROM \
                 read_ndjson_objects({}, {}, filename = true, {})",
                names(),
                list(self.objects),
                read_as_format(Format::JsonGz),
                hive()
            ));
        }
        parts.join("\nUNION ALL ")
    }
}

/// Returns the condition that Weir made an event's id: it is another event than one to which a client gave that id, as
/// `weir_core::repeats` says.
fn made() -> String {
    "coalesce(regexp_full_match(event_id, '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}') \
     AND concat(substr(event_id, 1, 8), substr(event_id, 10, 4)) = printf('%012x', received_at), false)"
        .to_owned()
}
