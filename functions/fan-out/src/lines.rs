//! Finds the lines of a text, however it is cut into pieces, in bounded memory.

use std::io;

use memchr::memchr;

use crate::quarantined::BadLine;

/// The longest line that is kept whole. Records have at most [`weir_core::MAX_RECORD_BYTES`], 900 KiB; the rest is room for white
/// space in files that an operator put into raw.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 20;

/// The size of the parts in which longer lines are quarantined.
pub(crate) const PART_BYTES: usize = 1 << 18;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes the lines of a batch, in their order.
pub(crate) trait Sink {
    /// Takes a line that is not blank, without its line end; `number` counts from 1.
    fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()>;

    /// Takes a line that is too long, or a part of it.
    fn bad_line(&mut self, line: &BadLine<'_>) -> io::Result<()>;

    /// Notes a blank line.
    fn blank_line(&mut self) {}
}

/// Cuts text into lines.
#[derive(Default)]
pub(crate) struct Lines {
    /// The number of lines that have ended.
    ended: u64,
    /// The beginning of the line that has not ended.
    pending: Vec<u8>,
    /// The number of that line's parts that were quarantined because it is too long.
    parts: u64,
}

impl Lines {
    /// Adds text.
    pub(crate) fn push(&mut self, mut text: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        while let Some(end) = memchr(b'\n', text) {
            let line = &text[..end];
            text = &text[end + 1..];
            if self.is_fresh() && line.len() <= MAX_LINE_BYTES {
                self.ended += 1;
                hand_over(self.ended, line, sink)?;
            } else {
                self.extend(line, sink)?;
                self.end_line(sink)?;
            }
        }
        self.extend(text, sink)
    }

    /// Ends the text. A last line counts even without a line break.
    pub(crate) fn end(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        if self.is_fresh() { Ok(()) } else { self.end_line(sink) }
    }

    fn is_fresh(&self) -> bool {
        self.pending.is_empty() && self.parts == 0
    }

    fn extend(&mut self, mut text: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        loop {
            let limit = if self.parts == 0 { MAX_LINE_BYTES } else { PART_BYTES };
            let room = limit - self.pending.len();
            if text.len() <= room {
                self.pending.extend_from_slice(text);
                return Ok(());
            }
            // The line is too long. Its parts begin at the same places however the text is cut.
            self.pending.extend_from_slice(&text[..room]);
            text = &text[room..];
            let pending = std::mem::take(&mut self.pending);
            for part in pending.chunks(PART_BYTES) {
                self.pending.extend_from_slice(part);
                self.quarantine_part(sink)?;
            }
        }
    }

    fn end_line(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        if self.parts > 0 {
            self.quarantine_part(sink)?;
        } else {
            hand_over(self.ended + 1, &self.pending, sink)?;
        }
        self.pending.clear();
        self.parts = 0;
        self.ended += 1;
        Ok(())
    }

    /// Quarantines the pending text as the next part of a line that is too long.
    fn quarantine_part(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        self.parts += 1;
        sink.bad_line(&BadLine {
            number: self.ended + 1,
            part: Some(self.parts),
            reason: &too_long(),
            bytes: &self.pending,
        })?;
        self.pending.clear();
        Ok(())
    }
}

fn too_long() -> String {
    format!("not a record: longer than {MAX_LINE_BYTES} bytes")
}

/// Hands a whole line over; a blank one is only noted.
fn hand_over(number: u64, line: &[u8], sink: &mut impl Sink) -> io::Result<()> {
    if is_blank(line) {
        sink.blank_line();
        return Ok(());
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    sink.line(number, line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))
}

pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Found {
        Line(u64, Vec<u8>),
        Bad(u64, Option<u64>, String, Vec<u8>),
    }

    #[derive(Default)]
    struct All(Vec<Found>);

    impl Sink for All {
        fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
            self.0.push(Found::Line(number, line.to_vec()));
            Ok(())
        }

        fn bad_line(&mut self, line: &BadLine<'_>) -> io::Result<()> {
            self.0.push(Found::Bad(line.number, line.part, line.reason.to_owned(), line.bytes.to_vec()));
            Ok(())
        }
    }

    fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Found> {
        let (mut lines, mut all) = (Lines::default(), All::default());
        for piece in pieces {
            lines.push(piece, &mut all).unwrap();
            assert!(lines.pending.capacity() <= 2 * MAX_LINE_BYTES);
        }
        lines.end(&mut all).unwrap();
        all.0
    }

    #[test]
    fn lines_are_numbered_as_they_stand_in_the_text() {
        let expected = [(2, "a"), (4, "b"), (6, "c")].map(|(n, line)| Found::Line(n, line.into()));
        let text = b"\na\r\n \n\xef\xbb\xbfb\n\r\nc";
        assert_eq!(read([&text[..]].into_iter()), expected);
        assert_eq!(read(text.chunks(1)), expected);
    }

    #[test]
    fn only_one_byte_order_mark_at_the_beginning_of_a_line_is_dropped() {
        let mark = "\u{feff}";
        let text = format!("{mark}{mark}a\nb{mark}c\n");
        let expected =
            [(1, format!("{mark}a")), (2, format!("b{mark}c"))].map(|(n, line)| Found::Line(n, line.into()));
        assert_eq!(read([text.as_bytes()].into_iter()), expected);
    }

    #[test]
    fn a_line_of_the_greatest_length_is_a_line_and_a_longer_one_comes_in_parts() {
        for length in [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 << 20, (3 << 20) + 7] {
            let line: Vec<u8> = (0..length).map(|n| b"0123456789"[n % 10]).collect();
            let text = [&b"first\n"[..], &line, b"\nlast"].concat();
            for pieces in [text.len(), 1 << 16, 99_999] {
                let found = read(text.chunks(pieces));
                assert_eq!(found[0], Found::Line(1, b"first".into()));
                assert_eq!(found.last(), Some(&Found::Line(3, b"last".into())));
                let middle = &found[1..found.len() - 1];
                if length <= MAX_LINE_BYTES {
                    assert!(middle == [Found::Line(2, line.clone())]);
                } else {
                    let parts = line.chunks(PART_BYTES).zip(1..);
                    let parts =
                        parts.map(|(bytes, part)| Found::Bad(2, Some(part), too_long(), bytes.to_vec()));
                    assert!(middle == parts.collect::<Vec<_>>());
                }
            }
        }
    }
}
