//! The turn to seal: an object that is put on a condition. It has an end, as a function may be killed before it gives its turn back.

use serde::{Deserialize, Serialize};
use weir_core::{Timestamp, ports::PortError};

use super::S3SealedDays;
use crate::errors::malformed;

const TURN: &str = "sealed/turn";
const WHAT: &str = "taking the turn to seal";

/// What the object says.
#[derive(Serialize, Deserialize)]
struct Turn {
    /// Who has it: a name that is used once.
    owner: String,
    /// Until when, in milliseconds.
    until: Timestamp,
}

/// The turn to seal.
#[must_use = "it is given back by `end`"]
pub struct SealingTurn {
    days: S3SealedDays,
    tag: String,
}

impl S3SealedDays {
    /// Takes the turn to seal until a time; `None` if another one has it. `owner` must be a name that is used once. A sealing must
    /// have ended at that time: clocks of machines decide whose turn it is.
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
    /// Gives the turn back. If that fails, it ends at its time.
    pub async fn end(self) {
        match self.days.put_turn("", Timestamp::saturating(0), Some(&self.tag)).await {
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!("the turn to seal was over, and another one has it"),
            Err(error) => tracing::warn!(%error, "the turn to seal is not given back, and ends by itself"),
        }
    }
}
