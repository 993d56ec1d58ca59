//! The `weir` command keeps its promises on AWS too: `--engine aws`, against a local AWS that speaks the real protocols.
//!
//! What the local AWS does not do is said where it is missed. In general: its stream delivers at once, one object for
//! each record and without gzip, and refuses no record; `crates/aws/tests` has such faults.
#![cfg(feature = "aws")]
#![allow(unreachable_pub, reason = "modules of one test")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "aws_engine/audit.rs"]
mod audit;
#[path = "aws_engine/counts.rs"]
mod counts;
#[path = "../crates/aws/tests/emulator/process.rs"]
mod emulator;
mod harness;
#[path = "aws_engine/on_aws.rs"]
mod on_aws;
#[path = "aws_engine/query.rs"]
mod query;
#[path = "aws_engine/replay.rs"]
mod replay;
#[path = "aws_engine/scripted.rs"]
mod scripted;
#[path = "aws_engine/send.rs"]
mod send;
#[path = "aws_engine/serve.rs"]
mod serve;
#[path = "aws_engine/tail.rs"]
mod tail;
#[path = "aws_engine/user.rs"]
mod user;

use on_aws::{OnAws, run, said};

#[test]
fn a_variable_that_is_missing_is_named() {
    let aws = OnAws::start();
    for (arguments, variables) in [
        (&["serve"][..], &["WEIR_STREAM", "WEIR_COUNTS_TABLE", "WEIR_USERS_TABLE", "WEIR_IDS_TABLE"][..]),
        (&["user", "list"], &["WEIR_USERS_TABLE"]),
        (&["audit"], &["WEIR_RAW_BUCKET", "WEIR_LAKE_BUCKET", "WEIR_COUNTS_TABLE"]),
        (&["replay"], &["WEIR_RAW_BUCKET", "WEIR_LAKE_BUCKET", "WEIR_COUNTS_TABLE"]),
        (&["counts"], &["WEIR_COUNTS_TABLE"]),
        (&["tail"], &["WEIR_RAW_BUCKET"]),
        (&["query", "SELECT 1"], &["WEIR_WORKGROUP", "WEIR_GLUE_DATABASE"]),
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
