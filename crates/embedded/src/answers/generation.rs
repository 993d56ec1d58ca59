//! A generation in an open file, read by `pread`.

use std::{
    fs::File,
    io::{self, ErrorKind},
    ops::Range,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use weir_core::{
    answers::{
        Definition, Published,
        layout::{Damaged, Index, Key},
    },
    ports::{Generation, PortError},
};

/// Reads of more bytes than this get a thread of their own: the disk may take long. Fewer are in the system's cache, or cost
/// one access of the disk.
const LARGE: u64 = 64 << 10;

pub(super) struct Opened {
    published: Published,
    definition: Definition,
    file: Arc<File>,
    index: Index,
}

impl Opened {
    /// Reads what has to be known of the file.
    pub(super) fn read(file: File, published: Published) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let footer = part(&file, Index::footer(length))?;
        let buckets = part(&file, Index::buckets(&footer, length).map_err(damaged)?)?;
        let index = Index::read(&footer, &buckets).map_err(damaged)?;
        let definition =
            published.definition().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(Self { published, definition, file: Arc::new(file), index })
    }

    fn look_up(&self, key: Key) -> io::Result<Option<Range<u64>>> {
        let entries = part(&self.file, self.index.entries_with(key))?;
        self.index.find(&entries, key).map_err(damaged)
    }
}

fn damaged(error: Damaged) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn part(file: &File, bytes: Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(bytes.end.saturating_sub(bytes.start)).map_err(io::Error::other)?;
    let mut part = vec![0; length];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut part, bytes.start)?;
    #[cfg(windows)]
    {
        let mut read = 0;
        while read < part.len() {
            let from = bytes.start + read as u64;
            match std::os::windows::fs::FileExt::seek_read(file, &mut part[read..], from)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
    }
    Ok(part)
}

#[async_trait]
impl Generation for Opened {
    fn published(&self) -> &Published {
        &self.published
    }

    fn definition(&self) -> &Definition {
        &self.definition
    }

    async fn find(&self, key: Key) -> Result<Option<Range<u64>>, PortError> {
        self.look_up(key).map_err(super::failed("reading an answer"))
    }

    async fn read(&self, bytes: Range<u64>) -> Result<Bytes, PortError> {
        let failed = super::failed("reading an answer");
        if bytes.end.saturating_sub(bytes.start) <= LARGE {
            return part(&self.file, bytes).map(Bytes::from).map_err(failed);
        }
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || part(&file, bytes)).await;
        read.map_err(io::Error::other).flatten().map(Bytes::from).map_err(failed)
    }
}
