//! Reads many items of a table by their keys, up to date.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{Client, types::KeysAndAttributes};
use weir_core::{Random, ports::PortError};

use crate::{
    backoff::Backoff,
    counts::table::Item,
    errors::{malformed, port_error},
};

/// `BatchGetItem` takes at most 100 keys.
pub(crate) const MAX_GET: usize = 100;

/// The most tries of a read that returns nothing, and the waits between two tries.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(60);
const LONGEST_WAIT: Duration = Duration::from_millis(240);

/// Returns the items of at most [`MAX_GET`] different keys, in any order; keys without an item are left out.
pub(crate) async fn batch_get(
    client: &Client,
    random: &Arc<dyn Random>,
    what: &'static str,
    table: &str,
    mut keys: Vec<Item>,
) -> Result<Vec<Item>, PortError> {
    let mut found = Vec::with_capacity(keys.len());
    let (mut empty_rounds, mut backoff) = (0, Backoff::new(random, FIRST_WAIT, LONGEST_WAIT));
    while !keys.is_empty() {
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let wanted = wanted.map_err(|error| malformed(what, error.to_string()))?;
        let answer = client.batch_get_item().request_items(table, wanted).send().await;
        let mut answer = answer.map_err(|error| port_error(what, &error))?;
        let items = answer.responses.as_mut().and_then(|tables| tables.remove(table)).unwrap_or_default();
        let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
        keys = left.map(|left| left.keys).unwrap_or_default();
        // Unprocessed keys are another form of throttling.
        if !keys.is_empty() && items.is_empty() {
            empty_rounds += 1;
            if empty_rounds >= TRIES {
                return Err(PortError::unavailable(what, "throttled"));
            }
            tokio::time::sleep(backoff.next()).await;
        }
        found.extend(items);
    }
    Ok(found)
}
