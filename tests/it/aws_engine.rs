//! The `weir` command keeps its promises on AWS too: `--engine aws`, against a local AWS that speaks the real protocols.
//!
//! What the local AWS does not do is said where it is missed. In general: its stream delivers at once, one object for
//! each record and without gzip, and refuses no record; `crates/aws/tests` has such faults.

mod answers;
mod audit;
mod cdn;
mod counts;
#[path = "../../crates/aws/tests/emulator/process.rs"]
mod emulator;
mod forget;
mod latest;
mod map;
mod nodes;
mod on_aws;
mod query;
mod replay;
mod scripted;
mod send;
mod serve;
mod tail;
mod user;

use on_aws::{OnAws, run, said};

#[test]
fn a_variable_that_is_missing_is_named() {
    let aws = OnAws::start();
    for (arguments, variables) in [
        (
            &["serve"][..],
            &[
                "WEIR_STREAM",
                "WEIR_COUNTS_TABLE",
                "WEIR_USERS_TABLE",
                "WEIR_IDS_TABLE",
                "WEIR_LATEST_TABLE",
                "WEIR_RAW_BUCKET",
                "WEIR_LAKE_BUCKET",
            ][..],
        ),
        (&["user", "list"], &["WEIR_USERS_TABLE"]),
        (&["audit"], &["WEIR_RAW_BUCKET", "WEIR_LAKE_BUCKET", "WEIR_COUNTS_TABLE"]),
        (&["replay"], &["WEIR_RAW_BUCKET", "WEIR_LAKE_BUCKET", "WEIR_COUNTS_TABLE"]),
        (&["counts"], &["WEIR_COUNTS_TABLE"]),
        (&["tail"], &["WEIR_RAW_BUCKET"]),
        (
            &["map", "f", "--type", "button_click"],
            &["WEIR_MAP_MACHINE", "WEIR_RAW_BUCKET", "WEIR_LAKE_BUCKET"],
        ),
        (&["query", "SELECT 1"], &["WEIR_WORKGROUP", "WEIR_GLUE_DATABASE"]),
        (&["publish"], &["WEIR_LAKE_BUCKET", "WEIR_GLUE_DATABASE", "WEIR_USERS_TABLE"]),
    ] {
        for variable in variables {
            for command in
                [aws.command(arguments).env_remove(variable), aws.command(arguments).env(variable, "")]
            {
                let output = run(command);
                assert_eq!(output.status.code(), Some(1), "{arguments:?} without {variable}");
                let expected = format!("weir: the engine on AWS needs the variable {variable}: ");
                assert!(said(&output).starts_with(&expected), "{}", said(&output));
            }
        }
    }
    for (variable, wrong) in [("WEIR_COUNTER_SHARDS", "0"), ("WEIR_BUCKET_PER_USER", "yes")] {
        let output = run(aws.command(&["replay"]).env(variable, wrong));
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).starts_with(&format!("weir: {variable} is ")), "{}", said(&output));
    }
}
