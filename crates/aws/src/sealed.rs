//! [`SealedDays`] on S3: objects below `sealed/` of the lake's bucket.
//!
//! | object | |
//! | --- | --- |
//! | `sealed/manifest.json` | the watermark, and each day's current generation with its files |
//! | `sealed/noted_until` | objects of days before this one are noted when they are put |
//! | `sealed/notes/2026-11-20/PATH` | a note: an empty object, whose key has the path of the noted one |
//! | `sealed/2026-11-20.3.objects.gz` | the paths that the third generation of a day covers, one a line |
//! | `sealed/2026-11-20.3.ATTEMPT/TYPE/…` | that generation's files; an attempt that died left a folder that no other attempt reads |
//! | `sealed/turn` | the owner of the turn to seal, and its end |
//! | `sealed/stalled` | in how many runs in a row nothing was removed of what was due, for lack of time |
//! | `sealed/viewed` | when views were last made of all sealed days, in milliseconds |
//!
//! One sealing runs at a time, the one that has the turn. The manifest is put on the condition that the object there is
//! still the one that this sealing read or put last. So a sealing that lost its turn can change nothing.

mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    sync::Arc,
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client, operation::get_object::GetObjectError, operation::list_objects_v2::ListObjectsV2Output,
    primitives::ByteStream,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use parking_lot::Mutex;
use weir_core::{
    Day, EventType, Timestamp,
    ports::PortError,
    sealing::{Manifest, SealedDays},
};

use crate::{
    errors::{malformed, port_error},
    objects::{
        upload::SWAPPED,
        versions::{remove, remove_all, versions},
    },
};

pub use turn::SealingTurn;

/// The prefix of all objects.
pub(crate) const PREFIX: &str = "sealed/";

const MANIFEST: &str = "sealed/manifest.json";
const NOTED_UNTIL: &str = "sealed/noted_until";
const VIEWED: &str = "sealed/viewed";
const STALLED: &str = "sealed/stalled";
const NOTES: &str = "sealed/notes/";

/// The end of the key of the list of covered objects.
const OBJECTS: &str = "objects.gz";

/// The end of the name of a folder with a type's repeats, and of one with the list of objects that are read for a type.
const REPEATS: &str = ".repeats";
const ADDED: &str = ".added";

const READING: &str = "reading the sealed days";
const WRITING: &str = "writing the sealed days";

/// The sealed days of a lake.
#[derive(Clone)]
pub struct S3SealedDays {
    client: Client,
    bucket: String,
    last: Arc<Mutex<Last>>,
}

/// The tag of the manifest that was read or put last.
#[derive(Default)]
struct Last {
    /// Rises when a swap begins and when it ends, so that a read that began before does not bring back an earlier tag.
    swaps: u64,
    tag: Option<String>,
}

/// A file of a sealed day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFile {
    /// Its path below the prefix of sealed days.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

impl S3SealedDays {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned(), last: Arc::default() }
    }

    /// Returns the URL of the folder of all sealed days.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/{PREFIX}", self.bucket)
    }

    /// Returns the folder of an attempt to make a generation, below the folder of sealed days.
    #[must_use]
    pub fn folder(day: Day, number: u64, attempt: &str) -> String {
        format!("{}{attempt}", generation(day, number))
    }

    /// Returns the name of the folder of a type's repeats.
    #[must_use]
    pub fn repeats(event_type: &EventType) -> String {
        format!("{event_type}{REPEATS}")
    }

    /// Returns the name of the folder with the list of objects that are read for a type.
    #[must_use]
    pub fn added(event_type: &EventType) -> String {
        format!("{event_type}{ADDED}")
    }

    /// Puts the list of objects that are read for a type: one URL a line, as Hive's `SymlinkTextInputFormat` reads it.
    pub async fn list_added(
        &self,
        folder: &str,
        event_type: &EventType,
        objects: &BTreeSet<&str>,
    ) -> Result<(), PortError> {
        let lines: String = objects.iter().map(|path| format!("s3://{}/{path}\n", self.bucket)).collect();
        self.put(&format!("{PREFIX}{folder}/{}/objects", Self::added(event_type)), lines.into_bytes()).await
    }

    /// Returns the files in a folder, in the order of their names.
    pub async fn files(&self, folder: &str) -> Result<Vec<SealedFile>, PortError> {
        let mut files = Vec::new();
        for page in self.list(&format!("{PREFIX}{folder}/"), None).await? {
            for object in page.contents() {
                let Some(path) = object.key().and_then(|key| key.strip_prefix(PREFIX)) else { continue };
                let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                files.push(SealedFile { path: path.to_owned(), bytes });
            }
        }
        Ok(files)
    }

    /// Returns the time since which readers read the sealed days by views: those of generations that were made before. `None` if
    /// no views were made yet.
    pub async fn viewed(&self) -> Result<Option<Timestamp>, PortError> {
        let Some((text, _)) = self.get(VIEWED).await? else { return Ok(None) };
        let at = String::from_utf8_lossy(&text).trim().parse().ok();
        let at = at.and_then(|at| Timestamp::from_millis(at).ok());
        at.map(Some).ok_or_else(|| malformed(READING, "sealed/viewed is not a time"))
    }

    /// Notes whether a run had time to remove anything of what is due; returns how many in a row had none.
    pub async fn note_stalled(&self, has_stalled: bool) -> Result<u32, PortError> {
        let before = self.get(STALLED).await?;
        let runs = before.as_ref().and_then(|(text, _)| String::from_utf8_lossy(text).trim().parse().ok());
        let runs = if has_stalled { runs.unwrap_or(0_u32).saturating_add(1) } else { 0 };
        if has_stalled || before.is_some_and(|(text, _)| text != b"0\n") {
            self.put(STALLED, format!("{runs}\n").into_bytes()).await?;
        }
        Ok(runs)
    }

    /// Notes that all views have been made since a time.
    pub async fn note_viewed(&self, at: Timestamp) -> Result<(), PortError> {
        self.put(VIEWED, format!("{}\n", at.millis()).into_bytes()).await
    }

    /// Reads an object and its tag.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, PortError> {
        let object = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => object,
            Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => {
                return Ok(None);
            }
            Err(error) => return Err(port_error(READING, &error)),
        };
        let tag = object.e_tag().ok_or_else(|| malformed(READING, "an object without a tag"))?.to_owned();
        let text = object.body.collect().await.map_err(|error| PortError::unavailable(READING, error))?;
        Ok(Some((text.to_vec(), tag)))
    }

    async fn put(&self, key: &str, content: Vec<u8>) -> Result<(), PortError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(content));
        put.send().await.map(drop).map_err(|error| port_error(WRITING, &error))
    }

    /// Puts an object in place of the one with this tag; without a tag, where no object is. Returns its tag, or `None` if
    /// another object is there.
    pub(crate) async fn put_in_place(
        &self,
        key: &str,
        content: Vec<u8>,
        tag: Option<&str>,
    ) -> Result<Option<String>, PortError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).content_type("application/json");
        let put = match tag {
            Some(tag) => put.if_match(tag),
            None => put.if_none_match("*"),
        };
        match put.body(ByteStream::from(content.clone())).send().await {
            Ok(put) => Ok(Some(put.e_tag.ok_or_else(|| malformed(WRITING, "an object without a tag"))?)),
            Err(error) if error.code().is_some_and(|code| SWAPPED.contains(&code)) => {
                // The SDK repeats a call whose answer was lost. If the first call took effect, the repeat fails.
                let found = self.get(key).await?;
                Ok(found.filter(|(found, _)| *found == content).map(|(_, tag)| tag))
            }
            Err(error) => Err(port_error(WRITING, &error)),
        }
    }

    /// Removes all versions of an object.
    pub(crate) async fn remove_versions(&self, key: &str) -> Result<(), PortError> {
        let found = versions(&self.client, &self.bucket, key, &|it| it == key).await?;
        remove_all(&self.client, &self.bucket, found).await
    }

    /// Lists all objects below a prefix; with a delimiter, its folders and the objects beside them.
    async fn list(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
    ) -> Result<Vec<ListObjectsV2Output>, PortError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = list.set_delimiter(delimiter.map(str::to_owned)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            found.push(page.map_err(|error| port_error(READING, &error))?);
        }
        Ok(found)
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let pages = self.list(prefix, None).await?;
        let objects = pages.iter().flat_map(ListObjectsV2Output::contents);
        Ok(objects.filter_map(|object| object.key().map(str::to_owned)).collect())
    }
}

/// Returns the beginning of the names of all objects of a generation.
fn generation(day: Day, number: u64) -> String {
    format!("{day}.{number}.")
}

fn covered_key(day: Day, number: u64) -> String {
    format!("{PREFIX}{}{OBJECTS}", generation(day, number))
}

/// Reads the generation in a key below the prefix.
fn generation_of(key: &str) -> Option<(Day, u64)> {
    let mut parts = key.strip_prefix(PREFIX)?.splitn(3, '.');
    let (day, number, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some((day.parse().ok()?, number.parse().ok()?))
}

#[async_trait]
impl SealedDays for S3SealedDays {
    async fn manifest(&self) -> Result<Manifest, PortError> {
        let before = self.last.lock().swaps;
        let (text, tag) = self.get(MANIFEST).await?.unzip();
        let read = text.map(|text| Manifest::read(&text)).transpose();
        let manifest = read.map_err(|error| PortError::broken(READING, error))?.unwrap_or_default();
        let mut last = self.last.lock();
        if last.swaps == before {
            last.tag = tag;
        }
        Ok(manifest)
    }

    async fn swap(&self, manifest: &Manifest) -> Result<(), PortError> {
        let tag = {
            let mut last = self.last.lock();
            last.swaps += 1;
            last.tag.clone()
        };
        let put = self.put_in_place(MANIFEST, manifest.text(), tag.as_deref()).await?;
        let put =
            put.ok_or_else(|| PortError::unavailable(WRITING, "another sealing swapped the manifest"))?;
        let mut last = self.last.lock();
        last.swaps += 1;
        last.tag = Some(put);
        Ok(())
    }

    async fn noted_until(&self) -> Result<Day, PortError> {
        let Some((text, _)) = self.get(NOTED_UNTIL).await? else { return Ok(Day::FIRST) };
        let text = String::from_utf8_lossy(&text);
        text.trim().parse().map_err(|error| malformed(READING, format!("noted_until: {error}")))
    }

    async fn announce(&self, noted_until: Day) -> Result<(), PortError> {
        self.put(NOTED_UNTIL, format!("{noted_until}\n").into_bytes()).await
    }

    async fn note(&self, day: Day, object: &str) -> Result<(), PortError> {
        self.put(&format!("{NOTES}{day}/{object}"), Vec::new()).await
    }

    async fn notes(&self) -> Result<BTreeMap<Day, BTreeSet<String>>, PortError> {
        let mut notes: BTreeMap<Day, BTreeSet<String>> = BTreeMap::new();
        for key in self.keys(NOTES).await? {
            let Some((day, object)) = key.strip_prefix(NOTES).and_then(|note| note.split_once('/')) else {
                continue;
            };
            // Skips objects that another program put.
            if let Ok(day) = day.parse() {
                notes.entry(day).or_default().insert(object.to_owned());
            }
        }
        Ok(notes)
    }

    async fn remove_notes(&self, day: Day, objects: &BTreeSet<String>) -> Result<(), PortError> {
        let notes: Vec<_> = objects.iter().map(|object| (format!("{NOTES}{day}/{object}"), None)).collect();
        remove(&self.client, &self.bucket, notes).await
    }

    async fn covered(&self, day: Day, generation: u64) -> Result<BTreeSet<String>, PortError> {
        let key = covered_key(day, generation);
        let Some((packed, _)) = self.get(&key).await? else {
            return Err(PortError::NotFound { what: format!("s3://{}/{key}", self.bucket) });
        };
        let lines = BufReader::new(MultiGzDecoder::new(&packed[..])).lines();
        lines.collect::<Result<_, _>>().map_err(|error| PortError::broken(READING, error))
    }

    /// Removes all versions of its files: nothing is to be had back of events that retention removed.
    async fn remove_generation(&self, day: Day, number: u64) -> Result<(), PortError> {
        let prefix = format!("{PREFIX}{}", generation(day, number));
        let found = versions(&self.client, &self.bucket, &prefix, &|_| true).await?;
        // The list is removed last: as long as it exists, the generation is found again.
        let (list, files) = found.into_iter().partition(|(key, _)| *key == covered_key(day, number));
        remove_all(&self.client, &self.bucket, files).await?;
        remove_all(&self.client, &self.bucket, list).await
    }

    async fn generations(&self) -> Result<BTreeSet<(Day, u64)>, PortError> {
        let pages = self.list(PREFIX, Some("/")).await?;
        let lists = pages.iter().flat_map(ListObjectsV2Output::contents).filter_map(|object| object.key());
        let folders =
            pages.iter().flat_map(ListObjectsV2Output::common_prefixes).filter_map(|it| it.prefix());
        Ok(lists.chain(folders).filter_map(generation_of).collect())
    }

    async fn cover(&self, day: Day, generation: u64, objects: &BTreeSet<String>) -> Result<(), PortError> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let written = objects.iter().try_for_each(|path| writeln!(packed, "{path}"));
        let packed = written.and_then(|()| packed.finish());
        let packed = packed.map_err(|error| PortError::broken(WRITING, error))?;
        self.put(&covered_key(day, generation), packed).await
    }

    async fn remove_type(&self, day: Day, number: u64, event_type: &EventType) -> Result<(), PortError> {
        let folders = [event_type.to_string(), Self::repeats(event_type), Self::added(event_type)];
        let prefix = format!("{PREFIX}{}", generation(day, number));
        let is_of_type =
            |key: &str| key.split('/').nth(2).is_some_and(|folder| folders.iter().any(|of| of == folder));
        let found = versions(&self.client, &self.bucket, &prefix, &is_of_type).await?;
        remove_all(&self.client, &self.bucket, found).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_from_what_it_has_and_from_nothing_else() {
        let day = "2026-11-20".parse().unwrap();
        let folder = S3SealedDays::folder(day, 12, "ab.c");
        for key in [covered_key(day, 12), format!("{PREFIX}{folder}/"), format!("{PREFIX}{folder}/click/a")] {
            assert_eq!(generation_of(&key), Some((day, 12)), "{key}");
        }
        for key in
            [MANIFEST, NOTED_UNTIL, NOTES, "sealed/2026-11-20/3/a", "sealed/turn", "other/2026-11-20.3.x"]
        {
            assert_eq!(generation_of(key), None, "{key}");
        }
    }
}
