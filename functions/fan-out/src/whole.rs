//! Reads the lines of an object, each of them whole however long it is, and takes lines out of it: where events are forgotten, which
//! a command does and no function with little memory.

use std::io;

use futures_util::StreamExt;
use weir_core::{BatchKey, RecordHead, ports::Content};

use crate::{
    dedup::Repeats,
    lines::Sink,
    object::Draft,
    quarantined::BadLine,
    reader::{ReadError, Reader},
    spool::Compressor,
    without::{Without, WithoutError},
};

/// The bytes of lines that are worth a segment.
const SEGMENT: usize = 128 << 10;

/// Passes on each line of an object that is not blank.
pub async fn each_line(content: Content, take: &mut (dyn FnMut(&[u8]) + Send)) -> Result<(), WithoutError> {
    read(content, &mut Whole { then: Look(take), long: Vec::new() }).await
}

/// Takes lines out of an object. In a batch, whose key is given, an empty line stays in the place of each, as long as it has any
/// other; and what was dropped as a repeat goes with them, so that it is not filed in the place of a line that is gone.
pub async fn lines_without(
    content: Content,
    batch: Option<&BatchKey>,
    is_gone: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> Result<Without, WithoutError> {
    let then = Sieve {
        is_gone,
        repeats: batch.map(Repeats::of),
        draft: Draft::default(),
        compressor: Compressor::new(),
        gone: 0,
        kept: 0,
    };
    let mut whole = Whole { then, long: Vec::new() };
    read(content, &mut whole).await?;
    let Sieve { draft, mut compressor, gone, kept, .. } = whole.then;
    if gone == 0 {
        return Ok(Without::Same);
    }
    if kept == 0 {
        return Ok(Without::Nothing);
    }
    let object = draft.finish(&mut compressor).map_err(WithoutError::Spool)?;
    Ok(Without::Rest { length: object.length(), content: object.into_content(&compressor.into_spool()) })
}

async fn read(mut content: Content, whole: &mut Whole<impl Take>) -> Result<(), WithoutError> {
    let failed = |error| match error {
        ReadError::Damaged(damage) => WithoutError::Damaged(damage),
        ReadError::Sink(source) => WithoutError::Spool(source),
    };
    let mut reader = Reader::new();
    while let Some(bytes) = content.next().await {
        reader.push(&bytes.map_err(WithoutError::Read)?, whole).map_err(failed)?;
        tokio::task::coop::consume_budget().await;
    }
    reader.finish(whole).map_err(failed)?;
    whole.end_long_line().map_err(WithoutError::Spool)
}

/// Takes whole lines.
trait Take {
    fn line(&mut self, line: &[u8]) -> io::Result<()>;
    fn blank_line(&mut self) {}
}

/// Puts the parts of long lines together.
struct Whole<T> {
    then: T,
    long: Vec<u8>,
}

impl<T: Take> Whole<T> {
    fn end_long_line(&mut self) -> io::Result<()> {
        let long = std::mem::take(&mut self.long);
        if long.is_empty() { Ok(()) } else { self.then.line(&long) }
    }
}

impl<T: Take> Sink for Whole<T> {
    fn line(&mut self, _: u64, line: &[u8]) -> io::Result<()> {
        self.end_long_line()?;
        self.then.line(line)
    }

    fn bad_line(&mut self, line: &BadLine<'_>) -> io::Result<()> {
        if matches!(line.part, None | Some(1)) {
            self.end_long_line()?;
        }
        self.long.extend_from_slice(line.bytes);
        Ok(())
    }

    fn blank_line(&mut self) {
        self.then.blank_line();
    }
}

struct Look<'a>(&'a mut (dyn FnMut(&[u8]) + Send));

impl Take for Look<'_> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        (self.0)(line);
        Ok(())
    }
}

struct Sieve<'a> {
    is_gone: &'a mut (dyn FnMut(&[u8]) -> bool + Send),
    /// The events that came earlier in the batch, if it is one.
    repeats: Option<Repeats>,
    draft: Draft,
    compressor: Compressor,
    gone: u64,
    kept: u64,
}

impl Take for Sieve<'_> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let head = RecordHead::read(line).ok();
        let is_repeat = self.repeats.as_mut().zip(head).is_some_and(|(repeats, head)| repeats.has(&head));
        let is_gone = (self.is_gone)(line);
        self.gone += u64::from(is_gone);
        if is_gone || is_repeat {
            self.blank_line();
        } else {
            self.kept += 1;
            self.draft.add(line);
        }
        if self.draft.waiting() >= SEGMENT { self.draft.flush(&mut self.compressor) } else { Ok(()) }
    }

    fn blank_line(&mut self) {
        if self.repeats.is_some() {
            self.draft.add(b"");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;
    use crate::{
        lines::MAX_LINE_BYTES,
        memory::{gzip, record, run},
    };

    fn content(bytes: &[u8]) -> Content {
        let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Box::pin(stream::iter(pieces))
    }

    fn text(object: &[u8]) -> String {
        use std::io::Read;
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(object).read_to_string(&mut text).unwrap();
        text
    }

    fn without(batch: Option<&BatchKey>, all: &str, mark: &str) -> Option<String> {
        let mut is_gone = |line: &[u8]| String::from_utf8_lossy(line).contains(mark);
        match run(lines_without(content(&gzip(all.as_bytes())), batch, &mut is_gone)).unwrap() {
            Without::Same => Some(all.to_owned()),
            Without::Nothing => None,
            Without::Rest { content, .. } => {
                let pieces: Vec<_> = run(content.collect());
                Some(text(&pieces.into_iter().flat_map(Result::unwrap).collect::<Vec<u8>>()))
            }
        }
    }

    #[test]
    fn a_line_is_seen_whole_however_long_it_is() {
        let long = format!("a{}z", "x".repeat(MAX_LINE_BYTES * 2 + 5));
        let all = format!("{long}\n\nshort\n{long}\n{long}");
        let mut seen = Vec::new();
        let gzip = gzip(all.as_bytes());
        run(each_line(content(&gzip), &mut |line| seen.push(line.to_vec()))).unwrap();
        assert!(seen == [long.as_bytes(), b"short", long.as_bytes(), long.as_bytes()]);
        assert_eq!(without(None, &all, "z").unwrap(), "short\n");
    }

    #[test]
    fn an_empty_line_stays_in_a_batch_in_the_place_of_each_line_that_goes() {
        let batch = BatchKey::new("raw/b.gz");
        let own = |id: &str| record("ann", "a", 7, id);
        let all = [&own("1"), "MARK", &own("2"), "", &own("3MARK"), &own("2"), &own("4")].join("\n");
        let wanted = format!("\n\n{}\n\n\n\n{}\n", own("2"), own("4"));
        let found = without(Some(&batch), &all.replacen(&own("1"), "xMARK", 1), "MARK").unwrap();
        assert_eq!(found, wanted);
        assert_eq!(without(Some(&batch), "MARK\n\nMARK\n", "MARK"), None, "nothing else is in it");
        assert_eq!(without(Some(&batch), "a\n\nb\n", "MARK").unwrap(), "a\n\nb\n");
        assert_eq!(without(None, "a\nMARK\nb\n", "MARK").unwrap(), "a\nb\n");
    }
}
