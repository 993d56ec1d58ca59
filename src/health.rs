//! `weir health`: checks a server's health where no other HTTP client is installed, as in a container.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::Agent;

use crate::{address::Base, cli::HealthArgs, terminal::on_one_line, trust};

/// How many bytes of an answer are read, enough for problem details.
const ENOUGH: u64 = 4096;

/// Returns exit code 0 if the server is healthy, otherwise prints the reason and returns 1.
pub(crate) async fn run(args: &HealthArgs) -> Result<ExitCode> {
    let (to, within) = (args.to.clone(), args.within);
    let asked = tokio::task::spawn_blocking(move || ask(&to, within)).await?;
    let cannot =
        || format!("{} cannot be asked: is that the right address (--to), and does the server run?", args.to);
    match asked.with_context(cannot)? {
        Answer { status: 200, .. } => Ok(ExitCode::SUCCESS),
        Answer { status, reason: Some(reason) } => {
            bail!("{} is not well: it answered {status}. {}", args.to, on_one_line(&reason))
        }
        Answer { status, reason: None } => bail!("{} is not well: it answered {status}", args.to),
    }
}

/// The server's answer.
struct Answer {
    status: u16,
    /// The `detail` of a problem.
    reason: Option<String>,
}

/// Requests `/health`.
fn ask(server: &Base, within: Duration) -> Result<Answer> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(within));
    if server.is_https() {
        config = config.tls_config(trust::as_the_machine_does()?);
    }
    match Agent::from(config.build()).get(format!("{server}/health")).call() {
        Ok(mut answer) => {
            let body = answer.body_mut().with_config().limit(ENOUGH).read_to_string();
            let problem = body.ok().and_then(|body| serde_json::from_str::<Value>(&body).ok());
            let reason = problem.and_then(|problem| Some(problem["detail"].as_str()?.to_owned()));
            Ok(Answer { status: answer.status().as_u16(), reason })
        }
        Err(ureq::Error::Timeout(_)) => bail!("it did not answer within {within:?}"),
        Err(error) => Err(error.into()),
    }
}
