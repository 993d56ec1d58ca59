//! The API behind API Gateway: it turns events into requests, and responses into objects.
//!
//! REST APIs send payload format 1.0, HTTP APIs 2.0 or, if they are set to, 1.0. They differ in where they keep the
//! method, the path, the query and the headers, and agree on the rest:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.
//!
//! An event is read leniently: a missing part is empty, and a malformed part (a header, the body) is an error of that part
//! only. A body that is declared base64 and is not breaks off when it is read, which the API answers like any incomplete
//! body. `verdict` has what the authorizer says of the caller.

mod verdict;

use std::{error::Error, fmt::Write};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, response::Response, uri::PathAndQuery},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};
use tower::ServiceExt;

use crate::{
    RequestId,
    body::{CompressedAsText, is_compressed},
    tidy,
};
use verdict::Verdict;

pub use verdict::GatewayAuthentication;

/// The API behind API Gateway.
#[derive(Clone)]
pub struct Gateway {
    router: Router,
}

/// The reason why an event has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The event is no request of API Gateway.
    #[error("the event is no request of API Gateway: {0}")]
    NotARequest(&'static str),
    /// The answer's body broke off.
    #[error("the answer could not be made: {0}")]
    Answer(String),
}

impl Gateway {
    /// Returns an API behind API Gateway. Its authentication should be [`GatewayAuthentication`].
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self { router }
    }

    /// Answers an event.
    pub async fn answer(&self, event: Value) -> Result<GatewayAnswer, GatewayError> {
        let Value::Object(event) = event else { return Err(GatewayError::NotARequest("it is no object")) };
        let (request, format) = read(event)?;
        let answer = match self.router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        GatewayAnswer::new(answer, format).await
    }
}

/// The payload format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V1,
    V2,
}

/// An answer as API Gateway expects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAnswer {
    status_code: u16,
    #[serde(flatten)]
    headers: Headers,
    body: String,
    is_base64_encoded: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Headers {
    /// For format 1.0, where a header may have several values.
    MultiValueHeaders(Map<String, Value>),
    /// For format 2.0, where a header has one value.
    Headers(Map<String, Value>),
}

impl GatewayAnswer {
    async fn new(answer: Response<Body>, format: Format) -> Result<Self, GatewayError> {
        let (parts, body) = answer.into_parts();
        let body =
            to_bytes(body, usize::MAX).await.map_err(|error| GatewayError::Answer(error.to_string()))?;
        let (body, is_base64_encoded) = match String::from_utf8(body.into()) {
            Ok(text) => (text, false),
            Err(bytes) => (BASE64_STANDARD.encode(bytes.as_bytes()), true),
        };
        let headers = match format {
            Format::V1 => Headers::MultiValueHeaders(headers(&parts.headers, Value::from)),
            Format::V2 => Headers::Headers(headers(&parts.headers, |values| values.join(", ").into())),
        };
        Ok(Self { status_code: parts.status.as_u16(), headers, body, is_base64_encoded })
    }
}

fn headers(headers: &HeaderMap, value: impl Fn(Vec<String>) -> Value) -> Map<String, Value> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let values = |name| headers.get_all(name).iter().map(text).collect();
    headers.keys().map(|name| (name.to_string(), value(values(name)))).collect()
}

/// Reads an event.
fn read(mut event: Map<String, Value>) -> Result<(Request<Body>, Format), GatewayError> {
    let (sent, is_base64) = (event.remove("body"), event.get("isBase64Encoded") == Some(&Value::Bool(true)));
    let event = Value::Object(event);
    let headers = request_headers(&event);
    let body = body(sent, is_base64, is_compressed(&headers));
    let context = &event["requestContext"];
    let (format, method) = match (&context["http"]["method"], &event["httpMethod"]) {
        (Value::String(method), _) => (Format::V2, method),
        (_, Value::String(method)) => (Format::V1, method),
        _ => return Err(GatewayError::NotARequest("it names no method")),
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes())
        .map_err(|_| GatewayError::NotARequest("its method is none of HTTP"))?;
    *request.uri_mut() = uri(&event, format)?;
    tidy(request.uri_mut());
    *request.headers_mut() = headers;
    request.extensions_mut().insert(Verdict::of(&context["authorizer"]));
    if let Some(id) = context["requestId"].as_str().and_then(RequestId::of_host) {
        request.extensions_mut().insert(id);
    }
    Ok((request, format))
}

/// The characters of a path that are escaped for a URI. A percent sign is not: AWS does not document whether API Gateway
/// decodes the path, and no path of the API needs one.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The same for a query as the client wrote it.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// The characters with a meaning in a query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn uri(event: &Value, format: Format) -> Result<Uri, GatewayError> {
    let path = match format {
        Format::V1 => &event["path"],
        Format::V2 => &event["rawPath"],
    };
    let path = without_stage(path.as_str().unwrap_or("/"), &event["requestContext"]);
    let mut text = String::new();
    if !path.starts_with('/') {
        text.push('/');
    }
    text.extend(utf8_percent_encode(path, PATH));
    let query = match format {
        Format::V1 => query(event),
        Format::V2 => {
            utf8_percent_encode(event["rawQueryString"].as_str().unwrap_or_default(), QUERY).to_string()
        }
    };
    if !query.is_empty() {
        text.push('?');
        text += &query;
    }
    let path = PathAndQuery::try_from(text).map_err(|_| GatewayError::NotARequest("its path is no path"))?;
    Ok(Uri::from(path))
}

/// Returns the path below the stage. An HTTP API's path begins with its named stage; a REST API's never does. So a REST
/// API's path that begins like the stage stays as it is, where the event shows that: `requestContext.path` has the stage
/// before it.
fn without_stage<'a>(path: &'a str, context: &Value) -> &'a str {
    let stage = match context["stage"].as_str() {
        None | Some("" | "$default") => return path,
        Some(stage) => stage,
    };
    let below = |path: &'a str| path.strip_prefix('/')?.strip_prefix(stage);
    let is_below_already = context["path"]
        .as_str()
        .and_then(|whole| whole.strip_prefix('/')?.strip_prefix(stage))
        .is_some_and(|rest| rest == path);
    match below(path) {
        _ if is_below_already => path,
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// Returns the query of format 1.0, whose names and values are decoded.
fn query(event: &Value) -> String {
    let mut query = String::new();
    for (name, value) in pairs(event, "multiValueQueryStringParameters", "queryStringParameters") {
        let (name, value) = (utf8_percent_encode(name, IN_QUERY), utf8_percent_encode(value, IN_QUERY));
        // Writing to a string cannot fail.
        let _ = write!(query, "{}{name}={value}", if query.is_empty() { "" } else { "&" });
    }
    query
}

/// Returns the headers without malformed ones, of which none can matter.
fn request_headers(event: &Value) -> HeaderMap {
    let header = |(name, value): (&str, &str)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(event, "multiValueHeaders", "headers").filter_map(header) {
        headers.append(name, value);
    }
    headers
}

/// Returns the names and values of the object with lists of values or, without it, of the object with single values.
fn pairs<'a>(event: &'a Value, several: &str, single: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let several = event[several].as_object().filter(|object| !object.is_empty());
    let object = several.or_else(|| event[single].as_object());
    object.into_iter().flatten().flat_map(|(name, value)| {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        values.iter().filter_map(Value::as_str).map(move |value| (name.as_str(), value))
    })
}

/// Returns the body as the client sent it. API Gateway decides by the content type whether it is text: a compressed body of
/// a text type has lost its non-text bytes, and fails when it is read.
fn body(body: Option<Value>, is_base64: bool, is_compressed: bool) -> Body {
    match body {
        None | Some(Value::Null) => Body::empty(),
        Some(Value::String(text)) if !is_base64 && is_compressed && !text.is_empty() => {
            broken(CompressedAsText)
        }
        Some(Value::String(text)) if !is_base64 => text.into(),
        Some(Value::String(text)) => match BASE64_STANDARD.decode(text) {
            Ok(bytes) => bytes.into(),
            Err(error) => broken(error),
        },
        Some(_) => broken("the body is no text"),
    }
}

/// Returns a body that breaks off at its beginning.
fn broken(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Body {
    Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(reason.into())]))
}

#[cfg(test)]
mod tests {
    use axum::{extract::Request, http::request::Parts, response::IntoResponse};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn v2() -> Value {
        json!({
            "version": "2.0",
            "routeKey": "POST /events",
            "rawPath": "/events",
            "rawQueryString": "a=1&b=%C3%A9",
            "headers": {"content-type": "application/json", "x-many": "a,b", "x bad": "v"},
            "queryStringParameters": {"a": "1", "b": "é"},
            "requestContext": {
                "stage": "$default",
                "http": {"method": "POST", "path": "/events"},
                "authorizer": {"lambda": {"username": "ethan", "scope": "write", "access_key": "web"}},
            },
            "body": "eyJhIjoxfQ==",
            "isBase64Encoded": true,
        })
    }

    fn v1() -> Value {
        json!({
            "resource": "/{proxy+}",
            "path": "/events",
            "httpMethod": "POST",
            "headers": {"X-Many": "b"},
            "multiValueHeaders": {"X-Many": ["a", "b"]},
            "queryStringParameters": {"b": "d"},
            "multiValueQueryStringParameters": {"a b": ["c&c", "d"], "é": ["+"]},
            "requestContext": {
                "stage": "prod",
                "path": "/prod/events",
                "authorizer": {"principalId": "ethan", "username": "ethan", "scope": "both", "integrationLatency": 7},
            },
            "body": "{\"a\":1}",
            "isBase64Encoded": false,
        })
    }

    fn read(event: Value) -> Result<(Parts, Format), GatewayError> {
        let Value::Object(event) = event else { panic!() };
        super::read(event).map(|(request, format)| (request.into_parts().0, format))
    }

    fn path(event: &Value) -> String {
        read(event.clone()).unwrap().0.uri.to_string()
    }

    async fn echo(request: Request) -> impl IntoResponse {
        let body = to_bytes(request.into_body(), usize::MAX).await;
        match body {
            Ok(bytes) => ([("x-one", "1"), ("x-two", "2")], bytes.to_vec()).into_response(),
            Err(error) => (axum::http::StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }

    async fn answer(event: Value) -> Value {
        let gateway = Gateway::new(Router::new().fallback(echo));
        serde_json::to_value(gateway.answer(event).await.unwrap()).unwrap()
    }

    #[test]
    fn both_formats_become_the_request_that_the_client_sent() {
        let (parts, format) = read(v2()).unwrap();
        assert_eq!((parts.method, format), (Method::POST, Format::V2));
        assert_eq!(parts.uri, "/events?a=1&b=%C3%A9");
        assert_eq!(
            (&parts.headers["content-type"], parts.headers.len()),
            (&"application/json".parse().unwrap(), 2)
        );

        let (parts, format) = read(v1()).unwrap();
        assert_eq!((parts.method, format), (Method::POST, Format::V1));
        assert_eq!(parts.uri, "/events?a%20b=c%26c&a%20b=d&%C3%A9=%2B");
        assert_eq!(parts.headers.get_all("x-many").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn without_lists_of_values_the_single_ones_are_read() {
        for nothing in [json!(null), json!({})] {
            let mut event = v1();
            event["multiValueHeaders"] = nothing.clone();
            event["multiValueQueryStringParameters"] = nothing;
            let (parts, _) = read(event).unwrap();
            assert_eq!((parts.uri.query(), &parts.headers["x-many"]), (Some("b=d"), &"b".parse().unwrap()));
        }
    }

    #[test]
    fn a_stage_is_not_in_the_path() {
        for (stage, raw, expected) in [
            ("$default", "/events", "/events"),
            ("prod", "/prod/events", "/events"),
            ("prod", "/prod", "/"),
            ("prod", "/prod/", "/"),
            ("prod", "/events", "/events"),
            ("prod", "/production/events", "/production/events"),
            ("counts", "/counts/counts", "/counts"),
        ] {
            let mut event = v2();
            event["requestContext"]["stage"] = json!(stage);
            event["rawPath"] = json!(raw);
            assert_eq!(path(&event), format!("{expected}?a=1&b=%C3%A9"), "{stage} {raw}");
        }
    }

    #[test]
    fn a_rest_apis_path_that_begins_like_its_stage_is_left_alone() {
        let mut event = v1();
        event["multiValueQueryStringParameters"] = json!(null);
        event["queryStringParameters"] = json!(null);
        for (whole, raw, expected) in [
            (json!("/counts/counts/button_click"), "/counts/button_click", "/counts/button_click"),
            (json!("/counts/counts"), "/counts", "/counts"),
            (json!(null), "/counts/events", "/events"),
        ] {
            event["requestContext"]["stage"] = json!("counts");
            event["requestContext"]["path"] = whole;
            event["path"] = json!(raw);
            assert_eq!(path(&event), expected);
        }
    }

    #[test]
    fn odd_paths_and_queries_are_paths_and_queries_still() {
        let mut event = v2();
        for (raw, query, expected) in [
            ("/a b/é?#", "", "/a%20b/%C3%A9%3F%23"),
            ("/a%20b", "k=a b#\"é", "/a%20b?k=a%20b%23%22%C3%A9"),
            ("//host/x", "", "/host/x"),
            ("/button/click/", "a=1", "/button/click?a=1"),
            ("//events", "", "/events"),
            ("", "", "/"),
            ("x", "", "/x"),
        ] {
            event["rawPath"] = json!(raw);
            event["rawQueryString"] = json!(query);
            assert_eq!(path(&event), expected);
        }
    }

    #[tokio::test]
    async fn bodies_come_whole_and_as_bytes() {
        for (body, is_base64, expected) in [
            (json!("eyJhIjoxfQ=="), true, json!("{\"a\":1}")),
            (json!("eyJhIjoxfQ=="), false, json!("eyJhIjoxfQ==")),
            (json!("é"), false, json!("é")),
            (json!(""), true, json!("")),
            (json!(null), true, json!("")),
        ] {
            let mut event = v2();
            event["body"] = body;
            event["isBase64Encoded"] = json!(is_base64);
            let answer = answer(event).await;
            assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &expected));
            assert_eq!(answer["isBase64Encoded"], false);
        }
        let mut event = v2();
        event["body"] = json!("/w==");
        let answer = answer(event).await;
        assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
    }

    #[tokio::test]
    async fn a_body_that_is_no_base64_breaks_off() {
        for body in [json!("!"), json!("eyJ"), json!("é"), json!(7), json!({"a": 1})] {
            let mut event = v2();
            event["body"] = body;
            assert_eq!(answer(event).await["statusCode"], 400);
        }
    }

    #[tokio::test]
    async fn an_answer_has_the_form_of_its_request() {
        let second = answer(v2()).await;
        assert_eq!((&second["headers"]["x-one"], &second["multiValueHeaders"]), (&json!("1"), &json!(null)));
        let first = answer(v1()).await;
        assert_eq!((&first["multiValueHeaders"]["x-two"], &first["headers"]), (&json!(["2"]), &json!(null)));
    }

    #[tokio::test]
    async fn what_is_no_request_is_an_error() {
        let gateway = Gateway::new(Router::new());
        for event in [json!(null), json!([]), json!({}), json!({"Records": []}), json!({"httpMethod": "A B"})]
        {
            assert!(matches!(gateway.answer(event).await, Err(GatewayError::NotARequest(_))));
        }
    }

    #[tokio::test]
    async fn a_compressed_body_that_came_as_text_fails_with_its_reason_and_others_are_read() {
        for (encoding, is_base64, is_broken) in
            [("gzip", false, true), ("zstd", false, true), ("gzip", true, false), ("identity", false, false)]
        {
            let mut event = v2();
            event["headers"]["content-encoding"] = json!(encoding);
            event["isBase64Encoded"] = json!(is_base64);
            let (request, _) = super::read(event.as_object().unwrap().clone()).unwrap();
            let read =
                crate::body::read(&crate::Limits::default(), &request.headers().clone(), request.into_body())
                    .await;
            let is_told = matches!(read, Err(crate::problem::Problem::CompressedAsText));
            assert_eq!(is_told, is_broken, "{encoding}, base64: {is_base64}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text =
            prop_oneof!["\\PC{0,20}", "/[a-z/%?#]{0,9}", Just("POST".to_owned()), Just("prod".to_owned())];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,5}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics(
            which in 0..2usize,
            replaced in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..6),
            stage in any_json(),
            whole in any_json(),
        ) {
            let mut event = [v1(), v2()][which].clone();
            event["requestContext"]["stage"] = stage;
            event["requestContext"]["path"] = whole;
            let names: Vec<String> = event.as_object().unwrap().keys().cloned().collect();
            for (index, value) in replaced {
                event[index.get(&names)] = value;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let gateway = Gateway::new(Router::new().fallback(echo));
            if let Ok(answer) = runtime.block_on(gateway.answer(event)) {
                prop_assert!(serde_json::to_value(answer).unwrap()["statusCode"].is_u64());
            }
        }
    }
}
