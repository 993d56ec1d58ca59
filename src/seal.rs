//! `weir seal`: days that are over become Parquet.
//!
//! `weir_core::sealing` decides what is sealed and in which steps; `work` reads the lake's objects and has DuckDB write the files,
//! by the SQL of `sql`. `rows` takes forgotten events out of sealed days, and `retention` removes what is not kept any longer.

mod retention;
mod rows;
mod sql;
mod work;

use std::{path::Path, process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use weir_core::{
    Clock, Day, SystemClock, Timestamp,
    ports::PortError,
    sealing::{self, SealError, Sealed, SealedDays, Sealing},
};
use weir_embedded::{SealedFolder, SealingTurn};

use crate::{
    answers::Running,
    catalog,
    cli::{EngineName, SealArgs},
    counted::counted,
    data, printed,
    query::DuckDb,
    signals::Signals,
};
pub(crate) use work::DuckDbWork;

/// How long after a day's end it is sealed by default.
pub(crate) const AFTER: Duration = Duration::from_hours(48);

/// The memory of DuckDB by default.
const MEMORY: u64 = 512 << 20;

/// The memory that each thread of DuckDB needs.
const FOR_A_THREAD: u64 = 256 << 20;

/// Runs the command.
pub(crate) async fn run(args: &SealArgs) -> Result<ExitCode> {
    if args.place.engine != EngineName::Embedded {
        bail!(
            "weir seal works on one machine's data folder; on AWS a function seals days (the parameter WithSealing)"
        );
    }
    let path = args.place.data.as_path();
    let named = args.catalog.folder().map(|folder| catalog::read(Some(folder))).transpose()?;
    data::must_have_events(path)?;
    let catalog = catalog::with_stored(named, path)?;
    let now = SystemClock.now();
    let until = args.until.unwrap_or_else(|| over(now, AFTER));
    if until > Day::of(now.hour()) {
        bail!("only days that are over can be sealed: --until can be {} at the latest", Day::of(now.hour()));
    }
    let folder = SealedFolder::of(path);
    let turn = folder.turn().with_context(|| format!("cannot use {}", folder.path().display()))?;
    let Some(turn) = turn else { bail!("another sealing of this data folder is running") };
    if args.gentle {
        leave_the_machine_to_others();
    }
    let running = Arc::new(Running::default());
    let mut signals = Signals::listen(None)?;
    let ending = Arc::clone(&running);
    let ended = tokio::spawn(async move {
        let code = signals.next().await;
        ending.stop();
        code
    });
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = if args.gentle { (cores / 2).max(1) } else { cores };
    let threads = threads(cores, args.settings.memory);
    let turn = Arc::new(turn);
    let mut work = DuckDbWork::new(path, catalog, turn, args.settings.memory, threads, Arc::clone(&running))?;
    work.quarantined_before = retention::quarantined_before(args, now);
    let sealing = Sealing {
        days: &folder,
        work: &work,
        clock: &SystemClock,
        accept_differences: args.accept_differences,
    };
    let sealed = all(&sealing, &work, until, args, now).await;
    if running.is_stopped() {
        eprintln!(
            "weir: stopped; the days that were printed are sealed, and the next sealing goes on after them"
        );
        return Ok(ExitCode::from(ended.await.unwrap_or(1)));
    }
    sealed.map(|()| ExitCode::SUCCESS)
}

/// Gives this thread, and what it starts, only the time that no other program wants. At the lowest nice value, DuckDB would still end
/// its time slice while a request waits. Where that cannot be had, sealing takes a larger share of the machine.
fn leave_the_machine_to_others() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok() {
            return;
        }
    }
    #[cfg(unix)]
    let _ = rustix::process::nice(19);
}

/// Returns how many threads DuckDB may have: each needs memory of its own for what it sorts and compresses.
fn threads(cores: usize, memory: u64) -> usize {
    cores.min(usize::try_from(memory / FOR_A_THREAD).unwrap_or(usize::MAX).max(1))
}

/// Returns the work for a command that changes sealed days and seals none: it has the default memory.
pub(crate) fn work(path: &Path, turn: &Arc<SealingTurn>) -> Result<DuckDbWork> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let catalog = catalog::with_stored(None, path)?;
    let threads = threads(cores, MEMORY);
    DuckDbWork::new(path, catalog, Arc::clone(turn), MEMORY, threads, Arc::new(Running::default()))
}

/// Returns the first day that is not over for this long.
pub(crate) fn over(now: Timestamp, after: Duration) -> Day {
    sealing::over(now, u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

async fn all(
    sealing: &Sealing<'_>,
    work: &DuckDbWork,
    until: Day,
    args: &SealArgs,
    now: Timestamp,
) -> Result<()> {
    retention::run(sealing.days, work, args, now).await?;
    let duckdb = DuckDb::find();
    if !duckdb.is_there() {
        return Err(duckdb.missing_for("sealing needs", std::io::ErrorKind::NotFound.into()));
    }
    again(sealing, &args.again).await?;
    sealing::tidy(sealing.days, now).await?;
    let before = sealing.days.manifest().await?.sealed_until;
    let left = sealing.work.days(until).await?.range(before..).count();
    let bar = ProgressBar::new(left as u64);
    // The template is a constant.
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} days, {elapsed}  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut done = |sealed: Sealed| {
        bar.inc(1);
        bar.suspend(|| printed::line(described(&sealed)));
    };
    let sealed = sealing::seal(sealing, until, &mut done).await;
    bar.finish_and_clear();
    sealed?;
    let expired = expire(sealing.days, work, args, now).await?;
    if expired > 0 {
        printed::line(format_args!(
            "the JSON of {} was removed (--keep-json)",
            counted(expired, "day", "days")
        ));
    }
    let sealed_until = sealing.days.manifest().await?.sealed_until;
    printed::line(format_args!("all days before {sealed_until} are sealed"));
    Ok(())
}

/// Seals days anew from their JSON.
async fn again(sealing: &Sealing<'_>, days: &[Day]) -> Result<()> {
    for day in days.iter().copied() {
        match sealing::seal_again(sealing, day).await {
            Ok(Some(sealed)) => printed::line(described(&sealed)),
            Ok(None) => bail!("{day} is not sealed"),
            Err(error @ SealError::Differs { .. }) => bail!(
                "{error}. So the files of {day} stay as they are: where JSON of it was removed, put the folder sealed/{day} back from a \
                 backup"
            ),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn expire(
    days: &dyn SealedDays,
    work: &DuckDbWork,
    args: &SealArgs,
    now: Timestamp,
) -> Result<u64, PortError> {
    match args.settings.keep_json {
        Some(keep) => sealing::expire_json(days, work, over(now, keep), now, now).await,
        None => Ok(0),
    }
}

fn described(sealed: &Sealed) -> String {
    let Sealed { day, generation, rows, repeats, objects, bytes } = *sealed;
    let mut told = format!(
        "{day}: {}, {} from {}",
        counted(rows, "event", "events"),
        ByteSize::b(bytes).display().si(),
        counted(objects, "object", "objects")
    );
    if repeats > 0 {
        told += &format!("; {} left out", counted(repeats, "repeat was", "repeats were"));
    }
    if generation > 1 {
        told += &format!(" (generation {generation})");
    }
    told
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_gentle_sealing_starts_has_only_the_time_that_others_leave() {
        let started = thread::spawn(|| {
            leave_the_machine_to_others();
            std::process::Command::new("cat").arg("/proc/self/stat").output().unwrap()
        });
        let stat = String::from_utf8(started.join().unwrap().stdout).unwrap();
        // The fields after the program's name begin with the third one; the scheduling policy is the 41st, and 5 is SCHED_IDLE:
        // https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        assert_eq!(fields.split(' ').nth(41 - 3), Some("5"), "{stat}");
    }
}
