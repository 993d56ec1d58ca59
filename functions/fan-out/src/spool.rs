//! The spool: a temporary file in which compressed segments wait until their objects are put.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    sync::Arc,
};

use flate2::{Compress, Compression, FlushCompress, Status};
use parking_lot::Mutex;
use tempfile::SpooledTempFile;

/// The most compressed bytes that are kept in memory; more than that go to one temporary file without a name.
const IN_MEMORY: usize = 16 << 20;

/// The level of compression. On events, level 2 makes the whole run a fifth slower than level 1 and the objects three tenths
/// smaller, which are stored and scanned for as long as the lake lasts. Level 3 is another tenth slower, and its objects are
/// 3 % smaller.
const LEVEL: u32 = 2;

/// The place of a part of an object in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Compresses segments into the spool. Each is compressed by itself, so that any of them can follow any other in one stream of
/// deflate, and one compressor serves all objects.
pub(crate) struct Compressor {
    deflate: Compress,
    /// The buffer for a compressed segment; bytes behind it are left from earlier ones.
    compressed: Vec<u8>,
    file: SpooledTempFile,
    length: u64,
}

impl Compressor {
    pub(crate) fn new() -> Self {
        Self::keeping(IN_MEMORY)
    }

    fn keeping(in_memory: usize) -> Self {
        Self {
            deflate: Compress::new(Compression::new(LEVEL), false),
            compressed: Vec::new(),
            file: SpooledTempFile::new(in_memory),
            length: 0,
        }
    }

    /// Compresses a segment into the spool. The result depends on nothing but its bytes.
    pub(crate) fn compress(&mut self, segment: &[u8]) -> io::Result<Extent> {
        self.deflate.reset();
        let (mut rest, mut made) = (segment, 0);
        loop {
            // Deflate never adds more than this, so the loop runs once. The buffer is reused: a new one for each segment would
            // be cleared for nothing.
            let room = made + rest.len() + rest.len() / 4 + 64;
            if self.compressed.len() < room {
                self.compressed.resize(room, 0);
            }
            let (before_in, before_out) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self
                .deflate
                .compress(rest, &mut self.compressed[made..], FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // Both differences are at most as long as the slices given.
            let taken = usize::try_from(self.deflate.total_in() - before_in).unwrap_or(rest.len());
            made += usize::try_from(self.deflate.total_out() - before_out).unwrap_or_default();
            rest = &rest[taken..];
            // The flush, which ends the segment on a whole byte, is complete once there is room to spare.
            if rest.is_empty() && made < self.compressed.len() {
                break;
            }
            if status != Status::Ok {
                return Err(io::Error::other("the compressor came to a halt"));
            }
        }
        let compressed = &self.compressed[..made];
        self.file.write_all(compressed)?;
        let extent = Extent { offset: self.length, length: compressed.len() as u64 };
        self.length += extent.length;
        Ok(extent)
    }

    /// Ends writing and returns the spool for reading.
    pub(crate) fn into_spool(self) -> Spool {
        Spool(Arc::new(Mutex::new(self.file)))
    }
}

/// The segments of all objects of a batch. Clones read the same file, one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<Mutex<SpooledTempFile>>);

impl Spool {
    /// Fills `bytes` with the bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = self.0.lock();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use proptest::prelude::*;

    use super::*;

    fn read(spool: &Spool, extent: Extent) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(extent.length).unwrap()];
        spool.read(extent.offset, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn segments_join_into_one_stream_of_deflate_from_memory_and_from_disk(
            segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..12),
            repeats in 1..40usize,
            in_memory in prop_oneof![Just(0), Just(2000), Just(1 << 24)],
        ) {
            let mut compressor = Compressor::keeping(in_memory);
            let segments: Vec<_> = segments.iter().map(|segment| segment.repeat(repeats)).collect();
            let extents: Vec<_> = segments.iter().map(|segment| compressor.compress(segment).unwrap()).collect();
            let spool = compressor.into_spool();
            let mut stream: Vec<_> = extents.iter().flat_map(|extent| read(&spool, *extent)).collect();
            stream.extend([3, 0]);
            let mut text = Vec::new();
            DeflateDecoder::new(&stream[..]).read_to_end(&mut text).unwrap();
            prop_assert!(text == segments.concat());
        }

        #[test]
        fn a_segments_bytes_do_not_depend_on_what_was_pressed_before(
            before in prop::collection::vec(prop::collection::vec(0..4u8, 0..5000), 0..4),
            segment in prop::collection::vec(0..4u8, 0..5000),
            repeats in 1..20usize,
        ) {
            let segment = segment.repeat(repeats);
            let mut fresh = Compressor::new();
            let expected = fresh.compress(&segment).unwrap();
            let mut used = Compressor::new();
            for other in before {
                used.compress(&other).unwrap();
            }
            let extent = used.compress(&segment).unwrap();
            prop_assert!(read(&used.into_spool(), extent) == read(&fresh.into_spool(), expected));
        }
    }
}
