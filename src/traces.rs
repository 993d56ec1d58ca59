//! Traces: spans with the target [`TRACED`] become OpenTelemetry's and are exported to an OpenTelemetry collector, as OTLP
//! over HTTP in protobuf, with TLS where the endpoint is https.
//!
//! OpenTelemetry's own packages do the work and read its environment variables. This module adds what they leave to the
//! program: the HTTP client, whether traces are wanted at all, and a log line where the collector does not take them. The
//! exporter has a thread and a bounded queue of its own, so no request waits for a collector.

use std::{
    env, fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use opentelemetry::{Context, KeyValue, propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::SdkTracerProvider,
};
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};
use ureq::{Agent, http};
use weir_core::trace::TRACED;

use crate::trust;

/// The longest response of a collector that is read.
const LONGEST_ANSWER: u64 = 64 << 10;

/// The exporter of traces.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the exporter; returns `None` if OpenTelemetry's variables ask for no traces.
    pub(crate) fn start() -> Result<Option<Self>> {
        let is = |name, value: &str| set(&[name]).is_some_and(|(_, found)| found.eq_ignore_ascii_case(value));
        let endpoint = set(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let Some((name, endpoint)) = endpoint else { return Ok(None) };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let Some(is_https) = is_https(&endpoint) else {
            bail!("{name} is not like http://127.0.0.1:4318 or https://collector.example.com");
        };
        check_sampler()?;
        millis("OTEL_BSP_SCHEDULE_DELAY")?;
        let timeout = match millis("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")? {
            Some(timeout) => timeout,
            None => millis("OTEL_EXPORTER_OTLP_TIMEOUT")?.unwrap_or(OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT),
        };
        let client = Client { agent: agent(is_https, timeout)?, is_logged: AtomicBool::new(false) };
        // A batch that is not taken is dropped at once: the queue behind it is short.
        let exporter = SpanExporter::builder().with_http().with_http_client(client).with_timeout(timeout);
        let exporter = exporter.with_retry_policy(RetryPolicy::disabled()).build()?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource());
        Ok(Some(Self { provider: provider.build() }))
    }

    /// Returns the layer that collects spans. It sees only the spans to be traced.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("weir"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(TRACED, LevelFilter::TRACE))
    }

    /// Exports the last spans within this time; spans that are left are dropped.
    pub(crate) async fn end(self, within: Duration) {
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(within)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last traces are dropped");
        }
    }
}

/// Makes requests continue the trace of a caller who sent `traceparent`, if there are traces.
pub(crate) fn continued(app: Router) -> Router {
    let are_traced = tracing::enabled!(target: TRACED, Level::DEBUG);
    if are_traced { app.layer(middleware::from_fn(continue_trace)) } else { app }
}

async fn continue_trace(request: Request, next: Next) -> Response {
    use opentelemetry::trace::FutureExt;

    let headers = HeaderExtractor(request.headers());
    let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    next.run(request).with_context(caller).await
}

/// Returns the first of these variables that is set, and its name. OpenTelemetry takes an empty variable for an unset one.
fn set(names: &[&'static str]) -> Option<(&'static str, String)> {
    let value = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
    names.iter().find_map(|name| Some((*name, value(*name)?)))
}

/// Refuses a sampler that the SDK would silently replace by its default.
fn check_sampler() -> Result<()> {
    let Some((_, name)) = set(&["OTEL_TRACES_SAMPLER"]) else { return Ok(()) };
    let is_known = match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "always_on" | "always_off" => true,
        "traceidratio" => set(&["OTEL_TRACES_SAMPLER_ARG"])
            .is_none_or(|(_, share)| share.parse().is_ok_and(|share: f64| (0.0..=1.0).contains(&share))),
        _ => false,
    };
    is_known
        .then_some(())
        .context("OTEL_TRACES_SAMPLER and its ARG are not like parentbased_traceidratio and 0.1")
}

/// Parses a time. The SDK would silently replace an invalid one by its default.
fn millis(name: &'static str) -> Result<Option<Duration>> {
    let parse = |(_, text): (_, String)| text.parse().map(Duration::from_millis);
    set(&[name]).map(parse).transpose().with_context(|| format!("{name} is no number of milliseconds"))
}

/// Returns whether this endpoint has TLS; `None` if it is not an address.
fn is_https(endpoint: &str) -> Option<bool> {
    let uri: http::Uri = endpoint.parse().ok()?;
    match (uri.scheme_str()?, uri.host()?) {
        (_, "") => None,
        ("http", _) => Some(false),
        ("https", _) => Some(true),
        _ => None,
    }
}

fn agent(is_https: bool, timeout: Duration) -> Result<Agent> {
    // The headers may hold a secret, so they go to no other address than the configured one.
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout));
    if !is_https {
        return Ok(config.build().into());
    }
    let own = set(&["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
    let tls = match own {
        None => trust::as_the_machine_does()?,
        Some((name, path)) => {
            let pem = fs::read(&path).with_context(|| format!("{name}: cannot read {path}"))?;
            trust::only(&pem).with_context(|| format!("{name}: {path}"))?
        }
    };
    Ok(config.tls_config(tls).build().into())
}

/// Returns the attributes of this program.
fn resource() -> Resource {
    let usual =
        [KeyValue::new("service.name", "weir"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = Resource::builder_empty()
        .with_attributes(usual)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match set(&["OTEL_SERVICE_NAME"]) {
        None => resource.build(),
        Some((_, name)) => resource.with_service_name(name).build(),
    }
}

/// The HTTP client of the exporter, which logs what fails: the SDK does not say why.
#[derive(Debug)]
struct Client {
    agent: Agent,
    /// Whether a failure is in the log; it is logged again only after a request worked.
    is_logged: AtomicBool,
}

#[async_trait]
impl HttpClient for Client {
    /// Blocks, as only the exporter's own thread calls it.
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let sent = self.agent.run(http::Request::from_parts(parts, &body[..])).and_then(|answer| {
            let (parts, mut body) = answer.into_parts();
            let body = body.with_config().limit(LONGEST_ANSWER).read_to_vec()?;
            Ok(http::Response::from_parts(parts, Bytes::from(body)))
        });
        let failure = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_logged = self.is_logged.swap(failure.is_some(), Ordering::Relaxed);
        if let Some(error) = failure.filter(|_| !was_logged) {
            tracing::warn!(
                error,
                "traces are dropped: their collector does not take them; later ones are sent all the same"
            );
        }
        Ok(sent?)
    }
}
