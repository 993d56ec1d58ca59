//! Recovers ids from raw: if `events.db` was lost or is older than raw, it lacks the recent ids of the events in the batches
//! that it does not know. They are read from those batches, so that such an event is not stored twice if its client sends it
//! again.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read},
    path::Path,
    time::Duration,
};

use rusqlite::Connection;
use weir_core::{MAX_RECORD_BYTES, RecordHead, Timestamp, dedup::IdentityDigest};

use super::{generations::REMEMBERED_HOURS, recent::RecentIds};
use crate::{
    folder::gzip,
    objects::batches::{folder_of, hour_folder, hour_of, range},
};

/// Remembers the ids of the events in these batches, which are in the order of the sequence, as far as they may be of the
/// last 24 hours. Wall clocks may have been wrong while the batches were written, and may be wrong now: batches count as
/// recent from the first one that is not older than a day by the earlier of `now` and the newest batch. A batch from before
/// Weir's first version was written before the clock was set, and counts as written with the next one.
pub(crate) fn remember(
    db: &Connection,
    raw: &Path,
    batches: &[&str],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (this_hour, unset) = (hour_folder(now.hour()), hour_folder(Timestamp::FIRST_VERSION.hour()));
    // The hour of each batch, or of the next batch written with a set clock; `None` if there is no such batch.
    let mut hours = vec![None; batches.len()];
    let mut next = None;
    for (hour, batch) in hours.iter_mut().zip(batches).rev() {
        next = Some(folder_of(batch)).filter(|folder| **folder >= *unset).or(next);
        *hour = next;
    }
    let newest = hours.iter().flatten().max().copied().unwrap_or(&this_hour);
    let earlier = if *newest < *this_hour { newest } else { &this_hour };
    let Some(limit) = a_day_before(earlier) else { return Ok(()) };
    let first =
        hours.iter().position(|hour| hour.is_none_or(|hour| *hour >= *limit)).unwrap_or(batches.len());
    let mut ids = RecentIds::open(db, Duration::ZERO)?;
    for batch in &batches[first..] {
        // Ids of an earlier generation, or enough for a run, are set aside first.
        ids.turn_to(Duration::ZERO);
        // The first number names the batch, too.
        let number = range(batch).map_or(0, |(first, _)| first);
        let mut found = BTreeSet::new();
        let read = each_id(&raw.join(batch), |id| {
            found.insert(id);
        });
        if let Err(error) = read {
            tracing::warn!(batch, %error, "the ids of a batch are remembered as far as it can be read");
        }
        for id in found {
            ids.remember(db, &id, number)?;
        }
        ids.store(db)?;
        ids.committed();
    }
    // The server's first commit has no large run to write.
    ids.turn_to(Duration::ZERO);
    ids.store(db)?;
    ids.committed();
    Ok(())
}

/// Returns the folder of the hour a day and an hour before: a batch is in the folder of the hour in which it was cut, up to
/// an hour after its events came in.
fn a_day_before(folder: &str) -> Option<String> {
    Some(hour_folder(hour_of(folder)?.minus(REMEMBERED_HOURS + 1)))
}

/// Passes on the digest of the identity of each event in a batch to which its client gave an id.
fn each_id(path: &Path, mut take: impl FnMut(IdentityDigest)) -> io::Result<()> {
    let mut lines = gzip::lines(path)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A longer line is no record, and neither are its pieces.
        let read = lines.by_ref().take(MAX_RECORD_BYTES as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if let Ok(head) = RecordHead::read(&line)
            && head.identity().is_given()
        {
            take(head.identity().digest());
        }
    }
}
