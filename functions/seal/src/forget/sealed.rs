//! Takes forgotten events out of sealed days: those that have such an event are read from JSON, which then loses the events, and are
//! sealed again from it.
//!
//! 1. The manifest says, in one step, that the days are read from JSON: their next generations cover nothing. Views read the
//!    earlier generations until they are made anew.
//! 2. The events go from JSON (`rewrite`).
//! 3. The days are sealed again, and views are made. Then the earlier generations go, in all versions.
//!
//! Days whose JSON was removed are the only copies of their events. No query writes them again without some, so forgetting is refused
//! before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::{
    Day, Partition, Timestamp, Username,
    sealing::{Generation, SealedDays},
};

use super::{Forget, ForgetError, Lease, look::Found};

impl Forget {
    /// Refuses if days are sealed and cannot be sealed again, or if a sealed day has objects of the user that are not there as JSON.
    pub(super) async fn check_sealed_days(
        &self,
        username: &Username,
        found: &Found,
    ) -> Result<(), ForgetError> {
        let manifest = self.days.manifest().await?;
        let is_sealed = !manifest.days.is_empty() || !self.days.generations().await?.is_empty();
        if is_sealed && self.seal.is_none() {
            return Err(ForgetError::Sealed);
        }
        for (day, generation) in &manifest.days {
            let covered = self.days.covered(*day, generation.number).await?;
            let is_missing = |path: &String| {
                Partition::user_of(path).as_ref() == Some(username)
                    && !found.has_object(path)
                    && !manifest.is_object_removed(path)
            };
            if generation.json_expired || covered.iter().any(is_missing) {
                return Err(ForgetError::OnlyParquet(*day));
            }
        }
        Ok(())
    }

    /// Has those of these days read from JSON that are sealed; returns them.
    pub(super) async fn read_from_json(&self, days: &BTreeSet<Day>) -> Result<BTreeSet<Day>, ForgetError> {
        let mut manifest = self.days.manifest().await?;
        let days: BTreeSet<Day> =
            days.iter().filter(|day| manifest.days.contains_key(day)).copied().collect();
        if days.is_empty() {
            return Ok(days);
        }
        let seal = self.seal.as_ref().ok_or(ForgetError::Sealed)?;
        if let Some(day) = days.iter().find(|day| manifest.days[day].json_expired) {
            return Err(ForgetError::SealedSince(*day));
        }
        let mut has_changed = false;
        for day in &days {
            // One that covers nothing is of the same forgetting, which died.
            if manifest.days.get(day).is_none_or(|current| current.objects == 0) {
                continue;
            }
            for object in seal.objects(*day).await? {
                self.days.note(*day, &object).await?;
            }
            let number = manifest.next(*day);
            self.days.cover(*day, number, &BTreeSet::new()).await?;
            let nothing = Generation {
                number,
                sealed_at: Timestamp::saturating(0),
                objects: 0,
                json_expired: false,
                json_left: false,
                types: BTreeMap::new(),
            };
            manifest.replace_at_once(*day, nothing);
            has_changed = true;
        }
        if has_changed {
            self.days.swap(&manifest).await?;
        }
        Ok(days)
    }

    /// Seals these days again, and removes what the manifest does not name: also what a sealing left that died, or that found other
    /// numbers than were counted.
    pub(super) async fn seal_again(
        &self,
        days: &BTreeSet<Day>,
        lease: &Lease<'_>,
    ) -> Result<u64, ForgetError> {
        if let Some(seal) = self.seal.as_ref().filter(|_| !days.is_empty()) {
            lease.during(Box::pin(seal.seal_late())).await??;
        }
        let manifest = self.days.manifest().await?;
        for (day, number) in self.days.generations().await? {
            if !manifest.keeps(day, number) {
                lease.keep().await?;
                self.days.remove_generation(day, number).await?;
            }
        }
        Ok(days.len() as u64)
    }
}
