//! Reads a data folder's lake, event by event, and looks whether each lies where it belongs.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use weir_core::{Partition, Timestamp};

/// An event of the soak in the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) username: String,
    pub(crate) version: u8,
    pub(crate) is_rejected: bool,
}

#[derive(Deserialize)]
struct Line {
    username: String,
    event_type: String,
    received_at: u64,
    /// When it happened, as Weir decided.
    time: u64,
    /// When it happened, as its client says.
    occurred_at: Option<u64>,
    n: Option<u64>,
    v: Option<u8>,
    /// A rejected event, as it was sent.
    body: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    n: u64,
    v: u8,
}

/// Reads all events of a data folder's lake.
pub(crate) fn events(data: &Path) -> anyhow::Result<Vec<Found>> {
    let lake = data.join("lake");
    let mut found = Vec::new();
    for path in files(&lake)? {
        let folder = path.parent().and_then(|folder| folder.strip_prefix(&lake).ok()?.to_str());
        let partition: Partition = folder.context("a path of the lake is text")?.parse()?;
        for line in lines(&path)?.lines() {
            let event = read(line, &partition).with_context(|| format!("{}: {line}", path.display()))?;
            found.push(event);
        }
    }
    Ok(found)
}

/// How long before its arrival, and after it, a client's time of an event is believed, in milliseconds.
const PAST: u64 = 400 * 24 * 3_600_000;
const FUTURE: u64 = 10 * 60_000;

fn read(line: &str, partition: &Partition) -> anyhow::Result<Found> {
    let Line { username, event_type, received_at, time, occurred_at, n, v, body } =
        serde_json::from_str(line)?;
    let is_believed =
        |occurred: &u64| (received_at.saturating_sub(PAST)..=received_at + FUTURE).contains(occurred);
    ensure!(
        time == occurred_at.filter(is_believed).unwrap_or(received_at),
        "an event has another time than its own"
    );
    let hour = Timestamp::from_millis(time)?.hour();
    let is_there = (partition.username.as_str(), partition.event_type.as_str(), partition.hour)
        == (username.as_str(), event_type.as_str(), hour);
    ensure!(is_there, "an event lies in another partition than its own");
    let (number, version, is_rejected) = match body {
        Some(body) => {
            let body: Body = serde_json::from_str(&body)?;
            (body.n, body.v, true)
        }
        None => (n.context("no n")?, v.context("no v")?, false),
    };
    Ok(Found { number, username, version, is_rejected })
}

/// The text of an object of the lake.
pub(crate) fn lines(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| path.display().to_string())?;
    MultiGzDecoder::new(file).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    Ok(text)
}

/// All files below a folder, in order; none if there is no folder.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
