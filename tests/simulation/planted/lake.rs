//! Bugs in how objects are put into the lake.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use async_trait::async_trait;
use flate2::read::MultiGzDecoder;
use futures_util::TryStreamExt;
use serde_json::Value;
use weir_core::{
    BatchId, BatchKey, Clock, Partition, Timestamp,
    ports::{Content, Lake, LakeObjects, PortError},
};

use super::{
    Bug,
    ports::{content, zipped},
};
use crate::world::World;

struct Buggy {
    world: Arc<World>,
    inner: Arc<dyn Lake>,
    objects: Arc<dyn LakeObjects>,
}

pub(crate) fn lake(world: &Arc<World>, inner: Arc<impl Lake + LakeObjects + 'static>) -> Arc<dyn Lake> {
    const HERE: [Bug; 6] = [
        Bug::RandomNames,
        Bug::NamesShared,
        Bug::FirstWriteWins,
        Bug::PartitionedByFiling,
        Bug::PartitionedByArrival,
        Bug::PartitionedByOccurrence,
    ];
    match world.bug {
        Some(bug) if HERE.contains(&bug) => {
            Arc::new(Buggy { world: world.clone(), inner: inner.clone(), objects: inner })
        }
        _ => inner,
    }
}

impl Buggy {
    async fn write(&self, partition: &Partition, batch: &BatchId, text: &[u8]) -> Result<(), PortError> {
        let object = zipped(text);
        self.inner.put(partition, batch, object.len() as u64, content(object)).await
    }
}

#[async_trait]
impl Lake for Buggy {
    async fn put(
        &self,
        partition: &Partition,
        batch: &BatchId,
        _: u64,
        object: Content,
    ) -> Result<(), PortError> {
        let failed = |error| PortError::unavailable("reading", error);
        let object: Vec<bytes::Bytes> = object.try_collect().await.map_err(failed)?;
        let mut text = Vec::new();
        MultiGzDecoder::new(&object.concat()[..]).read_to_end(&mut text).map_err(failed)?;
        match self.world.bug.unwrap() {
            Bug::RandomNames => {
                let name = BatchKey::new(format!("{batch}-{}", self.world.dice.next())).id();
                self.write(partition, &name, &text).await
            }
            Bug::NamesShared => self.write(partition, &BatchKey::new("raw/batch").id(), &text).await,
            Bug::FirstWriteWins => {
                if self.objects.open_path(&partition.object(batch)).await.is_ok() {
                    return Ok(());
                }
                let first = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                self.write(partition, batch, &text[..first]).await?;
                self.write(partition, batch, &text).await
            }
            Bug::PartitionedByFiling => {
                let partition = Partition { hour: self.world.clock.now().hour(), ..partition.clone() };
                self.write(&partition, batch, &text).await
            }
            bug => {
                let mut hours: BTreeMap<_, Vec<u8>> = BTreeMap::new();
                for line in text.split_inclusive(|byte| *byte == b'\n') {
                    let event: Value = serde_json::from_slice(line).unwrap();
                    let stated =
                        event["occurred_at"].as_u64().filter(|_| bug == Bug::PartitionedByOccurrence);
                    let at = stated.or(event["received_at"].as_u64()).unwrap();
                    hours.entry(Timestamp::saturating(at).hour()).or_default().extend_from_slice(line);
                }
                for (hour, text) in hours {
                    self.write(&Partition { hour, ..partition.clone() }, batch, &text).await?;
                }
                Ok(())
            }
        }
    }
}
