//! Objects, unfinished and finished: one gzip member of lines, assembled from segments in the spool.

use std::{io, vec};

use bytes::Bytes;
use flate2::Crc;
use futures_util::stream;
use memchr::memchr;
use weir_core::ports::Content;

use crate::spool::{Compressor, Extent, Spool};

/// A header by RFC 1952: deflate, no flags and no time; it names neither compressor nor system, so that nothing in it differs
/// from one run to the next.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block of deflate, which ends the segments.
const LAST_BLOCK: [u8; 2] = [3, 0];

const TRAILER_BYTES: usize = LAST_BLOCK.len() + 8;

/// The least capacity of a buffer, for a single short line.
const SMALLEST: usize = 512;

/// The bytes of an object that are handed out at a time.
const PIECE: usize = 1 << 16;

/// An unfinished object: its segments so far, and lines that gather until they are worth another.
#[derive(Default)]
pub(crate) struct Draft {
    waiting: Vec<u8>,
    memory: usize,
    extents: Vec<Extent>,
    crc: Crc,
    text_bytes: u64,
    lines: u64,
}

impl Draft {
    /// Adds a line and a line break. Carriage returns are left out: in JSON they can only be white space between tokens, and
    /// Hadoop's reader, which Athena uses, takes a lone one for the end of a line.
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.add_part(line);
        self.waiting.push(b'\n');
        self.lines += 1;
    }

    /// Adds a part of a line, whose end follows.
    pub(crate) fn add_part(&mut self, line: &[u8]) {
        // The buffer's capacity is the memory that it takes, so the growth is decided here and not by the vector. There is room
        // for a line break.
        let needed = self.waiting.len() + line.len() + 1;
        if needed > self.memory {
            self.memory = needed.next_power_of_two().max(SMALLEST);
            self.waiting.reserve_exact(self.memory - self.waiting.len());
        }
        if memchr(b'\r', line).is_some() {
            self.waiting.extend(line.iter().filter(|byte| **byte != b'\r'));
        } else {
            self.waiting.extend_from_slice(line);
        }
    }

    /// Returns the bytes that wait for their segment.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the memory that the waiting lines take, in bytes; it depends on nothing but the lines.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Makes a segment of the waiting lines, and frees their memory.
    pub(crate) fn flush(&mut self, compressor: &mut Compressor) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.waiting);
        self.memory = 0;
        let extent = compressor.compress(&text)?;
        self.crc.update(&text);
        self.text_bytes += text.len() as u64;
        match self.extents.last_mut() {
            Some(last) if last.offset + last.length == extent.offset => last.length += extent.length,
            _ => self.extents.push(extent),
        }
        Ok(())
    }

    /// Returns the finished object.
    pub(crate) fn finish(mut self, compressor: &mut Compressor) -> io::Result<Object> {
        self.flush(compressor)?;
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..2].copy_from_slice(&LAST_BLOCK);
        trailer[2..6].copy_from_slice(&self.crc.sum().to_le_bytes());
        // The format has room for the length's lower half only (RFC 1952, ISIZE).
        trailer[6..].copy_from_slice(&self.text_bytes.to_le_bytes()[..4]);
        Ok(Object { extents: self.extents, trailer, lines: self.lines })
    }
}

/// A finished object; its bytes lie in the spool.
pub(crate) struct Object {
    extents: Vec<Extent>,
    trailer: [u8; TRAILER_BYTES],
    lines: u64,
}

impl Object {
    /// Returns the number of its lines.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns its size in bytes.
    pub(crate) fn length(&self) -> u64 {
        let segments: u64 = self.extents.iter().map(|extent| extent.length).sum();
        (HEADER.len() + TRAILER_BYTES) as u64 + segments
    }

    /// Returns its bytes. Reading them blocks if the spool is on a disk.
    pub(crate) fn into_content(self, spool: &Spool) -> Content {
        Box::pin(stream::iter(Pieces {
            header: &HEADER,
            extent: Extent { offset: 0, length: 0 },
            extents: self.extents.into_iter(),
            trailer: Some(self.trailer),
            spool: spool.clone(),
        }))
    }
}

/// The pieces of an object that are still to be handed out.
struct Pieces {
    header: &'static [u8],
    extent: Extent,
    extents: vec::IntoIter<Extent>,
    trailer: Option<[u8; TRAILER_BYTES]>,
    spool: Spool,
}

impl Pieces {
    /// Returns the next piece; an empty one after the last.
    fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = std::mem::take(&mut self.header).to_vec();
        while piece.len() < PIECE {
            if self.extent.length == 0 {
                let Some(next) = self.extents.next() else {
                    piece.extend(self.trailer.take().into_iter().flatten());
                    break;
                };
                self.extent = next;
            }
            let start = piece.len();
            let length = usize::try_from(self.extent.length).unwrap_or(PIECE).min(PIECE - start);
            piece.resize(start + length, 0);
            self.spool.read(self.extent.offset, &mut piece[start..])?;
            self.extent.offset += length as u64;
            self.extent.length -= length as u64;
        }
        Ok(piece)
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.piece() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some(Ok(piece.into())),
            Err(error) => {
                // Nothing may follow a gap.
                (self.extent.length, self.extents, self.trailer) = (0, Vec::new().into_iter(), None);
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures_util::StreamExt;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::run;

    /// An object of segments of lines.
    fn made(segments: &[Vec<Vec<u8>>]) -> Vec<u8> {
        let (mut compressor, mut draft, mut other) = (Compressor::new(), Draft::default(), Draft::default());
        for segment in segments {
            for line in segment {
                draft.add(line);
                assert!(draft.waiting() <= draft.memory());
                assert!(draft.waiting.capacity() <= draft.memory());
            }
            draft.flush(&mut compressor).unwrap();
            // Another object's segments lie between.
            other.add(b"other");
            other.flush(&mut compressor).unwrap();
        }
        let object = draft.finish(&mut compressor).unwrap();
        assert_eq!(object.lines(), segments.iter().map(|segment| segment.len() as u64).sum::<u64>());
        let length = object.length();
        let pieces: Vec<_> = run(object.into_content(&compressor.into_spool()).collect());
        let bytes: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    #[test]
    fn an_object_without_lines_is_a_gzip_of_nothing() {
        let mut text = Vec::new();
        GzDecoder::new(&made(&[])[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, b"");
    }

    #[test]
    fn an_object_says_nothing_of_when_and_where_it_was_made() {
        let bytes = made(&[]);
        let decoder = GzDecoder::new(&bytes[..]);
        let header = decoder.header().unwrap();
        assert_eq!((header.mtime(), header.operating_system(), header.filename()), (0, 255, None));
    }

    #[test]
    fn a_line_is_kept_to_the_byte_but_for_carriage_returns() {
        let bytes = made(&[vec![b"{\"a\":\r\t1 }\r".to_vec(), " \u{e9}\0".into()]]);
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"a\":\t1 }\n \u{e9}\0\n");
    }

    #[test]
    fn nothing_follows_what_cannot_be_read() {
        let gone = vec![Extent { offset: 0, length: 10 }, Extent { offset: 10, length: 10 }];
        let object = Object { extents: gone, trailer: [0; TRAILER_BYTES], lines: 1 };
        let pieces: Vec<_> = run(object.into_content(&Compressor::new().into_spool()).collect());
        assert!(matches!(&pieces[..], [Err(_)]));
    }

    #[cfg(unix)]
    #[test]
    fn gzip_itself_reads_an_object() {
        use std::{
            io::{Seek, Write},
            process::Command,
        };

        let line = |n: u32| n.to_string().repeat(300).into_bytes();
        let segments: Vec<_> = (0..40).map(|n| (0..n).map(|m| line(n * m)).collect()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&made(&segments)).unwrap();
        file.rewind().unwrap();
        let answer = Command::new("gzip").arg("-dc").stdin(file).output().unwrap();
        assert!(answer.status.success() && answer.stderr.is_empty(), "{answer:?}");
        assert!(
            answer.stdout == segments.concat().join(&b'\n').into_iter().chain([b'\n']).collect::<Vec<_>>()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn an_object_is_one_gzip_member_of_its_lines(
            segments in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..8), 0..8),
            repeats in 1..30usize,
        ) {
            let segments: Vec<Vec<Vec<u8>>> = segments.into_iter()
                .map(|segment| segment.into_iter().map(|line| {
                    let line = line.repeat(repeats);
                    line.into_iter().filter(|byte| !b"\r\n".contains(byte)).collect()
                }).collect())
                .collect();
            let bytes = made(&segments);
            let (mut text, mut behind) = (Vec::new(), Vec::new());
            let mut decoder = GzDecoder::new(&bytes[..]);
            decoder.read_to_end(&mut text).unwrap();
            decoder.into_inner().read_to_end(&mut behind).unwrap();
            let ended = |line: &Vec<u8>| [&line[..], b"\n"].concat();
            prop_assert!(text == segments.concat().iter().map(ended).collect::<Vec<_>>().concat());
            prop_assert_eq!(behind, b"");
        }
    }
}
