//! [`Receipts`] on S3: the batches of the hours around the event's time, in raw. The time is in an id that Weir made; for an id
//! that a client gave, the table of recent ids has it, for a day.
//!
//! The stream itself cannot be read: until its batch is in raw, an event is known only by its client's id.

use std::{
    io::{BufRead, BufReader},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use weir_core::{
    BatchKey, EventId, EventType, Hour, Timestamp, Username,
    forgotten::ForgottenEvents,
    ports::{Forgotten, PortError, Receipts},
    receipt::{Found, Receipt, ReceiptStatus, is_forgotten},
};

use crate::{
    dedup::RecentIds,
    newest::{Object, S3Newest, escaped, list},
    objects::RAW_PREFIX,
    s3_calls::{Call, S3Calls},
};

const READING: &str = "looking for an event";

/// How long before and after the event's time the names of batches may be, in milliseconds: the stream gathers for up to a quarter
/// of an hour, and may be late.
const BEFORE: u64 = 20 * 60_000;
const AFTER: u64 = 60 * 60_000;

/// The most batches that are read, and the most bytes of them, compressed.
const MOST_BATCHES: usize = 100;
const MOST_BYTES: u64 = 64 << 20;

/// The receipts of all users' events.
pub(crate) struct S3Receipts {
    raw: S3Calls,
    lake: Arc<S3Newest>,
    ids: RecentIds,
    forgotten: Arc<dyn Forgotten>,
}

impl S3Receipts {
    pub(crate) fn new(
        raw: S3Calls,
        lake: Arc<S3Newest>,
        ids: RecentIds,
        forgotten: Arc<dyn Forgotten>,
    ) -> Self {
        Self { raw, lake, ids, forgotten }
    }

    /// Returns the batches that may have an event of this time, the likeliest first.
    async fn batches(&self, at: Timestamp) -> Result<Vec<Object>, PortError> {
        let (from, to) = (at.millis().saturating_sub(BEFORE), at.millis() + AFTER);
        let hours = [from, at.millis(), to].map(|millis| Timestamp::saturating(millis).hour());
        let mut found: Vec<(u64, Object)> = Vec::new();
        let mut before = None;
        for hour in hours {
            if before.replace(hour) == Some(hour) {
                continue;
            }
            let [year, month, day, in_day] = hour.parts();
            let prefix = format!("{RAW_PREFIX}{year}/{month:02}/{day:02}/{in_day:02}/");
            for object in list(self.raw.clone(), prefix).await? {
                let named = named_time(&object.key, hour);
                if (from..=to).contains(&named) {
                    found.push((named.abs_diff(at.millis()), object));
                }
            }
        }
        found.sort_by_key(|(apart, _)| *apart);
        Ok(found.into_iter().map(|(_, object)| object).take(MOST_BATCHES).collect())
    }
}

/// Returns the times at which an event with an id may have been stored. A client may give an event the id that Weir had made for
/// another one of the same user, long before: then there are two.
fn times(remembered: Option<Timestamp>, generated: Option<Timestamp>) -> impl Iterator<Item = Timestamp> {
    let is_looked_at = |at: Timestamp| {
        remembered.is_some_and(|remembered| {
            let from = remembered.millis().saturating_sub(BEFORE);
            (from..=remembered.millis() + AFTER).contains(&at.millis())
        })
    };
    remembered.into_iter().chain(generated.filter(|at| !is_looked_at(*at)))
}

/// Returns the time in a batch's name, `NAME-1-2026-11-20-13-05-59-…`, in milliseconds; the beginning of its hour if the name has
/// none.
fn named_time(key: &str, hour: Hour) -> u64 {
    let name = key.rsplit('/').next().unwrap_or_default();
    let [year, month, day, in_day] = hour.parts();
    let stamp = format!("-{year}-{month:02}-{day:02}-{in_day:02}-");
    let within = name.split_once(&stamp).and_then(|(_, rest)| {
        let mut parts = rest.split('-');
        let (minute, second) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
        Some((minute * 60 + second) * 1000)
    });
    hour.start().millis() + within.unwrap_or_default()
}

/// Looks for the event in a batch. The lines before a damaged part count.
fn look(username: &Username, event_id: &EventId, batch: &Bytes, gone: &ForgottenEvents) -> Option<Found> {
    let mut lines = BufReader::new(MultiGzDecoder::new(&batch[..]));
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line) {
        if let Some(found) = Found::in_line(username, event_id, &line, gone) {
            return Some(found);
        }
        line.clear();
    }
    None
}

#[async_trait]
impl Receipts for S3Receipts {
    async fn receipt(
        &self,
        username: &Username,
        event_id: &EventId,
        types: &[EventType],
    ) -> Result<Option<Receipt>, PortError> {
        let gone = self.forgotten.forgotten().await?;
        if is_forgotten(&gone, username, event_id, types.iter().chain([&EventType::rejected()])) {
            return Ok(Some(Receipt::without_line(event_id, ReceiptStatus::Forgotten, None)));
        }
        let remembered = self.ids.stored_at(username, event_id).await?;
        for at in times(remembered, event_id.generated_at()) {
            let mut left = MOST_BYTES;
            for batch in self.batches(at).await? {
                let Some(content) = self.raw.find(Call::get(&escaped(&batch.key)), READING).await? else {
                    continue;
                };
                if let Some(found) = look(username, event_id, &content, &gone) {
                    let object = found.object(&BatchKey::new(batch.key));
                    let is_filed = self.lake.has(username, &object).await?;
                    return Ok(Some(found.receipt(is_filed, is_filed.then_some(object))));
                }
                left = left.saturating_sub(batch.size);
                if left == 0 {
                    break;
                }
            }
        }
        Ok(remembered.map(|_| Receipt::without_line(event_id, ReceiptStatus::Stored, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_weir_made_long_before_a_client_gave_it_has_two_times() {
        let at = Timestamp::saturating;
        let times = |remembered, generated| times(remembered, generated).collect::<Vec<_>>();
        let now = at(1_795_179_600_000);
        assert_eq!(times(None, Some(now)), [now]);
        assert_eq!(times(Some(now), None), [now]);
        let soon = at(now.millis() - 1_000);
        assert_eq!(times(Some(now), Some(soon)), [now], "its batches are among those of the other time");
        let long_ago = at(now.millis() - BEFORE - 1);
        assert_eq!(times(Some(now), Some(long_ago)), [now, long_ago]);
        assert_eq!(times(None, None), []);
    }

    #[test]
    fn a_batchs_time_is_read_from_its_name() {
        let hour: Hour = Timestamp::saturating(1_795_179_600_000).hour();
        let [year, month, day, in_day] = hour.parts();
        let key = format!("raw/x/weir-a-1-{year}-{month:02}-{day:02}-{in_day:02}-05-59-ab-cd.json.gz");
        assert_eq!(named_time(&key, hour), hour.start().millis() + 359_000);
        for other in ["raw/x/by-hand.json.gz", "raw/x/weir-1-2026-11-20-13-xx-59", ""] {
            assert_eq!(named_time(other, hour), hour.start().millis());
        }
    }
}
