//! Who may still try to sign in.
//!
//! Chosen passwords can be guessed, and each guess costs a computation of argon2id. So of wrong ones, only so many are
//! looked at: for each client address, and for each username, as a guesser may have many addresses. It makes no
//! difference whether the user exists. Credentials that were right within the last hour are always checked: nobody is
//! locked out by what others try. Generated secrets cannot be guessed and cost nothing to check; they are always
//! checked too, and only the answer to wrong ones changes.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use weir_core::{Timestamp, Username};

use crate::{
    cache::Fingerprint,
    rate::{Ends, Rate, network},
};

/// How long credentials that were right are told from guesses.
const REMEMBERED_MILLIS: u64 = 60 * 60 * 1000;

/// How many of them; those that were longest not used are forgotten first.
const MAX_REMEMBERED: usize = 10_000;

/// How many more failures at once a name has than an address: one address alone never uses up a name's.
const ADDRESSES_FOR_A_NAME: u32 = 5;

/// Limits on failed sign-ins.
pub(crate) struct SignIns {
    addresses: Rate<IpAddr>,
    names: Rate<Username>,
    /// Salted digests, as in the cache: no secret is in them.
    were_right: Mutex<Ends<Fingerprint>>,
}

/// Who tries.
pub(crate) struct Attempt<'a> {
    pub(crate) address: Option<IpAddr>,
    /// None if nobody can have that name.
    pub(crate) name: Option<&'a Username>,
    pub(crate) fingerprint: Fingerprint,
}

impl SignIns {
    /// Allows so many failures a minute: at once, and then evenly.
    pub(crate) fn new(a_minute: u32) -> Self {
        let minute = Duration::from_mins(1);
        Self {
            addresses: Rate::new(a_minute, minute, a_minute),
            names: Rate::new(a_minute, minute, a_minute.saturating_mul(ADDRESSES_FOR_A_NAME)),
            were_right: Mutex::new(Ends::new(MAX_REMEMBERED)),
        }
    }

    /// Whether a chosen password may be checked; or how long it will take until it may.
    pub(crate) fn check(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), Duration> {
        if self.was_right(attempt, now) {
            return Ok(());
        }
        attempt.address.map_or(Ok(()), |address| self.addresses.check(&network(address), now))?;
        attempt.name.map_or(Ok(()), |name| self.names.check(name, now))
    }

    /// The same, and counts it as failed. What turns out to be right is not: [`Self::was_no_failure`].
    pub(crate) fn begin(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), Duration> {
        if self.was_right(attempt, now) {
            return Ok(());
        }
        self.check(attempt, now)?;
        // Somebody else may have taken the last one in between: then it is one more, and no harm.
        let _ = attempt.address.map(|address| self.addresses.take(&network(address), now));
        let _ = attempt.name.map(|name| self.names.take(name, now));
        Ok(())
    }

    /// It was right, or it was not checked after all.
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

    /// These credentials are right.
    pub(crate) fn remember(&self, attempt: &Attempt<'_>, now: Timestamp) {
        let until = now.millis().saturating_add(REMEMBERED_MILLIS);
        self.remembered().set(&attempt.fingerprint, until, now.millis());
    }

    /// These credentials are wrong, even if they were right before.
    pub(crate) fn forget(&self, attempt: &Attempt<'_>) {
        self.remembered().remove(&attempt.fingerprint);
    }

    /// A generated secret was wrong: counts that for the address, and says when it may be tried again if that were
    /// too many.
    pub(crate) fn wrong_generated(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), Duration> {
        attempt.address.map_or(Ok(()), |address| self.addresses.take(&network(address), now))
    }

    fn was_right(&self, attempt: &Attempt<'_>, now: Timestamp) -> bool {
        self.remembered().get(&attempt.fingerprint).is_some_and(|until| now.millis() < until)
    }

    fn remembered(&self) -> MutexGuard<'_, Ends<Fingerprint>> {
        // Nothing is left half done by what happens under this lock.
        self.were_right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
