//! The routes.

use std::{any::Any, str::FromStr, sync::Arc};

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
    cors::{AllowOrigin, CorsLayer},
};
use weir_core::catalog::Definition;

use crate::{
    Collector,
    caller::{Reader, Writer},
    leftover, openapi,
    post::{events, typed},
    problem::Problem,
    read,
};

/// Pages of which origins may call the API from a browser.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// All. A page must still have credentials of its own: the API takes none from the browser.
    #[default]
    Any,
    /// These only.
    Only(Vec<HeaderValue>),
}

/// A text that is no list of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an origin is like https://example.com: no path, no slash at its end; or * for all")]
pub struct OriginsError;

impl FromStr for Origins {
    type Err = OriginsError;

    /// Reads `*`, or origins between commas.
    fn from_str(text: &str) -> Result<Self, OriginsError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let origin = |text: &str| {
            let host =
                text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(OriginsError)?;
            let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']);
            if plain { HeaderValue::from_str(text).map_err(|_| OriginsError) } else { Err(OriginsError) }
        };
        text.split(',').map(|text| origin(text.trim())).collect::<Result<_, _>>().map(Self::Only)
    }
}

/// Makes the API.
pub fn router(collector: Collector, origins: &Origins) -> Router {
    let document: Arc<str> = openapi::document(&collector.catalog).to_string().into();
    let mut router = Router::new()
        .route("/events", post(events))
        .route("/counts", get(read::all))
        .route("/counts/{event_type}", get(read::one))
        .route("/health", get(read::health))
        .route("/openapi.json", get(async move || openapi_json(&document)));
    for definition in collector.catalog.iter() {
        router = with_type(router, definition);
    }
    router
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .with_state(collector)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(leftover::discard))
        .layer(cors(origins))
}

/// Adds a type's own routes.
fn with_type(router: Router<Collector>, definition: &Definition) -> Router<Collector> {
    let event_type = Arc::new(definition.event_type().clone());
    let route = definition.route().as_str();
    let counted = Arc::clone(&event_type);
    let take = async move |State(collector): State<Collector>, Writer(username): Writer, request: Request| {
        typed(collector, username, event_type, request).await
    };
    let count =
        async move |State(collector): State<Collector>, Reader(username): Reader, query: read::Pairs| {
            read::typed_count(collector, username, counted, query).await
        };
    router.route(route, post(take)).route(&format!("{route}/count"), get(count))
}

fn openapi_json(document: &Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

/// What a page in a browser may see of an answer's headers, besides the usual.
const EXPOSED: [HeaderName; 2] = [header::RETRY_AFTER, header::ALLOW];

fn cors(origins: &Origins) -> CorsLayer {
    let origin = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::CONTENT_ENCODING])
        .expose_headers(EXPOSED)
        .max_age(std::time::Duration::from_hours(1))
}

/// A panic is a fault of ours that one request must not make everybody's.
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
            assert_eq!(bad.parse::<Origins>(), Err(OriginsError), "{bad}");
        }
    }
}
