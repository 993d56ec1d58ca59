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
    elements::{self, Elements},
    event_ids::{Seed, Stamper},
    lines::Lines,
    mapping::Mapping,
    parquet::{self, Parquet},
    quoting::{self, Dialect},
    rows::Rows,
};
use crate::cli::FileFormat;

/// How much of an input is read ahead, to detect its format.
const HEAD: usize = 64 << 10;

/// Where the input comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    File(PathBuf),
    Stdin,
}

impl Origin {
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

/// How the content of an input is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// One JSON object a line.
    Lines,
    /// The elements of a JSON array.
    Elements,
    /// Rows of cells.
    Rows(Dialect),
    /// Rows of Parquet.
    Parquet,
}

/// What options say about the text of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct FormatOptions {
    pub(super) format: FileFormat,
    pub(super) delimiter: Option<u8>,
    pub(super) no_quotes: bool,
}

/// An opened input.
pub(super) struct Input {
    pub(super) content: BufReader<Ahead>,
    pub(super) kind: Content,
    pub(super) seed: Seed,
    /// The seed of [`Ids::Before`](super::event_ids::Ids::Before).
    pub(super) seed_before: Seed,
    pub(super) read: Arc<AtomicU64>,
    /// The file's size and time of change; `None` for a pipe.
    pub(super) metadata: Option<Metadata>,
    /// The file itself, for Parquet, which is not read sequentially.
    file: Option<File>,
}

/// Opens an input.
pub(super) fn open(
    origin: &Origin,
    options: FormatOptions,
    source: Option<&str>,
    random: &dyn Random,
) -> Result<Input> {
    let read = Arc::new(AtomicU64::new(0));
    let count = |from: Box<dyn Read + Send>| Counted { from, read: Arc::clone(&read) };
    let mut opened = None;
    let (raw, metadata) = match origin {
        Origin::Stdin => (count(Box::new(io::stdin())), None),
        Origin::File(path) => {
            let told = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(told)?;
            let metadata = file.metadata().with_context(told)?;
            if metadata.is_dir() {
                bail!("cannot read {}: it is a folder", path.display());
            }
            // A named pipe is a pipe.
            let metadata = metadata.is_file().then_some(metadata);
            if metadata.is_some() {
                opened = Some(file.try_clone().with_context(told)?);
            }
            (count(Box::new(file)), metadata)
        }
    };
    let mut raw = BufReader::with_capacity(HEAD, raw);
    let told = || format!("cannot read {}", origin.name());
    let is_gzip = raw.fill_buf().with_context(told)?.starts_with(&[0x1f, 0x8b]);
    let mut plain: Box<dyn Read + Send> =
        if is_gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    // Does not block a pipe on bytes that are only inspected.
    let ahead = if metadata.is_some() { HEAD } else { 1 };
    let mut head = Vec::new();
    (&mut plain).take(ahead as u64).read_to_end(&mut head).with_context(told)?;
    // Behind a byte order mark, there is an event or a header.
    if head == [0xef] {
        (&mut plain).take(3).read_to_end(&mut head).with_context(told)?;
    }
    let seed = match (source, origin, &metadata) {
        (Some(name), ..) => Seed::of_source(name),
        (None, Origin::File(path), Some(_)) => Seed::of_content(contents(path, is_gzip).with_context(told)?),
        (None, ..) => Seed::of_nothing(random),
    };
    let seed_before = if source.is_some() { seed } else { Seed::of_beginning(&head) };
    if let Some(format) = looks::of_bytes(&head) {
        bail!("it is neither JSON nor CSV in UTF-8: it looks like {}", format.name);
    }
    let kind = kind(origin, options, &head)?;
    if kind == Content::Parquet {
        if is_gzip {
            bail!("Parquet is already compressed inside: unpack the file from gzip first");
        }
        if opened.is_none() {
            bail!("Parquet is read from a file, and not from a pipe: the list of its contents is at its end");
        }
        if !head.starts_with(parquet::MAGIC) {
            bail!("it does not begin as a Parquet file does");
        }
    }
    // Comes before anything is sent, so that a corrected file is not sent on top of a part of itself. A pipe cannot be read
    // twice.
    if let (Content::Rows(dialect), Origin::File(path), Some(_)) = (kind, origin, &metadata) {
        quoting::check(contents(path, is_gzip).with_context(told)?, dialect).context("nothing was sent")?;
    }
    if let (Content::Elements, Origin::File(path), Some(_)) = (kind, origin, &metadata) {
        let whole = BufReader::with_capacity(HEAD, contents(path, is_gzip).with_context(told)?);
        elements::check(whole).context("nothing was sent")?;
    }
    let content = BufReader::with_capacity(HEAD, Cursor::new(head).chain(plain));
    Ok(Input { content, kind, seed, seed_before, read, metadata, file: opened })
}

/// Reads a file once more, from its beginning, decompressed.
fn contents(path: &Path, is_gzip: bool) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// The ends of file names that tell a format.
fn by_name(name: &str) -> Option<FileFormat> {
    let name = name.to_ascii_lowercase();
    match name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?.1 {
        "csv" => Some(FileFormat::Csv),
        "tsv" | "tab" => Some(FileFormat::Tsv),
        "parquet" => Some(FileFormat::Parquet),
        // JSON of one object is one line of NDJSON.
        "ndjson" | "jsonl" | "json" => Some(FileFormat::Ndjson),
        _ => None,
    }
}

/// Returns how to read an input: as the options say, else by its name, else by its beginning.
fn kind(origin: &Origin, options: FormatOptions, head: &[u8]) -> Result<Content> {
    let FormatOptions { format, delimiter, no_quotes } = options;
    let by_file_name = match origin {
        Origin::File(path) => path.file_name().and_then(|name| by_name(name.to_str()?)),
        Origin::Stdin => None,
    };
    let first = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().first();
    let is_parquet = head.starts_with(parquet::MAGIC);
    let format = match (format, delimiter, by_file_name) {
        (FileFormat::Auto, _, Some(FileFormat::Parquet) | None) if is_parquet => FileFormat::Parquet,
        // Only rows have cells to separate.
        (FileFormat::Auto, Some(_), _) => FileFormat::Csv,
        (FileFormat::Auto, None, Some(named)) => named,
        // Of a pipe, there may be white space only.
        (FileFormat::Auto, None, None) if matches!(first, None | Some(b'{' | b'[')) => FileFormat::Ndjson,
        (FileFormat::Auto, None, None) => {
            let parquet =
                if head.first() == Some(&parquet::MAGIC[0]) { " (Parquet is read from a file)" } else { "" };
            bail!("is it NDJSON or CSV? Say it with --format{parquet}")
        }
        (format, ..) => format,
    };
    if is_parquet && format != FileFormat::Parquet {
        bail!("it is neither JSON nor CSV: it looks like Parquet, which --format parquet reads");
    }
    let rows = |delimiter| Ok(Content::Rows(Dialect { delimiter, has_quotes: !no_quotes }));
    match (format, delimiter) {
        (FileFormat::Csv, delimiter) => rows(delimiter.unwrap_or(b',')),
        (FileFormat::Tsv, None) => rows(b'\t'),
        (_, Some(_)) => bail!("--delimiter is for CSV: its cells are separated by it"),
        _ if no_quotes => bail!("--no-quotes is for CSV and TSV"),
        (FileFormat::Parquet, None) => Ok(Content::Parquet),
        _ if first == Some(&b'[') => Ok(Content::Elements),
        // Each of its lines would be rejected by itself.
        _ if first_line(head) == Some(b"{") => bail!(
            "it has a JSON object over several lines: write each event in one line, or the events as an array"
        ),
        _ => Ok(Content::Lines),
    }
}

/// Returns the first line if all of it is there: of a pipe, there may be a byte only.
fn first_line(head: &[u8]) -> Option<&[u8]> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let end = text.iter().position(|&byte| byte == b'\n')?;
    Some(text[..end].trim_ascii_end())
}

/// Returns the files directly in a folder that have events by their names, in the order of their names.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let told = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(told)? {
        let entry = entry.with_context(told)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // What a run left beside the files it read is no input.
        if path.is_file() && by_name(&name).is_some() && !name.ends_with(".rejected.ndjson") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{} has no files of NDJSON, JSON, CSV, TSV or Parquet by their names", folder.display());
    }
    files.sort();
    Ok(files)
}

impl Input {
    /// Reads the rest, line by line.
    pub(super) fn lines(self, stamper: Stamper, mapping: Mapping) -> Lines<BufReader<Ahead>> {
        Lines::new(self.content, stamper, mapping)
    }

    /// Reads the rest, element by element.
    pub(super) fn elements(self, stamper: Stamper, mapping: Mapping) -> Elements<BufReader<Ahead>> {
        Elements::new(self.content, stamper, mapping)
    }

    /// Reads the columns of Parquet.
    pub(super) fn parquet(self) -> Result<Parquet> {
        let bytes = self.metadata.as_ref().map_or(0, Metadata::len);
        let file = self.file.context("Parquet is read from a file")?;
        Parquet::open(file, bytes, self.read)
    }

    /// Reads the rest, row by row: the first one names the fields.
    pub(super) fn rows(self, dialect: Dialect) -> Result<Rows<BufReader<Ahead>>> {
        Rows::new(self.content, dialect)
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
