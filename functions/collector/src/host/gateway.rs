//! The API behind API Gateway, by `lambda_http`: it makes requests of events, and objects of answers.
//!
//! REST APIs send payload format 1.0, HTTP APIs 2.0 or, if they are set to, 1.0:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.
//!
//! `lambda_http` panics or refuses the whole event where a part of it is odd. So [`normalise`] reads the event leniently,
//! gives `lambda_http` the parts that it can take, and keeps the others aside: the authorizer's verdict (`verdict`), the host,
//! the URI, and the body. A body that is declared base64 and is not breaks off when it is read, which the API answers like
//! any incomplete body. A malformed header is left out.

mod verdict;

use std::{error::Error, future::ready, pin::Pin};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
        header::{HOST, SET_COOKIE},
        response::Response,
        uri::PathAndQuery,
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{
    Adapter, Body as AnswerBody, Context, LambdaEvent,
    aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest},
    request::LambdaRequest,
    service_fn,
};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    RequestId,
    intake::body::{CompressedAsText, is_compressed},
    tidy,
};
use verdict::{Address, Verdict};

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

    /// Answers an event in its own format.
    pub async fn answer(&self, event: Value) -> Result<impl Serialize + Send + use<>, GatewayError> {
        let (event, aside) = normalise(event)?;
        let (router, mut aside) = (self.router.clone(), Some(aside));
        let api = service_fn(move |request: lambda_http::Request| {
            // The adapter calls once.
            let request = aside.take().map(|aside| whole(request, aside)).unwrap_or_default();
            let answer = router.clone().oneshot(request);
            async { for_gateway(answer.await.unwrap_or_else(|never| match never {})).await }
        });
        Adapter::from(api).oneshot(LambdaEvent::new(event, Context::default())).await
    }
}

/// Adds the parts that were kept aside to the request that `lambda_http` made of the others.
fn whole(request: lambda_http::Request, aside: Request<Body>) -> Request<Body> {
    let (parts, body) = aside.into_parts();
    let mut request = request.map(|_empty| body);
    *request.uri_mut() = parts.uri;
    request.headers_mut().extend(parts.headers);
    request.extensions_mut().extend(parts.extensions);
    request
}

/// An answer whose body is read. `lambda_http` has an encoder for every character set to make texts of bodies: 0.2 MB of the
/// package, and the API speaks UTF-8 only.
struct Answer(Response<AnswerBody>);

impl lambda_http::IntoResponse for Answer {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>> {
        Box::pin(ready(self.0))
    }
}

/// Reads the body, as `lambda_http` panics where one breaks off, and joins repeated headers, of which it would give an HTTP
/// API the first one only. A body that is no UTF-8 is sent as base64.
async fn for_gateway(answer: Response<Body>) -> Result<Answer, GatewayError> {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| GatewayError::Answer(error.to_string()))?;
    let names: Vec<HeaderName> = parts.headers.keys().filter(|name| **name != SET_COOKIE).cloned().collect();
    for name in names {
        let values: Vec<&[u8]> = parts.headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if values.len() > 1
            && let Ok(value) = HeaderValue::from_bytes(&values.join(&b", "[..]))
        {
            parts.headers.insert(name, value);
        }
    }
    let body = match String::from_utf8(body.into()) {
        Ok(text) => AnswerBody::Text(text),
        Err(error) => AnswerBody::Binary(error.into_bytes()),
    };
    Ok(Answer(Response::from_parts(parts, body)))
}

/// Reads an event of either format. Returns what `lambda_http` takes of it, and a request with the parts to be kept aside.
fn normalise(mut event: Value) -> Result<(LambdaRequest, Request<Body>), GatewayError> {
    let sent = event.get_mut("body").map(Value::take).unwrap_or_default();
    let context = &event["requestContext"];
    let (is_v2, method) = match (&context["http"]["method"], &event["httpMethod"]) {
        (Value::String(method), _) => (true, method),
        (_, Value::String(method)) => (false, method),
        _ => return Err(GatewayError::NotARequest("it names no method")),
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| GatewayError::NotARequest("its method is not an HTTP method"))?;
    let mut headers = headers(&event);
    let mut aside = Request::new(body(sent, event["isBase64Encoded"] == true, is_compressed(&headers)));
    *aside.uri_mut() = uri(&event, is_v2)?;
    for host in headers.get_all(HOST) {
        aside.headers_mut().append(HOST, host.clone());
    }
    headers.remove(HOST);
    aside.extensions_mut().insert(Verdict::of(&context["authorizer"]));
    let address = if is_v2 { &context["http"]["sourceIp"] } else { &context["identity"]["sourceIp"] };
    if let Some(address) = address.as_str().and_then(|address| address.parse().ok()) {
        aside.extensions_mut().insert(Address(address));
    }
    if let Some(id) = context["requestId"].as_str().and_then(RequestId::of_host) {
        aside.extensions_mut().insert(id);
    }
    let taken = if is_v2 {
        let mut taken = ApiGatewayV2httpRequest::default();
        taken.request_context.http.method = method;
        taken.headers = headers;
        LambdaRequest::ApiGatewayV2(taken)
    } else {
        let mut taken = ApiGatewayProxyRequest::default();
        taken.http_method = method;
        taken.multi_value_headers = headers;
        LambdaRequest::ApiGatewayV1(taken)
    };
    Ok((taken, aside))
}

/// The paths that have limits of their own in API Gateway, as each request is paid for or asks Athena, and the routes that take all other
/// paths. A path with a slash too many would bypass the limits, so it is not found.
const QUERY: &str = "/query";
const OF_QUERY: &str = "/query/";
const ANY_POST: &str = "POST /{proxy+}";
const ANY_GET: &str = "GET /{proxy+}";

/// The characters of a path that are escaped for a URI. A percent sign is not: AWS does not document whether API Gateway
/// decodes the path, and no path of the API needs one.
const PATH: &AsciiSet =
    &IN_URI.add(b'?').add(b'[').add(b'\\').add(b']').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// The same for a query as the client wrote it.
const IN_URI: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// The characters with a meaning in a query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the path below the stage and the query as they came: `lambda_http` would resolve `..` in a path, put a stage
/// before it, and shuffle the query of format 1.0, whose names and values are decoded.
fn uri(event: &Value, is_v2: bool) -> Result<Uri, GatewayError> {
    let path = event[if is_v2 { "rawPath" } else { "path" }].as_str().unwrap_or_default();
    let path = below_stage(path, &event["requestContext"]);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query = if is_v2 {
        utf8_percent_encode(event["rawQueryString"].as_str().unwrap_or_default(), IN_URI).to_string()
    } else {
        let parameter = |(name, value)| {
            format!("{}={}", utf8_percent_encode(name, IN_QUERY), utf8_percent_encode(value, IN_QUERY))
        };
        let parameters = pairs(event, "multiValueQueryStringParameters", "queryStringParameters");
        parameters.map(parameter).collect::<Vec<_>>().join("&")
    };
    let mark = if query.is_empty() { "" } else { "?" };
    let text = format!("{slash}{}{mark}{query}", utf8_percent_encode(path, PATH));
    let text = PathAndQuery::try_from(text).map_err(|_| GatewayError::NotARequest("its path is no path"))?;
    let mut uri = Uri::from(text);
    tidy(&mut uri);
    let is_past_limit = |of_any: &str, is_limited: bool| is_limited && event["routeKey"] == of_any;
    if is_past_limit(ANY_POST, uri.path() == QUERY)
        || is_past_limit(ANY_GET, uri.path().starts_with(OF_QUERY))
    {
        return Ok(Uri::from_static(OF_QUERY));
    }
    Ok(uri)
}

/// Returns the path below the stage. An HTTP API's path begins with its named stage; a REST API's never does. So a REST
/// API's path that begins like the stage stays as it is, where the event shows that: `requestContext.path` has the stage
/// before it.
fn below_stage<'a>(path: &'a str, context: &'a Value) -> &'a str {
    let Some(stage) = context["stage"].as_str().filter(|stage| !["", "$default"].contains(stage)) else {
        return path;
    };
    let below = |path: &'a str| path.strip_prefix('/')?.strip_prefix(stage);
    let is_below_already = context["path"].as_str().and_then(below) == Some(path);
    let is_path = |rest: &&str| !is_below_already && (rest.is_empty() || rest.starts_with('/'));
    below(path).filter(is_path).unwrap_or(path)
}

/// Returns the headers without malformed ones, of which none can matter.
fn headers(event: &Value) -> HeaderMap {
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
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().filter_map(Value::as_str).map(move |value| (name.as_str(), value))
    })
}

/// Returns the body as the client sent it. API Gateway decides by the content type whether it is text: a compressed body of
/// a text type has lost its non-text bytes, and fails when it is read.
fn body(sent: Value, is_base64: bool, is_compressed: bool) -> Body {
    match sent {
        Value::Null => Body::empty(),
        Value::String(text) if is_base64 => BASE64_STANDARD.decode(text).map_or_else(broken, Body::from),
        Value::String(text) if is_compressed && !text.is_empty() => broken(CompressedAsText),
        Value::String(text) => text.into(),
        _ => broken("the body is no text"),
    }
}

/// Returns a body that breaks off at its beginning.
fn broken(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Body {
    Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(reason.into())]))
}

#[cfg(test)]
mod tests {
    use axum::{
        extract::Request,
        response::{AppendHeaders, IntoResponse},
    };
    use proptest::prelude::*;
    use serde_json::json;
    use weir_core::Timestamp;

    use super::*;
    use crate::Authenticate;

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

    /// The request, as `lambda_http` and `whole` make it.
    fn read(event: Value) -> Result<Request, GatewayError> {
        normalise(event).map(|(taken, aside)| whole(taken.into(), aside))
    }

    fn path(event: &Value) -> String {
        read(event.clone()).unwrap().uri().to_string()
    }

    async fn echo(request: Request) -> impl IntoResponse {
        let body = to_bytes(request.into_body(), usize::MAX).await;
        match body {
            Ok(bytes) => {
                let headers = AppendHeaders([("x-one", "1"), ("x-two", "2"), ("x-two", "3")]);
                match String::from_utf8(bytes.to_vec()) {
                    Ok(text) => (headers, text).into_response(),
                    Err(_) => (headers, bytes).into_response(),
                }
            }
            Err(error) => (axum::http::StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }

    async fn answer(event: Value) -> Value {
        let gateway = Gateway::new(Router::new().fallback(echo));
        serde_json::to_value(gateway.answer(event).await.unwrap()).unwrap()
    }

    #[test]
    fn the_clients_address_is_the_one_that_api_gateway_saw_whatever_headers_say() {
        let authentication = GatewayAuthentication::new(std::sync::Arc::new(weir_core::ManualClock::at(
            Timestamp::saturating(1),
        )));
        let address = |event| authentication.address(&read(event).unwrap().into_parts().0);
        let (mut v1, mut v2) = (v1(), v2());
        assert_eq!((address(v1.clone()), address(v2.clone())), (None, None));
        for event in [&mut v1, &mut v2] {
            event["headers"]["x-forwarded-for"] = json!("198.51.100.9");
        }
        v1["requestContext"]["identity"]["sourceIp"] = json!("192.0.2.1");
        v2["requestContext"]["http"]["sourceIp"] = json!("2001:db8::1");
        assert_eq!(address(v1), "192.0.2.1".parse().ok());
        assert_eq!(address(v2), "2001:db8::1".parse().ok());
    }

    #[test]
    fn both_formats_become_the_request_that_the_client_sent() {
        let request = read(v2()).unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string()),
            (&Method::POST, "/events?a=1&b=%C3%A9".into())
        );
        assert_eq!(
            (&request.headers()["content-type"], request.headers().len()),
            (&"application/json".parse().unwrap(), 2)
        );

        let request = read(v1()).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "/events?a%20b=c%26c&a%20b=d&%C3%A9=%2B");
        assert_eq!(request.headers().get_all("x-many").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_host_is_a_header_like_any_other_however_odd_it_is() {
        for host in ["weir.example", "weir.example:443", "a b:c:d", "[", "256.256.256.256", "xn--a", ""] {
            for (mut event, headers) in [(v2(), "headers"), (v1(), "multiValueHeaders")] {
                event[headers]["Host"] = json!(host);
                event[headers]["X-Forwarded-Proto"] = json!("no scheme://");
                event["requestContext"]["domainName"] = json!("[");
                let request = read(event).unwrap();
                assert_eq!(request.headers()["host"], host);
                assert!(request.uri().authority().is_none() && request.uri().path() == "/events");
            }
        }
    }

    #[test]
    fn without_lists_of_values_the_single_ones_are_read() {
        for nothing in [json!(null), json!({})] {
            let mut event = v1();
            event["multiValueHeaders"] = nothing.clone();
            event["multiValueQueryStringParameters"] = nothing;
            let request = read(event).unwrap();
            assert_eq!(
                (request.uri().query(), &request.headers()["x-many"]),
                (Some("b=d"), &"b".parse().unwrap())
            );
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
            ("/counts/../events", "", "/counts/../events"),
            ("/counts/%2e%2E/events", "", "/counts/%2e%2E/events"),
        ] {
            event["rawPath"] = json!(raw);
            event["rawQueryString"] = json!(query);
            assert_eq!(path(&event), expected);
        }
    }

    #[test]
    fn no_path_leads_past_the_limits_of_queries() {
        let mut event = v2();
        for (key, raw, expected) in [
            ("POST /query", "/query", "/query"),
            ("$default", "//query/", "/query"),
            (ANY_POST, "/query/", "/query/"),
            (ANY_POST, "//query", "/query/"),
            (ANY_POST, "/query", "/query/"),
            (ANY_POST, "/events/", "/events"),
            (ANY_GET, "/query/x/", "/query/"),
            (ANY_GET, "//query/x", "/query/"),
            (ANY_GET, "/query//x", "/query/"),
            (ANY_GET, "/query/x", "/query/"),
            (ANY_GET, "/query", "/query"),
            (ANY_GET, "/counts/", "/counts"),
            ("GET /query/{query}", "/query/x", "/query/x"),
            ("DELETE /query/{query}", "/query/x", "/query/x"),
        ] {
            event["routeKey"] = json!(key);
            event["rawPath"] = json!(raw);
            event["rawQueryString"] = json!("");
            assert_eq!(path(&event), expected, "{key} {raw}");
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
        assert_eq!((&second["headers"]["x-one"], &second["headers"]["x-two"]), (&json!("1"), &json!("2, 3")));
        assert_eq!(second["multiValueHeaders"], json!({}));
        let first = answer(v1()).await;
        assert_eq!((&first["multiValueHeaders"]["x-two"], &first["headers"]), (&json!(["2, 3"]), &json!({})));
    }

    #[tokio::test]
    async fn what_is_no_request_is_an_error() {
        let gateway = Gateway::new(Router::new());
        let too_long = json!({"httpMethod": "GET", "path": "/".repeat(70_000)});
        for event in [
            json!(null),
            json!([]),
            json!({}),
            json!({"Records": []}),
            json!({"httpMethod": "A B"}),
            json!({"httpMethod": ""}),
            too_long,
        ] {
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
            let request = read(event).unwrap();
            let (limits, headers) = (crate::Limits::default(), request.headers().clone());
            let read = crate::intake::body::read(&limits, &headers, request.into_body()).await;
            let is_refused = matches!(read, Err(crate::api::problem::Problem::CompressedAsText));
            assert_eq!(is_refused, is_broken, "{encoding}, base64: {is_base64}");
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
            host in any_json(),
            scheme in any_json(),
        ) {
            let mut event = [v1(), v2()][which].clone();
            for name in ["headers", "multiValueHeaders"] {
                event[name]["host"] = host.clone();
                event[name]["x-forwarded-proto"] = scheme.clone();
            }
            event["requestContext"]["domainName"] = host;
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
