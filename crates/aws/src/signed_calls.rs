//! Calls of a service without its SDK, whose client would not fit the collector's package (4.4 MB).
//!
//! They are made of the parts that the SDK's clients are made of: its signer, its retries, its time limits and its HTTP client.

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig};
use aws_runtime::auth::{
    SigV4OperationSigningConfig, SigningOptions,
    sigv4::{SCHEME_ID, SigV4AuthScheme},
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::{AuthSchemeOptionResolverParams, static_resolver::StaticAuthSchemeOptionResolver},
        identity::SharedIdentityResolver,
        orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::StaticRuntimePlugin,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::Layer, error::ErrorMetadata, timeout::TimeoutConfig};
use bytes::Bytes;

/// The calls of a service, which return the content of the answer.
pub(crate) type Calls = Operation<Request, Bytes, ErrorMetadata>;

/// How the answer of a call is read.
pub(crate) type Content = fn(&HttpResponse) -> Result<Bytes, OrchestratorError<ErrorMetadata>>;

/// A request of a call. It is one type for all services, as each further one would be compiled with all that is below it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content: Bytes,
}

/// A service: its name in errors and in signatures, its endpoint, and how its calls are signed.
pub(crate) struct Service<'a> {
    pub(crate) name: &'static str,
    pub(crate) signed_as: &'static str,
    pub(crate) endpoint: &'a str,
    pub(crate) options: SigningOptions,
}

impl Service<'_> {
    /// Returns its calls.
    pub(crate) fn calls(self, config: &SdkConfig, content: Content) -> Calls {
        let mut calls = Operation::builder()
            .service_name(self.name)
            .operation_name("Call")
            .behavior_version(config.behavior_version().unwrap_or_else(BehaviorVersion::latest))
            .endpoint_url(self.endpoint)
            .standard_retry(&config.retry_config().cloned().unwrap_or_else(RetryConfig::standard))
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(
                config.timeout_config().cloned().unwrap_or_else(|| TimeoutConfig::builder().build()),
            )
            .with_connection_poisoning()
            .runtime_plugin(signing(config, self.signed_as, self.options));
        if let Some(client) = config.http_client() {
            calls = calls.http_client(client);
        }
        if let Some(sleep) = config.sleep_impl() {
            calls = calls.sleep_impl(sleep);
        }
        if let Some(time) = config.time_source() {
            calls = calls.time_source(time);
        }
        calls.serializer(sent as fn(Request) -> _).deserializer(content).build()
    }
}

fn sent(request: Request) -> Result<HttpRequest, BoxError> {
    let Request { method, target, headers, content } = request;
    let mut request = HttpRequest::new(SdkBody::from(content));
    request.set_method(method)?;
    request.set_uri(target)?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// Returns the domain of AWS's services in a region.
pub(crate) fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

fn signing(config: &SdkConfig, name: &'static str, signing_options: SigningOptions) -> StaticRuntimePlugin {
    let signing = SigV4OperationSigningConfig {
        region: config.region().cloned().map(Into::into),
        region_set: None,
        name: Some(name.into()),
        signing_options,
    };
    let mut layer = Layer::new("signing");
    layer.store_put(signing);
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    let mut components = RuntimeComponentsBuilder::new("signing")
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])));
    if let Some(credentials) = config.credentials_provider() {
        components.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
    }
    StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components)
}
