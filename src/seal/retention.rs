//! Retention: how long events of each type are kept, and their removal.

use std::time::Duration;

use anyhow::Result;
use weir_core::{
    Timestamp,
    sealing::{self, SealedDays},
};

use super::{over, work::DuckDbWork};
use crate::{cli::SealArgs, counted::counted, printed};

const DAY: Duration = Duration::from_hours(24);

/// Removes the events that are older than their types are kept, and says so.
pub(super) async fn run(
    days: &dyn SealedDays,
    work: &DuckDbWork,
    args: &SealArgs,
    now: Timestamp,
) -> Result<()> {
    let manifest = days.manifest().await?;
    let keep_days = args.settings.keep_days;
    let first_days = sealing::first_days(work.lake.types()?, &manifest, &work.catalog, keep_days, now);
    let removed = sealing::retain(days, work, work, &first_days).await?;
    let moved = days.manifest().await?.removed;
    weir_embedded::remove_values(&args.place.data, &moved)?;
    if removed.days > 0 {
        printed::line(format_args!(
            "events of {} were removed, as their types are not kept for longer: {} of JSON removed, {} written without them",
            counted(removed.days, "day", "days"),
            counted(removed.objects, "object", "objects"),
            counted(removed.batches, "batch", "batches")
        ));
    }
    Ok(())
}

/// Returns the time before which quarantine is removed.
pub(super) fn quarantined_before(args: &SealArgs, now: Timestamp) -> Option<Timestamp> {
    args.settings.keep_days.map(|days| over(now, DAY * days).first_hour().start())
}
