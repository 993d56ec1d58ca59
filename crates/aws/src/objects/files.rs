//! Small files of tools in the raw bucket, outside the prefixes of batches.

use std::io;

use aws_sdk_s3::{Client, primitives::ByteStream};
use weir_core::ports::{Content, PortError};

use super::{list, open};
use crate::errors::port_error;

/// Whether a file was put that must not replace another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there now.
    Done,
    /// There was a file of this key already, which stays.
    Taken,
}

/// Files in a bucket.
#[derive(Clone)]
pub struct S3Files {
    client: Client,
    bucket: String,
}

impl S3Files {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }

    /// Puts a file, whole or not at all, unless there is one of this key.
    pub async fn put(&self, key: &str, content: Vec<u8>) -> Result<Put, PortError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*");
        match put.body(ByteStream::from(content)).send().await {
            Ok(_) => Ok(Put::Done),
            Err(error) => {
                let code = error.as_service_error().and_then(|said| said.meta().code().map(str::to_owned));
                if code.as_deref() == Some("PreconditionFailed") {
                    return Ok(Put::Taken);
                }
                Err(port_error("writing a file", &error))
            }
        }
    }

    /// Opens a file.
    pub async fn open(&self, key: &str) -> Result<Content, PortError> {
        open(&self.client, &self.bucket, key).await
    }

    /// Reads a file; `None` if no file has this key.
    pub async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, PortError> {
        let mut content = match self.open(key).await {
            Err(PortError::NotFound { .. }) => return Ok(None),
            content => content?,
        };
        let mut bytes = Vec::new();
        while let Some(piece) = futures_util::StreamExt::next(&mut content).await {
            let piece = piece.map_err(|error: io::Error| PortError::unavailable("reading a file", error))?;
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }

    /// Lists at most `limit` keys with this prefix, in the order of their bytes.
    pub async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, PortError> {
        list(&self.client, &self.bucket, prefix, None, limit).await
    }

    /// Removes a file, if there is one of this key.
    pub async fn remove(&self, key: &str) -> Result<(), PortError> {
        let removed = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        removed.map(drop).map_err(|error| port_error("removing a file", &error))
    }
}
