//! The events that a file's reader yields, line by line or row by row.

use anyhow::Result;
use weir_core::Violation;

/// One line of a file, or one row, which may span several lines.
#[derive(Debug)]
pub(super) struct Item {
    /// The number of its first line, from 1.
    pub(super) number: u64,
    /// The original text, without its line end.
    pub(super) original: Vec<u8>,
    /// The event, or why it cannot be sent.
    pub(super) event: Result<Vec<u8>, Violation>,
    /// Whether the original was cut to the longest text kept.
    pub(super) cut: bool,
}

/// The contents of a file, in the order of its lines.
pub(super) trait Source: Send {
    /// Returns the next line that is not blank; `None` at the end.
    fn next(&mut self) -> Result<Option<Item>>;
}
