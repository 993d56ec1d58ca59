//! [`Raw`], [`Lake`] and [`Quarantine`] as folders.
//!
//! Writing blocks the calling thread for as long as the disk takes: run the fan-out on a thread of its own.

pub(crate) mod batches;
mod days;

use std::{
    fs::File,
    io::{self, Read, Write},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use weir_core::{
    BatchId, BatchKey, Format, Partition, Username,
    ports::{Content, Lake, LakeObjects, PortError, Quarantine, QuarantineObjects, Raw, RawObjects},
    sealing,
};

use crate::{
    folder::{Earlier, Folder},
    sealed::SealedFolder,
};

/// The bytes of a file read at a time.
const PIECE: usize = 1 << 16;

/// Batches, as files.
#[derive(Debug, Clone)]
pub struct RawFolder(Folder);

/// Partitions, as files. Objects of sealed days are noted as they are put.
#[derive(Debug, Clone)]
pub struct LakeFolder(Folder, SealedFolder);

/// The parts of batches that could not be filed, as files.
#[derive(Debug, Clone)]
pub struct QuarantineFolder(Folder);

impl RawFolder {
    pub(crate) fn new(folder: Folder) -> Self {
        Self(folder)
    }

    /// Writes a batch whole, or not at all. A different batch of that name is never replaced.
    pub(crate) fn write(&self, key: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let mut draft = self.0.draft()?;
        write(draft.as_file_mut())?;
        self.0.keep(draft, key, Earlier::Stays)
    }
}

impl LakeFolder {
    pub(crate) fn new(folder: Folder, sealed: SealedFolder) -> Self {
        Self(folder, sealed)
    }
}

impl QuarantineFolder {
    pub(crate) fn new(folder: Folder) -> Self {
        Self(folder)
    }
}

impl RawFolder {
    /// Returns the folder's path.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0.path
    }

    /// Opens a batch's file for reading.
    pub(crate) fn file(&self, name: &str) -> io::Result<File> {
        self.0.open_file(name)
    }
}

#[async_trait]
impl Raw for RawFolder {
    async fn open(&self, batch: &BatchKey) -> Result<Content, PortError> {
        open(&self.0, "the batch", batch.as_str())
    }
}

#[async_trait]
impl RawObjects for RawFolder {
    async fn list(&self, after: Option<&BatchKey>, limit: usize) -> Result<Vec<BatchKey>, PortError> {
        let names = self.0.list(after.map(BatchKey::as_str), limit);
        let names = names.map_err(|error| PortError::unavailable("listing raw", error))?;
        Ok(names.into_iter().map(BatchKey::new).collect())
    }
}

#[async_trait]
impl Lake for LakeFolder {
    async fn put(
        &self,
        partition: &Partition,
        batch: &BatchId,
        length: u64,
        content: Content,
    ) -> Result<(), PortError> {
        let path = partition.object(batch);
        let putting = put(&self.0, "writing to the lake", &path, length, content, Earlier::IsMended);
        sealing::put(&self.1, &path, putting).await
    }
}

#[async_trait]
impl LakeObjects for LakeFolder {
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, PortError> {
        self.0.list(after, limit).map_err(|error| PortError::unavailable("listing the lake", error))
    }
    async fn list_of(
        &self,
        username: &Username,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        let folder = Partition::folder_of_user(username);
        let prefix = format!("{folder}/");
        let after = match after {
            Some(after) if after > prefix.as_str() => match after.strip_prefix(&prefix) {
                Some(below) => Some(below),
                // `after` is after all of the user's objects.
                None => return Ok(Vec::new()),
            },
            _ => None,
        };
        let own = self.0.sub(&folder);
        let names =
            own.list(after, limit).map_err(|error| PortError::unavailable("listing the lake", error))?;
        Ok(names.into_iter().map(|name| format!("{prefix}{name}")).collect())
    }

    async fn open_path(&self, path: &str) -> Result<Content, PortError> {
        open(&self.0, "the object", path)
    }
}

#[async_trait]
impl Quarantine for QuarantineFolder {
    async fn put(&self, batch: &BatchId, length: u64, content: Content) -> Result<(), PortError> {
        let name = Format::default().file(batch);
        put(&self.0, "writing to quarantine", &name, length, content, Earlier::IsReplaced).await
    }
}

#[async_trait]
impl QuarantineObjects for QuarantineFolder {
    async fn open(&self, batch: &BatchId) -> Result<Content, PortError> {
        open(&self.0, "the quarantined object", &Format::default().file(batch))
    }
}

async fn put(
    folder: &Folder,
    what: &'static str,
    name: &str,
    length: u64,
    mut content: Content,
    earlier: Earlier,
) -> Result<(), PortError> {
    let failed = |error: io::Error| PortError::unavailable(what, error);
    let mut draft = folder.draft().map_err(failed)?;
    let mut received = 0;
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(failed)?;
        received += piece.len() as u64;
        draft.write_all(&piece).map_err(failed)?;
    }
    if received != length {
        let message = "the content has another length than was said";
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
    }
    folder.keep(draft, name, earlier).map_err(failed)
}

fn open(folder: &Folder, kind: &str, name: &str) -> Result<Content, PortError> {
    let file = folder.open_file(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            PortError::NotFound { what: format!("{kind} {name}") }
        }
        _ => PortError::unavailable("opening a file", error),
    })?;
    let pieces = stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut piece = Vec::with_capacity(PIECE);
        match Read::by_ref(&mut file).take(PIECE as u64).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(piece)), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Box::pin(pieces))
}
