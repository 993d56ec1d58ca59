//! Files the batches of a queue's messages, within the time that Lambda gives an invocation.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use weir_core::BatchKey;

use crate::{FanOut, FanOutError, Filed, Message, NotificationError};

/// The part of an invocation's time that is reserved for its logs, metrics, spans and answer. Lambda kills a function that
/// answers too late, and then no log says which batch took so long.
const RESERVE: Duration = Duration::from_secs(3);

/// Why a batch is not filed. Its message comes again, unless it is damaged.
#[derive(Debug, thiserror::Error)]
pub enum NotFiled {
    /// Filing failed.
    #[error(transparent)]
    Failed(#[from] FanOutError),
    /// The invocation's time was over. Whatever was put stays, and filing again completes it.
    #[error("the time of the invocation was over before it was filed")]
    OutOfTime,
    /// The notification is not understood.
    #[error(transparent)]
    Notification(#[from] NotificationError),
}

impl NotFiled {
    /// Returns whether the batch's message has been dealt with: of a damaged batch, trying again would find the same damage.
    fn is_final(&self) -> bool {
        matches!(self, Self::Failed(FanOutError::Damaged { .. }))
    }
}

impl FanOut {
    /// Files the batches of messages, one after the other, as each takes much memory; returns the ids of the messages that must
    /// come again. `left` is the invocation's time, if it is known: filing stops before it is over. `observe` gets each
    /// batch, if the notification was understood, and its outcome.
    pub async fn file_messages(
        &self,
        messages: Vec<Message>,
        left: Option<Duration>,
        mut observe: impl FnMut(Option<&BatchKey>, Result<&Filed, &NotFiled>),
    ) -> Vec<String> {
        let end = left.map(|left| Instant::now() + left.saturating_sub(RESERVE));
        let mut failed = Vec::new();
        for Message { id, batches } in messages {
            let mut is_done = true;
            for batch in batches {
                let outcome = match &batch {
                    Ok(batch) => self.file_until(batch, end).await,
                    Err(error) => Err(error.clone().into()),
                };
                is_done &= outcome.as_ref().err().is_none_or(NotFiled::is_final);
                observe(batch.as_ref().ok(), outcome.as_ref());
            }
            if !is_done {
                failed.push(id);
            }
        }
        failed
    }

    async fn file_until(&self, batch: &BatchKey, end: Option<Instant>) -> Result<Filed, NotFiled> {
        let Some(end) = end else { return Ok(self.file(batch).await?) };
        match timeout_at(end, self.file(batch)).await {
            Ok(filed) => Ok(filed?),
            Err(_) => Err(NotFiled::OutOfTime),
        }
    }
}
