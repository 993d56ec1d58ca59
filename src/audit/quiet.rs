//! Waits until counts stand still: only then is nothing in flight, so that live counts can be compared with the lake.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use weir_core::{
    EventType, Username,
    ports::{LiveCounts, SettledCounts},
};

/// How long counts must stand still: the longest that the stream buffers events (15 minutes), and a minute to file.
#[cfg(feature = "aws")]
pub(super) const USUAL: Duration = Duration::from_mins(16);

/// The polling interval.
const LOOK: Duration = Duration::from_secs(30);

/// Live and settled totals.
type Totals = BTreeMap<(Username, EventType), (u64, u64)>;

pub(super) struct Quiet {
    pub(super) live: Arc<dyn LiveCounts>,
    pub(super) settled: Arc<dyn SettledCounts>,
    pub(super) for_time: Duration,
}

/// The totals once they stood still.
pub(super) struct StoodStill(Totals);

impl Quiet {
    /// Waits until the totals of these users have stood still for the whole time; refuses once one moves.
    pub(super) async fn wait(
        &self,
        users: &BTreeSet<&Username>,
        tell: impl Fn(Duration),
    ) -> Result<StoodStill> {
        let start = Instant::now();
        let first = self.totals(users).await?;
        loop {
            let left = self.for_time.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            tell(left);
            tokio::time::sleep(left.min(LOOK)).await;
            refuse_if_moved(&first, &self.totals(users).await?)?;
        }
        Ok(StoodStill(first))
    }

    /// Refuses if any total has moved since.
    pub(super) async fn check(&self, users: &BTreeSet<&Username>, stood: &StoodStill) -> Result<()> {
        refuse_if_moved(&stood.0, &self.totals(users).await?)
    }

    async fn totals(&self, users: &BTreeSet<&Username>) -> Result<Totals> {
        let mut totals = Totals::new();
        for user in users {
            for (event_type, count) in self.live.totals(user).await? {
                totals.entry(((*user).clone(), event_type)).or_default().0 = count;
            }
            for (event_type, count) in self.settled.totals(user).await?.by_type {
                totals.entry(((*user).clone(), event_type)).or_default().1 = count;
            }
        }
        Ok(totals)
    }
}

fn refuse_if_moved(before: &Totals, now: &Totals) -> Result<()> {
    let moved = now.iter().find(|(whose, count)| before.get(whose) != Some(count));
    if let Some(((user, event_type), _)) =
        moved.or_else(|| before.iter().find(|(whose, _)| !now.contains_key(whose)))
    {
        bail!(
            "the counts of {user}'s {event_type} moved: as long as events come in or are filed, it is unknown which are \
             under way and which are lost. Nothing was corrected; try again when it is quiet"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_that_moved_appeared_or_went_are_refused() {
        let of = |counts: &[(&str, u64, u64)]| -> Totals {
            let entry = |&(user, live, settled): &(&str, u64, u64)| {
                ((user.parse().unwrap(), "a".parse().unwrap()), (live, settled))
            };
            counts.iter().map(entry).collect()
        };
        let before = of(&[("u", 1, 1), ("v", 5, 4)]);
        assert!(refuse_if_moved(&before, &before).is_ok());
        for moved in [
            of(&[("u", 1, 1), ("v", 6, 4)]),
            of(&[("u", 1, 1), ("v", 5, 5)]),
            of(&[("u", 1, 1)]),
            of(&[("u", 1, 1), ("v", 5, 4), ("w", 1, 0)]),
        ] {
            let error = refuse_if_moved(&before, &moved).unwrap_err().to_string();
            assert!(error.contains("'s a moved") && error.contains("Nothing was corrected"), "{error}");
        }
    }
}
