//! What the machine and the store can do without HTTP: what HTTP's figures are compared with.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use weir_core::{
    Catalog, Event, EventId, Record, Stamp, SystemClock, SystemRandom, Timestamp, Username, ports::Stream,
};
use weir_embedded::{Embedded, Flush};

/// How often a second one writer can append a page to a file and have it on the disk.
pub(crate) fn fsyncs_a_second(folder: &Path, lasting: Duration) -> anyhow::Result<f64> {
    let mut file = File::create(folder.join("fsync"))?;
    let (began, mut done) = (Instant::now(), 0_u32);
    while began.elapsed() < lasting {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        done += 1;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

/// How many events a second the embedded store takes from so many writers, each of which waits until its events are
/// durable before it goes on. What HTTP adds is left out: reading, validating and answering requests.
pub(crate) fn appends_a_second(
    folder: &Path,
    writers: u32,
    events: usize,
    lasting: Duration,
) -> anyhow::Result<f64> {
    // Batches are cut as by default, and are never filed.
    let flush = Flush { every: Duration::from_mins(1), size: 16 << 20 };
    let (store, _deliveries) = Embedded::open(folder, flush, Arc::new(SystemClock))?;
    let records = records(events)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut writing = JoinSet::new();
        let began = Instant::now();
        for _ in 0..writers {
            let (store, records) = (store.clone(), records.clone());
            writing.spawn(async move {
                let mut appended = 0_u64;
                while began.elapsed() < lasting {
                    let outcomes = store.append(records.clone()).await;
                    ensure!(outcomes.iter().all(weir_core::ports::Appended::is_durable), "not stored");
                    appended += outcomes.len() as u64;
                }
                Ok(appended)
            });
        }
        let mut appended = 0;
        while let Some(ended) = writing.join_next().await {
            appended += ended??;
        }
        Ok(super::as_f64(appended) / began.elapsed().as_secs_f64())
    })
}

fn records(number: usize) -> anyhow::Result<Vec<Record>> {
    let catalog = Catalog::built_in()?;
    let event_type = "button_click".parse()?;
    let definition = catalog.get(&event_type).context("a built-in type")?;
    let (username, received_at): (Username, _) = ("demo".parse()?, Timestamp::saturating(1_795_179_605_007));
    (0..number)
        .map(|index| {
            let text = String::from_utf8(super::click(0, index as u64))?;
            let event = Event::read(&text).map_err(|_| anyhow::anyhow!("a click is an event"))?;
            let key = definition.check(&event).map_err(|_| anyhow::anyhow!("a click is valid"))?;
            let event_id = EventId::generate(received_at, &SystemRandom);
            let stamp = Stamp { username: username.clone(), event_id, received_at };
            Ok(Record::accepted(&event, &event_type, key, stamp))
        })
        .collect()
}
