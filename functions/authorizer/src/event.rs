//! The event that API Gateway sends to an authorizer, in one of four shapes.
//!
//! Only the members that matter for the decision are read, and null counts as missing. No event can make reading it panic,
//! and no unexpected content can become a grant. The shapes:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>,
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>.

use std::fmt;

use serde_json::Value;

use crate::{Stage, StageError};

/// The API that sends an event, and the event's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A REST API that sends only the header's value.
    RestToken,
    /// A REST API (or a WebSocket API) that sends the request.
    RestRequest,
    /// An HTTP API, in payload format 1.0.
    HttpApi1,
    /// An HTTP API, in payload format 2.0.
    HttpApi2,
}

/// An event that API Gateway never sends to an authorizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The event is not even a JSON object.
    #[error("an authorizer's event is a JSON object")]
    NotAnObject,
    /// The event has no known shape.
    #[error("the event is neither of type TOKEN nor of type REQUEST")]
    UnknownShape,
}

/// The reason why an event's credentials do not even count as credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The request has several `Authorization` headers that differ. AWS does not document for which of them API Gateway
    /// caches the answer.
    #[error("there are several Authorization headers")]
    Several,
    /// The header's value is not a string.
    #[error("the Authorization header is not a string")]
    NotText,
    /// The header is not among the identity sources. API Gateway caches the answer for the identity sources: every request
    /// that shares them would get the rights of these credentials.
    #[error("the Authorization header is not among the authorizer's identity sources: add it there")]
    NotIdentitySource,
}

/// The parts of an event that matter for the decision.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizerEvent<'a> {
    /// The sender, which determines the expected answer.
    pub kind: EventKind,
    /// The value of the `Authorization` header, if there is one.
    pub credentials: Result<Option<&'a str>, CredentialsError>,
    /// The stage of the API that was called. Only policies need it; it is not read for [`EventKind::HttpApi2`], whose
    /// answer names no resource.
    pub stage: Result<Stage, StageError>,
}

impl<'a> AuthorizerEvent<'a> {
    /// Reads an event.
    pub fn read(event: &'a Value) -> Result<Self, EventError> {
        if !event.is_object() {
            return Err(EventError::NotAnObject);
        }
        let kind = match (event["version"].as_str(), event["type"].as_str()) {
            (Some("2.0"), _) => EventKind::HttpApi2,
            (Some("1.0"), Some("REQUEST")) => EventKind::HttpApi1,
            (_, Some("REQUEST")) => EventKind::RestRequest,
            (_, Some("TOKEN")) => EventKind::RestToken,
            _ => return Err(EventError::UnknownShape),
        };
        let credentials = match kind {
            EventKind::RestToken => only(texts(&event["authorizationToken"])),
            _ => credentials(event),
        };
        let stage = match kind {
            EventKind::HttpApi2 => Err(StageError),
            _ => event["methodArn"].as_str().unwrap_or_default().parse(),
        };
        Ok(Self { kind, credentials, stage })
    }
}

/// Omits the credentials.
impl fmt::Debug for AuthorizerEvent<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AuthorizerEvent")
            .field("kind", &self.kind)
            .field("credentials", &self.credentials.as_ref().map(|some| some.map(|_| "…")))
            .field("stage", &self.stage)
            .finish()
    }
}

/// Returns the credentials of a request: its `Authorization` header or, without one, the single identity source that the
/// authorizer was configured with instead.
fn credentials(event: &Value) -> Result<Option<&str>, CredentialsError> {
    let mut values = Vec::new();
    for headers in ["headers", "multiValueHeaders"] {
        for (name, value) in event[headers].as_object().into_iter().flatten() {
            if name.eq_ignore_ascii_case("authorization") {
                values.extend(texts(value)?);
            }
        }
    }
    let header = only(Ok(values))?;
    let sources = identity_sources(event);
    match (header, &sources[..]) {
        (Some(header), []) => Ok(Some(header)),
        (Some(header), sources) if sources.contains(&header.trim()) => Ok(Some(header)),
        (Some(_), _) => Err(CredentialsError::NotIdentitySource),
        (None, [source]) => Ok(Some(source)),
        (None, _) => Ok(None),
    }
}

/// Returns the values of the authorizer's identity sources: a list in format 2.0, joined by commas in format 1.0. (No valid
/// header holds a comma.)
fn identity_sources(event: &Value) -> Vec<&str> {
    let sources: Vec<&str> = match &event["identitySource"] {
        Value::String(joined) => joined.split(',').collect(),
        Value::Array(sources) => sources.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let sources = sources.into_iter().map(str::trim);
    sources.filter(|source| !source.is_empty()).collect()
}

/// Returns the texts of a value that is a string or a list of strings.
fn texts(value: &Value) -> Result<Vec<&str>, CredentialsError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => {
            let items = items.iter().filter(|item| !item.is_null());
            items.map(|item| item.as_str().ok_or(CredentialsError::NotText)).collect()
        }
        _ => Err(CredentialsError::NotText),
    }
}

/// Returns the only distinct value, however often it is repeated.
fn only(values: Result<Vec<&str>, CredentialsError>) -> Result<Option<&str>, CredentialsError> {
    let values = values?;
    if values.iter().any(|value| *value != values[0]) {
        return Err(CredentialsError::Several);
    }
    Ok(values.first().copied())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const METHOD: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/request";

    fn credentials_of(event: &Value) -> Result<Option<&str>, CredentialsError> {
        AuthorizerEvent::read(event).unwrap().credentials
    }

    #[test]
    fn each_shape_is_distinguished_from_the_others() {
        for (event, kind) in [
            (json!({"type": "TOKEN", "methodArn": METHOD}), EventKind::RestToken),
            (json!({"type": "REQUEST", "methodArn": METHOD}), EventKind::RestRequest),
            (json!({"version": "1.0", "type": "REQUEST", "methodArn": METHOD}), EventKind::HttpApi1),
        ] {
            let read = AuthorizerEvent::read(&event).unwrap();
            assert_eq!((read.kind, read.credentials), (kind, Ok(None)));
            assert_eq!(
                read.stage.unwrap().as_str(),
                "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/*"
            );
        }
        let event = json!({"version": "2.0", "type": "REQUEST", "routeArn": METHOD});
        let read = AuthorizerEvent::read(&event).unwrap();
        assert_eq!((read.kind, read.credentials), (EventKind::HttpApi2, Ok(None)));
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for event in [json!(null), json!("TOKEN"), json!(["TOKEN"]), json!(1)] {
            assert_eq!(AuthorizerEvent::read(&event), Err(EventError::NotAnObject));
        }
        for event in [
            json!({}),
            json!({"type": "token"}),
            json!({"type": ["TOKEN"], "methodArn": METHOD}),
            json!({"version": 2.0, "routeArn": METHOD}),
            json!({"Records": []}),
        ] {
            assert_eq!(AuthorizerEvent::read(&event), Err(EventError::UnknownShape));
        }
    }

    #[test]
    fn a_stage_that_is_missing_or_garbled_is_an_error() {
        for method in [json!(null), json!(7), json!(""), json!("*"), json!([METHOD])] {
            let event = json!({"type": "TOKEN", "authorizationToken": "x", "methodArn": method});
            assert!(AuthorizerEvent::read(&event).unwrap().stage.is_err());
        }
    }

    #[test]
    fn the_header_is_found_however_it_is_written() {
        for event in [
            json!({"type": "TOKEN", "authorizationToken": "x"}),
            json!({"type": "REQUEST", "headers": {"Authorization": "x", "Accept": "*/*"}}),
            json!({"type": "REQUEST", "headers": {"AUTHORIZATION": "x"}}),
            json!({"type": "REQUEST", "headers": null, "multiValueHeaders": {"authorization": ["x"]}}),
            json!({"type": "REQUEST", "headers": {"Authorization": "x"}, "multiValueHeaders": {"Authorization": ["x", "x"]}}),
            json!({"version": "1.0", "type": "REQUEST", "headers": {"Authorization": "x"}, "identitySource": "x,other"}),
            json!({"version": "2.0", "headers": {"authorization": "x"}, "identitySource": ["other", "x"]}),
            json!({"version": "2.0", "headers": {"authorization": "x"}, "identitySource": null}),
            json!({"version": "2.0", "headers": {"accept": "*/*"}, "identitySource": ["x"]}),
        ] {
            assert_eq!(credentials_of(&event), Ok(Some("x")), "{event}");
        }
        for event in [
            json!({"type": "TOKEN"}),
            json!({"type": "TOKEN", "authorizationToken": null}),
            json!({"type": "REQUEST", "headers": {"X-Authorization": "x"}}),
            json!({"type": "REQUEST", "headers": {"Authorization": null}, "multiValueHeaders": {"Authorization": [null]}}),
            json!({"type": "REQUEST", "headers": ["Authorization", "x"]}),
            json!({"version": "2.0", "identitySource": ["x", "y"]}),
        ] {
            assert_eq!(credentials_of(&event), Ok(None), "{event}");
        }
    }

    #[test]
    fn headers_that_differ_are_refused() {
        for event in [
            json!({"type": "REQUEST", "headers": {"Authorization": "x", "authorization": "y"}}),
            json!({"type": "REQUEST", "multiValueHeaders": {"Authorization": ["x", "y"]}}),
            json!({"type": "REQUEST", "headers": {"Authorization": "x"}, "multiValueHeaders": {"Authorization": ["y"]}}),
        ] {
            assert_eq!(credentials_of(&event), Err(CredentialsError::Several), "{event}");
        }
    }

    #[test]
    fn a_header_that_is_no_text_is_refused() {
        for value in [json!(1), json!({"x": "y"}), json!(["x", 1])] {
            let event = json!({"type": "REQUEST", "headers": {"Authorization": value}});
            assert_eq!(credentials_of(&event), Err(CredentialsError::NotText), "{event}");
            let event = json!({"type": "TOKEN", "authorizationToken": value});
            assert_eq!(credentials_of(&event), Err(CredentialsError::NotText), "{event}");
        }
    }

    #[test]
    fn an_answer_that_would_be_kept_for_something_else_than_the_header_is_refused() {
        for event in [
            json!({"version": "2.0", "headers": {"authorization": "x"}, "identitySource": ["y"]}),
            json!({"version": "1.0", "type": "REQUEST", "headers": {"Authorization": "x"}, "identitySource": "y,xx"}),
        ] {
            assert_eq!(credentials_of(&event), Err(CredentialsError::NotIdentitySource), "{event}");
        }
    }

    #[test]
    fn the_credentials_are_in_no_debug_text() {
        let event = json!({"type": "TOKEN", "authorizationToken": "Basic c2VjcmV0", "methodArn": METHOD});
        let told = format!("{:?}", AuthorizerEvent::read(&event));
        assert!(told.contains("RestToken") && !told.contains("c2Vj"), "{told}");
    }
}
