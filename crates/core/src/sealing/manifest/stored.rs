//! The text of a manifest: JSON, in which days that have the same columns share them.
//!
//! There is a day for each day of years, and each has all types. With the columns in each of them, as the first form had it, a year
//! of four types took 2 MB, which each query reads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Generation, Manifest, Replaced, SealedColumn, SealedType};
use crate::{Day, EventType, Timestamp};

/// The form of the text that this version writes. It reads the first one, too.
const FORM: u32 = 2;

/// Why a text is not a manifest that this version can use.
#[derive(Debug, thiserror::Error)]
pub enum NotAManifest {
    /// The text is damaged.
    #[error("the manifest of sealed days cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    /// The text names columns that it does not have.
    #[error("the manifest of sealed days cannot be read: {day} has no columns for {event_type}")]
    NoColumns {
        /// The day.
        day: Day,
        /// The type.
        event_type: EventType,
    },
    /// A later version wrote it.
    #[error(
        "the manifest of sealed days was written by a later version of weir (form {0}, this one knows {FORM})"
    )]
    TooNew(u64),
}

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    weir_sealed: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredManifest {
    weir_sealed: u32,
    sealed_until: Day,
    /// The columns of types. A type of a day has the place of its own in this list.
    #[serde(default)]
    columns: Vec<Arc<[SealedColumn]>>,
    days: BTreeMap<Day, StoredGeneration>,
    replaced: Vec<Replaced>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removed: BTreeMap<EventType, Day>,
}

#[derive(Serialize, Deserialize)]
struct StoredGeneration {
    number: u64,
    sealed_at: Timestamp,
    objects: u64,
    json_expired: bool,
    json_left: bool,
    types: BTreeMap<EventType, StoredType>,
}

#[derive(Serialize, Deserialize)]
struct StoredType {
    line: String,
    columns: StoredColumns,
    files: Vec<String>,
    repeat_files: Vec<String>,
    rows: u64,
    repeats: u64,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredColumns {
    /// The place in the manifest's list.
    Shared(usize),
    /// The columns themselves: the first form.
    Own(Arc<[SealedColumn]>),
}

impl Manifest {
    /// Reads the text of a manifest.
    pub fn read(text: &[u8]) -> Result<Self, NotAManifest> {
        let Form { weir_sealed } = serde_json::from_slice(text)?;
        if weir_sealed > u64::from(FORM) {
            return Err(NotAManifest::TooNew(weir_sealed));
        }
        let StoredManifest { sealed_until, columns, days, replaced, removed, .. } =
            serde_json::from_slice(text)?;
        let mut shared: HashMap<Arc<[SealedColumn]>, Arc<[SealedColumn]>> = HashMap::new();
        let mut read = |day: Day, event_type: &EventType, stored: StoredColumns| match stored {
            StoredColumns::Shared(place) => {
                let no_columns = || NotAManifest::NoColumns { day, event_type: event_type.clone() };
                columns.get(place).cloned().ok_or_else(no_columns)
            }
            StoredColumns::Own(columns) => Ok(shared.entry(columns.clone()).or_insert(columns).clone()),
        };
        let mut found = BTreeMap::new();
        for (day, stored) in days {
            let mut types = BTreeMap::new();
            for (event_type, of_type) in stored.types {
                let StoredType { line, columns, files, repeat_files, rows, repeats, bytes } = of_type;
                let columns = read(day, &event_type, columns)?;
                types.insert(
                    event_type,
                    SealedType { line, columns, files, repeat_files, rows, repeats, bytes },
                );
            }
            let StoredGeneration { number, sealed_at, objects, json_expired, json_left, .. } = stored;
            found.insert(day, Generation { number, sealed_at, objects, json_expired, json_left, types });
        }
        Ok(Self { sealed_until, days: found, replaced, removed })
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let (mut columns, mut places) = (Vec::new(), HashMap::new());
        let mut place = |of: &Arc<[SealedColumn]>| {
            *places.entry(of.clone()).or_insert_with(|| {
                columns.push(of.clone());
                columns.len() - 1
            })
        };
        let mut days = BTreeMap::new();
        for (day, generation) in &self.days {
            let stored = |of: &SealedType, columns| StoredType {
                line: of.line.clone(),
                columns: StoredColumns::Shared(columns),
                files: of.files.clone(),
                repeat_files: of.repeat_files.clone(),
                rows: of.rows,
                repeats: of.repeats,
                bytes: of.bytes,
            };
            let types = generation.types.iter();
            let types = types.map(|(event_type, of)| (event_type.clone(), stored(of, place(&of.columns))));
            let &Generation { number, sealed_at, objects, json_expired, json_left, .. } = generation;
            let types = types.collect();
            days.insert(
                *day,
                StoredGeneration { number, sealed_at, objects, json_expired, json_left, types },
            );
        }
        let stored = StoredManifest {
            weir_sealed: FORM,
            sealed_until: self.sealed_until,
            columns,
            days,
            replaced: self.replaced.clone(),
            removed: self.removed.clone(),
        };
        serde_json::to_vec(&stored).expect("plain data with texts as keys serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> SealedColumn {
        SealedColumn { name: name.to_owned(), expression: format!("\"{name}\" from VARCHAR") }
    }

    fn of_type(columns: &[&str]) -> SealedType {
        SealedType {
            line: "weir_line".to_owned(),
            columns: columns.iter().map(|name| column(name)).collect(),
            files: vec!["2026-11-20/1/click/data_0.parquet".to_owned()],
            repeat_files: Vec::new(),
            rows: 3,
            repeats: 0,
            bytes: 9,
        }
    }

    /// Two types on many days; the columns of one change on the way.
    fn manifest() -> Manifest {
        let mut manifest = Manifest::default();
        let mut day: Day = "2026-01-01".parse().unwrap();
        for number in 0..200 {
            let click = of_type(if number < 100 { &["a", "b"] } else { &["a", "b", "c"] });
            let types = [("click", click), ("view", of_type(&["url"]))];
            let types = types.into_iter().map(|(name, of)| (name.parse().unwrap(), of)).collect();
            let sealed_at = Timestamp::saturating(7);
            let (json_expired, json_left) = (number < 50, number >= 50);
            let generation = Generation { number: 1, sealed_at, objects: 2, json_expired, json_left, types };
            manifest.days.insert(day, generation);
            day = day.next();
        }
        manifest.sealed_until = day;
        manifest
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_days_share_their_columns() {
        let manifest = manifest();
        let text = manifest.text();
        let read = Manifest::read(&text).unwrap();
        assert_eq!(read, manifest);
        assert_eq!(String::from_utf8(text).unwrap().matches("from VARCHAR").count(), 2 + 3 + 1);
        let of_click = |day: &str| {
            let generation = &read.days[&day.parse().unwrap()];
            generation.types[&"click".parse().unwrap()].columns.clone()
        };
        assert!(Arc::ptr_eq(&of_click("2026-01-01"), &of_click("2026-01-02")));
    }

    #[test]
    fn the_first_form_is_read_which_had_the_columns_in_each_day() {
        let text = br#"{"weir_sealed": 1, "sealed_until": "2026-01-03", "replaced": [], "days": {
            "2026-01-01": {"number": 4, "sealed_at": 7, "objects": 2, "json_expired": false, "json_left": true, "types": {
                "click": {"line": "weir_line", "columns": [{"name": "a", "expression": "\"a\" from VARCHAR"}], "files": ["f"],
                    "repeat_files": [], "rows": 3, "repeats": 0, "bytes": 9}}},
            "2026-01-02": {"number": 1, "sealed_at": 7, "objects": 0, "json_expired": false, "json_left": false, "types": {}}}}"#;
        let read = Manifest::read(text).unwrap();
        let click = &read.days[&"2026-01-01".parse().unwrap()].types[&"click".parse().unwrap()];
        assert_eq!((&click.columns[..], click.rows), (&[column("a")][..], 3));
        assert_eq!(Manifest::read(&read.text()).unwrap(), read);
    }

    #[test]
    fn a_text_of_a_later_form_a_damaged_one_and_one_without_its_columns_are_refused() {
        let later = Manifest::read(br#"{"weir_sealed": 3, "unknown": []}"#).unwrap_err();
        assert!(matches!(later, NotAManifest::TooNew(3)), "{later}");
        for damaged in ["", "{", "[]", r#"{"weir_sealed": 2}"#, r#"{"weir_sealed": "1"}"#] {
            let error = Manifest::read(damaged.as_bytes()).unwrap_err();
            assert!(matches!(error, NotAManifest::Damaged(_)), "{damaged}: {error}");
        }
        let text = String::from_utf8(manifest().text()).unwrap();
        let error = Manifest::read(text.replace("\"columns\":2", "\"columns\":9").as_bytes()).unwrap_err();
        assert!(matches!(error, NotAManifest::NoColumns { .. }), "{error}");
    }
}
