//! What a child process says on standard error, within bounds.

use std::{
    io::{self, Read},
    thread::{self, JoinHandle},
};

/// The most bytes that are kept.
const KEPT: u64 = 4096;

/// The thread that reads it.
pub(crate) struct Stderr(JoinHandle<String>);

impl Stderr {
    /// Reads to the end, beside the caller.
    pub(crate) fn of(mut from: impl Read + Send + 'static) -> Self {
        Self(thread::spawn(move || {
            let mut text = Vec::new();
            // The rest is read, too: a full pipe would stop the child.
            let read = from.by_ref().take(KEPT).read_to_end(&mut text);
            let _ = read.and_then(|_| io::copy(&mut from, &mut io::sink()));
            String::from_utf8_lossy(&text).trim().to_owned()
        }))
    }

    /// Returns the beginning of the text, once the child has closed it. What cannot be read is missing.
    pub(crate) fn text(self) -> String {
        self.0.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_and_the_rest_is_read_all_the_same() {
        assert_eq!(Stderr::of(&b" why\n"[..]).text(), "why");
        // More than fits into a pipe.
        let (read, mut write) = io::pipe().unwrap();
        let writer = thread::spawn(move || io::Write::write_all(&mut write, &vec![b'x'; 1_000_000]));
        assert_eq!(Stderr::of(read).text().len(), 4096);
        assert!(writer.join().unwrap().is_ok());
    }
}
