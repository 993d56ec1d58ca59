//! Makes a view in Athena for each type, over the files of sealed days and the JSON objects of all other days.
//!
//! The text of a view has the watermark, the current generations and the late objects. So a view changes in one step, and at
//! every moment it has each of its events once. Views are made again when the watermark has moved. Until then they read
//! replaced generations, which stay for a day, and JSON. So views are made before replaced generations, JSON of sealed days or
//! events that are not kept any longer are removed.
//!
//! Tables over files are made here too. Files with other columns are in a table of another name, so no table ever changes.

use std::collections::BTreeSet;

use tokio::time::Instant;
use weir_aws::{S3SealedDays, athena::Athena};
use weir_core::{
    Catalog, Day, EventType, Partition,
    sealing::{Reads, SealedColumn, day_of},
    sql::{literal, quoted},
};

use crate::{
    columns::{Columns, LINE, digest, of_files, of_folders},
    error::RunError,
    sql::{JSON_LINES, KIND, PART, SEALED_LINES, shown},
    work::folder_of,
};

/// How often views are made again because objects came late meanwhile.
const TRIES: usize = 3;

/// Makes views, and the tables below them.
pub(crate) struct Views<'a> {
    pub(crate) days: &'a S3SealedDays,
    pub(crate) athena: &'a Athena,
    pub(crate) database: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) catalog: &'a Catalog,
    /// The most bytes of a view's text.
    pub(crate) longest: usize,
    pub(crate) ends: Instant,
}

impl Views<'_> {
    /// Makes the tables over lines, unless they exist.
    pub(crate) async fn make_tables(&self) -> Result<(), RunError> {
        let line = [(LINE.to_owned(), "string")];
        let by_kind = format!("${{{PART}}}/${{{KIND}}}");
        // A file in the table's folder lists the JSON objects that are read.
        let listed = "STORED AS INPUTFORMAT 'org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat' OUTPUTFORMAT \
                      'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'";
        for (name, stored) in [(JSON_LINES, listed), (SEALED_LINES, "STORED AS PARQUET")] {
            self.make(name, &self.table(name, &line, &[PART, KIND], stored, &by_kind)).await?;
        }
        Ok(())
    }

    /// Makes the views for the current manifest and notes. If one cannot be made, it goes on with the others; it returns the first
    /// error at the end.
    pub(crate) async fn make_views(&self) -> Result<(), RunError> {
        let mut made = Ok(());
        for _ in 0..TRIES {
            made = Ok(());
            let reads = Reads::now(self.days).await?;
            let known = self.catalog.iter().map(|definition| definition.event_type().clone());
            for event_type in known.chain([EventType::rejected()]) {
                let this = self.make_view(&reads, &event_type).await;
                made = made.and(this);
            }
            // An object that was put for a sealed day meanwhile may have been read by the view before, and must be in the
            // new one.
            if Reads::now(self.days).await?.late == reads.late {
                break;
            }
        }
        made
    }

    /// Makes the view of a type, and the tables below it.
    async fn make_view(&self, reads: &Reads, event_type: &EventType) -> Result<(), RunError> {
        let of_type = OfType::new(reads, event_type, self);
        for Group { columns, .. } in &of_type.sealed {
            let name = table_name(event_type, columns);
            let folder = format!("${{{PART}}}/{event_type}");
            let table = self.table(&name, &of_files(columns), &[PART], "STORED AS PARQUET", &folder);
            self.make(&name, &table).await?;
        }
        let (name, view) = (view_name(event_type), of_type.view());
        if view.len() > self.longest {
            let (bytes, late) = (view.len(), of_type.late.len());
            return Err(RunError::TooLong { name, bytes, most: self.longest, late });
        }
        self.make(&name, &view).await
    }

    async fn make(&self, name: &str, sql: &str) -> Result<(), RunError> {
        let made = self.athena.ask_until(sql, self.ends).await;
        made.map(drop).map_err(|error| RunError::View { name: name.to_owned(), error })
    }

    fn table(
        &self,
        name: &str,
        columns: &[(String, &'static str)],
        chosen_by: &[&str],
        stored: &str,
        folder: &str,
    ) -> String {
        let columns: Vec<String> =
            columns.iter().map(|(name, kind)| format!("{} {kind}", in_hive(name))).collect();
        let keys: Vec<String> = chosen_by.iter().map(|name| format!("{} string", in_hive(name))).collect();
        let injected: String =
            chosen_by.iter().map(|name| format!("'projection.{name}.type' = 'injected', ")).collect();
        let url = self.days.url();
        format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS {}.{} ({}) PARTITIONED BY ({}) {stored} LOCATION {} TBLPROPERTIES \
             ('projection.enabled' = 'true', {injected}'storage.location.template' = {})",
            in_hive(self.database),
            in_hive(name),
            columns.join(", "),
            keys.join(", "),
            literal(&url),
            literal(&format!("{url}{folder}/")),
        )
    }
}

/// Files of a type with the same columns, in one year. A query that names another year does not list them, and a query names
/// at most 366 folders for each group: Athena takes 1,000 values of an injected column.
/// (<https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>)
struct Group<'a> {
    columns: &'a [SealedColumn],
    year: u16,
    folders: Vec<&'a str>,
}

/// The parts of a type that are read at one moment.
struct OfType<'a> {
    views: &'a Views<'a>,
    event_type: &'a EventType,
    columns: Columns,
    /// The first day that is read from JSON.
    until: Day,
    sealed: Vec<Group<'a>>,
    /// The late objects.
    late: Vec<&'a str>,
}

impl<'a> OfType<'a> {
    fn new(reads: &'a Reads, event_type: &'a EventType, views: &'a Views<'a>) -> Self {
        let mut sealed: Vec<Group<'a>> = Vec::new();
        for (day, of, it) in reads.manifest.sealed() {
            let Some(folder) = folder_of(it).filter(|_| of == event_type && it.rows > 0) else { continue };
            let [year, ..] = day.first_hour().parts();
            match sealed.iter_mut().find(|group| group.year == year && group.columns == &it.columns[..]) {
                Some(group) => group.folders.push(folder),
                None => sealed.push(Group { columns: &it.columns, year, folders: vec![folder] }),
            }
        }
        let is_of_type = |path: &&str| Partition::type_of(path).as_ref() == Some(event_type);
        let late = reads.late.iter().map(String::as_str).filter(is_of_type).collect();
        let columns = Columns::of(event_type, views.catalog);
        // What retention removed is not read from JSON, even if its day is not sealed.
        let until = reads.manifest.sealed_until.max(reads.manifest.first_day(event_type));
        Self { views, event_type, columns, until, sealed, late }
    }

    fn view(&self) -> String {
        let sealed = self.sealed.iter().map(|group| self.of_sealed(group));
        let parts: Vec<String> = sealed.chain(self.of_json()).collect();
        format!(
            "CREATE OR REPLACE VIEW {}.{} AS {}",
            quoted(self.views.database),
            quoted(&view_name(self.event_type)),
            parts.join(" UNION ALL ")
        )
    }

    /// Returns the SELECT over files. A column that the files do not have in this form is computed from the stored line.
    fn of_sealed(&self, Group { columns, year, folders }: &Group<'_>) -> String {
        let shown = self.columns.0.iter();
        let shown: Vec<String> = shown
            .map(|column| if column.is_in(columns) { column.quoted() } else { column.of_line() })
            .chain([of_folders()])
            .collect();
        format!(
            "SELECT {} FROM {}.{} WHERE \"year\" = {year} AND {PART} IN ({})",
            shown.join(", "),
            quoted(self.views.database),
            quoted(&table_name(self.event_type, columns)),
            texts(folders.iter().copied())
        )
    }

    /// Returns the SELECTs over JSON: that of days that are not sealed, and that of late objects.
    fn of_json(&self) -> Vec<String> {
        let table = format!("{}.{}", quoted(self.views.database), quoted(self.event_type.as_str()));
        let select = format!("SELECT {} FROM {table}", shown(&self.columns));
        if self.until == Day::FIRST {
            return vec![select];
        }
        let [year, month, day, _] = self.until.first_hour().parts();
        let open = format!(
            "{select} WHERE \"year\" >= {year} AND (\"year\" > {year} OR \"month\" > {month} OR (\"month\" = {month} AND \
             \"day\" >= {day}))"
        );
        let days: BTreeSet<Day> = self.late.iter().filter_map(|path| day_of(path)).collect();
        let late = (!days.is_empty()).then(|| {
            // The dates limit which folders are listed, and the paths which of their objects are read.
            let parts = days.iter().map(|day| day.first_hour().parts());
            let [years, months, days] = [0, 1, 2].map(|n| numbers(parts.clone().map(|parts| parts[n])));
            let urls: Vec<String> =
                self.late.iter().map(|path| format!("s3://{}/{path}", self.views.bucket)).collect();
            format!(
                "{select} WHERE \"year\" IN ({years}) AND \"month\" IN ({months}) AND \"day\" IN ({days}) AND \"$path\" IN ({})",
                texts(urls.iter().map(String::as_str))
            )
        });
        [open].into_iter().chain(late).collect()
    }
}

fn numbers(numbers: impl Iterator<Item = u16>) -> String {
    let numbers: BTreeSet<u16> = numbers.collect();
    numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(literal).collect::<Vec<_>>().join(", ")
}

/// Returns the name of a type's view.
fn view_name(event_type: &EventType) -> String {
    format!("weir_{event_type}")
}

/// Returns the name of the table over files of a type with these columns.
fn table_name(event_type: &EventType, columns: &[SealedColumn]) -> String {
    format!("weir_sealed_{event_type}_{}", digest(columns))
}

/// Quotes a name for Hive's statements, which make tables.
fn in_hive(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
