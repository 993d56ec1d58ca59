//! One run: takes the turn, seals the days that are due, and makes the views over them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use weir_aws::{Aws, DynamoCounts, S3Lake, S3SealedDays, SEALED_AFTER_MILLIS, athena::Athena};
use weir_core::{
    Catalog, Clock, Day, Random, Timestamp,
    sealing::{self, SealError, Sealed, SealedDays, Sealing},
};

use crate::{error::RunError, views::Views, work::AthenaWork};

/// The time that is kept for stopping queries and for logging what happened.
const ENDING: Duration = Duration::from_secs(30);

/// The most bytes that Athena takes as a statement. (<https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>)
const LONGEST_VIEW: usize = 262_144;

/// The time that is kept for making the views at the end.
const FOR_VIEWS: Duration = Duration::from_secs(90);

/// How much longer than a run its turn lasts, in milliseconds, as clocks differ.
const TURN_MARGIN_MILLIS: u64 = 60_000;

/// The clients and settings that all runs share.
pub struct Seal {
    days: S3SealedDays,
    lake: S3Lake,
    counts: DynamoCounts,
    athena: Athena,
    database: String,
    bucket: String,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    longest_view: usize,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSummary {
    /// How many generations it made.
    pub sealed: u64,
    /// The watermark.
    pub sealed_until: Day,
    /// Whether all days that are due are sealed. Otherwise there was no time left, and the next run goes on.
    pub is_whole: bool,
}

/// The names of the AWS resources that sealing uses.
#[derive(Debug, Clone)]
pub struct Names {
    /// The bucket of the lake.
    pub lake: String,
    /// The table of counts.
    pub counts: String,
    /// Athena's workgroup.
    pub workgroup: String,
    /// The database of the tables.
    pub database: String,
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
        Self {
            days: aws.sealed_days(&names.lake),
            lake: aws.lake(&names.lake, false),
            // Only live counts have shards.
            counts: aws.counts(&names.counts, std::num::NonZeroU16::MIN),
            athena: aws.athena(&names.workgroup, &names.database),
            database: names.database.clone(),
            bucket: names.lake.clone(),
            catalog,
            clock,
            random,
            longest_view: LONGEST_VIEW,
        }
    }

    /// Bounds the text of a view to fewer bytes than Athena takes.
    #[must_use]
    pub fn with_longest_view(mut self, bytes: usize) -> Self {
        self.longest_view = bytes;
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
        let mut owner = [0; 16];
        self.random.fill(&mut owner);
        let owner: String = owner.iter().map(|byte| format!("{byte:02x}")).collect();
        let Some(turn) = self.days.turn(&owner, now, turn_ends).await? else { return Ok(None) };
        let ran = self.with_turn(now, ends).await;
        turn.end().await;
        ran.map(Some)
    }

    async fn with_turn(&self, now: Timestamp, ends: Instant) -> Result<RunSummary, RunError> {
        let views = Views {
            days: &self.days,
            athena: &self.athena,
            database: &self.database,
            bucket: &self.bucket,
            catalog: &self.catalog,
            longest: self.longest_view,
            ends,
        };
        views.make_tables().await?;
        // A run that died before it made its views has left views over replaced generations, which are removed only after new
        // ones. A view that cannot be made can have too many late objects: to seal them is the remedy.
        match views.make_views().await {
            Ok(()) => sealing::tidy(&self.days, now).await?,
            Err(error) => tracing::warn!(%error, "the views stay as they are until days are sealed"),
        }
        let ran = self.seal(now, ends.checked_sub(FOR_VIEWS).unwrap_or(ends)).await;
        // Even if a day cannot be sealed, as others may have been.
        match (ran, views.make_views().await) {
            (ran, Ok(())) => ran,
            (Ok(_), Err(error)) => Err(error),
            (Err(ran), Err(error)) => {
                tracing::warn!(%error, "the views stay as they are");
                Err(ran)
            }
        }
    }

    async fn seal(&self, now: Timestamp, ends: Instant) -> Result<RunSummary, RunError> {
        let until = Day::of(Timestamp::saturating(now.millis().saturating_sub(SEALED_AFTER_MILLIS)).hour());
        // Announced before users and types are listed: objects of others that are put from here on are noted.
        if self.days.noted_until().await? < until {
            self.days.announce(until).await?;
        }
        let before = self.days.manifest().await?.sealed_until;
        let users = self.lake.users_and_types().await?;
        let open = self.lake.days(&users, before, until).await?;
        let work = AthenaWork {
            days: &self.days,
            lake: &self.lake,
            counts: &self.counts,
            athena: &self.athena,
            database: &self.database,
            catalog: &self.catalog,
            random: &*self.random,
            ends,
            users,
            open: open.clone(),
            ran_out_of_time: AtomicBool::new(false),
        };
        let sealing =
            Sealing { days: &self.days, work: &work, clock: &*self.clock, accept_differences: false };
        let mut sealed = 0;
        let done = self.each_day(&sealing, &work, (open, until), &mut sealed).await;
        let sealed_until = self.days.manifest().await?.sealed_until;
        if work.ran_out_of_time.into_inner() {
            // A day that can never be sealed is not to be taken for one that needs more time.
            if let Err(RunError::Day(error)) = done
                && !matches!(error, SealError::Port(_))
            {
                return Err(error.into());
            }
            let moved = sealed > 0 || sealed_until > before;
            return if moved {
                Ok(RunSummary { sealed, sealed_until, is_whole: false })
            } else {
                Err(RunError::NoTime)
            };
        }
        done?;
        Ok(RunSummary { sealed, sealed_until, is_whole: true })
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
