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
use weir_core::Violation;

use crate::{
    adapters::{
        identity,
        message::{General, Message, Page, time},
        object::{self, Members, Object, Part, find, id, members, text},
        protocol::{Foreign, Protocol, rejected},
    },
    api::routes::Method::{self, Post},
    intake::outcome::Outcome,
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

    fn messages<'a>(&self, request: &'a Foreign) -> Result<Vec<Message<'a>>, Violation> {
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
            ("timestamp", _) if said_at.is_none() => {
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
                        message.context.put(name, Part::Raw(value));
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
fn look_at_page<'a>(message: &mut Message<'a>) {
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
