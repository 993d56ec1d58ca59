//! The rows of sealed days, where events are forgotten: only an SQL engine reads and writes them.

use std::collections::BTreeMap;

use super::{Generation, SealedType, ToWrite};
use crate::{EventType, Partition, Username, ports::PortError};

/// Reads the stored lines of sealed days, and writes generations without some of them.
pub trait SealedRows {
    /// Passes on each stored line of a user's events in these generations, repeats included.
    fn each(
        &self,
        generations: &[&Generation],
        username: &Username,
        take: &mut dyn FnMut(&Partition, &[u8]),
    ) -> Result<(), PortError>;

    /// Writes a generation with the rows of the one before, but for a user's lines that are gone; `None`, and nothing is written,
    /// if there are no such lines. Its files are durable when this returns.
    fn write_without(
        &self,
        to_write: ToWrite<'_>,
        username: &Username,
        is_gone: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<BTreeMap<EventType, SealedType>>, PortError>;
}
