//! The files of JSON that a query reads: patterns of those of days that are not sealed, and late ones by their paths.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::Path,
};

use weir_core::{Day, EventType, Format, Hour, Partition, Username, sealing::Reads};

use super::{IsWanted, Lake};

/// Returns the files of each type that is read and of which there are any.
pub(super) fn of_types(
    lake: &Path,
    of: &Lake,
    is_read: IsWanted<'_>,
) -> io::Result<BTreeMap<String, Vec<String>>> {
    let (reads, only) = (&of.reads, of.only.as_ref());
    let mut files = BTreeMap::new();
    if reads_all(reads) {
        for name in types_with_files(lake, only, is_read)? {
            let pattern = of_user(only, &Partition::pattern(&name, Format::JsonGz));
            files.insert(name, vec![pattern]);
        }
        return Ok(files);
    }
    for (name, days) in days_with_files(lake, only, reads, is_read)? {
        let patterns =
            days.into_iter().map(|day| of_user(only, &Partition::pattern_of_day(&name, day, Format::JsonGz)));
        files.insert(name.clone(), patterns.collect());
    }
    // One that was noted may not be there yet, or never come.
    let is_wanted = |path: &&String| is_of(only, path.split('/').next().unwrap_or_default());
    for path in reads.late.iter().filter(is_wanted).filter(|path| lake.join(path).is_file()) {
        if let Some(event_type) = Partition::type_of(path).filter(|name| is_read(name.as_str())) {
            files.entry(event_type.to_string()).or_default().push(path.clone());
        }
    }
    Ok(files)
}

/// Returns the files of all types, of which there are some.
pub(super) fn of_all(of_types: &BTreeMap<String, Vec<String>>, of: &Lake) -> Vec<String> {
    if reads_all(&of.reads) {
        return vec![of_user(of.only.as_ref(), &Partition::pattern("*", Format::JsonGz))];
    }
    of_types.values().flatten().cloned().collect()
}

/// Returns whether all days of all types are read from JSON.
fn reads_all(reads: &Reads) -> bool {
    reads.manifest.sealed_until == Day::FIRST && reads.manifest.removed.is_empty()
}

/// Returns a pattern for the folder of one user, of whom no character acts as a pattern.
fn of_user(only: Option<&Username>, pattern: &str) -> String {
    match (only, pattern.split_once('/')) {
        (Some(user), Some((_, below))) => format!("{}{user}/{below}", Partition::PREFIX),
        _ => pattern.to_owned(),
    }
}

/// Returns whether a user's folder is read.
fn is_of(only: Option<&Username>, folder: &str) -> bool {
    only.is_none_or(|user| folder.strip_prefix(Partition::PREFIX) == Some(user.as_str()))
}

/// Returns the days that are read from JSON and of which a user who is read has a file of a type.
fn days_with_files(
    lake: &Path,
    only: Option<&Username>,
    reads: &Reads,
    is_read: IsWanted<'_>,
) -> io::Result<BTreeMap<String, BTreeSet<Day>>> {
    let mut found: BTreeMap<String, BTreeSet<Day>> = BTreeMap::new();
    let [in_year, in_month, in_day, in_hour] = Partition::HOUR_FOLDERS;
    each_type(lake, only, is_read, &mut |name, folder| {
        let removed = name.parse().map(|event_type| reads.manifest.first_day(&event_type));
        let first = reads.manifest.sealed_until.max(removed.unwrap_or(Day::FIRST));
        let [first_year, first_month, ..] = first.first_hour().parts();
        for (year, folder) in numbered(folder, in_year)?.into_iter().filter(|(year, _)| *year >= first_year) {
            for (month, folder) in numbered(&folder, in_month)? {
                if (year, month) < (first_year, first_month) {
                    continue;
                }
                for (day, folder) in numbered(&folder, in_day)? {
                    let (month, day) = (month.try_into().ok(), day.try_into().ok());
                    let hour = month.zip(day).and_then(|(month, day)| Hour::of_date(year, month, day, 0));
                    let Some(day) = hour.map(Day::of).filter(|day| *day >= first) else { continue };
                    let is_known = found.get(name).is_some_and(|days| days.contains(&day));
                    if !is_known && has_a_file(&folder, &[in_hour])? {
                        found.entry(name.to_owned()).or_default().insert(day);
                    }
                }
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns the types of which a user who is read has a file. A folder alone does not count: it may have been emptied.
fn types_with_files(
    lake: &Path,
    only: Option<&Username>,
    is_read: IsWanted<'_>,
) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    each_type(lake, only, is_read, &mut |name, folder| {
        if !found.contains(name) && has_a_file(folder, &Partition::HOUR_FOLDERS)? {
            found.insert(name.to_owned());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `take` with the name and the folder of the types that are read of each user who is read.
fn each_type(
    lake: &Path,
    only: Option<&Username>,
    is_read: IsWanted<'_>,
    take: &mut dyn FnMut(&str, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let users = entries(lake)?.into_iter().filter(|user| has_prefix(user, Partition::PREFIX));
    for user in users.filter(|user| is_of(only, &user.file_name().to_string_lossy())) {
        for folder in entries(&user.path())? {
            // Weir creates no other folder there; a stray one by another hand is skipped.
            let name = folder.file_name().into_string().ok();
            if let Some(name) = name.filter(|name| name.parse::<EventType>().is_ok() && is_read(name)) {
                take(&name, &folder.path())?;
            }
        }
    }
    Ok(())
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

/// Lists the folders that are named by this text and a number.
fn numbered(folder: &Path, text: &str) -> io::Result<Vec<(u16, std::path::PathBuf)>> {
    let found = entries(folder)?;
    let found = found.iter().filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_prefix(text)?.parse().ok()?;
        Some((number, entry.path()))
    });
    Ok(found.collect())
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
