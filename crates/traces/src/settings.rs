//! OpenTelemetry's environment variables, as far as they are used here.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::time::Duration;

use hyper::{Uri, header::HeaderName, header::HeaderValue};
use percent_encoding::percent_decode_str;

use crate::sampler::Sampler;

/// The destination of traces, the sampling, and the attributes of the program that sends them.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) endpoint: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
    /// How long a server collects spans before it sends them.
    pub(crate) delay: Duration,
    pub(crate) sampler: Sampler,
    /// The attributes of the program, by name.
    pub(crate) resource: Vec<(String, String)>,
}

/// A variable that cannot be used. There are no traces then; nothing else depends on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The endpoint is not an address.
    #[error("{0} is not like http://127.0.0.1:4318")]
    Endpoint(&'static str),
    /// The endpoint wants TLS, or another protocol than HTTP.
    #[error(
        "{0} is not http: put an OpenTelemetry collector on this machine or network, which sends on with TLS"
    )]
    NotHttp(&'static str),
    /// The headers are not valid. Their values may be secrets, and are not shown.
    #[error("{0} is not like name=value,name=value")]
    Headers(&'static str),
    /// The sampler is not known.
    #[error("OTEL_TRACES_SAMPLER and its ARG are not like parentbased_traceidratio and 0.1")]
    Sampler,
    /// The value is not a number of milliseconds.
    #[error("{0} is no number of milliseconds")]
    Time(&'static str),
}

impl Settings {
    /// Reads the variables; returns `None` if they ask for no traces. `service` is the program's name if they do not give
    /// one.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, service: &str) -> Result<Option<Self>, Unusable> {
        // OpenTelemetry takes an empty variable for one that is not set.
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let is = |name: &str, value: &str| set(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let Some(endpoint) = endpoint(&set)? else { return Ok(None) };
        let time = |name, usual| match set(name) {
            None => Ok(Duration::from_millis(usual)),
            Some(text) => text.trim().parse().map(Duration::from_millis).map_err(|_| Unusable::Time(name)),
        };
        let timeout = match set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") {
            Some(_) => time("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", 10_000)?,
            None => time("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000)?,
        };
        let sampler = match set("OTEL_TRACES_SAMPLER") {
            None => Sampler::USUAL,
            Some(name) => {
                Sampler::read(name.trim(), set("OTEL_TRACES_SAMPLER_ARG").as_deref().map(str::trim))
                    .ok_or(Unusable::Sampler)?
            }
        };
        Ok(Some(Self {
            endpoint,
            headers: headers(&set)?,
            timeout,
            delay: time("OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
            sampler,
            resource: resource(&set, service),
        }))
    }
}

/// Returns the variable for traces unchanged, or the one for everything with the path for traces.
fn endpoint(set: &impl Fn(&str) -> Option<String>) -> Result<Option<Uri>, Unusable> {
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const OF_ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (name, text) = match (set(OF_TRACES), set(OF_ALL)) {
        (Some(text), _) => (OF_TRACES, text.trim().to_owned()),
        (None, Some(text)) => (OF_ALL, format!("{}/v1/traces", text.trim().trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    let uri: Uri = text.parse().map_err(|_| Unusable::Endpoint(name))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(Some(uri)),
        (Some(_), _) => Err(Unusable::NotHttp(name)),
        _ => Err(Unusable::Endpoint(name)),
    }
}

fn headers(set: &impl Fn(&str) -> Option<String>) -> Result<Vec<(HeaderName, HeaderValue)>, Unusable> {
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    const OF_ALL: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let (name, text) = match (set(OF_TRACES), set(OF_ALL)) {
        (Some(text), _) => (OF_TRACES, text),
        (None, Some(text)) => (OF_ALL, text),
        (None, None) => return Ok(Vec::new()),
    };
    let header = |(key, value): (String, String)| {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(key.as_bytes()).ok()?, value))
    };
    let read = |pair| named(pair).and_then(header).ok_or(Unusable::Headers(name));
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(read).collect()
}

/// Returns the attributes of the program. Unreadable ones are left out, as OpenTelemetry requires.
fn resource(set: &impl Fn(&str) -> Option<String>, service: &str) -> Vec<(String, String)> {
    const NAME: &str = "service.name";
    let attributes = set("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut resource: Vec<(String, String)> = attributes.split(',').filter_map(named).collect();
    if let Some(name) = set("OTEL_SERVICE_NAME") {
        resource.retain(|(key, _)| key != NAME);
        resource.push((NAME.to_owned(), name));
    }
    let mut usual = |key: &str, value: &str| {
        if !resource.iter().any(|(found, _)| found == key) {
            resource.push((key.to_owned(), value.to_owned()));
        }
    };
    usual(NAME, service);
    usual("service.version", env!("CARGO_PKG_VERSION"));
    usual("telemetry.sdk.language", "rust");
    usual("telemetry.sdk.name", "weir");
    resource
}

/// Parses `name=value`, the value in percent-encoding.
fn named(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, Unusable> {
        let lookup =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Settings::read(lookup, "weir")
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn without_an_endpoint_or_disabled_there_are_none() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        assert!(read(&[("OTEL_SERVICE_NAME", "x")]).unwrap().is_none());
        assert!(read(&[ALL, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(read(&[ALL, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        assert!(read(&[ALL, ("OTEL_SDK_DISABLED", "false")]).unwrap().is_some());
    }

    #[test]
    fn the_endpoint_of_traces_is_taken_as_it_is_and_the_one_of_all_gets_a_path() {
        let endpoint = |variables: &[_]| read(variables).unwrap().unwrap().endpoint.to_string();
        assert_eq!(endpoint(&[ALL]), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(
            endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:1/otel/")]),
            "http://[::1]:1/otel/v1/traces"
        );
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector.example/here");
        assert_eq!(endpoint(&[ALL, of_traces]), "http://collector.example/here");
        for (bad, error) in [
            ("collector:4318", Unusable::Endpoint("OTEL_EXPORTER_OTLP_ENDPOINT")),
            ("https://collector", Unusable::NotHttp("OTEL_EXPORTER_OTLP_ENDPOINT")),
            ("http://", Unusable::Endpoint("OTEL_EXPORTER_OTLP_ENDPOINT")),
        ] {
            assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", bad)]).unwrap_err(), error, "{bad}");
        }
    }

    #[test]
    fn headers_times_and_samplers_are_read_or_refused() {
        let settings = read(&[
            ALL,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-team = events"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ]);
        let settings = settings.unwrap().unwrap();
        let headers: Vec<(&str, &[u8])> =
            settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("api-key", &b"a b"[..]), ("x-team", b"events")]);
        assert!(!format!("{settings:?}").contains("a b"), "a header's value may be a secret");
        assert_eq!((settings.timeout, settings.delay), (Duration::from_millis(200), Duration::from_secs(5)));
        assert_eq!(Some(settings.sampler), Sampler::read("always_off", None));
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let error = read(&[ALL, (name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_program_has_the_name_that_it_is_given() {
        let name = |variables: &[(&str, &str)]| {
            let mut all = vec![ALL];
            all.extend(variables);
            let resource = read(&all).unwrap().unwrap().resource;
            let names: Vec<String> =
                resource.iter().filter(|(key, _)| key == "service.name").map(|(_, v)| v.clone()).collect();
            names.join(" and ")
        };
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%2Cb,deployment.environment=x,broken");
        assert_eq!(name(&[]), "weir");
        assert_eq!(name(&[attributes]), "a,b");
        assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "mine")]), "mine");
    }
}
