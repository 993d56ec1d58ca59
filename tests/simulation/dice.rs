//! All chance of a run: sequences that follow from its seed and from what they are for.

use std::{
    hash::{Hash, Hasher},
    ops::Range,
};

use weir_core::{Random, SeededRandom};

/// A sequence of its own for each purpose, so that one part of the world that throws more often leaves the others'
/// luck as it was.
pub(crate) struct Dice(SeededRandom);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(SeededRandom::new(fnv(fnv(0xcbf2_9ce4_8422_2325, &seed.to_le_bytes()), purpose.as_bytes())))
    }

    /// The sequence for what has this name, among very many.
    pub(crate) fn of(seed: u64, name: &impl Hash) -> Self {
        let mut hash = Fnv(fnv(0xcbf2_9ce4_8422_2325, &seed.to_le_bytes()));
        name.hash(&mut hash);
        Self(SeededRandom::new(hash.0))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number of the range, which is not empty.
    pub(crate) fn range(&self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        usize::try_from(self.range(0..length as u64)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// Whether something happens that happens so often of 1,000 times.
    pub(crate) fn chance(&self, of_1000: u64) -> bool {
        self.range(0..1000) < of_1000
    }

    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// Hashes what a sequence is for.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv(self.0, bytes);
    }
}

/// FNV-1a, for sequences and for the hash of a trace: the same on every machine.
pub(crate) fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}
