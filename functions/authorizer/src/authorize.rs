//! Authentication: finds the caller of a request and the caller's rights.

use std::{fmt::Write, net::IpAddr, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, task::spawn_blocking};
use weir_core::{
    Clock, Random, Timestamp, Username,
    ports::{PortError, Users},
    users::{AccessKey, Label, Scope, Secret, SecretHash},
};

use crate::{
    BasicError, Credentials,
    cache::{Cache, Fingerprint, Moment},
    comparison::{Candidate, Compare, Decoys, Parse, matching},
    flight::Flights,
    sign_ins::{Attempt, SignIns},
};

/// The rights that credentials give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The caller.
    pub username: Username,
    /// The caller's rights.
    pub scope: Scope,
    /// The label of the access key that the caller used.
    pub access_key: Label,
    /// Identifies this access key in usage plans and logs: 64 hexadecimal digits. It reveals neither the secret nor its
    /// hash, and changes when the key is rotated.
    pub usage_key: String,
    /// The time at which the access key expires.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    fn new(username: Username, key: AccessKey) -> Self {
        // None of the three holds a NUL, so no two keys have the same digest input.
        let digest = Sha256::new()
            .chain_update(username.as_str())
            .chain_update([0])
            .chain_update(key.label.as_str())
            .chain_update([0])
            .chain_update(String::from(key.hash))
            .finalize();
        let mut usage_key = String::with_capacity(64);
        for byte in digest {
            // Writing to a string cannot fail.
            let _ = write!(usage_key, "{byte:02x}");
        }
        Self { username, scope: key.scope, access_key: key.label, usage_key, expires_at: key.expires_at }
    }
}

/// The reason for a refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The client sent no credentials.
    #[error("there are no credentials")]
    NoCredentials,
    /// The credentials cannot be read.
    #[error("the credentials cannot be read: {0}")]
    Malformed(#[from] BasicError),
    /// There is no such user, or the secret is not, or no longer, the user's. The client does not learn which.
    #[error("the credentials are wrong")]
    Wrong,
    /// Too many sign-ins failed before, from the same address or for the same user. These credentials were not checked, or
    /// are wrong as well.
    #[error("there were too many failed sign-ins")]
    TooMany {
        /// The time after which the client may try again.
        retry_after: Duration,
    },
    /// The credentials cannot be checked now; they may well be right.
    #[error("the credentials cannot be checked: {0}")]
    Unavailable(PortError),
}

/// Checks credentials against the users.
pub struct Authorizer {
    users: Arc<dyn Users>,
    clock: Arc<dyn Clock>,
    cache: Cache,
    flights: Flights<Fingerprint, Result<Grant, Refusal>>,
    decoys: Decoys,
    parse: Box<Parse>,
    compare: Arc<Compare>,
    computing: Arc<Semaphore>,
    admitted: Semaphore,
    sign_ins: Option<SignIns>,
}

impl Authorizer {
    /// The number of argon2id computations that run at once, each with 19 MiB and a core of its own.
    const MAX_COMPUTING: usize = 4;
    /// The number of further computations that may queue, some seconds' worth. Any more are shed, and their clients asked
    /// to try again: a flood of wrong passwords must not pile up.
    const MAX_WAITING: usize = 256;

    /// Returns an authorizer that caches grants in memory for `cache_for`. An access key may outlive its removal by that
    /// long, but never its own expiry.
    #[must_use]
    pub fn new(
        users: Arc<dyn Users>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
        cache_for: Duration,
    ) -> Self {
        Self {
            users,
            clock,
            cache: Cache::new(cache_for, random),
            flights: Flights::new(),
            decoys: Decoys::new(),
            parse: Box::new(|text| serde_json::from_str(text)),
            compare: Arc::new(SecretHash::matches),
            computing: Arc::new(Semaphore::new(Self::MAX_COMPUTING)),
            admitted: Semaphore::new(Self::MAX_COMPUTING + Self::MAX_WAITING),
            sign_ins: None,
        }
    }

    /// Limits failed sign-ins to this number a minute for each address, and for each user with a chosen password. Beyond
    /// it, anything that could be a guess is refused without a computation. Zero means no limit.
    #[must_use]
    pub fn with_failures_a_minute(self, limit: u32) -> Self {
        Self { sign_ins: (limit > 0).then(|| SignIns::new(limit)), ..self }
    }

    /// Returns the sender of this `Authorization` header and the sender's rights. It needs tokio, whose threads for
    /// blocking work compute argon2id.
    ///
    /// Single-flight: callers that present the same credentials during a check share its answer.
    pub async fn authorize(&self, header: Option<&str>) -> Result<Grant, Refusal> {
        self.authorize_from(None, header).await
    }

    /// Does the same as [`Self::authorize`] for a client whose address is known.
    pub async fn authorize_from(
        &self,
        address: Option<IpAddr>,
        header: Option<&str>,
    ) -> Result<Grant, Refusal> {
        let outcome = self.decide(address, header).await;
        match &outcome {
            Ok(_) | Err(Refusal::Unavailable(_)) => {}
            Err(refusal) => tracing::debug!(%refusal, "refused"),
        }
        outcome
    }

    async fn decide(&self, address: Option<IpAddr>, header: Option<&str>) -> Result<Grant, Refusal> {
        let credentials = Credentials::read(header.ok_or(Refusal::NoCredentials)?)?;
        let fingerprint = self.cache.fingerprint(&credentials);
        let moment = Moment::now(&*self.clock);
        if let Some(grant) = self.cache.get(&fingerprint, moment) {
            return Ok(grant);
        }
        let now = moment.wall;
        let attempt = Attempt { address, name: credentials.username.as_ref().ok(), fingerprint };
        if let Some(sign_ins) = &self.sign_ins
            && !credentials.secret.looks_generated()
        {
            sign_ins.check(&attempt, now).map_err(too_many)?;
        }
        self.flights.share(fingerprint, || self.check(&credentials, &attempt)).await
    }

    async fn check(&self, credentials: &Credentials, attempt: &Attempt<'_>) -> Result<Grant, Refusal> {
        let fingerprint = attempt.fingerprint;
        // The time before the user is read: the data may be that old, so the cache keeps the grant that much shorter.
        let moment = Moment::now(&*self.clock);
        // Another check may have ended between the cache lookup and the beginning of this one.
        if let Some(grant) = self.cache.get(&fingerprint, moment) {
            return Ok(grant);
        }
        let now = moment.wall;
        let stored = match &credentials.username {
            Ok(name) => self.users.stored(name).await.map_err(Refusal::Unavailable)?,
            Err(_) => None,
        };
        let access_keys = stored.as_ref().map(|user| user.access_keys.as_str());
        let candidates = self.decoys.candidates(access_keys, &credentials.secret, &*self.parse);
        let candidates =
            candidates.map_err(|error| Refusal::Unavailable(PortError::broken("reading a user", error)))?;
        let found = if credentials.secret.looks_generated() {
            let found = matching(candidates, &credentials.secret, now, &*self.compare);
            if let (None, Some(sign_ins)) = (&found, &self.sign_ins) {
                sign_ins.wrong_generated(attempt, now).map_err(too_many)?;
            }
            found
        } else {
            self.compute(candidates, credentials.secret.clone(), attempt, now).await?
        };
        let (Ok(username), Some(key)) = (&credentials.username, found) else {
            return Err(Refusal::Wrong);
        };
        let expiry = key.expires_at;
        let grant = Grant::new(username.clone(), key);
        self.cache.keep(fingerprint, grant.clone(), moment, expiry);
        Ok(grant)
    }

    /// Compares with the slow hash, without blocking other requests.
    async fn compute(
        &self,
        candidates: Vec<Candidate>,
        secret: Secret,
        attempt: &Attempt<'_>,
        now: Timestamp,
    ) -> Result<Option<AccessKey>, Refusal> {
        const WHAT: &str = "checking a password";
        let _admitted = self.admitted.try_acquire().map_err(|_| {
            Refusal::Unavailable(PortError::unavailable(WHAT, "too many passwords wait to be checked"))
        })?;
        let turn = self.computing.clone().acquire_owned().await;
        let turn = turn.map_err(|closed| Refusal::Unavailable(PortError::broken(WHAT, closed)))?;
        // The attempt counts here and not before the wait: queued attempts do not count as failed, and only running
        // computations can exceed the limit.
        if let Some(sign_ins) = &self.sign_ins {
            sign_ins.begin(attempt, self.clock.now()).map_err(too_many)?;
        }
        let compare = self.compare.clone();
        let computation = spawn_blocking(move || {
            let found = matching(candidates, &secret, now, &*compare);
            // A computation goes on when its client disconnects, so the computation holds the permit.
            drop(turn);
            found
        });
        let found = computation.await;
        if let Some(sign_ins) = &self.sign_ins {
            match &found {
                Ok(None) => sign_ins.forget(attempt),
                Ok(Some(_)) | Err(_) => sign_ins.was_no_failure(attempt, self.clock.now()),
            }
            if let Ok(Some(_)) = &found {
                sign_ins.remember(attempt, self.clock.now());
            }
        }
        found.map_err(|failed| Refusal::Unavailable(PortError::unavailable(WHAT, failed)))
    }
}

fn too_many(retry_after: Duration) -> Refusal {
    Refusal::TooMany { retry_after }
}

#[cfg(test)]
mod tests;
