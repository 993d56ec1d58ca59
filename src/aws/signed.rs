//! Signed calls of services of which one or two operations are used: the SDK's clients for them are large. The SDK's signer
//! signs a call, and `ureq` sends it.

use std::{
    env,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use serde_json::Value;
use ureq::{Agent, http::Request};
use weir_aws::Aws;
use weir_core::{Clock, SystemClock};

use crate::trust;

/// Timeout of a call: the user is waiting for the shell.
const WITHIN: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 1 << 20;

/// A service.
pub(super) struct Service {
    /// What people call it.
    pub(super) called: &'static str,
    /// Its name in signatures and in host names.
    pub(super) name: &'static str,
    /// The variable that names another one, as the SDKs call it.
    pub(super) endpoint: &'static str,
}

/// What a service answered that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{called} answered {}", [Some(.status.as_str()), .kind.as_deref(), .message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": "))]
pub(super) struct Refusal {
    called: &'static str,
    status: String,
    /// The kind of error, without its namespace.
    pub(super) kind: Option<String>,
    message: Option<String>,
}

impl Service {
    /// Sends a call of this method and path, with these headers and this body, and returns the JSON of the answer.
    pub(super) async fn call(
        &self,
        aws: &Aws,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Value> {
        let config = aws.config();
        let region = config.region().context("AWS_REGION is not set")?.as_ref();
        let base = match (env::var(self.endpoint).ok(), config.endpoint_url()) {
            (Some(named), _) => named,
            (None, Some(everything)) => everything.to_owned(),
            (None, None) if region.starts_with("cn-") => {
                format!("https://{}.{region}.amazonaws.com.cn", self.name)
            }
            (None, None) => format!("https://{}.{region}.amazonaws.com", self.name),
        };
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let provider = config.credentials_provider().context("there are no credentials for AWS")?;
        let identity =
            provider.provide_credentials().await.context("there are no credentials for AWS")?.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(self.name)
            .time(UNIX_EPOCH + Duration::from_millis(SystemClock.now().millis()))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let unsigned =
            SignableRequest::new(method, &url, headers.iter().copied(), SignableBody::Bytes(&body))?;
        let instructions = sign(unsigned, &parameters)?.into_parts().0;
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body)?;
        instructions.apply_to_request_http1x(&mut request);
        let called = self.called;
        tokio::task::spawn_blocking(move || send(called, request)).await?
    }
}

fn send(called: &'static str, request: Request<Vec<u8>>) -> Result<Value> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(WITHIN));
    if request.uri().scheme_str() == Some("https") {
        config = config.tls_config(trust::as_the_machine_does()?);
    }
    let agent: Agent = config.allow_non_standard_methods(true).build().into();
    let mut answer = agent.run(request)?;
    let kind =
        answer.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let text = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
    let is_done = answer.status().is_success();
    let body: Value =
        serde_json::from_str(&if is_done { text? } else { text.unwrap_or_default() }).unwrap_or_default();
    if is_done {
        return Ok(body);
    }
    let kind = kind.or_else(|| body["__type"].as_str().map(str::to_owned));
    let kind = kind.map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned());
    let message = body["message"].as_str().or(body["Message"].as_str()).map(str::to_owned);
    Err(Refusal { called, status: answer.status().to_string(), kind, message }.into())
}
