//! Starts a function, and hands it its invocations.

use std::{
    any::type_name, env, error::Error, fmt::Display, future::Future, process::ExitCode, time::Duration,
};

use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use lambda_runtime_api_client::{PooledClient, build_request};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Instrument;
use weir_core::{Clock, SystemClock};

use crate::{Environment, logs};

/// Why a function cannot start, as its log shows it: a missing setting by its name.
pub type StartError = Box<dyn Error + Send + Sync>;

/// Runs a function: `make` makes its handler, once, which then answers invocations until Lambda ends the process.
///
/// If the handler cannot be made, the reason is logged and reported to Lambda, and the process fails. An error of the
/// handler, or a panic in it, is an error of that invocation only. The handler decides itself which of its errors to log. If
/// Lambda asks for several invocations at once (`AWS_LAMBDA_MAX_CONCURRENCY`), the handler gets them.
pub async fn run<H, F, A, E>(make: impl FnOnce(&Environment) -> Result<H, StartError>) -> ExitCode
where
    H: Fn(Value) -> F + Clone + Send + 'static,
    F: Future<Output = Result<A, E>> + Send + 'static,
    A: Serialize + Send + 'static,
    E: Display + Send + 'static,
{
    run_in_time(|environment| {
        let handler = make(environment)?;
        Ok(move |event, _: Option<Duration>| handler(event))
    })
    .await
}

/// Works like [`run`], for a handler that gets the time, too, after which Lambda ends the invocation. The time is `None` if it is
/// over before it begins: then the machine's clock is wrong.
pub async fn run_in_time<H, F, A, E>(make: impl FnOnce(&Environment) -> Result<H, StartError>) -> ExitCode
where
    H: Fn(Value, Option<Duration>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<A, E>> + Send + 'static,
    A: Serialize + Send + 'static,
    E: Display + Send + 'static,
{
    let environment = Environment::of_process();
    logs::start(environment.text("WEIR_LOG").ok().as_deref());
    let handler = match make(&environment) {
        Ok(handler) => handler,
        Err(error) => {
            let error = error.to_string();
            tracing::error!(error, "the function cannot start");
            report(&error).await;
            return ExitCode::FAILURE;
        }
    };
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let invocation = tracing::error_span!("invocation", request_id = event.context.request_id);
        let left = event.context.deadline.saturating_sub(SystemClock.now().millis());
        let answer = handler(event.payload, (left > 0).then(|| Duration::from_millis(left)));
        async move {
            answer.await.map_err(|error| Diagnostic {
                error_type: type_name::<E>().to_owned(),
                error_message: error.to_string(),
            })
        }
        .instrument(invocation)
    });
    match Runtime::new(service).run_concurrent().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the runtime failed");
            ExitCode::FAILURE
        }
    }
}

/// Reports to Lambda why the function cannot start, so that its callers get the reason, too. The log has it already, so
/// nothing depends on this.
async fn report(message: &str) {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let body = json!({"errorType": "Weir.CannotStart", "errorMessage": message}).to_string();
    let request = build_request()
        .method("POST")
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", "Weir.CannotStart")
        .body(body.into());
    if let Ok(request) = request
        && let Err(error) = PooledClient::builder().build().call(request).await
    {
        tracing::warn!(error, "Lambda could not be told");
    }
}
