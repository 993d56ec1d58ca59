//! A protocol of vendors' clients.

use axum::{
    Json,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::json;
use weir_core::{Catalog, Violation};

use crate::{
    adapters::message::Message,
    api::{problem::Problem, routes::Method},
    intake::outcome::Outcome,
};

/// A foreign request, whose body is complete and decompressed.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// The path below `/k/USER:SECRET`, if it has a key, and without a slash at its end.
    pub(crate) path: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a protocol knows. Its methods see untrusted bytes, and must take time and memory in proportion to them.
pub(crate) trait Protocol: Sync {
    /// The methods and paths of its requests.
    fn routes(&self) -> &'static [(Method, &'static str)];

    /// Undoes an encoding of the protocol's own, such as base64 in a form. [`crate::intake::body::gunzip`] decompresses
    /// within the limits.
    fn decoded(&self, _request: &Foreign) -> Result<Option<Bytes>, Problem> {
        Ok(None)
    }

    /// Finds the write key in the body, `USER:SECRET`. It is asked only if the request has no key elsewhere.
    fn key(&self, _request: &Foreign) -> Option<String> {
        None
    }

    /// Translates the request's messages. The error says why the body has none; then the body is kept as a rejected event.
    fn messages<'a>(&self, request: &'a Foreign, catalog: &Catalog) -> Result<Vec<Message<'a>>, Violation>;

    /// Returns the answer to a request whose events are all durable, or rejected for good. There is one outcome a message.
    fn taken(&self, outcomes: &[Outcome]) -> Response {
        Json(json!({"success": true, "rejected": rejected(outcomes)})).into_response()
    }
}

/// Returns the number of rejected messages.
pub(crate) fn rejected(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected { .. })).count()
}
