//! The real program on a Runtime API as it seals days, with a local AWS and a stand-in for Athena.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../../crates/aws/tests/athena/mod.rs"]
mod athena;
#[path = "../../../crates/aws/tests/emulator/process.rs"]
mod emulator;

use std::{io::Write, time::Duration};

use athena::StandIn;
use emulator::{COUNTS, LAKE, LATEST, Process, RAW};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use weir_core::{BatchKey, Clock, Day, Partition, SystemClock};
use weir_lambda::testing::{Function, Outcome};

const PROGRAM: &str = env!("CARGO_BIN_EXE_publisher");

const VARIABLES: [(&str, &str); 8] = [
    ("WEIR_TASK", "seal"),
    ("WEIR_LAKE_BUCKET", LAKE),
    ("WEIR_RAW_BUCKET", RAW),
    ("WEIR_COUNTS_TABLE", COUNTS),
    ("WEIR_LATEST_TABLE", LATEST),
    ("WEIR_WORKGROUP", "weir"),
    ("WEIR_GLUE_DATABASE", "weir"),
    ("WEIR_LOG", "info"),
];

fn night(function: &mut Function) -> Outcome {
    function.invoke_within(json!({"detail-type": "Scheduled Event"}), Duration::from_mins(15))
}

/// Puts an event into the lake and its count into the table, as the fan-out does.
fn file(aws: &Process, day: Day, settled: u64) {
    let hour = day.first_hour();
    let partition =
        Partition { username: "ann".parse().unwrap(), event_type: "button_click".parse().unwrap(), hour };
    let batch = BatchKey::new("raw/a.json.gz").id();
    let event = json!({"username": "ann", "event_type": "button_click", "event_id": "e1",
        "received_at": hour.start().millis(), "time": hour.start().millis(), "session_id": "s", "button_id": "b"});
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    writeln!(gzip, "{event}").unwrap();
    let object = partition.object(&batch).replace('=', "%3D");
    ureq::put(format!("{}/{LAKE}/{object}", aws.endpoint)).send(&gzip.finish().unwrap()[..]).unwrap();
    let hour = format!("hour#{:010}", hour.since_epoch());
    for (pk, sk, n) in [
        ("settled#ann", "type#button_click", settled),
        ("settled#ann#button_click", &hour, settled),
        (&format!("batch#{batch}"), "chunk#0", 1),
    ] {
        let item = json!({"pk": {"S": pk}, "sk": {"S": sk}, "n": {"N": n.to_string()}});
        aws.call("DynamoDB_20120810.PutItem", &json!({"TableName": COUNTS, "Item": item}));
    }
}

fn function(athena: &StandIn) -> Function {
    let more = [("AWS_ENDPOINT_URL", athena.endpoint.as_str())];
    Function::start(PROGRAM, &VARIABLES.into_iter().chain(more).collect::<Vec<_>>())
}

/// Accepts a line of the log with this text in its message. The line may come after the answer.
fn says(text: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["message"].as_str().is_some_and(|message| message.contains(text))
}

#[test]
fn a_missing_variable_and_an_unknown_task_are_named() {
    for (name, _) in &VARIABLES[1..7] {
        let others: Vec<_> = VARIABLES.into_iter().filter(|(other, _)| other != name).collect();
        let mut function = Function::start(PROGRAM, &others);
        let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
        assert_eq!(told["errorMessage"], format!("the environment variable {name} is not set"));
    }
    let mut function = Function::start(PROGRAM, &[("WEIR_TASK", "tidy")]);
    let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
    let told = told["errorMessage"].as_str().unwrap();
    assert!(told.contains("WEIR_TASK") && told.contains("use publish or seal"), "{told}");
}

#[test]
fn a_day_that_is_over_is_sealed_at_night_and_one_that_cannot_be_is_an_error() {
    let aws = Process::start();
    let athena = StandIn::start(&aws.endpoint, LAKE);
    let today = Day::of(SystemClock.now().hour());
    let mut function = function(&athena);
    file(&aws, today.minus(4), 2);
    let Outcome::Error(failed) = night(&mut function) else { panic!("{}", function.told()) };
    let text = failed["errorMessage"].as_str().unwrap();
    assert!(
        text.contains("is not sealed: the lake has 1 of ann's button_click, and 2 were settled"),
        "{text}"
    );
    function.logged(says("days cannot be sealed; queries read what they read before"));

    file(&aws, today.minus(4), 1);
    let until = today.minus(2).to_string();
    let sealed = |days: u64| {
        Outcome::Answer(
            json!({"sealed": days, "sealed_until": until, "is_whole": true, "json_expired_days": 0, "removed_days": 0}),
        )
    };
    assert_eq!(night(&mut function), sealed(1));
    assert_eq!(night(&mut function), sealed(0));
    let manifest = ureq::get(format!("{}/{LAKE}/sealed/manifest.json", aws.endpoint)).call().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.into_body().read_to_vec().unwrap()).unwrap();
    assert_eq!(manifest["days"][today.minus(4).to_string()]["types"]["button_click"]["rows"], 1);
}

#[test]
fn events_that_are_not_kept_any_longer_are_removed_at_night() {
    let aws = Process::start();
    let athena = StandIn::start(&aws.endpoint, LAKE);
    let today = Day::of(SystemClock.now().hour());
    file(&aws, today.minus(4), 1);
    let more = [("AWS_ENDPOINT_URL", athena.endpoint.as_str()), ("WEIR_KEEP_DAYS", "3")];
    let variables: Vec<_> = VARIABLES.into_iter().chain(more).collect();
    let mut function = Function::start(PROGRAM, &variables);
    let removed = json!({"sealed": 0, "sealed_until": today.minus(2).to_string(), "is_whole": true,
        "json_expired_days": 0, "removed_days": 1});
    assert_eq!(night(&mut function), Outcome::Answer(removed));
    function.logged(says("events were removed, as their types are not kept for longer"));
    for name in ["WEIR_KEEP_DAYS", "WEIR_LAKE_JSON_RETENTION_DAYS"] {
        let variables: Vec<_> = VARIABLES.into_iter().chain([(name, "a year")]).collect();
        let Outcome::CannotStart(told) = Function::start(PROGRAM, &variables).outcome() else {
            panic!("{name}")
        };
        assert!(told["errorMessage"].as_str().unwrap().contains(name), "{told}");
    }
}
