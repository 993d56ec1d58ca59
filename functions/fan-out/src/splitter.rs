//! Sorts lines into partitions.
//!
//! Lines wait in one buffer per partition until a buffer is worth a segment, or until all buffers together exceed their
//! budget; then the largest are emptied. Which buffers are emptied, and when, depends on the lines alone, so that the same
//! batch becomes the same bytes. Beside its buffer, a partition takes the memory of its name and a few words.

use std::{cmp::Reverse, collections::BTreeMap, io, sync::Arc};

use weir_core::{BatchKey, EventType, Partition, RecordHead, RecordHeadError, forgotten::ForgottenEvents};

use crate::{
    dedup::Repeats,
    lines::Sink,
    object::{Draft, Object},
    quarantined::BadLine,
    spool::{Compressor, Spool},
};

/// The limits at which buffers are emptied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The bytes of one partition that are worth a segment.
    pub(crate) segment: usize,
    /// The memory that the buffers of all partitions may take, in bytes.
    pub(crate) budget: usize,
}

impl Limits {
    /// A segment is compressed without the text before it, which costs more the shorter it is: on events, segments of 64 KiB
    /// become 1 % larger than those of 128 KiB, and those of 8 KiB, which remain for each of four thousand partitions, 8 %.
    pub(crate) const USUAL: Self = Self { segment: 128 << 10, budget: 32 << 20 };
}

/// Sorts a batch's lines by partition.
pub(crate) struct Splitter {
    limits: Limits,
    batch: String,
    compressor: Compressor,
    partitions: BTreeMap<Partition, Draft>,
    bots: BTreeMap<Partition, u64>,
    quarantine: Draft,
    repeats: Repeats,
    dropped: u64,
    blank: u64,
    /// Events that must not come back; `None` if there are none.
    gone: Option<Arc<ForgottenEvents>>,
    forgotten: u64,
    /// The memory that the buffers take.
    buffered: usize,
    quarantined_lines: u64,
    /// A line for quarantine, while it is written.
    entry: Vec<u8>,
}

/// A batch, split.
pub(crate) struct Split {
    /// The objects for the lake.
    pub(crate) partitions: BTreeMap<Partition, Object>,
    /// The number of bots' events by user and hour, under the name of bots.
    pub(crate) bots: BTreeMap<Partition, u64>,
    /// The object for quarantine.
    pub(crate) quarantine: Option<Object>,
    /// The bytes of all objects.
    pub(crate) spool: Spool,
    /// The number of lines for quarantine.
    pub(crate) quarantined_lines: u64,
    /// The number of lines that were dropped, as their events came earlier in the batch.
    pub(crate) repeats: u64,
    /// The number of lines that were dropped, as their events were forgotten.
    pub(crate) forgotten: u64,
    /// The number of blank lines.
    pub(crate) blank: u64,
}

impl Splitter {
    pub(crate) fn new(batch: &BatchKey, limits: Limits) -> Self {
        Self {
            limits,
            batch: batch.as_str().to_owned(),
            compressor: Compressor::new(),
            partitions: BTreeMap::new(),
            bots: BTreeMap::new(),
            quarantine: Draft::default(),
            repeats: Repeats::of(batch),
            dropped: 0,
            blank: 0,
            gone: None,
            forgotten: 0,
            buffered: 0,
            quarantined_lines: 0,
            entry: Vec::new(),
        }
    }

    /// Drops the lines of these events.
    pub(crate) fn without(self, gone: Option<Arc<ForgottenEvents>>) -> Self {
        Self { gone: gone.filter(|gone| !gone.is_empty()), ..self }
    }

    pub(crate) fn finish(mut self) -> io::Result<Split> {
        let compressor = &mut self.compressor;
        let finish = |(partition, draft): (Partition, Draft)| Ok((partition, draft.finish(compressor)?));
        let partitions = self.partitions.into_iter().map(finish).collect::<io::Result<_>>()?;
        let quarantine = self.quarantine.finish(&mut self.compressor)?;
        Ok(Split {
            partitions,
            bots: self.bots,
            quarantine: (quarantine.lines() > 0).then_some(quarantine),
            spool: self.compressor.into_spool(),
            quarantined_lines: self.quarantined_lines,
            repeats: self.dropped,
            forgotten: self.forgotten,
            blank: self.blank,
        })
    }

    /// Once the budget is exceeded, empties buffers, the largest first, until half of it is free: with many small buffers,
    /// sorting all of them to empty a single one would cost more than it frees.
    fn keep_to_budget(&mut self) -> io::Result<()> {
        if self.buffered <= self.limits.budget {
            return Ok(());
        }
        let all = self.partitions.values_mut().chain([&mut self.quarantine]);
        let mut drafts: Vec<_> = all.filter(|draft| draft.waiting() > 0).collect();
        // The sort is stable, so buffers of one size stay in the partitions' order.
        drafts.sort_by_key(|draft| Reverse(draft.waiting()));
        for draft in drafts {
            if self.buffered <= self.limits.budget / 2 {
                break;
            }
            self.buffered -= draft.memory();
            draft.flush(&mut self.compressor)?;
        }
        Ok(())
    }
}

/// Adds a line to a draft, and empties the draft if it has enough for a segment. Returns the memory that all buffers take then.
fn add(
    draft: &mut Draft,
    line: &[u8],
    buffered: usize,
    segment: usize,
    compressor: &mut Compressor,
) -> io::Result<usize> {
    let before = draft.memory();
    draft.add(line);
    if draft.waiting() >= segment {
        draft.flush(compressor)?;
    }
    Ok(buffered - before + draft.memory())
}

impl Sink for Splitter {
    fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
        let head = match route(line) {
            Ok(head) => head,
            Err(_) if self.gone.as_ref().is_some_and(|gone| gone.has_line(line)) => {
                self.forgotten += 1;
                return Ok(());
            }
            Err(reason) => {
                return self.bad_line(&BadLine { number, part: None, reason: &reason, bytes: line });
            }
        };
        if self.gone.as_ref().is_some_and(|gone| gone.has(&head)) {
            self.forgotten += 1;
            return Ok(());
        }
        if self.repeats.has(&head) {
            self.dropped += 1;
            return Ok(());
        }
        if head.is_of_a_bot {
            let of_bots = Partition { event_type: EventType::bots(), ..head.partition.clone() };
            *self.bots.entry(of_bots).or_default() += 1;
        }
        let draft = self.partitions.entry(head.partition).or_default();
        self.buffered = add(draft, line, self.buffered, self.limits.segment, &mut self.compressor)?;
        self.keep_to_budget()
    }

    fn bad_line(&mut self, line: &BadLine<'_>) -> io::Result<()> {
        // A line in parts is counted with its first part.
        if matches!(line.part, None | Some(1)) {
            self.quarantined_lines += 1;
        }
        line.write(&self.batch, &mut self.entry);
        let draft = &mut self.quarantine;
        self.buffered = add(draft, &self.entry, self.buffered, self.limits.segment, &mut self.compressor)?;
        self.keep_to_budget()
    }

    fn blank_line(&mut self) {
        self.blank += 1;
    }
}

/// The length at which a reason is cut: it may quote a value of any length.
const MAX_REASON_CHARS: usize = 200;

/// Returns a line's head, which says where the line belongs, or the reason why it has none.
fn route(line: &[u8]) -> Result<RecordHead, String> {
    RecordHead::read(line).map_err(|error| shorten(&error))
}

fn shorten(error: &RecordHeadError) -> String {
    let mut reason = error.to_string();
    // The parser always says line 1, which would be mistaken for the batch's first line.
    if let Some((what, column)) = reason.rsplit_once(" at line 1 column ") {
        reason = format!("{what} at byte {column}");
    }
    match reason.char_indices().nth(MAX_REASON_CHARS) {
        Some((at, _)) => format!("{}…", &reason[..at]),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::{lines, partition, record, run};

    fn splitter(limits: Limits) -> Splitter {
        Splitter::new(&BatchKey::new("b.gz"), limits)
    }

    fn bytes(object: Object, spool: &Spool) -> Vec<u8> {
        let pieces: Vec<_> = run(object.into_content(spool).collect());
        pieces.into_iter().flat_map(Result::unwrap).collect()
    }

    /// All objects' bytes; quarantine's last.
    fn objects(split: Split) -> Vec<Vec<u8>> {
        let all = split.partitions.into_values().chain(split.quarantine);
        all.map(|object| bytes(object, &split.spool)).collect()
    }

    #[test]
    fn buffers_stay_within_their_budget_however_many_partitions_there_are() {
        let limits = Limits { segment: 128 << 10, budget: 1 << 20 };
        let mut splitter = splitter(limits);
        let (mut largest, mut expected) = (0, 0);
        for n in 0..20_000u64 {
            // Some partitions get far more than others.
            let hour = if n % 3 == 0 { n % 5 } else { n % 1_000 };
            let line = record("ethan", "a", hour, &format!("e-{n}")).replace('é', &"x".repeat(300));
            expected += u64::from(hour == 7);
            splitter.line(n, line.as_bytes()).unwrap();
            if n % 10 == 0 {
                splitter.line(n, b"broken").unwrap();
            }
            let drafts = splitter.partitions.values().chain([&splitter.quarantine]);
            if n % 500 == 0 {
                assert_eq!(splitter.buffered, drafts.map(Draft::memory).sum::<usize>());
            }
            largest = splitter.buffered.max(largest);
        }
        assert!(largest <= limits.budget && largest > limits.budget / 2, "{largest}");
        let split = splitter.finish().unwrap();
        assert_eq!((split.partitions.len(), split.quarantined_lines), (1_000, 2_000));
        assert_eq!(split.partitions[&partition("ethan", "a", 7)].lines(), expected);
        let total: usize = objects(split).iter().map(|object| lines(object).len()).sum();
        assert_eq!(total, 22_000);
    }

    #[test]
    fn a_line_larger_than_the_budget_passes() {
        let mut splitter = splitter(Limits { segment: 1 << 20, budget: 1_000 });
        let line = record("ethan", "a", 1, "e").replace('é', &"x".repeat(5_000));
        splitter.line(1, line.as_bytes()).unwrap();
        splitter.bad_line(&BadLine { number: 2, part: None, reason: "", bytes: &[0; 5_000] }).unwrap();
        assert_eq!(splitter.buffered, 0);
        let split = splitter.finish().unwrap();
        assert_eq!(split.quarantined_lines, 1);
        assert_eq!(lines(&objects(split)[0]), [line]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whenever_buffers_are_emptied_the_lines_are_the_same_and_in_their_order(
            events in prop::collection::vec((0..30u64, 0..1_000usize), 0..200),
            segment in 1..10_000usize, budget in 1..20_000usize,
        ) {
            let split = |limits| {
                let mut splitter = splitter(limits);
                for ((hour, length), number) in events.iter().zip(1..) {
                    let id = format!("e-{number}");
                    let line = record("ethan", "a", *hour, &id).replace('é', &"x".repeat(*length));
                    splitter.line(number, line.as_bytes()).unwrap();
                    assert!(splitter.buffered <= limits.budget);
                }
                objects(splitter.finish().unwrap())
            };
            let limits = Limits { segment, budget };
            let cramped = split(limits);
            prop_assert!(cramped == split(limits));
            let text = |objects: Vec<Vec<u8>>| objects.iter().map(|object| lines(object)).collect::<Vec<_>>();
            prop_assert_eq!(text(cramped), text(split(Limits::USUAL)));
        }
    }
}
