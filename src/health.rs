//! `weir health`: asks a server whether it is well, where there is no other program to ask with, as in a container.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use ureq::Agent;

use crate::{address::Base, cli::HealthArgs, trust};

/// Exit code 0 if the server answers that it is well, 1 otherwise, with the reason.
pub(crate) async fn run(args: &HealthArgs) -> Result<ExitCode> {
    let (to, within) = (args.to.clone(), args.within);
    let asked = tokio::task::spawn_blocking(move || ask(&to, within)).await?;
    match asked.with_context(|| format!("{} cannot be asked", args.to))? {
        200 => Ok(ExitCode::SUCCESS),
        status => bail!("{} is not well: it answered {status}", args.to),
    }
}

/// Asks `/health`, and gives the status.
fn ask(server: &Base, within: Duration) -> Result<u16> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(within));
    if server.is_https() {
        config = config.tls_config(trust::as_the_machine_does()?);
    }
    match Agent::from(config.build()).get(format!("{server}/health")).call() {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(ureq::Error::Timeout(_)) => bail!("it did not answer within {within:?}"),
        Err(error) => Err(error.into()),
    }
}
