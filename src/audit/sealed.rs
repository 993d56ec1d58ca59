//! Recounts sealed days: DuckDB reads the stored lines of a user's type out of Parquet, repeats included, and they are counted
//! as an object's lines are.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use weir_core::{Day, EventType, Hour, Partition, RecordHead, Username, catalog::Definition, sealing::Reads};
use weir_embedded::SealedFolder;

use super::{
    hours::Hours,
    objects::{Fault, FaultKind, Lines, Recounted, count, value_of},
};
use crate::{
    query::{DuckDb, tables},
    stderr::Stderr,
};

/// The sealed days of the lake: those of a data folder, those on AWS, or none.
pub(super) struct Sealed {
    /// Recounted from Parquet.
    pub(super) folder: Option<Arc<SealedDays>>,
    /// Recounted from JSON, as long as it is there.
    pub(super) bucket: Option<Arc<dyn weir_core::sealing::SealedDays>>,
}

impl Sealed {
    pub(super) fn of(data: &Path) -> Result<Self> {
        Ok(Self { folder: Some(Arc::new(SealedDays::of(data)?)), bucket: None })
    }
}

/// The sealed days of a data folder.
pub(super) struct SealedDays {
    folder: SealedFolder,
    /// The folder of the lake, absolute.
    lake: PathBuf,
}

impl SealedDays {
    fn of(data: &Path) -> Result<Self> {
        let lake = std::path::absolute(data.join("lake")).context("the data folder has no path")?;
        Ok(Self { folder: SealedFolder::of(data), lake })
    }

    /// Decides what is read as JSON and what from Parquet.
    pub(super) async fn reads(&self) -> Result<Reads> {
        Ok(self.folder.reads().await?)
    }

    /// Recounts one user's type in the days that are read from Parquet.
    pub(super) fn recount(
        &self,
        reads: &Reads,
        username: &Username,
        event_type: &EventType,
        hours: Hours,
        definition: Option<&Definition>,
    ) -> Result<BTreeMap<Hour, Recounted>> {
        let mut found: BTreeMap<Hour, (Recounted, Lines, Lines)> = BTreeMap::new();
        // Files of one form have their lines under one name.
        let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let sealed = tables::seen_from(&self.lake, self.folder.path())?;
        let wanted = |day: Day| (0..24).any(|hour| hours.have(day.first_hour().plus(hour)));
        let of_type = reads.manifest.sealed().filter(|(day, its, _)| *its == event_type && wanted(*day));
        for (.., of_type) in of_type {
            let own = of_type.files.iter().chain(&of_type.repeat_files);
            files.entry(&of_type.line).or_default().extend(own.map(|file| format!("{sealed}/{file}")));
        }
        for (line, files) in files {
            let query = format!(
                "SELECT year, month, day, hour, {} FROM read_parquet({}, hive_partitioning = false) WHERE username = {}",
                tables::quoted(line),
                tables::list(&files),
                tables::literal(username.as_str())
            );
            self.each_line(&query, |place, line| {
                let Some(hour) = hour_of(place) else { return };
                if !hours.have(hour) {
                    return;
                }
                let (own, not_records, misplaced) = found.entry(hour).or_default();
                own.bytes += line.len() as u64;
                let partition =
                    Partition { username: username.clone(), event_type: event_type.clone(), hour };
                match RecordHead::read(line) {
                    Err(error) => not_records.add(own.events + 1, || error.to_string()),
                    Ok(head) if head.partition != partition => {
                        misplaced.add(own.events + 1, || format!("belongs into {}", head.partition));
                    }
                    Ok(head) => {
                        own.events += 1;
                        own.bots += u64::from(head.is_of_a_bot);
                        if let Some(key) = definition.and_then(|definition| definition.key_of_stored(line)) {
                            count(&mut own.keys, key);
                        }
                        own.latest.extend(definition.and_then(|definition| value_of(definition, line)));
                    }
                }
            })?;
        }
        let recounted = found.into_iter().map(|(hour, (mut own, not_records, misplaced))| {
            let lines = [(FaultKind::NotARecord, not_records), (FaultKind::WrongPartition, misplaced)];
            let faults: Vec<Fault> =
                lines.into_iter().filter_map(|(kind, lines)| lines.fault(kind)).collect();
            own.faults = faults;
            (hour, own)
        });
        Ok(recounted.collect())
    }

    /// Calls `take` with the place and the stored line of each row.
    fn each_line(&self, query: &str, mut take: impl FnMut(&str, &[u8])) -> Result<()> {
        let duckdb = DuckDb::find();
        let mut command = duckdb.command();
        command.current_dir(&self.lake).args(["-list", "-noheader", "-separator", "\t", "-c", query]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| duckdb.missing(error))?;
        let errors = child.stderr.take().map(Stderr::of);
        if let Some(stdout) = child.stdout.take() {
            let mut rows = BufReader::with_capacity(1 << 20, stdout);
            let mut row = Vec::new();
            while rows.read_until(b'\n', &mut row).context("DuckDB's answer cannot be read")? > 0 {
                let row_end = row.strip_suffix(b"\n").unwrap_or(&row);
                let tabs = memchr::memchr_iter(b'\t', row_end).nth(3);
                if let Some(end) = tabs
                    && let Ok(place) = std::str::from_utf8(&row_end[..end])
                {
                    take(place, &row_end[end + 1..]);
                }
                row.clear();
            }
        }
        let status = child.wait().context("DuckDB is gone")?;
        if !status.success() {
            let error = errors.map(Stderr::text).unwrap_or_default();
            bail!("sealed days cannot be read: {error}");
        }
        Ok(())
    }
}

/// Reads the hour of a row: year, month, day and hour between tabs.
fn hour_of(place: &str) -> Option<Hour> {
    let mut numbers = place.split('\t');
    let mut number = || numbers.next();
    let (year, month) = (number()?.parse().ok()?, number()?.parse().ok()?);
    Hour::of_date(year, month, number()?.parse().ok()?, number()?.parse().ok()?)
}
