//! Reads one gzip object line by line: counts the lines that are records of its partition, and describes the faults of the
//! others.

use std::{borrow::Cow, collections::HashMap, io, io::Write};

use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use weir_core::{
    MAX_RECORD_BYTES, Partition, RecordHead,
    catalog::Definition,
    latest::{LatestValue, Newest},
    ports::Content,
};

/// The contents of an object.
#[derive(Debug, Default)]
pub(super) struct Recounted {
    /// How many records belong to its partition.
    pub(super) events: u64,
    /// How many of them are of bots.
    pub(super) bots: u64,
    /// How many of them have each key.
    pub(super) keys: HashMap<String, u64>,
    /// The newest of them for each latest key.
    pub(super) latest: Newest,
    /// How many bytes were read.
    pub(super) bytes: u64,
    /// The object's faults.
    pub(super) faults: Vec<Fault>,
}

/// Something that should not be in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// How many lines have the fault, if it concerns lines.
    pub(super) lines: Option<u64>,
    /// A description, for the first such line.
    pub(super) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The gzip is damaged. None of its lines count, as any of them may be wrong.
    Damaged,
    /// Lines that are not records.
    NotARecord,
    /// Records of another partition. They count neither here, where SQL finds them, nor there.
    WrongPartition,
}

/// Recounts the object of a partition. An error means that reading failed; a defect of the object itself is a fault.
pub(super) async fn recount(
    content: Content,
    partition: &Partition,
    definition: Option<&Definition>,
) -> io::Result<Recounted> {
    let mut found = Recounted::default();
    let (mut not_records, mut misplaced) = (Lines::default(), Lines::default());
    let seen = read_lines(content, |number, line| match RecordHead::read(line) {
        Err(error) => not_records.add(number, || error.to_string()),
        Ok(head) if head.partition != *partition => {
            misplaced.add(number, || format!("belongs into {}", head.partition));
        }
        Ok(head) => {
            found.events += 1;
            found.bots += u64::from(head.is_of_a_bot);
            if let Some(key) = definition.and_then(|definition| definition.key_of_stored(line)) {
                count(&mut found.keys, key);
            }
            found.latest.extend(definition.and_then(|definition| value_of(definition, line)));
        }
    })
    .await?;
    if let Err(damage) = seen.sound {
        let fault = Fault { kind: FaultKind::Damaged, lines: None, detail: damage };
        return Ok(Recounted { bytes: seen.bytes, faults: vec![fault], ..Recounted::default() });
    }
    found.bytes = seen.bytes;
    let lines = [(FaultKind::NotARecord, not_records), (FaultKind::WrongPartition, misplaced)];
    found.faults = lines.into_iter().filter_map(|(kind, lines)| lines.fault(kind)).collect();
    Ok(found)
}

/// Returns the latest value that a stored line may be.
pub(super) fn value_of(definition: &Definition, line: &[u8]) -> Option<LatestValue> {
    let key = definition.latest_key_of_stored(line)?;
    LatestValue::read(key, line.to_vec().into()).ok()
}

pub(super) fn count(keys: &mut HashMap<String, u64>, key: Cow<'_, str>) {
    match keys.get_mut(&*key) {
        Some(count) => *count += 1,
        None => drop(keys.insert(key.into_owned(), 1)),
    }
}

/// Lines with the same fault.
#[derive(Default)]
pub(super) struct Lines {
    number: u64,
    first: Option<String>,
}

impl Lines {
    pub(super) fn add(&mut self, number: u64, detail: impl FnOnce() -> String) {
        self.number += 1;
        self.first.get_or_insert_with(|| format!("line {number}: {}", detail()));
    }

    pub(super) fn fault(self, kind: FaultKind) -> Option<Fault> {
        self.first.map(|detail| Fault { kind, lines: Some(self.number), detail })
    }
}

/// How reading an object went.
pub(crate) struct Seen {
    pub(super) bytes: u64,
    /// `Err` says why the lines cannot be trusted.
    pub(crate) sound: Result<(), String>,
}

/// Reads lines like [`read_lines`], from an object that may also be plain text, as a batch may be: its first two bytes decide.
#[cfg(feature = "aws")]
pub(crate) async fn read_batch(mut content: Content, mut take: impl FnMut(&[u8])) -> io::Result<Seen> {
    let mut head = Vec::new();
    while head.len() < 2
        && let Some(piece) = content.next().await
    {
        head.extend_from_slice(&piece?);
    }
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    let head = futures_util::stream::iter([Ok(head.into())]);
    let mut content: Content = Box::pin(head.chain(content));
    if is_gzip {
        return read_lines(content, |_, line| take(line)).await;
    }
    let mut splitter = Splitter { take: |_, line: &[u8]| take(line), number: 0, rest: Vec::new() };
    let mut bytes = 0;
    while let Some(piece) = content.next().await {
        let piece = piece?;
        bytes += piece.len() as u64;
        splitter.write_all(&piece)?;
    }
    splitter.end();
    Ok(Seen { bytes, sound: Ok(()) })
}

/// Passes on each line that is not blank, with its number from 1, in bounded memory for any input.
pub(super) async fn read_lines(mut content: Content, take: impl FnMut(u64, &[u8])) -> io::Result<Seen> {
    let mut decoder = MultiGzDecoder::new(Splitter { take, number: 0, rest: Vec::new() });
    let mut seen = Seen { bytes: 0, sound: Ok(()) };
    while let Some(piece) = content.next().await {
        let piece = piece?;
        seen.bytes += piece.len() as u64;
        if seen.sound.is_ok() {
            seen.sound = decoder.write_all(&piece).map_err(|error| error.to_string());
        }
    }
    if seen.bytes == 0 {
        seen.sound = Err("the object is empty".to_owned());
    }
    if seen.sound.is_ok() {
        seen.sound = match decoder.finish() {
            Ok(mut splitter) => {
                splitter.end();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err("the object is cut short".to_owned())
            }
            Err(error) => Err(error.to_string()),
        };
    }
    Ok(seen)
}

/// Splits text into lines.
struct Splitter<F> {
    take: F,
    number: u64,
    /// The start of the current line, as much as a record may have, so that a longer line is recognised as not a record.
    rest: Vec<u8>,
}

impl<F: FnMut(u64, &[u8])> Splitter<F> {
    fn keep(&mut self, part: &[u8]) {
        let room = (MAX_RECORD_BYTES + 1).saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn line(&mut self, line: &[u8]) {
        self.number += 1;
        if !line.trim_ascii().is_empty() {
            (self.take)(self.number, line);
        }
    }

    /// Ends the current line.
    fn end(&mut self) {
        if !self.rest.is_empty() {
            let mut line = std::mem::take(&mut self.rest);
            self.line(&line);
            line.clear();
            self.rest = line;
        }
    }
}

impl<F: FnMut(u64, &[u8])> Write for Splitter<F> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut left = text;
        while let Some(end) = memchr::memchr(b'\n', left) {
            let (line, behind) = (&left[..end], &left[end + 1..]);
            if self.rest.is_empty() {
                self.line(line);
            } else {
                self.keep(line);
                self.end();
            }
            left = behind;
        }
        self.keep(left);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use futures_util::stream;
    use proptest::prelude::*;
    use weir_core::Catalog;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn line(user: &str, button: &str) -> String {
        format!(
            r#"{{"event_id":"1","username":"{user}","event_type":"button_click","received_at":1,"button_id":"{button}"}}"#
        )
    }

    fn recounted(object: &[u8], pieces: usize) -> Recounted {
        let pieces: Vec<_> = object.chunks(pieces).map(|piece| Ok(piece.to_vec().into())).collect();
        let partition = "username=ann/button_click/year=1970/month=1/day=1/hour=0".parse().unwrap();
        let catalog = Catalog::built_in().unwrap();
        let definition = catalog.get(&"button_click".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(recount(Box::pin(stream::iter(pieces)), &partition, definition)).unwrap()
    }

    #[test]
    fn records_count_by_key_and_everything_else_is_reported() {
        let text = [
            line("ann", "a"),
            String::new(),
            line("bob", "a"),
            "junk".to_owned(),
            line("ann", "b"),
            line("ann", "a"),
            line("bob", "b"),
        ]
        .join("\n");
        let mut object = gzip(text.as_bytes());
        // A second gzip member, and a last line without a line end.
        object.extend(gzip(format!("\n{}", line("ann", "c")).as_bytes()));
        let found = recounted(&object, 7);
        assert_eq!((found.events, found.bytes), (4, object.len() as u64));
        assert_eq!(
            found.keys,
            HashMap::from([("a", 2), ("b", 1), ("c", 1)].map(|(key, n)| (key.to_owned(), n)))
        );
        let faults: Vec<_> =
            found.faults.iter().map(|fault| (fault.kind, fault.lines, fault.detail.as_str())).collect();
        assert_eq!(
            faults,
            [
                (FaultKind::NotARecord, Some(1), "line 4: not a record: not a JSON object"),
                (
                    FaultKind::WrongPartition,
                    Some(2),
                    "line 3: belongs into username=bob/button_click/year=1970/month=1/day=1/hour=0"
                ),
            ]
        );
    }

    #[test]
    fn a_line_longer_than_any_record_is_no_record_and_what_follows_is_read() {
        let text = format!("{{\"x\":\"{}\"}}\n{}\n", "y".repeat(3 << 20), line("ann", "a"));
        let found = recounted(&gzip(text.as_bytes()), 4096);
        assert_eq!((found.events, found.faults.len()), (1, 1));
        assert_eq!((found.faults[0].kind, found.faults[0].lines), (FaultKind::NotARecord, Some(1)));
    }

    #[test]
    fn nothing_of_a_damaged_object_counts() {
        let whole = gzip(format!("{}\n", line("ann", "a")).repeat(500).as_bytes());
        assert_eq!(recounted(&whole, 1000).events, 500);
        let mut behind = whole.clone();
        behind.extend(b"more");
        let plain = line("ann", "a").into_bytes();
        for damaged in [&whole[..whole.len() - 1], &whole[..40], &[][..], &behind, &plain] {
            let found = recounted(damaged, 1000);
            assert_eq!((found.events, found.keys.len(), found.faults.len()), (0, 0, 1));
            assert_eq!(found.faults[0].kind, FaultKind::Damaged);
        }
    }

    proptest! {
        #[test]
        fn a_byte_that_changed_is_found_or_changed_nothing(at in 0usize..1000, bit in 0u8..8) {
            let buttons: String = (0..200).map(|n| line("ann", &format!("{}", n * 7919)) + "\n").collect();
            let mut object = gzip(buttons.as_bytes());
            let whole = recounted(&object, 100);
            let at = at % object.len();
            object[at] ^= 1 << bit;
            let found = recounted(&object, 100);
            prop_assert!(!found.faults.is_empty() || (found.events, found.keys) == (whole.events, whole.keys));
        }
    }
}
