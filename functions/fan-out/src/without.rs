//! Takes lines out of a batch or out of an object of quarantine, in one pass and in bounded memory. Filed again, the batch becomes
//! the same objects as before, but for the lines that are gone.

use std::io;

use futures_util::StreamExt;
use weir_core::{BatchKey, RecordHead, ports::Content, quarantined_line};

use crate::{
    Damage,
    dedup::Repeats,
    lines::Sink,
    object::Draft,
    quarantined::BadLine,
    reader::{ReadError, Reader},
    spool::Compressor,
};

/// The bytes of lines that are worth a segment.
const SEGMENT: usize = 128 << 10;

/// What an object becomes without some of its lines.
pub enum Without {
    /// It has no such line.
    Same,
    /// It has no other line.
    Nothing,
    /// Something else.
    Rest {
        /// The size of the new object.
        length: u64,
        /// Its bytes.
        content: Content,
    },
}

/// Why no lines can be taken out of an object.
#[derive(Debug, thiserror::Error)]
pub enum WithoutError {
    /// The content broke off.
    #[error("reading it broke off: {0}")]
    Read(io::Error),
    /// The object is damaged, so it is not known which lines it has.
    #[error("it is damaged: {0}")]
    Damaged(Damage),
    /// The temporary file could not be written.
    #[error("the temporary file could not be written: {0}")]
    Spool(io::Error),
}

/// Takes lines out of a batch. `is_gone` decides by the head of a line, or without one where the line is not a record.
pub async fn batch_without(
    batch: &BatchKey,
    content: Content,
    is_gone: &mut (dyn FnMut(Option<&RecordHead>) -> bool + Send),
) -> Result<Without, WithoutError> {
    // What was dropped as a repeat must not be filed in the place of a line that is gone.
    let mut repeats = Repeats::of(batch);
    let mut decide = |line: Option<&[u8]>| {
        let head = line.and_then(|line| RecordHead::read(line).ok());
        let is_repeat = head.as_ref().is_some_and(|head| repeats.has(head));
        match is_gone(head.as_ref()) {
            true => Line::Gone,
            false if is_repeat => Line::Dropped,
            false => Line::Kept,
        }
    };
    sift(content, &mut decide).await
}

/// Takes entries out of an object of quarantine. `is_gone` decides by the line that an entry is about.
pub async fn quarantined_without(
    content: Content,
    is_gone: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> Result<Without, WithoutError> {
    let mut decide = |entry: Option<&[u8]>| match entry.and_then(quarantined_line) {
        Some(line) if is_gone(&line) => Line::Gone,
        _ => Line::Kept,
    };
    sift(content, &mut decide).await
}

/// What becomes of a line.
enum Line {
    Kept,
    Gone,
    /// It goes where the object changes at all.
    Dropped,
}

/// Decides by a line, or without it where it is too long to be a record.
type Decide<'a> = &'a mut (dyn FnMut(Option<&[u8]>) -> Line + Send);

async fn sift(mut content: Content, decide: Decide<'_>) -> Result<Without, WithoutError> {
    let failed = |error| match error {
        ReadError::Damaged(damage) => WithoutError::Damaged(damage),
        ReadError::Sink(source) => WithoutError::Spool(source),
    };
    let mut reader = Reader::new();
    let mut sieve = Sieve {
        decide,
        draft: Draft::default(),
        compressor: Compressor::new(),
        gone: 0,
        in_long_line: false,
    };
    while let Some(bytes) = content.next().await {
        reader.push(&bytes.map_err(WithoutError::Read)?, &mut sieve).map_err(failed)?;
        tokio::task::coop::consume_budget().await;
    }
    reader.finish(&mut sieve).map_err(failed)?;
    sieve.end_long_line();
    let Sieve { draft, mut compressor, gone, .. } = sieve;
    if gone == 0 {
        return Ok(Without::Same);
    }
    let object = draft.finish(&mut compressor).map_err(WithoutError::Spool)?;
    if object.lines() == 0 {
        return Ok(Without::Nothing);
    }
    Ok(Without::Rest { length: object.length(), content: object.into_content(&compressor.into_spool()) })
}

struct Sieve<'a> {
    decide: Decide<'a>,
    draft: Draft,
    compressor: Compressor,
    gone: u64,
    /// Whether parts of a line that is too long were kept, and its end is still to come.
    in_long_line: bool,
}

impl Sieve<'_> {
    fn keep(&mut self, text: &[u8], is_end: bool) -> io::Result<()> {
        if is_end {
            self.draft.add(text);
        } else {
            self.draft.add_part(text);
        }
        if self.draft.waiting() >= SEGMENT { self.draft.flush(&mut self.compressor) } else { Ok(()) }
    }

    fn end_long_line(&mut self) {
        if std::mem::take(&mut self.in_long_line) {
            self.draft.add(b"");
        }
    }
}

impl Sink for Sieve<'_> {
    fn line(&mut self, _: u64, line: &[u8]) -> io::Result<()> {
        self.end_long_line();
        match (self.decide)(Some(line)) {
            Line::Kept => return self.keep(line, true),
            Line::Gone => self.gone += 1,
            Line::Dropped => {}
        }
        Ok(())
    }

    /// Takes a part of a line that is too long, and keeps it as it is, or not.
    fn bad_line(&mut self, line: &BadLine<'_>) -> io::Result<()> {
        if line.part == Some(1) {
            self.end_long_line();
            if let Line::Gone = (self.decide)(None) {
                self.gone += 1;
                return Ok(());
            }
            self.in_long_line = true;
        }
        if self.in_long_line { self.keep(line.bytes, false) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;
    use crate::{
        lines::MAX_LINE_BYTES,
        memory::{Memory, gzip, lines, record, run},
    };

    fn content(bytes: &[u8]) -> Content {
        let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Box::pin(stream::iter(pieces))
    }

    /// Takes out what is of the hour 7, and what is not a record if `bad_too`.
    fn without_hour_7(batch: &BatchKey, object: &[u8], bad_too: bool) -> Result<Without, WithoutError> {
        let mut is_gone =
            |head: Option<&RecordHead>| head.map_or(bad_too, |head| head.partition.hour.since_epoch() == 7);
        run(batch_without(batch, content(object), &mut is_gone))
    }

    fn rest(without: Result<Without, WithoutError>) -> Vec<u8> {
        let Without::Rest { length, content } = without.unwrap() else { panic!("it does not change") };
        let pieces: Vec<_> = run(content.collect());
        let bytes: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    #[test]
    fn lines_that_are_gone_are_in_the_batch_no_more_and_all_others_are() {
        let batch = BatchKey::new("raw/b.gz");
        let long = "x".repeat(MAX_LINE_BYTES * 2 + 5);
        let own = |hour: u64, id: &str| record("ann", "a", hour, id);
        let all =
            [&own(7, "1"), "no record", &own(8, "2"), &long, &own(7, "3"), &own(9, "4"), &long].join("\n");
        let kept = |bad: &[&str]| -> Vec<String> {
            [&[own(8, "2").as_str(), own(9, "4").as_str()][..], bad]
                .concat()
                .iter()
                .map(|it| (*it).to_owned())
                .collect()
        };
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        let whole = lines(&rest(without_hour_7(&batch, &gzip(all.as_bytes()), false)));
        assert_eq!(sorted(whole), sorted(kept(&["no record", &long, &long])));
        let records = lines(&rest(without_hour_7(&batch, &gzip(all.as_bytes()), true)));
        assert_eq!(sorted(records), sorted(kept(&[])));
    }

    #[test]
    fn a_batch_without_such_lines_stays_and_one_of_no_others_goes() {
        let batch = BatchKey::new("raw/b.gz");
        let of = |hour| gzip(record("ann", "a", hour, "1").as_bytes());
        assert!(matches!(without_hour_7(&batch, &of(8), false), Ok(Without::Same)));
        assert!(matches!(without_hour_7(&batch, &of(7), false), Ok(Without::Nothing)));
        let mut cut = of(7);
        cut.pop();
        assert!(matches!(without_hour_7(&batch, &cut, false), Err(WithoutError::Damaged(_))));
    }

    #[test]
    fn filed_again_the_rest_becomes_what_it_was_and_no_repeat_takes_the_place_of_a_line_that_is_gone() {
        let batch = BatchKey::new("raw/b.gz");
        let own = |hour: u64, id: &str| record("ann", "a", hour, id);
        // The event 1 came again with another time.
        let object = gzip([own(7, "1"), own(8, "1"), own(8, "2"), own(8, "2")].join("\n").as_bytes());
        let memory = Memory::with(&batch, &[&object]);
        run(memory.fan_out().file(&batch)).unwrap();
        let mut expected = memory.state();
        expected.lake.retain(|(partition, _), _| partition.hour.since_epoch() != 7);
        let left = Memory::with(&batch, &[&rest(without_hour_7(&batch, &object, false))]);
        run(left.fan_out().file(&batch)).unwrap();
        assert_eq!(left.state().lake, expected.lake);
    }

    #[test]
    fn entries_of_quarantine_go_with_the_lines_that_they_are_about() {
        let entry = |text: &str| {
            serde_json::json!({"batch": "b", "line": 1, "reason": "r", "text": text}).to_string()
        };
        let damaged = r#"{"batch":"b","reason":"cut"}"#.to_owned();
        let object = gzip([entry("gone"), damaged.clone(), entry("kept")].join("\n").as_bytes());
        let left = run(quarantined_without(content(&object), &mut |line: &[u8]| line == b"gone"));
        assert_eq!(lines(&rest(left)), [damaged, entry("kept")]);
    }
}
