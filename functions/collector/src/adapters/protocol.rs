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
    intake::{bots::Path, outcome::Outcome},
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

    /// Those to which clients put a slash at the end. API Gateway takes that for another path, which needs a route of its own.
    fn routes_with_slash(&self) -> &'static [(Method, &'static str)] {
        &[]
    }

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

    /// Where the translated events have a user agent: a server may send what its users' browsers did.
    fn user_agents(&self) -> &'static [Path] {
        &[]
    }

    /// Returns the answer to a request whose events are all durable, or rejected for good. There is one outcome a message.
    fn taken(&self, outcomes: &[Outcome]) -> Response {
        Json(json!({"success": true, "rejected": rejected(outcomes)})).into_response()
    }
}

/// Returns the number of rejected messages.
pub(crate) fn rejected(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected { .. })).count()
}

/// Translates in tests.
#[cfg(test)]
pub(crate) mod testing {
    use axum::http::{HeaderName, HeaderValue};
    use serde_json::Value;
    use weir_core::{
        Event,
        catalog::{Budget, Sender},
    };

    use super::*;

    /// Returns a request to a path with a query, with these headers.
    pub(crate) fn request(uri: &str, headers: &[(&'static str, &[u8])], body: impl Into<Bytes>) -> Foreign {
        let uri: Uri = uri.parse().unwrap();
        let header = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        let headers = headers.iter().map(header).collect();
        Foreign { path: uri.path().to_owned(), uri, headers, body: body.into() }
    }

    /// Returns the request with its body decoded.
    pub(crate) fn decoded(protocol: &dyn Protocol, mut request: Foreign) -> Foreign {
        if let Ok(Some(body)) = protocol.decoded(&request) {
            request.body = body;
        }
        request
    }

    /// Returns the events that a request becomes, or why it has none. Each is one that can be read, or no message.
    pub(crate) fn events(protocol: &dyn Protocol, request: Foreign) -> Result<Vec<Value>, String> {
        let request = decoded(protocol, request);
        let (mut events, catalog, mut budget) =
            (Vec::new(), Catalog::built_in().unwrap(), Budget::of_a_request());
        let messages = protocol.messages(&request, &catalog).map_err(|violation| violation.message)?;
        for message in messages {
            let is_one = message.text.is_none();
            let mut texts = Vec::new();
            message.write(&catalog, &Sender::default(), &mut budget, &mut texts);
            for text in texts {
                let text = String::from_utf8(text).unwrap();
                let read = Event::read(&text);
                let is_for_this = |message: &str| !(message.contains("twice") || message.contains("at most"));
                let wrong =
                    read.err().filter(|errors| is_one && errors.iter().any(|one| is_for_this(&one.message)));
                assert!(wrong.is_none(), "{wrong:?} in {text}");
                events.push(serde_json::from_str(&text).unwrap());
            }
        }
        Ok(events)
    }
}
