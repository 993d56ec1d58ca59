//! Events on their way to the writer, which are made into a row of the journal.

use rusqlite::Connection;
use weir_core::{
    Increment, Record, counts,
    dedup::IdentityDigest,
    latest::LatestValue,
    minutes::{Arrivals, arrivals},
};

use super::{latest::RowLatest, rejected::RejectedRow};
use crate::dedup::recent::RecentIds;

/// The records of one call.
pub(crate) struct Append {
    row: Row,
    /// All of the records if some may repeat an earlier one: repeats are left out.
    records: Vec<(Record, Option<IdentityDigest>)>,
    /// The indexes of the records that were left out.
    duplicates: Vec<usize>,
    /// The newest of the rejected records. A rejected record never repeats another, so none is left out.
    rejected: Vec<RejectedRow>,
}

/// One call's part of a row of the journal: its lines, their increments, and the newest events of resources.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) lines: Vec<u8>,
    pub(crate) events: u64,
    pub(crate) increments: Vec<Increment>,
    pub(crate) arrivals: Vec<Arrivals>,
    pub(crate) latest: RowLatest,
}

impl Row {
    fn of<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> Self {
        let mut lines = Vec::with_capacity(records.clone().map(|record| record.line().len()).sum());
        let (mut events, mut latest) = (0, RowLatest::default());
        for record in records.clone() {
            if let Some(value) = LatestValue::of(record) {
                latest.raise(value, lines.len());
            }
            lines.extend_from_slice(record.line());
            events += 1;
        }
        let (increments, arrivals) = (counts::increments(records.clone()), arrivals(records));
        Self { lines, events, increments, arrivals, latest }
    }
}

impl Append {
    pub(crate) fn of(records: Vec<Record>) -> Self {
        let (row, rejected) = (Row::of(records.iter()), RejectedRow::of(&records));
        let records = if records.iter().any(Record::may_repeat) {
            let with_id = |record: Record| {
                let identity = record.identity();
                let id = identity.is_given().then(|| identity.digest());
                (record, id)
            };
            records.into_iter().map(with_id).collect()
        } else {
            Vec::new()
        };
        Self { row, records, duplicates: Vec::new(), rejected }
    }

    /// Returns the bytes of all lines.
    pub(crate) fn bytes(&self) -> usize {
        self.row.lines.len()
    }

    /// Returns whether some of the events may have come before.
    pub(crate) fn may_repeat(&self) -> bool {
        !self.records.is_empty()
    }

    /// Remembers the new events, and leaves out the others. `next` is the number of the first new one.
    pub(crate) fn leave_out_repeats(
        &mut self,
        ids: &mut RecentIds,
        db: &Connection,
        next: u64,
    ) -> rusqlite::Result<()> {
        for (index, (_, id)) in self.records.iter().enumerate() {
            if let Some(id) = id
                && !ids.remember(db, id, next + (index - self.duplicates.len()) as u64)?
            {
                self.duplicates.push(index);
            }
        }
        if !self.duplicates.is_empty() {
            let is_new = |index: &usize| self.duplicates.binary_search(index).is_err();
            let left = self.records.iter().enumerate().filter(|(index, _)| is_new(index));
            self.row = Row::of(left.map(|(_, (record, _))| record));
        }
        Ok(())
    }

    pub(crate) fn take_row(&mut self) -> Row {
        std::mem::take(&mut self.row)
    }

    pub(crate) fn take_rejected(&mut self) -> Vec<RejectedRow> {
        std::mem::take(&mut self.rejected)
    }

    /// Returns the indexes of the records that were left out, in order.
    pub(crate) fn into_duplicates(self) -> Vec<usize> {
        self.duplicates
    }
}
