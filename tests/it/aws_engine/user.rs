//! `weir user --engine aws`: accounts in a table.

use std::{io::Write, process::Stdio};

use weir_lambda::testing::StubAws;

use super::{
    emulator::USERS,
    on_aws::{OnAws, ended, run, said},
};
use crate::harness::json;

#[test]
fn accounts_are_made_listed_changed_and_removed() {
    let aws = OnAws::start();
    let added = aws.run(&["user", "add", "ann"]);
    let credentials = String::from_utf8(added.stdout.clone()).unwrap();
    assert!(credentials.starts_with("ann:weir_") && credentials.lines().count() == 1, "{credentials}");
    assert_eq!(said(&added), "ann has an account, labelled default, with the scope both.\n");
    aws.output(&["user", "add", "bob", "--label", "browser", "--scope", "write"]);
    aws.output(&["user", "add", "bob", "--label", "board", "--scope", "read"]);
    let rows = |list: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        list.lines().skip(1).map(words).collect()
    };
    let list = aws.output(&["user", "list"]);
    assert_eq!(
        rows(&list),
        ["ann default both generated", "bob browser write generated", "bob board read generated"]
    );

    let again = aws.run(&["user", "add", "ann"]);
    assert!(!again.status.success() && again.stdout.is_empty(), "{}", said(&again));
    let rotated = aws.output(&["user", "rotate", "ann", "--keep-old", "1h"]);
    assert!(rotated.starts_with("ann:weir_"), "{rotated}");
    assert_ne!(rotated, credentials);
    assert_eq!(rows(&aws.output(&["user", "list"])).len(), 4, "the old secret is good for an hour");

    aws.output(&["user", "remove", "bob", "--label", "browser"]);
    aws.output(&["user", "remove", "ann"]);
    assert_eq!(rows(&aws.output(&["user", "list"])), ["bob board read generated"]);
    for arguments in [&["user", "remove", "ann"][..], &["user", "rotate", "ann"]] {
        let output = aws.run(arguments);
        assert!(
            !output.status.success() && said(&output) == "weir: there is no user ann; there is bob\n",
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_chosen_password_is_taken_from_standard_input_and_no_secret_is_stored() {
    let aws = OnAws::start();
    let generated = aws.user("ann");
    let mut child = aws
        .command(&["user", "add", "bob", "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("correct horse battery\n".as_bytes()).unwrap();
    let output = ended(child);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");

    let server = aws.serve(&[]);
    assert_eq!(server.get("bob:correct horse battery", "/counts").status, 200);
    assert_eq!(server.get("bob:correct horse", "/counts").status, 401);
    assert_eq!(server.get(&generated, "/counts").status, 200);

    let table = aws.emulator.call("DynamoDB_20120810.Scan", &json!({"TableName": USERS})).to_string();
    let secret = generated.split_once(':').unwrap().1;
    assert!(table.contains("ann") && table.contains("bob"), "{table}");
    assert!(!table.contains(secret) && !table.contains("battery"), "a secret is in the table");
}

#[test]
fn a_failure_is_reported_in_one_line() {
    let aws = OnAws::start();
    for (arguments, what) in [
        (&["user", "list"][..], "listing users"),
        (&["user", "add", "ann"], "reading a user"),
        (&["user", "remove", "ann"], "removing a user"),
    ] {
        let output = run(aws.command(arguments).env("WEIR_USERS_TABLE", "no-such-table"));
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("weir: {what} is broken: ResourceNotFoundException: Requested resource not found");
        assert!(said(&output).starts_with(&expected), "{}", said(&output));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
        assert!(said(&output).len() < 200, "{}", said(&output));
    }
}

#[test]
fn a_removed_key_is_cleared_from_the_cache_of_api_gateway() {
    let aws = OnAws::start();
    let gateway = StubAws::start(|_| (204, Vec::new()));
    let on_gateway = |arguments: &[&str]| {
        let mut command = aws.command(arguments);
        command.env("WEIR_API_ID", "a1b2c3d4e5").env("AWS_ENDPOINT_URL_APIGATEWAYV2", gateway.url());
        let output = run(command.env("AWS_SESSION_TOKEN", "session"));
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    on_gateway(&["user", "add", "ann"]);
    on_gateway(&["user", "add", "ann", "--label", "browser"]);
    assert_eq!(gateway.calls().len(), 0, "a new key ends no other");
    for (done, arguments) in [
        &["user", "rotate", "ann", "--label", "default"][..],
        &["user", "remove", "ann", "--label", "browser"],
        &["user", "remove", "ann"],
    ]
    .into_iter()
    .enumerate()
    {
        let told = on_gateway(arguments);
        assert!(told.contains("API Gateway's cached grants are cleared. "), "{told}");
        let calls = gateway.calls();
        assert_eq!(calls.len(), done + 1);
        let call = calls.last().unwrap();
        let request = (call.method.as_str(), call.path.as_str(), call.body.len());
        assert_eq!(request, ("DELETE", "/v2/apis/a1b2c3d4e5/stages/%24default/cache/authorizers", 0));
        let signature = call.headers["authorization"].to_str().unwrap();
        let begin = "AWS4-HMAC-SHA256 Credential=test/";
        let signed = "/us-east-1/apigateway/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=";
        assert!(signature.starts_with(begin) && signature.contains(signed), "{signature}");
        assert_eq!(call.headers["x-amz-security-token"], "session");
    }
}

#[test]
fn a_cache_that_cannot_be_cleared_is_reported_with_its_time_and_the_remedy() {
    let aws = OnAws::start();
    let refusing = StubAws::start(|_| (403, br#"{"message":"User is not authorized\nto do this"}"#.to_vec()));
    for (api, endpoint, why) in [
        (None, refusing.url(), "the variable WEIR_API_ID is not set"),
        (Some("a1b2c3d4e5"), refusing.url(), "403 Forbidden: User is not authorized"),
        (Some("a1b2c3d4e5"), "http://127.0.0.1:1".to_owned(), "efused"),
        (Some("../../v2/apis"), refusing.url(), "WEIR_API_ID is not an API's id"),
    ] {
        aws.output(&["user", "add", "ann"]);
        let mut command = aws.command(&["user", "remove", "ann"]);
        command.env("AWS_ENDPOINT_URL_APIGATEWAYV2", endpoint);
        if let Some(api) = api {
            command.env("WEIR_API_ID", api);
        }
        let output = run(&mut command);
        assert!(output.status.success(), "the user is removed all the same: {}", said(&output));
        let told = said(&output);
        let expected =
            [why, "CredentialsCachedSeconds (300 unless set) and a minute", "reset-authorizers-cache"];
        assert!(expected.iter().all(|part| told.contains(part)), "{told}");
        assert_eq!(told.lines().count(), 2, "{told}");
        assert_eq!(told.contains("--api-id a1b2c3d4e5"), api == Some("a1b2c3d4e5"), "{told}");
    }
    assert_eq!(refusing.calls().len(), 1);
}
