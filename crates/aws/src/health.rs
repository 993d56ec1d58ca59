//! [`Health`]: whether the stream and the counts answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};
use weir_core::ports::{Health, PortError};

use crate::{counts::table::ItemKey, errors::unless_throttled};

/// The time for which a good answer is cached. The check is public, and `ListTagsForDeliveryStream` is allowed five times a
/// second in a whole account (<https://docs.aws.amazon.com/firehose/latest/dev/limits.html>).
const BELIEVED: Duration = Duration::from_secs(10);

/// The health check: it calls Firehose and DynamoDB.
#[derive(Clone)]
pub struct AwsHealth {
    firehose: aws_sdk_firehose::Client,
    stream: String,
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
    well: Arc<Mutex<Option<Instant>>>,
}

impl AwsHealth {
    pub(crate) fn new(
        firehose: aws_sdk_firehose::Client,
        stream: &str,
        dynamodb: aws_sdk_dynamodb::Client,
        table: &str,
    ) -> Self {
        Self { firehose, stream: stream.to_owned(), dynamodb, table: table.to_owned(), well: Arc::default() }
    }
}

#[async_trait]
impl Health for AwsHealth {
    async fn check(&self) -> Result<(), PortError> {
        let mut well = self.well.lock().await;
        if well.is_some_and(|since| since.elapsed() < BELIEVED) {
            return Ok(());
        }
        // Listing a stream's tags has the shortest answer of all calls about a stream: to read its whole description would
        // add 60 KB to a function's package.
        let stream = self.firehose.list_tags_for_delivery_stream();
        let stream = stream.delivery_stream_name(&self.stream).limit(1).send();
        let item_key = ItemKey { pk: "health".to_owned(), sk: "health".to_owned() };
        let item = self.dynamodb.get_item().table_name(&self.table).set_key(Some(item_key.key())).send();
        let (stream, item) = tokio::join!(stream, item);
        // A throttled service is up. The check is public, and many environments make it at the same time: their calls must
        // not make the service seem down.
        unless_throttled("the delivery stream", &stream)?;
        unless_throttled("the table of counts", &item)?;
        *well = Some(Instant::now());
        Ok(())
    }
}
