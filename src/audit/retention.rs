//! What retention removed is not compared: it is in no object, and stays in all counts.

use weir_core::Hour;

use super::compare::{InLake, Reading};

/// Leaves out the hours before `first`, of the lake and of both readings; returns how many settled events were in them.
pub(super) fn leave_out(first: Hour, lake: &mut InLake, readings: [&mut Reading; 2]) -> u64 {
    let is_left = |hour: &Hour| *hour >= first;
    let in_lake: u64 = lake.hours.iter().filter(|(hour, _)| !is_left(hour)).map(|(_, count)| count).sum();
    lake.hours.retain(|hour, _| is_left(hour));
    lake.breakdown.total = lake.breakdown.total.saturating_sub(in_lake);
    let mut removed = 0;
    for Reading { counts, .. } in readings {
        let hours = counts.settled_hours.iter().filter(|(hour, _)| !is_left(hour));
        removed = hours.map(|(_, count)| count).sum();
        counts.settled_hours.retain(|hour, _| is_left(hour));
        counts.settled = counts.settled.saturating_sub(removed);
        counts.live.total = counts.live.total.saturating_sub(removed);
    }
    removed
}
