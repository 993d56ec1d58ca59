//! [`LatestValues`] on DynamoDB.

use async_trait::async_trait;
use weir_core::{
    EventType, LatestKey, Username,
    latest::LatestValue,
    ports::{LatestValues, PortError},
};

/// A table of latest values.
pub(crate) struct DynamoLatest;

fn missing() -> PortError {
    PortError::broken("latest values", "this engine does not keep them")
}

#[async_trait]
impl LatestValues for DynamoLatest {
    async fn raise(&self, values: &[LatestValue]) -> Vec<Result<(), PortError>> {
        values.iter().map(|_| Err(missing())).collect()
    }

    async fn read(
        &self,
        _: &Username,
        _: &EventType,
        _: &[LatestKey],
    ) -> Result<Vec<Option<LatestValue>>, PortError> {
        Err(missing())
    }

    async fn list(
        &self,
        _: &Username,
        _: &EventType,
        _: Option<&LatestKey>,
        _: usize,
    ) -> Result<Vec<LatestValue>, PortError> {
        Err(missing())
    }
}
