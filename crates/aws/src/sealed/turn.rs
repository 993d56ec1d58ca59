//! The turn to seal, a lease: an object that is put on a condition, with the time of its end. A function may be killed
//! before it gives its turn back.

use serde::{Deserialize, Serialize};
use weir_core::{Timestamp, ports::PortError};

use super::S3SealedDays;
use crate::errors::malformed;

const TURN: &str = "sealed/turn";
const WHAT: &str = "taking the turn to seal";

/// The content of the object.
#[derive(Serialize, Deserialize)]
struct Turn {
    /// The sealing that has it, by a name that is used once.
    owner: String,
    /// The time of its end, in milliseconds.
    until: Timestamp,
}

/// The turn to seal.
#[must_use = "it is given back by `end`"]
pub struct SealingTurn {
    days: S3SealedDays,
    tag: String,
}

impl S3SealedDays {
    /// Takes the turn to seal until a time; `None` if another sealing has it. `owner` must be a name that is used once. The
    /// sealing must end before that time, because another machine's clock then lets a new one begin.
    pub async fn turn(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<SealingTurn>, PortError> {
        let (text, tag) = self.get(TURN).await?.unzip();
        let before: Option<Turn> = text
            .map(|text| serde_json::from_slice(&text))
            .transpose()
            .map_err(|error| malformed(WHAT, error.to_string()))?;
        if before.is_some_and(|before| now < before.until) {
            return Ok(None);
        }
        let put = self.put_turn(owner, until, tag.as_deref()).await?;
        Ok(put.map(|tag| SealingTurn { days: self.clone(), tag }))
    }

    async fn put_turn(
        &self,
        owner: &str,
        until: Timestamp,
        tag: Option<&str>,
    ) -> Result<Option<String>, PortError> {
        let turn = Turn { owner: owner.to_owned(), until };
        let text = serde_json::to_vec(&turn).map_err(|error| malformed(WHAT, error.to_string()))?;
        self.put_in_place(TURN, text, tag).await
    }
}

impl SealingTurn {
    /// Makes the turn last until a later time; returns whether it did. Otherwise the turn was over, and another sealing has it.
    pub async fn prolong(&mut self, owner: &str, until: Timestamp) -> Result<bool, PortError> {
        let put = self.days.put_turn(owner, until, Some(&self.tag)).await?;
        let has_it = put.is_some();
        self.tag = put.unwrap_or_default();
        Ok(has_it)
    }

    /// Gives the turn back. If that fails, it ends at its time.
    pub async fn end(self) {
        match self.days.put_turn("", Timestamp::saturating(0), Some(&self.tag)).await {
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!("the turn to seal was over, and another sealing has it"),
            Err(error) => tracing::warn!(%error, "the turn to seal cannot be given back, and ends by itself"),
        }
    }
}
