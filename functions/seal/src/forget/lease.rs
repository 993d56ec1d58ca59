//! The turn to seal, for as long as a command works: it is prolonged again and again, and ends soon after a command that died.

use std::time::Duration;

use tokio::sync::Mutex;
use weir_aws::{S3SealedDays, SealingTurn};
use weir_core::{Clock, Random, Timestamp};

use super::ForgetError;

/// How long the turn lasts after it was taken or prolonged, in milliseconds. It is prolonged once half of it is over.
const LASTS_MILLIS: u64 = 10 * 60_000;

/// The longest sleep without a look at the turn.
const SLICE: Duration = Duration::from_secs(30);

pub(super) struct Lease<'a> {
    clock: &'a dyn Clock,
    owner: String,
    turn: Mutex<(SealingTurn, Timestamp)>,
}

impl<'a> Lease<'a> {
    pub(super) async fn take(
        days: &S3SealedDays,
        clock: &'a dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, ForgetError> {
        let (owner, now) = (random.token(), clock.now());
        let until = now.plus_millis(LASTS_MILLIS);
        let turn = days.turn(&owner, now, until).await?.ok_or(ForgetError::Turn)?;
        Ok(Self { clock, owner, turn: Mutex::new((turn, until)) })
    }

    /// Prolongs the turn if half of it is over.
    pub(super) async fn keep(&self) -> Result<(), ForgetError> {
        let mut turn = self.turn.lock().await;
        let now = self.clock.now();
        if now.plus_millis(LASTS_MILLIS / 2) < turn.1 {
            return Ok(());
        }
        let until = now.plus_millis(LASTS_MILLIS);
        if !turn.0.prolong(&self.owner, until).await? {
            return Err(ForgetError::TurnLost);
        }
        turn.1 = until;
        Ok(())
    }

    pub(super) async fn sleep(&self, mut duration: Duration) -> Result<(), ForgetError> {
        while !duration.is_zero() {
            let slice = duration.min(SLICE);
            tokio::time::sleep(slice).await;
            duration -= slice;
            self.keep().await?;
        }
        Ok(())
    }

    /// Waits for work that does not look at the turn itself.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, ForgetError> {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(SLICE, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) => self.keep().await?,
            }
        }
    }

    pub(super) async fn end(self) {
        self.turn.into_inner().0.end().await;
    }
}
