//! Answers to requests that are not valid HTTP: the host's parser refuses them before they reach a route.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use weir_core::{Clock, Random};

use crate::{
    api::{origins::Origins, problem::Problem, router::EXPOSED},
    host::request_id::{self, Source},
};

/// Makes the answers, each with problem details and an id of its own.
pub struct Unreadable {
    ids: Source,
    /// Whether pages of all origins may read the answers. The origin of an unreadable request is unknown.
    for_all_pages: bool,
}

impl Unreadable {
    /// Takes the origins that the API allows, and the source of ids.
    #[must_use]
    pub fn new(origins: &Origins, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { ids: Source { clock, random }, for_all_pages: *origins == Origins::Any }
    }

    /// Returns the answer to a request that the parser refused with this status.
    #[must_use]
    pub fn answer(&self, status: StatusCode) -> Response<String> {
        let problem = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => Problem::HeadTooLarge,
            _ => Problem::MalformedRequest,
        };
        let mut answer = request_id::identified(&self.ids, || {
            tracing::debug!(%status, "a request that cannot be read was refused");
            problem.answer()
        });
        if self.for_all_pages {
            let headers = answer.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            let exposed = EXPOSED.map(|name| name.to_string()).join(", ");
            headers.extend(
                HeaderValue::try_from(exposed).map(|names| (header::ACCESS_CONTROL_EXPOSE_HEADERS, names)),
            );
        }
        answer
    }
}
