//! Following events on AWS: batches that are new in the raw bucket.

use std::{collections::BTreeSet, io::Write, time::Duration};

use anyhow::{Context, Result};
use weir_core::{BatchKey, Clock, ports::Raw};

use super::{filter::Tail, readers};
use crate::audit::objects::read_batch;

/// How often the bucket is listed.
const LOOK: Duration = Duration::from_secs(2);

/// How far back: batches lie in folders by the hour in which they were begun, and may come there late.
const LATE_HOURS: u64 = 1;

/// How many keys are listed at a time.
const PAGE: usize = 1000;

/// Follows the batches below a prefix, until nobody reads on.
pub(super) async fn follow<W: Write>(
    raw: &dyn Raw,
    prefix: &str,
    clock: &dyn Clock,
    tail: &mut Tail<W>,
) -> Result<()> {
    // Those that were there before are read too if some of them are wanted.
    let mut seen = BTreeSet::new();
    if !tail.wants_some_before() {
        seen = recent(raw, prefix, clock).await?;
    }
    loop {
        let there = recent(raw, prefix, clock).await?;
        for batch in there.difference(&seen) {
            print(raw, batch, tail).await?;
        }
        // What is too old to be listed is forgotten.
        seen = there;
        tail.caught_up().context("it cannot be printed")?;
        if readers::are_gone() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The batches of the last hours, in the order of their keys, which is that of their times.
async fn recent(raw: &dyn Raw, prefix: &str, clock: &dyn Clock) -> Result<BTreeSet<BatchKey>> {
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

async fn print<W: Write>(raw: &dyn Raw, batch: &BatchKey, tail: &mut Tail<W>) -> Result<()> {
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
