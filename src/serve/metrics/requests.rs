//! Request metrics: number, outcome, and time to the head of the answer.

use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Few buckets, as each is a series for each route. The targets for a POST and for a count lie between the first ones.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The requests answered.
#[derive(Clone)]
pub(crate) struct Requests {
    answered: Family<Answered, Counter>,
    took: Family<Took, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: Route,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
    route: Route,
}

/// The route's pattern as written in the code; empty if no route matches the path.
#[derive(Debug, Clone)]
struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.as_str())
    }
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let took: fn() -> Histogram = || Histogram::new(SECONDS);
        let requests = Self { answered: Family::default(), took: Family::new_with_constructor(took) };
        registry.register("requests", "Requests by route and class of status", requests.answered.clone());
        registry.register(
            "request_duration_seconds",
            "Time from the head of a request to the head of its answer",
            requests.took.clone(),
        );
        requests
    }
}

/// Counts a request and its response, as a middleware.
pub(crate) async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = Route(request.extensions().get().cloned());
    let method = method(request.method());
    let answer = next.run(request).await;
    requests.took.get_or_create(&Took { route: route.clone() }).observe(begun.elapsed().as_secs_f64());
    requests.answered.get_or_create(&Answered { method, route, status: class(answer.status()) }).inc();
    answer
}

/// Returns the label of a method. Methods that the API does not know share one, as clients may make up any.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
