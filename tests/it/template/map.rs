//! The state machine that maps functions over objects: pointers only, within the limits of Step Functions.

use std::{fs, path::Path, process::Command};

use super::reader::{Template, list, number, text, with_names};
use crate::harness::{Value, json};

/// The most bytes of an input or an output of a state
/// (<https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>).
const MOST_IN_A_STATE: u64 = 256 << 10;

#[test]
fn functions_are_mapped_only_if_the_operator_says_so() {
    let template = Template::read();
    assert_eq!(template.0["Parameters"]["WithMap"]["Default"], "false");
    assert_eq!(template.0["Conditions"]["HasMap"], json!({"Fn::Equals": [{"Ref": "WithMap"}, "true"]}));
    for name in ["MapMachine", "MapRole", "MapFunctionPolicy"] {
        assert_eq!(template.0["Resources"][name]["Condition"], "HasMap", "{name}");
    }
    assert_eq!(
        template.all("AWS::StepFunctions::StateMachine").into_keys().collect::<Vec<_>>(),
        ["MapMachine"]
    );
    assert_eq!(template.0["Outputs"]["MapFunctionPolicy"]["Condition"], "HasMap");
}

#[test]
fn a_function_gets_pointers_in_batches_and_nothing_that_it_answers_goes_through_the_state() {
    let template = Template::read();
    let machine = template.properties("MapMachine");
    assert_eq!(machine["StateMachineType"], "STANDARD");
    let definition = &machine["Definition"];
    let states = definition["States"].as_object().unwrap();
    assert_eq!((definition["StartAt"].as_str(), states.len()), (Some("Objects"), 1));
    let map = &states["Objects"];
    assert_eq!((&map["Type"], &map["End"]), (&json!("Map"), &json!(true)));
    let raw = json!({"Ref": "RawBucket"});

    let reader = &map["ItemReader"];
    assert!(text(&reader["Resource"]).ends_with(":states:::s3:getObject"));
    assert_eq!(reader["ReaderConfig"], json!({"InputType": "JSON"}));
    assert_eq!(reader["Parameters"], json!({"Bucket": raw, "Key.$": "$.items"}));

    let batcher = &map["ItemBatcher"];
    assert!(number(&batcher["MaxInputBytesPerBatch"]) <= MOST_IN_A_STATE / 2);
    assert!(number(&batcher["MaxItemsPerBatch"]) >= 1);
    let batch = json!({"run.$": "$.run", "function.$": "$.function", "results": raw});
    assert_eq!(batcher["BatchInput"], batch);

    let processor = &map["ItemProcessor"];
    assert_eq!(processor["ProcessorConfig"], json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}));
    let states = processor["States"].as_object().unwrap();
    assert_eq!((processor["StartAt"].as_str(), states.len()), (Some("Function"), 1));
    let task = &states["Function"];
    assert!(text(&task["Resource"]).ends_with(":states:::lambda:invoke"));
    assert_eq!(task["Parameters"], json!({"FunctionName.$": "$.BatchInput.function", "Payload.$": "$"}));
    assert_eq!(task["ResultSelector"], json!({"status.$": "$.StatusCode"}));
    // Longer than a Lambda may take.
    assert!(number(&task["TimeoutSeconds"]) > 900);
    // It is run once more, and more often only if AWS itself refused the call.
    let retries: Vec<&Value> = list(&task["Retry"]);
    let last = retries.last().unwrap();
    assert_eq!((&last["ErrorEquals"], number(&last["MaxAttempts"])), (&json!(["States.ALL"]), 1));
    for retry in &retries[..retries.len() - 1] {
        assert!(list(&retry["ErrorEquals"]).into_iter().all(|error| text(error).starts_with("Lambda.")));
    }

    let writer = &map["ResultWriter"];
    assert!(text(&writer["Resource"]).ends_with(":states:::s3:putObject"));
    assert_eq!(writer["Parameters"]["Bucket"], raw);
    assert!(text(&writer["Parameters"]["Prefix.$"]).starts_with("States.Format('map-runs/"));
    // A number of the template would be a text where CloudFormation puts it in.
    assert_eq!(map["MaxConcurrencyPath"], "$.at_once");
    assert!(map.get("ToleratedFailurePercentage").is_none() && map.get("ToleratedFailureCount").is_none());
}

/// Returns, for each definition, whether it is valid Amazon States Language, by `asl-validator`.
fn are_valid(definitions: &[Value]) -> Vec<bool> {
    let validator =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/node_modules/.bin/asl-validator");
    assert!(validator.exists(), "the validator of Amazon States Language is not installed: run ./check once");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(validator);
    for (at, definition) in definitions.iter().enumerate() {
        let file = folder.path().join(format!("{at}.json"));
        fs::write(&file, definition.to_string()).unwrap();
        command.arg("--json-path").arg(file);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let of = |at| {
        let says = |what| said.contains(&format!("/{at}.json\" is {what}"));
        assert!(says("valid") != says("invalid"), "{said}");
        says("valid")
    };
    (0..definitions.len()).map(of).collect()
}

/// The validator checks states, paths and intrinsic functions. Of `ItemBatcher` and `ReaderConfig` it checks only the types
/// of the members that it knows; the test above checks their names.
#[test]
fn the_definition_is_amazon_states_language_and_a_mistake_in_it_would_be_found() {
    let template = Template::read();
    let names = [("AWS::Partition", "aws"), ("RawBucket", "raw")];
    let definition = with_names(&template.properties("MapMachine")["Definition"], &names);

    let objects = "/States/Objects";
    let function = "/States/Objects/ItemProcessor/States/Function";
    let mistakes = [
        ("", "StartAt", json!("Object")),
        (objects, "MaxConcurrencyPath", json!("at_once")),
        (objects, "ItemBatch", json!({})),
        (objects, "ResultWrite", json!({})),
        ("/States/Objects/ItemReader/Parameters", "Key.$", json!("items")),
        ("/States/Objects/ItemBatcher", "MaxItemsPerBatch", json!("ten")),
        ("/States/Objects/ItemBatcher/BatchInput", "function.$", json!("function")),
        ("/States/Objects/ItemProcessor/ProcessorConfig", "Mode", json!("DISTRIBUTE")),
        ("/States/Objects/ItemProcessor/ProcessorConfig", "ExecutionType", json!("SLOW")),
        ("/States/Objects/ItemProcessor", "StartAt", json!("Functions")),
        (function, "Next", json!("Nowhere")),
        ("/States/Objects/ItemProcessor/States/Function/ResultSelector", "status.$", json!("StatusCode")),
        ("/States/Objects/ResultWriter/Parameters", "Prefix.$", json!("States.Formt('map-runs/{}', $.run)")),
    ];
    let wrong = mistakes.iter().map(|(place, member, mistake)| {
        let mut wrong = definition.clone();
        wrong.pointer_mut(place).unwrap()[*member] = mistake.clone();
        wrong
    });
    let definitions: Vec<Value> = std::iter::once(definition.clone()).chain(wrong).collect();
    let valid = are_valid(&definitions);
    assert!(valid[0], "the template's definition is not Amazon States Language");
    for ((place, member, _), is_valid) in mistakes.iter().zip(&valid[1..]) {
        assert!(!is_valid, "{place}/{member} is wrong, and is not found");
    }
}

#[test]
fn a_function_may_read_the_lake_and_results_put_results_and_nothing_else() {
    let template = Template::read();
    let policy = &template.properties("MapFunctionPolicy")["PolicyDocument"]["Statement"];
    let allowed: Vec<(String, String)> = list(policy)
        .into_iter()
        .flat_map(|statement| {
            let on = text(&statement["Resource"]);
            list(&statement["Action"]).into_iter().map(move |action| (text(action), on.clone()))
        })
        .collect();
    let expected = [
        ("s3:GetObject", "${LakeBucket.Arn}/username=*"),
        ("s3:GetObject", "${RawBucket.Arn}/map-results/*"),
        ("s3:PutObject", "${RawBucket.Arn}/map-results/*"),
    ];
    assert_eq!(allowed, expected.map(|(action, on)| (action.to_owned(), on.to_owned())));
}
