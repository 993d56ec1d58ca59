//! Snowplow's trackers, by the tracker protocol
//! (<https://docs.snowplow.io/docs/events/going-deeper/event-parameters/>): `POST /com.snowplowanalytics.snowplow/tp2` with a
//! list of events, and `GET /i` with one event in the query, which is answered with a picture of one pixel.
//!
//! An event is an object of texts: `e` is its kind, `eid` its id, `dtm` or `ttm` its time. Objects in it are texts too, as JSON
//! (`ue_pr`, `co`) or in base64 (`ue_px`, `cx`). Trackers know no key: it is in the path, `/k/USER:SECRET`, or in the query.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use weir_core::{Catalog, Timestamp, Violation};

use crate::{
    adapters::{
        identity,
        message::{General, Message, Page},
        object::{Members, Object, Part, find, id, members, text},
        pixel,
        protocol::{Foreign, Protocol},
    },
    api::{
        problem::Problem,
        routes::Method::{self, Get, Post},
    },
    intake::{bots::Path, outcome::Outcome},
};

/// The requests with a list of events.
pub(crate) struct Lists;

/// The requests for a picture.
pub(crate) struct Picture;

impl Protocol for Lists {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &[(Post, "/com.snowplowanalytics.snowplow/tp2")]
    }

    fn decoded(&self, request: &Foreign) -> Result<Option<Bytes>, Problem> {
        Ok(unpacked(&request.body).map(Bytes::from))
    }

    fn messages<'a>(&self, request: &'a Foreign, _: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        messages(&request.body)
    }

    fn user_agents(&self) -> &'static [Path] {
        USER_AGENTS
    }

    fn taken(&self, _outcomes: &[Outcome]) -> Response {
        "ok".into_response()
    }
}

impl Protocol for Picture {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &[(Get, "/i")]
    }

    fn decoded(&self, request: &Foreign) -> Result<Option<Bytes>, Problem> {
        let body = body(request.uri.query().unwrap_or_default());
        Ok(Some(unpacked(body.as_bytes()).unwrap_or(body).into()))
    }

    fn messages<'a>(&self, request: &'a Foreign, _: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        messages(&request.body)
    }

    fn user_agents(&self) -> &'static [Path] {
        USER_AGENTS
    }

    fn taken(&self, _outcomes: &[Outcome]) -> Response {
        pixel::picture()
    }
}

/// Where an event has its user agent.
const USER_AGENTS: &[Path] = &[&["context", "ua"]];

/// The parameter of a query that is the key.
const KEY: &str = "key";

/// Returns the event of a query as a body of the other route has it.
fn body(query: &str) -> String {
    let mut event = Object::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != KEY {
            event.put(decoded(name), Part::Text(decoded(value)));
        }
    }
    // Texts only: this cannot fail.
    serde_json::to_string(&event).map(|event| format!(r#"{{"data":[{event}]}}"#)).unwrap_or_default()
}

/// Decodes a name or value of a query: UTF-8, or Latin-1 as scripts of old pages escape it.
fn decoded(text: &str) -> Cow<'static, str> {
    let spaced = text.replace('+', " ");
    let bytes: Vec<u8> = percent_decode_str(&spaced).collect();
    let latin =
        |error: std::string::FromUtf8Error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(latin))
}

/// Base64 of URLs, with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns a body whose events are plain: see [`plain`]. `None` if it has no list of events.
fn unpacked(body: &[u8]) -> Option<String> {
    let envelope = weir_core::json::members(std::str::from_utf8(body).ok()?.trim_ascii()).ok()?;
    let events: Vec<&RawValue> = serde_json::from_str(find(&envelope, "data")?.get()).ok()?;
    let events: Vec<Cow<'_, str>> = events.into_iter().map(plain).collect();
    let events = format!("[{}]", events.join(","));
    let mut whole = Object::default();
    for (name, value) in envelope {
        let value = if name == "data" { serde_json::from_str(&events).ok()? } else { value };
        whole.put(name, Part::Raw(value));
    }
    serde_json::to_string(&whole).ok()
}

/// Returns an event in which objects are objects, numbers are numbers, and the members that its kind has for itself (`se_ca`,
/// `se_ac` …) are `properties` with names in words. What cannot be read so stays as it is.
fn plain(event: &RawValue) -> Cow<'_, str> {
    let Some(sent) = members(event) else { return Cow::Borrowed(event.get()) };
    let kind = find(&sent, "e").and_then(text).unwrap_or_default().into_owned();
    let values: Vec<Option<String>> = sent.iter().map(|(name, value)| json(name, &text(value)?)).collect();
    let (mut object, mut properties) = (Object::default(), Object::default());
    for ((name, value), json) in sent.into_iter().zip(&values) {
        let read: Option<&RawValue> = json.as_ref().and_then(|json| serde_json::from_str(json).ok());
        let value = Part::Raw(read.unwrap_or(value));
        match (property(&kind, &name), &*name) {
            (Some(property), _) => properties.put(property, value),
            (None, "ue_px" | "ue_pr") if read.is_some() => object.put(UNSTRUCTURED, value),
            (None, "cx" | "co") if read.is_some() => object.put(CONTEXTS, value),
            _ => object.put(name, value),
        }
    }
    if !properties.is_empty() {
        object.put("properties", Part::Object(properties));
    }
    serde_json::to_string(&object).map_or(Cow::Borrowed(event.get()), Cow::Owned)
}

/// The names of the objects in a plain event.
const UNSTRUCTURED: &str = "unstructured";
const CONTEXTS: &str = "contexts";

/// Returns the JSON that a member's text stands for, if it is one of those that are not meant as texts.
fn json(name: &str, text: &str) -> Option<String> {
    match name {
        "ue_pr" | "co" => Some(text.to_owned()),
        "ue_px" | "cx" => {
            let url_safe: Vec<u8> = text.trim().bytes().map(url_safe).collect();
            String::from_utf8(BASE64.decode(url_safe).ok()?).ok()
        }
        "se_va" | "pp_mix" | "pp_max" | "pp_miy" | "pp_may" => {
            serde_json::from_str::<serde_json::Number>(text).is_ok().then(|| text.to_owned())
        }
        _ => None,
    }
}

/// Returns the name in words of a member that an event of this kind has for itself.
fn property(kind: &str, name: &str) -> Option<String> {
    let own = name.strip_prefix(kind)?.strip_prefix('_')?;
    let words = match (kind, own) {
        ("se", "ca") => "category",
        ("se", "ac") => "action",
        ("se", "la") => "label",
        ("se", "pr") => "property",
        ("se", "va") => "value",
        ("pp", "mix") => "min_x",
        ("pp", "max") => "max_x",
        ("pp", "miy") => "min_y",
        ("pp", "may") => "max_y",
        ("se" | "pp" | "tr" | "ti", own) => own,
        _ => return None,
    };
    Some(words.to_owned())
}

/// Returns the character of URLs' base64 for one of the other alphabet, or for a plus sign that a query made a space.
fn url_safe(byte: u8) -> u8 {
    match byte {
        b'+' | b' ' => b'-',
        b'/' => b'_',
        other => other,
    }
}

fn wrong(what: &str) -> Violation {
    Violation::whole(format!("not a request of Snowplow's tracker protocol: {what}"))
}

/// The most bytes that the events of a list share. Each event has them.
const MAX_SHARED: usize = 16 << 10;

fn messages(body: &[u8]) -> Result<Vec<Message<'_>>, Violation> {
    let body = std::str::from_utf8(body).map_err(|_| wrong("the body is not valid UTF-8"))?;
    let whole: &RawValue = serde_json::from_str(body.trim_ascii())
        .map_err(|error| wrong(&format!("not valid JSON: {error}")))?;
    let envelope = members(whole).ok_or_else(|| wrong("the body is no JSON object"))?;
    let events = find(&envelope, "data").ok_or_else(|| wrong("it has no data"))?;
    let events: Vec<&RawValue> =
        serde_json::from_str(events.get()).map_err(|_| wrong("its data are no array"))?;
    let shared: Members<'_> = envelope.into_iter().filter(|(name, _)| name != "data").collect();
    let bytes: usize = shared.iter().map(|(name, value)| name.len() + value.get().len()).sum();
    if bytes > MAX_SHARED {
        return Err(wrong("what stands beside its data is too large"));
    }
    Ok(events.into_iter().map(|event| message(event, &shared)).collect())
}

/// An object in an event: its schema (`iglu:com.example/save_game/jsonschema/1-0-0`), and what it describes.
struct Described<'a> {
    schema: Cow<'a, str>,
    data: &'a RawValue,
}

impl<'a> Described<'a> {
    fn read(value: &'a RawValue) -> Option<Self> {
        let members = members(value)?;
        Some(Self { schema: find(&members, "schema").and_then(text)?, data: find(&members, "data")? })
    }

    /// Returns the name in the schema's address.
    fn name(&self) -> Option<&str> {
        self.schema.strip_prefix("iglu:")?.split('/').nth(1).filter(|name| !name.is_empty())
    }
}

/// Translates an event.
fn message<'a>(sent: &'a RawValue, shared: &Members<'a>) -> Message<'a> {
    let Some(mut rest) = members(sent) else { return Message::unknown(sent) };
    let Some(kind) = find(&rest, "e").and_then(text) else { return Message::unknown(sent) };
    let kind = kind.into_owned();
    let mut message = match &*kind {
        "pv" => page(&rest),
        "ue" => match unstructured(&rest) {
            Some(message) => message,
            None => return Message::unknown(sent),
        },
        _ => of_kind(&kind, &rest),
    };
    message.id = find(&rest, "eid").and_then(id).and_then(|id| identity::event_id(&id));
    // The true time is one that the program gave; the other one is the device's.
    let time = ["ttm", "dtm"].into_iter().find_map(|name| Some((name, millis(find(&rest, name)?)?)));
    message.occurred_at = time.map(|(_, at)| at);
    let who =
        |names: &[&'static str]| names.iter().find_map(|name| Some((*name, find(&rest, name).and_then(id)?)));
    let (user, visitor, visit) = (who(&["uid"]), who(&["duid", "tnuid", "nuid"]), who(&["sid"]));
    let mut placed = vec!["e"];
    placed.extend([&user, &visitor, &visit].into_iter().flatten().map(|(name, _)| *name));
    placed.extend(time.map(|(name, _)| name));
    placed.extend(message.id.is_some().then_some("eid"));
    placed.extend(message.properties.is_some().then_some("properties"));
    placed.extend((kind == "ue").then_some(UNSTRUCTURED));
    placed.extend((kind == "pv" && message.fields.has("url")).then_some("url"));
    placed.extend((kind == "pv" && message.fields.has("name")).then_some("page"));
    message.who.user_id = user.map(|(_, id)| id);
    message.who.anonymous_id = visitor.map(|(_, id)| id);
    message.who.session_id = visit.map(|(_, id)| id);
    rest.retain(|(name, _)| !placed.contains(&&**name));
    for (name, value) in rest.into_iter().chain(shared.iter().cloned()) {
        let described = Described::read(value).filter(|_| name == CONTEXTS).map(|contexts| contexts.data);
        message.context.put(name, Part::Raw(described.unwrap_or(value)));
    }
    message
}

/// Reads a time: milliseconds since 1970, as a text.
fn millis(value: &RawValue) -> Option<Timestamp> {
    Timestamp::from_millis(id(value)?.parse().ok()?).ok()
}

/// Returns an event of a kind of its own.
fn of_kind<'a>(kind: &str, event: &Members<'a>) -> Message<'a> {
    let mut message = Message::new(General::Track);
    message.properties = find(event, "properties").filter(|value| value.get().starts_with('{'));
    let action = || find(&members(message.properties?)?, "action").and_then(text);
    let name = match kind {
        "se" => action().unwrap_or(Cow::Borrowed("structured_event")),
        "pp" => Cow::Borrowed("page_ping"),
        "tr" => Cow::Borrowed("transaction"),
        "ti" => Cow::Borrowed("transaction_item"),
        other => Cow::Owned(other.to_owned()),
    };
    message.event = Some(name);
    message
}

/// Returns a page that was looked at.
fn page<'a>(event: &Members<'a>) -> Message<'a> {
    let said = |name: &str| find(event, name).and_then(text).filter(|text| !text.is_empty());
    let mut message = Message::new(General::Page);
    message.fields.put_text("url", said("url"));
    message.fields.put_text("name", said("page"));
    message.page = said("url").map(|url| Page { url, referrer: said("refr"), user_agent: said("ua") });
    message
}

/// Returns an event of a schema of its own.
fn unstructured<'a>(event: &Members<'a>) -> Option<Message<'a>> {
    let outer = Described::read(find(event, UNSTRUCTURED)?)?;
    let inner = Described::read(outer.data)?;
    let name = inner.name()?.to_owned();
    let is_screen = name == "screen_view";
    let mut message = Message::new(if is_screen { General::Screen } else { General::Track });
    if is_screen {
        let of_screen = members(inner.data).unwrap_or_default();
        message.fields.put_text("name", find(&of_screen, "name").and_then(text));
    } else {
        message.event = Some(name.into());
    }
    if inner.data.get().starts_with('{') {
        message.properties = Some(inner.data);
    } else {
        message.fields.put("data", Part::Raw(inner.data));
    }
    message.context.put("schema", Part::Text(inner.schema));
    Some(message)
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::protocol::testing::{decoded as with_body, events, request};

    fn list(events: &Value) -> String {
        json!({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": events})
            .to_string()
    }

    /// What an event becomes, without the schema of the list.
    fn of(event: &Value) -> Vec<Value> {
        let mut found = events(&Lists, request("/tp2", &[], list(&json!([event])))).unwrap();
        for event in &mut found {
            if let Some(context) = event["context"].as_object_mut() {
                context.remove("schema");
                context.remove("schema_");
            }
            let is_empty = event["context"] == json!({});
            event.as_object_mut().unwrap().retain(|name, _| name != "context" || !is_empty);
        }
        found
    }

    fn described(schema: &str, data: &Value) -> Value {
        json!({"schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
            "data": {"schema": schema, "data": data}})
    }

    #[test]
    fn a_page_keeps_all_it_has() {
        let contexts = json!({"schema": "iglu:x/contexts/jsonschema/1-0-0", "data": [{"schema": "iglu:a/b/c/1", "data": {"k": 1}}]});
        let event = json!({"e": "pv", "eid": "0198d5d0-0000-7000-8000-000000000001", "dtm": "1795179605007", "stm": "1795179606000",
            "url": "https://a.example/", "page": "Home", "refr": "https://b.example/", "ua": "Firefox", "aid": "shop",
            "uid": "u1", "duid": "d1", "nuid": "n1", "sid": "s1", "cx": BASE64_URL_SAFE_NO_PAD.encode(contexts.to_string())});
        let [page, view] = &of(&event)[..] else { panic!() };
        assert_eq!(
            page,
            &json!({"event_type": "page", "event_id": "0198d5d0-0000-7000-8000-000000000001", "occurred_at": 1_795_179_605_007_u64,
                "url": "https://a.example/", "name": "Home", "user_id": "u1", "anonymous_id": "d1", "session_id": "s1",
                "context": {"stm": "1795179606000", "refr": "https://b.example/", "ua": "Firefox", "aid": "shop", "nuid": "n1",
                    "contexts": [{"schema": "iglu:a/b/c/1", "data": {"k": 1}}]}})
        );
        assert_eq!(
            (&view["event_type"], &view["referral_url"]),
            (&json!("page_view"), &json!("https://b.example/"))
        );
        // The true time comes first.
        let event = of(&json!({"e": "pv", "dtm": "1795179605007", "ttm": "1795179600000"})).remove(0);
        assert_eq!(
            (&event["occurred_at"], &event["context"]["dtm"]),
            (&json!(1_795_179_600_000_u64), &json!("1795179605007"))
        );
    }

    #[test]
    fn each_kind_has_its_name_and_its_properties_have_words() {
        for (event, expected) in [
            (
                json!({"e": "se", "se_ca": "shop", "se_ac": "add to basket", "se_la": "l", "se_pr": "p", "se_va": "2.50"}),
                json!({"event_type": "track", "event": "add to basket", "properties":
                    {"category": "shop", "action": "add to basket", "label": "l", "property": "p", "value": 2.50}}),
            ),
            (
                json!({"e": "se", "se_ac": "button click", "se_session_id": "s", "se_button_id": "b", "se_va": "much"}),
                json!({"event_type": "button_click", "action": "button click", "session_id": "s", "button_id": "b", "value": "much",
                    "context": {"event": "button click"}}),
            ),
            (json!({"e": "se"}), json!({"event_type": "track", "event": "structured_event"})),
            (
                json!({"e": "pp", "pp_mix": "0", "pp_may": "9", "url": "u"}),
                json!({"event_type": "track", "event": "page_ping", "properties": {"min_x": 0, "max_y": 9}, "context": {"url": "u"}}),
            ),
            (
                json!({"e": "tr", "tr_id": "t1"}),
                json!({"event_type": "track", "event": "transaction", "properties": {"id": "t1"}}),
            ),
            (
                json!({"e": "ti", "ti_sk": "x"}),
                json!({"event_type": "track", "event": "transaction_item", "properties": {"sk": "x"}}),
            ),
            (
                json!({"e": "pv", "url": 7, "page": [1]}),
                json!({"event_type": "page", "context": {"url": 7, "page": [1]}}),
            ),
            (
                json!({"e": "new", "a": 1}),
                json!({"event_type": "track", "event": "new", "context": {"a": 1}}),
            ),
        ] {
            assert_eq!(of(&event), [expected], "{event}");
        }
    }

    #[test]
    fn an_unstructured_event_is_named_by_its_schema_however_it_is_packed() {
        let click = described(
            "iglu:com.example/ButtonClick/jsonschema/1-0-0",
            &json!({"session_id": "s", "button_id": "b>>>???"}),
        );
        let expected = json!({"event_type": "button_click", "session_id": "s", "button_id": "b>>>???", "context": {"event": "ButtonClick"}});
        let text = click.to_string();
        for (name, value) in [
            ("ue_pr", text.clone()),
            ("ue_px", BASE64_URL_SAFE_NO_PAD.encode(&text)),
            ("ue_px", BASE64_STANDARD.encode(&text)),
            ("ue_px", BASE64_STANDARD.encode(&text).replace('+', " ")),
        ] {
            assert_eq!(of(&json!({"e": "ue", name: value})), std::slice::from_ref(&expected), "{name}");
        }
        for vendor in ["com.snowplowanalytics.snowplow", "com.snowplowanalytics.mobile"] {
            let screen = described(
                &format!("iglu:{vendor}/screen_view/jsonschema/1-0-0"),
                &json!({"id": "5", "name": "Home"}),
            );
            let expected =
                json!({"event_type": "screen", "name": "Home", "properties": {"id": "5", "name": "Home"}});
            assert_eq!(of(&json!({"e": "ue", "ue_pr": screen.to_string()})), [expected]);
        }
        let digits = r#"{"schema":"iglu:x/y/z/1","data":{"schema":"iglu:a/save/c/1","data":{"n":12345678901234567890123}}}"#;
        let body = with_body(&Lists, request("/tp2", &[], list(&json!([{"e": "ue", "ue_pr": digits}]))));
        assert!(std::str::from_utf8(&body.body).unwrap().contains("12345678901234567890123"));
        // One that cannot be read is kept as a rejected event.
        for value in
            [json!("%"), json!("{"), json!(7), json!(described("no address", &json!({})).to_string())]
        {
            let [event] = &of(&json!({"e": "ue", "ue_pr": value, "ue_px": value}))[..] else { panic!() };
            assert_eq!(event["event_type"], Value::Null, "{value}");
        }
    }

    #[test]
    fn a_picture_has_its_event_in_the_query() {
        let click = described(
            "iglu:com.example/button_click/jsonschema/1-0-0",
            &json!({"session_id": "s ä", "button_id": "b"}),
        );
        let query = format!(
            "/i?e=ue&eid=1&key=ann:weir_x&note=a+b%20c%E4&ue_pr={}",
            utf8_percent_encode(&click.to_string(), NON_ALPHANUMERIC)
        );
        let found = events(&Picture, request(&query, &[], "")).unwrap();
        assert_eq!(
            found,
            [json!({"event_type": "button_click", "event_id": "1", "session_id": "s ä", "button_id": "b",
                "context": {"note": "a b cä", "schema": "iglu:com.example/button_click/jsonschema/1-0-0"}})]
        );
        let answer = Picture.taken(&[]);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/gif");
        // Nothing that is an event: kept as a rejected one.
        assert_eq!(events(&Picture, request("/i", &[], "")).unwrap(), [json!({})]);
    }

    #[test]
    fn a_body_without_events_says_why_and_an_event_that_is_none_is_kept() {
        for body in ["", "[", "7", "[]", "{}", "{\"data\":7}", "{\"data\":[}"] {
            let said = events(&Lists, request("/tp2", &[], body)).unwrap_err();
            assert!(said.starts_with("not a request of Snowplow's tracker protocol: "), "{body}");
        }
        assert_eq!(events(&Lists, request("/tp2", &[], list(&json!([])))).unwrap().len(), 0);
        let odd =
            json!([7, {}, {"e": 7}, {"e": "pv", "properties": "own", "unstructured": 1, "contexts": 2}]);
        let found = events(&Lists, request("/tp2", &[], list(&odd))).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(
            (&found[3]["context"]["properties"], &found[3]["context"]["contexts"]),
            (&json!("own"), &json!(2))
        );
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(
            body in "\\{\"data\":\\[[\\[\\]{}\",:a0e]{0,30}\\]\\}|\\PC{0,60}", query in "([a-z_]{0,5}=[%+a-zA-Z0-9]{0,9}&){0,9}",
        ) {
            let request = with_body(&Lists, request("/tp2", &[], body));
            let _ = Lists.messages(&request, &Catalog::default());
            let request = with_body(&Picture, super::tests::request(&format!("/i?{query}"), &[], ""));
            prop_assert_eq!(Picture.messages(&request, &Catalog::default()).map(|messages| messages.len()).ok(), Some(1));
        }

        #[test]
        fn nothing_of_an_event_is_lost(
            kind in "pv|pp|se|tr|ti|new",
            members in prop::collection::btree_map(
                "eid|ttm|dtm|uid|duid|sid|nuid|url|page|refr|ua|cx|co|ue_px|se_ac|se_va|pp_mix|tr_id|properties|time|username|context|[a-z]{1,3}",
                any::<u32>(), 0..12,
            ),
        ) {
            let mut event = serde_json::Map::from_iter([("e".to_owned(), json!(kind))]);
            event.extend(members.iter().filter(|(name, _)| *name != "e").map(|(name, value)| (name.clone(), json!(format!("{value}")))));
            let found = of(&Value::Object(event.clone()))[0].to_string();
            for (name, value) in event.iter().filter(|(name, _)| *name != "e") {
                prop_assert!(found.contains(value.as_str().unwrap()), "{name} is not in {found}");
            }
        }

        #[test]
        fn a_picture_and_a_list_say_the_same(
            members in prop::collection::btree_map("[a-z_]{1,4}|é", "\\PC{0,12}", 1..9),
        ) {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let mut members = members;
            members.remove("key");
            members.insert("e".to_owned(), "pv".to_owned());
            let query: Vec<String> = members.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            let picture = events(&Picture, request(&format!("/i?{}", query.join("&")), &[], "")).unwrap();
            prop_assert_eq!(picture, events(&Lists, request("/tp2", &[], json!({"data": [members]}).to_string())).unwrap());
        }
    }
}
