//! Takes forgotten events out of sealed days: those that have such an event are read from JSON, which then loses the events, and are
//! sealed again from it.
//!
//! 1. The manifest says, in one step, that the days are read from JSON: their next generations cover nothing. Views read the
//!    earlier generations until they are made anew.
//! 2. The events go from JSON (`rewrite`).
//! 3. The days are sealed again, and views are made. Then the earlier generations go, in all versions.
//!
//! Days whose JSON was removed are the only copies of their events. No query writes them again without some, so forgetting is refused
//! before anything is decided, unless all of it was put back. A day can have become one after an attempt died: then everything else is
//! done, and the command fails at its end.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::{
    Day, Partition, Username,
    sealing::{self, SealedDays},
};

use super::{Forget, ForgetError, Lease, RunError, look::Found};

/// What happened to sealed days with such events.
#[derive(Default)]
pub(super) struct SealedAgain {
    /// Those that are read from JSON from now on.
    pub(super) days: BTreeSet<Day>,
    /// One that is the only copy of its events: it was sealed after an earlier attempt had died.
    pub(super) only_copy: Option<Day>,
}

impl Forget {
    /// Refuses if days are sealed and cannot be sealed again, or if one is the only copy of an event. An attempt that is `resumed` has
    /// looked at all days before: now, those with such events count.
    pub(super) async fn check_sealed_days(
        &self,
        username: &Username,
        found: &Found,
        is_resumed: bool,
    ) -> Result<(), ForgetError> {
        let manifest = self.days.manifest().await?;
        let is_sealed = !manifest.days.is_empty() || !self.days.generations().await?.is_empty();
        let Some(seal) = &self.seal else {
            return if is_sealed { Err(ForgetError::Sealed) } else { Ok(()) };
        };
        let with_events = found.days();
        for (day, generation) in &manifest.days {
            let has_events = with_events.contains(day);
            if is_resumed && !has_events {
                continue;
            }
            let covered = self.days.covered(*day, generation.number).await?;
            let mut expected =
                covered.iter().filter(|path| !manifest.is_object_removed(path)).filter(|path| {
                    Partition::user_of(path).as_ref() != Some(username) || !found.has_object(path)
                });
            // Other users' objects count where the day is sealed again from JSON, and where JSON was removed: there, all of it must
            // have been put back.
            let is_whole = if has_events || generation.json_expired {
                let there = seal.objects(*day).await?;
                expected.all(|path| there.contains(path))
            } else {
                !expected.any(|path| Partition::user_of(path).as_ref() == Some(username))
            };
            if !is_whole {
                return Err(ForgetError::OnlyParquet(*day));
            }
        }
        Ok(())
    }

    /// Has those of these days read from JSON that are sealed.
    pub(super) async fn read_from_json(
        &self,
        username: &Username,
        days: &BTreeSet<Day>,
    ) -> Result<SealedAgain, ForgetError> {
        let manifest = self.days.manifest().await?;
        let mut again = SealedAgain::default();
        let mut objects = BTreeMap::new();
        for (day, generation) in manifest.days.iter().filter(|(day, _)| days.contains(day)) {
            let seal = self.seal.as_ref().ok_or(ForgetError::Sealed)?;
            let there = seal.objects(*day).await?;
            let covered = self.days.covered(*day, generation.number).await?;
            // An object of this user can be gone with its events.
            let is_gone = |path: &&String| {
                !there.contains(*path)
                    && !manifest.is_object_removed(path)
                    && (generation.json_expired || Partition::user_of(path).as_ref() != Some(username))
            };
            if covered.iter().any(|path| is_gone(&path)) {
                again.only_copy = Some(*day);
                continue;
            }
            again.days.insert(*day);
            objects.insert(*day, there);
        }
        sealing::read_from_json(&self.days, &objects).await?;
        Ok(again)
    }

    /// Seals these days again, and removes what the manifest does not name: also what a sealing left that died, or that found other
    /// numbers than were counted. A day that cannot be sealed stays as it is, and is read from JSON: the next sealing tries again.
    pub(super) async fn seal_again(
        &self,
        days: &BTreeSet<Day>,
        lease: &Lease<'_>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<u64, ForgetError> {
        if let Some(seal) = self.seal.as_ref().filter(|_| !days.is_empty()) {
            match lease.during(Box::pin(seal.seal_late())).await? {
                Err(RunError::Day(error)) => {
                    say(&format!("{error}; it is read from JSON, until a sealing succeeds"));
                }
                sealed => sealed?,
            }
        }
        let manifest = self.days.manifest().await?;
        for (day, number) in self.days.generations().await? {
            if !manifest.keeps(day, number) {
                lease.keep().await?;
                self.days.remove_generation(day, number).await?;
            }
        }
        // One of which nothing is left covers nothing, and so does one that could not be sealed.
        let is_sealed = |day: &&Day| manifest.days.get(day).is_some_and(|current| current.objects > 0);
        Ok(days.iter().filter(is_sealed).count() as u64)
    }
}
