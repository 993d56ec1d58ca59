//! [`AnswersAdmin`] on S3.
//!
//! Publishers on several machines take no turns. The pointer is put on the condition that it is still the one that was read,
//! and never in the place of one that was published later by its own time: so that time must be one from before the answer was
//! computed.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    operation::{get_object::GetObjectError, put_object::builders::PutObjectFluentBuilder},
    primitives::ByteStream,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use weir_core::{
    AnswerName, Timestamp,
    answers::{KEPT_MILLIS, Published},
    ports::{Answers, AnswersAdmin, Content, Generation, PortError, Publication},
};

use super::{CURRENT, Pointer, Replaced, S3Answers, key, read_pointer};
use crate::{
    errors::{malformed, port_error},
    objects::upload,
};

const WHAT: &str = "publishing an answer";
const REMOVING: &str = "removing old generations of an answer";

/// How often the pointer is read and put again when others swap it meanwhile.
const TRIES: usize = 20;

/// How long an object stays that no pointer knows, in milliseconds: it may be one of a publication under way. Its publisher
/// broke off, or could not remove it.
const UNKNOWN_KEPT_MILLIS: u64 = 24 * 3_600_000;

/// S3's codes for a pointer that is not the one that was read.
const SWAPPED: [&str; 3] = ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"];

/// The answers of a bucket, and how they are published there.
#[derive(Clone)]
pub struct S3AnswersAdmin {
    pub(super) answers: S3Answers,
    pub(super) client: Client,
    pub(super) bucket: String,
}

impl S3AnswersAdmin {
    pub(crate) fn new(answers: S3Answers, client: Client, bucket: &str) -> Self {
        Self { answers, client, bucket: bucket.to_owned() }
    }

    /// Reads the pointer, and the tag by which it can be replaced.
    pub(super) async fn tagged(&self, name: &AnswerName) -> Result<Option<(Pointer, String)>, PortError> {
        let got = self.client.get_object().bucket(&self.bucket).key(key(name, CURRENT)).send().await;
        let object = match got {
            Ok(object) => object,
            Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => {
                return Ok(None);
            }
            Err(error) => return Err(port_error(WHAT, &error)),
        };
        let tag = object.e_tag().ok_or_else(|| malformed(WHAT, "a pointer without a tag"))?.to_owned();
        let text = object.body.collect().await.map_err(|error| PortError::unavailable(WHAT, error))?;
        Ok(Some((read_pointer(&text.into_bytes())?, tag)))
    }

    /// Puts the pointer; returns false if it was swapped since it was read.
    pub(super) async fn put_pointer(&self, pointer: &Pointer, tag: Option<&str>) -> Result<bool, PortError> {
        let text = serde_json::to_vec(pointer).map_err(|error| malformed(WHAT, error.to_string()))?;
        let put: PutObjectFluentBuilder = self.client.put_object().bucket(&self.bucket);
        let put = put.key(key(&pointer.published.name, CURRENT)).content_type("application/json");
        let put = match tag {
            Some(tag) => put.if_match(tag),
            None => put.if_none_match("*"),
        };
        match put.body(ByteStream::from(text)).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|code| SWAPPED.contains(&code)) => Ok(false),
            Err(error) => Err(port_error(WHAT, &error)),
        }
    }

    /// Removes generations whose time is over, and old objects that no pointer knows.
    async fn remove_old(&self, pointer: &Pointer, over: &[Replaced]) -> Result<(), PortError> {
        let (name, now) = (&pointer.published.name, pointer.published.published_at);
        let prefix = key(name, "");
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| port_error(REMOVING, &error))?;
            for found in page.contents() {
                let Some(object) = found.key().and_then(|key| key.strip_prefix(&prefix)) else { continue };
                let has = |list: &[Replaced]| list.iter().any(|it| it.object == object);
                let is_known = object == CURRENT || object == pointer.object || has(&pointer.replaced);
                let put = found.last_modified().and_then(|at| u64::try_from(at.to_millis().ok()?).ok());
                let is_old = put.is_some_and(|put| put + UNKNOWN_KEPT_MILLIS < now.millis());
                if !is_known && (has(over) || is_old) {
                    let removed = self.client.delete_object().bucket(&self.bucket).key(key(name, object));
                    removed.send().await.map_err(|error| port_error(REMOVING, &error))?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the generations that were replaced once `object` takes the place of `before`: those of the last hour, and those
/// whose time is over.
fn replaced(before: Option<Pointer>, object: &str, now: Timestamp) -> (Vec<Replaced>, Vec<Replaced>) {
    let Some(before) = before else { return Default::default() };
    let all = before.replaced.into_iter().chain([Replaced { object: before.object, at: now }]);
    all.filter(|it| it.object != object).partition(|it| it.at.millis() + KEPT_MILLIS >= now.millis())
}

#[async_trait]
impl Answers for S3AnswersAdmin {
    async fn current(&self, name: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError> {
        self.answers.current(name).await
    }

    async fn list(&self) -> Result<Vec<Published>, PortError> {
        self.answers.list().await
    }
}

#[async_trait]
impl AnswersAdmin for S3AnswersAdmin {
    async fn publish(
        &self,
        published: &Published,
        length: u64,
        content: Content,
    ) -> Result<Publication, PortError> {
        self.put(published, length, content, |_| true).await
    }
}

impl S3AnswersAdmin {
    /// Publishes, unless what is published meanwhile was computed later, or `may_replace` refuses to replace it.
    pub(super) async fn put(
        &self,
        published: &Published,
        length: u64,
        content: Content,
        may_replace: impl Fn(Option<&Pointer>) -> bool + Send,
    ) -> Result<Publication, PortError> {
        let (name, now) = (&published.name, published.published_at);
        let mut content = Some(content);
        let own = format!("{}-{:013}", published.generation, now.millis());
        for _ in 0..TRIES {
            let (before, tag) = self.tagged(name).await?.unzip();
            let is_later = before.as_ref().is_some_and(|before| before.published.published_at > now);
            if is_later || !may_replace(before.as_ref()) {
                // If its object was put, a later publication removes it as one that no pointer knows.
                return Ok(Publication::Outdated);
            }
            let same = before.as_ref().filter(|before| before.published.generation == published.generation);
            // What has not changed is not put again.
            let object = same.filter(|_| content.is_some()).map_or(&own, |before| &before.object).clone();
            if object == own
                && let Some(content) = content.take()
            {
                upload::put(&self.client, &[&self.bucket], &key(name, &own), length, content, None).await?;
            }
            let (kept, over) = replaced(before, &object, now);
            let (published, tried_at, tried_by) = (published.clone(), None, None);
            let pointer = Pointer { published, object, length, replaced: kept, tried_at, tried_by };
            // A call whose answer was lost is repeated by the SDK, and fails then, though it took effect: the next turn finds
            // its own pointer, and swaps it for itself.
            if !self.put_pointer(&pointer, tag.as_deref()).await? {
                continue;
            }
            // It is published, whatever becomes of this.
            if let Err(error) = self.remove_old(&pointer, &over).await {
                tracing::warn!(%error, answer = name.as_str(), "old generations of an answer are left");
            }
            return Ok(Publication::Current);
        }
        Err(PortError::unavailable(WHAT, "others publish it all the time"))
    }
}
