//! Reads NDJSON line by line, in bounded memory.

use std::io::BufRead;

use anyhow::{Context, Result};
use weir_core::Violation;

use super::{
    event_ids::Stamper,
    mapping::Mapping,
    source::{Item, Source},
};

/// The longest line that is sent, and the most that is kept of a longer one. The server rejects an event long before that,
/// and reports so.
pub(super) const LONGEST: usize = 1 << 20;

/// The lines of a file.
pub(super) struct Lines<R> {
    content: R,
    stamper: Stamper,
    mapping: Mapping,
    number: u64,
}

impl<R: BufRead + Send> Lines<R> {
    pub(super) fn new(content: R, stamper: Stamper, mapping: Mapping) -> Self {
        Self { content, stamper, mapping, number: 0 }
    }
}

/// What was read of a line.
pub(super) struct LineRead {
    /// Whether there was anything, if only the end of the line.
    pub(super) any: bool,
    /// Whether more than [`LONGEST`] bytes were there; the rest was left out.
    pub(super) cut: bool,
    /// Whether the line has its end. The last line of a file may have none.
    pub(super) ended: bool,
}

/// Reads to the end of a line, which is left out.
pub(super) fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<LineRead> {
    let mut read = LineRead { any: false, cut: false, ended: false };
    while !read.ended {
        let piece = from.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        read.any = true;
        let end = memchr::memchr(b'\n', piece);
        let text = &piece[..end.unwrap_or(piece.len())];
        let fits = text.len().min(LONGEST - line.len());
        line.extend_from_slice(&text[..fits]);
        read.cut |= fits < text.len();
        let used = end.map_or(piece.len(), |end| end + 1);
        from.consume(used);
        read.ended = end.is_some();
    }
    Ok(read)
}

impl<R: BufRead + Send> Source for Lines<R> {
    fn next(&mut self) -> Result<Option<Item>> {
        loop {
            let mut line = Vec::new();
            let LineRead { any, cut, .. } =
                read_line(&mut self.content, &mut line).context("the rest cannot be read")?;
            if !any {
                return Ok(None);
            }
            self.number += 1;
            let number = self.number;
            let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&line);
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let event = if cut {
                let longest = bytesize::ByteSize(LONGEST as u64);
                Err(Violation::whole(format!("a line has at most {longest}; this one was not sent")))
            } else {
                Ok(self.stamper.stamp(number, &line, &self.mapping.event(text)).into_owned())
            };
            return Ok(Some(Item { number, original: line, event, cut }));
        }
    }
}

impl<R> std::fmt::Debug for Lines<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Lines").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::event_ids::{Ids, Seed};

    #[test]
    fn lines_keep_their_numbers_and_long_ones_are_cut() {
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(LONGEST));
        let text = format!("\u{feff}{{\"a\":1}}\r\n\n  \n{long}\n{{\"b\":2}}\nlast");
        let stamper = Stamper { seed: Seed::of_source("s"), ids: Ids::WholeContent, event_type: None };
        let mut lines = Lines::new(text.as_bytes(), stamper, Mapping::default());
        let mut read = || {
            let item = lines.next().unwrap()?;
            Some((item.number, item.original.len(), item.event.is_ok(), item.cut))
        };
        assert_eq!(read(), Some((1, 11, true, false)));
        assert_eq!(read(), Some((4, LONGEST, false, true)));
        assert_eq!(read(), Some((5, 7, true, false)));
        assert_eq!(read(), Some((6, 4, true, false)));
        assert_eq!(read(), None);
    }
}
