//! The rows of sealed days, where events are forgotten: DuckDB prints the stored lines of a user's events, and writes a day's
//! files without some of them. It gets the numbers of rows, so that nothing of the events comes into a file.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    str,
};

use anyhow::{Context, Result, bail};
use weir_core::{
    EventType, Hour, Partition, Username,
    ports::PortError,
    sealing::{Generation, SealedRows, SealedType, ToWrite},
};
use weir_embedded::SealedFolder;

use super::work::{DuckDbWork, TypeToWrite, remove_folder};
use crate::query::tables;

/// The numbers of the rows that are left out, by file.
pub(super) type Left = BTreeMap<String, Vec<u64>>;

impl DuckDbWork {
    fn each_line_of(
        &self,
        generations: &[&Generation],
        username: &Username,
        take: &mut dyn FnMut(&Partition, &[u8]),
    ) -> Result<()> {
        // Files of one form have their lines under one name.
        let mut groups: BTreeMap<(&EventType, &str), Vec<String>> = BTreeMap::new();
        let sealed = self.seen_from_lake()?;
        for (event_type, of_type) in generations.iter().flat_map(|generation| &generation.types) {
            let files = of_type.files.iter().chain(&of_type.repeat_files);
            let group = groups.entry((event_type, &of_type.line)).or_default();
            group.extend(files.map(|file| format!("{sealed}/{file}")));
        }
        for ((event_type, line), files) in groups {
            let query = format!(
                "SELECT year, month, day, hour, {} FROM read_parquet({}, hive_partitioning = false) WHERE username = {};",
                tables::quoted(line),
                tables::list(&files),
                tables::literal(username.as_str())
            );
            self.each_row(&query, |[year, month, day, hour], line| {
                let hour =
                    Hour::of_date(year.try_into()?, month.try_into()?, day.try_into()?, hour.try_into()?);
                let hour = hour.context("a row of a sealed day has no hour")?;
                let (username, event_type) = (username.clone(), event_type.clone());
                take(&Partition { username, event_type, hour }, line);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Returns which rows of a type's files have lines that are gone.
    fn gone(
        &self,
        of: &SealedType,
        username: &Username,
        is_gone: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Left> {
        let sealed = self.seen_from_lake()?;
        let files: Vec<&String> = of.files.iter().chain(&of.repeat_files).collect();
        let selects: Vec<String> = files
            .iter()
            .enumerate()
            .map(|(n, file)| {
                format!(
                    "SELECT {n}, file_row_number, 0, 0, {} FROM read_parquet({}, hive_partitioning = false, \
                     file_row_number = true) WHERE username = {}",
                    tables::quoted(&of.line),
                    tables::literal(&format!("{sealed}/{file}")),
                    tables::literal(username.as_str())
                )
            })
            .collect();
        let mut left = Left::new();
        if selects.is_empty() {
            return Ok(left);
        }
        self.each_row(&format!("{};", selects.join("\nUNION ALL ")), |[file, row, ..], line| {
            let file = files.get(usize::try_from(file)?).context("DuckDB names another file")?;
            if is_gone(line) {
                left.entry((*file).clone()).or_default().push(row);
            }
            Ok(())
        })?;
        Ok(left)
    }

    fn generation_without(
        &self,
        to_write: &ToWrite<'_>,
        username: &Username,
        is_gone: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<BTreeMap<EventType, SealedType>>> {
        let ToWrite { day, number, before, covered, .. } = *to_write;
        let Some(before) = before else { return Ok(None) };
        let mut gone = BTreeMap::new();
        for (event_type, of_type) in &before.types {
            gone.insert(event_type, self.gone(of_type, username, is_gone)?);
        }
        if gone.values().all(Left::is_empty) {
            return Ok(None);
        }
        let folder = SealedFolder::generation(day, number);
        let path = self.sealed_path.join(&folder);
        // What one that died left there.
        remove_folder(&path)?;
        std::fs::create_dir_all(&path)?;
        let to_write: Vec<TypeToWrite<'_>> = gone
            .into_iter()
            .map(|(event_type, left)| TypeToWrite {
                event_type: event_type.clone(),
                before: before.types.get(event_type),
                objects: Vec::new(),
                left,
            })
            .collect();
        let written = self.types((day, number), &to_write)?;
        let mut types = BTreeMap::new();
        for (TypeToWrite { event_type, before, left, .. }, (sealed, _)) in to_write.into_iter().zip(written) {
            let had = before.map_or(0, |before| before.rows + before.repeats);
            let left: usize = left.values().map(Vec::len).sum();
            if sealed.rows + sealed.repeats + left as u64 != had {
                bail!("{event_type} of {day}: DuckDB left out other rows than it was asked to");
            }
            if sealed.rows + sealed.repeats > 0 {
                types.insert(event_type, sealed);
            }
        }
        self.sealed.finish(day, number, covered)?;
        Ok(Some(types))
    }

    /// Calls `take` with the four numbers at the beginning of each row, and with the stored line at its end.
    fn each_row(&self, query: &str, mut take: impl FnMut([u64; 4], &[u8]) -> Result<()>) -> Result<()> {
        self.ask_for(query, |stdout| {
            let mut rows = BufReader::with_capacity(1 << 20, stdout);
            let mut row = Vec::new();
            while rows.read_until(b'\n', &mut row).context("DuckDB's answer cannot be read")? > 0 {
                let whole = row.strip_suffix(b"\n").unwrap_or(&row);
                let mut parts = whole.splitn(5, |byte| *byte == b'\t');
                let mut found = [0; 4];
                for number in &mut found {
                    let text = parts.next().context("DuckDB's answer is too short")?;
                    *number = str::from_utf8(text)?.parse().context("DuckDB's answer is not understood")?;
                }
                take(found, parts.next().context("DuckDB's answer is too short")?)?;
                row.clear();
            }
            Ok(())
        })
    }
}

impl SealedRows for DuckDbWork {
    fn each(
        &self,
        generations: &[&Generation],
        username: &Username,
        take: &mut dyn FnMut(&Partition, &[u8]),
    ) -> Result<(), PortError> {
        let read = self.each_line_of(generations, username, take);
        read.map_err(|error| PortError::broken("reading sealed days", format!("{error:#}")))
    }

    fn write_without(
        &self,
        to_write: ToWrite<'_>,
        username: &Username,
        is_gone: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<BTreeMap<EventType, SealedType>>, PortError> {
        let written = self.generation_without(&to_write, username, is_gone);
        written.map_err(|error| PortError::broken("writing a sealed day", format!("{error:#}")))
    }
}
