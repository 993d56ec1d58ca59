//! Puts an object, in one part or several.

use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use weir_core::ports::{Content, PortError};

use crate::errors::{malformed, port_error};

const WHAT: &str = "putting an object";

/// The size above which an object is put in parts, and the size of a part, so that memory stays flat. S3 wants at least 5 MiB
/// a part and at most 10,000 parts (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const PART: usize = 8 << 20;

/// S3's error codes for a conditional call where another object is there, or none.
pub(crate) const SWAPPED: [&str; 3] = ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"];

/// Puts `length` bytes of content into the first of these buckets that exists; whole or not at all. With a tag, only in place of
/// the object with this tag: it is not found if another one is there.
pub(crate) async fn put(
    client: &Client,
    buckets: &[&str],
    key: &str,
    length: u64,
    content: Content,
    tag: Option<&str>,
) -> Result<(), PortError> {
    let mut parts = Parts { content, length, given: 0 };
    if length <= PART as u64 {
        let whole = parts.next().await?.unwrap_or_default();
        parts.end().await?;
        let mut others = buckets.iter();
        while let Some(bucket) = others.next() {
            match client
                .put_object()
                .bucket(*bucket)
                .key(key)
                .set_if_match(tag.map(str::to_owned))
                .body(ByteStream::from(whole.clone()))
                .send()
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) if is_swapped(tag, error.code()) => return Err(not_found(key)),
                Err(error) => instead(bucket, others.as_slice(), error.code(), port_error(WHAT, &error))?,
            }
        }
    }
    let mut others = buckets.iter();
    while let Some(bucket) = others.next() {
        match client.create_multipart_upload().bucket(*bucket).key(key).send().await {
            Ok(upload) => {
                let id =
                    upload.upload_id().ok_or_else(|| malformed(WHAT, "an upload without an identity"))?;
                return put_all_parts(client, bucket, (key, tag), id, &mut parts).await;
            }
            Err(error) => instead(bucket, others.as_slice(), error.code(), port_error(WHAT, &error))?,
        }
    }
    Err(malformed(WHAT, "no bucket was named"))
}

/// S3's codes for a bucket that no retry can make usable: it does not exist, it is another account's or closed to the
/// function, or it is in another region. (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>)
const UNUSABLE: [&str; 5] = [
    "NoSuchBucket",
    "AccessDenied",
    "AllAccessDisabled",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
];

/// Falls back to the next bucket after a failure, if this one cannot be used. Bucket names are global, so a user's may belong
/// to a stranger; that loses no events, and holds up no other users in the batch. An operator has to know.
fn instead(bucket: &str, others: &[&str], code: Option<&str>, error: PortError) -> Result<(), PortError> {
    match (others.first(), code) {
        (Some(instead), Some(code)) if UNUSABLE.contains(&code) => {
            tracing::error!(bucket, code, instead, "a bucket cannot be used; the object goes elsewhere");
            Ok(())
        }
        _ => Err(error),
    }
}

async fn put_all_parts(
    client: &Client,
    bucket: &str,
    (key, tag): (&str, Option<&str>),
    id: &str,
    parts: &mut Parts,
) -> Result<(), PortError> {
    let put = put_parts(client, bucket, (key, tag), id, parts).await;
    if put.is_err() {
        // An upload that cannot be aborted now is aborted later by the bucket's lifecycle.
        let aborted = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
        if let Err(error) = aborted {
            tracing::warn!(bucket, key, %error, "an unfinished upload is left");
        }
    }
    put
}

async fn put_parts(
    client: &Client,
    bucket: &str,
    (key, tag): (&str, Option<&str>),
    id: &str,
    parts: &mut Parts,
) -> Result<(), PortError> {
    let mut completed = CompletedMultipartUpload::builder();
    let mut number = 0;
    while let Some(part) = parts.next().await? {
        number += 1;
        let put = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
        let put = put.body(ByteStream::from(part)).send().await.map_err(|error| port_error(WHAT, &error))?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag().map(str::to_owned));
        completed = completed.parts(part.set_checksum_crc32(put.checksum_crc32().map(str::to_owned)).build());
    }
    parts.end().await?;
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    let complete = complete.set_if_match(tag.map(str::to_owned));
    let complete = complete.multipart_upload(completed.build()).send().await;
    match complete {
        Ok(_) => Ok(()),
        Err(error) if is_swapped(tag, error.code()) => Err(not_found(key)),
        Err(error) => Err(port_error(WHAT, &error)),
    }
}

fn is_swapped(tag: Option<&str>, code: Option<&str>) -> bool {
    tag.is_some() && code.is_some_and(|code| SWAPPED.contains(&code))
}

fn not_found(key: &str) -> PortError {
    PortError::NotFound { what: key.to_owned() }
}

/// The content in parts of [`PART`] bytes; the last may be smaller.
struct Parts {
    content: Content,
    length: u64,
    given: u64,
}

impl Parts {
    async fn next(&mut self) -> Result<Option<Bytes>, PortError> {
        let mut part = BytesMut::new();
        while part.len() < PART {
            match self.content.next().await {
                None => break,
                Some(Err(error)) => return Err(PortError::unavailable(WHAT, error)),
                Some(Ok(piece)) => part.extend_from_slice(&piece),
            }
        }
        self.given += part.len() as u64;
        Ok((!part.is_empty()).then(|| part.freeze()))
    }

    /// Checks that the content was as long as announced.
    async fn end(&mut self) -> Result<(), PortError> {
        let more = self.next().await?.is_some();
        if more || self.given != self.length {
            return Err(PortError::unavailable(WHAT, "the content has another length than was said"));
        }
        Ok(())
    }
}
