//! `./deploy`: what it does the first time, and what it says where something is missing.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use weir_lambda::testing::{Call, StubAws};

use super::{
    local_aws::LocalAws,
    sam,
    stack::{FIRST_USER, Stack},
};
use crate::harness::{json, try_request};

#[test]
fn one_command_deploys_adds_a_user_sends_an_event_and_prints_lines_that_work() {
    let weir = Stack::shared();
    let credentials = weir.printed.split("CREDENTIALS='").nth(1).unwrap().split('\'').next().unwrap();
    assert!(credentials.starts_with(&format!("{FIRST_USER}:")), "{}", weir.printed);
    assert_eq!(weir.get(credentials, "/button/click/count?button_id=abc").json(), json!({"count": 1}));
    let line = weir.printed.lines().find(|line| line.trim_start().starts_with("curl") && line.contains("-d"));
    let output = std::process::Command::new("sh")
        .args(["-euc", line.unwrap()])
        .env("CREDENTIALS", credentials)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), r#"{"message":"Received"}"#);
    assert_eq!(weir.get(credentials, "/button/click/count?button_id=abc").json(), json!({"count": 2}));
}

#[test]
fn the_check_of_an_account_sends_by_each_way_reports_each_point_and_leaves_nothing_behind() {
    let weir = Stack::shared();
    let printed = sam::check_aws(&weir.aws);
    for way in [
        "typed route",
        "array",
        "NDJSON",
        "gzip as octet-stream",
        "own event_id",
        "the same again",
        "weir send",
    ] {
        assert!(printed.contains(&format!("  ok {way}\n")), "{way}: {printed}");
    }
    assert!(printed.contains("  ok 14 events are counted, stored, filed and settled\n"), "{printed}");
    for letter in 'a'..='l' {
        assert!(printed.contains(&format!("\n  {letter}) ")), "{letter}: {printed}");
    }
    // The local AWS answers these.
    let point =
        |letter: char| printed.lines().find(|line| line.starts_with(&format!("  {letter}) "))).unwrap();
    assert!(point('c').contains("415 urn:weir:problem:compressed-as-text"), "{}", point('c'));
    assert!(point('d').contains("answered 422"), "{}", point('d'));
    assert!(point('f').contains("year(current_date): scanned"), "{}", point('f'));
    assert!(point('g').contains("2 of 2 rows"), "{}", point('g'));
    assert!(!printed.contains("FAILED"), "{printed}");
    assert!(printed.contains("its buckets and its tables are gone"), "{printed}");
    let stack = printed.split("Deleting ").nth(1).unwrap().lines().next().unwrap();
    let left = weir.aws.call("DynamoDB_20120810.ListTables", &json!({})).to_string();
    assert!(!left.contains(stack), "{left}");
}

#[test]
fn whatever_is_missing_is_named_with_what_to_do_before_anything_is_made() {
    let only = |folder: &Path| format!("{}:/usr/bin:/bin", folder.display());
    let empty = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = empty.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };

    let said = sam::refused(|check| _ = check.env("PATH", only(Path::new("/nonexistent"))));
    assert!(said.contains("Rust from rustup is needed"), "{said}");

    // A rustup that has no toolchain.
    program("cargo", "exit 1");
    program("rustup", "exit 0");
    let said = sam::refused(|check| _ = check.env("PATH", only(empty.path())));
    assert!(said.contains("rustup target add "), "{said}");

    // Tools of one's own, one after the other too old or not there.
    let tools = tempfile::tempdir().unwrap();
    let bin = tools.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deploy/bin/python3");
    fs::write(
        bin.join("python3"),
        format!("#!/bin/sh\n[ \"$1\" != -m ] || exit 1\nexec {} \"$@\"\n", real.display()),
    )
    .unwrap();
    fs::set_permissions(bin.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    let with_tools = || sam::refused(|check| _ = check.env("WEIR_DEPLOY_TOOLS", tools.path()));
    let tool = |name: &str, text: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    assert!(with_tools().contains("the SAM CLI is not installed"));
    tool("sam", "exit 0");
    tool("cargo-lambda", "exit 1");
    assert!(with_tools().contains("cargo-lambda is not installed"));
    tool("cargo-lambda", "echo cargo-lambda 1.9.1");
    assert!(with_tools().contains("cargo-lambda is 1.9.1, and 1.9.2 or later is needed"));
    tool("cargo-lambda", "echo cargo-lambda 1.10.0");
    if which("zig").is_none() {
        assert!(with_tools().contains("zig is not installed"));
    }

    let said = sam::refused(|check| _ = check.env_remove("AWS_REGION").env_remove("AWS_DEFAULT_REGION"));
    assert!(said.contains("no region is configured"), "{said}");
    let said = sam::refused(|check| {
        check.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        check.env("AWS_EC2_METADATA_DISABLED", "true");
    });
    assert!(said.contains("no AWS credentials are configured"), "{said}");
    let said = sam::refused(|check| {
        let local = &Stack::shared().aws.endpoint;
        check.env("AWS_ENDPOINT_URL", local).args(["--stack-name", "a-name-of-more-than-thirty-chars"]);
    });
    assert!(said.contains("at most 30"), "{said}");
}

#[test]
fn an_account_with_few_functions_at_once_gets_a_warning_and_a_failed_first_deployment_the_way_to_go_on() {
    let account = |at_once: u64, stack: &'static str| {
        StubAws::start(move |call: &Call| {
            let asked = String::from_utf8_lossy(&call.body).into_owned();
            if call.path.ends_with("/account-settings/") || call.path.ends_with("/account-settings") {
                return (
                    200,
                    json!({"AccountLimit": {"ConcurrentExecutions": at_once}}).to_string().into_bytes(),
                );
            }
            let answer = if asked.contains("GetCallerIdentity") {
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>\
                 </GetCallerIdentityResult></GetCallerIdentityResponse>"
                    .to_owned()
            } else {
                format!(
                    "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>weir</StackName>\
                     <CreationTime>2026-11-27T00:00:00Z</CreationTime><StackStatus>{stack}</StackStatus></member>\
                     </Stacks></DescribeStacksResult></DescribeStacksResponse>"
                )
            };
            (200, answer.into_bytes())
        })
    };
    let few = account(10, "CREATE_COMPLETE");
    let printed = sam::checked(|check| _ = check.env("AWS_ENDPOINT_URL", few.url()));
    assert!(printed.contains("only 10 functions may run at once"), "{printed}");
    let many = account(1_000, "ROLLBACK_COMPLETE");
    let said = sam::refused(|check| _ = check.env("AWS_ENDPOINT_URL", many.url()));
    assert!(said.contains("ROLLBACK_COMPLETE") && said.contains("sam delete --stack-name weir"), "{said}");
}

/// The fault is a name that is taken: a log group's, a queue's and a bucket's, as by another project of the account. The local AWS
/// takes back what it had made under any deletion policy; that AWS does, too, is what `tests/it/template/kept.rs` reads.
#[test]
fn a_first_deployment_that_fails_half_way_is_removed_and_made_again_under_the_same_name() {
    // Its functions are built by then.
    let _ = Stack::shared();
    let aws = LocalAws::start();
    let bucket = "/weir-lake-000000000000-us-east-1";
    let change = |method: &str, path: &str| {
        let answer = try_request(&aws.endpoint, method, None, path, &[], b"").unwrap();
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
    };
    aws.call("Logs_20140328.CreateLogGroup", &json!({"logGroupName": "/weir/weir/fan-out"}));
    aws.call("AmazonSQS.CreateQueue", &json!({"QueueName": "weir-raw"}));
    change("PUT", bucket);
    change("PUT", &format!("{bucket}/taken"));

    let said = sam::fail_to_deploy(&aws);
    assert!(said.contains("ROLLBACK_COMPLETE"), "{said}");
    let tables = aws.call("DynamoDB_20120810.ListTables", &json!({}));
    assert_eq!(tables["TableNames"], json!([]), "what is kept was taken back, as it is empty");
    let refused = sam::refused(|check| _ = check.env("AWS_ENDPOINT_URL", &aws.endpoint));
    assert!(refused.contains("sam delete --stack-name weir"), "{refused}");

    sam::delete(&aws);
    change("DELETE", &format!("{bucket}/taken"));
    change("DELETE", bucket);
    aws.call("Logs_20140328.DeleteLogGroup", &json!({"logGroupName": "/weir/weir/fan-out"}));
    let queues = aws.call("AmazonSQS.ListQueues", &json!({}));
    for url in queues["QueueUrls"].as_array().into_iter().flatten() {
        aws.call("AmazonSQS.DeleteQueue", &json!({"QueueUrl": url}));
    }
    let said = sam::deploy(&aws);
    assert!(said.contains("Successfully created/updated stack"), "{said}");
}

fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists())
}
