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

/// The batches below a prefix.
pub(super) struct Batches<'a> {
    pub(super) raw: &'a dyn RawObjects,
    pub(super) prefix: &'a str,
    pub(super) clock: &'a dyn Clock,
}

impl Batches<'_> {
    /// Prints the events of batches: those that are there if wanted, and then new ones until the reader has gone. With
    /// `no_follow` it does not wait for new ones.
    pub(super) async fn print<W: Write>(&self, tail: &mut Tail<W>, no_follow: bool) -> Result<()> {
        // Earlier batches are read too if some of their events are wanted.
        let mut seen = BTreeSet::new();
        if !tail.wants_some_before() {
            seen = self.recent().await?;
        }
        loop {
            let there = self.recent().await?;
            for batch in there.difference(&seen) {
                print(self.raw, batch, tail).await?;
            }
            // Batches too old to be listed are forgotten.
            seen = there;
            tail.caught_up().context("it cannot be printed")?;
            if no_follow || readers::are_gone() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns the batches of the last hours, in the order of their keys and so of their times.
    async fn recent(&self) -> Result<BTreeSet<BatchKey>> {
        let now = self.clock.now();
        let since = weir_core::Timestamp::saturating(now.millis().saturating_sub(LATE_HOURS * 3_600_000));
        let [year, month, day, hour] = since.hour().parts();
        let mut after = BatchKey::new(format!("{}{year}/{month:02}/{day:02}/{hour:02}", self.prefix));
        let mut found = BTreeSet::new();
        loop {
            let page = self.raw.list(Some(&after), PAGE).await?;
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
