//! Corrects, after a deployment, the properties that the local CloudFormation passes on differently than AWS, and replaces
//! what the local Step Functions lack.

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

/// Batches: the local Step Functions run a distributed map and its `ItemReader`, but know neither `ItemBatcher` nor
/// `ResultWriter`. So the deployed machine gets states in their places that do the same: one reads the items, one cuts them
/// into batches of the batcher's size, and the map gives each batch, with the batcher's input, to the deployed processor.
/// The execution's output is the batches' answers, in place of the writer's files. Returns the machine's ARN.
pub fn batches(aws: &LocalAws, name: &str) -> String {
    let machines = aws.call("AWSStepFunctions.ListStateMachines", &json!({}));
    let mut machines = machines["stateMachines"].as_array().unwrap().iter();
    let machine =
        machines.find(|machine| machine["name"] == name).expect("it is deployed")["stateMachineArn"].clone();
    let described = aws.call("AWSStepFunctions.DescribeStateMachine", &json!({"stateMachineArn": machine}));
    let mut definition: Value = serde_json::from_str(described["definition"].as_str().unwrap()).unwrap();
    let mut map = definition["States"]["Objects"].take();
    let mut part = |name: &str| map.as_object_mut().unwrap().remove(name).unwrap();
    let (reader, batcher, _) = (part("ItemReader"), part("ItemBatcher"), part("ResultWriter"));
    map["ItemsPath"] = json!("$.batches.of");
    map["ItemSelector"] = json!({"BatchInput": batcher["BatchInput"], "Items.$": "$$.Map.Item.Value"});
    let size = batcher["MaxItemsPerBatch"].as_u64().expect("a number");
    let each = json!({"Each": {"Type": "Pass", "End": true}});
    definition["States"] = json!({
        "Items": {"Type": "Map", "ItemReader": reader, "ResultPath": "$.all", "Next": "Batches", "ItemProcessor":
            {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Each", "States": each}},
        "Batches": {"Type": "Pass", "Parameters": {"of.$": format!("States.ArrayPartition($.all, {size})")},
            "ResultPath": "$.batches", "Next": "Objects"},
        "Objects": map,
    });
    definition["StartAt"] = json!("Items");
    let update = json!({"stateMachineArn": machine, "definition": definition.to_string()});
    aws.call("AWSStepFunctions.UpdateStateMachine", &update);
    machine.as_str().unwrap().to_owned()
}
