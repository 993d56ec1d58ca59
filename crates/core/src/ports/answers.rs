//! The ports of answers that were computed beforehand.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Content, PortError};
use crate::{
    AnswerName,
    answers::{Definition, Published, layout::Key},
};

/// The published generations of answers that were computed beforehand.
#[async_trait]
pub trait Answers: Send + Sync {
    /// Returns what is published of an answer now; `None` if it was never published.
    async fn current(&self, name: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError>;

    /// Returns the pointers of all published answers, by name.
    async fn list(&self) -> Result<Vec<Published>, PortError>;
}

/// One generation of an answer. It never changes, and can be read for an hour at least after another one took its place.
#[async_trait]
pub trait Generation: Send + Sync {
    /// Returns the pointer by which it was found.
    fn published(&self) -> &Published;

    /// Returns the answer's definition, of which this is a generation.
    fn definition(&self) -> &Definition;

    /// Returns which bytes of it are asked for; `None` if it has no such path or slot.
    async fn find(&self, key: Key) -> Result<Option<Range<u64>>, PortError>;

    /// Reads bytes.
    async fn read(&self, bytes: Range<u64>) -> Result<Bytes, PortError>;
}

/// Whether a publication took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is the current one.
    Current,
    /// It is not: one that was computed later is published already.
    Outdated,
}

/// Publishes answers.
#[async_trait]
pub trait AnswersAdmin: Answers {
    /// Stores a generation, whole or not at all, and then makes it the current one. `content` has `length` bytes. Removes
    /// generations of the answer that were replaced more than [`KEPT_MILLIS`](crate::answers::KEPT_MILLIS) before.
    ///
    /// What was computed earlier never takes the place of what was computed later. Either publishers take turns, or this goes
    /// by `published_at`, which is then a time from before the answer was computed.
    async fn publish(
        &self,
        published: &Published,
        length: u64,
        content: Content,
    ) -> Result<Publication, PortError>;
}

/// An engine without answers: none is ever published.
#[async_trait]
impl Answers for () {
    async fn current(&self, _: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError> {
        Ok(None)
    }

    async fn list(&self) -> Result<Vec<Published>, PortError> {
        Ok(Vec::new())
    }
}
