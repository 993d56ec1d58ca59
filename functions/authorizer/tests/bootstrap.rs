//! Runs the real program on a Runtime API, with a table that holds one user.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weir_core::{
    SeededRandom, Timestamp,
    users::{Scope, generate},
};
use weir_lambda::testing::{Call, Function, Outcome, StubAws};

const PROGRAM: &str = env!("CARGO_BIN_EXE_authorizer");
const METHOD: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/counts";

/// The function; the table, which can fail; and ethan's `Authorization` header.
struct Setup {
    function: Function,
    table: StubAws,
    is_down: Arc<AtomicBool>,
    header: String,
}

fn setup() -> Setup {
    let created = Timestamp::saturating(1_795_179_605_007);
    let (key, secret) = generate("web".parse().unwrap(), Scope::Write, created, &SeededRandom::new(1));
    let keys = serde_json::to_string(&[key]).unwrap();
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let table = StubAws::start(move |call: &Call| {
        assert_eq!(call.target, "DynamoDB_20120810.GetItem");
        let asked = call.json();
        assert_eq!(asked["TableName"], "weir-users");
        if down.load(Ordering::SeqCst) {
            return (400, br#"{"__type":"com.amazonaws.dynamodb#ResourceNotFoundException"}"#.to_vec());
        }
        let answer = if asked["Key"]["username"]["S"] == "ethan" {
            json!({"Item": {"username": {"S": "ethan"}, "version": {"N": "1"}, "access_keys": {"S": keys}}})
        } else {
            json!({})
        };
        (200, answer.to_string().into_bytes())
    });
    let function = Function::start(
        PROGRAM,
        &[("WEIR_USERS_TABLE", "weir-users"), ("AWS_ENDPOINT_URL", &table.url()), ("WEIR_LOG", "trace")],
    );
    Setup { function, table, is_down, header: basic("ethan", secret.reveal()) }
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{secret}")))
}

fn rest_token(header: &str) -> Value {
    json!({"type": "TOKEN", "authorizationToken": header, "methodArn": METHOD})
}

fn rest_request(header: &str) -> Value {
    json!({"type": "REQUEST", "methodArn": METHOD, "headers": {"Authorization": header}, "requestContext": {}})
}

fn http(header: &str) -> Value {
    json!({
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": METHOD,
        "identitySource": [header],
        "headers": {"authorization": header},
        "requestContext": {"stage": "$default"},
    })
}

#[test]
fn a_missing_variable_is_named() {
    let mut function = Function::start(PROGRAM, &[]);
    let message = "the environment variable WEIR_USERS_TABLE is not set";
    let told = json!({"errorType": "Weir.CannotStart", "errorMessage": message});
    assert_eq!(function.outcome(), Outcome::CannotStart(told));
    assert!(!function.succeeded());
    let line = function.logged(|line| line["level"] == "ERROR");
    assert_eq!((&line["message"], &line["error"]), (&json!("the function cannot start"), &json!(message)));
}

#[test]
fn every_shape_is_answered_in_its_form() {
    let Setup { mut function, table, header, .. } = setup();
    let context = json!({"username": "ethan", "scope": "write", "access_key": "web"});
    for event in [rest_token(&header), rest_request(&header)] {
        let answer = function.answer(event);
        assert_eq!((&answer["principalId"], &answer["context"]), (&json!("ethan"), &context));
        assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Allow");
    }
    assert_eq!(function.answer(http(&header)), json!({"isAuthorized": true, "context": context}));
    assert_eq!(table.calls().len(), 1, "verified credentials are believed for a while");

    let wrong = basic("ethan", "weir_wrong");
    assert_eq!(function.answer(http(&wrong)), json!({"isAuthorized": false}));
    let denied = function.answer(rest_request(&basic("nobody", "weir_wrong")));
    assert_eq!(denied["policyDocument"]["Statement"][0]["Effect"], "Deny");

    let told = function.told();
    for secret in [&header, &wrong] {
        assert!(!told.contains(secret.trim_start_matches("Basic ")), "a secret is in the log: {told}");
    }
}

#[test]
fn without_credentials_a_rest_api_gets_what_makes_a_401_and_no_error_is_logged() {
    let Setup { mut function, table: _table, .. } = setup();
    let Outcome::Error(error) = function.invoke(json!({"type": "REQUEST", "methodArn": METHOD})) else {
        panic!()
    };
    assert_eq!(error["errorMessage"], "Unauthorized");
    assert!(!function.told().contains("ERROR"), "{}", function.told());
}

#[test]
fn a_table_that_cannot_be_asked_fails_the_invocation_and_the_next_may_succeed() {
    let Setup { mut function, table: _table, is_down, header } = setup();
    is_down.store(true, Ordering::SeqCst);
    let Outcome::Error(error) = function.invoke(http(&header)) else { panic!() };
    assert_ne!(error["errorMessage"], "Unauthorized");
    let line = function.logged(|line| line["level"] == "ERROR");
    assert_eq!(
        (&line["message"], &line["span"]["request_id"]),
        (&json!("credentials cannot be checked"), &json!("request-1"))
    );

    is_down.store(false, Ordering::SeqCst);
    assert_eq!(function.answer(http(&header))["isAuthorized"], true);
}
