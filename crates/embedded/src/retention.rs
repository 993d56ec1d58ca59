//! Retention outside of the lake: batches, quarantine, and what the store keeps of events. It works beside a server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::UNIX_EPOCH,
};

use rusqlite::params;
use weir_core::{
    BatchKey, Day, EventType, Format, RecordHead, Timestamp, quarantined_line, sealing::IsRemoved,
};

use crate::{
    folder::{
        Folder,
        lines::{InItsPlace, has_any, without},
    },
    store::{self, StoreError},
};

/// How many names are listed at a time.
const PAGE: usize = 1000;

/// Takes the lines of removed events out of batches, in raw and in quarantine; returns how many changed or were removed. A batch in raw
/// keeps an empty line in the place of each, until no event is left.
/// What was put into quarantine before `quarantined_before` goes with them, as it has no time of its own. Of a batch that is not
/// settled yet, only that goes: its events are counted when it is settled, and go after it. A damaged batch stays, with its entry in
/// quarantine.
pub fn strip_batches(
    data: &Path,
    batches: &BTreeSet<String>,
    quarantined_before: Option<Timestamp>,
    is_removed: IsRemoved<'_>,
) -> io::Result<u64> {
    let folder = Folder::existing(data);
    let (raw, quarantine) = (folder.sub("raw"), folder.sub("quarantine"));
    let is_event = |line: &[u8]| RecordHead::read(line).is_ok_and(|head| is_removed(&head.partition));
    let quarantined = old_files(&quarantine, quarantined_before)?;
    if batches.is_empty() && quarantined.is_empty() {
        return Ok(0);
    }
    let settled = settled(data, &quarantined)?;
    let (mut changed, mut damaged) = (0, BTreeSet::new());
    each_name(&raw, &mut |name| {
        let id = BatchKey::new(name).id();
        let is_old = quarantined.contains(id.as_str());
        if !is_old && !batches.contains(id.as_str()) {
            return Ok(());
        }
        let has_counted = batches.contains(id.as_str()) || settled.contains(id.as_str());
        let is_gone = |line: &[u8]| match RecordHead::read(line) {
            Ok(head) => has_counted && is_removed(&head.partition),
            Err(_) => is_old,
        };
        match strip(&raw, name, &is_gone, InItsPlace::EmptyLineBesideOthers) {
            Err(error) if is_damage(&error) => {
                tracing::warn!(batch = name, %error, "a damaged batch stays in raw although its events may be older than they are kept");
                damaged.insert(id.as_str().to_owned());
            }
            stripped => changed += stripped?,
        }
        Ok(())
    })?;
    each_name(&quarantine, &mut |name| {
        let Some((batch, _)) = Format::of_file(name) else { return Ok(()) };
        if damaged.contains(batch) {
            // It says why its batch is not filed.
        } else if quarantined.contains(batch) {
            fs::remove_file(quarantine.path.join(name))?;
            changed += 1;
        } else if batches.contains(batch) {
            let is_gone = |entry: &[u8]| quarantined_line(entry).is_some_and(|line| is_event(&line));
            changed += strip(&quarantine, name, &is_gone, InItsPlace::Nothing)?;
        }
        Ok(())
    })?;
    Ok(changed)
}

/// Removes what the store keeps of removed events: latest values, and rejected events that are shown.
pub fn remove_values(data: &Path, removed: &BTreeMap<EventType, Day>) -> Result<u64, StoreError> {
    if removed.is_empty() {
        return Ok(0);
    }
    let database = data.join("events.db");
    let at = store::at(&database);
    let db = store::open_as_it_is(&database)?;
    let mut changed = 0;
    for (event_type, first) in removed {
        let first = first.first_hour().start().millis();
        let of_type = params![event_type.as_str(), first];
        let latest = "DELETE FROM latest_values WHERE event_type = ?1 AND time < ?2";
        changed += db.execute(latest, of_type).map_err(&at)? as u64;
        if event_type.is_rejected() {
            let shown = "DELETE FROM recent_rejected WHERE json_extract(event, '$.received_at') < ?1";
            changed += db.execute(shown, [first]).map_err(&at)? as u64;
        }
    }
    Ok(changed)
}

/// Returns the batches of which something was put into quarantine before this time, and nothing since.
fn old_files(quarantine: &Folder, before: Option<Timestamp>) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let Some(before) = before else { return Ok(found) };
    each_name(quarantine, &mut |name| {
        let Some((batch, _)) = Format::of_file(name) else { return Ok(()) };
        let at = fs::metadata(quarantine.path.join(name))?.modified()?;
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if at < u128::from(before.millis()) {
            found.insert(batch.to_owned());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns those of these batches that are settled.
fn settled(data: &Path, batches: &BTreeSet<String>) -> io::Result<BTreeSet<String>> {
    if batches.is_empty() {
        return Ok(BTreeSet::new());
    }
    let read = || -> rusqlite::Result<_> {
        let db = store::open_reader(&data.join("events.db"))?;
        let mut find = db.prepare("SELECT EXISTS (SELECT 1 FROM settled_batches WHERE batch = ?1)")?;
        let mut settled = BTreeSet::new();
        for batch in batches {
            if find.query_row([batch], |row| row.get(0))? {
                settled.insert(batch.clone());
            }
        }
        Ok(settled)
    };
    read().map_err(io::Error::other)
}

fn strip(
    folder: &Folder,
    name: &str,
    is_gone: &dyn Fn(&[u8]) -> bool,
    in_its_place: InItsPlace,
) -> io::Result<u64> {
    if !has_any(&folder.path.join(name), is_gone)? {
        return Ok(0);
    }
    without(folder, name, is_gone, in_its_place).map(|()| 1)
}

/// Returns whether an error is one of the file's content.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};

    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn each_name(folder: &Folder, take: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = folder.list(after.as_deref(), PAGE)?;
        page.iter().try_for_each(|name| take(name))?;
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_damaged_batch_in_quarantine_stays_with_its_reason_and_holds_up_nothing() {
        let data = tempfile::tempdir().unwrap();
        store::open(&data.path().join("events.db")).unwrap();
        let (raw, quarantine) = (data.path().join("raw"), data.path().join("quarantine"));
        let name = |batch: &str| format!("{batch}.json.gz");
        for folder in [&raw, &quarantine] {
            fs::create_dir(folder).unwrap();
        }
        let files = |folder: &Path| -> BTreeSet<String> {
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
        };
        let sound = gzip("no record\n");
        for (batch, content) in [("damaged", &sound[..sound.len() - 3]), ("sound", &sound)] {
            fs::write(raw.join(name(batch)), content).unwrap();
            let id = BatchKey::new(name(batch)).id();
            fs::write(quarantine.join(name(id.as_str())), gzip(r#"{"batch":"b","reason":"r"}"#)).unwrap();
        }
        let changed =
            strip_batches(data.path(), &BTreeSet::new(), Some(Timestamp::saturating(u64::MAX)), &|_| false);
        assert_eq!(changed.unwrap(), 2, "the sound one, and what is in quarantine of it");
        assert_eq!(files(&raw), [name("damaged")].into());
        assert_eq!(files(&quarantine), [name(BatchKey::new(name("damaged")).id().as_str())].into());
    }

    #[test]
    fn an_old_batch_in_quarantine_keeps_its_events_until_they_are_counted() {
        let data = tempfile::tempdir().unwrap();
        let db = store::open(&data.path().join("events.db")).unwrap();
        let (raw, quarantine) = (data.path().join("raw"), data.path().join("quarantine"));
        for folder in [&raw, &quarantine] {
            fs::create_dir(folder).unwrap();
        }
        let event = r#"{"username":"ann","event_type":"t","event_id":"e","received_at":7}"#;
        let batch = raw.join("batch.json.gz");
        fs::write(&batch, gzip(&format!("{event}\nno record\n"))).unwrap();
        let id = BatchKey::new("batch.json.gz").id();
        let strip = || {
            let entry = gzip(r#"{"batch":"b","reason":"r","text":"no record"}"#);
            fs::write(quarantine.join(format!("{}.json.gz", id.as_str())), entry).unwrap();
            let before = Some(Timestamp::saturating(u64::MAX));
            strip_batches(data.path(), &BTreeSet::new(), before, &|_| true).unwrap();
            fs::read(&batch).ok().map(|bytes| {
                let mut text = String::new();
                io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text)
                    .unwrap();
                text
            })
        };
        assert_eq!(strip(), Some(format!("{event}\n\n")));
        db.execute("INSERT INTO settled_batches VALUES (?1)", [id.as_str()]).unwrap();
        assert_eq!(strip(), None);
    }
}
