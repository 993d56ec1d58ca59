//! Clears API Gateway's cache of the authorizer's grants, so that a removed access key does not stay valid in it.
//!
//! The SDK's client for API Gateway is large, and this is one call: the SDK's signer signs it, and `ureq` sends it.

use std::{
    env, fmt,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use serde_json::Value;
use ureq::{Agent, http::Request};
use weir_aws::Aws;
use weir_core::{Clock, SystemClock};

use crate::{terminal::on_one_line, trust};

/// The variable with the API's id.
const API_ID: &str = "WEIR_API_ID";

/// The variable that names another API Gateway, as the SDKs call it.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_APIGATEWAYV2";

/// Timeout of the call: the user is waiting for the shell.
const WITHIN: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 4096;

/// The outcome of clearing the cached grants, for the operator.
pub(crate) enum CachedGrants {
    /// The API's cache was cleared.
    Cleared { api: String },
    /// It could not be cleared, for this reason.
    Left { api: Option<String>, why: anyhow::Error },
}

impl CachedGrants {
    /// Clears the cache of the stack's API.
    pub(crate) async fn clear() -> Self {
        let Some(api) = env::var(API_ID).ok().filter(|api| !api.is_empty()) else {
            let why =
                anyhow::anyhow!("the variable {API_ID} is not set: the stack's output Environment has it");
            return Self::Left { api: None, why };
        };
        match clear(&api).await {
            Ok(()) => Self::Cleared { api },
            Err(why) => Self::Left { api: Some(api), why },
        }
    }
}

impl fmt::Display for CachedGrants {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const COMMAND: &str = "aws apigatewayv2 reset-authorizers-cache --stage-name '$default' --api-id";
        match self {
            Self::Cleared { api } => write!(
                out,
                "API Gateway's cached grants are cleared. The authorizer itself remembers a key for a minute: to end one that \
                 was used in the last minute, run this a minute from now as well: {COMMAND} {api}"
            ),
            Self::Left { api, why } => write!(
                out,
                "API Gateway's cached grants are not cleared, so a key may be accepted for the stack's \
                 CredentialsCachedSeconds (300 unless set) and a minute: {}. To end that, run this now and again in a \
                 minute: {COMMAND} {}",
                on_one_line(&format!("{why:#}")),
                api.as_deref().unwrap_or("API_ID")
            ),
        }
    }
}

/// Calls `ResetAuthorizersCache`.
async fn clear(api: &str) -> Result<()> {
    if !api.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        bail!("{API_ID} is not an API's id");
    }
    let aws = Aws::from_env().await;
    let config = aws.config();
    let region = config.region().context("AWS_REGION is not set")?.as_ref();
    let base = match (env::var(ENDPOINT).ok(), config.endpoint_url()) {
        (Some(named), _) => named,
        (None, Some(everything)) => everything.to_owned(),
        (None, None) if region.starts_with("cn-") => format!("https://apigateway.{region}.amazonaws.com.cn"),
        (None, None) => format!("https://apigateway.{region}.amazonaws.com"),
    };
    let url = format!("{}/v2/apis/{api}/stages/%24default/cache/authorizers", base.trim_end_matches('/'));
    let provider = config.credentials_provider().context("there are no credentials for AWS")?;
    let identity = provider.provide_credentials().await.context("there are no credentials for AWS")?.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("apigateway")
        .time(UNIX_EPOCH + Duration::from_millis(SystemClock.now().millis()))
        .settings(SigningSettings::default())
        .build()?
        .into();
    let unsigned = SignableRequest::new("DELETE", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
    let mut request = Request::delete(&url).body(())?;
    sign(unsigned, &parameters)?.into_parts().0.apply_to_request_http1x(&mut request);
    tokio::task::spawn_blocking(move || send(request)).await?
}

fn send(request: Request<()>) -> Result<()> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(WITHIN));
    if request.uri().scheme_str() == Some("https") {
        config = config.tls_config(trust::as_the_machine_does()?);
    }
    let mut answer = Agent::from(config.build()).run(request)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let kind =
        answer.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().unwrap_or_default();
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let message = body["message"].as_str().or(body["Message"].as_str());
    let parts = [Some(answer.status().to_string()), kind, message.map(str::to_owned)];
    bail!("API Gateway answered {}", parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
}
