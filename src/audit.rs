//! `weir audit`: recounts the lake and compares it with what is counted.
//!
//! - `hours`: the hours that are recounted; `lake`: the users and types in the lake; `objects` reads one of its objects;
//! - `sealed`: recounts the Parquet of sealed days;
//! - `compare`: compares the recount with the counts before and after; `latest`: with latest values;
//! - `quiet`: waits until counts stand still, without which live counts cannot be corrected on AWS;
//! - `audited`: the result for one type; `findings`: the output; `summary`: the remarks beside it; `progress`: the bar meanwhile.

mod audited;
mod compare;
mod findings;
mod hours;
mod lake;
mod latest;
pub(crate) mod objects;
mod progress;
mod quiet;
mod retention;
mod sealed;
mod summary;

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use weir_core::{
    Day, EventType, Hour, SystemClock, Username,
    books::{Breakdown, Correction},
    latest::Newest,
    ports::{Books, BooksAdmin, LatestValuesAdmin, ReadLatest},
};
use weir_embedded::{Embedded, Flush};

use crate::{
    catalog,
    cli::{AuditArgs, EngineName},
    counted::counted,
    data, forget,
    names::Selection,
};
use audited::Audited;
use compare::{Reading, Terms};
use findings::Finding;
use hours::Hours;
use lake::{BadObject, InBatches, Recounter};
use progress::described;
use quiet::Quiet;
use sealed::Sealed;
use summary::Summary;

/// The exit code if something differs. 1 means that there was no audit, as everywhere.
const DIFFERENT: u8 = 3;

/// How many users' types are recounted concurrently: more than one, as most of them may be small.
const AT_ONCE: usize = 4;

/// How often the settled counts are polled while the lake is ahead of them.
const POLL: Duration = Duration::from_millis(250);

/// Runs the command.
pub(crate) async fn run(args: &AuditArgs) -> Result<ExitCode> {
    let (engine, data) = (args.place.engine, args.place.data.as_path());
    let catalog_folder = args.catalog.folder();
    let (user, event_type) = (args.user.as_ref(), args.event_type.as_ref());
    let asked = Selection { engine, data, catalog: catalog_folder, user, event_type };
    match engine {
        EngineName::Embedded => embedded(asked, args).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => {
            let (raw, lake, _, counts) = crate::aws::filing().await?;
            let counts = Arc::new(counts);
            let for_time = args.quiet_for.or(args.repair.then_some(quiet::USUAL));
            let quiet =
                for_time.map(|for_time| Quiet { live: counts.clone(), settled: counts.clone(), for_time });
            let catalog = Arc::new(catalog::read(catalog_folder)?);
            let has_latest = catalog.iter().any(|definition| definition.latest_by().is_some());
            let latest = if has_latest { Some(Arc::new(crate::aws::latest().await?)) } else { None };
            let sealed = crate::aws::sealed_days().await?;
            let bucket = sealed.map(|days| Arc::new(days) as Arc<dyn weir_core::sealing::SealedDays>);
            let sealed = Sealed { folder: None, bucket };
            let recounter = Recounter::new(Arc::new(lake), Arc::new(raw), catalog, sealed);
            let read = latest.clone().map(|latest| latest as Arc<dyn ReadLatest>);
            let audit = Audit::new(counts.clone(), read, recounter, args, args.wait);
            let latest = latest.as_deref().map(|latest| latest as &dyn LatestValuesAdmin);
            let admin = args.repair.then_some(Admin { counts: &*counts, latest });
            let audited = audit.run(quiet, admin, args, asked).await?;
            summary::forgotten(args, &counts.all_forgotten().await?);
            Ok(audited)
        }
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

/// Audits one machine, where the pending batches are known, so that counts need not stand still to be compared.
async fn embedded(asked: Selection<'_>, args: &AuditArgs) -> Result<ExitCode> {
    let data = asked.data;
    // A bad catalog is reported before anything else.
    let named = asked.catalog.map(|folder| catalog::read(Some(folder))).transpose()?;
    if args.quiet_for.is_some() {
        bail!("--quiet-for means nothing on one machine: what is not filed yet is known there");
    }
    data::must_have_events(data)?;
    if args.repair {
        forget::finish(data)?;
        // Nothing is ingested, so no batch is cut.
        let flush = Flush { every: Duration::MAX, size: u64::MAX };
        // Counts by key then follow the named catalog, which is noted with them.
        let opened = match &named {
            Some(catalog) => Embedded::open_with_catalog(data, flush, Arc::new(SystemClock), catalog),
            None => Embedded::open(data, flush, Arc::new(SystemClock))
                .map(|(engine, deliveries)| (engine, deliveries, Vec::new())),
        };
        let (engine, _deliveries, breakages) = opened
            .map_err(|error| data::in_use(error, "stop the server, then --repair can correct its counts"))?;
        for breakage in breakages {
            eprintln!("weir: the catalog changed: {breakage}");
        }
        let catalog = Arc::new(catalog::with_stored(named, data)?);
        let (raw, lake, _) = engine.folders();
        let recounter = Recounter::new(Arc::new(lake), Arc::new(raw), catalog, Sealed::of(data)?);
        let books = Arc::new(engine.clone());
        let audit = Audit::new(books.clone(), Some(books), recounter, args, Duration::ZERO);
        let admin = Admin { counts: &engine, latest: Some(&engine) };
        let audited = audit.run(None, Some(admin), args, asked).await?;
        summary::forgotten(args, &weir_embedded::forgotten_counts(data)?);
        return Ok(audited);
    }
    let catalog = Arc::new(catalog::with_stored(named, data)?);
    let (books, raw, lake) = weir_embedded::open_books(data)?;
    let wait = if weir_embedded::is_served(data) { args.wait } else { Duration::ZERO };
    let recounter = Recounter::new(Arc::new(lake), Arc::new(raw), catalog, Sealed::of(data)?);
    let books = Arc::new(books);
    let audit = Audit::new(books.clone(), Some(books), recounter, args, wait);
    let audited = audit.run(None, None, args, asked).await?;
    summary::forgotten(args, &weir_embedded::forgotten_counts(data)?);
    Ok(audited)
}

/// A user and a type.
type Whose = (Username, EventType);

/// The admin ports that correct differences.
#[derive(Clone, Copy)]
struct Admin<'a> {
    counts: &'a dyn BooksAdmin,
    /// `None` if the catalog keeps no latest values.
    latest: Option<&'a dyn LatestValuesAdmin>,
}

struct Audit {
    books: Arc<dyn Books>,
    /// `None` if the catalog keeps no latest values.
    latest: Option<Arc<dyn ReadLatest>>,
    recounter: Recounter,
    hours: Hours,
    /// The time left to wait for filing, in milliseconds, shared by all waits.
    patience: AtomicU64,
}

impl Audit {
    fn new(
        books: Arc<dyn Books>,
        latest: Option<Arc<dyn ReadLatest>>,
        recounter: Recounter,
        args: &AuditArgs,
        wait: Duration,
    ) -> Self {
        let patience = AtomicU64::new(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Self { books, latest, recounter, hours: Hours { from: args.from, to: args.to }, patience }
    }

    async fn run(
        self,
        quiet: Option<Quiet>,
        admin: Option<Admin<'_>>,
        args: &AuditArgs,
        asked: Selection<'_>,
    ) -> Result<ExitCode> {
        let (scope, strays) = self.scope(args).await?;
        if scope.is_empty() {
            asked.check().await?;
        }
        let users: BTreeSet<&Username> = scope.iter().map(|(user, _)| user).collect();
        let bar = progress::bar(&self.recounter.progress, scope.len() as u64);
        let stood = match &quiet {
            None => None,
            Some(quiet) => {
                let tell = |left: Duration| {
                    bar.set_message(format!("waiting whether counts stand still, {} s more", left.as_secs()));
                };
                let stood = quiet.wait(&users, tell).await?;
                bar.set_message("");
                Some(stood)
            }
        };
        let recounting = Instant::now();
        bar.enable_steady_tick(Duration::from_millis(200));
        // A small lake is read before the first tick.
        bar.tick();
        let audited: Vec<Audited> = stream::iter(&scope)
            .map(|whose| async {
                let audited = self.pair(whose, stood.is_some()).await;
                bar.inc(1);
                audited
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        bar.finish_and_clear();
        let took = recounting.elapsed();
        if let (Some(quiet), Some(stood)) = (&quiet, &stood) {
            quiet.check(&users, stood).await?;
        }

        let bad_batches = std::mem::take(&mut *self.recounter.bad_batches.lock().expect("no holder panics"));
        // The events of an unreadable batch are counted, but under unknown users and types.
        let corrections = |audited: &Audited| audited.corrections().filter(|_| bad_batches.is_empty());
        let (mut corrected, mut mended) = (0, 0);
        if let Some(admin) = admin {
            let all: Vec<Correction> = audited.iter().filter_map(corrections).flatten().collect();
            let correcting = admin.counts.correct(&all).await;
            correcting.context("some counts may be corrected and others not: audit again")?;
            corrected = all.len();
            for wrong in audited.iter().flat_map(|audited| audited.values_to_mend(bad_batches.is_empty())) {
                if let Some(latest) = admin.latest {
                    latest::mend(latest, wrong).await?;
                    mended += 1;
                }
            }
        }
        let removed: u64 = audited.iter().filter(|it| !it.whose.1.is_bots()).map(|it| it.removed).sum();
        let of_types = audited.iter().filter(|it| !it.whose.1.is_bots());
        let not_recounted: u64 = of_types.map(|it| it.not_recounted).sum();
        let in_doubt = |it: &&Audited| it.has_wrong_live_counts() && corrections(it).is_none();
        let in_doubt = audited.iter().filter(in_doubt).count();
        let no_ones = strays.into_iter().chain(bad_batches).map(|bad| Finding::of_object(None, bad));
        let found: Vec<Finding> =
            no_ones.chain(audited.into_iter().flat_map(Audited::into_findings)).collect();
        let summary = Summary::of(&found);
        findings::print(found, args.format)?;

        let progress = &self.recounter.progress;
        eprintln!("weir: {}; {} in {:.1} s", summary.differences(), described(progress), took.as_secs_f64());
        summary::removed(removed);
        summary::not_recounted(not_recounted);
        summary.explain(self.hours, admin.is_some());
        if in_doubt > 0 && admin.is_some() {
            eprintln!(
                "weir: live counts of {in_doubt} of a user's types were left as they are: what lies in the lake of them is \
                 not what was settled, or a batch cannot be read. Mend that first"
            );
        }
        if admin.is_some() {
            let corrected = counted(corrected as u64, "live count was", "live counts were");
            eprintln!("weir: {corrected} corrected");
            if mended > 0 {
                eprintln!(
                    "weir: {} mended",
                    counted(mended as u64, "latest value was", "latest values were")
                );
            }
        }
        Ok(if summary.wrong > corrected + mended { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
    }

    /// Returns the users' types to audit: all in the lake, and all with a count.
    async fn scope(&self, args: &AuditArgs) -> Result<(BTreeSet<Whose>, Vec<BadObject>)> {
        let mut scope = self.books.counted().await?;
        let mut strays = Vec::new();
        let users = if let Some(user) = &args.user {
            BTreeSet::from([user.clone()])
        } else {
            let (mut users, ownerless) = self.recounter.users().await?;
            strays.extend(ownerless);
            users.extend(scope.iter().map(|(user, _)| user.clone()));
            users
        };
        for user in users {
            let (types, nothings) = self.recounter.types(&user).await?;
            strays.extend(nothings);
            scope.extend(types.into_iter().map(|event_type| (user.clone(), event_type)));
        }
        let wanted = |(user, event_type): &Whose| {
            args.user.as_ref().is_none_or(|wanted| wanted == user)
                && args.event_type.as_ref().is_none_or(|wanted| wanted == event_type)
        };
        scope.retain(wanted);
        Ok((scope, strays))
    }

    async fn pair(&self, whose: &Whose, still: bool) -> Result<Audited> {
        let (user, event_type) = whose;
        // Latest values are read first, so that the later readings know the events of all these values.
        let values_before = self.kept(whose).await?;
        let in_stream = match &values_before {
            Some(_) => self.books.latest_in_stream(user, event_type).await?,
            None => Vec::new(),
        };
        let (before, in_batches) = self.reading(whose).await?;
        let unsettled = before.counts.under_way.as_ref().map_or(&[][..], |under_way| &under_way.unsettled);
        let found = self.recounter.recount(user, event_type, self.hours, unsettled).await;
        let mut found = found.with_context(|| format!("recounting {user}'s {event_type}"))?;
        let (mut after, _) = self.reading(whose).await?;
        let on_its_way = |reading: &Reading| match &reading.counts.under_way {
            Some(under_way) => !under_way.unsettled.is_empty(),
            None => true,
        };
        while compare::is_ahead(&found.in_lake, &after.counts) && on_its_way(&after) && self.has_patience() {
            tokio::time::sleep(POLL).await;
            (after, _) = self.reading(whose).await?;
        }
        // Read last, so that it is as far as it was for any of the others.
        let manifest = self.recounter.manifest().await?;
        let first = manifest.first_day(event_type).first_hour();
        let mut before = before;
        let is_kept = |hour: &Hour| *hour >= first;
        let removed = retention::leave_out(&is_kept, &mut found.in_lake, [&mut before, &mut after]);
        let in_parquet = self.recounter.only_in_parquet(&manifest, event_type);
        let is_in_json = |hour: &Hour| !in_parquet.contains(&Day::of(*hour));
        let not_recounted = retention::leave_out(&is_in_json, &mut found.in_lake, [&mut before, &mut after]);
        let keys = self.recounter.has_keys(event_type) && removed == 0 && in_parquet.is_empty();
        let terms = Terms { all_hours: self.hours.all(), keys, still };
        let differences = compare::compare(&found.in_lake, &before, &after, terms);
        let wrong_values = match (values_before, self.kept(whose).await?) {
            // The newest event of a resource may be in a day that is not recounted.
            (Some(mut values_before), Some(mut values)) if in_parquet.is_empty() => {
                // Values of removed events go with the next retention.
                for values in [&mut values_before, &mut values] {
                    values.retain(|_, value| value.version.time >= first.start());
                }
                let mut newest: Newest = found.latest;
                let under_way = in_batches.latest.into_values().chain(in_stream);
                newest.extend(under_way.filter(|value| value.version.time >= first.start()));
                let all_are_known = still || before.under_way.is_some();
                latest::compare(&newest, &values_before, values, all_are_known)
            }
            _ => Vec::new(),
        };
        let whose = whose.clone();
        Ok(Audited { whose, differences, wrong_values, bad: found.bad, removed, not_recounted })
    }

    /// Returns the latest values of a user's type; `None` if they are not compared: there are none, or only some hours are
    /// recounted.
    async fn kept(&self, (user, event_type): &Whose) -> Result<Option<latest::Kept>> {
        match &self.latest {
            Some(latest) if self.hours.all() && self.recounter.has_latest(event_type) => {
                Ok(Some(latest::kept(&**latest, user, event_type).await?))
            }
            _ => Ok(None),
        }
    }

    async fn reading(&self, (user, event_type): &Whose) -> Result<(Reading, InBatches)> {
        let mut counts = self.books.counts_of(user, event_type).await?;
        counts.settled_hours.retain(|hour, _| self.hours.have(*hour));
        let Some(under_way) = &counts.under_way else {
            return Ok((Reading { counts, under_way: None }, InBatches::default()));
        };
        let whose = (user.clone(), event_type.clone());
        let in_batches = self.recounter.in_batches(&under_way.unsettled, &whose).await?;
        let under_way = Some(sum(under_way.in_stream.clone(), in_batches.breakdown.clone()));
        Ok((Reading { counts, under_way }, in_batches))
    }

    fn has_patience(&self) -> bool {
        let poll = u64::try_from(POLL.as_millis()).unwrap_or(u64::MAX);
        let less = |left: u64| left.checked_sub(poll);
        self.patience.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

fn sum(mut one: Breakdown, other: Breakdown) -> Breakdown {
    one.total += other.total;
    for (key, count) in other.keys {
        *one.keys.entry(key).or_default() += count;
    }
    one
}
