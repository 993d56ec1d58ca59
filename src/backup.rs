//! `weir backup` and `weir restore`: snapshots a data folder, and restores it.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use weir_core::SystemClock;
use weir_embedded::{BackupError, Manifest, Watch};

use crate::{
    cli::{BackupArgs, EngineName, RestoreArgs},
    counted::counted,
    printed,
    signals::Signals,
};

/// Runs `weir backup`.
pub(crate) async fn back_up(args: &BackupArgs) -> Result<ExitCode> {
    refuse_aws(args.folder.engine)?;
    let (from, to) = (args.folder.data.clone(), args.to.clone());
    let copy = move |watch: &Watch<'_>| weir_embedded::back_up(&from, &to, &SystemClock, watch);
    let told = |made: &Manifest| {
        format!("{} has all events acknowledged before {}: {}", args.to.display(), made.taken_at, size(made))
    };
    watched(copy, told).await
}

/// Runs `weir restore`.
pub(crate) async fn restore(args: &RestoreArgs) -> Result<ExitCode> {
    refuse_aws(args.folder.engine)?;
    let (from, to) = (args.from.clone(), args.folder.data.clone());
    let copy = move |watch: &Watch<'_>| weir_embedded::restore(&from, &to, watch);
    let told = |made: &Manifest| {
        format!(
            "{} is as it was at {}: {}. `weir audit` recounts it; `weir serve` goes on from there",
            args.folder.data.display(),
            made.taken_at,
            size(made)
        )
    };
    watched(copy, told).await
}

fn refuse_aws(engine: EngineName) -> Result<()> {
    if engine == EngineName::Aws {
        bail!(
            "on AWS, use the services' own: point-in-time recovery of the DynamoDB tables and the versions of objects in S3 \
             (docs/OPERATE.md)"
        );
    }
    Ok(())
}

fn size(made: &Manifest) -> String {
    let size = made.size();
    let files = counted(size.files, "file", "files");
    format!("{files} with {}, and the databases", bytesize::ByteSize(size.bytes))
}

/// Runs a copy on a thread of its own, with a progress bar; a signal stops it at the next file.
async fn watched(
    copy: impl FnOnce(&Watch<'_>) -> Result<Manifest, BackupError> + Send + 'static,
    told: impl FnOnce(&Manifest) -> String,
) -> Result<ExitCode> {
    let bar = ProgressBar::new_spinner();
    // The template is a constant.
    let style = ProgressStyle::with_template("{spinner} {bytes} copied, {bytes_per_sec}, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::listen(None)?;
    let copying = {
        let (bar, stop) = (bar.clone(), Arc::clone(&stop));
        move || copy(&Watch { copied: &|bytes| bar.inc(bytes), stop: &stop })
    };
    let mut copying = tokio::task::spawn_blocking(copying);
    let (outcome, code) = tokio::select! {
        outcome = &mut copying => (outcome, None),
        code = signals.next() => {
            stop.store(true, Ordering::Relaxed);
            (copying.await, Some(code))
        }
    };
    bar.finish_and_clear();
    match (outcome?, code) {
        (Ok(made), _) => {
            printed::line(told(&made));
            Ok(ExitCode::SUCCESS)
        }
        (Err(error @ BackupError::Stopped), Some(code)) => {
            eprintln!("weir: {error}");
            Ok(ExitCode::from(code))
        }
        (Err(error), _) => Err(error.into()),
    }
}
