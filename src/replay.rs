//! `weir replay`: files batches again.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Result;
use fan_out::FanOut;
use indicatif::{ProgressBar, ProgressStyle};
use weir_core::{
    BatchKey, SystemClock,
    ports::{RawObjects, Settled},
};
use weir_embedded::{Embedded, Flush};

use crate::{
    cli::{EngineName, ReplayArgs},
    counted::counted,
    data, forget, printed,
};

/// How many keys are listed per page.
const PAGE: usize = 1000;

/// Runs the command.
pub(crate) async fn run(args: &ReplayArgs) -> Result<ExitCode> {
    match args.place.engine {
        EngineName::Embedded => {
            let data = args.place.data.as_path();
            data::must_have_events(data)?;
            forget::finish(data)?;
            // Nothing is ingested, so no batch is cut.
            let flush = Flush { every: Duration::MAX, size: u64::MAX };
            let (engine, _deliveries) = Embedded::open(data, flush, Arc::new(SystemClock))
                .map_err(|error| data::in_use(error, "stop it first, as it files its batches itself"))?;
            let (raw, lake, quarantine) = engine.folders();
            let raw = Arc::new(raw);
            let fan_out =
                FanOut::new(raw.clone(), Arc::new(lake), Arc::new(quarantine), Arc::new(engine.clone()))
                    .without(Arc::new(engine));
            replay(&*raw, &fan_out, args, "").await
        }
        #[cfg(feature = "aws")]
        EngineName::Aws => {
            let (raw, lake, quarantine, counts) = crate::aws::filing().await?;
            let raw = Arc::new(raw);
            let fan_out = FanOut::new(raw.clone(), Arc::new(lake), Arc::new(quarantine), Arc::new(counts))
                .without(crate::aws::forgotten().await?);
            replay(&*raw, &fan_out, args, weir_aws::RAW_PREFIX).await
        }
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

/// Files the batches of a range; continues past failures, and reports them at the end.
async fn replay(raw: &dyn RawObjects, fan_out: &FanOut, args: &ReplayArgs, prefix: &str) -> Result<ExitCode> {
    // Paths may be typed as they appear below raw, with or without the bucket's prefix.
    let bound = |path: &String| format!("{prefix}{}", path.strip_prefix(prefix).unwrap_or(path));
    let (from, to) = (args.from.as_ref().map(bound), args.to.as_ref().map(bound));
    let batches = list(raw, from.as_deref(), to.as_deref()).await?;
    let bar = ProgressBar::new(batches.len() as u64);
    let style = ProgressStyle::with_template("{bar:12} {pos}/{len} batches, {eta} left  {wide_msg}");
    // The template is a constant.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.tick();

    let (mut events, mut quarantined, mut newly, mut failed) = (0, 0, 0, 0);
    for batch in &batches {
        match fan_out.file(batch).await {
            Ok(done) => {
                events += done.events;
                quarantined += done.quarantined_lines;
                newly += u64::from(done.settled == Some(Settled::Now));
            }
            Err(error) => {
                failed += 1;
                bar.suspend(|| eprintln!("weir: {error}"));
            }
        }
        bar.inc(1);
        bar.set_message(format!("{:.0}/s", bar.per_sec()));
    }
    bar.finish_and_clear();
    printed::line(format_args!(
        "{} filed again with {}; {newly} had not been settled before; {} in quarantine; {} failed",
        counted(batches.len() as u64 - failed, "batch", "batches"),
        counted(events, "event", "events"),
        counted(quarantined, "line is", "lines are"),
        counted(failed, "batch", "batches")
    ));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the batches from `from` (inclusive) to `to` (exclusive).
async fn list(raw: &dyn RawObjects, from: Option<&str>, to: Option<&str>) -> Result<Vec<BatchKey>> {
    let mut batches: Vec<BatchKey> = Vec::new();
    loop {
        let page = raw.list(batches.last(), PAGE).await?;
        let done = page.len() < PAGE;
        batches.extend(page);
        if done {
            break;
        }
    }
    let inside = |batch: &BatchKey| {
        from.is_none_or(|from| batch.as_str() >= from) && to.is_none_or(|to| batch.as_str() < to)
    };
    batches.retain(inside);
    Ok(batches)
}
