//! The routes: one list, from which both the router and the API's description are made.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, header},
    response::IntoResponse,
    routing::{MethodRouter, delete, get, post},
};
use bytes::Bytes;
use serde_json::Value;
use weir_core::{Catalog, catalog::Definition};

use crate::{
    Collector,
    adapters::{PROTOCOLS, take},
    api::{
        answers,
        caller::{Reader, Writer},
        events, history, keys, latest, map, openapi,
        openapi::{
            Operation, answers as described, dashboard, events as seen, map as runs, open, query as in_sql,
        },
        path, post, query, read, rejected, stream,
    },
    pages::{
        docs, page, script,
        served::{gzip, takes_gzip},
    },
};

/// A route of the API, or of each event type's (`Of` is a [`Catalog`] or a [`Definition`]).
pub(crate) struct Route<Of: 'static> {
    /// The path; of a type's, what follows the type's own route.
    pub(crate) path: &'static str,
    pub(crate) method: Method,
    pub(crate) access: Access,
    handler: fn(&Of) -> MethodRouter<Arc<Collector>>,
    /// Returns the operation for the API's description; `None` for a part of a page that is described.
    operation: Option<fn(&Of) -> Value>,
}

/// The method of a route. `GET` includes `HEAD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

/// The callers that a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Those with credentials; the handler takes a [`Reader`] or a [`Writer`].
    Users,
    /// All.
    Open,
}

use Access::{Open, Users};
use Method::{Delete, Get, Post};

/// The routes that do not depend on the catalog.
pub(crate) const FIXED: [Route<Catalog>; 29] = [
    route(Post, "/events", Users, |_| post(post::events), Some(openapi::post::post_events)),
    route(Get, "/events", Users, |_| get(events::newest), Some(seen::get_events)),
    route(Get, "/events/stream", Users, |_| get(stream::stream), Some(seen::get_stream)),
    route(Get, "/events/{event_id}", Users, |_| get(events::receipt), Some(seen::get_receipt)),
    route(Get, "/counts", Users, |_| get(read::all), Some(openapi::get_counts)),
    route(Get, "/counts/{event_type}", Users, |_| get(read::one), Some(openapi::get_count)),
    route(
        Get,
        "/counts/{event_type}/minutes",
        Users,
        |_| get(history::minutes),
        Some(dashboard::get_minutes),
    ),
    route(Get, "/counts/{event_type}/hours", Users, |_| get(history::hours), Some(dashboard::get_hours)),
    route(Get, "/counts/{event_type}/days", Users, |_| get(history::days), Some(dashboard::get_days)),
    route(Get, "/counts/{event_type}/keys", Users, |_| get(keys::keys), Some(in_sql::get_keys)),
    route(Get, "/rejected", Users, |_| get(rejected::latest), Some(dashboard::get_rejected)),
    route(Get, "/answers", Users, |_| get(answers::list), Some(described::get_answers)),
    // Public ones need no credentials: the handler asks for them where they are needed.
    route(Get, "/answers/{answer}", Users, |_| get(answers::read), Some(described::get_answer)),
    route(Get, "/answers/{answer}/{*path}", Users, |_| get(answers::read), Some(described::get_answer_below)),
    route(
        Get,
        "/answers/public/{answer}",
        Open,
        |_| get(answers::read_public),
        Some(described::get_public_answer),
    ),
    route(
        Get,
        "/answers/public/{answer}/{*path}",
        Open,
        |_| get(answers::read_public),
        Some(described::get_public_answer_below),
    ),
    route(Post, "/map/{function}", Users, |_| post(map::start), Some(runs::post_map)),
    route(Get, "/map/runs/{run}", Users, |_| get(map::read), Some(runs::get_run)),
    route(Get, "/map/runs/{run}/result", Users, |_| get(map::result), Some(runs::get_result)),
    route(Post, "/query", Users, |_| post(query::query), Some(in_sql::post_query)),
    route(Get, "/query/{query}", Users, |_| get(query::read), Some(in_sql::get_query)),
    route(Delete, "/query/{query}", Users, |_| delete(query::stop), Some(in_sql::delete_query)),
    route(Get, "/", Open, |_| get(page::dashboard), Some(open::get_dashboard)),
    route(Get, "/health", Open, |_| get(read::health), Some(open::get_health)),
    route(Get, "/openapi.json", Open, |_| openapi_json(), Some(open::get_openapi)),
    route(Get, "/docs", Open, |_| get(docs::page), Some(open::get_docs)),
    route(Get, path::DOCS, Open, |_| get(docs::without_slash), None),
    route(Get, "/docs/{file}", Open, |_| get(docs::beside), None),
    route(Get, "/weir.js", Open, |_| get(script::weir_js), Some(open::get_script)),
];

/// The beginning of a path that has a key: `adapters/key.rs`.
const WITH_KEY: &str = "/k/{key}";

/// The routes of each event type, below its own.
const OF_A_TYPE: [Route<Definition>; 2] = [
    route(Post, "", Users, typed, Some(openapi::post::post_typed)),
    route(Get, "/count", Users, typed_count, Some(openapi::get_typed_count)),
];

/// The route of an event type whose latest values are kept.
const LATEST: Route<Definition> =
    route(Get, "/latest", Users, typed_latest, Some(openapi::latest::get_latest));

/// Returns the routes of an event type, below its own.
pub(crate) fn of_a_type(definition: &Definition) -> impl Iterator<Item = &'static Route<Definition>> {
    OF_A_TYPE.iter().chain(definition.latest_by().map(|_| &LATEST))
}

const fn route<Of>(
    method: Method,
    path: &'static str,
    access: Access,
    handler: fn(&Of) -> MethodRouter<Arc<Collector>>,
    operation: Option<fn(&Of) -> Value>,
) -> Route<Of> {
    Route { path, method, access, handler, operation }
}

impl<Of> Route<Of> {
    /// Returns the handler for the router.
    pub(crate) fn handler(&self, of: &Of) -> MethodRouter<Arc<Collector>> {
        (self.handler)(of)
    }

    /// Returns the operation for the API's description, if it has one. A type's route stands below the type's own.
    fn operation(&self, below: &str, of: &Of) -> Option<Operation> {
        Some(Operation {
            path: format!("{below}{}", self.path),
            method: self.method.described(),
            needs_credentials: self.access == Users,
            described: self.operation?(of),
        })
    }
}

/// Returns the operations of all routes for the API's description.
pub(crate) fn operations(catalog: &Catalog) -> Vec<Operation> {
    let fixed = FIXED.iter().filter_map(|route| route.operation("", catalog));
    let of_types = catalog.iter().flat_map(|definition| {
        of_a_type(definition).filter_map(|route| route.operation(definition.route().as_str(), definition))
    });
    fixed.chain(of_types).collect()
}

/// Returns the methods of a path.
pub(crate) fn methods_of(path: &str, catalog: &Catalog) -> Vec<Method> {
    let fixed = FIXED.iter().filter(|route| is_of(path, route.path)).map(|route| route.method);
    let of_types = catalog.iter().flat_map(|definition| {
        let below = path.strip_prefix(definition.route().as_str());
        of_a_type(definition).filter(move |route| below == Some(route.path)).map(|route| route.method)
    });
    let without_key = path.strip_prefix("/k/").and_then(|below| below.find('/').map(|at| &below[at..]));
    let without_key = without_key.unwrap_or(path);
    let foreign = PROTOCOLS.iter().flat_map(|protocol| protocol.routes());
    let foreign = foreign.filter(|(_, route)| is_of(without_key, route)).map(|(method, _)| *method);
    let of_script = is_of(path, "/k/{key}/events").then_some(Post);
    let mut methods = Vec::new();
    for method in fixed.chain(of_types).chain(foreign).chain(of_script) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

/// Returns whether a path is one of those that a route's path stands for.
fn is_of(path: &str, route: &str) -> bool {
    let (mut names, mut of_route) = (path.split('/'), route.split('/'));
    loop {
        match (names.next(), of_route.next()) {
            (None, None) => return true,
            (Some(_), Some(rest)) if rest.starts_with("{*") => return true,
            (Some(name), Some(of_route)) if name == of_route || of_route.starts_with('{') => {}
            _ => return false,
        }
    }
}

impl Method {
    /// Returns the method's name in a request.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Get => "GET",
            Post => "POST",
            Delete => "DELETE",
        }
    }

    /// Returns the method's name in the API's description.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Get => "get",
            Post => "post",
            Delete => "delete",
        }
    }
}

/// `POST` on a type's own route.
fn typed(definition: &Definition) -> MethodRouter<Arc<Collector>> {
    let event_type = Arc::new(definition.event_type().clone());
    post(async move |State(collector): State<Arc<Collector>>, writer: Writer, request: Request| {
        post::typed(collector, writer, event_type, request).await
    })
}

/// `GET` of a type's count.
fn typed_count(definition: &Definition) -> MethodRouter<Arc<Collector>> {
    let event_type = Arc::new(definition.event_type().clone());
    get(async move |State(collector): State<Arc<Collector>>, Reader(username): Reader, query: read::Pairs| {
        read::typed_count(collector, username, event_type, query).await
    })
}

/// `GET` of a type's latest values.
fn typed_latest(definition: &Definition) -> MethodRouter<Arc<Collector>> {
    let event_type = Arc::new(definition.event_type().clone());
    get(async move |State(collector): State<Arc<Collector>>, Reader(username): Reader, query: read::Pairs| {
        latest::latest(collector, username, event_type, query).await
    })
}

/// `GET /openapi.json`.
fn openapi_json() -> MethodRouter<Arc<Collector>> {
    // Made at the first request: a starting function has no time for it.
    let document = Arc::new(OnceLock::<(Bytes, Bytes)>::new());
    get(async move |State(collector): State<Arc<Collector>>, request: HeaderMap| {
        let catalog = &collector.catalog;
        let (plain, compressed) = document.get_or_init(|| {
            let text = openapi::text(catalog, operations(catalog));
            let compressed = gzip(text.as_bytes()).into();
            (text.into(), compressed)
        });
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::VARY, "accept-encoding")];
        if takes_gzip(&request) {
            return ([(header::CONTENT_ENCODING, "gzip")], headers, compressed.clone()).into_response();
        }
        (headers, plain.clone()).into_response()
    })
}

/// Adds the routes of vendors' clients, each below a key too.
pub(crate) fn foreign(router: Router<Arc<Collector>>) -> Router<Arc<Collector>> {
    // What `weir.js` sends.
    let mut router = router.route(&format!("{WITH_KEY}/events"), post(post::events));
    for protocol in PROTOCOLS {
        for (method, path) in protocol.routes() {
            for path in [(*path).to_owned(), format!("{WITH_KEY}{path}")] {
                let take = async move |State(collector): State<Arc<Collector>>, request: Request| {
                    take::take(collector, protocol, request).await
                };
                router = match method {
                    Get => router.route(&path, get(take)),
                    Post | Delete => router.route(&path, post(take)),
                };
            }
        }
    }
    router
}

/// Returns the methods and paths of vendors' clients, each of which is below `/k/USER:SECRET` too. They need an access key that
/// may be in the URL or in the body, so no authorizer before the API can check it.
pub fn client_routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all =
        PROTOCOLS.iter().flat_map(|protocol| [protocol.routes(), protocol.routes_with_slash()].concat());
    all.map(|(method, path)| (method.name(), path))
}
