//! [`CountsByMinute`]: the live counts of the last hour by minute, in memory. The writer raises them once a commit. A start
//! reads the events of the last hour again, beside the traffic. So no event costs another write.

use std::{
    collections::HashMap,
    io::BufRead,
    sync::{Arc, Weak},
    thread,
};

use parking_lot::Mutex;
use rusqlite::Connection;
use weir_core::{
    EventType, RecordHead, Timestamp, Username,
    forgotten::ForgottenEvents,
    minutes::{Arrivals, KEPT, Minute, MinuteCounts},
    ports::CountsByMinute,
};

use crate::{
    engine::Embedded,
    folder::gzip,
    objects::{RawFolder, batches},
    store,
};

/// The number of minutes by which a client's clock may be fast: the time of an event may be this long after its arrival.
const AHEAD: u64 = 10;

/// The minutes of a ring: those that are kept, and those ahead of them.
#[expect(clippy::cast_possible_truncation, reason = "it is a small number")]
const RING: usize = (KEPT + AHEAD + 1) as usize;

/// The most bytes of lines that a start reads again.
const ENOUGH: usize = 64 << 20;

/// The counts of all users.
pub(crate) struct Minutes(Mutex<Inner>);

struct Inner {
    of_users: HashMap<Username, HashMap<EventType, Ring>>,
    since: Timestamp,
    /// The minute in which rings with only old counts were last removed.
    swept: u64,
}

/// A user's counts of one type, up to the minute `newest`. The count of a minute is at its number modulo the length.
struct Ring {
    newest: u64,
    counts: [u32; RING],
}

impl Ring {
    fn at(minute: u64) -> Self {
        Self { newest: minute, counts: [0; RING] }
    }

    fn raise(&mut self, minute: u64, by: u64) {
        let length = RING as u64;
        if minute > self.newest {
            for passed in self.newest + 1..=minute.min(self.newest + length) {
                self.counts[place(passed)] = 0;
            }
            self.newest = minute;
        } else if minute + length <= self.newest {
            return;
        }
        let count = &mut self.counts[place(minute)];
        *count = count.saturating_add(u32::try_from(by).unwrap_or(u32::MAX));
    }

    /// Returns the counts from one minute to another, both included, without zeros.
    fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = from.max((self.newest + 1).saturating_sub(RING as u64));
        let all = (first..=to.min(self.newest)).map(|minute| (minute, u64::from(self.counts[place(minute)])));
        all.filter(|(_, count)| *count > 0)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is less than the length of a ring")]
fn place(minute: u64) -> usize {
    (minute % RING as u64) as usize
}

impl Minutes {
    /// Begins to count now.
    pub(crate) fn starting_at(now: Timestamp) -> Self {
        Self(Mutex::new(Inner { of_users: HashMap::new(), since: now, swept: 0 }))
    }

    /// Counts some arrivals.
    pub(crate) fn raise(&self, arrivals: Vec<Arrivals>, now: Timestamp) {
        if arrivals.is_empty() {
            return;
        }
        let now = Minute::of(now).since_epoch();
        let mut inner = self.0.lock();
        if inner.swept != now {
            inner.swept = now;
            inner.of_users.retain(|_, types| {
                types.retain(|_, ring| ring.newest + KEPT > now);
                !types.is_empty()
            });
        }
        for Arrivals { username, event_type, minute, events } in arrivals {
            let minute = minute.since_epoch();
            if minute + KEPT <= now || minute > now + AHEAD {
                continue;
            }
            let types = inner.of_users.entry(username).or_default();
            types.entry(event_type).or_insert_with(|| Ring::at(minute)).raise(minute, events);
        }
    }

    /// Notes that all events that arrived since an earlier time are counted now.
    fn complete_since(&self, time: Timestamp) {
        let mut inner = self.0.lock();
        inner.since = inner.since.min(time);
    }

    fn of(&self, username: &Username, event_type: &EventType, now: Timestamp) -> MinuteCounts {
        let last = Minute::of(now).since_epoch();
        let first = Minute::of(now).minus(KEPT - 1);
        let inner = self.0.lock();
        let ring = inner.of_users.get(username).and_then(|types| types.get(event_type));
        let counts = ring.into_iter().flat_map(|ring| ring.range(first.since_epoch(), last));
        let counts = counts.map(|(minute, count)| (first_plus(first, minute), count)).collect();
        MinuteCounts { since: inner.since.max(first.start()), counts }
    }
}

/// Returns the minute with this number, which must not be before `first`.
fn first_plus(first: Minute, minute: u64) -> Minute {
    Minute::of(first.start().plus_millis((minute - first.since_epoch()) * 60_000))
}

impl CountsByMinute for Embedded {
    fn minutes(&self, username: &Username, event_type: &EventType) -> Option<MinuteCounts> {
        Some(self.inner.minutes.of(username, event_type, self.inner.clock.now()))
    }
}

/// The events of the last hour, which a start counts again.
pub(crate) struct LastHour {
    pub(crate) store: std::path::PathBuf,
    pub(crate) raw: RawFolder,
    pub(crate) gone: Arc<ForgottenEvents>,
    /// The first event that this process stores.
    pub(crate) next: u64,
    pub(crate) now: Timestamp,
}

impl LastHour {
    /// Counts them in a thread, which ends early if the counts are dropped.
    pub(crate) fn count(self, minutes: &Arc<Minutes>) -> std::io::Result<()> {
        let minutes = Arc::downgrade(minutes);
        let thread = thread::Builder::new().name("weir-minutes".to_owned());
        thread.spawn(move || self.run(&minutes)).map(drop)
    }

    fn run(self, minutes: &Weak<Minutes>) {
        let mut count = Recount { hour: &self, minutes, read: 0, is_done: false };
        // Events that cannot be read are not counted, and `since` stays after them.
        if let Ok(before) = count.in_journal()
            && count.in_raw(before).is_ok()
            && !count.is_done
        {
            count.complete_since(Timestamp::saturating(0));
        }
    }
}

/// A recount under way, from the newest part to the oldest.
struct Recount<'a> {
    hour: &'a LastHour,
    minutes: &'a Weak<Minutes>,
    read: usize,
    is_done: bool,
}

impl Recount<'_> {
    /// Counts the rows that earlier processes left in the journal. Returns the number of the first event in them: earlier
    /// events are only in raw.
    fn in_journal(&mut self) -> rusqlite::Result<u64> {
        let mut db: Connection = store::open_reader(&self.hour.store)?;
        let db = db.transaction()?;
        let mut rows = db.prepare("SELECT first, lines FROM journal WHERE first < ?1 ORDER BY first DESC")?;
        let mut rows = rows.query([self.hour.next])?;
        let mut before = self.hour.next;
        while !self.is_done
            && let Some(row) = rows.next()?
        {
            before = row.get(0)?;
            let mut part = Part::default();
            for line in row.get_ref(1)?.as_blob()?.split(|&byte| byte == b'\n') {
                part.take(line, &self.hour.gone);
            }
            self.counted(part);
        }
        Ok(before)
    }

    fn in_raw(&mut self, before: u64) -> std::io::Result<()> {
        if self.is_done {
            return Ok(());
        }
        let hour = self.hour;
        batches::before(hour.raw.path(), before, &mut |first, _, raw_key| {
            let mut part = Part::default();
            let mut lines = gzip::lines_of(hour.raw.file(raw_key)?);
            let (mut line, mut number) = (Vec::new(), first);
            while number < before && lines.read_until(b'\n', &mut line)? > 0 {
                part.take(&line, &hour.gone);
                line.clear();
                number += 1;
            }
            self.counted(part);
            Ok(!self.is_done)
        })
    }

    /// Counts a part of the sequence, after all later parts.
    fn counted(&mut self, part: Part) {
        self.read += part.bytes;
        let Some(minutes) = self.minutes.upgrade() else {
            self.is_done = true;
            return;
        };
        minutes.raise(part.arrivals, self.hour.now);
        let Some(first) = part.first else { return };
        minutes.complete_since(first);
        let earliest = Minute::of(self.hour.now).minus(KEPT + AHEAD).start();
        if first < earliest {
            minutes.complete_since(Timestamp::saturating(0));
            self.is_done = true;
        }
        self.is_done |= self.read >= ENOUGH;
    }

    fn complete_since(&self, time: Timestamp) {
        if let Some(minutes) = self.minutes.upgrade() {
            minutes.complete_since(time);
        }
    }
}

/// A part of the sequence.
#[derive(Default)]
struct Part {
    arrivals: Vec<Arrivals>,
    bytes: usize,
    /// The time at which its first event arrived.
    first: Option<Timestamp>,
}

impl Part {
    fn take(&mut self, line: &[u8], gone: &ForgottenEvents) {
        self.bytes += line.len();
        let Ok(head) = RecordHead::read(line) else { return };
        self.first.get_or_insert(head.received_at);
        if !gone.is_empty() && gone.has(&head) {
            return;
        }
        let (partition, minute) = (head.partition, Minute::of(head.time));
        match self.arrivals.last_mut() {
            Some(last)
                if last.minute == minute
                    && last.event_type == partition.event_type
                    && last.username == partition.username =>
            {
                last.events += 1;
            }
            _ => self.arrivals.push(Arrivals {
                username: partition.username,
                event_type: partition.event_type,
                minute,
                events: 1,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(minute: u64, events: u64) -> Vec<Arrivals> {
        let minute = Minute::of(Timestamp::saturating(minute * 60_000));
        vec![Arrivals { username: "u".parse().unwrap(), event_type: "t".parse().unwrap(), minute, events }]
    }

    fn at(minute: u64) -> Timestamp {
        Timestamp::saturating(minute * 60_000 + 59_999)
    }

    #[test]
    fn the_last_hour_is_counted_by_minute_and_nothing_before_or_far_ahead_of_it() {
        let minutes = Minutes::starting_at(at(1000));
        let (user, of) = ("u".parse().unwrap(), "t".parse().unwrap());
        let counts = |now| -> Vec<(u64, u64)> {
            let counts = minutes.of(&user, &of, at(now)).counts;
            counts.into_iter().map(|(minute, count)| (minute.since_epoch(), count)).collect()
        };
        for (minute, events) in [(1000, 2), (999, 1), (940, 5), (939, 7), (1010, 3), (1011, 9), (1000, 2)] {
            minutes.raise(arrived(minute, events), at(1000));
        }
        assert_eq!(counts(1000), [(940, 5), (999, 1), (1000, 4)]);
        assert_eq!(counts(1001), [(999, 1), (1000, 4)]);
        assert_eq!(counts(1010), [(999, 1), (1000, 4), (1010, 3)]);
        minutes.raise(arrived(1060, 1), at(1060));
        assert_eq!(counts(1060), [(1000, 4), (1010, 3), (1060, 1)]);
        minutes.raise(arrived(5000, 1), at(5000));
        assert_eq!(counts(5000), [(5000, 1)]);
        // A user without events for an hour takes no memory.
        minutes
            .raise(vec![Arrivals { username: "v".parse().unwrap(), ..arrived(6000, 1).remove(0) }], at(6000));
        assert_eq!(minutes.0.lock().of_users.len(), 1);
    }
}
