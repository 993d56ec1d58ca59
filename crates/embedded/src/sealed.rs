//! [`SealedDays`] as files in the folder `sealed`, which `docs/SEALING.md` describes.
//!
//! The folder is written by one sealing at a time, which holds its lock ([`SealedFolder::turn`]), but for notes: the server
//! writes them while it files batches. A server that starts empties the data folder's own temporary folder, so files are written
//! under temporary names here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use sha2::{Digest, Sha256};
use weir_core::{
    Day, EventType,
    ports::PortError,
    sealing::{Manifest, NotAManifest, Reads, SealedDays},
};

use crate::folder::{
    private::{create_private, private_file},
    sync_folder,
};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const NOTED_UNTIL: &str = "noted_until";
pub(crate) const NOTES: &str = "notes";
const LOCK: &str = "lock";
const OBJECTS: &str = "objects.gz";

/// How the folder of a type's repeats ends.
const REPEATS: &str = ".repeats";

/// How files begin that are being written.
const DRAFT: &str = ".draft-";

/// The sealed days of a data folder.
#[derive(Debug, Clone)]
pub struct SealedFolder(PathBuf);

/// The turn to seal: the lock of a file in the folder. It ends when this is dropped, and with its process.
#[derive(Debug)]
pub struct SealingTurn(Option<File>);

impl SealingTurn {
    /// Returns the locked file for a child process, which holds the turn as long as it has it open: it may outlive a killed
    /// parent, and go on writing.
    pub fn to_share(&self) -> io::Result<Option<File>> {
        self.0.as_ref().map(File::try_clone).transpose()
    }
}

impl SealedFolder {
    /// The folder for the SQL engine's own files while it writes, below that of sealed days.
    pub const WORK: &str = "work";

    /// Returns the sealed days of a data folder, which may have none yet.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self(data.join("sealed"))
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the turn to seal; `None` if another process has it. Not every file system has locks.
    pub fn turn(&self) -> io::Result<Option<SealingTurn>> {
        self.create()?;
        // A child's standard input can be a file, but not a folder: `to_share`.
        private_file().create(true).truncate(false).open(self.0.join(LOCK))?;
        let file = File::open(self.0.join(LOCK))?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(_)) => Ok(Some(SealingTurn(None))),
            Ok(()) => {
                self.remove_leftovers()?;
                Ok(Some(SealingTurn(Some(file))))
            }
        }
    }

    /// Removes what one with the turn left that died: drafts of the manifest and the watermark, and the SQL engine's own files.
    /// Drafts of notes stay, as the server writes notes, too.
    fn remove_leftovers(&self) -> io::Result<()> {
        for (name, path) in entries(&self.0)? {
            let removed = if name.starts_with(DRAFT) {
                fs::remove_file(&path)
            } else if name == Self::WORK {
                fs::remove_dir_all(&path)
            } else {
                continue;
            };
            match removed {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Decides what a reader reads from now on.
    pub async fn reads(&self) -> Result<Reads, PortError> {
        Reads::now(self).await
    }

    /// Returns the folder of a generation, below the folder of sealed days.
    #[must_use]
    pub fn generation(day: Day, number: u64) -> String {
        format!("{day}/{number}")
    }

    /// Returns the folders of a type's events and of its repeats, below the folder of sealed days.
    #[must_use]
    pub fn of_type(day: Day, number: u64, event_type: &EventType) -> [String; 2] {
        let generation = Self::generation(day, number);
        [format!("{generation}/{event_type}"), format!("{generation}/{event_type}{REPEATS}")]
    }

    /// Brings a generation's files to the disk, and lists the objects that it covers beside them.
    pub fn finish(&self, day: Day, number: u64, covered: &BTreeSet<String>) -> io::Result<()> {
        let folder = self.0.join(Self::generation(day, number));
        create_private(&folder)?;
        self.write_covered(day, number, covered)?;
        sync_all(&folder)?;
        folder.ancestors().skip(1).take(2).try_for_each(sync_folder)
    }

    fn write_covered(&self, day: Day, number: u64, covered: &BTreeSet<String>) -> io::Result<()> {
        self.write(&self.0.join(Self::generation(day, number)).join(OBJECTS), |file| {
            let mut packed = GzEncoder::new(file, Compression::fast());
            covered.iter().try_for_each(|path| writeln!(packed, "{path}"))?;
            packed.finish().map(drop)
        })
    }

    fn create(&self) -> io::Result<()> {
        if self.0.is_dir() {
            return Ok(());
        }
        create_private(&self.0)?;
        self.0.parent().map_or(Ok(()), sync_folder)
    }

    /// Writes a file whole, or not at all.
    fn write(&self, path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        self.create()?;
        let folder = path.parent().unwrap_or(&self.0);
        let mut draft = tempfile::Builder::new().prefix(DRAFT).tempfile_in(folder)?;
        write(draft.as_file_mut())?;
        draft.as_file().sync_all()?;
        draft.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    }

    pub(crate) fn read_manifest(&self) -> io::Result<Manifest> {
        match fs::read(self.0.join(MANIFEST)) {
            Ok(text) => Manifest::read(&text)
                .map_err(|error: NotAManifest| io::Error::new(ErrorKind::InvalidData, error)),
            Err(error) if is_missing(&error) => Ok(Manifest::default()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let text = manifest.text();
        self.write(&self.0.join(MANIFEST), |file| file.write_all(&text))
    }

    fn read_noted_until(&self) -> io::Result<Day> {
        match fs::read_to_string(self.0.join(NOTED_UNTIL)) {
            Ok(text) => text.trim().parse().map_err(|error| io::Error::new(ErrorKind::InvalidData, error)),
            Err(error) if is_missing(&error) => Ok(Day::FIRST),
            Err(error) => Err(error),
        }
    }

    fn notes_of(&self, day: Day) -> PathBuf {
        self.0.join(NOTES).join(day.to_string())
    }

    fn write_note(&self, day: Day, object: &str) -> io::Result<()> {
        let folder = self.notes_of(day);
        let path = folder.join(note_name(object));
        if path.exists() {
            // Its writer may have been killed before the folder's entry was on the disk.
            return sync_folder(&folder);
        }
        if !folder.is_dir() {
            create_private(&folder)?;
            folder.ancestors().skip(1).take(3).try_for_each(sync_folder)?;
        }
        self.write(&path, |file| file.write_all(object.as_bytes()))
    }

    /// Notes objects of a day.
    pub(crate) fn write_notes(&self, day: Day, objects: &BTreeSet<String>) -> io::Result<()> {
        objects.iter().try_for_each(|object| self.write_note(day, object))
    }

    fn read_notes(&self) -> io::Result<BTreeMap<Day, BTreeSet<String>>> {
        let mut by_day = BTreeMap::new();
        for (day, folder) in days_in(&self.0.join(NOTES))? {
            let mut noted = BTreeSet::new();
            for (name, path) in entries(&folder)? {
                if name.starts_with(DRAFT) {
                    continue;
                }
                match fs::read_to_string(path) {
                    Ok(object) => drop(noted.insert(object)),
                    Err(error) if is_missing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if !noted.is_empty() {
                by_day.insert(day, noted);
            }
        }
        Ok(by_day)
    }

    pub(crate) fn read_covered(&self, day: Day, generation: u64) -> io::Result<BTreeSet<String>> {
        let file = File::open(self.0.join(Self::generation(day, generation)).join(OBJECTS))?;
        BufReader::new(MultiGzDecoder::new(BufReader::new(file))).lines().collect()
    }

    pub(crate) fn list_generations(&self) -> io::Result<BTreeSet<(Day, u64)>> {
        let mut found = BTreeSet::new();
        for (day, folder) in days_in(&self.0)? {
            let numbers = entries(&folder)?.into_iter().filter_map(|(name, _)| name.parse().ok());
            found.extend(numbers.map(|number| (day, number)));
        }
        Ok(found)
    }

    fn remove_of_type(&self, day: Day, generation: u64, event_type: &EventType) -> io::Result<()> {
        for folder in Self::of_type(day, generation, event_type) {
            match fs::remove_dir_all(self.0.join(folder)) {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&self, day: Day, generation: u64) -> io::Result<()> {
        let folder = self.0.join(Self::generation(day, generation));
        match fs::remove_dir_all(&folder) {
            Err(error) if !is_missing(&error) => return Err(error),
            _ => {}
        }
        // It stays if there are other generations.
        if let Some(day) = folder.parent() {
            let _ = fs::remove_dir(day);
        }
        Ok(())
    }
}

/// Returns the name of an object's note.
fn note_name(object: &str) -> String {
    use std::fmt::Write;

    let mut name = String::new();
    for byte in &Sha256::digest(object.as_bytes())[..16] {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Syncs all files and folders below a folder, and the folder itself.
fn sync_all(folder: &Path) -> io::Result<()> {
    for (_, path) in entries(folder)? {
        if path.is_dir() { sync_all(&path)? } else { File::open(path)?.sync_all()? }
    }
    sync_folder(folder)
}

/// Returns the folders that are named by a day.
fn days_in(folder: &Path) -> io::Result<Vec<(Day, PathBuf)>> {
    let days = entries(folder)?.into_iter().filter_map(|(name, path)| Some((name.parse().ok()?, path)));
    Ok(days.collect())
}

/// Lists a folder; empty if it is gone. Names that are not UTF-8 are not Weir's.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry?;
        found.extend(entry.file_name().into_string().ok().map(|name| (name, entry.path())));
    }
    Ok(found)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Turns an error of a file into one of the port: what cannot be understood will not pass by itself.
fn failed(what: &'static str) -> impl Fn(io::Error) -> PortError {
    move |error| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::PermissionDenied => {
            PortError::broken(what, error)
        }
        ErrorKind::StorageFull => PortError::no_space(what, error),
        _ => PortError::unavailable(what, error),
    }
}

#[async_trait]
impl SealedDays for SealedFolder {
    async fn manifest(&self) -> Result<Manifest, PortError> {
        self.read_manifest().map_err(failed("reading the manifest of sealed days"))
    }

    async fn swap(&self, manifest: &Manifest) -> Result<(), PortError> {
        self.write_manifest(manifest).map_err(failed("writing the manifest of sealed days"))
    }

    async fn noted_until(&self) -> Result<Day, PortError> {
        self.read_noted_until().map_err(failed("reading which days are sealed"))
    }

    async fn announce(&self, noted_until: Day) -> Result<(), PortError> {
        let written = self.write(&self.0.join(NOTED_UNTIL), |file| writeln!(file, "{noted_until}"));
        written.map_err(failed("noting which days are sealed"))
    }

    async fn note(&self, day: Day, object: &str) -> Result<(), PortError> {
        self.write_note(day, object).map_err(failed("noting a late object"))
    }

    async fn notes(&self) -> Result<BTreeMap<Day, BTreeSet<String>>, PortError> {
        self.read_notes().map_err(failed("reading the late objects"))
    }

    async fn remove_notes(&self, day: Day, objects: &BTreeSet<String>) -> Result<(), PortError> {
        let folder = self.notes_of(day);
        for object in objects {
            match fs::remove_file(folder.join(note_name(object))) {
                Err(error) if !is_missing(&error) => return Err(failed("removing a note")(error)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn covered(&self, day: Day, generation: u64) -> Result<BTreeSet<String>, PortError> {
        self.read_covered(day, generation).map_err(failed("reading what a sealed day covers"))
    }

    async fn remove_generation(&self, day: Day, generation: u64) -> Result<(), PortError> {
        self.remove(day, generation).map_err(failed("removing a replaced generation"))
    }

    async fn generations(&self) -> Result<BTreeSet<(Day, u64)>, PortError> {
        self.list_generations().map_err(failed("listing the generations of sealed days"))
    }

    async fn cover(&self, day: Day, generation: u64, objects: &BTreeSet<String>) -> Result<(), PortError> {
        let is_there = self.0.join(Self::generation(day, generation)).is_dir();
        let written = if is_there {
            self.write_covered(day, generation, objects)
        } else {
            self.finish(day, generation, objects)
        };
        written.map_err(failed("writing what a sealed day covers"))
    }

    async fn remove_type(&self, day: Day, generation: u64, event_type: &EventType) -> Result<(), PortError> {
        self.remove_of_type(day, generation, event_type).map_err(failed("removing a type of a sealed day"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_turn_removes_what_a_killed_sealing_left() {
        let data = tempfile::tempdir().unwrap();
        let sealed = SealedFolder::of(data.path());
        let turn = sealed.turn().unwrap().unwrap();
        let draft = sealed.path().join(".draft-Xyz");
        let work = sealed.path().join(SealedFolder::WORK);
        fs::write(&draft, "{").unwrap();
        fs::create_dir_all(work.join("a")).unwrap();
        assert!(sealed.turn().unwrap().is_none());
        assert!(draft.exists() && work.exists(), "they belong to the one that has the turn");
        drop(turn);
        sealed.turn().unwrap().unwrap();
        assert!(!draft.exists() && !work.exists());
    }
}
