//! The names of batches, and the search for them in raw.
//!
//! A batch is in the folder of the hour in which it was cut, as Firehose does it, and is named by the range of the sequence
//! that it holds.

use std::{fs, io, path::Path};

use weir_core::{BatchKey, Format, Hour};

/// Returns the folder of batches that are cut in this hour: year, month, day and hour, which sort by time.
pub(crate) fn hour_folder(hour: Hour) -> String {
    let [year, month, day, hour] = hour.parts();
    format!("{year}/{month:02}/{day:02}/{hour:02}")
}

/// Returns the hour of a folder.
pub(crate) fn hour_of(folder: &str) -> Option<Hour> {
    let mut parts = folder.splitn(4, '/');
    let (year, month) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Hour::of_date(year, month, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)
}

/// Returns the folder of a batch.
pub(crate) fn folder_of(raw_key: &str) -> &str {
    raw_key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the key of a batch in a folder of raw, named by its range.
pub(crate) fn raw_key(folder: &str, first: u64, last: u64) -> String {
    format!("{folder}/{}", Format::default().file(format_args!("{first:020}-{last:020}")))
}

/// Returns the events of a batch by its name: from the first to the last of the sequence.
pub(crate) fn range(raw_key: &str) -> Option<(u64, u64)> {
    let (name, _) = Format::of_file(raw_key.rsplit('/').next()?)?;
    range_in(name)
}

fn range_in(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.split_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        let plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        // SQLite counts in i64; no store has half as many events.
        digits.parse().ok().filter(|number| plain && (1..=u64::MAX >> 2).contains(number))
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// Returns the events of the batch that an object of the lake or of quarantine comes from, by its name.
pub(crate) fn range_of_object(name: &str) -> Option<(u64, u64)> {
    let (name, _) = Format::of_file(name.rsplit('/').next()?)?;
    let (name, _digest) = name.rsplit_once('-')?;
    range_in(name)
}

/// Returns how many events a batch was cut with; `None` for a file that Weir did not put into raw.
#[must_use]
pub fn events_in(batch: &BatchKey) -> Option<u64> {
    range(batch.as_str()).map(|(first, last)| last - first + 1)
}

/// Which of raw's hour folders are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hours {
    /// All of them. The clock may have been set back, so the number in a name decides and not the hour of its folder.
    All,
    /// From the latest one back to the first that has nothing new: enough to find a batch that was just cut.
    Latest,
}

/// Returns the batches in raw that have events after `known`, in order.
pub(crate) fn after(raw: &Path, known: u64, hours: Hours) -> io::Result<Vec<(u64, u64, String)>> {
    let mut found = Vec::new();
    look(raw, "", 4, known, hours, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

/// Searches folders this many levels above the files, latest first; returns whether to go on with earlier ones.
fn look(
    folder: &Path,
    prefix: &str,
    levels: u8,
    known: u64,
    hours: Hours,
    found: &mut Vec<(u64, u64, String)>,
) -> io::Result<bool> {
    let mut names = entries(folder, levels > 0)?;
    names.sort_unstable();
    if levels > 0 {
        for name in names.iter().rev() {
            if !look(&folder.join(name), &format!("{prefix}{name}/"), levels - 1, known, hours, found)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let (before, mut any_known) = (found.len(), false);
    for name in names {
        if let Some((first, last)) = range(&name) {
            any_known |= last <= known;
            if last > known {
                found.push((first, last, format!("{prefix}{name}")));
            }
        }
    }
    Ok(hours == Hours::All || !any_known || found.len() > before)
}

/// Returns the batches that were cut from one hour to another, in order: those of the first hours that have any, at most so many.
pub(crate) fn of_hours(raw: &Path, from: Hour, to: Hour, most: usize) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut hours = 0;
    let all = (from.since_epoch()..=to.since_epoch()).filter_map(|hour| Hour::from_epoch(hour).ok());
    for folder in all.map(hour_folder) {
        let names = entries(&raw.join(&folder), false)?;
        let batches = names.iter().filter_map(|name| Some((range(name)?, format!("{folder}/{name}"))));
        let before = found.len();
        found.extend(batches);
        hours += usize::from(found.len() > before);
        if hours >= most {
            break;
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Passes on the batches in raw with events before `number`, newest first, until `take` has enough. They are in the order of
/// their hours and, in an hour, of their numbers: if the clock was set back, events of that time may be left out.
pub(crate) fn before(
    raw: &Path,
    mut number: u64,
    take: &mut impl FnMut(u64, u64, &str) -> io::Result<bool>,
) -> io::Result<()> {
    let mut folders = vec![(0, String::new())];
    while let Some((level, prefix)) = folders.pop() {
        let is_hour = level == 4;
        let mut names = entries(&raw.join(&prefix), !is_hour)?;
        names.sort_unstable();
        if !is_hour {
            // The last one is looked at first.
            folders.extend(names.into_iter().map(|name| (level + 1, format!("{prefix}{name}/"))));
            continue;
        }
        for name in names.iter().rev() {
            let Some((first, last)) = range(name).filter(|(first, _)| *first < number) else { continue };
            number = first;
            if !take(first, last, &format!("{prefix}{name}"))? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Returns the names of a folder's folders, or of its files; none if it is gone.
fn entries(folder: &Path, folders: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                let entry = entry?;
                if entry.file_type()?.is_dir() == folders {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_found_by_its_number_in_whatever_hour_it_lies() {
        let raw = tempfile::tempdir().unwrap();
        let name = raw_key;
        // The clock was set back between the second batch and the third.
        let names = [
            name("2026/11/20/13", 1, 20),
            name("2026/11/20/15", 21, 40),
            name("2026/11/20/12", 41, 60),
            name("2025/01/01/00", 61, 80),
        ];
        for name in &names {
            fs::create_dir_all(raw.path().join(name).parent().unwrap()).unwrap();
            fs::write(raw.path().join(name), "").unwrap();
        }
        let found = |known| {
            let found = after(raw.path(), known, Hours::All).unwrap();
            found.into_iter().map(|(.., name)| name).collect::<Vec<_>>()
        };
        for (index, known) in [0, 20, 40, 60].into_iter().enumerate() {
            assert_eq!(found(known), names[index..]);
        }
        assert_eq!(found(70), names[3..]);
        assert!(found(80).is_empty());
    }

    #[test]
    fn only_our_own_names_are_ranges() {
        let key = |name: &str| events_in(&BatchKey::new(name));
        assert_eq!(key("2026/11/20/13/00000000000000000003-00000000000000000007.json.gz"), Some(5));
        for strange in [
            "",
            "x.json.gz",
            "00000000000000000003.json.gz",
            "00000000000000000007-00000000000000000003.json.gz",
            "00000000000000000000-00000000000000000003.json.gz",
            "3-7.json.gz",
            "+0000000000000000003-00000000000000000007.json.gz",
            "00000000000000000003-00000000000000000007.json",
            "00000000000000000003-18446744073709551615.json.gz",
        ] {
            assert_eq!(key(strange), None, "{strange}");
        }
    }
}
