//! The routes.

use std::{
    any::Any,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
};
use weir_core::{Clock, NameError, Random, catalog::Definition};

use crate::{
    Collector,
    caller::{Reader, Writer},
    docs, etag, history, leftover, openapi, page, pages, path,
    post::{events, typed},
    problem::Problem,
    read, rejected,
    request_id::{self, Source, X_REQUEST_ID},
    script,
};

/// The origins whose pages may call the API from a browser.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// All origins. A page still needs credentials of its own: the API takes none from the browser.
    #[default]
    Any,
    /// Only these origins.
    Only(Vec<HeaderValue>),
}

impl Origins {
    /// Returns whether pages of this origin may call the API.
    pub(crate) fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.contains(origin),
        }
    }
}

const NOT_AN_ORIGIN: NameError =
    NameError::new("an origin", "is like https://example.com: no path, no slash at its end; or * for all");

impl FromStr for Origins {
    type Err = NameError;

    /// Reads `*`, or a comma-separated list of origins.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let origin = |text: &str| {
            let host = text
                .strip_prefix("https://")
                .or_else(|| text.strip_prefix("http://"))
                .ok_or(NOT_AN_ORIGIN)?;
            let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']);
            if plain { HeaderValue::from_str(text).map_err(|_| NOT_AN_ORIGIN) } else { Err(NOT_AN_ORIGIN) }
        };
        text.split(',').map(|text| origin(text.trim())).collect::<Result<_, _>>().map(Self::Only)
    }
}

/// Makes the API.
pub fn router(collector: Collector, origins: &Origins) -> Router {
    // Built at the first request: a starting function has no time for it.
    let catalog = Arc::clone(&collector.catalog);
    let document = Arc::new(LazyLock::new(move || openapi::text(&catalog)));
    let ids = Source { clock: collector.host.clock.clone(), random: collector.host.random.clone() };
    let mut router = Router::new()
        .route("/events", post(events))
        .route("/counts", get(read::all))
        .route("/counts/{event_type}", get(read::one))
        .route("/counts/{event_type}/hours", get(history::hours))
        .route("/counts/{event_type}/days", get(history::days))
        .route("/rejected", get(rejected::latest));
    for definition in collector.catalog.iter() {
        router = with_type(router, definition);
    }
    let router = router
        // The routes from here on need no credentials.
        .route_layer((
            middleware::from_fn_with_state(Arc::new(origins.clone()), pages::keep_out),
            middleware::from_fn(etag::keep_private),
        ))
        .route("/", get(page::dashboard))
        .route("/health", get(read::health))
        .route("/openapi.json", get(async move || openapi_json(&document)))
        .route("/docs", get(docs::page))
        .route(path::DOCS, get(docs::without_slash))
        .route("/docs/{file}", get(docs::beside))
        .route("/weir.js", get(script::weir_js))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .with_state(Arc::new(collector))
        .layer(middleware::from_fn(etag::spare));
    around(router, origins, ids)
}

/// Returns a router for load shedding: it answers every request with 503 and when to try again.
pub fn no_room(origins: &Origins, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Router {
    around(Router::new().fallback(async || Problem::Busy), origins, Source { clock, random })
}

/// Adds the middleware around all routes.
fn around(router: Router, origins: &Origins, ids: Source) -> Router {
    // The first is outermost. All in one call, as each further call of `layer` costs every request an allocation.
    router.layer((
        middleware::from_fn_with_state(ids, request_id::identify),
        cors(origins),
        middleware::from_fn(leftover::discard),
        CatchPanicLayer::custom(panicked),
    ))
}

/// Adds a type's own routes.
fn with_type(router: Router<Arc<Collector>>, definition: &Definition) -> Router<Arc<Collector>> {
    let event_type = Arc::new(definition.event_type().clone());
    let route = definition.route().as_str();
    let counted = Arc::clone(&event_type);
    let take = async move |State(collector): State<Arc<Collector>>, writer: Writer, request: Request| {
        typed(collector, writer, event_type, request).await
    };
    let count =
        async move |State(collector): State<Arc<Collector>>, Reader(username): Reader, query: read::Pairs| {
            read::typed_count(collector, username, counted, query).await
        };
    router.route(route, post(take)).route(&format!("{route}/count"), get(count))
}

fn openapi_json(document: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_owned()).into_response()
}

/// The headers of an answer that a page in a browser may read, besides the usual ones.
pub(crate) const EXPOSED: [HeaderName; 4] = [header::RETRY_AFTER, header::ALLOW, header::ETAG, X_REQUEST_ID];

fn cors(origins: &Origins) -> CorsLayer {
    let origin = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        // Tracing and error libraries of a page add headers to each of its requests, and a header that is not allowed stops
        // the request. Weir uses none of them, so all are allowed: only `Authorization` grants anything here, and the page
        // has to know its value.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(std::time::Duration::from_hours(1))
}

/// Answers after a panic. A panic is our bug, and must stay one request's problem.
#[expect(clippy::needless_pass_by_value, reason = "the layer wants a function that takes the box")]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(message, "a handler panicked");
    Problem::Internal.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_nothing_looser() {
        assert_eq!("*".parse(), Ok(Origins::Any));
        let Origins::Only(two) = "https://a.example, http://localhost:3000".parse().unwrap() else {
            panic!()
        };
        assert_eq!(two, ["https://a.example", "http://localhost:3000"]);
        for bad in ["", "example.com", "https://", "https://a/", "https://*.a", "https://a b", "ftp://a"] {
            assert_eq!(bad.parse::<Origins>(), Err(NOT_AN_ORIGIN), "{bad}");
        }
    }
}
