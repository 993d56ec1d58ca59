//! CloudEvents 1.0 over HTTP (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>):
//! structured (`application/cloudevents+json`), batched (`application/cloudevents-batch+json`) and binary, in which the
//! attributes are headers `ce-*` and the body is the data.
//!
//! They come by `POST /events`, with the credentials of any other client, and get its answers. `source` and `id` together
//! identify an event. Its type is looked for in the catalog as a whole (`com_example_order_created`) and then without the
//! domain that it begins with, which is its first two names (`order_created`).

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use weir_core::{Catalog, Violation};

use crate::{
    adapters::{
        identity,
        message::{General, Message, time},
        object::{Object, Part, members, text},
        protocol::{Foreign, Protocol},
    },
    api::{outcomes, problem::Problem, routes::Method},
    intake::outcome::Outcome,
};

/// The CloudEvents protocol.
pub(crate) struct CloudEvents;

impl Protocol for CloudEvents {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &[]
    }

    fn decoded(&self, request: &Foreign) -> Result<Option<Bytes>, Problem> {
        let is_binary = form(&request.headers) == Some(Form::Binary);
        Ok(is_binary.then(|| structured(&request.headers, &request.body).into()))
    }

    fn messages<'a>(&self, request: &'a Foreign, _: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        let body = std::str::from_utf8(&request.body).map_err(|_| wrong("the body is not valid UTF-8"))?;
        let body = body.trim_start_matches('\u{feff}').trim_ascii();
        let json = |error: serde_json::Error| wrong(&format!("not valid JSON: {error}"));
        match form(&request.headers) {
            Some(Form::Batched) => {
                let batch: Vec<&RawValue> = serde_json::from_str(body).map_err(json)?;
                Ok(batch.into_iter().map(message).collect())
            }
            _ => Ok(vec![message(serde_json::from_str(body).map_err(json)?)]),
        }
    }

    fn taken(&self, taken: &[Outcome]) -> Response {
        outcomes::answer(taken).into_response()
    }
}

fn wrong(what: &str) -> Violation {
    Violation::whole(format!("no CloudEvents: {what}"))
}

/// Translates an event in structured form.
fn message(sent: &RawValue) -> Message<'_> {
    let Some(members) = members(sent) else { return Message::unknown(sent) };
    let mut message = Message::new(General::Track);
    let (mut source, mut id) = (None, None);
    for (name, value) in members {
        let said = text(value).filter(|text| !text.is_empty());
        match (&*name, &said) {
            ("type", Some(event_type)) => {
                message.event = Some(event_type.clone());
                message.event_below = without_domain(event_type).map(|below| Cow::Owned(below.to_owned()));
            }
            ("source", Some(_)) => source.clone_from(&said),
            ("id", Some(_)) => id.clone_from(&said),
            ("time", _) if message.occurred_at.is_none() => {
                message.occurred_at = time(value);
                if message.occurred_at.is_some() {
                    continue;
                }
            }
            ("data", _) if message.properties.is_none() && value.get().starts_with('{') => {
                message.properties = Some(value);
                continue;
            }
            ("data" | "data_base64", _) => {
                message.fields.put(name, Part::Raw(value));
                continue;
            }
            _ => {}
        }
        if value.get() != "null" {
            message.context.put(name, Part::Raw(value));
        }
    }
    let (Some(source), Some(id), Some(_)) = (source, id, &message.event) else {
        return Message::unknown(sent);
    };
    message.id = identity::of_parts(&[&source, &id]);
    message
}

/// The form of a request's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Structured,
    Batched,
    Binary,
}

/// Returns the form of CloudEvents that a request has, if it has any.
pub(crate) fn form(headers: &HeaderMap) -> Option<Form> {
    let content_type = essence(headers);
    if content_type.eq_ignore_ascii_case("application/cloudevents+json") {
        Some(Form::Structured)
    } else if content_type.eq_ignore_ascii_case("application/cloudevents-batch+json") {
        Some(Form::Batched)
    } else {
        headers.contains_key("ce-specversion").then_some(Form::Binary)
    }
}

/// Returns the content type without its parameters.
fn essence(headers: &HeaderMap) -> &str {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// Returns a binary event in structured form. Data that is not JSON becomes a text, or base64 if it is not UTF-8 either.
fn structured(headers: &HeaderMap, body: &[u8]) -> String {
    let mut event = Object::default();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            event.put(name, Part::Text(attribute(value).into()));
        }
    }
    if let Some(value) = headers.get(header::CONTENT_TYPE) {
        event.put("datacontenttype", Part::Text(plain(value.as_bytes())));
    }
    // Some SDKs send JSON without a content type, and none sends a text without one.
    let content_type = essence(headers).to_ascii_lowercase();
    let may_be_json =
        content_type.is_empty() || content_type.ends_with("/json") || content_type.ends_with("+json");
    let json = may_be_json.then(|| serde_json::from_slice::<&RawValue>(body).ok()).flatten();
    let encoded;
    match (json, std::str::from_utf8(body)) {
        (Some(json), _) => event.put("data", Part::Raw(json)),
        (None, Ok("")) => {}
        (None, Ok(text)) => event.put("data", Part::Text(text.into())),
        (None, Err(_)) => {
            encoded = BASE64_STANDARD.encode(body);
            event.put("data_base64", Part::Text(encoded.into()));
        }
    }
    // Texts and values that were parsed: this cannot fail.
    serde_json::to_string(&event).unwrap_or_default()
}

/// Returns an attribute's value: quotes are removed, and one round of percent-encoding, as section 3.1.3.2 of the binding
/// says. An SDK that does not encode has values that are no encoding; they stay.
fn attribute(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    let quoted = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let unquoted = match quoted {
        Some(quoted) => {
            let mut escaped = false;
            let keeps = |byte: &u8| {
                escaped = *byte == b'\\' && !escaped;
                !escaped
            };
            quoted.iter().copied().filter(keeps).collect()
        }
        None => bytes.to_vec(),
    };
    match percent_decode(&unquoted).decode_utf8() {
        Ok(text) => text.into_owned(),
        Err(_) => plain(&unquoted).into_owned(),
    }
}

/// Returns the text of a header: UTF-8, or Latin-1, which is what a browser's fetch makes of it.
fn plain(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Returns the type without the domain before it: `com.example.order.created` is `order.created`.
fn without_domain(event_type: &str) -> Option<&str> {
    let mut names = event_type.splitn(3, '.');
    names.next()?;
    names.next()?;
    names.next().filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::protocol::testing::{decoded, events, request};

    const STRUCTURED: (&str, &[u8]) = ("content-type", b"application/cloudevents+json; charset=utf-8");
    const BATCHED: (&str, &[u8]) = ("content-type", b"application/cloudevents-batch+json");

    fn of(headers: &[(&'static str, &[u8])], body: &[u8]) -> Result<Vec<Value>, String> {
        events(&CloudEvents, request("/events", headers, body.to_vec()))
    }

    fn order(data: &Value) -> Value {
        json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.order.created",
            "time": "2026-11-20T13:00:05.007123Z", "subject": "o1", "tenant": "t1", "data": data})
    }

    #[test]
    fn a_structured_event_keeps_all_it_has() {
        let event = order(&json!({"total": 25}));
        let id = identity::of_parts(&["/shop", "1"]).unwrap();
        assert_eq!(
            of(&[STRUCTURED], event.to_string().as_bytes()).unwrap(),
            [json!({"event_type": "track", "event": "com.example.order.created", "event_id": id.as_str(),
                "occurred_at": 1_795_179_605_007_u64, "properties": {"total": 25},
                "context": {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.order.created",
                    "subject": "o1", "tenant": "t1"}})]
        );
    }

    #[test]
    fn a_batch_holds_events_and_what_is_none_is_kept_for_itself() {
        let batch = json!([order(&json!({})), 7, {"specversion": "1.0", "id": "2", "type": "x"}]);
        let events = of(&[BATCHED], batch.to_string().as_bytes()).unwrap();
        assert_eq!((&events[0]["event_type"], events.len()), (&json!("track"), 3));
        assert_eq!(events[1..], batch.as_array().unwrap()[1..]);
        assert_eq!(of(&[BATCHED], b"[]").unwrap(), [json!(null); 0]);
        for (headers, body) in [(BATCHED, "{}"), (BATCHED, "[{}"), (STRUCTURED, "{\"id\":"), (STRUCTURED, "")]
        {
            assert!(of(&[headers], body.as_bytes()).unwrap_err().starts_with("no CloudEvents: "), "{body}");
        }
    }

    fn binary(content_type: &[(&'static str, &[u8])], body: &[u8]) -> Value {
        let attributes: [(&str, &[u8]); 7] = [
            ("ce-specversion", b"1.0"),
            ("ce-id", b"1"),
            ("ce-source", b"/shop/%C3%A4"),
            ("ce-type", b"order.created"),
            ("ce-time", b"2026-11-20T13:00:05.007Z"),
            ("ce-latin", b"\xe9"),
            ("ce-quoted", b"\"a \\\"b\\\" 100%\""),
        ];
        of(&[&attributes[..], content_type].concat(), body).unwrap().remove(0)
    }

    #[test]
    fn the_attributes_of_a_binary_event_are_its_headers() {
        let event = binary(&[("content-type", b"application/json")], br#"{"a": 1.0000000000000000001}"#);
        assert_eq!(event["event_id"], identity::of_parts(&["/shop/ä", "1"]).unwrap().as_str());
        assert_eq!(event["occurred_at"], 1_795_179_605_007_u64);
        assert_eq!(event["properties"], json!({"a": 1.0}));
        assert_eq!(
            event["context"],
            json!({"specversion": "1.0", "id": "1", "source": "/shop/ä", "type": "order.created", "latin": "é",
                "quoted": "a \"b\" 100%", "datacontenttype": "application/json"})
        );
    }

    #[test]
    fn data_of_any_kind_are_kept() {
        for (content_type, body, expected) in [
            (Some("application/json"), &b"[1]"[..], json!({"data": [1]})),
            (Some("application/vnd.x+json"), b"{\"a\":1}", json!({"properties": {"a": 1}})),
            (None, b"{\"a\":1}", json!({"properties": {"a": 1}})),
            (None, b"hello", json!({"data": "hello"})),
            (Some("application/json"), b"{\"a\":", json!({"data": "{\"a\":"})),
            (Some("text/plain"), b"7", json!({"data": "7"})),
            (Some("text/plain"), b"", json!({})),
            (Some("application/octet-stream"), b"\0\xff", json!({"data_base64": "AP8="})),
            (Some("application/json"), b"\0\xff", json!({"data_base64": "AP8="})),
        ] {
            let header: Vec<_> =
                content_type.iter().map(|value| ("content-type", value.as_bytes())).collect();
            let mut event = binary(&header, body);
            event
                .as_object_mut()
                .unwrap()
                .retain(|name, _| ["properties", "data", "data_base64"].contains(&&**name));
            assert_eq!(event, expected, "{content_type:?}");
        }
    }

    #[test]
    fn a_type_is_looked_for_with_its_domain_and_without() {
        for (said, expected) in [
            ("button_click", "button_click"),
            ("com.example.button_click", "button_click"),
            ("com.example.Button.Click", "button_click"),
            ("button.click", "button_click"),
            ("com.example.shop.button_click", "track"),
            ("example.button_click", "track"),
            ("com.example.track", "track"),
            ("..", "track"),
        ] {
            let mut event = order(&json!({"session_id": "s", "button_id": "b"}));
            event["type"] = json!(said);
            let events = of(&[STRUCTURED], event.to_string().as_bytes()).unwrap();
            assert_eq!(events[0]["event_type"], expected, "{said}");
            assert_eq!(events[0]["context"]["type"], said);
        }
    }

    #[test]
    fn only_cloudevents_are_taken_for_them() {
        for headers in [&[("content-type", &b"application/json"[..])][..], &[("ce-id", b"1")], &[]] {
            assert_eq!(form(&request("/events", headers, "").headers), None);
        }
    }

    proptest! {
        #[test]
        fn both_forms_of_an_event_become_the_same(
            id in "[ -~äé漢]{1,20}", source in "[ -~äé漢]{1,20}", subject in "[ -~äé漢]{0,20}", data in "\\PC{1,40}",
        ) {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let json = serde_json::to_string(&json!({"text": data})).unwrap();
            let whole = json!({"specversion": "1.0", "id": id, "source": source, "type": "t", "subject": subject,
                "datacontenttype": "application/json", "data": {"text": data}});
            let attributes = [id, source, subject].map(|text| encode(&text));
            let headers: [(&str, &[u8]); 6] = [
                ("ce-specversion", b"1.0"),
                ("ce-id", attributes[0].as_bytes()),
                ("ce-source", attributes[1].as_bytes()),
                ("ce-type", b"t"),
                ("ce-subject", attributes[2].as_bytes()),
                ("content-type", b"application/json"),
            ];
            prop_assert_eq!(of(&headers, json.as_bytes()), of(&[STRUCTURED], whole.to_string().as_bytes()));
        }

        #[test]
        fn no_request_makes_it_panic(
            body in prop::collection::vec(any::<u8>(), 0..100), value in prop::collection::vec(32_u8..255, 0..20), form in 0_usize..3,
        ) {
            prop_assume!(!value.contains(&127));
            let headers = [STRUCTURED, BATCHED, ("ce-specversion", b"1.0")];
            let headers = [headers[form], ("ce-id", &value[..]), ("ce-source", &value[..]), ("ce-type", &value[..])];
            let request = decoded(&CloudEvents, request("/events", &headers, body));
            let _ = CloudEvents.messages(&request, &Catalog::default());
        }

        #[test]
        fn members_of_any_kind_become_an_event_that_can_be_read(
            value in prop_oneof![Just(json!(null)), Just(json!(7)), Just(json!([])), Just(json!("")), Just(json!({"time": 1}))],
            name in "id|source|type|time|data|data_base64|subject|event_id|username|received_at|context",
        ) {
            let mut event = order(&json!({}));
            event[&name] = value;
            prop_assert_eq!(of(&[STRUCTURED], event.to_string().as_bytes()).unwrap().len(), 1);
        }
    }
}
