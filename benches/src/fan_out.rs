//! How fast batches are filed, and in how much memory.
//!
//! The fan-out's library files a batch that lies in a file; what it puts is read to its end and dropped, so that neither
//! a disk nor a network is measured. Beside it, the same bytes are only unpacked and packed again, by the same library
//! of gzip at the same level: the least work that is possible. Each runs in a process of its own, whose memory is its own.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use clap::Args;
use fan_out::FanOut;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use weir_core::{
    BatchId, BatchKey, Partition,
    ports::{Content, Lake, PortError, Quarantine, Raw, Settled, Settlement},
};

use crate::{
    batch::Mixture,
    process::{Process, threads_cpu},
    report::{Report, Target},
    usage::as_f64,
    workload::this_hour,
};

/// The fan-out's own level.
const LEVEL: u32 = 2;

/// How `fan-out` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// Sizes of batches, in events.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 50_000, 2_000_000])]
    events: Vec<u64>,
    #[command(flatten)]
    mixture: Mixture,
    /// How often each batch is filed; the fastest run is reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// How `file-batch` runs: what `fan-out` starts.
#[derive(Args)]
pub(crate) struct One {
    batch: PathBuf,
    /// Only unpacks and packs.
    #[arg(long)]
    plain: bool,
}

/// What a process did.
#[derive(Serialize, Deserialize)]
struct Done {
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
    events: u64,
    quarantined: u64,
    partitions: usize,
    text_bytes: u64,
    put_bytes: u64,
}

/// Measures all sizes.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let folder = tempfile::tempdir()?;
    for events in &options.events {
        let batch = folder.path().join(format!("{events}.json.gz"));
        let mut gzip = GzEncoder::new(BufWriter::new(File::create(&batch)?), Compression::default());
        options.mixture.write(this_hour(), *events, &mut gzip)?;
        gzip.finish()?.flush()?;

        let (filed, plain) = (best(&batch, false, options.runs)?, best(&batch, true, options.runs)?);
        ensure!(filed.events + filed.quarantined == *events, "events are missing");
        let subject = format!("{events} events");
        let number = as_f64(usize::try_from(*events)?);
        let mb = as_f64(usize::try_from(plain.text_bytes)?) / 1e6;
        let is_12_mb = *events == 50_000 && options.mixture.bytes == 240;
        let fast = is_12_mb.then_some(Target::AtLeast(370_000.0));
        let flat = (*events >= 2_000_000).then_some(Target::AtMost(128.0));
        report.add(&subject, "uncompressed", mb, "MB", None);
        report.add(&subject, "partitions", as_f64(filed.partitions), "", None);
        report.add(&subject, "filed", number / filed.seconds, "events/s", None);
        report.add(&subject, "filed, uncompressed", mb / filed.seconds, "MB/s", None);
        // What it is where nothing else runs: all of it is one thread's work.
        report.add(&subject, "filed in a second of CPU", number / filed.cpu_seconds, "events", fast);
        report.add(&subject, "gunzip and gzip alone", mb / plain.seconds, "MB/s", None);
        report.add(&subject, "of that speed, by CPU", plain.cpu_seconds / filed.cpu_seconds, "", None);
        report.add(&subject, "memory at most", as_f64(usize::try_from(filed.peak_bytes)?) / 1e6, "MB", flat);
        report.add(
            &subject,
            "of that memory with nothing to do",
            as_f64(usize::try_from(idle_peak(folder.path())?)?) / 1e6,
            "MB",
            None,
        );
        if filed.quarantined > 0 {
            report.add(
                &subject,
                "lines in quarantine",
                as_f64(usize::try_from(filed.quarantined)?),
                "",
                None,
            );
        }
    }
    Ok(report)
}

fn idle_peak(folder: &Path) -> anyhow::Result<u64> {
    let empty = folder.join("empty.json");
    File::create(&empty)?;
    Ok(best(&empty, false, 1)?.peak_bytes)
}

/// The fastest of some runs.
fn best(batch: &Path, plain: bool, runs: u32) -> anyhow::Result<Done> {
    let mut best: Option<Done> = None;
    for _ in 0..runs {
        let mut command = Command::new(env::current_exe()?);
        command.arg("file-batch").arg(batch).stderr(Stdio::inherit());
        if plain {
            command.arg("--plain");
        }
        let output = command.output()?;
        ensure!(output.status.success(), "file-batch failed");
        let done: Done = serde_json::from_slice(&output.stdout).context("file-batch says what it did")?;
        if best.as_ref().is_none_or(|best| done.cpu_seconds < best.cpu_seconds) {
            best = Some(done);
        }
    }
    best.context("there is a run")
}

/// Files one batch and says on standard output what that took.
pub(crate) fn file_batch(one: &One) -> anyhow::Result<()> {
    let me = Process(std::process::id());
    let began = Instant::now();
    // All of it happens on this thread.
    let mut done = if one.plain { plain(&one.batch)? } else { filed(&one.batch)? };
    done.seconds = began.elapsed().as_secs_f64();
    (done.cpu_seconds, done.peak_bytes) = (threads_cpu().as_secs_f64(), me.peak()?);
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

fn filed(batch: &Path) -> anyhow::Result<Done> {
    let key = BatchKey::new(batch.to_str().context("the path is text")?);
    let ports = Arc::new(Ports::default());
    let fan_out = FanOut::new(ports.clone(), ports.clone(), ports.clone(), ports.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let filed = runtime.block_on(fan_out.file(&key))?;
    Ok(Done {
        seconds: 0.0,
        cpu_seconds: 0.0,
        peak_bytes: 0,
        events: filed.events,
        quarantined: filed.quarantined_lines,
        partitions: filed.partitions,
        text_bytes: 0,
        put_bytes: ports.put.load(Ordering::Relaxed),
    })
}

fn plain(batch: &Path) -> anyhow::Result<Done> {
    let mut gzip = GzEncoder::new(Counted(0), Compression::new(LEVEL));
    let mut text = GzDecoder::new(BufReader::with_capacity(PIECE, File::open(batch)?));
    let (mut buffer, mut text_bytes) = (vec![0; PIECE], 0);
    loop {
        let read = text.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        text_bytes += read as u64;
        gzip.write_all(&buffer[..read])?;
    }
    Ok(Done {
        seconds: 0.0,
        cpu_seconds: 0.0,
        peak_bytes: 0,
        events: 0,
        quarantined: 0,
        partitions: 0,
        text_bytes,
        put_bytes: gzip.finish()?.0,
    })
}

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// Takes bytes and counts them.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A batch in a file; what is put is read and dropped.
#[derive(Default)]
struct Ports {
    put: AtomicU64,
}

impl Ports {
    async fn drain(&self, length: u64, mut content: Content) -> Result<(), PortError> {
        let mut read = 0;
        while let Some(piece) = content.next().await {
            read += piece.map_err(|error| PortError::unavailable(WHAT, error))?.len() as u64;
        }
        if read != length {
            return Err(PortError::unavailable(WHAT, "an object has another length than was said"));
        }
        self.put.fetch_add(read, Ordering::Relaxed);
        Ok(())
    }
}

const WHAT: &str = "filing for a measurement";

#[async_trait]
impl Raw for Ports {
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError> {
        let file = File::open(batch.as_str()).map_err(|error| PortError::unavailable(WHAT, error))?;
        let pieces = stream::unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece) {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some((Ok(Bytes::from(piece)), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        });
        Ok(Box::pin(pieces))
    }
}

#[async_trait]
impl Lake for Ports {
    async fn put(&self, _: &Partition, _: &BatchId, length: u64, content: Content) -> Result<(), PortError> {
        self.drain(length, content).await
    }
}

#[async_trait]
impl Quarantine for Ports {
    async fn put(&self, _: &BatchId, length: u64, content: Content) -> Result<(), PortError> {
        self.drain(length, content).await
    }
}

#[async_trait]
impl Settlement for Ports {
    async fn settle(&self, _: &BatchId, _: &BTreeMap<Partition, u64>) -> Result<Settled, PortError> {
        Ok(Settled::Now)
    }
}
