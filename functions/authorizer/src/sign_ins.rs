//! Limits on failed sign-ins.
//!
//! Chosen passwords can be guessed, and each guess costs a computation of argon2id. So the number of wrong ones that are
//! checked is limited: for each client address, and for each username, as an attacker may have many addresses. It makes no
//! difference whether the user exists. Credentials that were right within the last hour are always checked, so an attacker
//! cannot lock a user out. Generated secrets cannot be guessed and cost nothing to check: they are always checked too, and
//! only the answer to wrong ones changes.

use std::{net::IpAddr, time::Duration};

use parking_lot::Mutex;
use weir_core::{Timestamp, Username};

use crate::{
    cache::Fingerprint,
    rate::{Ends, Rate, network},
};

/// The time for which credentials that were right are remembered, to tell them from guesses.
const REMEMBERED_MILLIS: u64 = 60 * 60 * 1000;

/// The most credentials remembered; the least recently used are forgotten first.
const MAX_REMEMBERED: usize = 10_000;

/// The factor by which a name may have more failures at once than an address, so that one address alone never uses up a name's.
const ADDRESSES_FOR_A_NAME: u32 = 5;

/// Limits on failed sign-ins.
pub(crate) struct SignIns {
    addresses: Rate<IpAddr>,
    names: Rate<Username>,
    /// Salted digests, as in the cache: they hold no secret.
    were_right: Mutex<Ends<Fingerprint>>,
}

/// A sign-in attempt.
pub(crate) struct Attempt<'a> {
    pub(crate) address: Option<IpAddr>,
    /// `None` for an invalid name, which no user can have.
    pub(crate) name: Option<&'a Username>,
    pub(crate) fingerprint: Fingerprint,
}

impl SignIns {
    /// Allows this many failures a minute: at once, and then evenly.
    pub(crate) fn new(a_minute: u32) -> Self {
        let minute = Duration::from_mins(1);
        Self {
            addresses: Rate::new(a_minute, minute, a_minute),
            names: Rate::new(a_minute, minute, a_minute.saturating_mul(ADDRESSES_FOR_A_NAME)),
            were_right: Mutex::new(Ends::new(MAX_REMEMBERED)),
        }
    }

    /// Returns whether a chosen password may be checked; the error is the time until it may.
    pub(crate) fn check(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), Duration> {
        if self.was_right(attempt, now) {
            return Ok(());
        }
        attempt.address.map_or(Ok(()), |address| self.addresses.check(&network(address), now))?;
        attempt.name.map_or(Ok(()), |name| self.names.check(name, now))
    }

    /// Does the same as [`Self::check`] and counts the attempt as failed; [`Self::was_no_failure`] takes that back.
    pub(crate) fn begin(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), Duration> {
        if self.was_right(attempt, now) {
            return Ok(());
        }
        self.check(attempt, now)?;
        // A concurrent attempt may have taken the last token in between: one more than allowed does no harm.
        let _ = attempt.address.map(|address| self.addresses.take(&network(address), now));
        let _ = attempt.name.map(|name| self.names.take(name, now));
        Ok(())
    }

    /// Takes a failure back: the credentials were right, or were not checked after all.
    pub(crate) fn was_no_failure(&self, attempt: &Attempt<'_>, now: Timestamp) {
        if !self.was_right(attempt, now) {
            if let Some(address) = attempt.address {
                self.addresses.give_back(&network(address), now);
            }
            if let Some(name) = attempt.name {
                self.names.give_back(name, now);
            }
        }
    }

    /// Remembers that these credentials are right.
    pub(crate) fn remember(&self, attempt: &Attempt<'_>, now: Timestamp) {
        let until = now.millis().saturating_add(REMEMBERED_MILLIS);
        self.were_right.lock().set(&attempt.fingerprint, until, now.millis());
    }

    /// Forgets these credentials: they are wrong, even if they were right before.
    pub(crate) fn forget(&self, attempt: &Attempt<'_>) {
        self.were_right.lock().remove(&attempt.fingerprint);
    }

    /// Counts a wrong generated secret for the address; if there were too many, the error is the time until the next try.
    pub(crate) fn wrong_generated(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), Duration> {
        attempt.address.map_or(Ok(()), |address| self.addresses.take(&network(address), now))
    }

    fn was_right(&self, attempt: &Attempt<'_>, now: Timestamp) -> bool {
        self.were_right.lock().get(&attempt.fingerprint).is_some_and(|until| now.millis() < until)
    }
}
