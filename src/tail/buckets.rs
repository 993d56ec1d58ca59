//! Follows events on AWS: polls the raw bucket for new batches.

use std::{collections::BTreeSet, io::Write, time::Duration};

use anyhow::{Context, Result};
use weir_core::{BatchKey, Clock, ports::RawObjects};

use super::{filter::Tail, readers};
use crate::audit::objects::read_batch;

/// How often the bucket is listed.
const LOOK: Duration = Duration::from_secs(2);

/// How far back to list: a batch is in the folder of the hour in which it began, and may arrive late.
const LATE_HOURS: u64 = 1;

/// How many keys are listed per page.
const PAGE: usize = 1000;

/// Follows the batches below a prefix, until the reader has gone.
pub(super) async fn follow<W: Write>(
    raw: &dyn RawObjects,
    prefix: &str,
    clock: &dyn Clock,
    tail: &mut Tail<W>,
) -> Result<()> {
    // Earlier batches are read too if some of their events are wanted.
    let mut seen = BTreeSet::new();
    if !tail.wants_some_before() {
        seen = recent(raw, prefix, clock).await?;
    }
    loop {
        let there = recent(raw, prefix, clock).await?;
        for batch in there.difference(&seen) {
            print(raw, batch, tail).await?;
        }
        // Batches too old to be listed are forgotten.
        seen = there;
        tail.caught_up().context("it cannot be printed")?;
        if readers::are_gone() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns the batches of the last hours, in the order of their keys and so of their times.
async fn recent(raw: &dyn RawObjects, prefix: &str, clock: &dyn Clock) -> Result<BTreeSet<BatchKey>> {
    let now = clock.now();
    let since = weir_core::Timestamp::saturating(now.millis().saturating_sub(LATE_HOURS * 3_600_000));
    let [year, month, day, hour] = since.hour().parts();
    let mut after = BatchKey::new(format!("{prefix}{year}/{month:02}/{day:02}/{hour:02}"));
    let mut found = BTreeSet::new();
    loop {
        let page = raw.list(Some(&after), PAGE).await?;
        let done = page.len() < PAGE;
        if let Some(last) = page.last() {
            after = last.clone();
        }
        found.extend(page);
        if done {
            return Ok(found);
        }
    }
}

async fn print<W: Write>(raw: &dyn RawObjects, batch: &BatchKey, tail: &mut Tail<W>) -> Result<()> {
    let content = raw.open(batch).await?;
    let mut printed = Ok(());
    let seen = read_batch(content, |line| {
        if printed.is_ok() {
            printed = tail.take(line);
        }
    });
    let seen = seen.await.with_context(|| format!("cannot read {batch}"))?;
    printed.context("it cannot be printed")?;
    if let Err(damage) = seen.sound {
        eprintln!("weir: {batch}: {damage}");
    }
    Ok(())
}
