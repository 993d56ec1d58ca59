//! A bare function: it makes the three signed calls that the collector makes for a click, with the same SDK, and does nothing
//! else. So it is the least that such a function takes.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_firehose::{primitives::Blob, types::Record};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use weir_aws::Aws;

/// The stored line of a click, without the time and the id that each has.
const LINE: &str = r#"{"time":1795179605007,"username":"ethan","event_type":"button_click","event_id":"01976f3b-0c2e-7c3f-9a52-3f1f8c7d9e10","received_at":1795179605007,"session_id":"s1","button_id":"abc"}
"#;

/// Runs the function until the process is killed.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = Aws::on_lambda().config().to_builder();
        let config = config.retry_config(aws_config::retry::RetryConfig::disabled()).build();
        let stream = aws_sdk_firehose::Client::new(&config);
        let table = aws_sdk_dynamodb::Client::new(&config);
        let answer = service_fn(async |_: LambdaEvent<Value>| calls(&stream, &table).await);
        lambda_runtime::run(answer).await.map_err(|error| anyhow::anyhow!("{error}"))
    })
}

/// Makes the calls in the collector's order: an event is counted once it is stored.
async fn calls(stream: &aws_sdk_firehose::Client, table: &aws_sdk_dynamodb::Client) -> Result<Value, Error> {
    let record = Record::builder().data(Blob::new(LINE)).build()?;
    let stored = stream.put_record_batch().delivery_stream_name("weir-stream").records(record).send();
    tokio::time::timeout(Duration::from_secs(8), stored).await??;
    let raise = |sk: &str| {
        table
            .update_item()
            .table_name("weir-counts")
            .key("pk", AttributeValue::S("ethan#live".to_owned()))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .update_expression("ADD n :by")
            .expression_attribute_values(":by", AttributeValue::N("1".to_owned()))
            .send()
    };
    tokio::try_join!(raise("total#button_click"), raise("key#button_click#abc"))?;
    Ok(json!({"statusCode": 200, "body": "{\"status\":\"accepted\"}"}))
}
