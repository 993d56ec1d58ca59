//! What a schedule needs: which answers are published, and that each is computed again by one publisher and from the SQL that is
//! published.

use weir_core::{
    Timestamp,
    answers::Published,
    ports::{Content, PortError, Publication},
};

use super::{Pointer, publish::S3AnswersAdmin};

/// A published answer, as a schedule sees it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What is published.
    pub published: Published,
    /// When a schedule began to compute it again, unless it was published since.
    pub tried_at: Option<Timestamp>,
}

impl Standing {
    /// Returns when the answer was computed last, or was to be.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.tried_at.map_or(self.published.published_at, |tried| tried.max(self.published.published_at))
    }

    fn is(&self, pointer: &Pointer) -> bool {
        pointer.published.published_at == self.published.published_at && pointer.tried_at == self.tried_at
    }
}

impl S3AnswersAdmin {
    /// Returns all published answers, by name.
    pub async fn standing(&self) -> Result<Vec<Standing>, PortError> {
        let pointers = self.answers.pointers().await?.into_iter();
        Ok(pointers.map(|Pointer { published, tried_at, .. }| Standing { published, tried_at }).collect())
    }

    /// Notes that `owner` computes an answer again from `now` on. Returns false if another publisher was first, or the answer
    /// was published or withdrawn meanwhile. `owner` must be a name that is used once: two may claim in the same millisecond.
    pub async fn claim(&self, answer: &Standing, owner: &str, now: Timestamp) -> Result<bool, PortError> {
        let name = &answer.published.name;
        let Some((mut pointer, tag)) = self.tagged(name).await?.filter(|(pointer, _)| answer.is(pointer))
        else {
            return Ok(false);
        };
        pointer.tried_at = Some(now);
        pointer.tried_by = Some(owner.to_owned());
        if self.put_pointer(&pointer, Some(&tag)).await? {
            return Ok(true);
        }
        // A call whose answer was lost is repeated by the SDK, and fails then, though it took effect.
        Ok(self.tagged(name).await?.is_some_and(|(pointer, _)| pointer.tried_by.as_deref() == Some(owner)))
    }

    /// Publishes an answer that was computed again; outdated if it was withdrawn, or published from other SQL, meanwhile.
    pub async fn publish_again(
        &self,
        published: &Published,
        length: u64,
        content: Content,
    ) -> Result<Publication, PortError> {
        let is_same = |before: Option<&Pointer>| before.is_some_and(|it| it.published.sql == published.sql);
        self.put(published, length, content, is_same).await
    }
}
