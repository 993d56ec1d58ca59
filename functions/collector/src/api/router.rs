//! The router: the routes (`routes`) and the middleware around them.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, Method, Uri, header},
    middleware,
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
};
use weir_core::{Catalog, Clock, Random, nearest};

use crate::{
    Collector,
    api::{
        csrf, etag,
        origins::Origins,
        problem::Problem,
        routes::{self, Access, FIXED, of_a_type},
    },
    host::{
        leftover,
        request_id::{self, Source, X_REQUEST_ID},
    },
};

/// Makes the API.
pub fn router(collector: Collector, origins: &Origins) -> Router {
    let ids = Source { clock: collector.host.clock.clone(), random: collector.host.random.clone() };
    let users = with_routes(Router::new(), &collector.catalog, Access::Users).route_layer((
        middleware::from_fn_with_state(Arc::new(origins.clone()), csrf::keep_out),
        middleware::from_fn(etag::keep_private),
    ));
    let foreign = routes::foreign(Router::new())
        .route_layer(middleware::from_fn_with_state(Arc::new(origins.clone()), csrf::keep_out_of_foreign));
    let router = with_routes(users.merge(foreign), &collector.catalog, Access::Open)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(collector))
        .layer(middleware::from_fn(etag::spare));
    around(router, origins, ids)
}

/// Answers a request for a path that does not exist, with the one that was probably meant.
async fn not_found(State(collector): State<Arc<Collector>>, uri: Uri) -> Problem {
    let of_type = uri
        .path()
        .strip_suffix("/latest")
        .and_then(|route| collector.catalog.iter().find(|definition| definition.route().as_str() == route));
    if let Some(definition) = of_type {
        return Problem::NoLatestValues { event_type: definition.event_type().clone() };
    }
    let fixed = FIXED.iter().filter(|route| !route.path.contains('{')).map(|route| route.path);
    let of_types = collector.catalog.iter().map(|definition| definition.route().as_str());
    match nearest(uri.path(), fixed.chain(of_types)) {
        Some(path) => Problem::NearlyFound { path: path.to_owned() },
        None => Problem::NotFound,
    }
}

/// Answers a request with a method that its path does not have.
async fn method_not_allowed(State(collector): State<Arc<Collector>>, method: Method, uri: Uri) -> Problem {
    let takes = routes::methods_of(uri.path(), &collector.catalog);
    Problem::MethodNotAllowed { method, takes: takes.into_iter().map(routes::Method::name).collect() }
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

/// Adds the routes with this access.
fn with_routes(
    mut router: Router<Arc<Collector>>,
    catalog: &Catalog,
    access: Access,
) -> Router<Arc<Collector>> {
    for route in FIXED.iter().filter(|route| route.access == access) {
        router = router.route(route.path, route.handler(catalog));
    }
    for definition in catalog.iter() {
        for route in of_a_type(definition).filter(|route| route.access == access) {
            let path = format!("{}{}", definition.route(), route.path);
            router = router.route(&path, route.handler(definition));
        }
    }
    router
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
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
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
