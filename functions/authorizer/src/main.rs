//! The authorizer on Lambda: it reads users from DynamoDB and answers API Gateway.

use std::{process::ExitCode, sync::Arc, time::Duration};

use authorizer::{Authorizer, Failure};
use serde_json::Value;
use weir_aws::Aws;
use weir_core::{SystemClock, SystemRandom};

/// The time for which verified credentials stay cached. API Gateway caches the answers as well, and longer: this cache is for the
/// callers that API Gateway has not seen yet.
const CREDENTIALS_CACHED: Duration = Duration::from_mins(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    weir_lambda::run(|environment| {
        let table = environment.text("WEIR_USERS_TABLE")?;
        let users = Arc::new(Aws::on_lambda().users(&table));
        let authorizer = Authorizer::new(users, Arc::new(SystemClock), &SystemRandom, CREDENTIALS_CACHED);
        let authorizer = Arc::new(authorizer);
        Ok(move |event: Value| {
            let authorizer = authorizer.clone();
            async move { authorizer.answer(&event).await.inspect_err(log) }
        })
    })
    .await
}

/// Logs a failure. Missing credentials are not an error, so they raise no alarm.
fn log(failure: &Failure) {
    match failure {
        Failure::Unauthorized => tracing::debug!("no credentials"),
        Failure::Unavailable(error) => tracing::error!(%error, "credentials cannot be checked"),
    }
}
