//! The SQL by which DuckDB writes the files of a day, one type after the other.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use weir_core::{Format, Username};

use crate::query::tables::{Table, hive, list, literal, names, quoted, read_as_format, structure};

/// A new file begins at this size.
const FILE_BYTES: &str = "256MB";

/// A file of the generation before, and one with the numbers of its rows to leave out.
pub(super) type FileBefore = (String, Option<String>);

/// The resources that DuckDB may use.
pub(super) struct Limits<'a> {
    /// In bytes.
    pub(super) memory: u64,
    /// The folder for data that does not fit into the memory.
    pub(super) temporary: &'a str,
    pub(super) threads: usize,
}

impl Limits<'_> {
    /// Returns the statements that set these limits.
    pub(super) fn script(&self) -> String {
        let Self { memory, temporary, threads } = self;
        let temporary = literal(temporary);
        format!(
            "SET memory_limit = '{memory}B'; SET temp_directory = {temporary}; SET threads = {threads};\n"
        )
    }
}

/// The files and objects of one type that are read and written. All paths are as DuckDB sees them from the lake's folder.
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
}

impl Statement<'_> {
    /// Returns the script. It prints what [`Printed`] reads, and leaves nothing in DuckDB's memory.
    pub(super) fn script(&self) -> String {
        let Self { table, .. } = self;
        let [line, age, file] = ["weir_line", "weir_age", "weir_file"].map(|name| quoted(&table.free(name)));
        let columns = self.columns();
        let made = made();
        format!(
            "SELECT '{BEGUN}';\n\
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
             SELECT '{READ}', username, count(*) FROM weir_events GROUP BY ALL ORDER BY ALL;\n\
             SELECT '{ROWS}', count(*) FROM read_parquet({of_events});\n\
             SELECT '{REPEATS}', count(*) FROM read_parquet({of_repeats});\n\
             DROP TABLE weir_events; DROP TABLE weir_repeated; DROP TABLE weir_repeats;\n",
            source = self.source(&line, &age, &file),
            shown = table.shown(),
            partition = names(),
            structure = structure(&table.columns),
            made_of_e = made.replace("event_id", "e.event_id").replace("received_at", "e.received_at"),
            events = literal(self.events),
            repeats = literal(self.repeats),
            of_events = literal(&format!("{}/*.parquet", self.events)),
            of_repeats = literal(&format!("{}/*.parquet", self.repeats)),
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

/// The first words of the lines that a script prints.
const BEGUN: &str = "type";
const READ: &str = "read";
const ROWS: &str = "rows";
const REPEATS: &str = "repeats";

/// The output of one type's script.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Printed {
    /// The number of events of each user that were read.
    pub(super) read: BTreeMap<Username, u64>,
    /// The number of rows in the files of events, and in those of repeats, counted in the files.
    pub(super) rows: Option<u64>,
    pub(super) repeats: Option<u64>,
}

impl Printed {
    /// Returns how many types were begun. After an error, the last of them is the one that failed.
    pub(super) fn begun(output: &str) -> usize {
        output.lines().filter(|line| *line == BEGUN).count()
    }

    /// Reads what the scripts of several types printed, in their order.
    pub(super) fn read(output: &str) -> Result<Vec<Self>> {
        let mut types: Vec<Self> = Vec::new();
        for line in output.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            match (&words[..], types.last_mut()) {
                (&[BEGUN], _) => types.push(Self::default()),
                (&[READ, user, events], Some(of)) => {
                    of.read.insert(user.parse()?, events.parse()?);
                }
                (&[ROWS, rows], Some(of)) => of.rows = Some(rows.parse()?),
                (&[REPEATS, rows], Some(of)) => of.repeats = Some(rows.parse()?),
                _ => bail!("DuckDB's answer is not understood"),
            }
        }
        Ok(types)
    }
}

/// Returns the condition that Weir made an event's id: it is another event than one to which a client gave that id, as
/// `weir_core::repeats` says.
fn made() -> String {
    "coalesce(regexp_full_match(event_id, '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}') \
     AND concat(substr(event_id, 1, 8), substr(event_id, 10, 4)) = printf('%012x', received_at), false)"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_what_its_script_printed_and_the_last_one_may_have_failed() {
        let printed = "type\nread\tada\t2\nread\tben\t3\nrows\t4\nrepeats\t1\ntype\nread\tada\t7\n";
        let types = Printed::read(printed).unwrap();
        let read = |users: &[(&str, u64)]| {
            users.iter().map(|(user, events)| (user.parse().unwrap(), *events)).collect()
        };
        let first = Printed { read: read(&[("ada", 2), ("ben", 3)]), rows: Some(4), repeats: Some(1) };
        // The output of a process that was killed can end anywhere.
        assert_eq!(Printed::begun(&printed[..printed.len() - 3]), 2);
        assert_eq!(types, [first, Printed { read: read(&[("ada", 7)]), rows: None, repeats: None }]);
    }

    #[test]
    fn other_lines_are_refused() {
        for printed in ["rows\t4\n", "type\nrows\tfour\n", "type\nread\tada\n", "type\nread\tA B\t1\n", "\n"]
        {
            assert!(Printed::read(printed).is_err(), "{printed:?}");
        }
    }
}
