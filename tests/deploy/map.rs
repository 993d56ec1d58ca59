//! `weir map` on the deployed stack, by the steps of docs/MAP.md: its state machine invokes the guide's Lambda for objects of the
//! lake, ten at a time.

use super::{local_aws::LocalAws, mended, stack::Stack};
use crate::harness::{
    Value, gunzip, gzip, json,
    lambda::{make_mapped, mapped, of_the_guide},
};

const HOURS: u64 = 12;

/// Files clicks of two users in twelve hours, two an hour; returns those of the first, in the order of the objects.
fn filed(weir: &Stack) -> Vec<(String, String)> {
    // Writes a batch as the stream does on AWS. The local stream would deliver each event by itself.
    let line = |username: &str, n: u64| {
        let received_at = 1_795_000_000_000 + n % HOURS * 3_600_000;
        let event = json!({"event_id": format!("e-{n}"), "username": username, "event_type": "button_click",
            "received_at": received_at, "session_id": "s", "button_id": format!("{username}-{n}")});
        format!("{event}\n")
    };
    let lines = (0..2 * HOURS).flat_map(|n| [line("map-ann", n), line("map-bob", n)]);
    let batch = gzip(lines.collect::<String>().as_bytes());
    weir.aws.put_object(weir.output("RawBucket"), "raw/2026/11/18/14/to-be-mapped.json.gz", &batch);
    let lake = weir.filed("map-ann", usize::try_from(2 * HOURS).unwrap());
    lake.into_iter().map(|(key, bytes)| (key, gunzip(&bytes))).collect()
}

/// The buttons of an object's lines, as the guide's Lambda gives them.
fn buttons(lines: &str) -> String {
    let button =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["button_id"].as_str().unwrap().to_owned();
    lines.lines().map(|line| button(line) + "\n").collect()
}

/// The output of the machine's newest execution.
fn collected(aws: &LocalAws, machine: &str) -> Value {
    let all = aws.call("AWSStepFunctions.ListExecutions", &json!({"stateMachineArn": machine}));
    let newest = |execution: &&Value| execution["startDate"].as_f64().unwrap().to_bits();
    let execution = all["executions"].as_array().unwrap().iter().max_by_key(newest).unwrap();
    let asked = json!({"executionArn": execution["executionArn"]});
    let described = aws.call("AWSStepFunctions.DescribeExecution", &asked);
    assert_eq!(described["status"], "SUCCEEDED", "{described}");
    serde_json::from_str(described["output"].as_str().unwrap()).unwrap()
}

#[test]
fn the_deployed_state_machine_maps_a_lambda_over_objects_in_batches_and_only_pointers_go_through_it() {
    let weir = Stack::shared();
    let objects = filed(weir);
    assert_eq!(objects.len() as u64, HOURS);
    assert!(weir.output("MapFunctionPolicy").contains(":policy/"), "{}", weir.output("MapFunctionPolicy"));
    let machine = mended::batches(&weir.aws, "weir-map");
    let lambda = |name: &str, program: &str| {
        make_mapped(&weir.aws.endpoint, name, program);
        weir.weir(&format!("function add {name} --engine aws --lambda {}", mapped(name)));
    };
    lambda("buttons", &of_the_guide());
    let printed = weir.weir("map buttons --engine aws --type button_click --user map-ann");
    assert_eq!(printed, objects.iter().map(|(_, lines)| buttons(lines)).collect::<String>());
    // Two batches, of ten objects and of two. Only their statuses are in the output, and nothing that a Lambda read or
    // answered.
    assert_eq!(collected(&weir.aws, &machine), json!([{"status": 200}, {"status": 200}]));

    // A Lambda that fails in the middle of a batch has put the earlier results.
    let (last, before) = objects.split_last().unwrap();
    let fails = of_the_guide().replace(
        "        lines = ",
        &format!("        assert item[\"key\"] != \"{}\"\n        lines = ", last.0),
    );
    assert_ne!(fails, of_the_guide());
    lambda("fails", &fails);
    let (printed, said) = weir.fails("map fails --engine aws --type button_click --user map-ann");
    assert_eq!(printed, before.iter().map(|(_, lines)| buttons(lines)).collect::<String>());
    assert!(said.contains(&format!("{} could not be mapped: ", last.0)), "{said}");
}
