//! One run: takes the turn, removes JSON and events that are due, seals the days that are due, and makes the views over them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use weir_aws::{
    Aws, DynamoCounts, OldLatestValues, S3Batches, S3Lake, S3SealedDays, SEALED_AFTER_MILLIS, UsersAndTypes,
    athena::Athena,
};
use weir_core::{
    Catalog, Clock, Day, EventType, Random, Timestamp,
    ports::PortError,
    sealing::{self, Removed, SealError, Sealed, SealedDays, Sealing},
};

use crate::{
    error::RunError,
    removal::{OldEvents, SealedJson, Time},
    terms::{Kept, Names, RunSummary},
    views::Views,
    work::AthenaWork,
};

/// The time that is kept for stopping queries and for logging what happened.
const ENDING: Duration = Duration::from_secs(30);

/// The most bytes that Athena takes as a statement. (<https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>)
const LONGEST_VIEW: usize = 262_144;

/// The time that is kept for making the views at the end.
const FOR_VIEWS: Duration = Duration::from_secs(90);

/// The time for sealing days again that events are forgotten in, which no function's end bounds.
const SEALING_AGAIN: Duration = Duration::from_hours(6);

/// How much longer than a run its turn lasts, in milliseconds, as clocks differ.
const TURN_MARGIN_MILLIS: u64 = 60_000;

/// How long views must have been made until JSON goes that they do not read any more. A query that began before them has ended
/// by then: Athena stops queries after 30 minutes (<https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>).
const VIEWED_MILLIS: u64 = 3_600_000;

/// After so many runs in a row in which nothing was removed of what is due, an operator must act.
const STALLED: u32 = 3;

const DAY_MILLIS: u64 = 24 * 3_600_000;

/// The clients and settings that all runs share.
pub struct Seal {
    days: S3SealedDays,
    lake: S3Lake,
    raw: S3Batches,
    quarantine: S3Batches,
    counts: DynamoCounts,
    latest: OldLatestValues,
    athena: Athena,
    database: String,
    bucket: String,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    longest_view: usize,
    longest_removal: Duration,
    kept: Kept,
}

/// What a run removed.
#[derive(Default)]
struct Gone {
    json_expired: u64,
    removed: Removed,
    has_more: bool,
    stalled: u32,
}

impl Seal {
    /// Makes the clients for the resources of these names.
    #[must_use]
    pub fn new(
        aws: &Aws,
        names: &Names,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let [raw, quarantine] = aws.batches(&names.raw);
        Self {
            days: aws.sealed_days(&names.lake),
            lake: aws.lake(&names.lake, false),
            raw,
            quarantine,
            latest: aws.old_latest(&names.latest, &names.lake),
            // Only live counts have shards.
            counts: aws.counts(&names.counts, std::num::NonZeroU16::MIN),
            athena: aws.athena(&names.workgroup, &names.database),
            database: names.database.clone(),
            bucket: names.lake.clone(),
            catalog,
            clock,
            random,
            longest_view: LONGEST_VIEW,
            longest_removal: Duration::MAX,
            kept: Kept::default(),
        }
    }

    /// Keeps JSON and events only so long.
    #[must_use]
    pub fn keeping(self, kept: Kept) -> Self {
        Self { kept, ..self }
    }

    /// Bounds the text of a view to fewer bytes than Athena takes.
    #[must_use]
    pub fn with_longest_view(mut self, bytes: usize) -> Self {
        self.longest_view = bytes;
        self
    }

    /// Bounds the time for removal to less than half of a run's.
    #[must_use]
    pub fn with_longest_removal(mut self, longest: Duration) -> Self {
        self.longest_removal = longest;
        self
    }

    /// Uses another client of Athena.
    #[must_use]
    pub fn asking(mut self, athena: Athena) -> Self {
        self.athena = athena;
        self
    }

    /// Seals the days that are due, in the time that is left; `None` if another run has the turn.
    pub async fn run(&self, left: Duration) -> Result<Option<RunSummary>, RunError> {
        let now = self.clock.now();
        let ends = Instant::now() + left.saturating_sub(ENDING);
        let turn_ends = now
            .plus_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
            .plus_millis(TURN_MARGIN_MILLIS);
        let Some(turn) = self.days.turn(&self.random.token(), now, turn_ends).await? else { return Ok(None) };
        let ran = self.with_turn(now, ends).await;
        turn.end().await;
        ran.map(Some)
    }

    /// Returns the paths of a day's objects, of all users.
    pub(crate) async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        self.lake.of_day(&self.lake.users_and_types().await?, day).await
    }

    /// Seals days with late objects again, and makes the views. The caller has the turn.
    pub(crate) async fn seal_late(&self) -> Result<(), RunError> {
        let ends = Instant::now() + SEALING_AGAIN;
        let views = self.views(ends);
        views.make_tables().await?;
        let work = self.work(self.lake.users_and_types().await?, BTreeSet::new(), ends);
        let sealing =
            Sealing { days: &self.days, work: &work, clock: &*self.clock, accept_differences: false };
        let sealed = sealing::seal_late(&sealing, &mut |_| ()).await;
        // Even if a day cannot be sealed: it is read from JSON then.
        let viewed = self.clock.now();
        views.make_views().await?;
        self.days.note_viewed(viewed).await?;
        Ok(sealed?)
    }

    fn views(&self, ends: Instant) -> Views<'_> {
        Views {
            days: &self.days,
            athena: &self.athena,
            database: &self.database,
            bucket: &self.bucket,
            catalog: &self.catalog,
            longest: self.longest_view,
            ends,
        }
    }

    fn work(&self, users: UsersAndTypes, open: BTreeSet<Day>, ends: Instant) -> AthenaWork<'_> {
        AthenaWork {
            days: &self.days,
            lake: &self.lake,
            counts: &self.counts,
            athena: &self.athena,
            database: &self.database,
            catalog: &self.catalog,
            random: &*self.random,
            ends,
            users,
            open,
            ran_out_of_time: AtomicBool::new(false),
        }
    }

    async fn with_turn(&self, now: Timestamp, ends: Instant) -> Result<RunSummary, RunError> {
        let views = self.views(ends);
        views.make_tables().await?;
        let until = sealing::over(now, SEALED_AFTER_MILLIS);
        // Announced before users and types are listed: objects of others that are put from here on are noted.
        if self.days.noted_until().await? < until {
            self.days.announce(until).await?;
        }
        let users = self.lake.users_and_types().await?;
        self.move_watermarks(&users, now).await?;
        let viewed = self.days.viewed().await?;
        let mut gone = Ok(Gone::default());
        // A run that died before it made its views has left views over replaced generations, which are removed only behind new
        // ones; so are events that are not kept any longer. A view that cannot be made can have too many late objects: to seal
        // them is the remedy.
        match views.make_views().await {
            Ok(()) => {
                gone = self.remove(&users, viewed, now, ends).await;
                sealing::tidy(&self.days, now).await?;
            }
            Err(error) => tracing::warn!(%error, "the views stay as they are until days are sealed"),
        }
        let ran = self.seal(users, until, ends.checked_sub(FOR_VIEWS).unwrap_or(ends)).await;
        // Even if a day cannot be sealed, as others may have been.
        let viewed = self.clock.now();
        let ran = match (ran, views.make_views().await) {
            (ran, Ok(())) => {
                self.days.note_viewed(viewed).await?;
                ran
            }
            (Ok(_), Err(error)) => Err(error),
            (Err(ran), Err(error)) => {
                tracing::warn!(%error, "the views stay as they are");
                Err(ran)
            }
        };
        match (ran, gone) {
            (Ok(ran), Ok(Gone { json_expired, removed, has_more, stalled })) => {
                let is_whole = ran.is_whole && !has_more;
                Ok(RunSummary { is_whole, json_expired, removed, stalled, ..ran })
            }
            (Ok(_), Err(error)) => Err(RunError::Removal(error)),
            (Err(ran), gone) => {
                if let Err(error) = gone {
                    tracing::warn!(%error, "JSON or events that are due cannot be removed");
                }
                Err(ran)
            }
        }
    }

    /// Moves the watermarks of types whose events are not kept for ever.
    async fn move_watermarks(&self, users: &UsersAndTypes, now: Timestamp) -> Result<(), PortError> {
        let in_lake = users.values().flatten().cloned();
        let manifest = self.days.manifest().await?;
        let first_days = sealing::first_days(in_lake, &manifest, &self.catalog, self.kept.events, now);
        sealing::set_first_days(&self.days, &first_days).await
    }

    /// Removes what is due: JSON of sealed days, and events that are not kept any longer. Takes half of the time at most, so that
    /// days are sealed, too.
    async fn remove(
        &self,
        users: &UsersAndTypes,
        viewed: Option<Timestamp>,
        now: Timestamp,
        ends: Instant,
    ) -> Result<Gone, PortError> {
        let half = ends.saturating_duration_since(Instant::now()) / 2;
        let time = Time::until(Instant::now() + half.min(self.longest_removal));
        let mut gone = Gone::default();
        let removed = self.remove_in_time(users, viewed, now, &time, &mut gone);
        gone.has_more = has_more(&time, removed).await?;
        let has_stalled = gone.has_more && !time.has_removed.load(Ordering::Relaxed);
        gone.stalled = self.days.note_stalled(has_stalled).await?;
        if gone.stalled >= STALLED {
            let runs = gone.stalled;
            tracing::error!(
                runs,
                "nothing is removed any more, run after run: the time of a run is too short for what is due"
            );
        }
        Ok(gone)
    }

    async fn remove_in_time(
        &self,
        users: &UsersAndTypes,
        viewed: Option<Timestamp>,
        now: Timestamp,
        time: &Time,
        gone: &mut Gone,
    ) -> Result<(), PortError> {
        let manifest = self.days.manifest().await?;
        if !manifest.removed.is_empty() {
            let quarantined_before = self.kept.events.map(|days| over_days(now, days).first_hour().start());
            let old = OldEvents {
                lake: &self.lake,
                counts: &self.counts,
                raw: &self.raw,
                quarantine: &self.quarantine,
                users,
                manifest: &manifest,
                quarantined_before,
                time,
            };
            gone.removed = sealing::remove_earlier(&self.days, &old, &old).await?;
            self.latest.remove(&manifest.removed, now).await?;
            let rejected = manifest.first_day(&EventType::rejected()).first_hour().start();
            if rejected > DynamoCounts::rejected_expired_before(now) {
                for username in users.keys() {
                    self.counts.remove_rejected(username, rejected).await?;
                }
            }
        }
        let viewed = viewed.filter(|at| at.plus_millis(VIEWED_MILLIS) <= now);
        if let Some((days, viewed)) = self.kept.json.zip(viewed) {
            let json = SealedJson { lake: &self.lake, time };
            let before = over_days(now, days);
            gone.json_expired = sealing::expire_json(&self.days, &json, before, viewed, now).await?;
        }
        Ok(())
    }

    async fn seal(&self, users: UsersAndTypes, until: Day, ends: Instant) -> Result<RunSummary, RunError> {
        let before = self.days.manifest().await?.sealed_until;
        let open = self.lake.days(&users, before, until).await?;
        let work = self.work(users, open.clone(), ends);
        let sealing =
            Sealing { days: &self.days, work: &work, clock: &*self.clock, accept_differences: false };
        let mut sealed = 0;
        let done = self.each_day(&sealing, &work, (open, until), &mut sealed).await;
        let sealed_until = self.days.manifest().await?.sealed_until;
        let ran = |is_whole| RunSummary {
            sealed,
            sealed_until,
            is_whole,
            json_expired: 0,
            removed: Removed::default(),
            stalled: 0,
        };
        if work.ran_out_of_time.into_inner() {
            // A day that can never be sealed is not to be taken for one that needs more time.
            if let Err(RunError::Day(error)) = done
                && !matches!(error, SealError::Port(_))
            {
                return Err(error.into());
            }
            let moved = sealed > 0 || sealed_until > before;
            return if moved { Ok(ran(false)) } else { Err(RunError::NoTime) };
        }
        done?;
        Ok(ran(true))
    }

    /// Seals day by day, so that a run without time for all of them has sealed some.
    async fn each_day(
        &self,
        sealing: &Sealing<'_>,
        work: &AthenaWork<'_>,
        (open, until): (BTreeSet<Day>, Day),
        count: &mut u64,
    ) -> Result<(), RunError> {
        let mut done = |sealed: Sealed| {
            *count += 1;
            let Sealed { day, generation, rows, repeats, objects, bytes } = sealed;
            tracing::info!(%day, generation, rows, repeats, objects, bytes, "sealed");
        };
        let mut opened = Ok(());
        for until in open.iter().map(|day| day.next()).chain([until]) {
            if !work.has_time() {
                work.ran_out_of_time.store(true, Ordering::Relaxed);
                return Ok(());
            }
            opened = sealing::seal_open(sealing, until, &mut done).await;
            if opened.is_err() {
                break;
            }
        }
        // Once, and even if an open day cannot be sealed. A late one that cannot be sealed again holds up no open day.
        let late = sealing::seal_late(sealing, &mut done).await;
        Ok(opened.and(late)?)
    }
}

/// Waits for a removal until its time is over; returns whether it has more to do. A removal may end anywhere: the next run goes on
/// with it.
async fn has_more(
    time: &Time,
    removal: impl Future<Output = Result<(), PortError>>,
) -> Result<bool, PortError> {
    match timeout_at(time.ends, removal).await {
        Ok(removed) if !time.is_over.load(Ordering::Relaxed) => removed.map(|()| false),
        _ => Ok(true),
    }
}

/// Returns the first day that ended less than so many days ago.
fn over_days(now: Timestamp, days: u32) -> Day {
    sealing::over(now, u64::from(days).saturating_mul(DAY_MILLIS))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_removal_ends_at_its_time_and_an_error_before_is_one() {
        let time = Time::until(Instant::now() + Duration::from_mins(7));
        assert!(!has_more(&time, ready(Ok(()))).await.unwrap());
        assert!(has_more(&time, ready(Err(PortError::unavailable("a list", "it broke")))).await.is_err());
        assert!(has_more(&time, pending()).await.unwrap());
        // The clock stands still but for what is waited for, in milliseconds.
        assert!(Instant::now() <= time.ends + Duration::from_millis(1));
    }
}
