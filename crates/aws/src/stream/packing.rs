//! Batching: packs many events into few Firehose records, and those into calls.
//!
//! Firehose bills each record as a multiple of 5 KB, so events share them (<https://aws.amazon.com/firehose/pricing/>).
//!
//! Public for its benchmark; [`FirehoseStream`](crate::FirehoseStream) is the caller.

use std::ops::Range;

use weir_core::{MAX_RECORD_BYTES, Record};

/// A call takes at most 500 records and 4 MiB (<https://docs.aws.amazon.com/firehose/latest/dev/limits.html>).
const MAX_ENTRIES: usize = 500;
const MAX_CALL_BYTES: usize = 4 << 20;

/// A Firehose record: the lines of some events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The lines, each with its line break.
    pub lines: Vec<u8>,
    /// The range of the request's events that are in these lines.
    pub events: Range<usize>,
}

/// Packs events, in their order, into as few entries as fit, and these into calls.
#[must_use]
pub fn pack(records: &[Record]) -> Vec<Vec<Entry>> {
    let mut calls: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries(records) {
        let fits = calls.last().is_some_and(|call| call.len() < MAX_ENTRIES)
            && bytes + entry.lines.len() <= MAX_CALL_BYTES;
        if !fits {
            calls.push(Vec::new());
            bytes = 0;
        }
        bytes += entry.lines.len();
        if let Some(call) = calls.last_mut() {
            call.push(entry);
        }
    }
    calls
}

fn entries(records: &[Record]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut left: usize = records.iter().map(|record| record.line().len()).sum();
    for (index, record) in records.iter().enumerate() {
        let line = record.line();
        match entries.last_mut() {
            Some(entry) if entry.lines.len() + line.len() <= MAX_RECORD_BYTES => {
                entry.lines.extend_from_slice(line);
                entry.events.end = index + 1;
            }
            _ => {
                // The final capacity, so that nothing is copied twice.
                let mut lines = Vec::with_capacity(left.min(MAX_RECORD_BYTES.max(line.len())));
                lines.extend_from_slice(line);
                entries.push(Entry { lines, events: index..index + 1 });
            }
        }
        left -= line.len();
    }
    entries
}

#[cfg(test)]
mod tests {
    use weir_core::{Event, Stamp, Timestamp};

    use super::*;

    fn record(bytes: usize) -> Record {
        let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes.saturating_sub(8)));
        let stamp = Stamp {
            username: "u".parse().unwrap(),
            event_id: "1".parse().unwrap(),
            received_at: Timestamp::saturating(1),
        };
        Record::accepted(&Event::read(&text).unwrap(), &"t".parse().unwrap(), None, stamp)
    }

    #[test]
    fn a_hundred_small_events_are_one_entry_of_one_call() {
        let records: Vec<Record> = (0..100).map(|_| record(300)).collect();
        let calls = pack(&records);
        assert_eq!((calls.len(), calls[0].len(), calls[0][0].events.clone()), (1, 1, 0..100));
    }

    #[test]
    fn no_limit_is_passed_and_no_event_is_left_out() {
        for sizes in [vec![250_000; 100], vec![10; 20_000], (0..300).map(|n| n * 800).collect(), vec![]] {
            let records: Vec<Record> = sizes.into_iter().map(record).collect();
            let calls = pack(&records);
            let mut next = 0;
            for call in &calls {
                assert!(call.len() <= 500);
                assert!(call.iter().map(|entry| entry.lines.len()).sum::<usize>() <= 4 << 20);
                for entry in call {
                    assert!(entry.lines.len() <= 900 * 1024 && entry.lines.ends_with(b"\n"));
                    let lines: Vec<u8> =
                        records[entry.events.clone()].iter().flat_map(|r| r.line().to_vec()).collect();
                    assert_eq!((entry.events.start, &lines), (next, &entry.lines));
                    next = entry.events.end;
                }
            }
            assert_eq!(next, records.len());
        }
    }
}
