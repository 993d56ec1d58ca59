//! What Lambda and CloudWatch see of a function that starts, answers, fails and panics. The function is this very
//! program: it is one if Lambda runs it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{env, process::ExitCode};

use serde_json::{Value, json};
use weir_lambda::testing::{Function, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return weir_lambda::run(|environment| {
            environment.text("NEEDED")?;
            Ok(answer)
        })
        .await;
    }
    for promise in [
        what_a_handler_returns_is_the_answer_or_the_error,
        a_panic_is_an_error_of_its_invocation_only,
        a_function_that_cannot_start_says_why_and_fails,
    ] {
        promise();
    }
    ExitCode::SUCCESS
}

async fn answer(event: Value) -> Result<Value, String> {
    // Of what is not Weir's, only warnings are logged.
    tracing::info!(target: "collector", "asked");
    match event["do"].as_str() {
        Some("fail") => Err("it failed".to_owned()),
        Some("panic") => panic!("it panicked"),
        _ => Ok(json!({"answer": event})),
    }
}

fn function(variables: &[(&str, &str)]) -> Function {
    Function::start(env::current_exe().unwrap().to_str().unwrap(), variables)
}

fn error(outcome: Outcome) -> String {
    match outcome {
        Outcome::Error(error) => error["errorMessage"].as_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn what_a_handler_returns_is_the_answer_or_the_error() {
    let mut function = function(&[("NEEDED", "x")]);
    assert_eq!(function.answer(json!("x")), json!({"answer": "x"}));
    assert_eq!(error(function.invoke(json!({"do": "fail"}))), "it failed");
    function.logged(|line| line["message"] == "asked" && line["span"]["request_id"] == "request-2");
    assert!(
        !function.told().contains("ERROR"),
        "a handler says itself what is an error: {}",
        function.told()
    );
}

fn a_panic_is_an_error_of_its_invocation_only() {
    let mut function = function(&[("NEEDED", "x"), ("WEIR_LOG", "error")]);
    assert_eq!(error(function.invoke(json!({"do": "panic"}))), "Lambda panicked: it panicked");
    let line = function.logged(|_| true);
    assert_eq!((&line["level"], &line["message"]), (&json!("ERROR"), &json!("it panicked")));
    assert_eq!(line["span"]["request_id"], "request-1");
    assert!(line["location"].as_str().unwrap().contains("start.rs:"), "{line}");
    assert_eq!(function.answer(json!(1)), json!({"answer": 1}));
}

fn a_function_that_cannot_start_says_why_and_fails() {
    let mut function = function(&[("WEIR_LOG", "collector=loud")]);
    let message = "the environment variable NEEDED is not set";
    let told = json!({"errorType": "Weir.CannotStart", "errorMessage": message});
    assert_eq!(function.outcome(), Outcome::CannotStart(told));
    assert!(!function.succeeded());
    function.logged(|line| line["level"] == "ERROR" && line["error"] == message);
    function.logged(|line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("WEIR_LOG cannot be read"))
    });
}
