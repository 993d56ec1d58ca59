//! `GET /pixel.gif`: an event as a picture, for e-mails and pages without scripts. The query has the key, the type and the fields.
//!
//! Without a type it is a page view. The page is then the one that shows the picture, if the query names none.

use std::borrow::Cow;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use weir_core::{Catalog, EventType, Violation, catalog::Definition};

use crate::{
    adapters::{
        identity,
        message::Message,
        object::{Object, Part},
        protocol::{Foreign, Protocol},
    },
    api::routes::Method::{self, Get},
    intake::outcome::Outcome,
};

/// The picture.
pub(crate) struct Pixel;

/// A transparent picture of one pixel.
pub(crate) const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// The answer with the picture.
pub(crate) fn picture() -> Response {
    ([(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store")], GIF).into_response()
}

impl Protocol for Pixel {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &[(Get, "/pixel.gif")]
    }

    fn messages<'a>(&self, request: &'a Foreign, catalog: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        let query = request.uri.query().unwrap_or_default();
        let fields: Vec<(String, String)> = pairs(query).filter(|(name, _)| name != "key").collect();
        let sent =
            |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let event_type = sent("event_type").unwrap_or("page_view");
        let definition = event_type.parse::<EventType>().ok().and_then(|named| catalog.get(&named));
        let mut event = Object::default();
        event.put("event_type", Part::Text(Cow::Borrowed(event_type)));
        for (name, value) in &fields {
            match name.as_str() {
                "event_type" => {}
                "event_id" => {
                    event.put_text("event_id", identity::event_id(value).map(|id| id.as_str().to_owned()));
                }
                "occurred_at" if value.parse::<u64>().is_ok() => event.put(name, Part::Value(number(value))),
                _ => event.put(name, field(definition, name, value)),
            }
        }
        let page = request.headers.get(header::REFERER).and_then(|page| page.to_str().ok());
        if event_type == "page_view" && !event.has("url") {
            event.put_text("url", page);
        }
        Ok(vec![Message::own(&event)])
    }

    fn taken(&self, _: &[Outcome]) -> Response {
        picture()
    }
}

/// Returns the names and values of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// Returns a field's value: a query has texts only, so a field that the catalog wants as a number, say, becomes one.
fn field<'a>(definition: Option<&Definition>, name: &str, value: &'a str) -> Part<'a> {
    let schema = definition.and_then(|definition| definition.fields().find(|(field, _)| *field == name));
    let takes_text = schema.is_none_or(|(_, schema)| match &schema["type"] {
        Value::String(kind) => kind == "string",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "string"),
        _ => true,
    });
    if takes_text { Part::Text(Cow::Borrowed(value)) } else { Part::Value(number(value)) }
}

/// Returns the JSON that a text is, or else the text.
fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;
    use weir_core::catalog::{Budget, Sender};

    use super::*;

    fn event(query: &str) -> Value {
        let headers =
            [(header::REFERER, "https://a.example/".parse().unwrap())].into_iter().collect::<HeaderMap>();
        let uri = format!("/pixel.gif?{query}").parse().unwrap();
        let request = Foreign { path: "/pixel.gif".to_owned(), uri, headers, body: Bytes::new() };
        let (catalog, mut texts) = (Catalog::built_in().unwrap(), Vec::new());
        for message in Pixel.messages(&request, &catalog).unwrap() {
            message.write(&catalog, &Sender::default(), &mut Budget::of_a_request(), &mut texts);
        }
        assert_eq!(texts.len(), 1);
        serde_json::from_slice(&texts[0]).unwrap()
    }

    #[test]
    fn the_query_is_the_event_without_its_key() {
        assert_eq!(
            event(
                "key=a:weir_b&event_type=prediction&prediction_id=7&score=0.5&label=a+b%26&occurred_at=5&event_id=a%20b"
            ),
            json!({"event_type": "prediction", "prediction_id": "7", "score": 0.5, "label": "a b&", "occurred_at": 5,
                "event_id": identity::event_id("a b").unwrap().as_str()})
        );
        assert_eq!(
            event("key=a:weir_b&session_id=s1"),
            json!({"event_type": "page_view", "session_id": "s1", "url": "https://a.example/"})
        );
    }

    proptest! {
        #[test]
        fn every_query_is_one_event(query in "[a-z_=&%+0-9.]{0,60}") {
            prop_assert!(event(&query).is_object());
        }
    }
}
