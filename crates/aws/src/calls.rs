//! Counts the calls of AWS that leave this process, by operation: each attempt is one, as AWS bills it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connector_metadata::ConnectorMetadata,
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::HttpRequest,
        runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use parking_lot::Mutex;

/// The number of calls since the last time, by operation.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, u64>>>);

impl Calls {
    /// Returns the calls counted since the last time, and resets them.
    #[must_use]
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Wraps an HTTP client so that its calls are counted here.
    pub(crate) fn counting(&self, client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(CountingClient { client, calls: self.clone() })
    }

    fn count(&self, request: &HttpRequest) {
        // Services with a JSON protocol name the operation: `DynamoDB_20120810.GetItem`. Others are counted by their method.
        let target = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        let operation = target.unwrap_or(request.method());
        let mut calls = self.0.lock();
        match calls.get_mut(operation) {
            Some(number) => *number += 1,
            None => {
                calls.insert(operation.to_owned(), 1);
            }
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Calls")
    }
}

#[derive(Debug)]
struct CountingClient {
    client: SharedHttpClient,
    calls: Calls,
}

impl HttpClient for CountingClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(CountingConnector { connector, calls: self.calls.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.client, components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.client, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client.connector_metadata()
    }
}

#[derive(Debug)]
struct CountingConnector {
    connector: SharedHttpConnector,
    calls: Calls,
}

impl HttpConnector for CountingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.calls.count(&request);
        self.connector.call(request)
    }
}
