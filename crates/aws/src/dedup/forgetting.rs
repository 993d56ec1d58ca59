//! The part of recent ids in forgetting: a retry of a forgotten event is known, and the ids of such events are removed.

use std::{collections::BTreeSet, sync::Arc};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout_at};
use weir_core::{Record, Username, forgotten::ForgottenEvents, ports::PortError};

use super::{RecentIds, WHAT};
use crate::errors::port_error;

const REMOVING: &str = "removing recent ids";

/// How many items are removed at the same time.
const CONCURRENT: usize = 16;

impl RecentIds {
    /// Returns what was forgotten, if one of these records may be a retry.
    pub(super) async fn gone(
        &self,
        records: &[Record],
        deadline: Instant,
    ) -> Result<Arc<ForgottenEvents>, PortError> {
        match &self.forgotten {
            Some(forgotten) if records.iter().any(|record| record.identity().is_given()) => {
                let read = timeout_at(deadline, forgotten.forgotten()).await;
                read.unwrap_or_else(|_| Err(PortError::unavailable(WHAT, "it took too long")))
            }
            _ => Ok(Arc::default()),
        }
    }

    /// Removes a user's ids: those of `ids`, and those whose items have a stored line, or a part of one, that is meant. Returns how
    /// many there were. It reads the whole table.
    pub async fn forget(
        &self,
        username: &Username,
        ids: &BTreeSet<String>,
        is_meant: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<u64, PortError> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .consistent_read(true)
                .projection_expression("id, #line, head, latest_key")
                .expression_attribute_names("#line", "line")
                .filter_expression("begins_with(id, :user)")
                .expression_attribute_values(":user", AttributeValue::S(format!("{username}/")))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| port_error(REMOVING, &error))?;
            for item in page.items() {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
                let Some(id) = text("id") else { continue };
                let has_meant = ["line", "head"].into_iter().filter_map(text).any(|line| is_meant(line));
                if ids.contains(id) || has_meant {
                    found.push(id.clone());
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let removals = found.into_iter().map(|id| async move {
            let removed = self.client.delete_item().table_name(&self.table);
            let removed = removed.key("id", AttributeValue::S(id)).return_values(ReturnValue::AllOld);
            let removed = removed.send().await.map_err(|error| port_error(REMOVING, &error))?;
            Ok::<_, PortError>(u64::from(removed.attributes().is_some()))
        });
        stream::iter(removals)
            .buffer_unordered(CONCURRENT)
            .try_fold(0, |sum, one| async move { Ok(sum + one) })
            .await
    }
}
