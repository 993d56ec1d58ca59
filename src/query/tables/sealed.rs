//! The Parquet of sealed days in a query: its files in groups with the same columns.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::{Component, Path},
    sync::Arc,
};

use weir_core::{
    Day, EventType,
    sealing::{Manifest, SealedColumn},
};

use super::{
    Lake,
    columns::{Column, Table, names, structure},
    list, literal, quoted,
};

/// Files of one type with the same columns.
pub(super) struct Group<'a> {
    line: &'a str,
    columns: &'a Arc<[SealedColumn]>,
    files: Vec<&'a str>,
}

/// Returns the files of each type that has any.
pub(super) fn groups(manifest: &Manifest) -> BTreeMap<EventType, Vec<Group<'_>>> {
    let mut found: BTreeMap<EventType, Vec<Group<'_>>> = BTreeMap::new();
    for (_, event_type, sealed) in manifest.sealed().filter(|(.., sealed)| sealed.rows > 0) {
        let groups = found.entry(event_type.clone()).or_default();
        let files = sealed.files.iter().map(String::as_str);
        let same = |group: &&mut Group<'_>| group.line == sealed.line && group.columns == &sealed.columns;
        match groups.iter_mut().find(same) {
            Some(group) => group.files.extend(files),
            None => {
                groups.push(Group { line: &sealed.line, columns: &sealed.columns, files: files.collect() });
            }
        }
    }
    found
}

impl Group<'_> {
    /// Returns the SELECT of a table. A column that the files have otherwise, or not at all, is taken out of the stored line.
    pub(super) fn select(&self, table: &Table, of: &Lake) -> String {
        if !table.has_fields {
            return format!(
                "SELECT {}, {} FROM (SELECT CAST({} AS JSON) AS json, {} FROM {})",
                table.shown(),
                names(),
                quoted(self.line),
                names(),
                self.from(of)
            );
        }
        let has = |column: &Column| {
            self.columns.iter().any(|own| own.name == column.name && own.expression == column.expression())
        };
        let read = table.columns.iter().map(|column| {
            if has(column) {
                return quoted(&column.name);
            }
            let line = format!("json_transform({}, {})", quoted(self.line), structure([column]));
            format!("struct_extract({line}, {}) AS {}", literal(&column.name), quoted(&column.name))
        });
        let read: Vec<String> = read.collect();
        let shown = table.columns.iter();
        let shown =
            shown.map(|column| if has(column) { quoted(&column.name) } else { column.shown_as.clone() });
        format!(
            "SELECT {}, {} FROM (SELECT {}, {} FROM {})",
            shown.collect::<Vec<_>>().join(", "),
            names(),
            read.join(", "),
            names(),
            self.from(of)
        )
    }

    /// Returns the SELECT of the table of all events.
    pub(super) fn select_whole(&self, event_type: &EventType, of: &Lake) -> String {
        format!(
            "SELECT {} AS event_type, CAST({} AS JSON) AS event, {} FROM {}",
            literal(event_type.as_str()),
            quoted(self.line),
            names(),
            self.from(of)
        )
    }

    fn from(&self, of: &Lake) -> String {
        let files: Vec<String> = self.files.iter().map(|file| format!("{}/{file}", of.sealed)).collect();
        let rows = format!("read_parquet({}, hive_partitioning = false)", list(&files));
        match &of.only {
            Some(user) => format!("(SELECT * FROM {rows} WHERE username = {})", literal(user.as_str())),
            None => rows,
        }
    }
}

/// Returns the path of the folder of sealed days as it is seen from the lake's folder. The lake can be a link to another disk.
pub(crate) fn seen_from(lake: &Path, sealed: &Path) -> io::Result<String> {
    let (lake, sealed) = match sealed.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok("../sealed".to_owned()),
        sealed => (lake.canonicalize()?, sealed?),
    };
    let common = lake.components().zip(sealed.components()).take_while(|(one, other)| one == other).count();
    let up = lake.components().skip(common).map(|_| Component::ParentDir);
    let path: std::path::PathBuf = up.chain(sealed.components().skip(common)).collect();
    path.into_os_string()
        .into_string()
        .map_err(|_| io::Error::new(ErrorKind::InvalidInput, format!("{} is not UTF-8", sealed.display())))
}

/// Returns the sealed day whose file DuckDB's message names.
pub(crate) fn sealed_day_in(message: &[u8]) -> Option<Day> {
    let message = String::from_utf8_lossy(message);
    message.split("sealed/").skip(1).find_map(|rest| rest.split('/').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_names_a_file_of_a_sealed_day_has_its_day() {
        let of = |message: &str| sealed_day_in(message.as_bytes()).map(|day| day.to_string());
        let missing =
            "IO Error: Cannot open file \"../sealed/2026-11-20/1/click/data_0.parquet\": No such file";
        assert_eq!(of(missing).as_deref(), Some("2026-11-20"));
        assert_eq!(of("a sealed/box, and a file ../../sealed/2026-01-02/3/x").as_deref(), Some("2026-01-02"));
        assert_eq!(of("Binder Error: sealed/manifest.json"), None);
    }
}
