//! `weir function` and `weir map` on AWS: the template's own state machine invokes the Lambda of docs/MAP.md.
//!
//! The local AWS runs a distributed map, but knows neither `ItemBatcher` nor `ResultWriter`. So a batch has one object here,
//! made by an `ItemSelector` in the place of the batcher, and what the states answer stays in the execution.

use std::process::{Output, Stdio};

use super::{
    emulator::{LAKE, RAW},
    on_aws::{OnAws, ended, run, said, signal},
};
use crate::{
    harness::{
        Value, eventually, gunzip, json,
        lambda::{make_mapped, mapped as lambda, of_the_guide as guides},
    },
    template::reader::{Template, with_names},
};

const ACCOUNT: &str = "000000000000";

/// Makes the template's state machine, with a batch of one object in the place of the batcher.
fn make_machine(aws: &OnAws) {
    let template = Template::read();
    let names = [("AWS::Partition", "aws"), ("RawBucket", RAW)];
    let mut definition = with_names(&template.properties("MapMachine")["Definition"], &names);
    let map = definition["States"]["Objects"].as_object_mut().unwrap();
    let batcher = map.remove("ItemBatcher").unwrap();
    let one = json!({"BatchInput": batcher["BatchInput"], "Items.$": "States.Array($$.Map.Item.Value)"});
    map.insert("ItemSelector".to_owned(), one);
    let machine = json!({
        "name": "weir-map", "definition": definition.to_string(),
        "roleArn": format!("arn:aws:iam::{ACCOUNT}:role/map"),
    });
    let made = aws.emulator.call("AWSStepFunctions.CreateStateMachine", &machine);
    assert_eq!(made["stateMachineArn"], format!("arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:weir-map"));
}

/// Clicks of two users in three hours, filed; returns those of ann, in the order of the objects.
fn filed(aws: &OnAws) -> Vec<(String, String)> {
    let now = weir_core::Clock::now(&weir_core::SystemClock).millis();
    let server = aws.serve(&[]);
    for who in ["ann", "bob"] {
        let credentials = aws.user(who);
        for hour in 0..3 {
            let click = |n: u64| {
                json!({"event_type": "button_click", "session_id": who, "button_id": format!("{who}-{hour}-{n}"),
                       "occurred_at": now - hour * 3_600_000})
            };
            let clicks: Value = (0..2).map(click).collect();
            assert_eq!(server.post(&credentials, "/events", clicks.to_string()).status, 200);
        }
    }
    aws.output(&["replay"]);
    let objects = aws.objects(LAKE, "username=ann/button_click/");
    objects.into_iter().map(|(key, bytes)| (key, gunzip(&bytes))).collect()
}

/// The buttons of an object's lines.
fn buttons(lines: &str) -> String {
    let button =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["button_id"].as_str().unwrap().to_owned();
    lines.lines().map(|line| button(line) + "\n").collect()
}

fn map(aws: &OnAws, options: &[&str]) -> Output {
    aws.run(&[&["map"], options, &["--type", "button_click", "--user", "ann"]].concat())
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn results_are_printed_in_the_order_of_the_objects_and_an_object_that_fails_is_named() {
    let aws = OnAws::start();
    let objects = filed(&aws);
    assert!(objects.len() >= 3, "{objects:?}");
    make_mapped(&aws.emulator.endpoint, "buttons", &guides());
    aws.output(&["function", "add", "buttons", "--lambda", &lambda("buttons")]);
    // Without WithMap there is no state machine.
    let output = map(&aws, &["buttons"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("deploy it with the parameter WithMap=true"), "{}", said(&output));

    make_machine(&aws);
    let all: String = objects.iter().map(|(_, lines)| buttons(lines)).collect();
    let output = map(&aws, &["buttons"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(printed(&output), all);
    assert!(said(&output).contains(&format!("{} objects were mapped", objects.len())), "{}", said(&output));
    let none = aws.run(&["map", "buttons", "--type", "page_view", "--user", "ann"]);
    assert!(none.status.success() && none.stdout.is_empty(), "{}", said(&none));
    // What passes through the states are pointers.
    let items = aws.objects(RAW, "map-items/");
    let first: Value = serde_json::from_slice(items.values().next_back().unwrap()).unwrap();
    let pointers: Vec<&str> =
        first.as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(pointers, objects.iter().map(|(key, _)| key).collect::<Vec<_>>());

    // Of days without JSON nothing is mapped, and that is said.
    let of_type = json!({"line": "weir_line", "columns": [], "files": [], "repeat_files": [], "rows": 1, "repeats": 0, "bytes": 1});
    let generation = json!({"number": 1, "sealed_at": 1, "objects": 1, "json_expired": true, "json_left": false,
        "types": {"button_click": of_type}});
    let manifest = json!({"weir_sealed": 1, "sealed_until": "2020-01-02", "days": {"2020-01-01": generation}, "replaced": []});
    aws.put(LAKE, "sealed/manifest.json", manifest.to_string().as_bytes());
    let of_the_rest = map(&aws, &["buttons"]);
    assert_eq!(printed(&of_the_rest), all);
    let told = said(&of_the_rest);
    assert!(told.contains("the JSON of 1 day was removed (LakeJsonRetentionDays)"), "{told}");

    // The results, as one input to another Lambda, which prints what the same function prints on one machine.
    let tally = guides().replace(
        "result = \"\".join(json.loads(line)[\"button_id\"] + \"\\n\" for line in lines)",
        "result = \"\".join(f\"{line.decode()} of {len(lines)}\\n\" for line in lines)",
    );
    assert!(tally.contains(" of {len(lines)}"), "{tally}");
    make_mapped(&aws.emulator.endpoint, "tally", &tally);
    aws.output(&["function", "add", "tally", "--lambda", &lambda("tally")]);
    let reduced = map(&aws, &["buttons", "--reduce", "tally"]);
    assert!(reduced.status.success(), "{}", said(&reduced));
    let number = all.lines().count();
    assert_eq!(
        printed(&reduced),
        all.lines().map(|line| format!("{line} of {number}\n")).collect::<String>()
    );
    // As on one machine, a function that gets nothing is run, too.
    let nothing = aws.run(&["map", "buttons", "--type", "page_view", "--user", "ann", "--reduce", "tally"]);
    assert!(nothing.status.success() && nothing.stdout.is_empty(), "{}", said(&nothing));
    assert!(aws.objects(RAW, "map-results/").keys().filter(|key| key.ends_with("/reduced")).count() == 2);

    // One fails at the second object, one says nothing of it, and one is stopped.
    let second = &objects[1].0;
    let fails = guides().replace(
        "for item in",
        &format!("assert event[\"Items\"][0][\"key\"] != \"{second}\"\n    for item in"),
    );
    make_mapped(&aws.emulator.endpoint, "fails", &fails);
    let forgets = guides()
        .replace("event[\"Items\"]", &format!("[i for i in event[\"Items\"] if i[\"key\"] != \"{second}\"]"));
    make_mapped(&aws.emulator.endpoint, "forgets", &forgets);
    for (name, why) in [("fails", "could not be mapped: "), ("forgets", "the function put no result")] {
        aws.output(&["function", "add", name, "--lambda", &lambda(name)]);
        let output = map(&aws, &[name]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(&format!("{second} could not be mapped: ")), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
        assert_eq!(printed(&output), buttons(&objects[0].1), "the object before it is printed");
    }
    make_mapped(
        &aws.emulator.endpoint,
        "sleeps",
        "import time\ndef handler(event, context):\n    time.sleep(30)\n",
    );
    aws.output(&["function", "add", "sleeps", "--lambda", &lambda("sleeps")]);
    let machine =
        json!({"stateMachineArn": format!("arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:weir-map")});
    let executions = |status: &str| {
        let all = aws.emulator.call("AWSStepFunctions.ListExecutions", &machine);
        all["executions"].as_array().unwrap().iter().filter(|one| one["status"] == status).count()
    };
    let mut command = aws.command(&["map", "sleeps", "--type", "button_click", "--user", "ann"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it runs", || executions("RUNNING") == 1);
    signal(&running, "-INT");
    let output = ended(running);
    assert_eq!(output.status.code(), Some(130));
    assert!(said(&output).contains("the run was stopped"), "{}", said(&output));
    eventually("it was stopped", || executions("ABORTED") == 1 && executions("RUNNING") == 0);
}

#[test]
fn functions_are_the_lambdas_that_the_stack_may_invoke() {
    let aws = OnAws::start();
    aws.output(&["function", "add", "b", "--lambda", &lambda("b")]);
    aws.output(&["function", "add", "a", "--lambda", &lambda("a:live")]);
    let listed = aws.output(&["function", "list"]);
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1..], [vec!["a", &*lambda("a:live")], vec!["b", &*lambda("b")]]);
    aws.output(&["function", "remove", "b"]);
    for (arguments, why) in [
        (&["function", "add", "a", "--lambda", &lambda("c")][..], "there is a function a already"),
        (&["function", "add", "x", "--lambda", "weir-map-x"], "a Lambda's ARN is like"),
        (
            &["function", "add", "x", "--lambda", "arn:aws:lambda:us-east-1:000000000000:function:x"],
            "begin with weir-map-",
        ),
        (&["function", "add", "x", "--", "cat"], "a function is a Lambda"),
        (&["function", "remove", "b"], "there is no function b; there is a"),
        (&["map", "b", "--type", "button_click"], "there is no function b; there is a"),
        (&["map", "a", "--type", "button_click", "--reduce", "b"], "there is no function b; there is a"),
    ] {
        let output = aws.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said(&output).contains(why), "{arguments:?}: {}", said(&output));
    }
    let own = run(aws.command(&["map", "a", "--type", "button_click"]).env("WEIR_BUCKET_PER_USER", "true"));
    assert!(said(&own).contains("with BucketPerUser, use Athena"), "{}", said(&own));
}
