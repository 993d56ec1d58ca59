//! A Bloom filter over digests: for most of the digests that a run does not have, it answers without a look into the run.
//!
//! It is a split block filter: a digest sets eight bits in one block of 256, so that a lookup touches one line of the
//! processor's cache. The digest is a hash already, so its bits choose the block and the bits in it.

use weir_core::dedup::IdentityDigest;

/// The digests that a block has room for. One lookup in a thousand is then wrong.
const DIGESTS_PER_BLOCK: u64 = 16;

/// The lanes of a block, of which a digest sets one bit each.
const LANES: usize = 8;

const BLOCK_BYTES: usize = LANES * 4;

/// The blocks of a piece, which takes a page of the store.
const BLOCKS_PER_PIECE: usize = 125;

/// A filter of a set of digests. An empty one may have any digest.
#[derive(Debug)]
pub(super) struct Filter(Vec<[u32; LANES]>);

impl Filter {
    /// Makes a filter with room for this many digests.
    pub(super) fn with_room_for(digests: u64) -> Self {
        let blocks = usize::try_from(digests.div_ceil(DIGESTS_PER_BLOCK)).unwrap_or(usize::MAX);
        Self(vec![[0; LANES]; blocks])
    }

    /// Makes a filter that has no memory, and may have any digest.
    pub(super) fn of_anything() -> Self {
        Self(Vec::new())
    }

    /// Adds a digest.
    pub(super) fn add(&mut self, digest: &IdentityDigest) {
        let (block, bits) = self.place(digest);
        if let Some(block) = self.0.get_mut(block) {
            block.iter_mut().zip(bits).for_each(|(lane, bit)| *lane |= bit);
        }
    }

    /// Returns whether the set may have the digest. If not, it has not.
    pub(super) fn may_have(&self, digest: &IdentityDigest) -> bool {
        let (block, bits) = self.place(digest);
        self.0.get(block).is_none_or(|block| block.iter().zip(bits).all(|(lane, bit)| lane & bit != 0))
    }

    /// Returns the number of the digest's block, and its bit in each lane.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number is below that of the blocks, and a bit below 32"
    )]
    fn place(&self, digest: &IdentityDigest) -> (usize, [u32; LANES]) {
        let number = u128::from_be_bytes(*digest);
        let (block, bits) = (((number >> 64) * self.0.len() as u128) >> 64, number as u64);
        (block as usize, std::array::from_fn(|lane| 1 << ((bits >> (5 * lane)) & 31)))
    }

    /// Returns a piece of the filter's bytes; `None` behind the last one. [`Filter::read`] makes the filter of all of them.
    pub(super) fn piece(&self, number: usize) -> Option<Vec<u8>> {
        let blocks = self.0.chunks(BLOCKS_PER_PIECE).nth(number)?;
        Some(blocks.iter().flatten().flat_map(|lane| lane.to_le_bytes()).collect())
    }

    /// Reads a filter. Bytes that are none make one that may have any digest.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let (blocks, []) = bytes.as_chunks::<BLOCK_BYTES>() else { return Self::of_anything() };
        let lane = |block: &[u8; BLOCK_BYTES], lane: usize| {
            u32::from_le_bytes(std::array::from_fn(|at| block[lane * 4 + at]))
        };
        Self(blocks.iter().map(|block| std::array::from_fn(|at| lane(block, at))).collect())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn read(filter: &Filter) -> Filter {
        Filter::read(&(0..).map_while(|number| filter.piece(number)).flatten().collect::<Vec<_>>())
    }

    fn digest(number: u64) -> IdentityDigest {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(number.to_le_bytes())[..16]);
        digest
    }

    #[test]
    fn a_filter_has_each_digest_that_was_added_and_few_others() {
        for size in [1, 16, 17, 10_000] {
            let mut filter = Filter::with_room_for(size);
            (0..size).for_each(|number| filter.add(&digest(number)));
            let read = read(&filter);
            assert!(
                (0..size).all(|number| filter.may_have(&digest(number)) && read.may_have(&digest(number)))
            );
            let wrong = (0..10_000).filter(|number| filter.may_have(&digest(size + number))).count();
            assert!(wrong < 60, "{wrong} of 10,000 with {size} digests");
        }
    }

    #[test]
    fn a_filter_without_memory_may_have_any_digest() {
        let mut filter = Filter::of_anything();
        filter.add(&digest(1));
        assert!(filter.may_have(&digest(2)));
        assert!(read(&filter).may_have(&digest(2)));
        assert!(Filter::read(&[0; 31]).may_have(&digest(2)), "damaged bytes");
    }
}
