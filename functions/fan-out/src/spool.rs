//! The spool: where compressed segments wait until the objects they belong to are put.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    sync::Arc,
};

use flate2::{Compress, Compression, FlushCompress, Status};
use parking_lot::Mutex;
use tempfile::SpooledTempFile;

/// How many compressed bytes are kept in memory; more of them go to one temporary file without a name.
const IN_MEMORY: usize = 16 << 20;

/// How hard to compress. On events, level 2 costs a fifth of the whole run's speed against level 1 and takes
/// three tenths off the objects, which are stored and scanned for as long as the lake lasts; level 3 costs
/// another tenth and takes off three hundredths.
const LEVEL: u32 = 2;

/// Where in the spool a part of an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Takes segments in: each is compressed by itself, so that any of them can stand behind any other in one
/// stream of deflate, and one compressor serves all objects.
pub(crate) struct Compressor {
    deflate: Compress,
    /// Room for a compressed segment; what is behind it is of earlier ones.
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

    /// Compresses a segment into the spool. What it becomes depends on nothing but its bytes.
    pub(crate) fn compress(&mut self, segment: &[u8]) -> io::Result<Extent> {
        self.deflate.reset();
        let (mut rest, mut made) = (segment, 0);
        loop {
            // Deflate never adds more than this, so that the loop is run once. It is not made anew for each segment: that
            // would be to clear it for nothing.
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
            // The flush, which ends the segment on a whole byte, is complete once there was room to spare.
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

    /// Ends the writing; from now on it is read.
    pub(crate) fn into_spool(self) -> Spool {
        Spool(Arc::new(Mutex::new(self.file)))
    }
}

/// The segments of all objects of a batch. Clones read the same file, one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<Mutex<SpooledTempFile>>);

impl Spool {
    /// Reads what lies at `offset`, to the whole length of `bytes`.
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
