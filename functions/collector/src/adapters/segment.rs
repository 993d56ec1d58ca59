//! Segment's HTTP API, which RudderStack's clients speak too: <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>.
//!
//! Servers send `POST /v1/batch`, and the write key as a Basic user name. The browser's client sends single messages to `/v1/t`,
//! `/v1/p` and so on, as `text/plain`, and the write key in the body.

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde_json::{json, value::RawValue};
use weir_core::{Catalog, Violation};

use crate::{
    adapters::{
        identity,
        message::{General, Message, Page, time},
        object::{self, Members, Object, Part, find, id, members, text},
        protocol::{Foreign, Protocol, rejected},
    },
    api::routes::Method::{self, Post},
    intake::{bots::Path, outcome::Outcome},
};

/// Segment's protocol.
pub(crate) struct Segment;

/// The routes, and the type of the messages of each; `None` for those that bring their types.
const ROUTES: [(&str, Option<General>); 15] = [
    ("/v1/batch", None),
    ("/v1/b", None),
    ("/v1/import", None),
    ("/v1/track", Some(General::Track)),
    ("/v1/t", Some(General::Track)),
    ("/v1/page", Some(General::Page)),
    ("/v1/p", Some(General::Page)),
    ("/v1/screen", Some(General::Screen)),
    ("/v1/s", Some(General::Screen)),
    ("/v1/identify", Some(General::Identify)),
    ("/v1/i", Some(General::Identify)),
    ("/v1/group", Some(General::Group)),
    ("/v1/g", Some(General::Group)),
    ("/v1/alias", Some(General::Alias)),
    ("/v1/a", Some(General::Alias)),
];

/// The same as methods and paths.
const PATHS: [(Method, &str); ROUTES.len()] = {
    let mut paths = [(Post, ""); ROUTES.len()];
    let mut at = 0;
    while at < ROUTES.len() {
        paths[at].1 = ROUTES[at].0;
        at += 1;
    }
    paths
};

/// The most members and bytes that the messages of a batch share. Each event has them.
const MAX_SHARED: usize = 32;
const MAX_SHARED_BYTES: usize = 16 << 10;

impl Protocol for Segment {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &PATHS
    }

    fn key(&self, request: &Foreign) -> Option<String> {
        let body = std::str::from_utf8(&request.body).ok()?;
        let members = weir_core::json::members(body).ok()?;
        let own = find(&members, "writeKey").and_then(text);
        // Some clients put the key into each message of a batch.
        let of_first = || {
            let batch: Vec<&RawValue> = serde_json::from_str(find(&members, "batch")?.get()).ok()?;
            let first = batch.first().and_then(|first| object::members(first))?;
            find(&first, "writeKey").and_then(text)
        };
        own.or_else(of_first).map(Cow::into_owned)
    }

    fn messages<'a>(&self, request: &'a Foreign, _: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        let wrong = |what: &str| Violation::whole(format!("not a request of Segment's protocol: {what}"));
        let body = std::str::from_utf8(&request.body).map_err(|_| wrong("the body is not valid UTF-8"))?;
        let body = body.trim_start_matches('\u{feff}').trim_ascii();
        let whole: &RawValue =
            serde_json::from_str(body).map_err(|error| wrong(&format!("not valid JSON: {error}")))?;
        let envelope = members(whole).ok_or_else(|| wrong("the body is no JSON object"))?;
        let Some(batch) = find(&envelope, "batch") else {
            let of_route = ROUTES.iter().find(|(path, _)| *path == request.path).and_then(|(_, of)| *of);
            return Ok(vec![message(whole, of_route, &Vec::new())]);
        };
        let batch: Vec<&RawValue> =
            serde_json::from_str(batch.get()).map_err(|_| wrong("its batch is no array"))?;
        let shared: Members<'_> =
            envelope.into_iter().filter(|(name, _)| name != "batch" && name != "writeKey").collect();
        let bytes: usize = shared.iter().map(|(name, value)| name.len() + value.get().len()).sum();
        if shared.len() > MAX_SHARED || bytes > MAX_SHARED_BYTES {
            return Err(wrong("what stands beside its batch is too large"));
        }
        Ok(batch.into_iter().map(|one| message(one, None, &shared)).collect())
    }

    fn user_agents(&self) -> &'static [Path] {
        &[&["context", "userAgent"]]
    }

    fn taken(&self, outcomes: &[Outcome]) -> Response {
        let errors = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Rejected { errors } => Some(errors),
            _ => None,
        });
        // Clients look at the status only. The rest is for people who try it by hand.
        match errors {
            None => Json(json!({"success": true})).into_response(),
            Some(errors) => {
                let answer = json!({"success": true, "rejected": rejected(outcomes), "first_errors": errors});
                Json(answer).into_response()
            }
        }
    }
}

/// Translates a message. `shared` is what stands beside the batch, and holds for each message that does not say otherwise.
fn message<'a>(sent: &'a RawValue, of_route: Option<General>, shared: &Members<'a>) -> Message<'a> {
    let Some(members) = members(sent) else { return Message::unknown(sent) };
    let named = find(&members, "type").and_then(text);
    let general = of_route.or_else(|| General::named(&named.as_deref()?.to_ascii_lowercase()));
    let Some(general) = general else { return Message::unknown(sent) };
    let mut message = Message::new(general);
    let mut rest = Object::default();
    let mut said_at = None;
    // RudderStack's clients put what is known of a visitor into the context, and the time of a message beside that of its
    // request.
    let traits_in_context = general == General::Identify && find(&members, "traits").is_none();
    let time_of = ["timestamp", "originalTimestamp"].into_iter().find(|name| find(&members, name).is_some());
    let shared = shared.iter().filter(|(name, _)| find(&members, name).is_none()).cloned();
    let members: Members<'a> = members.iter().cloned().chain(shared).collect();
    for (name, value) in members {
        match (&*name, general) {
            ("writeKey", _) => continue,
            ("type", _) if named.as_deref() == Some(general.name()) => continue,
            ("messageId", _) if message.id.is_none() => {
                message.id = id(value).and_then(|id| identity::event_id(&id));
                if message.id.is_some() {
                    continue;
                }
            }
            (name, _) if Some(name) == time_of && said_at.is_none() => {
                said_at = time(value);
                if said_at.is_some() {
                    continue;
                }
            }
            ("userId", _) if message.who.user_id.is_none() => {
                message.who.user_id = id(value);
                if message.who.user_id.is_some() {
                    continue;
                }
            }
            ("anonymousId", _) if message.who.anonymous_id.is_none() => {
                message.who.anonymous_id = id(value);
                if message.who.anonymous_id.is_some() {
                    continue;
                }
            }
            ("event", General::Track) if message.event.is_none() => {
                message.event = text(value);
                if message.event.is_some() {
                    continue;
                }
            }
            ("properties", General::Track | General::Page | General::Screen)
                if message.properties.is_none() && value.get().starts_with('{') =>
            {
                message.properties = Some(value);
                continue;
            }
            ("traits", General::Identify | General::Group) if is_new(&message, "traits", value, '{') => {
                message.fields.put("traits", Part::Raw(value));
                continue;
            }
            ("name" | "category", General::Page | General::Screen) if is_new(&message, &name, value, '"') => {
                message.fields.put(name, Part::Raw(value));
                continue;
            }
            ("groupId", General::Group) if !message.fields.has("group_id") => {
                if let Some(group) = id(value) {
                    message.fields.put("group_id", Part::Text(group));
                    continue;
                }
            }
            ("previousId", General::Alias) if !message.fields.has("previous_id") => {
                if let Some(previous) = id(value) {
                    message.fields.put("previous_id", Part::Text(previous));
                    continue;
                }
            }
            ("context", _) if message.context.is_empty() => {
                if let Some(context) = object::members(value) {
                    look_into(&mut message, &context);
                    for (name, value) in context {
                        let is_traits = traits_in_context && is_new(&message, "traits", value, '{');
                        let into = if is_traits && name == "traits" {
                            &mut message.fields
                        } else {
                            &mut message.context
                        };
                        into.put(name, Part::Raw(value));
                    }
                    continue;
                }
            }
            _ => {}
        }
        if value.get() != "null" {
            rest.put(name, Part::Raw(value));
        }
    }
    message.occurred_at = said_at;
    message.context.append(rest);
    match general {
        General::Page => look_at_page(&mut message),
        _ => message.page = None,
    }
    message
}

/// Finds what a context says of the visit and of the visitor's browser.
fn look_into<'a>(message: &mut Message<'a>, context: &Members<'a>) {
    message.who.session_id =
        ["sessionId", "session_id"].iter().find_map(|name| find(context, name).and_then(id));
    let page = find(context, "page").and_then(members).unwrap_or_default();
    if let Some(url) = find(&page, "url").and_then(text) {
        let referrer = find(&page, "referrer").and_then(text).filter(|referrer| !referrer.is_empty());
        let user_agent = find(context, "userAgent").and_then(text);
        message.page = Some(Page { url, referrer, user_agent });
    }
}

/// Finds what the properties of a page say: they come before the context's.
fn look_at_page(message: &mut Message<'_>) {
    let properties = message.properties.and_then(members).unwrap_or_default();
    let of_context = message.page.take();
    let said = |name: &str| find(&properties, name).and_then(text).filter(|text| !text.is_empty());
    if let Some(session) =
        ["session_id", "sessionId"].iter().find_map(|name| find(&properties, name).and_then(id))
    {
        message.who.session_id = Some(session);
    }
    let user_agent = of_context.as_ref().and_then(|page| page.user_agent.clone());
    let referrer = said("referrer").or_else(|| of_context.as_ref()?.referrer.clone());
    let url = said("url").or_else(|| of_context.map(|page| page.url));
    if let Some(url) = url {
        message.fields.put("url", Part::Text(url.clone()));
        message.page = Some(Page { url, referrer, user_agent });
    }
}

/// Returns whether a field is not there yet, and the value begins like one of its kind.
fn is_new(message: &Message<'_>, name: &str, value: &RawValue, begins: char) -> bool {
    !message.fields.has(name) && value.get().starts_with(begins)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Uri};
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Map, Value};
    use weir_core::catalog::{Budget, Sender};

    use super::*;

    fn request(path: &str, body: impl Into<Bytes>) -> Foreign {
        Foreign { path: path.to_owned(), uri: Uri::default(), headers: HeaderMap::new(), body: body.into() }
    }

    fn events(path: &str, body: &Value) -> Vec<Value> {
        let (request, catalog) = (request(path, body.to_string()), Catalog::built_in().unwrap());
        let mut texts = Vec::new();
        for message in Segment.messages(&request, &catalog).unwrap() {
            message.write(&catalog, &Sender::default(), &mut Budget::of_a_request(), &mut texts);
        }
        texts.iter().map(|text| serde_json::from_slice(text).unwrap()).collect()
    }

    #[test]
    fn the_route_or_the_message_says_what_it_is() {
        for (path, of) in ROUTES {
            let sent =
                json!({"type": "identify", "userId": "u1", "groupId": "g", "previousId": "p", "event": "e"});
            let expected = of.unwrap_or(General::Identify).name();
            assert_eq!(events(path, &sent)[0]["event_type"], expected, "{path}");
        }
        // The type that the route overrules is kept.
        assert_eq!(
            events("/v1/t", &json!({"type": "page", "event": "e"}))[0]["context"],
            json!({"type": "page"})
        );
    }

    #[test]
    fn a_batch_shares_what_stands_beside_it() {
        let batch = json!({"batch": [
            {"type": "track", "event": "a", "messageId": "m1"},
            {"type": "track", "event": "b", "sentAt": "own"},
        ], "sentAt": "s", "writeKey": "k", "context": {"ip": "x"}});
        assert_eq!(
            events("/v1/batch", &batch),
            [
                json!({"event_type": "track", "event_id": "m1", "event": "a", "context": {"ip": "x", "sentAt": "s"}}),
                json!({"event_type": "track", "event": "b", "context": {"ip": "x", "sentAt": "own"}}),
            ]
        );
        let large = json!({"batch": [], "context": {"a": "x".repeat(MAX_SHARED_BYTES)}}).to_string();
        assert!(Segment.messages(&request("/v1/batch", large), &Catalog::default()).is_err());
    }

    #[test]
    fn rudderstacks_messages_have_their_time_beside_the_requests_and_traits_in_the_context() {
        let batch = json!({"batch": [{"type": "identify", "originalTimestamp": "2026-11-20T13:00:05.007Z",
            "context": {"traits": {"plan": "free"}, "ip": "x"}}], "timestamp": "2026-11-20T14:00:00Z"});
        assert_eq!(
            events("/v1/batch", &batch),
            [
                json!({"event_type": "identify", "occurred_at": 1_795_179_605_007_u64, "traits": {"plan": "free"},
                "context": {"ip": "x", "timestamp": "2026-11-20T14:00:00Z"}})
            ]
        );
    }

    #[test]
    fn the_visit_and_the_page_are_found_in_properties_and_context() {
        let sent = json!({"name": "Home", "properties": {"url": "https://a.example/1", "referrer": "r"}, "anonymousId": "a1",
            "context": {"sessionId": 1_795_179_605, "userAgent": "Firefox", "page": {"url": "https://a.example/2"}}});
        let [page, view] = &events("/v1/p", &sent)[..] else { panic!() };
        assert_eq!(
            (&page["url"], &page["session_id"]),
            (&json!("https://a.example/1"), &json!("1795179605"))
        );
        assert_eq!(
            view,
            &json!({"event_type": "page_view", "url": "https://a.example/1", "session_id": "1795179605",
                "referral_url": "r", "useragent": "Firefox", "anonymous_id": "a1"})
        );
        // A track on the same page is no page view.
        let track = json!({"event": "x", "context": sent["context"]});
        assert_eq!(events("/v1/t", &track).len(), 1);
    }

    #[test]
    fn the_key_is_found_in_the_body_and_in_the_messages_of_a_batch() {
        for (body, key) in [
            (json!({"writeKey": "a:weir_b"}), Some("a:weir_b")),
            (json!({"batch": [{"writeKey": "a:weir_b"}]}), Some("a:weir_b")),
            (json!({"batch": []}), None),
            (json!({"batch": [7]}), None),
            (json!({"writeKey": 7}), None),
            (json!([]), None),
        ] {
            assert_eq!(Segment.key(&request("/v1/b", body.to_string())).as_deref(), key, "{body}");
        }
    }

    /// JSON that looks like a message, each of whose texts and numbers is another one.
    fn message() -> impl Strategy<Value = Value> {
        let name = "type|event|properties|traits|userId|anonymousId|groupId|previousId|name|category|timestamp|messageId|context\
            |sentAt|time|username|event_type|event_id|session_id|user_id|page|url|referrer|sessionId|a_?_?";
        let leaf =
            prop_oneof![Just(Value::from("leaf")), Just(Value::from(1)), Just(json!([])), Just(json!(true))];
        let value = leaf.prop_recursive(3, 12, 5, move |inner| {
            prop::collection::vec((name, inner), 0..6)
                .prop_map(|members| Value::from(Map::from_iter(members)))
        });
        (
            prop::collection::vec((name, value), 0..14),
            prop::option::of("track|page|screen|identify|group|alias|\\PC"),
            any::<bool>(),
        )
            .prop_map(|(members, of, is_click)| {
                let mut object = Map::from_iter(members);
                object.extend(of.map(|of| ("type".to_owned(), Value::from(of))));
                if is_click {
                    object.insert("event".to_owned(), Value::from("Button Click"));
                }
                let mut value = Value::Object(object);
                number(&mut value, &mut 0);
                value
            })
    }

    /// Makes each leaf another one, but for the type.
    fn number(value: &mut Value, next: &mut u64) {
        *next += 1;
        match value {
            Value::Object(members) => {
                members
                    .iter_mut()
                    .filter(|(name, _)| *name != "type")
                    .for_each(|(_, value)| number(value, next));
            }
            Value::String(text) if text == "leaf" => *text = format!("<{next}>"),
            Value::Number(number) => *number = (1_000_000 + *next).into(),
            _ => {}
        }
    }

    fn leaves(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.values().for_each(|value| leaves(value, found)),
            Value::String(text) => found.push(text.clone()),
            Value::Number(number) => found.push(number.to_string()),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_message_is_lost(sent in message(), batch: bool, shared in message()) {
            let body = if batch { json!({"batch": [sent], "more": shared}) } else { sent.clone() };
            let events = events("/v1/batch", &body);
            let mut kept = Vec::new();
            for event in &events {
                leaves(event, &mut kept);
            }
            let mut expected = Vec::new();
            leaves(&sent, &mut expected);
            for leaf in expected {
                let is_id = events.iter().any(|event| {
                    let id = identity::event_id(&leaf);
                    id.is_some_and(|id| event["event_id"] == id.as_str())
                });
                let is_kept = kept.contains(&leaf) || is_id || leaf.parse().is_ok_and(|millis: u64| events[0]["occurred_at"] == millis);
                prop_assert!(is_kept || events[0]["event_type"].is_string(), "{leaf} of {sent} is not in {events:?}");
                prop_assert!(is_kept || leaf == sent["type"] || leaf == sent["event"], "{leaf} of {sent} is not in {events:?}");
            }
        }

        #[test]
        fn no_body_makes_it_panic_and_each_message_becomes_events(body in "\\PC{0,60}|\\{\"batch\":\\[[\\[\\]{}\",:a0]{0,20}\\]\\}") {
            let request = request("/v1/t", body);
            let _ = Segment.key(&request);
            let catalog = Catalog::default();
            for message in Segment.messages(&request, &catalog).unwrap_or_default() {
                let mut texts = Vec::new();
                message.write(&catalog, &Sender::default(), &mut Budget::of_a_request(), &mut texts);
                prop_assert!((1..=2).contains(&texts.len()));
            }
        }
    }
}
