//! Retention: how long events of each type are kept, and their removal.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use weir_core::{
    Day, EventType, Timestamp,
    sealing::{self, Sealing},
};

use super::{over, work::DuckDbWork};
use crate::{cli::SealArgs, counted::counted};

const DAY: Duration = Duration::from_hours(24);

impl DuckDbWork {
    /// Returns the first day of each type whose events are kept, of the types that are not kept for ever.
    fn first_days(&self, of_all: Option<u32>, now: Timestamp) -> Result<BTreeMap<EventType, Day>> {
        let own = self.catalog.iter().map(|definition| definition.event_type().clone());
        let types = self.lake.types()?.into_iter().chain(own);
        let first = types.filter_map(|event_type| {
            let of_type = self.catalog.get(&event_type).and_then(weir_core::catalog::Definition::keep_days);
            let first = over(now, DAY * of_type.or(of_all)?);
            Some((event_type, first))
        });
        Ok(first.collect())
    }
}

/// Removes the events that are older than their types are kept, and says so.
pub(super) async fn run(
    sealing: &Sealing<'_>,
    work: &DuckDbWork,
    args: &SealArgs,
    now: Timestamp,
) -> Result<()> {
    let first_days = work.first_days(args.settings.keep_days, now)?;
    let removed = sealing::retain(sealing, work, &first_days).await?;
    let moved = sealing.days.manifest().await?.removed;
    weir_embedded::remove_values(&args.place.data, &moved)?;
    if removed.days > 0 {
        println!(
            "events of {} were removed, as their types are not kept for longer: {} of JSON removed, {} written without them",
            counted(removed.days, "day", "days"),
            counted(removed.objects, "object", "objects"),
            counted(removed.batches, "batch", "batches")
        );
    }
    Ok(())
}

/// Returns the time before which quarantine is removed.
pub(super) fn quarantined_before(args: &SealArgs, now: Timestamp) -> Option<Timestamp> {
    args.settings.keep_days.map(|days| over(now, DAY * days).first_hour().start())
}
