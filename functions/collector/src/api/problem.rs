//! All errors of the API, as problem details (RFC 9457). Each has a stable `type`; only this module knows HTTP statuses.

mod live;
mod query;

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use weir_core::{EventType, Violation, ports::PortError, users::Scope};

use crate::{
    RunState,
    api::{authentication::NotAuthenticated, reason::Reason},
    host::request_id,
};
pub(crate) use live::LiveProblem;
pub(crate) use query::QueryProblem;

/// An error that a client sees.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The caller is unknown, or exceeds the rate limit.
    Unauthorized(NotAuthenticated),
    /// The access key's scope does not allow the request.
    OutOfScope { needed: Scope },
    /// The access key came outside the `Authorization` header, and may do more than write.
    KeyMayRead,
    /// The page that posts may not call the API.
    OriginNotAllowed,
    /// There is no such path.
    NotFound,
    /// There is no such path, and one that was probably meant.
    NearlyFound { path: String },
    /// The event type has no latest values.
    NoLatestValues { event_type: EventType },
    /// The catalog has no such event type, and perhaps one that was probably meant.
    UnknownEventType { event_type: String, meant: Option<String> },
    /// There is no such answer, or it has no such path or slot, or none of the caller's.
    NoSuchAnswer,
    /// There is no function of this name that clients may run.
    NoSuchFunction { name: String },
    /// The caller has no such run, or not any more.
    NoSuchRun,
    /// The run has no result, or not yet.
    NoResult { state: RunState },
    /// As many runs as are allowed at once are under way.
    TooManyRuns,
    /// No event of the caller's is known under this id.
    NoSuchEvent,
    /// A query has no answer.
    Query(QueryProblem),
    /// There is no stream of events, or there are no counts by minute.
    Live(LiveProblem),
    /// No event of the type has had one of these keys.
    NoLatestValue { field: String },
    /// The path does not take this method, and takes these.
    MethodNotAllowed { method: Method, takes: Vec<&'static str> },
    /// The head of the request is not valid HTTP.
    MalformedRequest,
    /// The head of the request exceeds the limit.
    HeadTooLarge,
    /// The body is incomplete.
    BodyIncomplete,
    /// The body came too slowly.
    BodyTooSlow,
    /// The body exceeds the limit.
    BodyTooLarge { limit: usize, decompressed: bool },
    /// The body holds too many events.
    TooManyEvents { limit: usize },
    /// The body's encoding is unknown.
    UnsupportedEncoding,
    /// The host took a compressed body for text, which destroys it.
    CompressedAsText,
    /// The body cannot be decompressed.
    UndecodableBody { encoding: &'static str },
    /// The one event of the request is not valid.
    InvalidEvent { errors: Vec<Violation> },
    /// None of the request's events is valid; `answer` has the outcome of each, as in `POST /events`.
    NoValidEvent { answer: Map<String, Value> },
    /// The query is not valid.
    InvalidQuery { detail: String },
    /// Nothing was stored; `answer` has the outcome of each event, if the request was a `POST /events`.
    NotStored { answer: Map<String, Value>, reason: Reason },
    /// The engine did not answer.
    Unavailable { reason: Reason },
    /// Load shedding: there is no room for another request now.
    Busy,
    /// A bug in the code.
    Internal,
}

/// The number of seconds after which a client should try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The number of seconds after which a client should try again to start a run, or to open a stream.
const RETRY_A_RUN_AFTER: HeaderValue = HeaderValue::from_static("5");

impl Problem {
    /// Turns an engine's failure into a problem, and logs it for the operator: once, here.
    pub(crate) fn of_engine(error: &PortError) -> Self {
        tracing::error!(%error, "the engine failed");
        Self::Unavailable { reason: error.into() }
    }

    /// Returns status, type and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorized(NotAuthenticated::Unavailable(_)) | Self::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now")
            }
            Self::Unauthorized(NotAuthenticated::TooManyFailures { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-failed-sign-ins", "Too many failed sign-ins")
            }
            Self::Unauthorized(NotAuthenticated::TooManyRequests { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
            }
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized", "Credentials needed"),
            Self::OutOfScope { .. } | Self::KeyMayRead => {
                (StatusCode::FORBIDDEN, "out-of-scope", "Not allowed with this access key")
            }
            Self::OriginNotAllowed => {
                (StatusCode::FORBIDDEN, "origin-not-allowed", "Not allowed from this page")
            }
            Self::NotFound | Self::NearlyFound { .. } | Self::NoLatestValues { .. } => {
                (StatusCode::NOT_FOUND, "not-found", "No such path")
            }
            Self::UnknownEventType { .. } => {
                (StatusCode::NOT_FOUND, "unknown-event-type", "No such event type")
            }
            Self::NoSuchAnswer => (StatusCode::NOT_FOUND, "no-such-answer", "No such answer"),
            Self::NoSuchFunction { .. } => (StatusCode::NOT_FOUND, "no-such-function", "No such function"),
            Self::NoSuchRun => (StatusCode::NOT_FOUND, "no-such-run", "No such run"),
            Self::NoResult { .. } => (StatusCode::CONFLICT, "no-result", "The run has no result"),
            Self::TooManyRuns => (StatusCode::TOO_MANY_REQUESTS, "too-many-runs", "Too many runs at once"),
            Self::NoSuchEvent => (StatusCode::NOT_FOUND, "unknown-event", "No such event is known"),
            Self::Query(problem) => problem.kind(),
            Self::Live(problem) => problem.kind(),
            Self::NoLatestValue { .. } => (StatusCode::NOT_FOUND, "no-latest-value", "No such latest value"),
            Self::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "No such method here")
            }
            Self::MalformedRequest => {
                (StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read")
            }
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "The head of the request is too large",
            ),
            Self::BodyIncomplete => {
                (StatusCode::BAD_REQUEST, "incomplete-body", "The body did not come whole")
            }
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body came too slowly"),
            Self::BodyTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large")
            }
            Self::TooManyEvents { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", "Too many events")
            }
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Unknown content encoding")
            }
            Self::CompressedAsText => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "compressed-as-text",
                "The compressed body was taken for text",
            ),
            Self::UndecodableBody { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "undecodable-body", "The body cannot be decompressed")
            }
            Self::InvalidEvent { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-event", "The event is not valid")
            }
            Self::NoValidEvent { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "no-valid-event", "No event is valid")
            }
            Self::InvalidQuery { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-query", "The query is not valid")
            }
            Self::NotStored { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not-stored", "Nothing was stored"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much at once"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault in the collector"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unauthorized(NotAuthenticated::Unavailable(_)) => {
                "Credentials cannot be checked now.".to_owned()
            }
            Self::Unauthorized(NotAuthenticated::NoCredentials) => {
                "Send a username and a secret with HTTP basic authentication, or, on a path of another vendor's clients, an access key \
                 where these put theirs."
                    .to_owned()
            }
            Self::Unauthorized(NotAuthenticated::Refused) => {
                "The username or the secret is wrong.".to_owned()
            }
            Self::Unauthorized(NotAuthenticated::TooManyFailures { .. }) => {
                "Too many sign-ins failed, from this address or for this username. Retry-After says when one more \
                 will be looked at."
                    .to_owned()
            }
            Self::Unauthorized(NotAuthenticated::TooManyRequests { .. }) => {
                "This user sends more than is allowed. Retry-After says when to go on; many events fit into one request."
                    .to_owned()
            }
            Self::OutOfScope { needed } => format!("This needs an access key with the scope {needed}."),
            Self::KeyMayRead => "Outside the Authorization header, an access key with the scope write is needed: one that can \
                                 do nothing else."
                .to_owned(),
            Self::OriginNotAllowed => "This page may not post here. A page posts events from an origin that the server \
                                       allows (--allow-origins), with fetch, and with an Authorization of its own or a key in the path."
                .to_owned(),
            Self::NotFound => "The API is described at /docs, and for programs at /openapi.json.".to_owned(),
            Self::NearlyFound { path } => {
                format!("Did you mean {path}? The API is described at /docs, and for programs at /openapi.json.")
            }
            Self::NoLatestValues { event_type } => {
                format!("No latest values of {event_type} are kept: its schema names no latest_by.")
            }
            Self::UnknownEventType { event_type, meant } => {
                let meant = meant.as_ref().map(|meant| format!(" Did you mean {meant}?")).unwrap_or_default();
                format!("The catalog has no event type {event_type:?}.{meant}")
            }
            Self::NoSuchAnswer => "There is no such answer, or it has no such path or slot. GET /answers lists the answers."
                .to_owned(),
            Self::NoSuchFunction { name } => {
                format!("There is no function {name:?} that the API runs. The operator registers functions.")
            }
            Self::NoSuchRun => "There is no such run, or not any more: a run is kept for an hour after its end.".to_owned(),
            Self::NoResult { state: RunState::Running } => {
                "The run goes on. It has a result once its state is done.".to_owned()
            }
            Self::NoResult { state } => {
                format!("The run's state is {state}: it has no result. Start another one.")
            }
            Self::TooManyRuns => "As many runs as this user, or as all users may have at once are under way. Retry-After says \
                                  when to try again."
                .to_owned(),
            Self::NoSuchEvent => "No event of yours with this id is known. It was never acknowledged, or it is not found yet, or \
                not any more: the id that a client gave is remembered for a day."
                .to_owned(),
            Self::Query(problem) => problem.detail(),
            Self::Live(problem) => problem.detail(),
            Self::NoLatestValue { field } => format!("No event with this {field} is stored."),
            Self::MethodNotAllowed { method, takes } => not_taken(method, takes),
            Self::MalformedRequest => {
                "The request line or a header breaks the rules of HTTP.".to_owned()
            }
            Self::HeadTooLarge => "The request line and all headers together are too long, or there are more than a \
                                   hundred headers."
                .to_owned(),
            Self::BodyIncomplete => {
                "The connection ended before the body did, or the body is malformed.".to_owned()
            }
            Self::BodyTooSlow => "Nothing was stored. Send the request again, on a faster connection or with fewer \
                                  events."
                .to_owned(),
            Self::BodyTooLarge { limit, decompressed: false } => format!("A body has at most {limit} bytes."),
            Self::BodyTooLarge { limit, decompressed: true } => {
                format!("A body has at most {limit} bytes once it is decompressed.")
            }
            Self::TooManyEvents { limit } => format!("A request has at most {limit} events."),
            Self::UnsupportedEncoding => "A body is sent as it is, or with one of gzip and zstd.".to_owned(),
            Self::CompressedAsText => "API Gateway takes bodies of this content type for text and replaces all bytes that are \
                                       no text. Send compressed bodies with Content-Type: application/octet-stream, or \
                                       uncompressed ones."
                .to_owned(),
            Self::UndecodableBody { encoding } => {
                format!("The body is not valid {encoding}. One that is not compressed has no Content-Encoding.")
            }
            Self::InvalidEvent { errors } => match errors.as_slice() {
                [one] => format!("{} {}", one.path, one.message).trim().to_owned(),
                many => format!("There are {} errors.", many.len()),
            },
            Self::NoValidEvent { .. } => "Nothing was stored; outcomes says why, for each event.".to_owned(),
            Self::InvalidQuery { detail } => detail.clone(),
            Self::NotStored { reason, .. } => {
                format!("No event was stored. {reason} Send the request again after a moment.")
            }
            Self::Busy => "There is no room for this request now. Try again after a moment.".to_owned(),
            Self::Unavailable { reason } => format!("{reason} Try again after a moment."),
            Self::Internal => "It was logged.".to_owned(),
        }
    }

    /// Returns the members beside those that every problem has.
    fn members(&mut self) -> Map<String, Value> {
        match self {
            Self::InvalidEvent { errors } => [("errors".to_owned(), json!(errors))].into_iter().collect(),
            Self::NoValidEvent { answer } | Self::NotStored { answer, .. } => std::mem::take(answer),
            Self::BodyTooLarge { limit, .. } | Self::TooManyEvents { limit } => {
                [("limit".to_owned(), json!(limit))].into_iter().collect()
            }
            Self::Query(problem) => {
                problem.limit().map(|limit| ("limit".to_owned(), json!(limit))).into_iter().collect()
            }
            _ => Map::new(),
        }
    }

    fn headers(&self) -> Option<(HeaderName, HeaderValue)> {
        if let Self::Unauthorized(
            NotAuthenticated::TooManyFailures { retry_after }
            | NotAuthenticated::TooManyRequests { retry_after },
        ) = self
        {
            return Some((header::RETRY_AFTER, whole_seconds(*retry_after)));
        }
        if let Self::Live(LiveProblem::TooManyStreams) = self {
            return Some((header::RETRY_AFTER, RETRY_A_RUN_AFTER));
        }
        match self.kind().0 {
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, RETRY_A_RUN_AFTER)),
            StatusCode::UNAUTHORIZED => {
                // The charset is RFC 7617's way to declare that names and secrets are UTF-8.
                let challenge = HeaderValue::from_static("Basic realm=\"weir\", charset=\"UTF-8\"");
                Some((header::WWW_AUTHENTICATE, challenge))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER)),
            // RFC 9110, section 15.5.9: the server does not read the rest of the body.
            StatusCode::REQUEST_TIMEOUT => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            // RFC 7694, section 3: the accepted encodings.
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Some((header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd")))
            }
            _ => None,
        }
    }
}

/// Says which methods a path takes in place of this one.
fn not_taken(method: &Method, takes: &[&str]) -> String {
    match takes {
        [] => "The header Allow names the methods of this path.".to_owned(),
        takes => format!("This path takes {}, and not {method}.", takes.join(" and ")),
    }
}

/// Rounds up to whole seconds: a client that retried too early would be refused again.
fn whole_seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1))
}

impl From<NotAuthenticated> for Problem {
    fn from(reason: NotAuthenticated) -> Self {
        if let NotAuthenticated::Unavailable(error) = &reason {
            tracing::error!(%error, "credentials cannot be checked");
        }
        Self::Unauthorized(reason)
    }
}

impl From<EventType> for Problem {
    fn from(unknown: EventType) -> Self {
        Self::UnknownEventType { event_type: unknown.as_str().to_owned(), meant: None }
    }
}

/// The form of problems.
impl Problem {
    /// Returns the JSON of the answer.
    fn body(&mut self) -> Value {
        let (status, kind, title) = self.kind();
        let mut body = json!({
            "type": format!("urn:weir:problem:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        if let Some(object) = body.as_object_mut() {
            if let Some(instance) = request_id::instance() {
                object.insert("instance".to_owned(), Value::String(instance));
            }
            object.extend(self.members());
        }
        body
    }

    /// Returns status, name and JSON, for the description of the API.
    pub(crate) fn example(mut self) -> (u16, &'static str, Value) {
        let (status, kind, _) = self.kind();
        (status.as_u16(), kind, self.body())
    }
}

impl Problem {
    /// Returns the complete answer.
    pub(crate) fn answer(mut self) -> Response<String> {
        let mut response = Response::new(self.body().to_string());
        *response.status_mut() = self.kind().0;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers());
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer().map(Body::from)
    }
}
