//! How reading counts grows with the number of keys that a type has: on one machine's store, on a disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use weir_core::{
    Counter, EventType, Increment, SystemClock, Username,
    counts::KeysRequest,
    ports::{LiveCounts, PortError},
};
use weir_embedded::{Embedded, Flush};

use crate::{report::Report, usage::as_f64};

/// How `grow` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// Numbers of keys.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    keys: Vec<usize>,
    /// How often each is read; the median is reported.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    reads: u32,
}

/// What a page of `GET /counts/{event_type}` has.
const PAGE: usize = 100;

/// How many increments are written at once.
const AT_ONCE: usize = 10_000;

/// Measures all sizes.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let mut report = Report::default();
    for keys in &options.keys {
        runtime.block_on(measure(&mut report, *keys, options.reads))?;
    }
    Ok(report)
}

async fn measure(report: &mut Report, keys: usize, reads: u32) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
    let (engine, _deliveries) = Embedded::open(folder.path(), flush, Arc::new(SystemClock))?;
    let (username, event_type): (Username, EventType) = ("ethan".parse()?, "button_click".parse()?);
    let counter = |key: String| -> anyhow::Result<Counter> {
        Ok(Counter { username: username.clone(), event_type: event_type.clone(), key: Some(key.parse()?) })
    };
    let mut increments = Vec::with_capacity(keys);
    for number in 0..keys {
        increments
            .push(Increment { counter: counter(format!("button-{number}"))?, by: number as u64 % 997 + 1 });
    }
    let began = Instant::now();
    for chunk in increments.chunks(AT_ONCE) {
        engine.raise(chunk).await?;
    }
    let subject = format!("{keys} keys");
    report.add(&subject, "raised", as_f64(keys) / began.elapsed().as_secs_f64(), "counts/s", None);

    let request = KeysRequest { limit: PAGE, after: None };
    let first = engine.keys(&username, &event_type, &request).await?;
    let page = median(reads, async || engine.keys(&username, &event_type, &request).await.map(drop)).await?;
    report.add(&subject, "the first 100, largest first", page, "ms", None);
    // A page that begins after the middle of all.
    let middle = KeysRequest {
        limit: PAGE,
        after: first.last().cloned().map(|mut last| {
            last.count = 500;
            last
        }),
    };
    let page = median(reads, async || engine.keys(&username, &event_type, &middle).await.map(drop)).await?;
    report.add(&subject, "a hundred in the middle", page, "ms", None);
    let one = [counter(format!("button-{}", keys / 2))?];
    let read = median(reads, async || engine.read(&one).await.map(drop)).await?;
    report.add(&subject, "one key's count", read, "ms", None);
    Ok(())
}

async fn median(reads: u32, read: impl AsyncFn() -> Result<(), PortError>) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..reads {
        let began = Instant::now();
        read().await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
