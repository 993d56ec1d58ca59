//! The objects of large latest values, in S3: put, read and removed by three calls.
//!
//! The SDK's client for S3 would not fit the collector's package (4 MB). So the calls are made of the parts that the SDK's
//! clients are made of: its signer, its retries, its time limits and its HTTP client.
//!
//! An object is named by the SHA-256 of its resource's key and its content. So putting it again changes nothing, and no two
//! values share an object, which the removal of one would take from the other.

use std::fmt::Write;

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
        result::SdkError,
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::StaticRuntimePlugin,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::Layer, error::ErrorMetadata, timeout::TimeoutConfig};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_core::{latest::Resource, ports::PortError};

use crate::errors::port_error;

const PUTTING: &str = "putting a large latest value";
const READING: &str = "reading a large latest value";

/// The prefix of all objects. The events of the lake are elsewhere, so no query and no audit meets these.
const PREFIX: &str = "latest/";

/// A call of S3 for one object.
#[derive(Debug)]
struct Call {
    method: &'static str,
    key: String,
    content: Bytes,
}

/// The bucket, as far as large latest values are in it.
#[derive(Clone)]
pub(super) struct Objects {
    calls: Operation<Call, Bytes, ErrorMetadata>,
}

impl Objects {
    pub(super) fn new(config: &SdkConfig, bucket: &str) -> Self {
        // An endpoint other than S3's own has no host name for each bucket.
        let (endpoint, folder) = match (config.endpoint_url(), config.region().map_or("", |it| it.as_ref())) {
            (Some(endpoint), _) => (endpoint.trim_end_matches('/').to_owned(), format!("/{bucket}")),
            (None, region) => {
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                (format!("https://{bucket}.s3.{region}.{domain}"), String::new())
            }
        };
        let mut calls = Operation::builder()
            .service_name("S3")
            .operation_name("Object")
            .behavior_version(config.behavior_version().unwrap_or_else(BehaviorVersion::latest))
            .endpoint_url(&endpoint)
            .standard_retry(&config.retry_config().cloned().unwrap_or_else(RetryConfig::standard))
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(
                config.timeout_config().cloned().unwrap_or_else(|| TimeoutConfig::builder().build()),
            )
            .with_connection_poisoning()
            .runtime_plugin(signing(config));
        if let Some(client) = config.http_client() {
            calls = calls.http_client(client);
        }
        if let Some(sleep) = config.sleep_impl() {
            calls = calls.sleep_impl(sleep);
        }
        if let Some(time) = config.time_source() {
            calls = calls.time_source(time);
        }
        let calls = calls.serializer(move |call: Call| request(&folder, call)).deserializer(content).build();
        Self { calls }
    }

    /// Puts a value's event, and returns the key of its object.
    pub(super) async fn put(&self, resource: &Resource, event: &Bytes) -> Result<String, PortError> {
        let key = key(resource, event);
        let call = Call { method: "PUT", key: key.clone(), content: event.clone() };
        self.calls.invoke(call).await.map_err(|error| port_error(PUTTING, &error))?;
        Ok(key)
    }

    /// Reads an object; `None` if it does not exist.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        let call = Call { method: "GET", key: key.to_owned(), content: Bytes::new() };
        match self.calls.invoke(call).await {
            Ok(content) => Ok(Some(content)),
            Err(SdkError::ServiceError(answer)) if answer.err().code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(port_error(READING, &error)),
        }
    }

    /// Removes an object that no value refers to. If that fails, it stays, which costs its storage and nothing else.
    pub(super) async fn remove(&self, key: &str) {
        let call = Call { method: "DELETE", key: key.to_owned(), content: Bytes::new() };
        if let Err(error) = self.calls.invoke(call).await {
            tracing::warn!(%error, object = key, "an object of an earlier latest value is left");
        }
    }
}

/// Returns the key of a value's object, of characters that need no escape in a URL.
fn key(Resource { username, event_type, key }: &Resource, event: &Bytes) -> String {
    let mut name = format!("{PREFIX}{username}/{event_type}/");
    // No text has this byte, so it divides the two.
    for byte in Sha256::new().chain_update(key.as_str()).chain_update([0xff]).chain_update(event).finalize() {
        write!(name, "{byte:02x}").expect("memory takes it");
    }
    name + ".json"
}

/// Signs calls as S3 wants it.
fn signing(config: &SdkConfig) -> StaticRuntimePlugin {
    let mut signing_options = SigningOptions::default();
    signing_options.double_uri_encode = false;
    signing_options.content_sha256_header = true;
    signing_options.normalize_uri_path = false;
    let signing = SigV4OperationSigningConfig {
        region: config.region().cloned().map(Into::into),
        region_set: None,
        name: Some("s3".into()),
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

fn request(folder: &str, Call { method, key, content }: Call) -> Result<HttpRequest, BoxError> {
    let length = content.len();
    let mut request = HttpRequest::new(SdkBody::from(content));
    request.set_method(method)?;
    request.set_uri(format!("{folder}/{key}"))?;
    if method == "PUT" {
        request.headers_mut().insert("content-length", length.to_string());
        request.headers_mut().insert("content-type", "application/json");
    }
    Ok(request)
}

/// Returns the content of an answer, or the code of an error.
fn content(answer: &HttpResponse) -> Result<Bytes, OrchestratorError<ErrorMetadata>> {
    let body = answer.body().bytes().unwrap_or_default();
    if answer.status().is_success() {
        return Ok(Bytes::copy_from_slice(body));
    }
    let text = String::from_utf8_lossy(body);
    let member = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let mut error = ErrorMetadata::builder();
    if let Some(code) = member("Code") {
        error = error.code(code);
    }
    if let Some(message) = member("Message") {
        error = error.message(message);
    }
    Err(OrchestratorError::operation(error.build()))
}
