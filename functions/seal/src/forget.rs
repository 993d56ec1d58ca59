//! Forgetting on AWS: takes events out of everything that is stored, while events go on to come.
//!
//! 1. What the stream still holds is waited for. Then raw, quarantine and the lake are read, and what is meant is found (`look`).
//!    Batches with such events are filed if they are not yet. Nothing is changed if an object cannot be read.
//! 2. What is meant and counted is noted (`decided`), as a batch that is filed again from now on loses its events, and keeps its counts.
//! 3. The tombstones are put. From here on it is decided: a batch that is filed, and an event that may be a retry, are compared with
//!    them. What began before knows them in a quarter of an hour at most, which is waited for.
//! 4. How many events leave the lake is counted and kept. Then the counts are lowered, once.
//! 5. What follows from the events goes (`rest`): latest values, recent ids, rejected events that are shown. Then the events go from
//!    quarantine, the lake and raw (`rewrite`), in all versions. Last, sealed days of which they were are sealed again (`sealed`).
//!
//! Each step can be repeated. A forgetting that died is finished by one with the same options, which finds what is left: raw has the
//! events until all is gone that follows from them, and the sealed days are noted. Another one is refused until then.
//!
//! It takes the turn to seal, so that no day is sealed and no other events are forgotten meanwhile.

mod decided;
mod lease;
mod look;
mod rest;
mod rewrite;
mod sealed;

use std::{collections::BTreeSet, num::NonZeroU16, sync::Arc, time::Duration};

use fan_out::{FanOut, FanOutError};
use weir_aws::{
    Aws, BELIEVED, CountsToLower, DynamoCounts, DynamoLatest, ForgottenAdmin, RecentIds, S3Batches,
    S3SealedDays,
};
use weir_core::{
    Catalog, Clock, Day, EventType, Partition, Random, Timestamp, Username,
    forgotten::{ForgetRequest, ForgottenEvents},
    ports::PortError,
};

use crate::{error::RunError, run::Seal};
use decided::{Decided, Earlier};
use lease::Lease;
use look::{By, Counted, Found};

/// The longest time for which the stream holds events (`BufferSeconds` is 900 at most), and some more.
pub const STREAM_HOLDS: Duration = Duration::from_mins(16);

/// The longest time until all know what was forgotten: how long it is believed that nothing was, and the longest that the fan-out may
/// run, which asks when it begins.
pub const UNTIL_KNOWN: Duration = Duration::from_secs(BELIEVED.as_secs() + 900);

/// How many objects are read or changed at the same time.
const CONCURRENT: usize = 8;

/// Forgets events on AWS.
pub struct Forget {
    forgotten: ForgottenAdmin,
    days: S3SealedDays,
    raw: S3Batches,
    quarantine: S3Batches,
    /// The buckets of the lake that a user's events may be in.
    lake: LakeOf,
    /// Large latest values; and what queries and functions left, which may be of anything.
    large: LakeOf,
    results: Vec<S3Batches>,
    fan_out: FanOut,
    counts: DynamoCounts,
    ids: RecentIds,
    latest: DynamoLatest,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    waits: [Duration; 2],
    /// What seals days again.
    seal: Option<Seal>,
}

/// Returns the objects of a user.
type LakeOf = Box<dyn Fn(&Username) -> Vec<S3Batches> + Send + Sync>;

/// The names of the AWS resources that hold events.
#[derive(Debug, Clone)]
pub struct Places {
    /// The bucket of batches.
    pub raw: String,
    /// The bucket of the lake.
    pub lake: String,
    /// Whether a user's events are in a bucket of the user's own, if there is one.
    pub bucket_per_user: bool,
    /// The table of counts, and the number of items that a hot counter is spread over.
    pub counts: (String, NonZeroU16),
    /// The table of recent ids.
    pub recent_ids: String,
    /// The table of latest values.
    pub latest: String,
}

/// What was taken away, by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetAmounts {
    /// Events in the lake, by type.
    pub events: Vec<(EventType, u64)>,
    /// Objects of the lake that were rewritten or removed.
    pub lake: u64,
    /// Sealed days that were sealed again.
    pub sealed: u64,
    /// Batches in raw that were rewritten or removed.
    pub raw: u64,
    /// Objects of quarantine that were rewritten or removed.
    pub quarantine: u64,
    /// Latest values that were removed or replaced by the one before.
    pub latest: u64,
    /// Ids that were remembered for dedup.
    pub ids: u64,
    /// Rejected events that were shown.
    pub rejected: u64,
    /// Rows that queries and functions left.
    pub results: u64,
}

/// Why events are not forgotten, or not all of them yet.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// AWS failed. What was decided before is finished by the next one with the same options.
    #[error(transparent)]
    Port(#[from] PortError),
    /// An object cannot be read, so it is not known what it holds.
    #[error(
        "{object} cannot be read: {reason}. Nothing is forgotten, as it may hold such events: mend the object, or remove it, and \
         try again"
    )]
    Unreadable {
        /// The object.
        object: String,
        /// The reason.
        reason: String,
    },
    /// A batch with such events cannot be filed.
    #[error("{0}. Nothing is forgotten, as its events are not counted yet")]
    NotFiled(#[from] FanOutError),
    /// Another process has the turn.
    #[error(
        "days are being sealed, or another `weir forget` is under way or was stopped: try again in a quarter of an hour"
    )]
    Turn,
    /// The turn was lost: this process stood still for long.
    #[error(
        "this process stood still for so long that another one may have begun: run it again, with the same options"
    )]
    TurnLost,
    /// Another forgetting was stopped before its end.
    #[error(
        "a `weir forget` with other options was stopped after it had decided: run that one again first, so that it is finished"
    )]
    Unfinished,
    /// Days were sealed, and there is nothing to seal them again.
    #[error(
        "days of this lake are sealed: without Athena, they cannot be sealed again. Nothing is forgotten"
    )]
    Sealed,
    /// A sealed day is the only copy of its events.
    #[error(
        "JSON of {0} was removed (LakeJsonRetentionDays), and no query can take events out of Parquet on AWS. No other event is \
         forgotten. File all batches with events of the day again (weir replay) and try again before the night's sealing, or let KeepDays \
         remove it"
    )]
    OnlyParquet(Day),
    /// A sealed day is the only copy of its events since an earlier attempt died.
    #[error(
        "an earlier `weir forget` was stopped, and JSON of {0} was removed since (LakeJsonRetentionDays): its Parquet \
         may have such events, and nothing else has. Let KeepDays remove the day, and run it again then, with the same options: until then \
         no other `weir forget` begins"
    )]
    SealedSince(Day),
    /// Days cannot be sealed again, as Athena fails. The events are gone from everything else, and views may still read them.
    #[error("{0}. What is forgotten is decided: run it again, with the same options")]
    NotSealed(#[from] RunError),
}

impl Forget {
    /// Makes the clients for the resources of these names.
    #[must_use]
    pub fn new(
        aws: &Aws,
        places: &Places,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let [raw, quarantine] = aws.batches(&places.raw);
        let counts = aws.counts(&places.counts.0, places.counts.1);
        let fan_out = FanOut::new(
            Arc::new(aws.raw(&places.raw)),
            Arc::new(aws.lake(&places.lake, places.bucket_per_user)),
            Arc::new(aws.quarantine(&places.raw)),
            Arc::new(counts.clone()),
        );
        let fan_out = fan_out.without(Arc::new(aws.forgotten(&places.lake)));
        let (of_aws, bucket, per_user) = (aws.clone(), places.lake.clone(), places.bucket_per_user);
        let lake: LakeOf = Box::new(move |user| {
            let own = per_user.then(|| format!("{user}-raw-events"));
            let prefix = format!("{}/", Partition::folder_of_user(user));
            own.iter().chain([&bucket]).map(|bucket| of_aws.objects_below(bucket, &prefix)).collect()
        });
        let (of_aws, bucket) = (aws.clone(), places.lake.clone());
        let large: LakeOf =
            Box::new(move |user| vec![of_aws.objects_below(&bucket, &format!("latest/{user}/"))]);
        let results =
            ["athena-results/", "map-results/"].map(|prefix| aws.objects_below(&places.raw, prefix));
        Self {
            forgotten: aws.forgotten_admin(&places.lake),
            days: aws.sealed_days(&places.lake),
            raw,
            quarantine,
            lake,
            large,
            results: results.into(),
            fan_out,
            counts,
            ids: aws.recent_ids(&places.recent_ids),
            latest: aws.latest(&places.latest, &places.lake),
            catalog,
            clock,
            random,
            waits: [STREAM_HOLDS, UNTIL_KNOWN],
            seal: None,
        }
    }

    /// Seals days again that have such events.
    #[must_use]
    pub fn sealing(self, seal: Seal) -> Self {
        Self { seal: Some(seal), ..self }
    }

    /// Waits otherwise: for what the stream holds, and until all know what was forgotten.
    #[must_use]
    pub fn waiting(self, stream: Duration, until_known: Duration) -> Self {
        Self { waits: [stream, until_known], ..self }
    }

    /// Returns how many events of each type would be taken out of the lake now, and forgets none. What the stream holds is not
    /// among them. Batches that are not filed yet are filed.
    pub async fn look_only(&self, request: &ForgetRequest) -> Result<Vec<(EventType, u64)>, ForgetError> {
        let lease = Lease::take(&self.days, &*self.clock, &*self.random).await?;
        let found = self.look_with_turn(request, &lease).await;
        lease.end().await;
        Ok(found?.by_type())
    }

    /// Looks, and refuses what [`run`](Self::run) refuses.
    async fn look_with_turn(&self, request: &ForgetRequest, lease: &Lease<'_>) -> Result<Found, ForgetError> {
        let mut request = request.clone();
        // It gets the values of an unfinished one, which would be finished first.
        Decided::read(&self.forgotten, &mut request).await?;
        let secret = self.forgotten.secret().await?;
        let by = By::Request(&request, self.clock.now(), &secret);
        let found = self.look(&request.username, by, &BTreeSet::new(), lease).await?;
        lease.during(Box::pin(self.check_sealed_days(&request.username, &found, false))).await??;
        Ok(found)
    }

    /// Forgets events. Calls `say` with each step.
    pub async fn run(
        &self,
        request: &ForgetRequest,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<ForgetAmounts, ForgetError> {
        let lease = Lease::take(&self.days, &*self.clock, &*self.random).await?;
        let forgotten = self.with_turn(request, &lease, say).await;
        lease.end().await;
        forgotten
    }

    async fn with_turn(
        &self,
        request: &ForgetRequest,
        lease: &Lease<'_>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<ForgetAmounts, ForgetError> {
        let mut request = request.clone();
        let user = &request.username.clone();
        let mut amounts = ForgetAmounts::default();
        let mut decided = Decided::read(&self.forgotten, &mut request).await?;
        if let Some(earlier) = decided.earlier(user)? {
            say("finishing what an earlier `weir forget` decided");
            match earlier {
                Earlier::Begun { began, counted } => {
                    // An earlier version did not note it: then all events that came until now are meant.
                    let began = if began.millis() == 0 { self.clock.now() } else { began };
                    let request = (&request, began);
                    let counted = Some(counted);
                    Box::pin(self.decide_and_finish(
                        request,
                        &mut decided,
                        counted,
                        lease,
                        say,
                        &mut amounts,
                    ))
                    .await?;
                }
                Earlier::Known { began, counts, days } => {
                    let gone = self.forgotten.read().await?;
                    let types = counts.types();
                    let found = self.look(user, By::Tombstones(&gone), &types, lease).await?;
                    // An earlier version noted only days that were sealed already.
                    let known = Some((counts, &days | &found.days()));
                    let found = (&gone, &found);
                    let finishing =
                        self.finish((&request, began), found, known, &mut decided, lease, say, &mut amounts);
                    Box::pin(finishing).await?;
                }
            }
            decided = Decided::read(&self.forgotten, &mut request).await?;
        }
        // Events that come from now on are not meant.
        let request = (&request, self.clock.now());
        Box::pin(self.decide_and_finish(request, &mut decided, None, lease, say, &mut amounts)).await?;
        Ok(amounts)
    }

    /// Forgets what came before a time. `earlier` has the events that an earlier attempt knew to be in the counts.
    async fn decide_and_finish(
        &self,
        (request, began): (&ForgetRequest, Timestamp),
        decided: &mut Decided,
        earlier: Option<Counted>,
        lease: &Lease<'_>,
        say: &(dyn Fn(&str) + Sync),
        amounts: &mut ForgetAmounts,
    ) -> Result<(), ForgetError> {
        let user = &request.username;
        let since = Duration::from_millis(self.clock.now().millis().saturating_sub(began.millis()));
        let stream_holds = self.waits[0].saturating_sub(since);
        if !stream_holds.is_zero() {
            say("waiting for events that the stream still holds");
            lease.sleep(stream_holds).await?;
        }
        say("looking for the events");
        let secret = self.forgotten.secret().await?;
        let by = By::Request(request, began, &secret);
        let mut found = self.look(user, by, &BTreeSet::new(), lease).await?;
        let is_resumed = earlier.is_some();
        found.add_counted(earlier.unwrap_or_default());
        lease.during(Box::pin(self.check_sealed_days(user, &found, is_resumed))).await??;
        let mut known = None;
        let gone = if found.tombstones.is_empty() && found.days().is_empty() {
            self.forgotten.read().await?
        } else {
            let counted = self.counted(&found).await?;
            decided.begin(&self.forgotten, (request, began), &counted, &*self.random).await?;
            let gone = self.forgotten.add(&secret, &found.tombstones).await?;
            if !self.waits[1].is_zero() {
                say("waiting until all filing that began before has ended");
                lease.sleep(self.waits[1]).await?;
            }
            self.look_again_at_the_lake(user, &gone, &mut found, lease).await?;
            found.add_counted(counted);
            let (of, days) = (self.settled(&found).await?, found.days());
            let of_user = (user, self.counts.counts_of_a_chunk());
            known = Some((decided.set_known(&self.forgotten, of_user, of, days.clone()).await?, days));
            gone
        };
        say("removing them");
        Box::pin(self.finish((request, began), (&gone, &found), known, decided, lease, say, amounts)).await
    }

    /// Does what follows from the tombstones and the counts. It can be repeated.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is used once, and they have no other thing in common"
    )]
    async fn finish(
        &self,
        (request, began): (&ForgetRequest, Timestamp),
        (gone, found): (&ForgottenEvents, &Found),
        known: Option<(CountsToLower, BTreeSet<Day>)>,
        decided: &mut Decided,
        lease: &Lease<'_>,
        say: &(dyn Fn(&str) + Sync),
        amounts: &mut ForgetAmounts,
    ) -> Result<(), ForgetError> {
        let user = &request.username;
        let is_any = known.is_some() || found.has_any();
        let (mut types, mut days) = (BTreeSet::new(), BTreeSet::new());
        if let Some((counts, of_events)) = known {
            (types, days) = (counts.types(), of_events);
            lease.during(Box::pin(self.counts.lower_by_forgotten(&counts))).await??;
            amounts.add_events(&counts);
        }
        lease.during(Box::pin(self.remove_keys(request, types))).await??;
        lease.during(Box::pin(self.remove_what_follows((request, began), gone, found, amounts))).await??;
        amounts.quarantine += self.rewrite_quarantine(gone, found, lease).await?;
        let again = lease.during(Box::pin(self.read_from_json(user, &days))).await??;
        amounts.lake += self.rewrite_lake(user, gone, found, lease).await?;
        if is_any {
            amounts.results += self.remove_results((request, began), gone, lease).await?;
        }
        // As long as it has the events, what follows from them is found again. The sealed days are noted.
        amounts.raw += self.rewrite_raw(gone, found, lease).await?;
        amounts.sealed += self.seal_again(&again.days, lease, say).await?;
        if let Some(day) = again.only_copy {
            return Err(ForgetError::SealedSince(day));
        }
        decided.end_days(&self.forgotten).await?;
        self.forgotten.end().await?;
        self.counts.remove_markers(user).await?;
        Ok(())
    }
}

impl ForgetAmounts {
    fn add_events(&mut self, counts: &CountsToLower) {
        for (event_type, by) in counts.forgotten() {
            match self.events.iter_mut().find(|(of, _)| of == event_type) {
                Some((_, count)) => *count += by,
                None => self.events.push((event_type.clone(), by)),
            }
        }
    }
}
