//! An HTTP client for the SDK that stops after a number of calls. To AWS, it looks as if the process had died.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "it is for tests")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};

/// A client that dies.
#[derive(Debug, Clone)]
pub struct Dying {
    inner: SharedHttpClient,
    left: Arc<AtomicU64>,
    has_died: Arc<AtomicBool>,
    meddle: Option<Meddle>,
}

/// What happens before a request is sent.
#[derive(Clone)]
struct Meddle(Arc<dyn Fn(&HttpRequest) + Send + Sync>);

impl std::fmt::Debug for Meddle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Meddle")
    }
}

impl Dying {
    /// Makes a client that dies after this many calls.
    pub fn after(calls: u64) -> Self {
        let inner = aws_smithy_http_client::Builder::new().build_http();
        Self { inner, left: Arc::new(calls.into()), has_died: Arc::default(), meddle: None }
    }

    /// Makes a client that lives, and does this before each call.
    #[allow(dead_code, reason = "each test file uses its part")]
    pub fn never_but(meddle: impl Fn(&HttpRequest) + Send + Sync + 'static) -> Self {
        Self { meddle: Some(Meddle(Arc::new(meddle))), ..Self::after(u64::MAX) }
    }

    pub fn client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    pub fn has_died(&self) -> bool {
        self.has_died.load(Ordering::SeqCst)
    }
}

impl HttpClient for Dying {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { dying: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Connector {
    dying: Dying,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some(Meddle(meddle)) = &self.dying.meddle {
            meddle(&request);
        }
        let left = &self.dying.left;
        // Calls for a query's state are not counted: their number depends on the machine's speed.
        let counts =
            !request.headers().get("x-amz-target").is_some_and(|it| it.ends_with("GetQueryExecution"));
        let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            if counts { left.checked_sub(1) } else { (left > 0).then_some(left) }
        });
        if taken.is_err() {
            self.dying.has_died.store(true, Ordering::SeqCst);
            let broken = ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into());
            return HttpConnectorFuture::ready(Err(broken));
        }
        self.inner.call(request)
    }
}
