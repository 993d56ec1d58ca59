//! The reads of counts that sealing needs: a day's settled counts, and which batches are settled.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use weir_core::{
    Day, EventType, Username,
    ports::{PortError, SettledCounts},
    sealing::{RowsByType, SettledDay},
};

use super::table::{CHUNKS, DynamoCounts, Item, ItemKey, event_type, settled_totals};
use crate::{
    batch_get::{MAX_GET, batch_get},
    errors::malformed,
};

const READING: &str = "reading the settled counts of a day";

/// How often the counts are read if batches are settled meanwhile.
const TRIES: u32 = 10;

/// How many users, types or groups of markers are read at the same time.
const CONCURRENT: usize = 16;

impl DynamoCounts {
    /// Returns these users' settled counts of a day, and which of these batches are settled.
    ///
    /// DynamoDB cannot read all of them at one moment. So the markers are read before and after the counts, until both reads
    /// are equal: then none of these batches was settled in between. A batch that is settled in several chunks may have
    /// added some of its counts already. The day's counts then differ from its rows, and it is sealed later.
    pub async fn settled_day(
        &self,
        users: &BTreeSet<Username>,
        day: Day,
        batches: &BTreeSet<String>,
    ) -> Result<SettledDay, PortError> {
        let mut before = self.settled_batches(batches).await?;
        for _ in 0..TRIES {
            let counts = self.counts_of_day(users, day).await?;
            let after = self.settled_batches(batches).await?;
            if before == after {
                return Ok(SettledDay { counts, batches: after });
            }
            before = after;
        }
        Err(PortError::unavailable(READING, "batches are settled all the time"))
    }

    async fn counts_of_day(&self, users: &BTreeSet<Username>, day: Day) -> Result<RowsByType, PortError> {
        let types = users.iter().cloned().map(|username| async move {
            let totals = self.items(READING, settled_totals(&username), None).await?;
            let types = totals.iter().map(|(sk, _)| event_type(READING, sk));
            let types: Vec<EventType> = types.collect::<Result<_, _>>()?;
            Ok::<_, PortError>(types.into_iter().map(|of| (username.clone(), of)).collect::<Vec<_>>())
        });
        let types: Vec<Vec<(Username, EventType)>> =
            stream::iter(types).buffer_unordered(CONCURRENT).try_collect().await?;
        let counts = types.into_iter().flatten().map(|(username, of)| async move {
            let hours = self.hours(&username, &of, day.first_hour(), day.last_hour()).await?;
            Ok::<_, PortError>(((username, of), hours.values().sum::<u64>()))
        });
        let counts: BTreeMap<_, _> = stream::iter(counts).buffer_unordered(CONCURRENT).try_collect().await?;
        Ok(counts.into_iter().filter(|(_, events)| *events > 0).collect())
    }

    async fn settled_batches(&self, batches: &BTreeSet<String>) -> Result<BTreeSet<String>, PortError> {
        let first = batches.iter().map(|batch| (batch.clone(), 0)).collect();
        let mut settled = BTreeSet::new();
        let mut others = BTreeMap::new();
        for (batch, item) in self.markers(first).await? {
            match chunks(&item)? {
                // Without the number, an earlier version of Weir settled the batch.
                None | Some(1) => drop(settled.insert(batch)),
                Some(chunks) => drop(others.insert(batch, chunks.saturating_sub(1))),
            }
        }
        // Chunks are settled in order, so the last one tells.
        settled.extend(self.markers(others).await?.into_keys());
        Ok(settled)
    }

    /// Returns the markers that exist of these batches, each for the chunk with this number.
    async fn markers(&self, wanted: BTreeMap<String, usize>) -> Result<BTreeMap<String, Item>, PortError> {
        let wanted: Vec<Item> =
            wanted.iter().map(|(batch, number)| ItemKey::chunk(batch, *number).key()).collect();
        let lots: Vec<Vec<Item>> = wanted.chunks(MAX_GET).map(<[Item]>::to_vec).collect();
        let lots =
            lots.into_iter().map(|keys| batch_get(&self.client, &self.random, READING, &self.table, keys));
        let found: Vec<Vec<Item>> = stream::iter(lots).buffer_unordered(CONCURRENT).try_collect().await?;
        let named = found.into_iter().flatten().map(|item| {
            let batch = item.get("pk").and_then(|pk| pk.as_s().ok()?.strip_prefix("batch#"));
            let batch = batch.ok_or_else(|| malformed(READING, "a marker without its batch"))?.to_owned();
            Ok((batch, item))
        });
        named.collect()
    }
}

/// Returns the number of chunks that a marker notes.
fn chunks(marker: &Item) -> Result<Option<usize>, PortError> {
    let Some(noted) = marker.get(CHUNKS) else { return Ok(None) };
    let number = noted.as_n().ok().and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| malformed(READING, "a marker whose number of chunks is not valid"))
}
