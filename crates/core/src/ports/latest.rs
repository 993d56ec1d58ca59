//! The ports of latest values.

use async_trait::async_trait;

use super::PortError;
use crate::{EventType, LatestKey, Username, latest::LatestValue};

/// Reads the newest event of each resource.
#[async_trait]
pub trait ReadLatest: Send + Sync {
    /// Returns the latest values of resources of a user and type, in the order asked; `None` for a key without one.
    async fn read(
        &self,
        username: &Username,
        event_type: &EventType,
        keys: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError>;

    /// Returns the latest values of a user and type whose keys are after `after` (`None`: from the first), in the order of
    /// the keys' bytes: at most `limit`, and fewer only at the end.
    async fn list(
        &self,
        username: &Username,
        event_type: &EventType,
        after: Option<&LatestKey>,
        limit: usize,
    ) -> Result<Vec<LatestValue>, PortError>;
}

/// Keeps the newest event of each resource.
#[async_trait]
pub trait LatestValues: ReadLatest {
    /// Raises latest values: each value takes the place of its resource's, unless that is as new or newer. Returns an outcome
    /// for each value, in their order. Idempotent, and so a caller may repeat what failed; the result does not depend on the
    /// order of calls. A raised value is read at once.
    ///
    /// Needed where records are appended as [`Appended::Stored`](super::Appended::Stored); other engines have raised the values
    /// of what they stored.
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>>;
}

/// Corrections of latest values.
#[async_trait]
pub trait LatestValuesAdmin: LatestValues {
    /// Removes a latest value that was read, unless another one has taken its place since.
    async fn remove(&self, value: &LatestValue) -> Result<(), PortError>;
}
