//! What is in no object of the lake is not compared: what retention removed, and on AWS what is only in Parquet. It stays in all
//! counts.

use weir_core::Hour;

use super::compare::{InLake, Reading};

/// Leaves out hours, of the lake and of both readings; returns how many settled events were in them.
pub(super) fn leave_out(
    is_left: &dyn Fn(&Hour) -> bool,
    lake: &mut InLake,
    readings: [&mut Reading; 2],
) -> u64 {
    let in_lake: u64 = lake.hours.iter().filter(|(hour, _)| !is_left(hour)).map(|(_, count)| count).sum();
    lake.hours.retain(|hour, _| is_left(hour));
    lake.breakdown.total = lake.breakdown.total.saturating_sub(in_lake);
    let mut left_out = 0;
    for Reading { counts, .. } in readings {
        let hours = counts.settled_hours.iter().filter(|(hour, _)| !is_left(hour));
        left_out = hours.map(|(_, count)| count).sum();
        counts.settled_hours.retain(|hour, _| is_left(hour));
        counts.settled = counts.settled.saturating_sub(left_out);
        counts.live.total = counts.live.total.saturating_sub(left_out);
    }
    left_out
}
