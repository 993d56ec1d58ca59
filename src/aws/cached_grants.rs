//! Clears API Gateway's cache of the authorizer's grants, so that a removed access key does not stay valid in it.
//!
use std::{env, fmt};

use anyhow::{Result, bail};
use weir_aws::Aws;

use super::signed::Service;
use crate::terminal::on_one_line;

/// The variable with the API's id.
const API_ID: &str = "WEIR_API_ID";

const API_GATEWAY: Service =
    Service { called: "API Gateway", name: "apigateway", endpoint: "AWS_ENDPOINT_URL_APIGATEWAYV2" };

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
    let path = format!("/v2/apis/{api}/stages/%24default/cache/authorizers");
    API_GATEWAY.call(&aws, "DELETE", &path, &[], Vec::new()).await.map(drop)
}
