//! What the local CloudFormation hands on differently than AWS's, put right after a deployment.

use super::local_aws::LocalAws;
use crate::harness::{Value, json};

/// CORS: on AWS the template's `AllowOrigins` is the API's `allowOrigins`. Here it keeps its capital, and is not found.
pub fn cors(aws: &LocalAws, api: &str) {
    let path = format!("/v2/apis/{api}");
    let deployed = aws.request("apigateway", "GET", &path, &Value::Null);
    let deployed = deployed["corsConfiguration"].as_object().expect("the template has CORS");
    let name = |name: &str| name[..1].to_lowercase() + &name[1..];
    let mended: Value = deployed.iter().map(|(member, value)| (name(member), value.clone())).collect();
    aws.request("apigateway", "PATCH", &path, &json!({"corsConfiguration": mended}));
}

/// The stream's buffer: on AWS a parameter becomes a number where one is wanted. Here it stays a text, and the SDK
/// cannot read the stream's description.
pub fn buffer(aws: &LocalAws, stream: &str) {
    let described =
        aws.call("Firehose_20150804.DescribeDeliveryStream", &json!({"DeliveryStreamName": stream}));
    let described = &described["DeliveryStreamDescription"];
    let destination = &described["Destinations"][0];
    let hints = &destination["ExtendedS3DestinationDescription"]["BufferingHints"];
    let number = |name: &str| hints[name].as_str().expect("a text").parse::<u64>().expect("a number");
    let hints = json!({
        "IntervalInSeconds": number("IntervalInSeconds"),
        "SizeInMBs": number("SizeInMBs"),
    });
    let update = json!({
        "DeliveryStreamName": stream,
        "CurrentDeliveryStreamVersionId": described["VersionId"],
        "DestinationId": destination["DestinationId"],
        "ExtendedS3DestinationUpdate": {"BufferingHints": hints},
    });
    aws.call("Firehose_20150804.UpdateDestination", &update);
}
