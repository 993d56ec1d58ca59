//! `weir user --engine aws`: accounts in a table.

use std::{io::Write, process::Stdio};

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
fn a_failure_is_told_in_one_line() {
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
