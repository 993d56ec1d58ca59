//! The source of randomness: passed in, so that a run can be repeated.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

/// A source of random bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes` with randomness.
    fn fill(&self, bytes: &mut [u8]);

    /// Returns 128 random bits as 32 hexadecimal digits: a name that is used once.
    fn token(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }
}

/// The operating system's randomness, fit for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        // Linux's getrandom(2) cannot fail once the system has booted. Without randomness no secret and no identity may be
        // made, so the process stops.
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}

/// The operating system's randomness, of which each thread takes a kilobyte in advance: for ids, of which a server makes
/// hundreds of thousands a second. Not for secrets, as bytes wait in memory until they are used.
#[derive(Debug, Clone, Copy, Default)]
pub struct BufferedRandom;

/// The bytes that a thread takes in advance.
const BUFFER_BYTES: usize = 1024;

thread_local! {
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer { bytes: [0; BUFFER_BYTES], used: BUFFER_BYTES }) };
}

struct Buffer {
    bytes: [u8; BUFFER_BYTES],
    used: usize,
}

impl Buffer {
    /// Fills `bytes`, which are no more than the buffer has; no byte is used twice.
    fn fill(&mut self, bytes: &mut [u8]) {
        if BUFFER_BYTES - self.used < bytes.len() {
            SystemRandom.fill(&mut self.bytes);
            self.used = 0;
        }
        bytes.copy_from_slice(&self.bytes[self.used..self.used + bytes.len()]);
        self.used += bytes.len();
    }
}

impl Random for BufferedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for bytes in bytes.chunks_mut(BUFFER_BYTES) {
            BUFFER.with_borrow_mut(|buffer| buffer.fill(bytes));
        }
    }
}

/// A repeatable sequence (SplitMix64): for tests and simulations, never for secrets.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// Makes the sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut x =
                self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn buffered_randomness_never_gives_bytes_twice_on_any_thread() {
        let take = || {
            let mut long = [0; 3 * BUFFER_BYTES + 1];
            BufferedRandom.fill(&mut long);
            let tokens = (0..1000).map(|_| BufferedRandom.token());
            tokens.chain(long.chunks_exact(16).map(|bytes| format!("{bytes:02x?}"))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(take)).collect();
        let taken: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let different: HashSet<&String> = taken.iter().collect();
        assert_eq!((different.len(), taken.len()), (taken.len(), 4 * (1000 + 192)));
    }
}
