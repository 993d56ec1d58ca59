//! The days of the lake: which there are, and the objects of one.

use std::{collections::BTreeSet, fs, io, path::Path};

use weir_core::{Day, EventType, Format, Hour, Partition};

use super::LakeFolder;

impl LakeFolder {
    /// Returns the days before `until` of which there is a folder.
    pub fn days(&self, until: Day) -> io::Result<BTreeSet<Day>> {
        let mut found = BTreeSet::new();
        each_type(&self.0.path, &mut |_, folder| {
            for (year, folder) in numbered(folder, Partition::HOUR_FOLDERS[0])? {
                for (month, folder) in numbered(&folder, Partition::HOUR_FOLDERS[1])? {
                    for (day, _) in numbered(&folder, Partition::HOUR_FOLDERS[2])? {
                        found.extend(day_at(year, month, day).filter(|day| *day < until));
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the paths of a day's objects.
    pub fn of_day(&self, day: Day) -> io::Result<BTreeSet<String>> {
        let [year, month, date, _] = day.first_hour().parts();
        let [in_year, in_month, in_day, _] = Partition::HOUR_FOLDERS;
        let below = format!("{in_year}{year}/{in_month}{month}/{in_day}{date}");
        let mut found = BTreeSet::new();
        each_type(&self.0.path, &mut |prefix, folder| {
            for (hour, folder) in numbered(&folder.join(&below), Partition::HOUR_FOLDERS[3])? {
                for file in names(&folder)? {
                    if Format::of_file(&file).is_some() {
                        found.insert(format!("{prefix}/{below}/{}{hour}/{file}", Partition::HOUR_FOLDERS[3]));
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the types of which there is a folder.
    pub fn types(&self) -> io::Result<BTreeSet<EventType>> {
        let mut found = BTreeSet::new();
        each_type(&self.0.path, &mut |prefix, _| {
            found.extend(Partition::type_of(&format!("{prefix}/")));
            Ok(())
        })?;
        Ok(found)
    }

    /// Removes objects, which may be gone, and the folders that are empty then.
    pub fn remove(&self, objects: &BTreeSet<String>) -> io::Result<()> {
        for object in objects {
            match fs::remove_file(self.0.path.join(object)) {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
        // Folders of the hour and of the day.
        for level in 1..=2 {
            let above = |object: &String| Some(Path::new(object).ancestors().nth(level)?.to_owned());
            let folders: BTreeSet<_> = objects.iter().filter_map(above).collect();
            for folder in folders {
                // One that is not empty stays.
                let _ = fs::remove_dir(self.0.path.join(folder));
            }
        }
        Ok(())
    }
}

/// Calls `take` with the path below the lake, and the folder, of each user's types.
fn each_type(lake: &Path, take: &mut dyn FnMut(&str, &Path) -> io::Result<()>) -> io::Result<()> {
    for user in names(lake)?.iter().filter(|name| name.starts_with(Partition::PREFIX)) {
        for event_type in names(&lake.join(user))? {
            let prefix = format!("{user}/{event_type}");
            take(&prefix, &lake.join(&prefix))?;
        }
    }
    Ok(())
}

fn day_at(year: u16, month: u16, day: u16) -> Option<Day> {
    Hour::of_date(year, month.try_into().ok()?, day.try_into().ok()?, 0).map(Day::of)
}

/// Lists the folders that are named by this text and a number.
fn numbered(folder: &Path, text: &str) -> io::Result<Vec<(u16, std::path::PathBuf)>> {
    let found = names(folder)?;
    let found = found.iter().filter_map(|name| {
        let number = name.strip_prefix(text)?;
        // A number has one spelling.
        let parsed: u16 = number.parse().ok()?;
        (parsed.to_string() == number).then(|| (parsed, folder.join(name)))
    });
    Ok(found.collect())
}

/// Lists a folder; empty if it is gone, or is a file. An unreadable folder is an error: its events would be missing silently.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let listed = match fs::read_dir(folder) {
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        listed => listed.map_err(named)?,
    };
    let mut found = Vec::new();
    for entry in listed {
        found.extend(entry.map_err(named)?.file_name().into_string().ok());
    }
    Ok(found)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
