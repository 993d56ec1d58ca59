//! The files of runs that clients started: `runs/USERNAME/ID.json`, and `ID.result` beside it.
//!
//! A run is noted as running before its first command starts, and as ended once its result is on the disk. So one that is
//! noted as running and does not run was under way when its server ended: it is lost.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use collector::{Run, RunState};
use weir_core::{Timestamp, Username};

/// How long a run and its result are kept after its end.
pub(super) const KEPT_FOR: Duration = Duration::from_hours(1);

/// How many runs of a user are kept: a new one takes the place of the oldest.
pub(super) const MOST: usize = 16;

/// The longest id.
const LONGEST_ID: usize = 64;

/// The runs of a data folder.
pub(super) struct Kept(PathBuf);

impl Kept {
    pub(super) fn of(data: &Path) -> Self {
        Self(data.join("runs"))
    }

    /// Notes a run as it is, durably.
    pub(super) fn note(&self, username: &Username, run: &Run) -> io::Result<()> {
        let folder = self.folder(username);
        fs::create_dir_all(&folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        serde_json::to_writer(&mut file, run)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(format!("{}.json", run.id))).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    }

    /// Makes the file for a result, which has its name once it is whole.
    pub(super) fn draft(&self, username: &Username) -> io::Result<tempfile::NamedTempFile> {
        tempfile::NamedTempFile::new_in(self.folder(username))
    }

    /// Gives a whole result its name.
    pub(super) fn keep(
        &self,
        username: &Username,
        id: &str,
        result: tempfile::NamedTempFile,
    ) -> io::Result<()> {
        result.as_file().sync_all()?;
        result.persist(self.result_of(username, id)).map(drop).map_err(|error| error.error)
    }

    /// Returns a run of the user's that has ended and is not over its time.
    pub(super) fn find(&self, username: &Username, id: &str, now: Timestamp) -> io::Result<Option<Run>> {
        if !is_id(id) {
            return Ok(None);
        }
        let run = read(&self.folder(username).join(format!("{id}.json")), now)?;
        Ok(run.filter(|run| run.expires_at.is_none_or(|expires| now < expires)))
    }

    /// Opens the result of a run that is done.
    pub(super) fn open(&self, username: &Username, run: &Run) -> io::Result<File> {
        File::open(self.result_of(username, &run.id))
    }

    /// Returns the folder of a user's runs.
    pub(super) fn folder(&self, username: &Username) -> PathBuf {
        self.0.join(username.as_str())
    }

    /// Removes the oldest runs of a user, none of which runs now, so that there is room for another one.
    pub(super) fn make_room(&self, username: &Username) -> io::Result<()> {
        let mut ids = ids(&self.folder(username))?;
        ids.sort_unstable();
        let surplus = (ids.len() + 1).saturating_sub(MOST);
        ids.iter().take(surplus).try_for_each(|id| remove(&self.folder(username), id))
    }

    /// Notes the runs of an earlier process as lost, and removes what it had not finished. No run may run now.
    pub(super) fn recover(&self, now: Timestamp) -> io::Result<()> {
        for folder in folders(&self.0)? {
            let user = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(username): Option<Username> = user else { continue };
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let end = path.extension().and_then(|end| end.to_str());
                if !matches!(end, Some("json" | "result")) {
                    remove_file(&path)?;
                }
            }
            for id in ids(&folder)? {
                // A file that cannot be understood is removed with those that are over their time.
                let Ok(Some(run)) = read(&folder.join(format!("{id}.json")), now) else { continue };
                if run.state == RunState::Lost {
                    self.note(&username, &run)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what is over its time.
    pub(super) fn remove_old(&self, now: Timestamp) -> io::Result<()> {
        for folder in folders(&self.0)? {
            for id in ids(&folder)? {
                let text = fs::read(folder.join(format!("{id}.json"))).or_else(unless_missing)?;
                // A file that cannot be read is of no use to anyone.
                let run: Option<Run> = serde_json::from_slice(&text).ok();
                if run.is_none_or(|run| run.expires_at.is_some_and(|expires| expires <= now)) {
                    remove(&folder, &id)?;
                }
            }
        }
        Ok(())
    }

    fn result_of(&self, username: &Username, id: &str) -> PathBuf {
        self.folder(username).join(format!("{id}.result"))
    }
}

/// Reads a run that does not run now.
fn read(path: &Path, now: Timestamp) -> io::Result<Option<Run>> {
    let text = fs::read(path).or_else(unless_missing)?;
    if text.is_empty() {
        return Ok(None);
    }
    let mut run: Run = serde_json::from_slice(&text)?;
    if run.state == RunState::Running {
        end(&mut run, RunState::Lost, Some("the server ended before the run did".to_owned()), now);
    }
    if run.state == RunState::Done {
        // As after a crash of the machine.
        let length = fs::metadata(path.with_extension("result")).map(|file| file.len()).ok();
        if length != run.bytes {
            run.state = RunState::Lost;
            run.error = Some("its result is gone".to_owned());
        }
    }
    Ok(Some(run))
}

/// Removes a run. Its result goes first: a run without one is lost.
fn remove(folder: &Path, id: &str) -> io::Result<()> {
    ["result", "json"].iter().try_for_each(|end| remove_file(&folder.join(format!("{id}.{end}"))))
}

/// Notes how a run ended, and until when it is kept.
pub(super) fn end(run: &mut Run, state: RunState, error: Option<String>, now: Timestamp) {
    run.state = state;
    run.error = error;
    run.ended_at = Some(now);
    run.expires_at = Some(now.plus_millis(u64::try_from(KEPT_FOR.as_millis()).unwrap_or(u64::MAX)));
}

/// Whether a text can be an id, and then is a file's name that leads nowhere else.
fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| Ok(entry?.path()))
        .filter(|path| path.as_ref().is_ok_and(|path| path.is_dir()))
        .collect()
}

/// Returns the ids of the runs in a folder.
fn ids(folder: &Path) -> io::Result<Vec<String>> {
    let mut ids = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ids),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        ids.extend(
            name.to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .filter(|id| is_id(id))
                .map(str::to_owned),
        );
    }
    Ok(ids)
}

fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(unless_missing)
}

fn unless_missing<T: Default>(error: io::Error) -> io::Result<T> {
    if error.kind() == ErrorKind::NotFound { Ok(T::default()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use collector::Wanted;

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn run(id: &str) -> Run {
        Run {
            id: id.to_owned(),
            wanted: Wanted {
                function: "f".to_owned(),
                event_type: "button_click".parse().unwrap(),
                from: Some("2026-11-20T13".parse().unwrap()),
                to: None,
                reduce: None,
            },
            state: RunState::Running,
            objects: None,
            mapped: 0,
            bytes: None,
            error: None,
            started_at: at(0),
            ended_at: None,
            expires_at: None,
        }
    }

    fn done(kept: &Kept, username: &Username, id: &str, now: u64) -> Run {
        let mut run = run(id);
        kept.note(username, &run).unwrap();
        let mut result = kept.draft(username).unwrap();
        io::Write::write_all(&mut result, b"lines").unwrap();
        kept.keep(username, id, result).unwrap();
        run.bytes = Some(5);
        end(&mut run, RunState::Done, None, at(now));
        kept.note(username, &run).unwrap();
        run
    }

    #[test]
    fn a_run_is_kept_for_an_hour_after_its_end_and_then_removed_with_its_result() {
        let data = tempfile::tempdir().unwrap();
        let (kept, ann) = (Kept::of(data.path()), "ann".parse().unwrap());
        let run = done(&kept, &ann, "a", 1000);
        assert_eq!(kept.find(&ann, "a", at(HOUR + 999)).unwrap(), Some(run));
        assert_eq!(kept.find(&ann, "a", at(HOUR + 1000)).unwrap(), None);
        kept.remove_old(at(HOUR + 999)).unwrap();
        assert_eq!(fs::read_dir(kept.folder(&ann)).unwrap().count(), 2);
        kept.remove_old(at(HOUR + 1000)).unwrap();
        assert_eq!(fs::read_dir(kept.folder(&ann)).unwrap().count(), 0);
    }

    #[test]
    fn a_run_is_its_users_alone_and_no_id_leads_elsewhere() {
        let data = tempfile::tempdir().unwrap();
        let (kept, ann, bob) = (Kept::of(data.path()), "ann".parse().unwrap(), "bob".parse().unwrap());
        done(&kept, &ann, "a", 0);
        assert!(kept.find(&ann, "a", at(0)).unwrap().is_some());
        assert_eq!(kept.find(&bob, "a", at(0)).unwrap(), None);
        for id in ["../ann/a", "..", "", "a.json", "a/", "/a", "a\0", &"a".repeat(65), "ä"] {
            assert_eq!(kept.find(&bob, id, at(0)).unwrap(), None, "{id:?}");
            assert_eq!(kept.find(&ann, id, at(0)).unwrap(), None, "{id:?}");
        }
    }

    #[test]
    fn a_run_of_a_process_that_ended_is_lost_and_its_unfinished_result_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let (kept, ann) = (Kept::of(data.path()), "ann".parse().unwrap());
        kept.note(&ann, &run("a")).unwrap();
        let (_, draft) = kept.draft(&ann).unwrap().keep().unwrap();
        fs::write(kept.folder(&ann).join("damaged.json"), "{").unwrap();
        done(&kept, &ann, "b", 0);
        // Before and after the recovery, which keeps it for an hour.
        let lost = kept.find(&ann, "a", at(7)).unwrap().unwrap();
        assert_eq!(lost.state, RunState::Lost);
        kept.recover(at(7)).unwrap();
        assert_eq!(kept.find(&ann, "a", at(8)).unwrap(), Some(lost));
        assert!(!draft.exists());
        assert_eq!(kept.find(&ann, "b", at(8)).unwrap().unwrap().state, RunState::Done);
        kept.remove_old(at(HOUR + 7)).unwrap();
        assert!(["a.json", "damaged.json"].iter().all(|name| !kept.folder(&ann).join(name).exists()));
    }

    #[test]
    fn a_run_whose_result_is_gone_is_lost() {
        let data = tempfile::tempdir().unwrap();
        let (kept, ann) = (Kept::of(data.path()), "ann".parse().unwrap());
        done(&kept, &ann, "a", 0);
        fs::write(kept.folder(&ann).join("a.result"), "line").unwrap();
        assert_eq!(kept.find(&ann, "a", at(0)).unwrap().unwrap().state, RunState::Lost);
    }

    #[test]
    fn the_oldest_run_of_a_user_makes_room_for_a_new_one() {
        let data = tempfile::tempdir().unwrap();
        let (kept, ann) = (Kept::of(data.path()), "ann".parse().unwrap());
        for n in 0..MOST {
            kept.make_room(&ann).unwrap();
            done(&kept, &ann, &format!("{n:03}"), 0);
        }
        kept.make_room(&ann).unwrap();
        assert_eq!(kept.find(&ann, "000", at(0)).unwrap(), None);
        assert!(kept.find(&ann, "001", at(0)).unwrap().is_some());
        assert!(!kept.folder(&ann).join("000.result").exists());
    }
}
