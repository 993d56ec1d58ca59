//! An input file: opens and decompresses it, finds its format and its id seed, then reads it line by line.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Chain, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use weir_core::{Random, looks};

use super::{
    event_ids::{Seed, Stamper},
    lines::Lines,
    quoting,
    rows::Rows,
};
use crate::cli::FileFormat;

/// How much of an input is read ahead, to detect its format.
const HEAD: usize = 64 << 10;

/// Where the input comes from.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    Stdin,
}

impl Place {
    pub(super) fn of(path: &Path) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path.to_owned()) }
    }

    /// Returns the input's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }
}

/// Any input, with its first bytes read ahead.
pub(super) type Ahead = Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// An opened input.
pub(super) struct Input {
    pub(super) content: BufReader<Ahead>,
    pub(super) is_csv: bool,
    pub(super) seed: Seed,
    /// The seed of [`Ids::Before`](super::event_ids::Ids::Before).
    pub(super) seed_before: Seed,
    pub(super) read: Arc<AtomicU64>,
    /// The file's size and time of change; `None` for a pipe.
    pub(super) metadata: Option<Metadata>,
}

/// Opens an input.
pub(super) fn open(
    place: &Place,
    format: FileFormat,
    source: Option<&str>,
    random: &dyn Random,
) -> Result<Input> {
    let read = Arc::new(AtomicU64::new(0));
    let count = |from: Box<dyn Read + Send>| Counted { from, read: Arc::clone(&read) };
    let (raw, metadata) = match place {
        Place::Stdin => (count(Box::new(io::stdin())), None),
        Place::File(path) => {
            let told = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(told)?;
            let metadata = file.metadata().with_context(told)?;
            if metadata.is_dir() {
                bail!("cannot read {}: it is a folder", path.display());
            }
            // A named pipe is a pipe.
            let metadata = metadata.is_file().then_some(metadata);
            (count(Box::new(file)), metadata)
        }
    };
    let mut raw = BufReader::with_capacity(HEAD, raw);
    let told = || format!("cannot read {}", place.name());
    let is_gzip = raw.fill_buf().with_context(told)?.starts_with(&[0x1f, 0x8b]);
    let mut plain: Box<dyn Read + Send> =
        if is_gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    // Does not block a pipe on bytes that are only inspected.
    let ahead = if metadata.is_some() { HEAD } else { 1 };
    let mut head = Vec::new();
    (&mut plain).take(ahead as u64).read_to_end(&mut head).with_context(told)?;
    let seed = match (source, place, &metadata) {
        (Some(name), ..) => Seed::of_source(name),
        (None, Place::File(path), Some(_)) => Seed::of_content(contents(path, is_gzip).with_context(told)?),
        (None, ..) => Seed::of_nothing(random),
    };
    let seed_before = if source.is_some() { seed } else { Seed::of_beginning(&head) };
    if let Some(format) = looks::of_bytes(&head) {
        bail!("{} is neither NDJSON nor CSV in UTF-8: it looks like {}", place.name(), format.name);
    }
    let is_csv = is_csv(place, format, &head)?;
    // Comes before anything is sent, so that a corrected file is not sent on top of a part of itself. A pipe cannot be read
    // twice.
    if let (true, Place::File(path), Some(_)) = (is_csv, place, &metadata) {
        quoting::check(contents(path, is_gzip).with_context(told)?).context("nothing was sent")?;
    }
    let content = BufReader::with_capacity(HEAD, Cursor::new(head).chain(plain));
    Ok(Input { content, is_csv, seed, seed_before, read, metadata })
}

/// Reads a file once more, from its beginning, decompressed.
fn contents(path: &Path, is_gzip: bool) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

fn is_csv(place: &Place, format: FileFormat, head: &[u8]) -> Result<bool> {
    let by_name = || -> Option<bool> {
        let Place::File(path) = place else { return Some(false) };
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(true),
            "ndjson" | "jsonl" | "json" => Some(false),
            _ => None,
        }
    };
    let first = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().first();
    let is_csv = match (format, by_name()) {
        (FileFormat::Csv, _) => true,
        (FileFormat::Ndjson, _) => false,
        (FileFormat::Auto, Some(known)) => known,
        (FileFormat::Auto, None) if matches!(first, None | Some(b'{')) => false,
        (FileFormat::Auto, None) => {
            bail!("is {} NDJSON or CSV? Say it with --format", place.name())
        }
    };
    if !is_csv && first == Some(&b'[') {
        bail!(
            "{name} begins with [, so it is a JSON array, and not one event a line: jq -c '.[]' FILE | weir send -",
            name = place.name()
        );
    }
    Ok(is_csv)
}

impl Input {
    /// Reads the rest, line by line.
    pub(super) fn lines(self, stamper: Stamper) -> Lines<BufReader<Ahead>> {
        Lines::new(self.content, stamper)
    }

    /// Reads the rest, row by row: the first one names the fields.
    pub(super) fn rows(self) -> Result<Rows<BufReader<Ahead>>> {
        Rows::new(self.content)
    }
}

/// Counts the bytes read of a file, for the progress bar.
struct Counted<R> {
    from: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
